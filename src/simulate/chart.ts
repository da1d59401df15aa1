/**
 * One run as a picture: a lane per stage that fills as its devices get the release, and what was decided as lines across. Each
 * lane has its own scale, or a canary of half a per cent could not be seen beside the fleet. SVG text without anything from
 * elsewhere; it is drawn for light and for dark, and says in words what it shows.
 */
import { DAY, type DurationMs, formatDuration, HOUR, MINUTE } from '../core/model/time.ts';
import type { Experiment } from './experiment.ts';
import { faultText } from './fault.ts';
import type { FoundBy, Run, RunStage } from './run.ts';

const WIDTH = 920;
const LEFT = 188;
const RIGHT = 32;
const TOP = 96;
const LANE = 52;
const LANE_GAP = 14;
const BOTTOM = 52;
const PLOT = WIDTH - LEFT - RIGHT;
/** About so many labels fit below. */
const TICKS = 9;
/** A run that ends at once still has a width. */
const SPAN_MIN_MS: DurationMs = HOUR;
const TEXT_MAX = 96;

export function runChart(experiment: Experiment, run: Run): string {
  const lanes = lanesOf(experiment, run);
  const height = TOP + lanes.length * (LANE + LANE_GAP) - LANE_GAP + BOTTOM;
  const spanMs = Math.max(SPAN_MIN_MS, run.lastedMs);
  const x = (afterMs: DurationMs) => round(LEFT + (Math.min(afterMs, spanMs) / spanMs) * PLOT);
  const floor = height - BOTTOM;
  const { rollout, input } = experiment;
  const title = `${rollout.name}: ${rollout.manifest.distributionSet} for ${count(input.devices)} devices`;
  const faults = input.faults.map(faultText).join(' and ');
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title desc">`,
    `<title id="title">${escaped(title)}</title>`,
    `<desc id="desc">${escaped(describe(run, faults))}</desc>`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${height}" rx="8"/>`,
    text(24, 34, 'title', cut(title, 80)),
    text(24, 56, 'muted', cut(`${faults === '' ? 'nothing wrong' : faults}; seed ${run.seed}`, TEXT_MAX)),
    ...ticks(spanMs).flatMap((at) => [
      line(x(at), TOP - 6, x(at), floor, 'grid'),
      text(x(at), floor + 20, 'tick', at === 0 ? 'release' : formatDuration(at)),
    ]),
    text(LEFT + PLOT / 2, floor + 40, 'axis', 'since the release'),
    ...heldSpans(run).map(({ from, to }) =>
      rect({ x: x(from), y: TOP - 6, width: Math.max(1, x(to) - x(from)), height: floor - TOP + 6 }, 'held'),
    ),
    ...lanes.flatMap((lane, index) => drawLane(lane, TOP + index * (LANE + LANE_GAP), run, x)),
    ...marks(run).map(({ kind, afterMs }) =>
      line(x(afterMs), TOP - 34, x(afterMs), floor, `line line-${kind}`),
    ),
    // Above all lines, of which one may lie behind the words of another.
    ...marks(run).map((mark) => labelOf(mark, x(mark.afterMs))),
    '</svg>',
    '',
  ].join('\n');
}

interface Lane {
  readonly name: string;
  readonly devices: number;
  /** Devices of the lane that run the release, at a point of the timeline. */
  readonly running: (counts: readonly number[]) => number;
  readonly stage?: RunStage;
}

/** A lane per stage that opened, and one of all devices. */
function lanesOf({ input }: Experiment, { stages }: Run): readonly Lane[] {
  const all: Lane = {
    name: 'all devices',
    devices: input.devices,
    running: (counts) => counts.reduce((sum, devices) => sum + devices, 0),
  };
  return [
    ...stages.map((stage, index) => ({
      name: stage.name,
      devices: stage.devices,
      running: (counts: readonly number[]) => counts[index] ?? 0,
      stage,
    })),
    all,
  ];
}

