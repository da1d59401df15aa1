import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { standingOf } from '../../src/core/assign/standing.ts';
import { count, emptyTally, type Tally } from '../../src/core/assign/tally.ts';
import type { Flag } from '../../src/core/model/flag.ts';
import type { DeviceId, RolloutName } from '../../src/core/model/ids.ts';
import { createObserver } from '../../src/reconcile/observer.ts';
import { createIntake } from '../../src/store/intake.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import { candidate, deviceOf, programOf, reportOf, rolloutOf, stageOf } from '../core/assign/program.ts';

const NOW = 1000;
const PROGRAM = programOf({ candidate: candidate(2, [stageOf()]) });
const OTHER = programOf({ candidate: candidate(3, [stageOf()]) });

const FLAG: Flag = {
  name: 'mesh',
  enabled: true,
  values: { on: true, off: false },
  default: 'off',
  rules: [],
  seed: 'mesh',
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-observer-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

function observed(store: Store) {
  const intake = createIntake(store);
  const observer = createObserver(store);
  const enrol = (id: string) =>
    intake.submit(id as DeviceId, (before) => ({ after: before ?? deviceOf(id), result: undefined }));
  const report = (id: string, running: number) =>
    intake.submit(id as DeviceId, (before) => ({
      after: before === undefined ? undefined : { ...before, report: reportOf({ running }) },
      result: undefined,
    }));
  return { intake, observer, enrol, report };
}

async function recount(store: Store, program = PROGRAM): Promise<Tally> {
  const tally = emptyTally();
  for (const device of await store.devices({ limit: 10_000 }))
    count(tally, standingOf(program, device, NOW), 1);
  return tally;
}

/** Zeros that came and went are the same as never having been. */
function counts(tally: Tally) {
  const rollout = tally.rollouts.get('kiosk' as RolloutName);
  const { stages = [], ...rest } = rollout ?? {};
  return {
    devices: tally.devices,
    status: tally.status,
    rest: rollout && rest,
    stages: stages.map((stage) => stage.counts),
  };
}

describe('changes during a count are counted exactly once', () => {
  test.each([
    ['before it', 'a'],
    ['behind the last device', 'zz'],
  ])('a device that enrols as the count of 2 devices ends, with an id %s', async (_where, id) => {
    const store = createMemoryStore({ epoch: 'e' });
    const { observer, enrol } = observed(store);
    for (const each of ['m', 'n']) await enrol(each);
    const counting = observer.tallyUnder(PROGRAM, NOW);
    const enrolling = enrol(id);
    expect((await counting).devices + 0).toBeGreaterThanOrEqual(2);
    await enrolling;
    const tally = await observer.tallyUnder(PROGRAM, NOW);
    expect(tally.devices).toBe(3);
    expect(counts(tally)).toEqual(counts(await recount(store)));
  });

  test('the first device of an empty fleet', async () => {
    const store = createMemoryStore({ epoch: 'e' });
    const { observer, enrol } = observed(store);
    const counting = observer.tallyUnder(PROGRAM, NOW);
    await enrol('first');
    await counting;
    expect((await observer.tallyUnder(PROGRAM, NOW)).devices).toBe(1);
  });

  test.each([
    ['memory', 25, async () => createMemoryStore({ epoch: 'e' })],
    ['SQLite', 6, () => openSqliteStore(join(folder, `${randomUUID()}.db`), { epoch: randomUUID })],
  ])(
    'in %s, whatever enrols and reports while programs change, the counts are those of a recount',
    async (_engine, numRuns, open) => {
      const id = fc.nat({ max: 1400 }).map((n) => `d${String(n).padStart(4, '0')}`);
      const step = fc.oneof(
        fc.record({ kind: fc.constant('enrol' as const), id }),
        fc.record({ kind: fc.constant('report' as const), id, running: fc.constantFrom(1, 2, 3) }),
        fc.record({ kind: fc.constant('count' as const), program: fc.constantFrom(PROGRAM, OTHER) }),
        fc.record({ kind: fc.constant('turn' as const) }),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
          const store = await open();
          const { observer, intake, enrol, report } = observed(store);
          // More than two pages, so that a count takes a while.
          const ids = Array.from({ length: 1100 }, (_, n) => `d${String(n).padStart(4, '0')}` as DeviceId);
          await store.updateDevices(ids, (before, at) => before ?? deviceOf(ids[at] ?? ''));
          let counting: Promise<unknown> = Promise.resolve();
          let last = PROGRAM;
          const under: Promise<unknown>[] = [];
          for (const each of steps) {
            if (each.kind === 'enrol') under.push(enrol(each.id));
            else if (each.kind === 'report') under.push(report(each.id, each.running));
            else if (each.kind === 'turn') await new Promise(setImmediate);
            else {
              await counting;
              last = each.program;
              counting = observer.tallyUnder(last, NOW);
            }
          }
          await Promise.all([counting, ...under]);
          await intake.drain();
          // The last one is not counted again: what changed since then was added.
          for (const program of [last, last === PROGRAM ? OTHER : PROGRAM]) {
            expect(counts(await observer.tallyUnder(program, NOW))).toEqual(
              counts(await recount(store, program)),
            );
          }
          await observer.close();
          await store.close();
        }),
        { numRuns },
      );
    },
  );
});

