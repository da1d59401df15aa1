/** The same judgement again, from what was recorded: hour by hour, and nothing else. */
import {
  type ApprovalGate,
  type Gate,
  isSequential,
  type ObservationGate,
  type PrometheusGate,
  type ShareGate,
  type StageGate,
  type WebhookGate,
} from '../model/gate.ts';
import type { Attempt, StageGateVerdict, StageOutcome, StageVerdict } from '../model/outcome.ts';
import { HOUR, type Instant } from '../model/time.ts';
import {
  type Exposure,
  type Interval,
  isMeasured,
  type MeasuredGate,
  openSince,
  type Row,
} from './exposure.ts';
import { readMeasured, WATCH_ALL } from './measured.ts';
import { observedFrom, readObservations, readPrometheus, readWebhook } from './outside.ts';
import { type GateReading, haltTogether } from './reading.ts';
import { readShare, sharesFrom } from './share.ts';

/** An outcome keeps so many of a gate's answers and minutes: what a decision hangs on is at the end. */
export const KEPT_MAX = 500;

/** After one hour of the record. */
export interface Tick {
  readonly at: Instant;
  readonly row: Row;
  /** Of all hours up to this one. */
  readonly ratio?: number;
  /** Of gates that bet. */
  readonly logEvidence?: number;
  /** Alone, at its share of α, or by its threshold. */
  readonly halts: boolean;
}

export interface Replay {
  readonly ticks: readonly Tick[];
  /** The first of them that halts, from 0. */
  readonly haltsAtTick?: number;
  readonly reading: GateReading;
}

interface Rows {
  readonly rows: readonly Row[];
  /** What the known-good attempt has of the gate. */
  readonly previous?: number | undefined;
  /** The gate's own share of the rollout's. */
  readonly alpha: number;
}

/** A gate over hours, all of which are over. */
export function replayRows(gate: MeasuredGate, given: Rows): Replay {
  const ticks = ticksOf(gate, given);
  const reading = alone(readRows(gate, given, Number.POSITIVE_INFINITY), given.alpha);
  return { ...withHalt(ticks), reading };
}

/** Each hour is judged as if it were the last one: the list of those that are over only grows, so that it costs one hour each. */
function ticksOf(gate: MeasuredGate, { rows, previous, alpha }: Rows): readonly Tick[] {
  const closed: Interval[] = [];
  const seen = { exposure: { closed, open: [] }, watch: WATCH_ALL, previous: previousOf(previous), alpha };
  return rows.map((row): Tick => {
    closed.push(intervalOf(gate, row));
    const { state, ratio, logEvidence } = alone(readMeasured(gate, seen), alpha);
    return {
      at: row[0],
      row,
      ...(ratio === undefined ? {} : { ratio }),
      ...(logEvidence === undefined ? {} : { logEvidence }),
      halts: state === 'halts',
    };
  });
}

/** Of the hours, those from `openAt` on were not over yet. */
function readRows(gate: MeasuredGate, { rows, previous, alpha }: Rows, openAt: Instant): GateReading {
  const of = (some: readonly Row[]) => some.map((row) => intervalOf(gate, row));
  const exposure: Exposure = {
    closed: of(rows.filter(([at]) => at < openAt)),
    open: of(rows.filter(([at]) => at >= openAt)),
  };
  return readMeasured(gate, { exposure, watch: WATCH_ALL, previous: previousOf(previous), alpha });
}

function previousOf(value: number | undefined): { readonly value?: number } {
  return value === undefined ? {} : { value };
}

function alone(reading: GateReading, alpha: number): GateReading {
  return haltTogether([reading], alpha)[0] ?? reading;
}

function withHalt(ticks: readonly Tick[]): Pick<Replay, 'ticks' | 'haltsAtTick'> {
  const haltsAtTick = ticks.findIndex(({ halts }) => halts);
  return { ticks, ...(haltsAtTick === -1 ? {} : { haltsAtTick }) };
}

/** The hour in the form that readings take. */
function intervalOf(
  gate: MeasuredGate,
  [at, treated, treatedOver, control, controlOver]: Row,
): Exposure['closed'][number] {
  const measure = gate.kind === 'events' ? `event:${gate.event}` : `metric:${gate.signal}`;
  const arm = (sum: number, over: number) =>
    gate.kind === 'events'
      ? { hours: over, measures: new Map([[measure, { sum, count: sum }]]) }
      : { hours: 0, measures: new Map([[measure, { sum, count: over }]]) };
  return { at, treated: arm(treated, treatedOver), control: arm(control, controlOver), stages: new Map() };
}

/** A recorded verdict, judged again. */
export interface VerdictReplay {
  readonly replay: Replay;
  readonly recorded: StageGateVerdict;
  /** When it was recorded. */
  readonly at: Instant;
  /** Where the two say different things; empty: they are the same to the digit. */
  readonly differences: readonly Difference[];
  /** Whether the outcome has all that was judged: of long lists it keeps the last {@link KEPT_MAX}. */
  readonly isWhole: boolean;
}

export interface Difference {
  readonly what: 'state' | 'ratio' | 'logEvidence';
  readonly recorded: string | number | undefined;
  readonly replayed: string | number | undefined;
}

