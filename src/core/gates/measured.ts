/** Gates over incidents and metrics: what the hours so far say, in a number and in a sentence. */
import { type Baseline, isSequential, type MetricGate } from '../model/gate.ts';
import { formatDuration, HOUR } from '../model/time.ts';
import { logEvidence } from './e-process.ts';
import {
  type Against,
  CONTROL_SHARE_MIN,
  type Evidence,
  evidenceOf,
  frozenRate,
  isCertified,
  ratioOf,
  SAFE_BELOW,
  withRow,
} from './evidence.ts';
import { type Exposure, type MeasuredGate, type Row, rowsOf } from './exposure.ts';
import type { GateReading } from './reading.ts';
import { evidenceText, exceeds, figure, times } from './words.ts';

/** What a gate starts from: hours that a person has looked at already do not count again. */
export interface Watch {
  /** Hours that began before are left out. */
  readonly from: number;
  /** What of that hour was seen before, by gate. */
  readonly less: Readonly<Record<string, Row>>;
  /** Hours that a store which was lost had seen, from the record, by gate. */
  readonly before?: Readonly<Record<string, readonly Row[]>>;
}

export const WATCH_ALL: Watch = { from: 0, less: {} };

/** The rows that a gate is judged by. */
export function watchedRows(gate: MeasuredGate, exposure: Exposure, watch: Watch): readonly Row[] {
  const less = watch.less[gate.name];
  return joined(watch.before?.[gate.name] ?? [], rowsOf(gate, exposure))
    .filter(([at]) => at >= watch.from)
    .map((row) => (less !== undefined && row[0] === less[0] ? difference(row, less) : row));
}

/** What was recorded before a store was lost, and what the next one has seen: no report is in both, an hour may be. */
function joined(before: readonly Row[], own: readonly Row[]): readonly Row[] {
  if (before.length === 0) return own;
  const rows = new Map(before.map((row) => [row[0], row]));
  for (const row of own) {
    const known = rows.get(row[0]);
    rows.set(row[0], known === undefined ? row : sum(known, row));
  }
  return [...rows.values()].sort((a, b) => a[0] - b[0]);
}

function sum(a: Row, b: Row): Row {
  return [a[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4]];
}

function difference(row: Row, less: Row): Row {
  return [row[0], row[1] - less[1], row[2] - less[2], row[3] - less[3], row[4] - less[4]];
}

/**
 * The evidence of a gate. The hours that are over are folded once: as long as the list of them is the same one and only grows, each
 * look costs the hours since the last one. Where nothing came since then it is the same object.
 */
export function evidenceIn(gate: MeasuredGate, against: Against, exposure: Exposure, watch: Watch): Evidence {
  if (watch !== WATCH_ALL) return evidenceOf(gate, against, watchedRows(gate, exposure, watch));
  const known = folded.get(exposure.closed) ?? new Map<MeasuredGate, Folded>();
  folded.set(exposure.closed, known);
  const { closed, open } = exposure;
  const before = known.get(gate);
  const isKnown = before !== undefined && before.hours <= closed.length && isSame(before.against, against);
  const rows = rowsOf(gate, { closed: [], open });
  if (isKnown && before.hours === closed.length && areSame(before.open, rows)) return before.evidence;
  const fold = isKnown ? before : { hours: 0, folded: evidenceOf(gate, against, []) };
  const add = (evidence: Evidence, row: Row) => withRow(gate, against, evidence, row);
  const whole = rowsOf(gate, { closed: closed.slice(fold.hours), open: [] }).reduce(add, fold.folded);
  const evidence = rows.reduce(add, whole);
  known.set(gate, { against, hours: closed.length, folded: whole, open: rows, evidence });
  return evidence;
}

interface Folded {
  readonly against: Against;
  readonly hours: number;
  readonly folded: Evidence;
  /** The hours that may still change, as they were at the last look, and the evidence with them. */
  readonly open: readonly Row[];
  readonly evidence: Evidence;
}

const folded = new WeakMap<Exposure['closed'], Map<MeasuredGate, Folded>>();

function areSame(a: readonly Row[], b: readonly Row[]): boolean {
  return a.length === b.length && a.every((row, at) => row.every((value, index) => value === b[at]?.[index]));
}

function isSame(a: Against, b: Against): boolean {
  return a.kind === b.kind && (a.kind === 'control' || b.kind === 'control' || a.value === b.value);
}

/** What the known-good attempt's outcome says of a gate of this name; undefined where it says nothing. */
export interface Previous {
  readonly value?: number;
  /** Why there is none. */
  readonly missing?: string;
}

