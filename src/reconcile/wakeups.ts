/** A sleep that others may end: sooner for somebody who waits than for news that may gather first. */
import type { Clock } from '../clock.ts';
import type { DurationMs } from '../core/model/time.ts';

/** How soon the next pass is waited for. */
export type Urgency = 'soon' | 'now';

export interface Wakeups {
  wake(urgency: Urgency): void;
  /**
   * Sleeps; how urgent the wake was that ended it, if one did. Only wakes that are at least `least` end it, also one that
   * came just before.
   */
  sleep(
    durationMs: DurationMs,
    given: { readonly signal: AbortSignal; readonly least?: Urgency },
  ): Promise<Urgency | undefined>;
}

export function createWakeups(clock: Pick<Clock, 'sleep'>): Wakeups {
  let woken: Urgency | undefined;
  let sleeper: { readonly abort: AbortController; readonly least: Urgency } | undefined;
  const isEnough = (wake: Urgency | undefined, least: Urgency) =>
    wake === 'now' || (wake === 'soon' && least === 'soon');
  return {
    wake(urgency) {
      if (woken !== 'now') woken = urgency;
      if (sleeper !== undefined && isEnough(urgency, sleeper.least)) sleeper.abort.abort();
    },
    async sleep(durationMs, { signal, least = 'soon' }) {
      const abort = new AbortController();
      sleeper = { abort, least };
      if (!isEnough(woken, least)) await clock.sleep(durationMs, AbortSignal.any([signal, abort.signal]));
      sleeper = undefined;
      const was = woken;
      woken = undefined;
      return was;
    },
  };
}
