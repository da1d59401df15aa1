/** Rollouts played over virtual fleets, by the reconciler that production runs. */
import { describe, expect, test } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { type Experiment, playExperiment } from '../../src/simulate/experiment.ts';
import type { Run } from '../../src/simulate/run.ts';
import { experiment, thermostats } from './documents.ts';

const MINUTES = 60_000;

const play = (of: Experiment, seed = 'a', until: 'found' | 'end' = 'end') =>
  playExperiment(of, { seed, until });

async function playMany(of: Experiment, runs: number): Promise<readonly Run[]> {
  const played: Run[] = [];
  for (let n = 1; n <= runs; n++) played.push(await play(of, `seed-${n}`, 'found'));
  return played;
}

describe('a run', () => {
  test('is the same with the same seed, and another with another', async () => {
    const crashing = experiment(thermostats(), { faults: ['crash=6x'] });
    const [first, again, other] = [await play(crashing), await play(crashing), await play(crashing, 'b')];
    expect(JSON.stringify(again)).toBe(JSON.stringify(first));
    expect(other.timeline).not.toEqual(first.timeline);
  });

  test('of a healthy release goes through every stage and finds nothing', async () => {
    const run = await play(experiment(thermostats()));
    expect(run.found).toBeUndefined();
    expect(run).toMatchObject({ state: 'succeeded', reached: 1000, hit: 0 });
    expect(run.stages.map(({ name, state, devices }) => [name, state, devices])).toEqual([
      ['canary', 'passed', 100],
      ['fleet', 'passed', 900],
    ]);
    expect(run.timeline.at(-1)?.running).toEqual([100, 900]);
  });

  test('gives devices back what they had where they are rolled back', async () => {
    const failing = thermostats({ more: '  onFailure: rollback\n' });
    const run = await play(experiment(failing, { faults: ['signal:healthy=false@50%'] }));
    expect(run.state).toBe('rolledBack');
    expect(run.found).toMatchObject({ stage: 'canary', by: { kind: 'errorThreshold' }, action: 'rollBack' });
    expect(run.timeline.at(-1)?.running).toEqual([0]);
    expect(run.reached).toBe(100);
  });

  test('ends when nothing would ever move, with the reason', async () => {
    const run = await play(experiment(thermostats({ more: '  start: manual\n' })));
    expect(run).toMatchObject({ state: 'ready', lastedMs: 0 });
    expect(run.reason).toBe('start is manual; set start: onMerge to begin');
  });

  test('starts from what a commit said, where one is given', async () => {
    const base = thermostats({ version: '1.0.0' });
    const run = await play(experiment(thermostats(), { base }));
    expect(run.state).toBe('succeeded');
    expect(run.moments[0]?.text).toBe('attempt 2 of thermostat@2.0.0 is ready');
  });
});

describe('a fault', () => {
  test('of no kind is found in at most as many healthy runs as the rollout allows', async () => {
    const runs = await playMany(experiment(thermostats(), { devices: 500 }), 20);
    expect(runs.filter(({ found }) => found !== undefined).length).toBeLessThanOrEqual(1);
  }, 60_000);

  test('of four times the crashes is found in the canary most of the time', async () => {
    const stages = '[{name: canary, size: 40%, soak: 12h}, {name: fleet, size: all, soak: 2h}]';
    const runs = await playMany(experiment(thermostats({ stages }), { faults: ['crash=4x'] }), 10);
    const inCanary = runs.filter(({ found }) => found?.stage === 'canary');
    expect(inCanary.length).toBeGreaterThanOrEqual(8);
    for (const { found } of inCanary) expect(found?.by).toEqual({ kind: 'gate', gate: 'crashes' });
  }, 120_000);

  test('in a cohort that the canary has hardly any of reaches the next stage', async () => {
    const stages =
      '[{name: canary, size: 4, soak: 2h, errorThreshold: 1}, {name: batch, size: 50%, soak: 2h, errorThreshold: 2%, stratifyBy: [hardware]}, {name: fleet, size: all}]';
    const files = thermostats({ stages, gates: '{health: healthy}' });
    const faults = ["install=100% where tags.hardware = 'c'"];
    const runs = await playMany(experiment(files, { faults }), 12);
    const late = runs.filter(({ found }) => found?.stage === 'batch');
    expect(late.length).toBeGreaterThanOrEqual(4);
    for (const { found } of late) expect(found?.reached).toBeGreaterThan(20);
  }, 60_000);

  test('that is a season is on both arms, and halts nothing that compares them', async () => {
    const run = await play(experiment(thermostats(), { faults: ['season=3x'] }));
    expect(run).toMatchObject({ state: 'succeeded' });
  });

  test('that silences devices is found by the gate that asks who is silent', async () => {
    const gates = '{health: healthy, alive: {share: silent, above: 10%, after: 1h}}';
    const stages = '[{name: canary, size: 20%, soak: 6h, successThreshold: 60%}, {name: fleet, size: all}]';
    const run = await play(
      experiment(thermostats({ gates, stages }), { faults: ['silence=30%'] }),
      'a',
      'found',
    );
    expect(run.found?.by).toEqual({ kind: 'gate', gate: 'alive' });
    expect(run.found?.hit).toBeGreaterThan(30);
    const well = await play(experiment(thermostats({ gates, stages })));
    expect(well.state).toBe('succeeded');
  });

  test('that silences too many for success is found when the stage is stuck', async () => {
    const stages = '[{name: canary, size: 20%, soak: 1h, stuckAfter: 6h}, {name: fleet, size: all}]';
    const run = await play(
      experiment(thermostats({ stages, gates: '{health: healthy}' }), { faults: ['silence=30%'] }),
    );
    expect(run.found?.by).toEqual({ kind: 'stuck' });
    expect(run.found?.afterMs).toBe(6 * HOUR);
    expect(run.state).toBe('paused');
  });

  test("that raises a metric's mean is found by the gate over it", async () => {
    const gates = '{health: healthy, heat: {metric: temperature, worse: higher}}';
    const stages = '[{name: canary, size: 40%, soak: 30h}, {name: fleet, size: all, soak: 1h}]';
    const files = thermostats({ gates, stages });
    const run = await play(experiment(files, { devices: 300, faults: ['temperature=2x'] }), 'a', 'found');
    expect(run.found?.by).toEqual({ kind: 'gate', gate: 'heat' });
    expect(run.found?.stage).toBe('canary');
  });
});

