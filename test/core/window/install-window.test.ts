import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DAY,
  type DurationMs,
  formatInstant,
  HOUR,
  type Instant,
  MINUTE,
} from '../../../src/core/model/time.ts';
import { firstOpen, inZone, windowAt, type ZonedWindow } from '../../../src/core/window/install-window.ts';

const at = (text: string): Instant => Date.parse(text);
const nightly = (zone: string, durationMs: DurationMs = 4 * HOUR): ZonedWindow => ({
  cron: '0 2 * * *',
  durationMs,
  zone,
});

/** `open until …`, `closed until …`, or without an end. */
function stateAt(window: ZonedWindow, now: string): string {
  const { isOpen, until } = windowAt(window, at(now));
  return `${isOpen ? 'open' : 'closed'}${until === undefined ? '' : ` until ${formatInstant(until)}`}`;
}

function check(window: ZonedWindow, expected: Readonly<Record<string, string>>): void {
  const found = Object.keys(expected).map((now) => [now, stateAt(window, now)]);
  expect(Object.fromEntries(found)).toEqual(expected);
  // Whatever was asked before, and in whatever order.
  for (const [now, state] of Object.entries(expected).reverse()) expect(stateAt(window, now)).toBe(state);
}

test('a window is open from the minute that it names, for its duration, and not at its end', () => {
  check(nightly('UTC'), {
    '2026-05-01T01:59:59Z': 'closed until 2026-05-01T02:00:00Z',
    '2026-05-01T02:00:00Z': 'open until 2026-05-01T06:00:00Z',
    '2026-05-01T05:59:59Z': 'open until 2026-05-01T06:00:00Z',
    '2026-05-01T06:00:00Z': 'closed until 2026-05-02T02:00:00Z',
  });
});

test('a window goes on over midnight', () => {
  check(
    { cron: '0 22 * * fri', durationMs: 10 * HOUR, zone: 'America/New_York' },
    {
      '2026-05-02T01:59:00Z': 'closed until 2026-05-02T02:00:00Z',
      '2026-05-02T03:59:00Z': 'open until 2026-05-02T12:00:00Z',
      '2026-05-02T11:59:00Z': 'open until 2026-05-02T12:00:00Z',
      '2026-05-02T12:00:00Z': 'closed until 2026-05-09T02:00:00Z',
    },
  );
});

describe('openings that overlap or touch are one window', () => {
  test('three hours of ninety minutes each end together', () => {
    const window = { cron: '0 1-3 * * *', durationMs: 90 * MINUTE, zone: 'UTC' };
    check(window, {
      '2026-05-01T00:59:00Z': 'closed until 2026-05-01T01:00:00Z',
      '2026-05-01T01:00:00Z': 'open until 2026-05-01T04:30:00Z',
      '2026-05-01T04:29:00Z': 'open until 2026-05-01T04:30:00Z',
      '2026-05-01T04:30:00Z': 'closed until 2026-05-02T01:00:00Z',
    });
  });

  test.each([
    ['every hour for 90 minutes', '0 * * * *', 90 * MINUTE],
    ['every hour for an hour', '0 * * * *', HOUR],
    ['every minute for a minute', '* * * * *', MINUTE],
    ['every day for a week', '0 2 * * *', 7 * DAY],
  ])('%s is always open', (_what, cron, durationMs) => {
    const window = { cron, durationMs, zone: 'UTC' };
    for (let hour = 0; hour < 100; hour++) {
      expect(windowAt(window, at('2026-05-01T00:30:00Z') + hour * HOUR)).toMatchObject({ isOpen: true });
    }
    expect(windowAt(window, at('2026-05-09T00:30:00Z')).until).toBeUndefined();
  });
});

