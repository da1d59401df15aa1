/** hawkBit's maintenance windows (a Quartz schedule, a duration, an offset) → install windows. */
import { formatDuration } from '../core/model/time.ts';

export interface Window {
  readonly cron: string;
  readonly duration: string;
  readonly timezone: string;
}

export type TranslatedWindow =
  | { readonly ok: true; readonly window: Window }
  | { readonly ok: false; readonly message: string };

export function translateWindow(written: {
  readonly schedule: string;
  readonly duration: string;
  readonly timezone: string;
}): TranslatedWindow {
  const cron = cronFrom(written.schedule);
  if (cron === undefined) {
    return refuse(
      'a schedule here has minute, hour, day of the month, month and day of the week, without L, W, # and years',
    );
  }
  const durationMs = durationFrom(written.duration);
  if (durationMs === undefined) return refuse('a window lasts a minute at least and seven days at most');
  const timezone = zoneFrom(written.timezone);
  if (timezone === undefined)
    return refuse('an offset that is no whole hour has no name; choose a time zone such as Asia/Kolkata');
  return { ok: true, window: { cron, duration: formatDuration(durationMs), timezone } };
}

function refuse(message: string): TranslatedWindow {
  return { ok: false, message };
}

const FIELD = /^[A-Za-z0-9*,/-]+$/;

/** Seconds come first there, a year may come last, and `?` says nothing. */
function cronFrom(schedule: string): string | undefined {
  const fields = schedule.trim().split(/\s+/);
  if (fields.length !== 6 && fields.length !== 7) return undefined;
  const [second, minute = '', hour = '', day = '', month = '', weekday = '', year = '*'] = fields;
  if (!/^\d{1,2}$/.test(second ?? '') || year !== '*') return undefined;
  const rest = [minute, hour, day, month, weekday].map((field) => field.replace(/^\?$/, '*'));
  if (!rest.every((field) => FIELD.test(field))) return undefined;
  if (/[LW]/i.test(`${day}`) || /\dL|^L$/i.test(weekday)) return undefined;
  const [, , , , days = '*'] = rest;
  const shifted = weekdaysFrom(days);
  return shifted === undefined ? undefined : [...rest.slice(0, 4), shifted].join(' ').toLowerCase();
}

/** 1 is Sunday there, and 0 is here; a step would begin elsewhere. */
function weekdaysFrom(field: string): string | undefined {
  if (field === '*') return field;
  if (field.includes('/')) return undefined;
  return field.replaceAll(/\d+/g, (day) => String(Number(day) - 1));
}

const MINUTE_MS = 60_000;
const WEEK_MS = 7 * 24 * 60 * MINUTE_MS;

function durationFrom(text: string): number | undefined {
  const [, hours, minutes, seconds = '0'] = /^(\d{1,3}):(\d{2})(?::(\d{2}))?$/.exec(text.trim()) ?? [];
  if (hours === undefined || minutes === undefined) return undefined;
  const durationMs = (Number(hours) * 60 + Number(minutes)) * MINUTE_MS + Number(seconds) * 1000;
  return durationMs >= MINUTE_MS && durationMs <= WEEK_MS ? durationMs : undefined;
}

/** The zones that are only an offset have the sign the other way round: Etc/GMT-2 is two hours ahead of UTC. */
function zoneFrom(offset: string): string | undefined {
  const [, sign, hours, minutes] = /^([+-])(\d{2}):?(\d{2})$/.exec(offset.trim()) ?? [];
  if (/^(Z|UTC|)$/i.test(offset.trim())) return 'UTC';
  if (hours === undefined || minutes !== '00') return undefined;
  const whole = Number(hours);
  if (whole === 0) return 'UTC';
  return whole > 14 ? undefined : `Etc/GMT${sign === '+' ? '-' : '+'}${whole}`;
}
