/**
 * Plays a rollout of a fleet repository over a virtual fleet, with the reconciler that production runs, and says what became of
 * it: when a fault would be found, by which gate and in which stage, and how many devices would have had it by then. Preparing
 * is done once and finds everything that keeps it from being played; a run is one seed.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { compiledGate } from '../core/gates/expression.ts';
import type { Cell } from '../core/model/census.ts';
import type { DesiredState, Rollout } from '../core/model/desired.ts';
import type { SignalValue } from '../core/model/device.ts';
import { type Gate, isExpression } from '../core/model/gate.ts';
import type { CommitId, RolloutName, SnapshotId } from '../core/model/ids.ts';
import { type Attempt, isFinished } from '../core/model/outcome.ts';
import {
  DAY,
  type DurationMs,
  formatDuration,
  formatInstant,
  HOUR,
  type Instant,
  MINUTE,
} from '../core/model/time.ts';
import type { RolloutReport } from '../core/plan/contract.ts';
import { compileCondition } from '../core/target/condition.ts';
import { type LoadedState, loadDesired, type SourceFile } from '../documents/load.ts';
import type { Problem } from '../documents/problem.ts';
import { closest, didYouMean } from '../documents/suggest.ts';
import { beginWith, changes, withPredecessor } from './before.ts';
import { createCrowd, type SampleSizes } from './crowd.ts';
import { type Fault, faultText } from './fault.ts';
import { type Guess, guessCells, populate } from './fleet-mix.ts';
import { healthySignals } from './healthy-signals.ts';
import { answersFor, createApprovers, postNumbers } from './outside.ts';
import { breachIn, type Found, foundOf, momentsOf, type Run, stagesOf, type TimelinePoint } from './run.ts';
import { seededRandom } from './seeded-random.ts';
import { createServiceInMemory } from './service-in-memory.ts';
import type { SimulatedIdentity } from './virtual-device.ts';

export interface ExperimentInput {
  /** The documents whose rollout is played. */
  readonly files: readonly SourceFile[];
  /** What the fleet runs before; absent: a predecessor is made up. */
  readonly base?: readonly SourceFile[];
  readonly rollout: string;
  readonly devices: number;
  /** A fleet's mix of devices, without ids, of which those are played that the rollout is for; absent: it is guessed from the documents. */
  readonly cells?: readonly Cell[];
  readonly faults: readonly Fault[];
  /** Signals whose healthy values are known. */
  readonly signals?: Readonly<Record<string, SignalValue>>;
  /** Events per device-hour that healthy devices have, where they are known. */
  readonly rates?: ReadonlyMap<string, number>;
  readonly startAt?: Instant;
  /** How long approvals take; absent: they are given at once. */
  readonly approveAfterMs?: DurationMs;
}

export type Prepared =
  | { readonly kind: 'ready'; readonly experiment: Experiment }
  /** The documents have errors. `of`: which ones. */
  | { readonly kind: 'invalid'; readonly of: 'files' | 'base'; readonly problems: readonly Problem[] }
  /** A sentence: what does not fit, and the next step. */
  | { readonly kind: 'refused'; readonly message: string };

/** What is played, and what was assumed for it. */
export interface Experiment {
  readonly input: ExperimentInput;
  readonly desired: DesiredState;
  readonly rollout: Rollout;
  readonly baseFiles: readonly SourceFile[];
  readonly fleet: readonly SimulatedIdentity[];
  /** What healthy devices report, and how often what happens to them per device-hour. */
  readonly signals: Readonly<Record<string, SignalValue>>;
  readonly metrics: ReadonlyMap<string, number>;
  readonly rates: ReadonlyMap<string, number>;
  /** In sentences: what a reader must know to believe the result, the most important first. */
  readonly notes: readonly string[];
}

/** 2026-01-05T08:00:00Z, a Monday: windows and freezes are as on that day. */
export const START_AT: Instant = 1_767_600_000_000;
/** Incidents per device-hour where neither a gate nor anybody says. */
export const RATE_DEFAULT = 0.002;
const METRIC_DEFAULT = 1;
/** The attempt that is played: the one before it is what devices ran. */
const ATTEMPT = 2;
/** Time goes on in these steps. In each devices act, and the reconciler passes until it rests. */
const STEP_MS: DurationMs = 5 * MINUTE;
/** Nothing is played for longer. */
export const DURATION_MS: DurationMs = 30 * DAY;
/** Who reports hours, of arms that are larger. A fault is looked for with more eyes than none. */
const SAMPLE: SampleSizes = { treated: 1_000, control: 2_000 };
const SAMPLE_WITH_FAULT: SampleSizes = { treated: 25_000, control: 25_000 };