function drawLane(lane: Lane, top: number, run: Run, x: (afterMs: DurationMs) => number): string[] {
  const { stage, name, devices } = lane;
  const from = stage?.openedMs ?? 0;
  const to = stage?.closedMs ?? run.lastedMs;
  const base = top + LANE;
  const parts = [
    text(LEFT - 14, top + 23, 'name', cut(name, 20)),
    text(
      LEFT - 14,
      top + 41,
      'size',
      `${count(devices)} devices${stage === undefined ? '' : `, ${stage.state}`}`,
    ),
    line(LEFT, base, LEFT + PLOT, base, 'grid'),
  ];
  if (stage !== undefined) {
    const box = { x: x(from), y: top, width: Math.max(2, x(to) - x(from)), height: LANE };
    parts.push(rect(box, stage.state === 'failed' ? 'failed' : 'open'));
  }
  parts.push(`<path class="${stage === undefined ? 'all' : 'area'}" d="${areaOf(lane, run, { base, x })}"/>`);
  if (stage?.closedMs !== undefined) parts.push(line(x(to), top, x(to), base, 'closed'));
  return parts;
}

/** Steps: a count holds until the next one. */
function areaOf(
  { devices, running }: Lane,
  { timeline, lastedMs }: Run,
  { base, x }: { readonly base: number; readonly x: (afterMs: DurationMs) => number },
): string {
  const y = (count: number) => round(base - (LANE * count) / Math.max(1, devices));
  const steps = timeline.map((point) => `H${x(point.afterMs)}V${y(running(point.running))}`);
  return `M${x(0)} ${base}${steps.join('')}H${x(lastedMs)}V${base}Z`;
}

interface Mark {
  readonly afterMs: DurationMs;
  readonly kind: 'found' | 'back' | 'done';
  readonly label: string;
}

/** What the lines across say. Two that would lie on one another are one. */
function marks({ found, moments }: Run): readonly Mark[] {
  const back = moments.find(({ kind }) => kind === 'rollBack');
  const done = moments.find(({ kind }) => kind === 'succeed');
  const isAtOnce = back !== undefined && back.afterMs === found?.afterMs;
  const all: Mark[] = [];
  if (found !== undefined) {
    const label = `found after ${formatDuration(found.afterMs)} by ${byWords(found.by)}`;
    all.push({ afterMs: found.afterMs, kind: 'found', label: isAtOnce ? `${label}, rolled back` : label });
  }
  if (back !== undefined && !isAtOnce) {
    all.push({
      afterMs: back.afterMs,
      kind: 'back',
      label: `rolled back after ${formatDuration(back.afterMs)}`,
    });
  }
  if (done !== undefined) {
    all.push({
      afterMs: done.afterMs,
      kind: 'done',
      label: `succeeded after ${formatDuration(done.afterMs)}`,
    });
  }
  return all;
}

function labelOf({ kind, label }: Mark, at: number): string {
  const isLate = at > LEFT + PLOT / 2;
  const [place, anchor] = isLate ? [at - 6, 'end'] : [at + 6, 'begin'];
  // The second of two lines has its words below the first one's.
  const y = kind === 'back' ? TOP - 9 : TOP - 25;
  return text(place, y, `label ${anchor} label-${kind}`, cut(label, TEXT_MAX));
}

/** While nothing new was offered, because something was too much. */
function heldSpans({
  moments,
  lastedMs,
}: Run): readonly { readonly from: DurationMs; readonly to: DurationMs }[] {
  const spans: { from: DurationMs; to: DurationMs }[] = [];
  let from: DurationMs | undefined;
  for (const { kind, afterMs } of moments) {
    if (kind === 'pause') from ??= afterMs;
    if (from === undefined || !ENDS.has(kind)) continue;
    spans.push({ from, to: afterMs });
    from = undefined;
  }
  return from === undefined ? spans : [...spans, { from, to: lastedMs }];
}

const ENDS: ReadonlySet<string> = new Set(['resume', 'rollBack', 'stop', 'succeed', 'supersede']);

/** Round times, from the release on. */
function ticks(spanMs: DurationMs): readonly DurationMs[] {
  const step = STEPS.find((each) => spanMs / each <= TICKS) ?? Math.ceil(spanMs / TICKS / DAY) * DAY;
  return Array.from({ length: Math.floor(spanMs / step) + 1 }, (_, n) => n * step);
}

const STEPS: readonly DurationMs[] = [
  10 * MINUTE,
  15 * MINUTE,
  30 * MINUTE,
  HOUR,
  2 * HOUR,
  3 * HOUR,
  6 * HOUR,
  12 * HOUR,
  DAY,
  2 * DAY,
  5 * DAY,
];

