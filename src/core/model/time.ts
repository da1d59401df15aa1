/**
 * Instants and durations. Both are whole milliseconds; an instant counts from the Unix epoch.
 * Nothing here reads a clock: whoever needs the time is given it.
 */

declare const instant: unique symbol;
/** Milliseconds since the Unix epoch. */
export type Instant = number & { readonly [instant]?: never };
/** A length of time in milliseconds. */
export type DurationMs = number;

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
const WEEK = 7 * DAY;

const UNITS: readonly (readonly [string, DurationMs])[] = [
  ['w', WEEK],
  ['d', DAY],
  ['h', HOUR],
  ['m', MINUTE],
  ['s', SECOND],
  ['ms', 1],
];
const UNIT_MS = new Map(UNITS);

/** One or more `<number><unit>` parts, as in `90s`, `1.5h` or `1h30m`. The schemas bound the digits, too. */
export const DURATION_PATTERN = '^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d|w))+$';
const DURATION = new RegExp(DURATION_PATTERN);
/** What nearly every duration is: reports have many of them. */
const ONE_PART = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)$/;

const PARTS = /([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)/g;

/** The duration that `text` names, or undefined where it is not one. Fractions round to whole milliseconds. */
export function parseDuration(text: string): DurationMs | undefined {
  const single = ONE_PART.exec(text);
  if (single === null && !DURATION.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of single === null ? text.matchAll(PARTS) : [single]) {
    total += Number(amount) * (UNIT_MS.get(unit ?? '') ?? Number.NaN);
  }
  const rounded = Math.round(total);
  return Number.isSafeInteger(rounded) ? rounded : undefined;
}

/** For people: the two largest units that matter, the rest left out: `6h`, `1h30m`, `0s`. */
export function formatDuration(duration: DurationMs): string {
  let rest = Math.abs(Math.round(duration));
  if (rest === 0) return '0s';
  const parts: string[] = [];
  // Weeks are left out: people read "14d" faster than "2w".
  for (const [unit, size] of UNITS.slice(1)) {
    const amount = Math.floor(rest / size);
    rest -= amount * size;
    if (amount > 0) parts.push(`${amount}${unit}`);
    if (parts.length === 2) break;
  }
  return (duration < 0 ? '-' : '') + parts.join('');
}

/** ISO 8601 in UTC, to the second where that is exact: `2026-11-21T08:00:00Z`. */
export function formatInstant(at: Instant): string {
  // biome-ignore lint/style/noRestrictedGlobals: a Date of a given instant reads no clock.
  return new Date(at).toISOString().replace('.000Z', 'Z');
}
