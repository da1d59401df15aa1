import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { emptyStageTally, type StageTally } from '../../../src/core/assign/tally.ts';
import type { StageCounts } from '../../../src/core/model/outcome.ts';
import { DAY, HOUR } from '../../../src/core/model/time.ts';
import { judgeFailures, judgeProgress } from '../../../src/core/plan/judge.ts';
import { stageOutcome } from './attempts.ts';

function seen(counts: Partial<StageCounts>, exposureHours = 0): StageTally {
  return { ...emptyStageTally(), counts: { ...emptyStageTally().counts, ...counts }, exposureHours };
}

const GOING = { runningSince: 0, rampEndsAt: 0, promoted: false, readings: [] };

describe('failures', () => {
  test.each([
    [1, undefined],
    [2, 1],
    [10, 5],
  ])('%i of 10 with a threshold of 20%% are too many %s times', (failed, ratio) => {
    expect(judgeFailures(stageOutcome(), seen({ failed }))?.ratio).toBe(ratio);
  });

  test('that a person resumed in spite of do not halt again; one more does', () => {
    const stage = stageOutcome({ tolerated: 2 });
    expect(judgeFailures(stage, seen({ failed: 3 }))).toBeUndefined();
    expect(judgeFailures(stage, seen({ failed: 4 }))?.ratio).toBe(1);
  });
});

describe('progress', () => {
  test.each([
    [7, 'waits'],
    [8, 'passes'],
  ] as const)('%i of 10 with a threshold of 80%% %s', (succeeded, kind) => {
    expect(judgeProgress(stageOutcome(), seen({ succeeded }), GOING, HOUR).kind).toBe(kind);
  });

  test.each([
    ['one millisecond short', 2 * HOUR - 1, 'waits'],
    ['to the end', 2 * HOUR, 'passes'],
  ] as const)('soaks %s', (_how, now, kind) => {
    const stage = stageOutcome({ soakMs: HOUR });
    expect(judgeProgress(stage, seen({ succeeded: 10 }), { ...GOING, succeededAt: HOUR }, now).kind).toBe(
      kind,
    );
  });

  test('a promotion skips soak and exposure and never the success threshold', () => {
    const stage = stageOutcome({ soakMs: DAY, minExposureHours: 100 });
    const promoted = { ...GOING, promoted: true };
    expect(judgeProgress(stage, seen({ succeeded: 8 }), promoted, 1).kind).toBe('passes');
    expect(judgeProgress(stage, seen({ succeeded: 7 }), promoted, 1).kind).toBe('waits');
  });

  test('what was not seen long enough waits, and in the end is stuck; a stage of nobody has nothing to see', () => {
    const stage = stageOutcome({ minExposureHours: 5 });
    expect(judgeProgress(stage, seen({ succeeded: 10 }, 4.9), GOING, DAY)).toMatchObject({
      kind: 'waits',
      until: 3 * DAY,
    });
    expect(judgeProgress(stage, seen({ succeeded: 10 }, 4.9), GOING, 3 * DAY).kind).toBe('stuck');
    expect(judgeProgress(stage, seen({ succeeded: 10 }, 5), GOING, DAY).kind).toBe('passes');
    expect(judgeProgress({ ...stage, units: 0, devices: 0 }, seen({}), GOING, 1).kind).toBe('passes');
  });

  test('silence never passes: whatever is pending, the stage waits until it is stuck', () => {
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 10 }), fc.nat({ max: 6 * DAY }), (silent, now) => {
        const judgement = judgeProgress(
          stageOutcome(),
          seen({ succeeded: 10 - silent, pending: silent }),
          GOING,
          now,
        );
        expect(judgement.kind).toBe(now < 3 * DAY ? 'waits' : 'stuck');
      }),
    );
  });
});
