/**
 * How often somebody may ask: in bursts, and for long. One cell per hash of a name, so that it costs the same memory however many
 * ask; names that share a cell share its rate, which leaves room for that.
 */
import { type Instant, SECOND } from '../core/model/time.ts';

export interface RateLimit {
  /** In how many seconds another request may come, or so many that come as one; undefined: now. */
  wait(name: string, now: Instant, times?: number): number | undefined;
  count(name: string, now: Instant, times?: number): void;
}

export interface Rate {
  /** Requests at once. */
  readonly burst: number;
  readonly perSecond: number;
  readonly cells: number;
}

/** Reports of a device, and polls of its that are no look-up: ten times what a busy one sends. */
export const DEVICE_RATE: Rate = { burst: 300, perSecond: 1, cells: 2 ** 18 };
/** Attempts to join that failed, of everybody together. */
export const REFUSED_RATE: Rate = { burst: 200, perSecond: 20, cells: 1 };

/** Observations that come with one token. Each may be a row that is kept for a month. */
export const OBSERVATION_RATE: Rate = { burst: 5000, perSecond: 10, cells: 2 ** 10 };

/** The generic cell rate algorithm (ITU-T I.371). `seed`: nobody can choose a name that shares another's cell. */
export function createRateLimit({ burst, perSecond, cells }: Rate, seed: number): RateLimit {
  /** When each cell would be empty, if nobody came any more. */
  const emptyAt = new Float64Array(cells);
  const each = SECOND / perSecond;
  const cellOf = (name: string) => (cells === 1 ? 0 : hashOf(name, seed) % cells);
  // A clock that was set back would keep people out for as long.
  const startOf = (cell: number, now: Instant) => {
    const start = Math.max(emptyAt[cell] ?? 0, now);
    return start - now > each * burst ? now : start;
  };
  return {
    wait(name, now, times = 1) {
      const late = startOf(cellOf(name), now) - now - each * (burst - times);
      return late > 0 ? Math.max(1, Math.ceil(late / SECOND)) : undefined;
    },
    count(name, now, times = 1) {
      const cell = cellOf(name);
      emptyAt[cell] = Math.min(startOf(cell, now) + each * times, now + each * burst);
    },
  };
}

/** FNV-1a over UTF-16 units. */
function hashOf(name: string, seed: number): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0;
  for (let at = 0; at < name.length; at += 1) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193) >>> 0;
  return hash;
}
