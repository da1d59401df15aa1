/**
 * Cron expressions: on which days, and at which minutes of such a day, as a clock on the wall shows them. The `cron`
 * package reads the expression. Its own search for the next date is not used: it asks the system's clock how far to
 * look, and reads an hour that is skipped in one way in Berlin and in another in Sydney. In UTC, where nothing is
 * skipped, a test holds its answers and ours together.
 */
import { CronTime, validateCronExpression } from 'cron';
import { DAY } from '../model/time.ts';
import { catchMistake, Mistake, type Mistaken, remember } from '../source-text.ts';

export interface Schedule {
  readonly ok: true;
  /** After midnight, ascending; the same on each of its days. */
  readonly minutesOfDay: readonly number[];
  /** Whether the day is one of its days, counted from 1 January 1970. Some day is, at least every eight years. */
  isOn(day: number): boolean;
}

/** Minute, hour, day of the month, month, day of the week. A day that no year has is a mistake, too. */
export const compileSchedule = remember((text: string): Schedule | Mistaken =>
  catchMistake(() => scheduleOf(text)),
);

const FIELDS = [
  'the minute must be 0 to 59',
  'the hour must be 0 to 23',
  'the day of the month must be 1 to 31',
  'the month must be 1 to 12 or jan to dec',
  'the day of the week must be 0 to 7 or sun to sat',
] as const;
const ANY_FIELDS = FIELDS.map(() => '*');
const DAYS_OF_MONTH_MAX = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function scheduleOf(text: string): Schedule {
  const fields = [...text.matchAll(/\S+/g)];
  if (fields.length !== FIELDS.length) {
    throw new Mistake(
      0,
      `expected minute, hour, day of month, month and day of week, found ${JSON.stringify(text)}`,
    );
  }
  for (const [index, field] of fields.entries()) {
    if (validateCronExpression(ANY_FIELDS.with(index, field[0]).join(' ')).valid) continue;
    throw new Mistake(field.index, `${FIELDS[index]}, found ${JSON.stringify(field[0])}`);
  }
  // What it parsed is private to the package: its one public form writes 0-58 as *.
  const time = new CronTime(text, 'UTC');
  const hours = numbersOf(time['hour']);
  const minutes = numbersOf(time['minute']);
  const months = new Set(numbersOf(time['month']));
  const daysOfMonth = new Set(numbersOf(time['dayOfMonth']));
  const daysOfWeek = new Set(numbersOf(time['dayOfWeek']));
  const anyDayOfMonth = daysOfMonth.size === 31;
  const anyDayOfWeek = daysOfWeek.size === 7;

  const exists = [...months].some((month) => Math.min(...daysOfMonth) <= (DAYS_OF_MONTH_MAX[month - 1] ?? 0));
  if (anyDayOfWeek && !exists) {
    throw new Mistake(fields[2]?.index ?? 0, `no year has such a day, found ${JSON.stringify(text)}`);
  }
  return {
    ok: true,
    minutesOfDay: hours.flatMap((hour) => minutes.map((minute) => hour * 60 + minute)),
    isOn(day) {
      const { month, dayOfMonth, dayOfWeek } = calendarOf(day);
      if (!months.has(month)) return false;
      // Where both kinds of day are restricted, either will do: the rule of every cron since 1979.
      if (anyDayOfMonth) return daysOfWeek.has(dayOfWeek);
      if (anyDayOfWeek) return daysOfMonth.has(dayOfMonth);
      return daysOfMonth.has(dayOfMonth) || daysOfWeek.has(dayOfWeek);
    },
  };
}

function numbersOf(field: Readonly<Record<number, true>>): readonly number[] {
  return Object.keys(field).map(Number);
}

function calendarOf(day: number): { month: number; dayOfMonth: number; dayOfWeek: number } {
  // biome-ignore lint/style/noRestrictedGlobals: a Date of a given day reads no clock.
  const date = new Date(day * DAY);
  return { month: date.getUTCMonth() + 1, dayOfMonth: date.getUTCDate(), dayOfWeek: date.getUTCDay() };
}
