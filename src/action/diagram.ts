/**
 * A simulated rollout as a Mermaid Gantt chart: GitHub draws Mermaid in comments and summaries, and strips SVG and images that come as
 * data. A section per run, a bar per stage, and a milestone where a fault was found.
 *
 * https://mermaid.js.org/syntax/gantt.html
 */
import { DAY, formatInstant, HOUR, type Instant, MINUTE } from '../core/model/time.ts';
import type { Run } from '../simulate/run.ts';

/** Some first of a month at midnight, so that the axis counts days from 1. Nothing is played for longer than a month. */
const BEGIN_AT: Instant = Date.UTC(2024, 0, 1);
/** Narrower bars cannot be seen. */
const BAR_MS_MIN = 5 * MINUTE;

export function ganttOf(runs: readonly { readonly what: string; readonly run: Run }[]): string {
  const spanMs = Math.max(...runs.map(({ run }) => run.lastedMs));
  const lines = [
    'gantt',
    // Without a time zone in them, instants are shown as they are written, wherever that is.
    '  dateFormat YYYY-MM-DD HH:mm',
    `  axisFormat ${spanMs > 2 * DAY ? 'day %-d' : 'day %-d %H:%M'}`,
    `  tickInterval ${tickOf(spanMs)}`,
    ...runs.flatMap(({ what, run }) => [`  section ${plain(what)}`, ...sectionOf(run)]),
  ];
  return ['```mermaid', ...lines, '```'].join('\n');
}

function sectionOf({ stages, found, lastedMs }: Run): readonly string[] {
  const bars = stages.map(({ name, state, openedMs, closedMs = lastedMs }) => {
    const mark = name === found?.stage ? 'crit' : state === 'passed' ? 'done' : 'active';
    return `  ${plain(name)} :${mark}, ${at(openedMs)}, ${at(Math.max(closedMs, openedMs + BAR_MS_MIN))}`;
  });
  const by = found?.by.kind === 'gate' ? ` by ${plain(found.by.gate)}` : '';
  return found === undefined ? bars : [...bars, `  found${by} :crit, milestone, ${at(found.afterMs)}, 0m`];
}

function tickOf(spanMs: number): string {
  if (spanMs <= 12 * HOUR) return '2hour';
  if (spanMs <= 2 * DAY) return '6hour';
  return spanMs <= 10 * DAY ? '1day' : '3day';
}

/** `2024-01-01 00:00` */
function at(afterMs: number): string {
  return formatInstant(BEGIN_AT + afterMs)
    .slice(0, 16)
    .replace('T', ' ');
}

/** In a diagram most signs mean something. */
function plain(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N} ._=%@-]/gu, ' ').trim() || 'it';
}
