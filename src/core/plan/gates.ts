/** What the planner sees of a stage's gates: puts together what readings need, and what an outcome keeps of them. */

import type { RolloutTally, StageTally } from '../assign/tally.ts';
import { type Exposure, hourOf, isMeasured, NO_EXPOSURE, type Row, rowsOf } from '../gates/exposure.ts';
import {
  type Outlook,
  outlookOf,
  type Previous,
  resolve,
  WATCH_ALL,
  type Watch,
  watchedRows,
} from '../gates/measured.ts';
import { observedFrom } from '../gates/outside.ts';
import type { Probe } from '../gates/probe.ts';
import { type GateReading, readGates, type Seen } from '../gates/reading.ts';
import { alphaOf, KEPT_MAX } from '../gates/replay.ts';
import type { DeviceShares } from '../gates/share.ts';
import { isExpression, type StageGate } from '../model/gate.ts';
import type { Attempt, GateVerdict, StageGateVerdict, StageOutcome } from '../model/outcome.ts';
import { type DurationMs, HOUR, type Instant, MINUTE } from '../model/time.ts';
import { needsSigners } from './approvals.ts';
import { attemptKey, type PlanInput } from './contract.ts';
import { type Context, operations } from './step.ts';

/** The readings of the gates that the stage is judged by; none where it has only expressions. */
export function readingsOf(context: Context, attempt: Attempt, index: number): readonly GateReading[] {
  const stage = attempt.stages[index];
  if (stage === undefined || stage.gates.every(isExpression)) return [];
  const known = lastRead.get(stage);
  if (known?.input === context.input) return known.readings;
  const readings = readGates(stage.gates, seenOf(context, attempt, stage));
  lastRead.set(stage, { input: context.input, readings });
  return readings;
}

/** A plan asks for them several times. */
const lastRead = new WeakMap<
  StageOutcome,
  { readonly input: PlanInput; readonly readings: readonly GateReading[] }
>();

function seenOf(context: Context, attempt: Attempt, stage: StageOutcome): Seen {
  const { observed, now, desired } = context.input;
  const since = lastWatch(attempt, stage)?.sinceAt ?? 0;
  return {
    now,
    observedFrom: observedFrom(stage),
    alpha: stage.alpha,
    exposure: exposureOf(context, attempt),
    watch: watchOf(context, attempt, stage),
    previous: (gate) => previousOf(context.knownGood, gate),
    shares: (afterMs) =>
      sharesOf(context.tally, { now, afterMs: afterMs ?? silentAfter(desired.fleet.pollIntervalMs) }),
    observations: (metric) => observed.measured?.observations.get(metric) ?? [],
    samples: (gate) =>
      (observed.measured?.samples.get(probeKey(attempt, stage, gate)) ?? []).filter(({ at }) => at >= since),
    approvals: (gate) => voicesFor(context, attempt, stage, gate),
  };
}

/** Distinct people who approved the gate; where it needs several, those whose signature tells them apart. */
function voicesFor(context: Context, attempt: Attempt, stage: StageOutcome, gate: StageGate): number {
  const isSigned = gate.kind === 'approval' && needsSigners({ approvals: gate.count });
  const voices = approvalsOfGate(context, attempt, stage, gate).map(({ by, signer }) =>
    isSigned ? signer : by,
  );
  return new Set(voices.filter((voice) => voice !== undefined)).size;
}

export function exposureOf(context: Context, attempt: Attempt): Exposure {
  return context.input.observed.measured?.exposures.get(attemptKey(attempt)) ?? NO_EXPOSURE;
}

export function approvalsOfGate(context: Context, attempt: Attempt, stage: StageOutcome, gate: StageGate) {
  return operations(context, attempt, ['approve']).filter(
    (entry) => entry.gate === gate.name && (entry.stage === undefined || entry.stage === stage.name),
  );
}

/** Since when the gates count. With another store than the stage's, what the record has seen comes first. */
function watchOf(context: Context, attempt: Attempt, stage: StageOutcome): Watch {
  return watchIn(attempt, stage, context.input.observed.epoch);
}

/** What was decided upon in this stage or one before it: it halts no later one either. */
function lastWatch({ stages }: Attempt, stage: StageOutcome): StageOutcome['watch'] {
  const upTo = stages.findIndex(({ name }) => name === stage.name);
  return stages.slice(0, upTo + 1).findLast(({ watch }) => watch !== undefined)?.watch;
}

