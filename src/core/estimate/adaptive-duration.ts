/** How long a stage lasts by what it is for, and what changes that: the rule of thumb beside the arithmetic of duration.ts. */
import { type DurationMs, HOUR } from '../model/time.ts';

/** How long each kind of stage lasts where nothing is out of the ordinary. */
export const STAGE_BASES = {
  alpha: 24 * HOUR,
  beta: 72 * HOUR,
  canary: 6 * HOUR,
  early: 24 * HOUR,
  regional: 72 * HOUR,
  full: 168 * HOUR,
} as const satisfies Record<string, DurationMs>;

export type StageKind = keyof typeof STAGE_BASES;

interface AdaptiveInput {
  readonly kind: StageKind;
  readonly devices: number;
  /** How likely the release is to have a bug that shows rarely, 0 to 1. */
  readonly rareBugRatio: number;
  readonly isSafetyCritical: boolean;
}

export interface AdaptiveDuration {
  readonly durationMs: DurationMs;
  readonly baseMs: DurationMs;
  /** What the base was multiplied by, in order; empty where it stays as it is. */
  readonly factors: readonly Factor[];
}

export interface Factor {
  readonly factor: number;
  readonly reason: 'rare bugs' | 'safety-critical' | 'small stage';
}

/** Above it rare bugs are to be reckoned with; exactly this much is not above. */
export const RARE_BUG_RATIO_MAX = 0.1;
/** Fewer are looked at one by one; exactly so many are not fewer. */
export const SMALL_STAGE_DEVICES = 100;

/** The base of the kind × 2 where rare bugs are likely × 1.5 where lives depend on it × 0.5 where the stage is small. */
export function adaptiveDuration(input: AdaptiveInput): AdaptiveDuration {
  const baseMs = STAGE_BASES[input.kind];
  const factors: Factor[] = [];
  if (input.rareBugRatio > RARE_BUG_RATIO_MAX) factors.push({ factor: 2, reason: 'rare bugs' });
  if (input.isSafetyCritical) factors.push({ factor: 1.5, reason: 'safety-critical' });
  if (input.devices < SMALL_STAGE_DEVICES) factors.push({ factor: 0.5, reason: 'small stage' });
  return { durationMs: factors.reduce((product, { factor }) => product * factor, baseMs), baseMs, factors };
}