describe('the world outside', () => {
  const gates = `{health: healthy, errors: {prometheus: "sum(errors)", above: 3, every: 5m}, tickets: {observations: tickets, window: 1h, above: 10}, lab: {webhook: "https://lab.example/check", every: 10m}, board: {approval: 2}}`;
  const stages = '[{name: canary, size: 10%, soak: 2h}, {name: fleet, size: all, soak: 1h, approvals: 2}]';
  const files = thermostats({ gates, stages });

  test('is well, and people approve, unless something else is said', async () => {
    const { notes } = experiment(files);
    expect(notes).toContain(
      'Prometheus and webhooks and posted numbers say that all is well, unless a fault says otherwise',
    );
    expect(notes).toContain('approvals are given at once');
    expect(await play(experiment(files))).toMatchObject({ state: 'succeeded' });
  });

  test.each([
    ['prometheus:errors=9', 'errors'],
    ['webhook:lab=halt', 'lab'],
    ['observations:tickets=60', 'tickets'],
  ])('says %s', async (fault, gate) => {
    const run = await play(experiment(files, { faults: [fault] }), 'a', 'found');
    expect(run.found).toMatchObject({ stage: 'canary', by: { kind: 'gate', gate } });
  });

  test('takes as long to approve as is said', async () => {
    const late = await play(experiment(files, { approveAfterMs: 5 * HOUR }));
    expect(late.state).toBe('succeeded');
    expect(late.stages[1]?.openedMs).toBeGreaterThanOrEqual(10 * HOUR);
  });
});

test('a ramp takes devices in evenly', async () => {
  const stages = '[{name: canary, size: 10%}, {name: fleet, size: all, ramp: 10h}]';
  const run = await play(experiment(thermostats({ stages, gates: '{health: healthy}' })));
  expect(run.state).toBe('succeeded');
  const opened = run.stages[1]?.openedMs ?? 0;
  const halfWay = run.timeline.findLast(({ afterMs }) => afterMs <= opened + 5 * HOUR + 15 * MINUTES);
  expect(halfWay?.running[1]).toBeGreaterThan(380);
  expect(halfWay?.running[1]).toBeLessThan(520);
});

test('devices outside their install window wait for it', async () => {
  const more = "  installWindow: {cron: '0 2 * * *', duration: 4h}\n";
  const run = await play(experiment(thermostats({ more, gates: '{health: healthy}' })));
  expect(run.state).toBe('succeeded');
  // It is released at 8 o'clock.
  const first = run.timeline.find(({ running }) => (running[0] ?? 0) > 0);
  expect(first?.afterMs).toBeGreaterThanOrEqual(18 * HOUR);
});

describe('100,000 devices', () => {
  test('S2.14 100,000 devices in several large groups go through their stages end to end', async () => {
    const condition = "tags.product = 'thermostat' AND tags.region IN ['north', 'south', 'east', 'west']";
    const stages =
      '[{name: canary, size: 0.5%, soak: 1h}, {name: early, size: 10%, soak: 1h, stratifyBy: [region]}, {name: fleet, size: all, soak: 1h}]';
    const files = thermostats({ condition, stages, gates: '{health: healthy}' });
    const large = experiment(files, { devices: 100_000 });
    const run = await play(large);
    expect(run).toMatchObject({ state: 'succeeded', reached: 100_000 });
    expect(run.reason).toContain('100000 of 100000 devices healthy');
    const regions = Map.groupBy(large.fleet, ({ tags }) => tags['region']);
    expect([...regions.values()].map((each) => each.length)).toEqual([25_000, 25_000, 25_000, 25_000]);
  }, 120_000);

  test('are sampled where they are many and well, and the run says how many were', async () => {
    const stages = '[{name: early, size: 40%, soak: 3h}, {name: fleet, size: all, soak: 3h}]';
    const run = await play(experiment(thermostats({ stages }), { devices: 20_000 }));
    expect(run.state).toBe('succeeded');
    expect(run.sampled.treated).toEqual({ share: 0.05, devices: 1000 });
    expect(run.sampled.control).toMatchObject({ devices: 2000 });
  }, 120_000);
});
