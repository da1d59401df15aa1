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
 * How scaled time runs: at the real instant `startedAt` it was `startAt`, and it runs `rate` times as fast. Clocks of one
 * scale show the same time, also in different threads.
 */
export interface TimeScale {
  readonly startAt: Instant;
  readonly startedAt: Instant;
  readonly rate: number;
}

/** A clock that runs faster than the system's: the demo plays hours in seconds with it. */
export function scaledClock(scale: TimeScale): Clock {
  return {
    now: () => Math.floor(scale.startAt + (realNow() - scale.startedAt) * scale.rate),
    sleep: (duration, signal) => sleepReal(duration / scale.rate, signal),
  };
}

/** Real time in fractions of a millisecond, the same in every thread of the process. */
export function realNow(): number {
  return performance.timeOrigin + performance.now();
}

async function sleepReal(durationMs: number, signal?: AbortSignal): Promise<void> {
  try {
    await wait(Math.max(0, durationMs), undefined, signal === undefined ? {} : { signal });
  } catch {
    // An aborted wait is a finished one; the caller looks at its signal.
  }
}
