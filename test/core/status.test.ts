import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { fleetCounts, type RolloutStatus, rolloutStatuses } from '../../src/core/status.ts';
import { createFleet, type Fleet, oid, rolloutOf, stageOf } from '../http/fleet.ts';

const atOnce = { stages: [stageOf('fleet', { kind: 'all' }, { soakMs: 0 })] };
let fleet: Fleet;

beforeEach(() => {
  fleet = createFleet();
});

function statuses(): readonly RolloutStatus[] {
  const { wanted, outcomes, tally, report, gates } = fleet.state();
  if (wanted?.desired === undefined) throw new Error('commit something first');
  return rolloutStatuses({ desired: wanted.desired, outcomes, tally, report, gates });
}

function statusOf(name: string): RolloutStatus {
  const status = statuses().find((each) => each.name === name);
  if (status === undefined) throw new Error(`no rollout ${name}`);
  return status;
}

async function enrol(from: number, to: number, tags?: Record<string, string>): Promise<string[]> {
  const ids = Array.from({ length: to - from }, (_, n) => `d${from + n}`);
  for (const id of ids) await fleet.enrol(id, tags);
  return ids;
}

async function succeed(ids: readonly string[], rollout = rolloutOf('firmware')): Promise<void> {
  for (const id of ids)
    await fleet.report(id, { running: rollout.revision, signals: { runtime_healthy: true } });
}

test.each([
  { first: 10, more: 5 },
  { first: 7, more: 2 },
])(
  'S3.17 $first devices succeed, $more more join: they are pending until they report',
  async ({ first, more }) => {
    const ids = await enrol(0, first);
    fleet.commit('a', [rolloutOf('firmware', atOnce)]);
    await fleet.settle();
    await succeed(ids);
    await fleet.settle();
    expect(statusOf('firmware').state).toBe('succeeded');
    expect(statusOf('firmware').devices).toMatchObject({
      target: first,
      healthy: first,
      unhealthy: 0,
      unknown: 0,
    });
    await enrol(first, first + more);
    await fleet.settle();
    expect(statusOf('firmware').devices).toMatchObject({
      target: first + more,
      healthy: first,
      unhealthy: 0,
      unknown: more,
    });
  },
);

test.each([
  { targeted: 10, shadowed: 3, actual: 7 },
  { targeted: 6, shadowed: 6, actual: 0 },
])(
  'S3.34 S3.35 of $targeted targeted devices $shadowed are taken by another rollout: $actual are left',
  async (given) => {
    await enrol(0, given.shadowed, { product: 'thermostat', ring: '0' });
    await enrol(given.shadowed, given.targeted);
    const above = rolloutOf('above', {
      ...atOnce,
      version: '9.0.0',
      priority: 20,
      condition: "tags.ring = '0'",
    });
    fleet.commit('a', [rolloutOf('firmware', atOnce), above]);
    await fleet.settle();
    expect(statusOf('firmware').devices).toMatchObject({ target: given.targeted, actual: given.actual });
    expect(statusOf('above').devices).toMatchObject({ target: given.shadowed, actual: given.shadowed });
  },
);

test('S3.39 S1.14 S1.15 whatever devices report, the counts of each rollout, stage and status add up', async () => {
  const rollouts = [
    rolloutOf('firmware'),
    rolloutOf('above', { version: '9.0.0', priority: 20, condition: "tags.ring = '0'" }),
  ];
  const revisions = [undefined, ...rollouts.map(({ revision }) => revision)];
  const step = fc.record({
    device: fc.nat(9),
    running: fc.constantFrom(...revisions),
    attempt: fc.constantFrom(...revisions),
    state: fc.constantFrom('downloading', 'failed', 'succeeded' as const),
    signals: fc.constantFrom({}, { runtime_healthy: true }, { runtime_healthy: false }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      fleet = createFleet();
      await enrol(0, 4, { product: 'thermostat', ring: '0' });
      await enrol(4, 10);
      fleet.commit('a', rollouts);
      await fleet.settle();
      for (const { device, running, attempt, state, signals } of steps) {
        const tried =
          attempt === undefined ? {} : { attempt: { revision: attempt, state: state as 'failed' } };
        await fleet.report(`d${device}`, {
          ...(running === undefined ? {} : { running }),
          ...tried,
          signals,
        });
        await fleet.settle();
        const { total, status } = fleetCounts(fleet.state().tally, fleet.state().outcomes);
        expect(Object.values(status).reduce((sum, devices) => sum + devices)).toBe(total);
        for (const { name, devices, stages } of statuses()) {
          const { target, actual, healthy, unhealthy, unknown, scheduled } = devices;
          expect(actual).toBeLessThanOrEqual(target);
          expect(healthy + unhealthy + unknown).toBe(actual);
          const opened = stages.filter(({ state }) => state !== 'scheduled');
          const present = opened.map(({ counts }) =>
            Object.values(counts).reduce((sum, count) => sum + count),
          );
          // Nothing takes devices from the rollout of highest precedence: each stage still has all that it took in.
          if (name === 'above') expect(present).toEqual(opened.map((each) => each.devices));
          // A finished attempt has no open stages any more: its counts are those of its verdicts.
          if (!stages.some(({ state }) => state === 'running')) continue;
          expect(present.reduce((sum, count) => sum + count, scheduled)).toBe(actual);
        }
      }
    }),
    { numRuns: 40 },
  );
});