/** What the recorded verdict of a stage's gate comes to when it is judged again; undefined where nothing was recorded of it. */
export function replayVerdict(
  attempt: Attempt,
  stage: StageOutcome,
  name: string,
): VerdictReplay | undefined {
  const { verdict } = stage;
  const gate = stage.gates.find(
    (each): each is StageGate => each.name === name && each.kind !== 'expression',
  );
  const recorded = verdict?.gates.find(
    (each): each is StageGateVerdict => each.name === name && 'state' in each,
  );
  if (gate === undefined || recorded === undefined || verdict === undefined) return undefined;
  const [reading, ticks] = isMeasured(gate)
    ? rowsAgain(gate, recorded, stage, verdict)
    : [otherAgain(gate, recorded, { attempt, stage, verdict }), []];
  const replay: Replay = { ...withHalt(ticks), reading: togetherIn(stage, verdict, reading) };
  return {
    replay,
    recorded,
    at: verdict.at,
    differences: differencesOf(recorded, replay.reading),
    isWhole: Math.max(recorded.observations?.length ?? 0, recorded.samples?.length ?? 0) < KEPT_MAX,
  };
}

function rowsAgain(
  gate: MeasuredGate,
  { rows = [], previous }: StageGateVerdict,
  stage: StageOutcome,
  { at }: StageVerdict,
): [GateReading, readonly Tick[]] {
  const given = { rows, previous, alpha: alphaOf(stage) };
  // A mean that bets was judged by whole hours alone, and no others were recorded.
  const openAt = gate.kind === 'metric' && isSequential(gate) ? Number.POSITIVE_INFINITY : openSince(at);
  return [readRows(gate, given, openAt), ticksOf(gate, given)];
}

/** The gate's share of the rollout's α. */
export function alphaOf({
  alpha,
  gates,
}: {
  readonly alpha: number;
  readonly gates: readonly Gate[];
}): number {
  return alpha / Math.max(1, gates.filter(isSequential).length);
}

/** Gates that bet halt together: the others' evidence is taken as recorded. */
function togetherIn(stage: StageOutcome, verdict: StageVerdict, reading: GateReading): GateReading {
  if (reading.logEvidence === undefined) return reading;
  const all = verdict.gates.flatMap((each): GateReading[] => {
    if (each.name === reading.name) return [reading];
    if (!('state' in each) || each.logEvidence === undefined) return [];
    return [{ name: each.name, state: 'holds', because: '', logEvidence: each.logEvidence }];
  });
  return haltTogether(all, stage.alpha).find(({ name }) => name === reading.name) ?? reading;
}

type OtherGate = ShareGate | ObservationGate | PrometheusGate | WebhookGate | ApprovalGate;

/** Where nothing says how long silent devices were not heard of; only the sentence depends on it. */
const SILENT_AFTER_LEAST = HOUR;

function otherAgain(
  gate: OtherGate,
  recorded: StageGateVerdict,
  of: { readonly attempt: Attempt; readonly stage: StageOutcome; readonly verdict: StageVerdict },
): GateReading {
  const { samples = [] } = recorded;
  const now = of.verdict.at;
  switch (gate.kind) {
    case 'share': {
      const { counts, afterMs = gate.afterMs ?? SILENT_AFTER_LEAST } = recorded;
      return readShare(gate, sharesFrom(gate, { counts, afterMs }), alphaOf(of.stage));
    }
    case 'observations': {
      const minutes = (recorded.observations ?? []).map(([at, sum]) => ({ at, sum }));
      const { openedAt } = of.stage;
      // Of a halt only what counted was kept.
      const sinceAt = recorded.state === 'halts' ? undefined : watchedSince(of.attempt, of.stage, now);
      const from = observedFrom(
        sinceAt === undefined ? { openedAt } : { openedAt, watch: { sinceAt, hourAt: sinceAt, less: {} } },
      );
      return readObservations(gate, minutes, { from, now });
    }
    case 'prometheus':
      return readPrometheus(gate, samples, now);
    case 'webhook':
      return readWebhook(gate, samples, now);
    case 'approval':
      // Who had approved by then is in the commits of main: the record is all that there is to see.
      return recorded;
  }
}

/**
 * Since when gates had counted anew when a verdict was made at `at`. The outcome has what they count from now on, which a pause sets
 * together with the verdict that it is for; its history has the times before.
 */
function watchedSince({ history }: Attempt, { openedAt }: StageOutcome, at: Instant): Instant | undefined {
  return history.findLast(
    (each) =>
      each.at > openedAt &&
      each.at < at &&
      (each.state === 'running'
        ? each.cause === 'resumed' || each.cause === 'deadline'
        : (each.state === 'paused' || each.state === 'monitoring') && each.cause === 'gate'),
  )?.at;
}

/** The sentence is left out: it follows from the numbers, and another version may put it in other words. */
function differencesOf(recorded: StageGateVerdict, replayed: GateReading): readonly Difference[] {
  const kept = (value: number | undefined) =>
    value === undefined || Number.isFinite(value) ? value : undefined;
  const pairs: readonly Difference[] = [
    { what: 'state', recorded: recorded.state, replayed: replayed.state },
    { what: 'ratio', recorded: recorded.ratio, replayed: kept(replayed.ratio) },
    { what: 'logEvidence', recorded: recorded.logEvidence, replayed: kept(replayed.logEvidence) },
  ];
  return pairs.filter((each) => each.recorded !== each.replayed);
}
