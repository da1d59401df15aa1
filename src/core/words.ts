/** Numbers as people read them, wherever they are shown. */

/** `1,250`: the same on every machine, whatever its locale. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** A ratio as `95.02%`: to two decimals, or four where those would say nothing or everything. */
export function formatPercent(ratio: number): string {
  const percent = ratio * 100;
  return `${Number(percent.toFixed(percent < 1 || percent > 99 ? 4 : 2))}%`;
}

/** `1 device`, `1,250 devices`. */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}