describe('where clocks are changed', () => {
  test('a time that is skipped counts as the moment at which it is skipped', () => {
    const window = { cron: '30 2 * * *', durationMs: HOUR, zone: 'Europe/Berlin' };
    check(window, {
      '2026-03-28T01:30:00Z': 'open until 2026-03-28T02:30:00Z',
      '2026-03-29T00:59:00Z': 'closed until 2026-03-29T01:00:00Z',
      '2026-03-29T01:00:00Z': 'open until 2026-03-29T02:00:00Z',
      '2026-03-29T02:00:00Z': 'closed until 2026-03-30T00:30:00Z',
    });
    // The same on the other half of the earth.
    check(
      { ...window, zone: 'Australia/Sydney' },
      { '2026-10-03T15:59:00Z': 'closed until 2026-10-03T16:00:00Z' },
    );
  });

  test('a time that comes twice counts once', () => {
    check(
      { cron: '30 1 * * *', durationMs: 30 * MINUTE, zone: 'Europe/London' },
      {
        '2026-10-25T00:29:00Z': 'closed until 2026-10-25T00:30:00Z',
        '2026-10-25T00:30:00Z': 'open until 2026-10-25T01:00:00Z',
        '2026-10-25T01:30:00Z': 'closed until 2026-10-26T01:30:00Z',
      },
    );
  });

  test('a duration elapses: four hours from two are until seven or until five', () => {
    check(nightly('Europe/Berlin'), {
      '2026-03-28T01:00:00Z': 'open until 2026-03-28T05:00:00Z',
      '2026-03-29T01:00:00Z': 'open until 2026-03-29T05:00:00Z',
      '2026-10-25T00:00:00Z': 'open until 2026-10-25T04:00:00Z',
      '2026-10-26T01:00:00Z': 'open until 2026-10-26T05:00:00Z',
    });
  });

  test('a day that a country left out opens nothing for long', () => {
    // Samoa went from 29 to 31 December 2011.
    check(nightly('Pacific/Apia', HOUR), {
      '2011-12-29T13:00:00Z': 'closed until 2011-12-30T10:00:00Z',
      '2011-12-30T10:30:00Z': 'open until 2011-12-30T11:00:00Z',
      '2011-12-30T11:30:00Z': 'closed until 2011-12-30T12:00:00Z',
    });
  });
});

test('29 February is waited for over eight years', () => {
  check(
    { cron: '0 0 29 2 *', durationMs: DAY, zone: 'UTC' },
    {
      '2096-03-01T00:00:00Z': 'closed until 2104-02-29T00:00:00Z',
      '2104-02-29T12:00:00Z': 'open until 2104-03-01T00:00:00Z',
    },
  );
});

test('the first opening from an instant on is that instant, while the window is open', () => {
  const window = nightly('Asia/Kolkata');
  expect(firstOpen(window, at('2026-05-01T21:00:00Z'))).toBe(at('2026-05-01T21:00:00Z'));
  expect(firstOpen(window, at('2026-05-01T12:00:00Z'))).toBe(at('2026-05-01T20:30:00Z'));
});

describe('the time zone is', () => {
  const zoneOf = (timezone?: { zone: string } | { tag: string }, tags = {}, fleetTimezone = 'Asia/Tokyo') =>
    inZone(
      { cron: '0 2 * * *', durationMs: HOUR, ...(timezone === undefined ? {} : { timezone }) },
      { tags, fleetTimezone },
    ).zone;

  test('the one that the window names', () => {
    expect(zoneOf({ zone: 'Europe/Berlin' })).toBe('Europe/Berlin');
  });
  test('the one that the device has in the tag that the window names', () => {
    expect(zoneOf({ tag: 'tz' }, { tz: 'America/Lima' })).toBe('America/Lima');
  });
  test("the fleet's, where the window names none, or the device has no such tag or no such zone in it", () => {
    expect(zoneOf()).toBe('Asia/Tokyo');
    expect(zoneOf({ tag: 'tz' })).toBe('Asia/Tokyo');
    expect(zoneOf({ tag: 'tz' }, { tz: 'Mars/Phobos' })).toBe('Asia/Tokyo');
    expect(zoneOf({ tag: 'tz' }, { tz: '' })).toBe('Asia/Tokyo');
    expect(zoneOf({ tag: 'constructor' })).toBe('Asia/Tokyo');
  });
  test('UTC, where not even that is one', () => {
    expect(zoneOf(undefined, {}, 'Mars/Phobos')).toBe('UTC');
  });
});

