import { expect, test } from 'vitest';
import { emptyStageTally, type StageTally } from '../../../src/core/assign/tally.ts';
import { DAY, HOUR, type Instant } from '../../../src/core/model/time.ts';
import { judgeProgress } from '../../../src/core/plan/judge.ts';
import { windowKey, type ZonedWindow } from '../../../src/core/window/install-window.ts';
import { stageOutcome } from './attempts.ts';

const at = (text: string): Instant => Date.parse(text);
const MONDAY = at('2026-05-04T00:00:00Z');
const SUNDAYS: ZonedWindow = { cron: '0 2 * * sun', durationMs: 4 * HOUR, zone: 'UTC' };
const NIGHTS: ZonedWindow = { cron: '0 2 * * *', durationMs: 4 * HOUR, zone: 'UTC' };
const stage = stageOutcome({ openedAt: MONDAY, stuckAfterMs: 2 * DAY });

function waiting(...windows: readonly (readonly [ZonedWindow, number])[]): StageTally {
  const tally = emptyStageTally();
  for (const [window, devices] of windows) tally.windows.set(windowKey(window), { window, devices });
  return { ...tally, counts: { ...tally.counts, pending: 10 } };
}

/** When the stage is stuck, as it looks on `now`. */
function stuckAt(tally: StageTally, now: Instant, rampEndsAt: Instant = MONDAY): Instant | undefined {
  const judgement = judgeProgress(
    stage,
    tally,
    { runningSince: MONDAY, rampEndsAt, promoted: false, readings: [] },
    now,
  );
  if (judgement.kind === 'stuck') return now;
  return judgement.kind === 'waits' ? judgement.until : undefined;
}

test('silence counts from the first window of the last device', () => {
  expect(stuckAt(waiting(), MONDAY)).toBe(MONDAY + 2 * DAY);
  expect(stuckAt(waiting([NIGHTS, 10]), MONDAY)).toBe(at('2026-05-06T02:00:00Z'));
  expect(stuckAt(waiting([NIGHTS, 9], [SUNDAYS, 1]), MONDAY)).toBe(at('2026-05-12T02:00:00Z'));
  expect(stuckAt(waiting([SUNDAYS, 10]), at('2026-05-12T01:59:59Z'))).toBe(at('2026-05-12T02:00:00Z'));
  expect(stuckAt(waiting([SUNDAYS, 10]), at('2026-05-12T02:00:00Z'))).toBe(at('2026-05-12T02:00:00Z'));
});

test('a window that no device waits for any more does not count', () => {
  expect(stuckAt(waiting([NIGHTS, 10], [SUNDAYS, 0]), MONDAY)).toBe(at('2026-05-06T02:00:00Z'));
});

test('a window that is open already counts from when the stage, or its ramp, let the device in', () => {
  const open = { ...NIGHTS, cron: '0 22 * * *' };
  expect(stuckAt(waiting([open, 10]), MONDAY)).toBe(MONDAY + 2 * DAY);
  expect(stuckAt(waiting([NIGHTS, 10]), MONDAY, MONDAY + 12 * HOUR)).toBe(at('2026-05-07T02:00:00Z'));
});

test('the reason says when the last window opens, until it does', () => {
  const reason = (now: Instant) =>
    judgeProgress(
      stage,
      waiting([SUNDAYS, 10]),
      { runningSince: MONDAY, rampEndsAt: MONDAY, promoted: false, readings: [] },
      now,
    ).because;
  expect(reason(MONDAY)).toContain('; the last install window opens at 2026-05-10T02:00:00Z');
  expect(reason(at('2026-05-10T02:00:00Z'))).not.toContain('install window');
});
