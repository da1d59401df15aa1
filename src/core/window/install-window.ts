/**
 * Install windows: whether one is open, and when that changes next. A window is open for its duration, as time elapses
 * and not as clocks show it, from each instant that its cron expression names in its time zone; openings that overlap
 * or touch are one.
 *
 * Time goes on in spans that are open or closed throughout. The span at hand is remembered, so that asking costs a
 * look-up for as long as it lasts.
 */
import { LRUCache } from 'lru-cache';
import type { InstallWindow } from '../model/desired.ts';
import { DAY, type DurationMs, type Instant } from '../model/time.ts';
import { compileSchedule, type Schedule } from './schedule.ts';
import { firstShown, timeZone } from './time-zone.ts';

/** A window in the time zone that holds for a device. */
export interface ZonedWindow {
  readonly cron: string;
  readonly durationMs: DurationMs;
  readonly zone: string;
}

export type WindowState =
  /** Until it closes; absent: it stays open for more than a day. */
  | { readonly isOpen: true; readonly until?: Instant }
  /** Until it opens. */
  | { readonly isOpen: false; readonly until: Instant };

/** A span, and the part of it for which what is said of it holds. */
type Span = WindowState & { readonly from: Instant; readonly knownUntil: Instant };

/** The longest window; it bounds how far back an opening matters. */
export const DURATION_MAX_MS: DurationMs = 7 * DAY;
const FALLBACK_ZONE = 'UTC';
/** Windows whose span is remembered: every zone there is for ten different ones. */
const REMEMBERED = 4096;
/** An open span is followed so far: longer than any assignment lives, with a day to spare. */
const FOLLOWED_MS: DurationMs = 2 * DAY;
/** 29 February comes back after eight years at the latest; the search begins some days before now. */
const DAYS_SEARCHED = 9 * 366;

const spans = new LRUCache<string, Span>({ max: REMEMBERED });

/** The window in its own time zone, else in the one that the device's tag names, else in the fleet's. */
export function inZone(
  { cron, durationMs, timezone }: InstallWindow,
  at: { readonly tags: Readonly<Record<string, string>>; readonly fleetTimezone: string },
): ZonedWindow {
  const named =
    timezone === undefined
      ? undefined
      : 'zone' in timezone
        ? timezone.zone
        : Object.hasOwn(at.tags, timezone.tag)
          ? at.tags[timezone.tag]
          : undefined;
  const zone = [named, at.fleetTimezone].find((name) => name !== undefined && timeZone(name).ok);
  return { cron, durationMs, zone: zone ?? FALLBACK_ZONE };
}

/** Equal for windows that are open at the same times by their wording. */
export function windowKey({ cron, durationMs, zone }: ZonedWindow): string {
  return `${zone} ${durationMs} ${cron}`;
}

export function windowAt(window: ZonedWindow, now: Instant): WindowState {
  const key = windowKey(window);
  const known = spans.get(key);
  if (known !== undefined && known.from <= now && now < known.knownUntil) return known;
  const span = spanAt(window, now);
  spans.set(key, span);
  return span;
}

/** The first instant from `since` on at which the window is open. */
export function firstOpen(window: ZonedWindow, since: Instant): Instant {
  const span = spanAt(window, since);
  return span.isOpen ? since : span.until;
}

function spanAt(window: ZonedWindow, now: Instant): Span {
  const { durationMs } = window;
  // What opened before this has closed a day ago.
  const since = now - durationMs - DAY;
  let from: Instant = now - DAY;
  let closesAt: Instant | undefined;
  for (const opensAt of openings(window, since)) {
    if (closesAt === undefined) {
      if (opensAt > now) return { isOpen: false, from, until: opensAt, knownUntil: opensAt };
      if (opensAt + durationMs <= now) from = Math.max(from, opensAt + durationMs);
      else {
        from = opensAt;
        closesAt = opensAt + durationMs;
      }
      continue;
    }
    if (opensAt > closesAt) break;
    if (opensAt > now + FOLLOWED_MS) return { isOpen: true, from, knownUntil: now + DAY };
    closesAt = opensAt + durationMs;
  }
  if (closesAt === undefined) throw new Error(`the install window ${windowKey(window)} never opens again`);
  return { isOpen: true, from, until: closesAt, knownUntil: closesAt };
}

/** The instants from about `since` on at which the window opens, ascending; a few from up to two days before, too. */
function* openings({ cron, zone: name }: ZonedWindow, since: Instant): Generator<Instant> {
  const schedule = compileSchedule(cron);
  const zone = timeZone(name);
  if (!schedule.ok || !zone.ok)
    throw new Error(`there is no install window ${JSON.stringify(cron)} in ${name}`);
  // Clocks are up to 14 hours ahead of UTC and 12 behind it: a day of the wall begins a day of UTC earlier at most.
  const first = Math.floor(since / DAY) - 1;
  for (const day of daysOf(schedule, first)) yield* firstShown(day * DAY, schedule.minutesOfDay, zone);
}

function* daysOf(schedule: Schedule, first: number): Generator<number> {
  for (let day = first; day < first + DAYS_SEARCHED; day++) if (schedule.isOn(day)) yield day;
}
