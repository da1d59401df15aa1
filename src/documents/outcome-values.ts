/** Instants and durations as outcomes write them, and nothing but that is read. */
import { type DurationMs, formatDuration, type Instant, parseDuration } from '../core/model/time.ts';

/** A value that the schema lets pass but that means nothing, as the 31st of February; `decodeOutcome` catches it. */
export class UnreadableValue extends Error {
  override readonly name = 'UnreadableValue';
}

/** ISO 8601 in UTC, with milliseconds only where there are some. */
export function writeInstant(instant: Instant): string {
  return new Date(instant).toISOString().replace('.000Z', 'Z');
}

export function readInstant(text: string): Instant {
  const instant = Date.parse(text);
  // Some days that are in no calendar parse as the day after; nothing but what we would write is read.
  if (Number.isNaN(instant) || writeInstant(instant) !== text.replace('.000Z', 'Z')) {
    throw new UnreadableValue(
      `expected an instant such as 2026-03-01T06:00:00Z, found ${JSON.stringify(text)}`,
    );
  }
  return instant;
}

/** `6h` where that is exact, else `3723004ms`. */
export function writeDuration(duration: DurationMs): string {
  const text = formatDuration(duration);
  return parseDuration(text) === duration ? text : `${duration}ms`;
}

export function readDuration(text: string): DurationMs {
  const duration = parseDuration(text);
  if (duration === undefined)
    throw new UnreadableValue(`expected a duration such as 6h, found ${JSON.stringify(text)}`);
  return duration;
}