/** The baseline as a number or as the control arm; or why there is none. */
export function resolve(baseline: Baseline, previous: Previous): Against | { readonly missing: string } {
  if (baseline.kind !== 'previous') return baseline;
  if (previous.value !== undefined) return { kind: 'known', value: previous.value };
  return { missing: previous.missing ?? 'no earlier outcome has recorded it' };
}

export interface MeasuredSeen {
  readonly exposure: Exposure;
  readonly watch: Watch;
  readonly previous: Previous;
  /** α of the gate alone: the rollout's, divided by its sequential gates. */
  readonly alpha: number;
}

export function readMeasured(gate: MeasuredGate, seen: MeasuredSeen): GateReading {
  const { name } = gate;
  const against = resolve(gate.against, seen.previous);
  if ('missing' in against) {
    const because = `${whatOf(gate)} cannot be compared with the previous revision: ${against.missing}`;
    return { name, state: 'missing', because, ...(isSequential(gate) ? { logEvidence: 0 } : {}) };
  }
  const evidence = evidenceIn(gate, against, seen.exposure, seen.watch);
  const before = lastSaid.get(evidence);
  if (before?.alpha === seen.alpha) return before.reading;
  const reading = readingOf(gate, against, evidence, seen);
  lastSaid.set(evidence, { alpha: seen.alpha, reading });
  return reading;
}

/** Of a thousand rollouts most have had no news since the last pass. */
const lastSaid = new WeakMap<Evidence, { readonly alpha: number; readonly reading: GateReading }>();

function readingOf(
  gate: MeasuredGate,
  against: Against,
  evidence: Evidence,
  seen: MeasuredSeen,
): GateReading {
  const { name } = gate;
  const missing = whyMissing(gate, against, evidence);
  const ratio = ratioOf(gate, against, evidence);
  const common = {
    name,
    ...(ratio === undefined ? {} : { ratio }),
    evidence,
    // A gate that says nothing still has its share of α.
    ...(isSequential(gate) ? { logEvidence: logEvidence(evidence.bets) } : {}),
  };
  if (missing !== undefined) return { ...common, state: 'missing', because: missing };
  const said = describe(gate, against, evidence, ratio);
  if (gate.method.kind === 'sequential') {
    const logE = logEvidence(evidence.bets);
    const isSafe = gate.kind === 'events' && isCertified(evidence, seen.alpha);
    const because =
      `${said}; the evidence that this is too much is ${evidenceText(logE)}, and halts at ${figure(1 / seen.alpha)}` +
      (isSafe ? `; less than ${SAFE_BELOW} times is certain` : '');
    return { ...common, state: 'holds', because, certified: isSafe };
  }
  const { haltRatio, forMs } = gate.method;
  const limit = `more than ${figure(haltRatio)} times halts`;
  if (forMs === 0) {
    const isBeyond = ratio !== undefined && exceeds(ratio, haltRatio);
    return { ...common, state: isBeyond ? 'halts' : 'holds', because: `${said}; ${limit}` };
  }
  const hours = watchedRows(gate, { closed: seen.exposure.closed, open: [] }, seen.watch);
  const last = hours.slice(-Math.ceil(forMs / HOUR));
  const beyond = last.filter((row) => {
    const own = ratioOf(gate, against, { treated: [row[1], row[2]], control: [row[3], row[4]] });
    return own !== undefined && exceeds(own, haltRatio);
  }).length;
  const isBeyond = beyond >= Math.ceil(forMs / HOUR);
  const because = `${said}; ${limit} if it lasts for ${formatDuration(forMs)}, and ${beyond} of the last ${last.length} hours had it`;
  return { ...common, state: isBeyond ? 'halts' : 'holds', because };
}

function whatOf(gate: MeasuredGate): string {
  return gate.kind === 'events' ? `the rate of ${gate.event}` : `the mean of ${gate.signal}`;
}

/** What the gate would need to say anything at all. */
function whyMissing(
  gate: MeasuredGate,
  against: Against,
  { treated, control }: Evidence,
): string | undefined {
  const unit = gate.kind === 'events' ? 'device-hours' : `values of ${gate.signal}`;
  if (treated[1] <= 0) return `no ${unit} were reported by devices that run the new revision`;
  if (against.kind === 'known') {
    if (gate.kind === 'metric') return whyNoMultiple(gate, against.value, treated);
    if (against.value > 0) return undefined;
    return 'its baseline is zero, of which everything is a multiple; give the rate that is expected';
  }
  if (control[1] <= 0) {
    return `no ${unit} were reported by devices that still run something else; without them give a rate, or keep some with holdback`;
  }
  if (gate.kind === 'metric') return whyNoMultiple(gate, control[0] / control[1], treated);
  if (gate.method.kind === 'threshold' && control[0] === 0 && treated[0] > 0) {
    return `the untouched devices had none in ${figure(control[1])} ${unit}, and of nothing everything is a multiple; use method: sequential, or give the rate`;
  }
  return undefined;
}

