/**
 * Priorities of other systems as ours. There and here the larger number wins; but theirs may be 0, and where two are
 * equal the newer one wins there, while documents that arrive in one commit are equally new here.
 */

export interface Ranked {
  readonly priority: number;
  /** Any text or number whose order is that of creation. */
  readonly createdAt: string | number;
}

/** A positive priority for each, in the same order, all different; a number changes only where it must. */
export function priorities(ranked: readonly Ranked[]): number[] {
  const order = ranked
    .map(({ priority, createdAt }, at) => ({ at, priority: bounded(priority), createdAt }))
    .sort((a, b) => a.priority - b.priority || compare(a.createdAt, b.createdAt) || a.at - b.at);
  const shift = Math.max(0, 1 - (order[0]?.priority ?? 1));
  const result: number[] = [];
  let last = 0;
  for (const { at, priority } of order) {
    last = Math.max(priority + shift, last + 1);
    result[at] = last;
  }
  return result;
}

/** As large as a priority may be, with room for those that are moved up. */
const PRIORITY_MAX = 2_000_000_000;

function bounded(priority: number): number {
  return Math.min(PRIORITY_MAX, Math.max(0, Math.trunc(priority)));
}

function compare(a: string | number, b: string | number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
