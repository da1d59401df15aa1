/** Many runs in a few figures. */
import { expect, test } from 'vitest';
import type { Run } from '../../src/simulate/run.ts';
import { summarise } from '../../src/simulate/summary.ts';

function runFound(afterMs: number | undefined): Run {
  const sampled = { share: 1, devices: 0 };
  return {
    seed: '',
    startAt: 0,
    lastedMs: 0,
    state: afterMs === undefined ? 'succeeded' : 'paused',
    reason: '',
    stages: [],
    moments: [],
    reached: 0,
    hit: 0,
    timeline: [],
    sampled: { treated: sampled, control: sampled },
    isInterrupted: false,
    ...(afterMs === undefined
      ? {}
      : {
          found: {
            afterMs,
            stage: afterMs > 5 ? 'fleet' : 'canary',
            intoStageMs: 0,
            by: { kind: 'errorThreshold' },
            action: 'pause',
            because: '',
            reached: 10 * afterMs,
            hit: afterMs,
          },
        }),
  };
}

test('figures are those of runs: the median, and where the middle four fifths end', () => {
  const summary = summarise([3, 1, 2, 10, 9, 8, 7, 6, 5, 4, undefined, undefined].map(runFound));
  expect(summary).toMatchObject({
    runs: 12,
    found: 10,
    neverFound: 2 / 12,
    afterMs: { p10: 1, median: 5, p90: 9 },
    reached: { p10: 10, median: 50, p90: 90 },
    hit: { p10: 1, median: 5, p90: 9 },
    where: [
      { stage: 'canary', by: { kind: 'errorThreshold' }, runs: 5 },
      { stage: 'fleet', runs: 5 },
    ],
    ends: [
      { state: 'paused', runs: 10 },
      { state: 'succeeded', runs: 2 },
    ],
  });
});

test('where nothing was found there is nothing to spread', () => {
  expect(summarise([undefined, undefined].map(runFound))).toEqual({
    runs: 2,
    found: 0,
    neverFound: 1,
    where: [],
    ends: [{ state: 'succeeded', runs: 2 }],
  });
});