test('stages to come are scheduled, and open ones show what they took in, with failures by frequency', async () => {
  const ids = await enrol(0, 10);
  const stages = [
    stageOf('canary', { kind: 'count', count: 5 }, { errorThreshold: { kind: 'count', count: 9 } }),
    stageOf('batch', { kind: 'share', share: { numerator: 1, denominator: 2 } }, { unit: 'site' }),
    stageOf('sites', { kind: 'count', count: 10 }, { unit: 'site' }),
    stageOf('fleet', { kind: 'all' }),
  ];
  const firmware = rolloutOf('firmware', { stages });
  fleet.commit('a', [firmware]);
  await fleet.settle();
  for (const [index, id] of ids.entries()) {
    const category = index % 3 === 0 ? 'boot' : 'install.disk-full';
    await fleet.report(id, { attempt: { revision: firmware.revision, state: 'failed', category } });
  }
  const [canary, ...later] = statusOf('firmware').stages;
  expect(canary).toMatchObject({
    state: 'running',
    size: '5 devices',
    units: 5,
    devices: 5,
    counts: { failed: 5 },
  });
  const failures = canary?.failures ?? [];
  expect(failures.reduce((sum, { devices }) => sum + devices, 0)).toBe(5);
  expect(failures.map(({ devices }) => devices)).toEqual(
    failures.map(({ devices }) => devices).sort((a, b) => b - a),
  );
  expect(later.map(({ name, state, size }) => `${name} ${state} ${size}`)).toEqual([
    'batch scheduled 50% of sites',
    'sites scheduled 10 sites',
    'fleet scheduled all',
  ]);
  expect(later[0]).toMatchObject({ successThreshold: '90%', errorThreshold: '2', failures: [] });
});

test('a finished attempt shows the counts of its verdicts, and what its devices went back to', async () => {
  const ids = await enrol(0, 4);
  fleet.commit('a', [rolloutOf('firmware', atOnce)]);
  await fleet.settle();
  await succeed(ids);
  await fleet.settle();
  const second = rolloutOf('firmware', { version: '2.7.0', ...atOnce });
  fleet.advance(HOUR);
  fleet.commit('b', [second]);
  await fleet.settle();
  for (const id of ids.slice(0, 2)) {
    await fleet.report(id, { attempt: { revision: second.revision, state: 'failed', category: 'boot' } });
  }
  await fleet.settle();
  expect(statusOf('firmware')).toMatchObject({
    state: 'rolledBack',
    cause: 'errorThreshold',
    attempt: 2,
    knownGood: { attempt: 1, distributionSet: 'thermostat@2.6.0', snapshot: oid('a'), commit: oid('a') },
    restored: { knownGood: { attempt: 1 } },
    stages: [
      {
        name: 'fleet',
        state: 'failed',
        counts: { pending: 2, failed: 2 },
        failures: [{ category: 'boot', devices: 2 }],
        verdict: { verdict: 'halt' },
      },
    ],
  });
});

test('rollouts come in order of name, and one without an attempt is unknown', () => {
  fleet.commit('a', [rolloutOf('b'), rolloutOf('c'), rolloutOf('a')]);
  expect(statuses().map(({ name, state, reason }) => `${name}: ${state}, ${reason}`)).toEqual([
    'a: unknown, not planned yet',
    'b: unknown, not planned yet',
    'c: unknown, not planned yet',
  ]);
});