describe('the fleet is counted again', () => {
  /** A memory store that counts how often it is read whole, and fails where it is told to. */
  function readStore() {
    const memory = createMemoryStore({ epoch: 'e' });
    let reads = 0;
    const failures: string[] = [];
    let missed: () => void = () => undefined;
    const attempt = () => {
      const failure = failures.shift();
      if (failure !== undefined) throw new Error(failure);
    };
    const store: Store = {
      ...memory,
      async read() {
        reads += 1;
        attempt();
        return await memory.read();
      },
      async follow(see, onMissed = () => undefined) {
        attempt();
        missed = onMissed;
        return await memory.follow(see, onMissed);
      },
    };
    return { store, failures, reads: () => reads, miss: () => missed() };
  }

  test('when what counting depends on has changed, and not for another program that counts alike', async () => {
    const { store, reads } = readStore();
    const observer = createObserver(store);
    await observer.tallyUnder(PROGRAM, NOW);
    await observer.tallyUnder(structuredClone(PROGRAM), NOW + 1);
    await observer.tallyUnder({ ...PROGRAM, fleet: 'renamed', pollIntervalMs: 1, flags: [FLAG] }, NOW);
    expect(reads()).toBe(1);

    const [rollout = rolloutOf()] = PROGRAM.rollouts;
    const device = { tags: { product: 'kiosk' }, retired: true, revoked: false };
    for (const change of [
      { rollouts: [{ ...rollout, condition: '*' }] },
      { devices: { ['d' as DeviceId]: device } },
      { knownRevisions: [] },
      { timezone: 'Europe/Oslo' },
    ]) {
      const before = reads();
      await observer.tallyUnder({ ...PROGRAM, ...change }, NOW);
      expect({ change, reads: reads() - before }).toEqual({ change, reads: 1 });
    }
  });

  test('while a ramp runs, because time alone moves devices', async () => {
    const { store, reads } = readStore();
    const observer = createObserver(store);
    const ramp = stageOf({ admits: { kind: 'list', scores: [], rampMs: 100 }, rampStartedAt: NOW });
    const program = programOf({ candidate: candidate(2, [ramp]) });
    for (const now of [NOW, NOW + 50, NOW + 150, NOW + 200]) await observer.tallyUnder(program, now);
    expect(reads()).toBe(3);
  });

  test('when changes were missed', async () => {
    const { store, reads, miss } = readStore();
    let changes = 0;
    const observer = createObserver(store, () => {
      changes += 1;
    });
    await observer.tallyUnder(PROGRAM, NOW);
    miss();
    await observer.tallyUnder(PROGRAM, NOW);
    await observer.tallyUnder(PROGRAM, NOW);
    expect({ reads: reads(), changes }).toEqual({ reads: 2, changes: 1 });
  });

  test('at the next time after a count that failed; the counts before it go on meanwhile', async () => {
    const { store, reads, failures } = readStore();
    const { observer, enrol } = observed(store);
    failures.push('the database is away');
    await expect(observer.tallyUnder(PROGRAM, NOW)).rejects.toThrow('the database is away');
    await observer.tallyUnder(PROGRAM, NOW);
    failures.push('the disk fails');
    await expect(observer.tallyUnder(OTHER, NOW)).rejects.toThrow('the disk fails');
    await enrol('a');
    expect((await observer.tallyUnder(PROGRAM, NOW)).devices).toBe(1);
    expect(reads()).toBe(2);
    expect((await observer.tallyUnder(OTHER, NOW)).devices).toBe(1);
  });

  test('and one that was closed follows no longer', async () => {
    const { store } = readStore();
    let changes = 0;
    const observer = createObserver(store, () => {
      changes += 1;
    });
    await observer.tallyUnder(PROGRAM, NOW);
    await observer.close();
    await store.updateDevices(['a' as DeviceId], () => deviceOf('a'));
    expect(changes).toBe(0);
  });
});
