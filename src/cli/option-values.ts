/** What the values of options may be. Each reads one as it is written, or says what it must be. */
import { InvalidArgumentError } from 'commander';
import type { SignalValue } from '../core/model/device.ts';
import { DAY, type DurationMs, HOUR, type Instant, parseDuration } from '../core/model/time.ts';
import { parseShare } from '../documents/quantity.ts';
import { type Fault, parseFault, signalValue } from '../simulate/fault.ts';

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
/** An instant as documents write it: `2026-01-05T08:00:00Z`. */
export function instant(text: string): Instant {
  const at = INSTANT.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  throw new InvalidArgumentError('It must be an instant in UTC such as 2026-01-05T08:00:00Z.');
}

const INSTANT = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?Z$/;

/** One of several faults. */
export function fault(text: string, before: readonly Fault[]): readonly Fault[] {
  const parsed = parseFault(text);
  if (parsed.ok) return [...before, parsed.fault];
  throw new InvalidArgumentError(`${parsed.message}.`);
}

type Named<Value> = readonly (readonly [name: string, value: Value])[];

/** `crash=0.0002/d`: incidents of a device in a day, or in an hour. */
export function rate(text: string, before: Named<number>): Named<number> {
  const [, name = '', amount, unit] = RATE.exec(text) ?? [];
  if (amount === undefined) {
    throw new InvalidArgumentError(
      'It must be an event and how often it happens, as crash=0.0002/d or crash=0.002/h.',
    );
  }
  return [...before, [name, Number(amount) / (unit === 'd' ? DAY / HOUR : 1)]];
}

const RATE = /^([A-Za-z][\w.-]*)=([0-9]{1,6}(?:\.[0-9]{1,12})?)\/(h|d)$/;

/** `battery.level=80`: what healthy devices report. */
export function signal(text: string, before: Named<SignalValue>): Named<SignalValue> {
  const [, name = '', value] = SIGNAL.exec(text) ?? [];
  if (value !== undefined) return [...before, [name, signalValue(value)]];
  throw new InvalidArgumentError('It must be a signal and its value, as drops=0 or gap=3s.');
}

const SIGNAL = /^([A-Za-z_][\w.]*)=(.+)$/;