export function prepareExperiment(given: ExperimentInput): Prepared {
  const input = { ...given, files: documentsOf(given.files) };
  const loaded = loadDesired(input.files, NOWHERE);
  const { desired } = loaded;
  if (desired === undefined) return { kind: 'invalid', of: 'files', problems: loaded.problems };
  const rollout = desired.rollouts.get(input.rollout as RolloutName);
  if (rollout === undefined) {
    return refuse(
      `there is no rollout "${input.rollout}"; ${didYouMean(input.rollout, [...desired.rollouts.keys()])}`,
    );
  }
  const base = baseOf(input, loaded, rollout);
  if ('kind' in base) return base;

  const watched = watchedBy(rollout);
  for (const fault of input.faults) {
    const unknown = whyUnknown(fault, rollout, watched);
    if (unknown !== undefined) return refuse(unknown);
  }
  const signals = signalsFor(rollout, input.signals ?? {});
  if (typeof signals === 'string') return refuse(signals);
  const metrics = new Map(
    [...watched.metrics].map(([name, mean]) => {
      const said = signals[name];
      return [name, typeof said === 'number' && said !== 0 ? said : mean];
    }),
  );

  const wheres = input.faults.flatMap((fault) =>
    'where' in fault && fault.where !== undefined ? [fault.where] : [],
  );
  const guess: Guess =
    input.cells === undefined
      ? guessCells(desired, rollout, wheres)
      : { ok: true, cells: ofRollout(input.cells, rollout), declared: [] };
  if (!guess.ok) return refuse(guess.message);
  const fleet = populate(guess.cells, {
    devices: input.devices,
    units: unitsOf(rollout),
    declared: guess.declared,
  });
  const missed = [rollout.condition, ...wheres].find(
    (condition) => !fleet.some(compileCondition(condition).matches),
  );
  if (missed !== undefined) {
    return refuse(
      `none of the ${fleet.length} devices matches ${missed}; give a census that has some with --census FILE`,
    );
  }

  const faulty = input.faults.flatMap((fault) =>
    fault.kind === 'rate' && !metrics.has(fault.name) ? [fault.name] : [],
  );
  const rates = ratesOf(rollout, new Set([...watched.events, ...faulty]), input.rates);
  const experiment = { input, desired, rollout, baseFiles: base.files, fleet, signals, metrics, rates };
  return { kind: 'ready', experiment: { ...experiment, notes: notesOf(experiment, watched) } };
}

/** All of them where there are none for it, so that it is said what does not match. */
function ofRollout(cells: readonly Cell[], { condition }: Rollout): readonly Cell[] {
  const { matches } = compileCondition(condition);
  const own = cells.filter(({ tags }) => matches({ id: '', tags }));
  return own.length === 0 ? cells : own;
}

export interface RunOptions {
  readonly seed: string;
  /** `found`: it ends when a fault is found, or the rollout does. `end`: when the rollout does, and all is back where it was rolled back. */
  readonly until: 'found' | 'end';
  readonly durationMs?: DurationMs;
  readonly signal?: AbortSignal;
  /** Told in each step how much time has passed. */
  readonly onStep?: (passedMs: DurationMs) => void;
}

