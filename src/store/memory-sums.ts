/** Sums in memory. */
import type { Instant } from '../core/model/time.ts';
import type { Store } from './store.ts';
import { type AddedUp, type Addition, addedUp, EXTERNAL_SERIES, type LimitUse, type Sum } from './sums.ts';

export interface MemorySums {
  /** What the additions come to; nothing is written yet. */
  weigh(additions: readonly Addition[]): AddedUp;
  write(added: AddedUp): void;
  readonly sums: Store['sums'];
  readonly forgetSums: Store['forgetSums'];
}

export function createMemorySums(): MemorySums {
  const sums = new Map<string, Sum>();
  const limits = new Map<string, LimitUse>();

  return {
    weigh: (additions) => addedUp(additions, (series, key) => limits.get(`${series}\0${key}`)),

    write(added) {
      for (const more of added.sums) {
        const place = placeOf(more);
        const before = sums.get(place) ?? { sum: 0, count: 0 };
        sums.set(place, { ...more, sum: before.sum + more.sum, count: before.count + more.count });
      }
      for (const use of added.limits) limits.set(`${use.series}\0${use.key}`, use);
    },

    async sums({ series, since = Number.MIN_SAFE_INTEGER }) {
      return [...sums.values()]
        .filter((sum) => (series === undefined || sum.series === series) && sum.at >= since)
        .sort((a, b) => byBytes(a.series, b.series) || a.at - b.at || byBytes(a.name, b.name));
    },

    async forgetSums({ keep, before }) {
      const isOld = (series: string, at: Instant) =>
        !keep(series) || (series === EXTERNAL_SERIES && at < before);
      for (const [place, { series, at }] of sums) if (isOld(series, at)) sums.delete(place);
      for (const [place, { series, touchedAt }] of limits) if (isOld(series, touchedAt)) limits.delete(place);
    },
  };
}

/** As the databases compare. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Tells sums apart: no part contains NUL. */
function placeOf({ series, at, name }: Sum): string {
  return `${series}\0${at}\0${name}`;
}
