import { beforeEach, expect, test } from 'vitest';
import { type Explanation, explain } from '../../../src/core/assign/explain.ts';
import { standingOf } from '../../../src/core/assign/standing.ts';
import type { DeviceId } from '../../../src/core/model/ids.ts';
import { HOUR } from '../../../src/core/model/time.ts';
import { createFleet, type Fleet, rolloutOf, stageOf } from '../../http/fleet.ts';

const firmware = rolloutOf('firmware');
const everyone = { stages: [stageOf('fleet', { kind: 'all' }, { soakMs: 0 })] };
let fleet: Fleet;

beforeEach(() => {
  fleet = createFleet();
});

async function explained(id: string): Promise<Explanation> {
  const { published, report } = fleet.state();
  const device = await fleet.store.device(id as DeviceId);
  if (published === undefined || device === undefined)
    throw new Error(`there is no program or no device ${id}`);
  const standing = standingOf(published.program, device, fleet.clock.now());
  return explain(published.program, standing, report, published.program.devices[id as DeviceId]);
}

const reasonFor = async (id: string, rollout = 'firmware') =>
  (await explained(id)).rollouts.find((each) => each.rollout === rollout)?.reason;

test('a device in an open stage is told how far it has come', async () => {
  await fleet.enrol('d1');
  fleet.commit('a', [rolloutOf('firmware', everyone)]);
  await fleet.settle();
  expect((await explained('d1')).summary).toBe('gets thermostat@2.6.0 from firmware, attempt 1');
  const stage = 'stage fleet of attempt 1 contains it: ';
  expect(await reasonFor('d1')).toBe(`${stage}it has not reported on this revision yet`);
  const { revision } = firmware;
  await fleet.report('d1', { attempt: { revision, state: 'booting' } });
  expect(await reasonFor('d1')).toBe(`${stage}it is installing`);
  await fleet.report('d1', { running: revision });
  expect(await reasonFor('d1')).toBe(`${stage}it runs the revision, but health lacks runtime_healthy`);
  await fleet.report('d1', { running: revision, signals: { runtime_healthy: 'yes' } });
  expect(await reasonFor('d1')).toBe(`${stage}it runs the revision, but health cannot be judged`);
  await fleet.report('d1', { running: revision, signals: { runtime_healthy: true } });
  expect(await reasonFor('d1')).toBe(`${stage}it runs the revision and every gate holds`);
  await fleet.report('d1', { running: revision, signals: { runtime_healthy: false } });
  expect(await reasonFor('d1')).toBe(`${stage}it failed with gate.health`);
});

test('S3.7 a module that fails at runtime is named in the reason', async () => {
  await fleet.enrol('d1');
  fleet.commit('a', [rolloutOf('firmware', everyone)]);
  await fleet.settle();
  const { revision } = firmware;
  const attempt = {
    revision,
    state: 'failed',
    category: 'module.failed',
    message: 'telemetry exited with 137',
  } as const;
  await fleet.report('d1', { running: revision, attempt });
  expect(await reasonFor('d1')).toBe(
    'stage fleet of attempt 1 contains it: it failed with module.failed: telemetry exited with 137',
  );
});

test('a device outside the canary waits, and the reason says for what the rollout waits', async () => {
  for (const id of ['d1', 'd2', 'd3']) await fleet.enrol(id);
  fleet.commit('a', [firmware]);
  await fleet.settle();
  const all = await Promise.all(['d1', 'd2', 'd3'].map(explained));
  const outside = all.filter(({ summary }) => summary.startsWith('gets nothing'));
  expect(outside).toHaveLength(1);
  expect(outside[0]?.summary).toBe(
    'gets nothing and keeps what it runs: no rollout that matches it has anything for it yet',
  );
  const waits = fleet.state().report[0]?.reason;
  expect(outside[0]?.rollouts).toEqual([
    { rollout: 'firmware', reason: `no open stage of attempt 1 contains it yet (${waits})` },
  ]);
});

test('a device with a rollout of higher precedence is told which one took it', async () => {
  await fleet.enrol('d1');
  const above = rolloutOf('above', { ...everyone, version: '9.0.0', priority: 20 });
  fleet.commit('a', [rolloutOf('firmware', everyone), above]);
  await fleet.settle();
  expect(await explained('d1')).toMatchObject({
    summary: 'gets thermostat@9.0.0 from above, attempt 1',
    rollouts: [
      { rollout: 'above' },
      { rollout: 'firmware', reason: 'above has precedence and took the device' },
    ],
  });
});

