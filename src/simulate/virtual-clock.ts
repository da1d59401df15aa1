/** A clock that stands still until it is told to go on: days pass in the time that the work in them takes. */
import type { Clock } from '../clock.ts';
import type { DurationMs, Instant } from '../core/model/time.ts';

export interface VirtualClock extends Clock {
  /** Lets time pass; whoever slept until then wakes, in the order of waking. */
  advance(duration: DurationMs): void;
}

export function createVirtualClock(startAt: Instant): VirtualClock {
  let now = startAt;
  let sleepers: { readonly at: Instant; readonly wake: () => void }[] = [];
  return {
    now: () => now,
    sleep(duration, signal) {
      if (signal?.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        sleepers.push({ at: now + duration, wake: resolve });
        signal?.addEventListener('abort', () => resolve(), { once: true });
      });
    },
    advance(duration) {
      now += duration;
      const due = sleepers.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at);
      sleepers = sleepers.filter(({ at }) => at > now);
      for (const { wake } of due) wake();
    },
  };
}
