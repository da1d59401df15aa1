/** The only place that reads the time or waits. Everything else is given a {@link Clock}. */
import { setTimeout as wait } from 'node:timers/promises';
import type { DurationMs, Instant } from './core/model/time.ts';

export interface Clock {
  now(): Instant;
  /** Resolves after `duration`, or as soon as `signal` aborts; never rejects. */
  sleep(duration: DurationMs, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (duration, signal) => sleepReal(duration, signal),
};

/**
 * A clock that runs `rate` times as fast as the system's, from `startAt` on: the demo plays hours in seconds with it.
 * `rate` may be changed while it runs; the time never jumps.
 */
export function scaledClock(startAt: Instant, rate: number): Clock & { setRate(rate: number): void } {
  let anchorReal = performance.now();
  let anchor = startAt;
  let speed = rate;
  const now = () => Math.floor(anchor + (performance.now() - anchorReal) * speed);
  return {
    now,
    sleep: (duration, signal) => sleepReal(duration / speed, signal),
    setRate(next) {
      anchor = now();
      anchorReal = performance.now();
      speed = next;
    },
  };
}

async function sleepReal(durationMs: number, signal?: AbortSignal): Promise<void> {
  try {
    await wait(Math.max(0, durationMs), undefined, signal === undefined ? {} : { signal });
  } catch {
    // An aborted wait is a finished one; the caller looks at its signal.
  }
}
