/**
 * How long a stage must last for a bug to show in it. A share of its devices has the bug, and each of those fails after
 * a time that is exponentially distributed, with the mean MTTF.
 */
import { DAY, type DurationMs, HOUR } from '../model/time.ts';
import { chanceOfAtLeast } from './poisson.ts';

/** What a stage looks for. */
interface SoughtBug {
  /** Devices in the stage, at least 1. */
  readonly devices: number;
  /** The share of them that fails, above 0 and at most 1. */
  readonly failureRatio: number;
  /** How long one that fails runs before it does, on average; above 0. */
  readonly mttfMs: DurationMs;
  /** What kind of bug it is, where that is known: it sets a minimum of its own. */
  readonly bugClass?: BugClass;
  /** The share of the failures that is to have shown at the end, above 0 and below 1: no stage is long enough for all of them. */
  readonly confidence: number;
}

export interface StageDuration {
  /** devices × failure ratio: those that fail sooner or later. */
  readonly expectedFailures: number;
  /** P(X ≥ 2) with that mean: one failure is an accident, two are a pattern. A longer stage does not change it. */
  readonly chanceOfTwo: number;
  /**
   * MTTF ÷ (devices × failure ratio): when the first failure is to be expected. That is when to look, not when a stage may end: the
   * other failures come later, and more devices make it shorter without making them sooner.
   */
  readonly firstFailureMs: DurationMs;
  /** MTTF, by when 63 % have shown (1 − e⁻¹), or the minimum of the class of bug where that is longer. */
  readonly minimumMs: DurationMs;
  /** −ln(1 − confidence) × MTTF: when that share has shown, to the millisecond. */
  readonly exactMs: DurationMs;
  /** The same in whole MTTFs, 3 of them for 95 %, but never below the minimum. */
  readonly recommendedMs: DurationMs;
  /** 1 − e^(−recommended ÷ MTTF): the share that has shown by then. */
  readonly shownByRecommended: number;
}

/** How long bugs take to show, by their kind. Rare ones have no maximum: nobody who waits knows that there is none. */
export const BUG_CLASSES = {
  /** Devices do not boot, or crash at once. */
  catastrophic: { minMs: 6 * HOUR, maxMs: 12 * HOUR },
  /** Leaks, timing, what comes with load. */
  moderate: { minMs: 48 * HOUR, maxMs: 72 * HOUR },
  /** What takes a rare state, or a certain day of the week. */
  rare: { minMs: 7 * DAY, maxMs: undefined },
} as const satisfies Record<string, { readonly minMs: DurationMs; readonly maxMs: DurationMs | undefined }>;

export type BugClass = keyof typeof BUG_CLASSES;

export function stageDuration(bug: SoughtBug): StageDuration {
  const { devices, failureRatio, mttfMs, bugClass, confidence } = bug;
  const expectedFailures = devices * failureRatio;
  const minimumMs = Math.max(mttfMs, bugClass === undefined ? 0 : BUG_CLASSES[bugClass].minMs);
  const mttfs = -Math.log(1 - confidence);
  const recommendedMs = Math.max(minimumMs, Math.ceil(mttfs) * mttfMs);
  return {
    expectedFailures,
    chanceOfTwo: chanceOfAtLeast(2, expectedFailures),
    firstFailureMs: Math.round(mttfMs / expectedFailures),
    minimumMs,
    exactMs: Math.round(mttfs * mttfMs),
    recommendedMs,
    shownByRecommended: shareShown(recommendedMs, mttfMs),
  };
}

/** 1 − e^(−duration ÷ MTTF): the share of the failures that has shown after `durationMs`. */
export function shareShown(durationMs: DurationMs, mttfMs: DurationMs): number {
  return 1 - Math.exp(-durationMs / mttfMs);
}
