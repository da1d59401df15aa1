/**
 * The clock of a ramp. It runs while the attempt makes offers and stands still while it does not, so that resuming
 * after a night does not let the night's devices in at once. It follows from the attempt's history alone.
 */
import type { Attempt, RolloutState, StageOutcome } from '../model/outcome.ts';
import type { DurationMs, Instant } from '../model/time.ts';

const OFFERING: ReadonlySet<RolloutState> = new Set(['running', 'waitingForApproval']);

/** Whether devices that an open stage contains are offered the attempt's revision. */
export function isOffering(attempt: Pick<Attempt, 'state'>): boolean {
  return OFFERING.has(attempt.state);
}

export interface RampClock {
  /** When the ramp would have begun, had it never stood still. */
  readonly rampStartedAt: Instant;
  /** Since when it stands still, if it does. */
  readonly rampHeldAt?: Instant;
}

export function rampClock(attempt: Attempt, stage: Pick<StageOutcome, 'openedAt'>): RampClock {
  let heldMs: DurationMs = 0;
  let heldAt: Instant | undefined;
  for (const { at, state } of attempt.history) {
    if (at < stage.openedAt) continue;
    if (!OFFERING.has(state)) heldAt ??= at;
    else if (heldAt !== undefined) {
      heldMs += at - heldAt;
      heldAt = undefined;
    }
  }
  const rampStartedAt = stage.openedAt + heldMs;
  return heldAt === undefined ? { rampStartedAt } : { rampStartedAt, rampHeldAt: heldAt };
}
