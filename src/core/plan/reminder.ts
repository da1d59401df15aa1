/** A deadline that people should know of while there is time, or that has passed. */
import type { RolloutName } from '../model/ids.ts';
import type { DurationMs, Instant } from '../model/time.ts';

export interface Reminder {
  readonly rollout: RolloutName;
  readonly attempt: number;
  readonly stage?: string;
  readonly deadlineAt: Instant;
  /**
   * How long before the deadline it was due: one of the few steps at which people are reminded, never a measurement. So one
   * that is returned by every pass is one reminder. 0: the deadline has passed.
   */
  readonly remainingMs: DurationMs;
  /** What happens at the deadline, or has happened: `the stage is paused`. */
  readonly consequence: string;
}
