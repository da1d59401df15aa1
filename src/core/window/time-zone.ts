/**
 * Time zones: what a clock on the wall shows at an instant, and when it first shows something. Times of such a clock
 * are written as the instant at which a clock in UTC shows the same.
 */
import { DAY, type DurationMs, HOUR, type Instant, MINUTE, SECOND } from '../model/time.ts';
import { remember } from '../source-text.ts';

export interface TimeZone {
  readonly ok: true;
  /** What the zone's clocks are ahead of UTC; negative where they are behind. */
  offsetMs(at: Instant): DurationMs;
}

/** The IANA time zone of that name. `ok: false` where there is none. */
export const timeZone = remember((name: string): TimeZone | { readonly ok: false } => {
  const format = formatIn(name);
  if (format === undefined) return { ok: false };
  return { ok: true, offsetMs: (at) => readOffset(format.format(at)) };
});

function formatIn(zone: string): Intl.DateTimeFormat | undefined {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' });
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** `1/1/1970, GMT-00:44:30`; offsets with seconds are a thing of the past. */
function readOffset(text: string): DurationMs {
  const [, sign = '+', hours = 0, minutes = 0, seconds = 0] =
    /GMT([+-])([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?$/.exec(text) ?? [];
  const offset = Number(hours) * HOUR + Number(minutes) * MINUTE + Number(seconds) * SECOND;
  return sign === '-' ? -offset : offset;
}

/**
 * The first instants at which clocks of the zone show each of these times, or a later one: once for a time that comes
 * twice, and where clocks are put forward over a time, when that happens. `minutes` are minutes of the day that begins
 * at `midnight`, both on the wall; the instants ascend with them.
 */
export function firstShown(
  midnight: Instant,
  minutes: readonly number[],
  zone: TimeZone,
): readonly Instant[] {
  const before = zone.offsetMs(midnight - DAY);
  const after = zone.offsetMs(midnight + 2 * DAY);
  return minutes.map((minute) => {
    const shown = midnight + minute * MINUTE;
    return before === after ? shown - before : aroundChange(shown, { before, after, zone });
  });
}

function aroundChange(
  shown: Instant,
  { before, after, zone }: { before: DurationMs; after: DurationMs; zone: TimeZone },
): Instant {
  if (zone.offsetMs(shown - before) === before) return shown - before;
  if (zone.offsetMs(shown - after) === after) return shown - after;
  // No clock ever shows it: they are put forward somewhere in between.
  let early = shown - after;
  let late = shown - before;
  while (late - early > MINUTE) {
    const middle = early + Math.floor((late - early) / 2 / MINUTE) * MINUTE;
    if (zone.offsetMs(middle) === before) early = middle;
    else late = middle;
  }
  return late;
}
