import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { standingOf } from '../../src/core/assign/standing.ts';
import { count, emptyTally, type Tally } from '../../src/core/assign/tally.ts';
import type { DeviceId, RolloutName } from '../../src/core/model/ids.ts';
import { createObserver } from '../../src/reconcile/observer.ts';
import { createIntake } from '../../src/store/intake.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { candidate, deviceOf, programOf, reportOf, stageOf } from '../core/assign/program.ts';

const NOW = 1000;
const PROGRAM = programOf({ candidate: candidate(2, [stageOf()]) });
const OTHER = programOf({ candidate: candidate(3, [stageOf()]) });

function observed(store: Store) {
  const intake = createIntake(store, { onChanges: (changes) => observer.apply(changes) });
  const observer = createObserver(store, intake);
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

  test('whatever enrols and reports while programs change, the counts are those of a recount', async () => {
    const id = fc.nat({ max: 1400 }).map((n) => `d${String(n).padStart(4, '0')}`);
    const step = fc.oneof(
      fc.record({ kind: fc.constant('enrol' as const), id }),
      fc.record({ kind: fc.constant('report' as const), id, running: fc.constantFrom(1, 2, 3) }),
      fc.record({ kind: fc.constant('count' as const), program: fc.constantFrom(PROGRAM, OTHER) }),
      fc.record({ kind: fc.constant('turn' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
        const store = createMemoryStore({ epoch: 'e' });
        const { observer, intake, enrol, report } = observed(store);
        // More than two pages, so that there is something ahead of a count and behind it.
        const ids = Array.from({ length: 1100 }, (_, n) => `d${String(n).padStart(4, '0')}` as DeviceId);
        await store.updateDevices(ids, (before, at) => before ?? deviceOf(ids[at] ?? ''));
        let counting: Promise<unknown> = Promise.resolve();
        const under: Promise<unknown>[] = [];
        for (const each of steps) {
          if (each.kind === 'enrol') under.push(enrol(each.id));
          else if (each.kind === 'report') under.push(report(each.id, each.running));
          else if (each.kind === 'turn') await new Promise(setImmediate);
          else {
            await counting;
            counting = observer.tallyUnder(each.program, NOW);
          }
        }
        await Promise.all([counting, ...under]);
        await intake.drain();
        for (const program of [PROGRAM, OTHER]) {
          expect(counts(await observer.tallyUnder(program, NOW))).toEqual(
            counts(await recount(store, program)),
          );
        }
      }),
      { numRuns: 25 },
    );
  });
});