/** One run. The same experiment and seed give the same run, to the digit. */
export async function playExperiment(experiment: Experiment, options: RunOptions): Promise<Run> {
  const { input, rollout, rates, metrics, fleet } = experiment;
  const { seed, until, durationMs = DURATION_MS } = options;
  const { faults } = input;
  const startAt = input.startAt ?? START_AT;
  const approvers = await createApprovers(rollout, input.approveAfterMs ?? 0);
  const inMemory = await createServiceInMemory({ startAt, seed, ask: answersFor(rollout, faults) });
  const { clock, service, store, settle, events } = inMemory;
  await beginWith(inMemory, experiment.baseFiles, { more: approvers.files, rates, metrics, seed });
  await settle();
  const { published: begun } = service.reconciler.state();
  if (begun === undefined) throw new Error('no program was published for what the fleet ran before');

  const crowd = createCrowd({
    store,
    fleet,
    random: seededRandom(seed),
    rollout: rollout.name,
    candidate: rollout.revision,
    faults,
    signals: experiment.signals,
    metrics,
    rates,
    needsHours: rollout.stages.some(({ minExposureHours }) => minExposureHours > 0),
    ...heartbeatOf(experiment),
    sample: sampleFor(rollout, faults),
    stepMs: STEP_MS,
  });
  await crowd.enrol(begun, startAt);
  await inMemory.commit('Release', changes(experiment.baseFiles, input.files));

  const timeline: TimelinePoint[] = [];
  let followed = begun;
  let found: Found | undefined;
  let eventsSeen = 0;
  const state = () => service.reconciler.state();
  const attemptNow = () =>
    state()
      .outcomes.get(rollout.name)
      ?.find(({ attempt }) => attempt === ATTEMPT);

  async function reconcile(now: Instant): Promise<void> {
    await settle();
    const attempt = attemptNow();
    if (attempt !== undefined && (await approvers.approve(attempt, inMemory.commit, now))) await settle();
    const { published = followed } = state();
    if (published !== followed) await crowd.follow(published, now);
    followed = published;
  }

  function observe(now: Instant): void {
    const { running, reached, hit } = crowd.counts();
    if (!isDeepStrictEqual(timeline.at(-1)?.running, running)) {
      timeline.push({ afterMs: now - startAt, running });
    }
    const breach = found === undefined ? breachIn(events.slice(eventsSeen), rollout.name) : undefined;
    eventsSeen = events.length;
    if (breach !== undefined) found = foundOf(breach, { startAt, reached, hit });
  }

  function isOver(now: Instant): boolean {
    if (until === 'found' && found !== undefined) return true;
    if (now - startAt >= durationMs || options.signal?.aborted === true) return true;
    const report = state().report.find((each) => each.rollout === rollout.name);
    return isAtRest(attemptNow(), report, crowd.isBusy());
  }

  for (;;) {
    const now = clock.now();
    await reconcile(now);
    observe(now);
    options.onStep?.(now - startAt);
    if (isOver(now)) break;
    clock.advance(STEP_MS);
    // What is asked of the world outside is answered before anybody judges by it.
    await nextTurn();
    await postNumbers(store, { gates: rollout.gates, faults, now: clock.now(), stepMs: STEP_MS });
    await crowd.step(clock.now());
  }
  await service.close();
  const attempt = attemptNow();
  const { reached, hit, sampled } = crowd.counts();
  return {
    seed,
    startAt,
    lastedMs: clock.now() - startAt,
    state: attempt?.state ?? 'notStarted',
    reason: state().report.find((each) => each.rollout === rollout.name)?.reason ?? '',
    stages: stagesOf(attempt, startAt),
    ...(found === undefined ? {} : { found }),
    moments: momentsOf(events, rollout.name, startAt),
    reached,
    hit,
    timeline,
    sampled,
    isInterrupted: options.signal?.aborted === true,
  };
}

/** Whether nothing will happen any more, however long one waits. */
function isAtRest(attempt: Attempt | undefined, report: RolloutReport | undefined, isBusy: boolean): boolean {
  if (isBusy) return false;
  if (attempt !== undefined && isFinished(attempt)) return attempt.restored?.main !== 'pending';
  return report?.until === undefined && attempt?.state !== 'waitingForApproval';
}

/** How often everybody must be heard of, where a gate asks who is silent. */
function heartbeatOf({ desired, rollout }: Experiment): { readonly heartbeatMs?: DurationMs } {
  const silences = rollout.gates.flatMap((gate) =>
    gate.kind === 'share' && gate.of === 'silent'
      ? [gate.afterMs ?? Math.max(HOUR, 3 * desired.fleet.pollIntervalMs)]
      : [],
  );
  return silences.length === 0 ? {} : { heartbeatMs: Math.min(...silences) };
}