describe('read minute by minute, clock in hand, the answers are the same', () => {
  /** Zones and days with changes of an hour, of half an hour and over midnight, and some without any. */
  const changes = [
    ['Europe/Berlin', '2026-03-29'],
    ['Europe/Berlin', '2026-10-25'],
    ['America/New_York', '2026-11-01'],
    ['Australia/Sydney', '2026-10-03'],
    ['Australia/Lord_Howe', '2026-04-04'],
    ['Australia/Lord_Howe', '2026-10-03'],
    ['America/Santiago', '2026-09-06'],
    ['Africa/Casablanca', '2026-02-15'],
    ['Asia/Kathmandu', '2026-06-01'],
    ['Pacific/Kiritimati', '2026-06-01'],
    ['Etc/GMT+12', '2026-06-01'],
  ] as const;
  const someOf = (low: number, high: number, maxLength: number) =>
    fc.uniqueArray(fc.integer({ min: low, max: high }), { minLength: 1, maxLength });
  const given = fc.record({
    place: fc.constantFrom(...changes),
    minutes: someOf(0, 59, 3),
    hours: fc.oneof(someOf(0, 4, 3), someOf(0, 23, 3)),
    weekdays: fc.option(someOf(0, 6, 6), { nil: undefined }),
    durationMs: fc.integer({ min: 1, max: 30 * 60 }).map((minutes) => minutes * MINUTE),
    offsets: fc.array(fc.integer({ min: 0, max: 3 * 24 * 60 - 1 }), { minLength: 1, maxLength: 8 }),
  });

  test('windows are open, and change next, when they are in the brute-force reading', () => {
    fc.assert(
      fc.property(given, ({ place: [zone, day], minutes, hours, weekdays, durationMs, offsets }) => {
        const cron = `${minutes.join()} ${hours.join()} * * ${weekdays?.join() ?? '*'}`;
        const begin = at(`${day}T00:00:00Z`) - 3 * DAY;
        const open = bruteForce(
          { zone, begin, minutes: 8 * 24 * 60, openMinutes: durationMs / MINUTE },
          (clock) =>
            [
              minutes.includes(clock.minute),
              hours.includes(clock.hour),
              weekdays?.includes(clock.weekday) ?? true,
            ].every(Boolean),
        );
        for (const offset of offsets) {
          const index = 2 * 24 * 60 + offset;
          const now = begin + index * MINUTE;
          const change = open.indexOf(!open[index], index);
          const changesAt = change === -1 ? undefined : begin + change * MINUTE;
          const { isOpen, until } = windowAt({ cron, durationMs, zone }, now);
          const said = `${cron} in ${zone} at ${formatInstant(now)}`;
          expect(isOpen, said).toBe(open[index]);
          // What is open for more than two days need not know for how long.
          if (changesAt === undefined || changesAt - now > 2 * DAY)
            expect(until ?? Infinity).toBeGreaterThan(now + 2 * DAY);
          else expect(until, said).toBe(changesAt);
        }
      }),
      { numRuns: 100 },
    );
  });
});

interface Clock {
  readonly minute: number;
  readonly hour: number;
  readonly weekday: number;
}

/**
 * Minute by minute, whether it is open, where a person opens it who looks at the clock every minute: whenever it shows
 * a time for the first time, and for each time that it jumped over.
 */
function bruteForce(
  of: { zone: string; begin: Instant; minutes: number; openMinutes: number },
  names: (clock: Clock) => boolean,
): readonly boolean[] {
  const open = Array.from({ length: of.minutes }, () => false);
  let latest = shownIn(of.zone, of.begin - MINUTE);
  for (let index = 0; index < of.minutes; index++) {
    const shown = shownIn(of.zone, of.begin + index * MINUTE);
    for (let time = latest + MINUTE; time <= shown; time += MINUTE) {
      const date = new Date(time);
      const clock = { minute: date.getUTCMinutes(), hour: date.getUTCHours(), weekday: date.getUTCDay() };
      if (names(clock)) open.fill(true, index, index + of.openMinutes);
    }
    latest = Math.max(latest, shown);
  }
  return open;
}

const read = new Map<string, Instant>();

/** What the clock shows, written as the instant at which one in UTC shows it. Clocks are changed at quarters of an hour. */
function shownIn(zone: string, time: Instant): Instant {
  const now = Math.floor(time / QUARTER) * QUARTER;
  return time - now + quarterShownIn(zone, now);
}

const QUARTER = 15 * MINUTE;

function quarterShownIn(zone: string, now: Instant): Instant {
  const key = `${zone} ${now}`;
  const known = read.get(key);
  if (known !== undefined) return known;
  const format = formats.get(zone) ?? clockFormat(zone);
  formats.set(zone, format);
  const part = Object.fromEntries(format.formatToParts(now).map(({ type, value }) => [type, Number(value)]));
  const { year = 0, month = 0, day = 0, hour = 0, minute = 0 } = part;
  const shown = Date.UTC(year, month - 1, day, hour, minute);
  read.set(key, shown);
  return shown;
}

const formats = new Map<string, Intl.DateTimeFormat>();
const clockFormat = (timeZone: string) =>
  new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  });