function watchIn(attempt: Attempt, stage: StageOutcome, epoch: string): Watch {
  const isLost = attempt.stages.some((each) => each.epoch !== epoch);
  const watch = lastWatch(attempt, stage);
  if (!isLost && watch === undefined) return WATCH_ALL;
  return {
    from: watch?.hourAt ?? 0,
    less: watch?.less ?? {},
    ...(isLost ? { before: carriedRows(attempt, epoch) } : {}),
  };
}

/** The hours that the attempt's verdicts have kept, by gate; of an hour that several have, the last word. */
export function recordedRows(attempt: Attempt): Record<string, readonly Row[]> {
  return rowsIn(attempt, (gate) => gate.rows);
}

/** Of those, what no store has any more: what was counted by others than the one of this epoch. */
function carriedRows(attempt: Attempt, epoch: string): Record<string, readonly Row[]> {
  return rowsIn(attempt, (gate, countedIn) => (countedIn === epoch ? gate.before : gate.rows));
}

function rowsIn(
  attempt: Attempt,
  of: (gate: StageGateVerdict, countedIn: string) => readonly Row[] | undefined,
): Record<string, readonly Row[]> {
  const byGate = new Map<string, Map<Instant, Row>>();
  for (const { epoch, verdict } of attempt.stages) {
    for (const gate of verdict?.gates ?? []) {
      if (!('state' in gate)) continue;
      const rows = byGate.get(gate.name) ?? new Map<Instant, Row>();
      byGate.set(gate.name, rows);
      for (const row of of(gate, verdict?.epoch ?? epoch) ?? []) rows.set(row[0], row);
    }
  }
  return Object.fromEntries(
    [...byGate].map(([name, rows]) => [name, [...rows.values()].sort((a, b) => a[0] - b[0])]),
  );
}

/** The rate, or the mean, that the known-good attempt's outcome has for a gate of the same name. */
export function previousOf(knownGood: Attempt | undefined, gate: StageGate): Previous {
  if (!isMeasured(gate) || gate.against.kind !== 'previous') return {};
  if (knownGood === undefined)
    return { missing: 'nothing has succeeded here before; give a rate, or compare with control' };
  const rows = recordedRows(knownGood)[gate.name] ?? [];
  const [amount, over] = rows.reduce(([sum, hours], row) => [sum + row[1], hours + row[2]], [0, 0]);
  if (over <= 0) {
    return {
      missing: `the outcome of attempt ${knownGood.attempt} has nothing for a gate called ${gate.name}`,
    };
  }
  // A rate of zero would make every incident proof: one is added, as for a control arm that is kept.
  return { value: gate.kind === 'events' && amount === 0 ? 1 / over : amount / over };
}

function silentAfter(pollIntervalMs: DurationMs): DurationMs {
  return Math.max(HOUR, 3 * pollIntervalMs);
}

function sharesOf(tally: RolloutTally, given: { now: Instant; afterMs: DurationMs }): DeviceShares {
  const sum = (of: (stage: StageTally) => number) =>
    tally.stages.reduce((total, stage) => total + of(stage), 0);
  const before = given.now - given.afterMs;
  // An hour counts once all of it is long ago.
  const silent = (heard: ReadonlyMap<Instant, number>) =>
    [...heard].reduce((total, [hour, devices]) => (hour + HOUR <= before ? total + devices : total), 0);
  const all = (heard: ReadonlyMap<Instant, number>) =>
    [...heard.values()].reduce((total, devices) => total + devices, 0);
  return {
    afterMs: given.afterMs,
    attempted: sum(({ counts }) => counts.succeeded + counts.failed + counts.verifying),
    failed: sum(({ counts }) => counts.failed),
    rolledBack: sum(({ wentBack }) => wentBack),
    reached: sum(({ heard }) => all(heard)),
    silent: sum(({ heard }) => silent(heard)),
    control: all(tally.controlHeard),
    controlSilent: silent(tally.controlHeard),
  };
}

/** From now on the gates count anew: what was seen until now has been decided upon. */
export function watchedAnew(
  context: Context,
  attempt: Attempt,
  stage: StageOutcome,
): NonNullable<StageOutcome['watch']> {
  const { now } = context.input;
  const from = hourOf(now);
  const exposure = exposureOf(context, attempt);
  const less: Record<string, Row> = {};
  const seen = seenOf(context, attempt, stage);
  for (const gate of stage.gates) {
    if (gate.kind === 'share') {
      const { failed, rolledBack, silent, attempted, reached } = seen.shares(gate.afterMs);
      less[gate.name] =
        gate.of === 'silent'
          ? [from, silent, reached, 0, 0]
          : [from, gate.of === 'failed' ? failed : rolledBack, attempted, 0, 0];
    } else if (gate.kind !== 'expression' && isMeasured(gate)) {
      const row = rowsOf(gate, { closed: [], open: exposure.open }).find(([at]) => at === from);
      if (row !== undefined) less[gate.name] = row;
    }
  }
  return { sinceAt: now, hourAt: from, less };
}

