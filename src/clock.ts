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

/** How scaled time runs: at the real instant `startedAt` it was `startAt`, and it runs `rate` times as fast. */
export interface TimeScale {
  readonly startAt: Instant;
  readonly startedAt: Instant;
  readonly rate: number;
}

export interface ScaledClock extends Clock {
  /** As it runs now: a clock made from it in another thread shows the same time. */
  scale(): TimeScale;
  rescale(scale: TimeScale): void;
  /** From now on it runs at this rate; the time does not jump. */
  setRate(rate: number): void;
}

/** A clock that runs faster than the system's: the demo plays hours in seconds with it. */
export function scaledClock(scale: Omit<TimeScale, 'startedAt'> & Partial<TimeScale>): ScaledClock {
  let current: TimeScale = { startedAt: realNow(), ...scale };
  const now = () => Math.floor(current.startAt + (realNow() - current.startedAt) * current.rate);
  return {
    now,
    sleep: (duration, signal) => sleepReal(duration / current.rate, signal),
    scale: () => current,
    rescale(next) {
      current = next;
    },
    setRate(rate) {
      current = { startAt: now(), startedAt: realNow(), rate };
    },
  };
}

/** Real time in fractions of a millisecond, the same in every thread of the process. */
function realNow(): number {
  return performance.timeOrigin + performance.now();
}

async function sleepReal(durationMs: number, signal?: AbortSignal): Promise<void> {
  try {
    await wait(Math.max(0, durationMs), undefined, signal === undefined ? {} : { signal });
  } catch {
    // An aborted wait is a finished one; the caller looks at its signal.
  }
}