function describe({ found, stages, reached, lastedMs, state }: Run, faults: string): string {
  const went = stages.map(
    (stage) =>
      `Stage ${stage.name} with ${count(stage.devices)} devices opened after ${formatDuration(stage.openedMs)}` +
      `${stage.closedMs === undefined ? '' : ` and ${stage.state} after ${formatDuration(stage.closedMs)}`}.`,
  );
  const end =
    found === undefined
      ? `Nothing was found; ${count(reached)} devices were reached, and after ${formatDuration(lastedMs)} the attempt was ${state}.`
      : `Found after ${formatDuration(found.afterMs)} in stage ${found.stage} by ${byWords(found.by)}, when ${count(found.reached)} devices had been reached.`;
  return [faults === '' ? 'A run with nothing wrong.' : `A run with ${faults}.`, ...went, end].join(' ');
}

export function byWords(by: FoundBy): string {
  if (by.kind === 'gate') return `gate ${by.gate}`;
  return by.kind === 'errorThreshold' ? 'the error threshold' : 'too little success';
}

// SVG

interface Palette {
  readonly ground: string;
  readonly ink: string;
  readonly muted: string;
  readonly grid: string;
  readonly area: string;
  readonly all: string;
  readonly bad: string;
  readonly held: string;
  readonly good: string;
}

const LIGHT: Palette = {
  ground: '#ffffff',
  ink: '#1f2328',
  muted: '#59636e',
  grid: '#d8dee4',
  area: '#0969da',
  all: '#6e7781',
  bad: '#cf222e',
  held: '#bf8700',
  good: '#1a7f37',
};

const DARK: Palette = {
  ground: '#0d1117',
  ink: '#e6edf3',
  muted: '#9198a1',
  grid: '#30363d',
  area: '#4493f8',
  all: '#848d97',
  bad: '#f85149',
  held: '#d29922',
  good: '#3fb950',
};

/** Written out twice instead of with variables, which not every program that draws SVG knows. */
function colours({ ground, ink, muted, grid, area, all, bad, held, good }: Palette): string {
  return `text { fill: ${ink}; } .muted, .size, .tick, .axis { fill: ${muted}; }
.ground { fill: ${ground}; } .label { stroke: ${ground}; } .grid { stroke: ${grid}; } .area, .open { fill: ${area}; } .all { fill: ${all}; }
.closed { stroke: ${ink}; }
.failed { fill: ${bad}; } .held { fill: ${held}; } .line-found, .line-back { stroke: ${bad}; } .line-done { stroke: ${good}; }
.label-found, .label-back { fill: ${bad}; } .label-done { fill: ${good}; }`;
}

const STYLE = `
svg { font-family: system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; font-size: 13px; }
.title { font-size: 17px; font-weight: 600; }
.size, .tick, .axis { font-size: 12px; }
.tick, .axis { text-anchor: middle; }
.name, .label { font-weight: 600; }
.name, .size, .end { text-anchor: end; }
.grid { stroke-width: 1; }
.closed { stroke-width: 1.5; }
.line { stroke-width: 2; stroke-dasharray: 5 4; }
.label { paint-order: stroke; stroke-width: 4px; stroke-linejoin: round; }
.open, .failed, .held { fill-opacity: 0.14; }
.area { fill-opacity: 0.75; }
.all { fill-opacity: 0.6; }
${colours(LIGHT)}
@media (prefers-color-scheme: dark) {
${colours(DARK)}
}
`.trim();

function text(x: number, y: number, kind: string, content: string): string {
  return `<text class="${kind}" x="${round(x)}" y="${round(y)}">${escaped(content)}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, kind: string): string {
  return `<line class="${kind}" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`;
}

function rect(
  { x, y, width, height }: { x: number; y: number; width: number; height: number },
  kind: string,
): string {
  return `<rect class="${kind}" x="${x}" y="${y}" width="${round(width)}" height="${height}"/>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function count(devices: number): string {
  return devices.toLocaleString('en-US');
}

function cut(content: string, most: number): string {
  return content.length <= most ? content : `${content.slice(0, most - 1)}…`;
}

/** Names and conditions are people's. What XML does not allow at all is left out. */
function escaped(content: string): string {
  return content
    .replaceAll(/[^\t\n\u0020-\ud7ff\ue000-\ufffd]/g, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
}