test('a device on known-good is told of which attempt, and what goes on above it', async () => {
  for (const id of ['d1', 'd2', 'd3']) await fleet.enrol(id);
  fleet.commit('a', [rolloutOf('firmware', everyone)]);
  await fleet.settle();
  for (const id of ['d1', 'd2', 'd3']) {
    await fleet.report(id, { running: firmware.revision, signals: { runtime_healthy: true } });
  }
  await fleet.settle();
  expect(await reasonFor('d1')).toMatch(/^known-good of attempt 1; no other revision is being rolled out/);
  fleet.commit('b', [rolloutOf('firmware', { version: '2.7.0' })]);
  await fleet.settle();
  const reasons = await Promise.all(['d1', 'd2', 'd3'].map((id) => reasonFor(id)));
  expect(
    reasons.filter((reason) => /^known-good of attempt 1; no open stage of attempt 2/.test(reason ?? '')),
  ).toHaveLength(1);
});

test('while a rollout is suspended, who has the revision keeps it and nobody else gets it', async () => {
  for (const id of ['d1', 'd2']) await fleet.enrol(id);
  fleet.commit('a', [firmware]);
  await fleet.settle();
  await fleet.report('d1', { running: firmware.revision });
  fleet.commit('b', [rolloutOf('firmware', { suspend: true })]);
  await fleet.settle();
  expect(await reasonFor('d1')).toMatch(/^it already has attempt 1 and keeps it \(/);
  expect(await reasonFor('d2')).toMatch(/^attempt 1 makes no offers \(/);
});

test('a device of a superseded attempt keeps it until a stage takes it in', async () => {
  for (const id of ['d1', 'd2', 'd3']) await fleet.enrol(id);
  fleet.commit('a', [firmware]);
  await fleet.settle();
  const inFirst = (
    await Promise.all(['d1', 'd2', 'd3'].map(async (id) => ({ id, ...(await explained(id)) })))
  ).filter(({ summary }) => summary.startsWith('gets thermostat'));
  for (const { id } of inFirst) await fleet.report(id, { running: firmware.revision });
  const one = [stageOf('canary', { kind: 'count', count: 1 }), stageOf('fleet', { kind: 'all' })];
  fleet.commit('b', [rolloutOf('firmware', { version: '2.7.0', stages: one, seed: 'another' })]);
  await fleet.settle();
  const reasons = await Promise.all(inFirst.map(({ id }) => reasonFor(id)));
  expect(reasons).toContain('it has attempt 1, which was given up; it keeps it until a stage takes it in');
});

test('a device that a ramp has not reached, or that lacks the tag that stages select by, is told so', async () => {
  for (let n = 0; n < 20; n++) await fleet.enrol(`d${n}`, { product: 'thermostat', site: `s${n}` });
  await fleet.enrol('homeless');
  const stages = [stageOf('sites', { kind: 'all' }, { unit: 'site', rampMs: 10 * HOUR })];
  fleet.commit('a', [rolloutOf('firmware', { stages })]);
  await fleet.settle();
  fleet.advance(HOUR);
  const reasons = await Promise.all(Array.from({ length: 20 }, (_, n) => reasonFor(`d${n}`)));
  expect(
    reasons.filter((reason) => reason?.startsWith('the ramp of attempt 1 has not reached it yet')),
  ).not.toEqual([]);
  expect(await reasonFor('homeless')).toMatch(
    /^it has no tag site, by which the open stage of attempt 1 selects/,
  );
});

test('what operators say of a device comes first', async () => {
  const override = { tags: {}, retired: false, revoked: false };
  for (const id of ['old', 'bad', 'both', 'plain']) await fleet.enrol(id);
  fleet.commit('a', [rolloutOf('firmware', everyone)], {
    old: { ...override, retired: true },
    bad: { ...override, revoked: true },
    both: { ...override, retired: true, revoked: true },
    plain: override,
  });
  await fleet.settle();
  const summary = async (id: string) => (await explained(id)).summary;
  expect(await summary('old')).toBe(
    "gets nothing and keeps what it runs: it is retired in the fleet's repository",
  );
  expect(await summary('bad')).toBe("is revoked in the fleet's repository: whatever it asks for is refused");
  expect(await summary('both')).toBe(await summary('bad'));
  expect(await summary('plain')).toBe('gets thermostat@2.6.0 from firmware, attempt 1');
});
