/** Numbers in sentences about gates. */

/** `12,340`, `4.1`, `0.0021`: three digits that matter, and whole numbers whole. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return grouped(Math.round(value));
  return String(Number(value.toPrecision(3)));
}

export function percent(share: number): string {
  return `${Number((100 * share).toPrecision(4))} %`;
}

export function points(share: number): string {
  return `${Number((100 * share).toPrecision(4))} points`;
}

/** `4.0 times`, `12 times`. */
export function times(ratio: number): string {
  return `${ratio >= 10 ? figure(Math.round(ratio)) : ratio.toFixed(1)} times`;
}

/** Evidence by its logarithm: `17.5`, and from a million on the power of ten that it has. */
export function evidenceText(log: number): string {
  if (log < Math.log(1e6)) return figure(Math.exp(log));
  return `10^${Math.floor(log / Math.LN10)}`;
}

function grouped(whole: number): string {
  return String(whole).replace(/\B(?=([0-9]{3})+$)/g, ',');
}

/** Whether `value` is more than `limit`, where a difference in the last digits is none: 0.9 − 0.85 is not above 0.05. */
export function exceeds(value: number, limit: number): boolean {
  return value > limit + 1e-12 * Math.max(1, Math.abs(limit));
}