function sampleFor({ stages }: Rollout, faults: readonly Fault[]): SampleSizes {
  const sample = faults.length === 0 ? SAMPLE : SAMPLE_WITH_FAULT;
  // A sample that could not see the hours that a stage asks for, in half of its soak, would hold it up.
  const isTooFew = stages.some(
    ({ minExposureHours, soakMs }) => minExposureHours > (sample.treated * soakMs) / HOUR / 2,
  );
  return isTooFew ? { ...sample, treated: Number.POSITIVE_INFINITY } : sample;
}

// Preparing

function refuse(message: string): Extract<Prepared, { kind: 'refused' }> {
  return { kind: 'refused', message };
}

/** What the fleet runs before: as it was given, or the same documents with a predecessor that is made up. */
function baseOf(
  input: ExperimentInput,
  loaded: LoadedState,
  rollout: Rollout,
): { readonly files: readonly SourceFile[] } | Exclude<Prepared, { kind: 'ready' }> {
  if (input.base === undefined) {
    const files = withPredecessor(documentsOf(input.files), loaded, rollout);
    if (files !== undefined) return { files };
    return refuse(
      `the file of rollout ${rollout.name} cannot be given another distribution set; write spec.distributionSet as a plain text, or name what runs before with --base`,
    );
  }
  const { desired, problems } = loadDesired(input.base, NOWHERE);
  if (desired === undefined) return { kind: 'invalid', of: 'base', problems };
  if (desired.rollouts.get(rollout.name)?.revision !== rollout.revision)
    return { files: documentsOf(input.base) };
  return refuse(
    `rollout ${rollout.name} wants ${rollout.manifest.distributionSet} before and after, so nothing would roll out; name an older commit with --base, or leave it out`,
  );
}

const NOWHERE = { snapshot: '' as SnapshotId, commit: '' as CommitId };

/** What is in force. What people did to earlier attempts (`ops/`) has nothing to do with this one. */
function documentsOf(files: readonly SourceFile[]): readonly SourceFile[] {
  return files.filter(({ path }) => path.startsWith('fleet/'));
}

interface Watched {
  readonly events: ReadonlySet<string>;
  readonly metrics: ReadonlyMap<string, number>;
}

function watchedBy({ gates }: Rollout): Watched {
  const metrics = gates.flatMap((gate): [string, number][] => {
    if (gate.kind !== 'metric') return [];
    const { against, range } = gate;
    const middle = range === undefined ? METRIC_DEFAULT : (range.from + range.to) / 2;
    return [[gate.signal, against.kind === 'known' ? against.value : middle]];
  });
  return {
    events: new Set(gates.flatMap((gate) => (gate.kind === 'events' ? [gate.event] : []))),
    metrics: new Map(metrics),
  };
}

/** Signals that the rollout's expressions look at. */
function signalsIn({ gates }: Rollout): readonly string[] {
  return gates.flatMap((gate) => (isExpression(gate) ? compiledGate(gate.expression).signals : []));
}

/** Why the fault means nothing here. What no gate looks at may be meant so; what is nearly something else is not. */
function whyUnknown(fault: Fault, rollout: Rollout, { events, metrics }: Watched): string | undefined {
  const named = (what: string, name: string, known: readonly string[]) =>
    known.includes(name)
      ? undefined
      : `${faultText(fault)}: no gate of ${rollout.name} ${what} "${name}"; ${didYouMean(name, known)}`;
  const mistyped = (what: string, name: string, known: readonly string[]) =>
    closest(name, known) === undefined ? undefined : named(what, name, known);
  const gatesOf = (kind: Gate['kind']) =>
    rollout.gates.flatMap((gate) => (gate.kind === kind ? [gate.name] : []));
  switch (fault.kind) {
    case 'rate':
      return mistyped('counts', fault.name, [...events, ...metrics.keys(), 'install', 'silence', 'season']);
    case 'signal':
      return mistyped('looks at', fault.signal, [...signalsIn(rollout), ...metrics.keys()]);
    case 'prometheus':
    case 'webhook':
      return named(
        `asks ${fault.kind === 'webhook' ? 'a webhook' : 'Prometheus'} by the name of`,
        fault.gate,
        gatesOf(fault.kind),
      );
    case 'observations': {
      const known = rollout.gates.flatMap((gate) => (gate.kind === 'observations' ? [gate.metric] : []));
      return named('judges by', fault.metric, known);
    }
    case 'install':
    case 'silence':
    case 'season':
      return undefined;
  }
}

