/** What many runs came to: of each figure the median and the range that four fifths of the runs lie in. */
import type { FoundBy, Run } from './run.ts';

/** Of the runs in which a fault was found. */
export interface Spread {
  readonly p10: number;
  readonly median: number;
  readonly p90: number;
}

export interface Summary {
  readonly runs: number;
  readonly found: number;
  /** 0 to 1. */
  readonly neverFound: number;
  readonly afterMs?: Spread;
  readonly reached?: Spread;
  readonly hit?: Spread;
  /** By stage and by what found it, the most frequent first. */
  readonly where: readonly { readonly stage: string; readonly by: FoundBy; readonly runs: number }[];
  /** How the attempts stood at the end, the most frequent first. */
  readonly ends: readonly { readonly state: Run['state']; readonly runs: number }[];
}

export function summarise(runs: readonly Run[]): Summary {
  const found = runs.flatMap((run) => (run.found === undefined ? [] : [run.found]));
  const spreads =
    found.length === 0
      ? {}
      : {
          afterMs: spreadOf(found.map(({ afterMs }) => afterMs)),
          reached: spreadOf(found.map(({ reached }) => reached)),
          hit: spreadOf(found.map(({ hit }) => hit)),
        };
  return {
    runs: runs.length,
    found: found.length,
    neverFound: runs.length === 0 ? 0 : (runs.length - found.length) / runs.length,
    ...spreads,
    where: counted(found.map(({ stage, by }) => ({ stage, by }))),
    ends: counted(runs.map(({ state }) => ({ state }))),
  };
}

/** Nearest rank: each is a figure that some run had. */
function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { p10: at(0.1), median: at(0.5), p90: at(0.9) };
}

/** Equal ones once, with how many there were; what was first stays first among equals. */
function counted<T extends object>(items: readonly T[]): readonly (T & { readonly runs: number })[] {
  const counts = new Map<string, { readonly item: T; runs: number }>();
  for (const item of items) {
    const key = JSON.stringify(item);
    const known = counts.get(key);
    if (known === undefined) counts.set(key, { item, runs: 1 });
    else known.runs += 1;
  }
  return [...counts.values()].sort((a, b) => b.runs - a.runs).map(({ item, runs }) => ({ ...item, runs }));
}
