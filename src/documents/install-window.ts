/**
 * Install windows and time zones as documents write them: what a schema cannot check is whether there is such a time
 * zone, and whether the window ever opens.
 */
import type * as Desired from '../core/model/desired.ts';
import { type DurationMs, formatDuration, MINUTE, parseDuration } from '../core/model/time.ts';
import { DURATION_MAX_MS } from '../core/window/install-window.ts';
import { compileSchedule } from '../core/window/schedule.ts';
import { timeZone } from '../core/window/time-zone.ts';
import { nameOf, type Place, type Report } from './document.ts';
import { show, withoutColumn } from './problem.ts';
import { closest } from './suggest.ts';
import type { InstallWindow } from './types.generated.ts';

/** What cron can name: a shorter window would be over before most devices had heard of it. */
const DURATION_MIN_MS: DurationMs = MINUTE;

/** Always a window, also where something was reported: a snapshot with an error is not taken at all. */
export function normaliseWindow(written: InstallWindow, place: Place, report: Report): Desired.InstallWindow {
  const { cron, duration, timezone } = written;
  const at = (key: string): Place => ({ ...place, path: [...place.path, key] });
  const schedule = compileSchedule(cron);
  if (!schedule.ok) {
    report({ ...at('cron'), offset: schedule.offset }, 'install-window', withoutColumn(schedule.message));
  }
  const durationMs = parseDuration(duration) ?? 0;
  if (durationMs < DURATION_MIN_MS || durationMs > DURATION_MAX_MS) {
    const bounds = `${formatDuration(DURATION_MIN_MS)} to ${formatDuration(DURATION_MAX_MS)}`;
    const place = at('duration');
    report(place, 'install-window', `${nameOf(place.path)} must be ${bounds}, found ${show(duration)}`);
  }
  if (timezone === undefined) return { cron, durationMs };
  if (typeof timezone !== 'string') return { cron, durationMs, timezone: { tag: timezone.tag } };
  checkTimeZone(timezone, at('timezone'), report);
  return { cron, durationMs, timezone: { zone: timezone } };
}

export function checkTimeZone(name: string, place: Place, report: Report): void {
  if (timeZone(name).ok) return;
  const meant = closest(name, Intl.supportedValuesOf('timeZone'));
  const next =
    meant === undefined ? 'write an IANA name such as Europe/Berlin' : `did you mean ${show(meant)}?`;
  report(place, 'time-zone', `there is no time zone ${show(name)}; ${next}`);
}

/** Warns of devices that may sleep through the window, because they ask less often than it is long. */
export function reportSleepers(
  { durationMs }: Pick<Desired.InstallWindow, 'durationMs'>,
  pollIntervalMs: DurationMs,
  place: Place,
  report: Report,
): void {
  // What is too short for a window at all was reported.
  if (durationMs >= pollIntervalMs || durationMs < DURATION_MIN_MS) return;
  const [open, poll] = [formatDuration(durationMs), formatDuration(pollIntervalMs)];
  const message = `devices ask every ${poll} and may miss an install window of ${open}; make the window longer or pollInterval shorter`;
  report(place, 'short-window', message);
}
