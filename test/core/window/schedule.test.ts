import { CronTime } from 'cron';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DAY, formatInstant, MINUTE } from '../../../src/core/model/time.ts';
import { compileSchedule } from '../../../src/core/window/schedule.ts';

/** The first instant after `since` that the expression names, in UTC. */
function next(cron: string, since: number): string {
  const schedule = compileSchedule(cron);
  if (!schedule.ok) throw new Error(schedule.message);
  for (let day = Math.floor(since / DAY); ; day++) {
    if (!schedule.isOn(day)) continue;
    const found = schedule.minutesOfDay.find((minute) => day * DAY + minute * MINUTE > since);
    if (found !== undefined) return formatInstant(day * DAY + found * MINUTE);
  }
}

describe('a cron expression names', () => {
  const since = Date.UTC(2027, 0, 1, 12);
  test.each([
    ['every day', '0 2 * * *', '2027-01-02T02:00:00Z'],
    ['a day of the week, a Sunday by either number or its name', '30 1 * * 7', '2027-01-03T01:30:00Z'],
    ['', '30 1 * * 0', '2027-01-03T01:30:00Z'],
    ['', '30 1 * * SUN', '2027-01-03T01:30:00Z'],
    ['a day of the month', '0 4 15 * *', '2027-01-15T04:00:00Z'],
    ['a day of the month or of the week, where both are said', '0 4 15 * mon', '2027-01-04T04:00:00Z'],
    ['29 February', '0 0 29 2 *', '2028-02-29T00:00:00Z'],
    ['the 31st, where there is one', '0 0 31 2-4 *', '2027-03-31T00:00:00Z'],
    ['steps, lists, ranges and months by name', '*/20,5 8-9 * mar,apr *', '2027-03-01T08:00:00Z'],
    ['all but the last minute of the hour', '0-58 * * * *', '2027-01-01T12:01:00Z'],
  ])('%s (%s)', (_what, cron, expected) => {
    expect(next(cron, since)).toBe(expected);
  });

  test('no minute that it leaves out', () => {
    expect(next('0-58 * * * *', since + 58 * MINUTE)).toBe('2027-01-01T13:00:00Z');
  });
});

describe('a mistake says which field, where it stands and what it must be', () => {
  test.each([
    ['60 2 * * *', 'column 1: the minute must be 0 to 59, found "60"'],
    ['0 24 * * *', 'column 3: the hour must be 0 to 23, found "24"'],
    ['0 2 0 * *', 'column 5: the day of the month must be 1 to 31, found "0"'],
    ['0 2 * jum *', 'column 7: the month must be 1 to 12 or jan to dec, found "jum"'],
    ['0 2 * * 8', 'column 9: the day of the week must be 0 to 7 or sun to sat, found "8"'],
    ['*/0 2 * * *', 'column 1: the minute must be 0 to 59, found "*/0"'],
    ['0 5-2 * * *', 'column 3: the hour must be 0 to 23, found "5-2"'],
    ['0 2 30 2 *', 'column 5: no year has such a day, found "0 2 30 2 *"'],
    ['0 2 31 4,6,9,11 *', 'column 5: no year has such a day, found "0 2 31 4,6,9,11 *"'],
    [
      '0 0 2 * * *',
      'column 1: expected minute, hour, day of month, month and day of week, found "0 0 2 * * *"',
    ],
    ['@daily', 'column 1: expected minute, hour, day of month, month and day of week, found "@daily"'],
  ])('%s', (cron, message) => {
    expect(compileSchedule(cron)).toMatchObject({ ok: false, message });
  });

  test('but 30 February or a Monday comes', () => {
    expect(compileSchedule('0 2 30 2 mon')).toMatchObject({ ok: true });
  });
});

test('in UTC the days and minutes are those of the cron package', () => {
  const field = (low: number, high: number) =>
    fc.oneof(
      { weight: 2, arbitrary: fc.constant('*') },
      fc.integer({ min: low, max: high }).map(String),
      fc
        .tuple(fc.integer({ min: low, max: high }), fc.integer({ min: low, max: high }))
        .map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
      fc.integer({ min: 2, max: high }).map((step) => `*/${step}`),
      fc
        .uniqueArray(fc.integer({ min: low, max: high }), { minLength: 2, maxLength: 4 })
        .map((list) => list.join(',')),
    );
  const cron = fc
    .tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
    .map((fields) => fields.join(' '));
  const since = fc.integer({ min: Date.UTC(2000, 0) / MINUTE, max: Date.UTC(2016, 0) / MINUTE });
  fc.assert(
    fc.property(cron, since, (text, minute) => {
      fc.pre(compileSchedule(text).ok);
      const start = new Date(minute * MINUTE);
      const theirs = new CronTime(text, 'UTC').getNextDateFrom(start, 'UTC').toMillis();
      expect(next(text, minute * MINUTE)).toBe(formatInstant(theirs));
    }),
    { numRuns: 300 },
  );
});