/** What an outcome keeps of the gates: of expressions the counts, of the others what they saw. */
export function gateVerdicts(
  stage: StageOutcome,
  tally: StageTally,
  seen: { readonly context: Context; readonly attempt: Attempt; readonly readings: readonly GateReading[] },
): readonly GateVerdict[] {
  const { context, attempt } = seen;
  const readings = new Map(seen.readings.map((reading) => [reading.name, reading]));
  return stage.gates.map((gate): GateVerdict => {
    if (isExpression(gate)) {
      const { holds = 0, fails = 0, missing = 0 } = tally.gates.get(gate.name) ?? {};
      return { name: gate.name, expression: gate.expression, holds, fails, missing };
    }
    const reading = readings.get(gate.name) ?? {
      name: gate.name,
      state: 'missing',
      because: 'it was not looked at',
    };
    const { state, because, ratio, logEvidence, counts, afterMs, observations, samples } = reading;
    const kept: { -readonly [Key in keyof StageGateVerdict]: StageGateVerdict[Key] } = {
      name: gate.name,
      state,
      because,
    };
    if (ratio !== undefined && Number.isFinite(ratio)) kept.ratio = ratio;
    if (logEvidence !== undefined && Number.isFinite(logEvidence)) kept.logEvidence = logEvidence;
    if (counts !== undefined) kept.counts = counts;
    if (afterMs !== undefined) kept.afterMs = afterMs;
    if (observations !== undefined) kept.observations = observations.slice(-KEPT_MAX);
    if (samples !== undefined) kept.samples = samples.slice(-KEPT_MAX);
    if (isMeasured(gate)) {
      const { value } = previousOf(context.knownGood, gate);
      if (value !== undefined) kept.previous = value;
      const watch = watchOf(context, attempt, stage);
      kept.rows = watchedRows(gate, exposureOf(context, attempt), watch);
      const before = watch.before?.[gate.name];
      if (before !== undefined && before.length > 0) kept.before = before;
    }
    return kept;
  });
}

export function probeKey(
  attempt: Attempt,
  stage: Pick<StageOutcome, 'name'>,
  gate: Pick<StageGate, 'name'>,
): string {
  return `${attemptKey(attempt)}/${stage.name}/${gate.name}`;
}

/** What is to be asked of others while the attempt's last stage is open. */
export function probesOf(attempt: Attempt): readonly Probe[] {
  const stage = attempt.stages.at(-1);
  if (stage === undefined) return [];
  return stage.gates.flatMap((gate): Probe[] => {
    if (gate.kind !== 'prometheus' && gate.kind !== 'webhook') return [];
    const key = probeKey(attempt, stage, gate);
    const { everyMs } = gate;
    if (gate.kind === 'prometheus') {
      return [
        {
          key,
          everyMs,
          keepMs: gate.forMs + 3 * everyMs,
          question: { kind: 'prometheus', query: gate.query },
        },
      ];
    }
    const about = {
      rollout: attempt.rollout,
      attempt: attempt.attempt,
      revision: attempt.revision,
      distributionSet: attempt.manifest.distributionSet,
      stage: stage.name,
      gate: gate.name,
    };
    return [
      { key, everyMs, keepMs: 10 * MINUTE + everyMs, question: { kind: 'webhook', url: gate.url, about } },
    ];
  });
}

/** How far the gates over incidents of the attempt's last stage are from a decision, by gate. */
export function outlooksOf(
  attempt: Attempt,
  seen: { readonly knownGood: Attempt | undefined; readonly exposure: Exposure; readonly epoch: string },
): ReadonlyMap<string, Outlook> {
  const stage = attempt.stages.at(-1);
  const found = new Map<string, Outlook>();
  if (stage === undefined) return found;
  for (const gate of stage.gates) {
    if (gate.kind !== 'events') continue;
    const against = resolve(gate.against, previousOf(seen.knownGood, gate));
    if ('missing' in against) continue;
    const watch = watchIn(attempt, stage, seen.epoch);
    found.set(gate.name, outlookOf(gate, { against, exposure: seen.exposure, watch, alpha: alphaOf(stage) }));
  }
  return found;
}
