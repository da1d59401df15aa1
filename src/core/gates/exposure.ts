/**
 * What was seen of an attempt, hour by hour and arm by arm. The store adds up what reports say under the names of this file; a
 * {@link Row} is what one gate makes of one hour. Hours are UTC hours of the server's clock, of when a report came.
 */
import { type EventGate, isSequential, type MetricGate, type StageGate } from '../model/gate.ts';
import { type DurationMs, HOUR, type Instant, SECOND } from '../model/time.ts';

const SECONDS_PER_HOUR = HOUR / SECOND;

/** A sum as the store has it: see {@link sumName}. */
export interface HourSum {
  readonly name: string;
  readonly at: Instant;
  readonly sum: number;
  readonly count: number;
}

/** Devices that run the attempt's revision in the stage of this index, or those that it has not reached. */
export type ArmName = number | 'control';

export type Measure =
  /** How long devices ran, in whole seconds: they add up to the same sum in any order. */
  | { readonly kind: 'seconds' }
  | { readonly kind: 'event'; readonly event: string }
  /** Of those seconds, the ones of devices whose incidents of this event do not count any more. */
  | { readonly kind: 'spent'; readonly event: string }
  | { readonly kind: 'metric'; readonly signal: string };

/** `stage:0 seconds`, `control event:crash`. Neither events nor signals have spaces before them to confuse it with. */
export function sumName(arm: ArmName, measure: Measure): string {
  const of = arm === 'control' ? arm : `stage:${arm}`;
  if (measure.kind === 'seconds') return `${of} seconds`;
  return `${of} ${measure.kind}:${measure.kind === 'metric' ? measure.signal : measure.event}`;
}

/** When the hour began that `at` lies in. */
export function hourOf(at: Instant): Instant {
  return Math.floor(at / HOUR) * HOUR;
}

/** Servers that share a store may differ by this much, and a report may have come just before the hour. */
export const OPEN_MS: DurationMs = HOUR;

/** Hours that began before this are over at `now`: nothing is added to them any more. */
export function openSince(now: Instant): Instant {
  return hourOf(now) - OPEN_MS;
}

/** What an arm has seen in an hour: device-hours, and by measure what was counted. */
export interface ArmHour {
  hours: number;
  readonly measures: Map<string, { sum: number; count: number }>;
}

export interface Interval {
  readonly at: Instant;
  /** All stages together. */
  readonly treated: ArmHour;
  readonly control: ArmHour;
  /** Device-hours and incidents by index of the stage. */
  readonly stages: Map<number, ArmHour>;
}

/** `closed` is only ever added to: what was made of its beginning stays so. `open` may still change. */
export interface Exposure {
  readonly closed: readonly Interval[];
  readonly open: readonly Interval[];
}

export const NO_EXPOSURE: Exposure = { closed: [], open: [] };

const NAME = /^(?:stage:([0-9]+)|(control)) (seconds|(?:event|spent|metric):.*)$/s;

/** The sums as intervals, in order of time. Names of others are left out. */
export function intervalsOf(sums: readonly HourSum[]): Interval[] {
  const hours = new Map<Instant, Interval>();
  for (const { name, at, sum, count } of sums) {
    const [, stage, control, measure = ''] = NAME.exec(name) ?? [];
    if (stage === undefined && control === undefined) continue;
    let interval = hours.get(at);
    if (interval === undefined) {
      interval = { at, treated: emptyArm(), control: emptyArm(), stages: new Map() };
      hours.set(at, interval);
    }
    if (stage === undefined) add(interval.control, measure, { sum, count });
    else {
      const index = Number(stage);
      const own = interval.stages.get(index) ?? emptyArm();
      interval.stages.set(index, own);
      add(own, measure, { sum, count });
      add(interval.treated, measure, { sum, count });
    }
  }
  return [...hours.values()].sort((a, b) => a.at - b.at);
}

function emptyArm(): ArmHour {
  return { hours: 0, measures: new Map() };
}

function add(arm: ArmHour, measure: string, more: { sum: number; count: number }): void {
  if (measure === 'seconds') arm.hours += more.sum / SECONDS_PER_HOUR;
  else {
    const known = arm.measures.get(measure);
    if (known === undefined) arm.measures.set(measure, { ...more });
    else {
      known.sum += more.sum;
      known.count += more.count;
    }
  }
}

/**
 * What a gate makes of an hour: when it began; of the treated arm incidents and device-hours, or the sum and the number of a
 * metric's values; and the same of the control arm.
 */
export type Row = readonly [
  at: Instant,
  treated: number,
  treatedOver: number,
  control: number,
  controlOver: number,
];

export type MeasuredGate = EventGate | MetricGate;

export function isMeasured(gate: StageGate): gate is MeasuredGate {
  return gate.kind === 'events' || gate.kind === 'metric';
}

/** Names of what it looks at in an arm's measures, put together once: a thousand rollouts ask on every pass. */
function keysOf(gate: MeasuredGate): { readonly own: string; readonly spent: string } {
  let keys = keysByGate.get(gate);
  if (keys === undefined) {
    keys =
      gate.kind === 'events'
        ? { own: `event:${gate.event}`, spent: `spent:${gate.event}` }
        : { own: `metric:${gate.signal}`, spent: '' };
    keysByGate.set(gate, keys);
  }
  return keys;
}

const keysByGate = new WeakMap<MeasuredGate, ReturnType<typeof keysOf>>();

function rowOf(gate: MeasuredGate, { at, treated, control }: Interval): Row {
  const { own, spent } = keysOf(gate);
  const [seen, other] = [treated.measures.get(own), control.measures.get(own)];
  if (gate.kind === 'metric')
    return [at, seen?.sum ?? 0, seen?.count ?? 0, other?.sum ?? 0, other?.count ?? 0];
  const hours = (arm: ArmHour) => arm.hours - (arm.measures.get(spent)?.sum ?? 0) / SECONDS_PER_HOUR;
  return [at, seen?.sum ?? 0, hours(treated), other?.sum ?? 0, hours(control)];
}

/** A metric is compared hour by hour, and half an hour is no hour; incidents may be looked at whenever they happen. */
export function rowsOf(gate: MeasuredGate, { closed, open }: Exposure): Row[] {
  const of = (interval: Interval) => rowOf(gate, interval);
  const isWhole = gate.kind === 'metric' && isSequential(gate);
  return isWhole ? closed.map(of) : [...closed.map(of), ...open.map(of)];
}
