import { expect, test } from 'vitest';
import type { Attempt, RolloutState } from '../../../src/core/model/outcome.ts';
import { rampClock } from '../../../src/core/plan/ramp.ts';

const after = (...history: [number, RolloutState][]) =>
  ({ history: history.map(([at, state]) => ({ at, state, cause: 'started' })) }) as unknown as Attempt;
const STAGE = { openedAt: 100 };

test.each([
  ['it has run all the time', after([0, 'ready'], [100, 'running']), { rampStartedAt: 100 }],
  ['it is paused', after([100, 'running'], [150, 'paused']), { rampStartedAt: 100, rampHeldAt: 150 }],
  [
    'it was paused twice',
    after([100, 'running'], [150, 'paused'], [180, 'running'], [200, 'paused'], [205, 'running']),
    { rampStartedAt: 135 },
  ],
  [
    'it was superseded while paused',
    after([100, 'running'], [150, 'paused'], [160, 'superseded']),
    { rampStartedAt: 100, rampHeldAt: 150 },
  ],
  [
    'it was paused before the stage opened',
    after([10, 'running'], [20, 'paused'], [30, 'running']),
    { rampStartedAt: 100 },
  ],
  [
    'a stage waits for its approval, which stops nobody',
    after([100, 'running'], [150, 'waitingForApproval'], [190, 'running']),
    { rampStartedAt: 100 },
  ],
] as const)('the clock of a ramp where %s', (_what, attempt, clock) => {
  expect(rampClock(attempt, STAGE)).toEqual(clock);
});