/** What healthy devices report; a sentence where that cannot be told. */
function signalsFor(
  { gates }: Rollout,
  given: Readonly<Record<string, SignalValue>>,
): Readonly<Record<string, SignalValue>> | string {
  const expressions = gates.flatMap((gate) => (isExpression(gate) ? [gate.expression] : []));
  const healthy = healthySignals(expressions, given);
  if (healthy.ok) return healthy.signals;
  const { expression, signals } = healthy;
  return `no values of ${signals.join(', ')} were found for which the gate ${JSON.stringify(expression)} holds; say what healthy devices report, as --signal ${signals[0]}=VALUE`;
}

function ratesOf(
  { gates }: Rollout,
  events: ReadonlySet<string>,
  given: ReadonlyMap<string, number> = new Map(),
): ReadonlyMap<string, number> {
  const known = new Map(
    gates.flatMap((gate): [string, number][] =>
      gate.kind === 'events' && gate.against.kind === 'known' ? [[gate.event, gate.against.value]] : [],
    ),
  );
  return new Map(
    [...events, ...given.keys()].map((event) => [
      event,
      given.get(event) ?? known.get(event) ?? RATE_DEFAULT,
    ]),
  );
}

function unitsOf({ stages }: Rollout): readonly string[] {
  return [...new Set(stages.map(({ unit }) => unit))].filter((unit) => unit !== 'device');
}

/** What a reader must know to believe the result, in sentences. */
function notesOf(experiment: Omit<Experiment, 'notes'>, seen: Watched): readonly string[] {
  const { input, rollout, rates, metrics, desired } = experiment;
  const gates = rollout.gates;
  const before =
    input.base === undefined
      ? `before it every device runs a made-up predecessor, ${rollout.manifest.product}@before-${rollout.manifest.version}, which is known-good`
      : 'before it the fleet runs what the base says, which is recorded as known-good without being played';
  const guessed = [...rates].filter(
    ([event]) => !isRateKnown(rollout, event) && input.rates?.has(event) !== true,
  );
  const unseen = input.faults.flatMap((fault) => {
    const isSeen =
      fault.kind === 'rate'
        ? seen.events.has(fault.name) || seen.metrics.has(fault.name)
        : fault.kind !== 'signal' ||
          signalsIn(rollout).includes(fault.signal) ||
          seen.metrics.has(fault.signal);
    return isSeen ? [] : [`no gate of ${rollout.name} looks at what ${faultText(fault)} changes`];
  });
  const outside = (['prometheus', 'webhook', 'observations'] as const).filter((kind) =>
    gates.some((gate) => gate.kind === kind),
  );
  const needsPeople =
    rollout.stages.some(({ approvals }) => approvals > 0) || gates.some(({ kind }) => kind === 'approval');
  return [
    ...unseen,
    before,
    ...(input.cells === undefined ? [`the fleet's mix is guessed from the documents`] : []),
    ...guessed.map(([event, rate]) => `healthy devices have ${rate} ${event} per hour, which is assumed`),
    ...[...metrics].map(
      ([metric, mean]) => `healthy devices report ${metric} around ${Number(mean.toPrecision(6))}`,
    ),
    ...(outside.length === 0
      ? []
      : [
          `${outside.map((kind) => OUTSIDE[kind]).join(' and ')} say that all is well, unless a fault says otherwise`,
        ]),
    ...(needsPeople
      ? [
          `approvals are given ${input.approveAfterMs === undefined || input.approveAfterMs === 0 ? 'at once' : `after ${formatDuration(input.approveAfterMs)}`}`,
        ]
      : []),
    ...(desired.fleet.freeze === undefined &&
    rollout.start.kind === 'onMerge' &&
    rollout.installWindow === undefined
      ? []
      : [`it begins at ${formatInstant(input.startAt ?? START_AT)}`]),
  ];
}

const OUTSIDE = { prometheus: 'Prometheus', webhook: 'webhooks', observations: 'posted numbers' } as const;

function isRateKnown({ gates }: Rollout, event: string): boolean {
  return gates.some(
    (gate) => gate.kind === 'events' && gate.event === event && gate.against.kind === 'known',
  );
}