/** Nothing is a multiple of a mean that is not above zero; only where all is zero there is nothing to ask. */
function whyNoMultiple(gate: MetricGate, base: number, [amount]: Evidence['treated']): string | undefined {
  if (gate.method.kind !== 'threshold' || base > 0 || (base === 0 && amount === 0)) return undefined;
  return `the mean of ${gate.signal} that it is held against is ${figure(base)}, of which nothing is a multiple; use method: sequential`;
}

function describe(
  gate: MeasuredGate,
  against: Against,
  evidence: Evidence,
  ratio: number | undefined,
): string {
  const [amount, over] = evidence.treated;
  const [other, otherOver] = evidence.control;
  const so = ratio === undefined ? '' : `, ${times(ratio)}`;
  if (gate.kind === 'events') {
    const own = `${figure(amount)} ${gate.event} in ${figure(over)} device-hours`;
    if (against.kind === 'known') return `${own}${so} the ${figure(against.value * over)} that were expected`;
    const kept = evidence.frozen
      ? `; of all that was seen last they were less than ${100 * CONTROL_SHARE_MIN} %, so their rate until then is used (${figure(frozenRate(evidence) ?? 0)} per hour)`
      : '';
    return `${own}${so} the rate of untouched devices (${figure(other)} in ${figure(otherOver)})${kept}`;
  }
  const mean = `${gate.signal} is ${figure(amount / over)} on average`;
  const base =
    against.kind === 'known'
      ? `the ${figure(against.value)} that was expected`
      : `that of untouched devices (${figure(other / otherOver)})`;
  const held = ratio === undefined || !Number.isFinite(ratio) ? 'against' : `${ratio.toFixed(2)} times`;
  return `${mean}, ${held} ${base}`;
}

/** How far a gate is from a decision. */
export interface Outlook {
  /** That many further incidents within the next hour would halt it. */
  readonly incidentsToHalt?: number;
  /** After so many hours without more than the baseline's rate it is certain that it is less than {@link SAFE_BELOW} times as bad. */
  readonly hoursToCertain?: number;
}

const LOOK_AHEAD_HOURS = 24 * 90;
const LOOK_AHEAD_INCIDENTS = 1_000_000;

/** Only counts have one: what a metric will be, nobody knows. */
export function outlookOf(
  gate: MeasuredGate,
  seen: {
    readonly against: Against;
    readonly exposure: Exposure;
    readonly watch: Watch;
    /** Of the gate alone. */
    readonly alpha: number;
  },
): Outlook {
  const { against, exposure, watch, alpha } = seen;
  const evidence = evidenceIn(gate, against, exposure, watch);
  if (gate.kind !== 'events' || gate.method.kind !== 'sequential') return {};
  const rows = watchedRows(gate, exposure, watch).filter((row) => row[2] > 0);
  const typical = rows.slice(-25, -1);
  const sample = typical.length > 0 ? typical : rows;
  if (sample.length === 0) return {};
  const mean = (at: 2 | 4) => sample.reduce((sum, row) => sum + row[at], 0) / sample.length;
  const next = { hours: mean(2), controlHours: mean(4) };
  const rate = against.kind === 'known' ? against.value : (frozenRate(evidence) ?? 0);
  const limit = -Math.log(alpha);
  const halts = (incidents: number) =>
    logEvidence(afterHour(gate, against, evidence, { ...next, incidents, rate }).bets) >= limit;
  let [low, high] = [0, 1];
  while (high < LOOK_AHEAD_INCIDENTS && !halts(high)) [low, high] = [high, 2 * high];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (halts(middle)) high = middle;
    else low = middle;
  }
  let hours = 0;
  let ahead = evidence;
  while (hours < LOOK_AHEAD_HOURS && !isCertified(ahead, alpha)) {
    ahead = afterHour(gate, against, ahead, { ...next, incidents: rate * next.hours, rate });
    hours += 1;
  }
  return {
    ...(high < LOOK_AHEAD_INCIDENTS ? { incidentsToHalt: high } : {}),
    ...(hours < LOOK_AHEAD_HOURS ? { hoursToCertain: hours } : {}),
  };
}

function afterHour(
  gate: MeasuredGate,
  against: Against,
  before: Evidence,
  hour: { hours: number; controlHours: number; incidents: number; rate: number },
): Evidence {
  return withRow(gate, against, before, [
    0,
    hour.incidents,
    hour.hours,
    hour.rate * hour.controlHours,
    hour.controlHours,
  ]);
}
