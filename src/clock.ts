/** The only place that reads the time or waits. Everything else is given a {@link Clock}. */
import { setTimeout as wait } from 'node:timers/promises';
import { type DurationMs, formatDuration, type Instant, MINUTE, SECOND } from './core/model/time.ts';

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

/** A clock whose steps are noticed. */
export interface SteadyClock extends Clock {
  /** Why the time is doubted, in a sentence, while it is. */
  doubt(): string | undefined;
  /** How often the time was set anew: durations measured across that are wrong. */
  timesSet(): number;
}

/** Steps up to this size are what time servers do, and are followed at once. */
const STEP_MAX_MS = MINUTE;
/** A larger step is believed once the clock has kept to it for this long. */
const DOUBT_MS = 10 * MINUTE;

/**
 * The wall clock, held to what has passed since by a clock that only runs forward. Everything that waits counts on the time:
 * a clock that jumps ahead would end every soak at once, and make every device's token look expired. So after a
 * large step the time runs on as before; it takes the new time over when the wall clock has kept to it for ten
 * minutes, in which somebody can set it right. A machine that slept looks the same, and is treated the same.
 *
 * `wall` is in milliseconds since 1970, `elapsed` in milliseconds since whenever.
 */
export function steadyClock(sources: {
  readonly wall: () => Instant;
  readonly elapsed: () => DurationMs;
  readonly sleep: Clock['sleep'];
}): SteadyClock {
  const { wall, elapsed } = sources;
  /** The time is `elapsed() + offset`. */
  let offset = wall() - elapsed();
  let doubted: { readonly offset: number; readonly since: DurationMs } | undefined;
  let timesSet = 0;

  function look(): void {
    const passed = elapsed();
    const seen = wall() - passed;
    if (Math.abs(seen - offset) <= STEP_MAX_MS) {
      offset = seen;
      doubted = undefined;
      return;
    }
    // One that goes on jumping is doubted from its last jump on.
    if (doubted === undefined || Math.abs(seen - doubted.offset) > STEP_MAX_MS) {
      doubted = { offset: seen, since: passed };
      return;
    }
    if (passed - doubted.since < DOUBT_MS) return;
    offset = seen;
    doubted = undefined;
    timesSet += 1;
  }

  return {
    now() {
      look();
      return Math.floor(elapsed() + offset);
    },
    sleep: sources.sleep,
    doubt() {
      look();
      if (doubted === undefined) return undefined;
      const step = doubted.offset - offset;
      const left = formatDuration(Math.ceil((DOUBT_MS - (elapsed() - doubted.since)) / MINUTE) * MINUTE);
      return (
        `the clock jumped ${step > 0 ? 'ahead' : 'back'} by ${formatDuration(Math.round(Math.abs(step) / SECOND) * SECOND)}, or the machine slept; ` +
        `set it right, or it is taken over in ${left}`
      );
    },
    timesSet: () => timesSet,
  };
}

async function sleepReal(durationMs: number, signal?: AbortSignal): Promise<void> {
  try {
    await wait(Math.max(0, durationMs), undefined, signal === undefined ? {} : { signal });
  } catch {
    // An aborted wait is a finished one; the caller looks at its signal.
  }
}
