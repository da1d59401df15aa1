/** What the values of options may be. Each reads one as it is written, or says what it must be. */
import { InvalidArgumentError } from 'commander';
import { type DurationMs, parseDuration } from '../core/model/time.ts';
import { parseShare } from '../documents/quantity.ts';

/** 1 to 999,999,999. */
export function wholeNumber(text: string): number {
  if (/^[1-9][0-9]{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a positive whole number.');
}

/** 0 to 999,999,999. */
export function wholeNumberOrNone(text: string): number {
  if (/^(0|[1-9][0-9]{0,8})$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number, 0 or more.');
}

/** Longer than nothing. */
export function duration(text: string): DurationMs {
  const parsed = parseDuration(text);
  if (parsed !== undefined && parsed > 0) return parsed;
  throw new InvalidArgumentError('It must be a duration such as 90m, 4h or 6w.');
}

/** Above 0 % and at most 100 %, as a ratio. The sign is required: whoever writes 0.5 may mean half, or half a per cent. */
export function percentage(text: string): number {
  const share = parseShare(text);
  if (share !== undefined && share.numerator > 0) return share.numerator / share.denominator;
  throw new InvalidArgumentError(
    'It must be a percentage above 0% and at most 100%, as 0.5%, with at most four decimals.',
  );
}

/** 0 to 1, or the same as a percentage. */
export function ratio(text: string): number {
  if (/^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$/.test(text)) return Number(text);
  const share = parseShare(text);
  if (share !== undefined) return share.numerator / share.denominator;
  throw new InvalidArgumentError('It must be a number from 0 to 1 or a percentage, as 0.2 or 20%.');
}

/** An amount of money, 0 or more, to the cent. */
export function amount(text: string): number {
  if (/^(0|[1-9][0-9]{0,11})(\.[0-9]{1,2})?$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be an amount as 200 or 0.50, without a sign or separators.');
}

/** A size in kilobytes of 1024 bytes: 512KB, 1.8MB. */
export function kilobytes(text: string): number {
  const [, amount, unit] = /^([0-9]{1,9}(?:\.[0-9]{1,6})?) ?(KB|MB|GB)$/i.exec(text) ?? [];
  const factors: Readonly<Record<string, number>> = { KB: 1, MB: 1024, GB: 1024 * 1024 };
  const size = Number(amount) * (factors[unit?.toUpperCase() ?? ''] ?? Number.NaN);
  if (size > 0) return size;
  throw new InvalidArgumentError('It must be a size as 512KB, 1.8MB or 2GB.');
}
