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
import type { StageGateVerdict, StageOutcome } from '../model/outcome.ts';
import type { Instant } from '../model/time.ts';
import { logEvidence } from './e-process.ts';
import { type Against, noEvidence, ratioOf, withRow } from './evidence.ts';
import { type Exposure, isMeasured, type MeasuredGate, type Row } from './exposure.ts';
import { readMeasured, resolve, WATCH_ALL } from './measured.ts';
import { observedFrom, readObservations, readPrometheus, readWebhook } from './outside.ts';
import { type GateReading, haltTogether } from './reading.ts';
import { exceeds } from './words.ts';

/** After one hour of the record. */
export interface Tick {
  readonly at: Instant;
  readonly row: Row;
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

/** A gate over hours. `alpha`: the gate's own share of the rollout's. */
export function replayRows(
  gate: MeasuredGate,
  given: { readonly rows: readonly Row[]; readonly previous?: number | undefined; readonly alpha: number },
): Replay {
  const { rows, previous, alpha } = given;
  const of = previous === undefined ? {} : { value: previous };
  const against = resolve(gate.against, of);
  const ticks = 'missing' in against ? [] : ticksOf(gate, against, rows, alpha);
  const exposure = exposureOf(gate, rows);
  const [reading] = haltTogether(
    [readMeasured(gate, { exposure, watch: WATCH_ALL, previous: of, alpha })],
    alpha,
  );
  const haltsAtTick = ticks.findIndex(({ halts }) => halts);
  return {
    ticks,
    reading: reading ?? { name: gate.name, state: 'missing', because: 'nothing was recorded' },
    ...(haltsAtTick === -1 ? {} : { haltsAtTick }),
  };
}

function ticksOf(gate: MeasuredGate, against: Against, rows: readonly Row[], alpha: number): readonly Tick[] {
  let evidence = noEvidence(gate);
  return rows.map((row): Tick => {
    evidence = withRow(gate, against, evidence, row);
    const ratio = ratioOf(gate, against, evidence);
    const common = { at: row[0], row, ...(ratio === undefined ? {} : { ratio }) };
    if (gate.method.kind === 'threshold') {
      return { ...common, halts: ratio !== undefined && exceeds(ratio, gate.method.haltRatio) };
    }
    const log = logEvidence(evidence.bets);
    return { ...common, logEvidence: log, halts: log >= -Math.log(alpha) };
  });
}

/** Hours in the form that readings take: all of them over, as recorded. */
function exposureOf(gate: MeasuredGate, rows: readonly Row[]): Exposure {
  const measure = gate.kind === 'events' ? `event:${gate.event}` : `metric:${gate.signal}`;
  const arm = (sum: number, over: number) =>
    gate.kind === 'events'
      ? { hours: over, measures: new Map([[measure, { sum, count: sum }]]) }
      : { hours: 0, measures: new Map([[measure, { sum, count: over }]]) };
  const closed = rows.map(([at, treated, treatedOver, control, controlOver]) => ({
    at,
    treated: arm(treated, treatedOver),
    control: arm(control, controlOver),
    stages: new Map(),
  }));
  return { closed, open: [] };
}

/** What the recorded verdict of a stage's gate comes to when it is judged again; undefined where nothing was recorded of it. */
export function replayVerdict(
  stage: StageOutcome,
  name: string,
): { readonly replay: Replay; readonly recorded: StageGateVerdict } | undefined {
  const gate = stage.gates.find(
    (each): each is StageGate => each.name === name && each.kind !== 'expression',
  );
  const recorded = stage.verdict?.gates.find(
    (each): each is StageGateVerdict => each.name === name && 'state' in each,
  );
  if (gate === undefined || recorded === undefined || stage.verdict === undefined) return undefined;
  if (isMeasured(gate)) {
    const { rows = [], previous } = recorded;
    const replay = replayRows(gate, { rows, previous, alpha: alphaOf(stage) });
    return { replay: { ...replay, reading: togetherIn(stage, replay.reading) }, recorded };
  }
  const reading = replayOther(gate, recorded, stage);
  return reading && { replay: { ticks: [], reading: togetherIn(stage, reading) }, recorded };
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
function togetherIn(stage: StageOutcome, reading: GateReading): GateReading {
  const others = (stage.verdict?.gates ?? []).flatMap((each): GateReading[] => {
    if (!('state' in each) || each.name === reading.name || each.logEvidence === undefined) return [];
    return [{ name: each.name, state: 'holds', because: '', logEvidence: each.logEvidence }];
  });
  if (reading.logEvidence === undefined) return reading;
  const alone: GateReading = reading.state === 'halts' ? { ...reading, state: 'holds' } : reading;
  return haltTogether([alone, ...others], stage.alpha)[0] ?? reading;
}

type OtherGate = ShareGate | ObservationGate | PrometheusGate | WebhookGate | ApprovalGate;

function replayOther(
  gate: OtherGate,
  recorded: StageGateVerdict,
  stage: StageOutcome,
): GateReading | undefined {
  const now = stage.verdict?.at ?? 0;
  switch (gate.kind) {
    case 'observations': {
      const minutes = (recorded.observations ?? []).map(([at, sum]) => ({ at, sum }));
      // Of a halt only what counted was kept; and what has been decided upon since then was news.
      const { openedAt, watch } = stage;
      const isCut = recorded.state === 'halts' || watch === undefined || watch.sinceAt >= now;
      return readObservations(gate, minutes, {
        from: observedFrom(isCut ? { openedAt } : { openedAt, watch }),
        now,
      });
    }
    case 'prometheus':
      return readPrometheus(gate, recorded.samples ?? [], now);
    case 'webhook':
      return readWebhook(gate, recorded.samples ?? [], now);
    case 'share':
    case 'approval':
      // What devices and people had said by then is the record itself.
      return recorded;
  }
}
