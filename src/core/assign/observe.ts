/**
 * What a report adds to the sums that gates are judged by. A device counts in one arm of an attempt: treated, once it runs the revision
 * in an open stage; control, while it runs something else and no stage has reached it; on its way from one to the other in neither.
 *
 * Nobody counts much: an event is one incident per device and hour, or per unit and hour where stages take units in whole, and two per
 * device and stage, whatever is reported; a metric counts once per device and hour; and no device runs for longer than time passes.
 *
 * What has been counted of a device goes with it from control to treated, and everybody starts anew when a stage opens. Were it only
 * those that a stage takes in, they would be compared with control devices of which the worst do not count any more.
 */
import type { ArmName } from '../gates/exposure.ts';
import { hourOf, sumName } from '../gates/exposure.ts';
import {
  applyReport,
  type DeviceRecord,
  EXPOSURE_HOURS_MAX,
  type ObservedOfDevice,
  type Report,
  type ReportEffect,
} from '../model/device.ts';
import type { Program, ProgramCandidate, Watches } from '../model/program.ts';
import { HOUR, type Instant, SECOND } from '../model/time.ts';
import { hasOrInstalls, isExcluded, place, stageOf, takes, unitIdOf } from './assign.ts';
import { rolloutsFor } from './candidates.ts';
import { subjectOf } from './subject.ts';

/** An amount for the store to add up: see `Addition` in src/store/sums.ts. */
export interface Amount {
  readonly series: string;
  readonly name: string;
  readonly at: Instant;
  readonly amount: number;
  readonly limits?: readonly { readonly key: string; readonly max: number }[];
}

export interface Observation {
  /** The record with what has been counted of the device. */
  readonly record: DeviceRecord;
  readonly amounts: readonly Amount[];
}

/** The record after a report, and what the report adds to the sums of the program's gates. */
export function receive(
  program: Program | undefined,
  before: DeviceRecord,
  report: Report,
  now: Instant,
): Observation & { readonly effect: ReportEffect } {
  const { record: after, effect } = applyReport(before, report, now);
  if (program === undefined) return { record: after, effect, amounts: [] };
  return { effect, ...observe(program, { before, after, report, effect, now }) };
}

/** Incidents of one device that count in a stage. */
export const INCIDENTS_PER_STAGE = 2;

/** `before` and `after` are the record without and with the report, which had this effect. */
function observe(
  program: Program,
  seen: {
    readonly before: DeviceRecord;
    readonly after: DeviceRecord;
    readonly report: Report;
    readonly effect: ReportEffect;
    readonly now: Instant;
  },
): Observation {
  const { before, after, report, effect, now } = seen;
  if (effect === 'duplicate') return { record: after, amounts: [] };
  const arms = armsOf(program, after, report, now);
  if (arms.length === 0) return { record: after, amounts: [] };

  const hour = hourOf(now);
  const known = before.report?.observed;
  const counted = known?.hour === hour ? [...known.counted] : [];
  const time = timeOf(isOfOneOf(arms, known) ? known : undefined, report, now);
  const isFirstRun = before.report?.running !== report.running;
  const incidents: Record<string, number> = {};
  const ofStage: Record<string, number> = {};
  const amounts: Amount[] = [];
  for (const { arm, unit } of arms) {
    const { series } = arm;
    if (time.counted > 0) amounts.push({ series, name: arm.seconds, at: hour, amount: time.counted });
    for (const { event, inArm, inStage, inHour, incident, spent } of arm.events) {
      incidents[inArm] = known?.incidents[inArm] ?? 0;
      const soFar = known?.ofStage[inStage] ?? 0;
      ofStage[inStage] = soFar;
      if (soFar >= INCIDENTS_PER_STAGE) {
        // Who cannot count any more is not at risk any more: else arms that have been watched for longer would look better.
        if (time.counted > 0) amounts.push({ series, name: spent, at: hour, amount: time.counted });
        continue;
      }
      // Booting into the update is what it does, not what is wrong with it.
      const reported = (report.events[event] ?? 0) - (isFirstRun ? 1 : 0);
      if (reported <= 0 || counted.includes(inHour)) continue;
      incidents[inArm] += 1;
      ofStage[inStage] = soFar + 1;
      counted.push(inHour);
      const limits =
        unit === undefined ? {} : { limits: [{ key: `${inHour} ${hour / HOUR} ${unit}`, max: 1 }] };
      amounts.push({ series, name: incident, at: hour, amount: 1, ...limits });
    }
    for (const { signal, range, inHour, value: name } of arm.metrics) {
      const value = report.signals[signal];
      if (typeof value !== 'number' || !Number.isFinite(value) || counted.includes(inHour)) continue;
      counted.push(inHour);
      const amount = range === undefined ? value : Math.min(range.to, Math.max(range.from, value));
      amounts.push({ series, name, at: hour, amount });
    }
  }
  const observed: ObservedOfDevice = {
    hour,
    counted,
    incidents,
    ofStage,
    since: time.since,
    seconds: time.all,
  };
  const state = after.report;
  if (state === undefined) return { record: after, amounts };
  return { record: { ...after, report: { ...state, observed } }, amounts };
}

/** Whether it is of an attempt that still watches the device. What it did not run for the last one is no credit for this one. */
function isOfOneOf(arms: readonly Armed[], known: ObservedOfDevice | undefined): boolean {
  for (const key in known?.ofStage) if (arms.some(({ arm }) => key.startsWith(arm.prefix))) return true;
  return false;
}

/** Seconds that count of the report: no more than have passed since the device was first watched, and a day. */
function timeOf(
  known: ObservedOfDevice | undefined,
  { exposureHours }: Report,
  now: Instant,
): { readonly since: Instant; readonly all: number; readonly counted: number } {
  const since = known?.since ?? now - EXPOSURE_HOURS_MAX * HOUR;
  const all = known?.seconds ?? 0;
  const possible = Math.floor((now - since) / SECOND) - all;
  const counted = Math.max(0, Math.min(Math.round(exposureHours * (HOUR / SECOND)), possible));
  return { since, all: all + counted, counted };
}

/** Most programs ask for nothing, and most reports come to the same one. */
function isWatched(program: Program): boolean {
  let known = watched.get(program);
  if (known === undefined) {
    known = program.rollouts.some(({ candidate }) => candidate?.watches !== undefined);
    watched.set(program, known);
  }
  return known;
}

const watched = new WeakMap<Program, boolean>();

/** An arm that a device is in. */
interface Armed {
  readonly arm: Arm;
  /** The unit that the device belongs to, where that is not itself. */
  readonly unit?: string;
}

/** An arm of an attempt and all that is written down under its name, put together once for all reports. */
interface Arm {
  readonly series: string;
  /** What the keys of the attempt begin with. */
  readonly prefix: string;
  /** Names of sums: `seconds`, and below `incident`, `spent` and `value`. */
  readonly seconds: string;
  /** `in…`: keys of what has been counted of a device. */
  readonly events: readonly {
    readonly event: string;
    readonly inArm: string;
    readonly inStage: string;
    readonly inHour: string;
    readonly incident: string;
    readonly spent: string;
  }[];
  readonly metrics: readonly (Watches['metrics'][number] & {
    readonly inHour: string;
    readonly value: string;
  })[];
  readonly unit: string | undefined;
}

function armsOf(program: Program, device: DeviceRecord, { running }: Report, now: Instant): readonly Armed[] {
  if (!isWatched(program)) return [];
  const subject = subjectOf(program, device);
  const arms: Armed[] = [];
  for (const { rollout } of rolloutsFor(program, subject)) {
    const placement = place(rollout, subject, now);
    if (placement.kind === 'notMatching') continue;
    const { candidate } = rollout;
    if (candidate?.watches !== undefined) {
      const index = stageOf(candidate, subject, now);
      const isTreated = index !== undefined && running === candidate.revision;
      const isControl =
        !isExcluded(candidate, subject) &&
        index === undefined &&
        running !== undefined &&
        running !== candidate.revision &&
        !hasOrInstalls(subject, candidate);
      if (isTreated || isControl) {
        const arm = armOf(rollout.name, candidate, candidate.watches, isTreated ? (index ?? 0) : 'control');
        const unit = arm.unit === undefined ? undefined : unitIdOf(arm.unit, subject);
        arms.push(unit === undefined ? { arm } : { arm, unit });
      }
    }
    // Devices that a rollout above took are its own.
    if (takes(placement)) break;
  }
  return arms;
}

function armOf(rollout: string, candidate: ProgramCandidate, watches: Watches, name: ArmName): Arm {
  let known = armsByName.get(candidate);
  if (known === undefined) {
    known = new Map();
    armsByName.set(candidate, known);
  }
  let arm = known.get(name);
  if (arm === undefined) {
    const series = `${rollout}/${candidate.attempt}`;
    arm = {
      series,
      prefix: `${series} `,
      seconds: sumName(name, { kind: 'seconds' }),
      events: watches.events.map((event) => ({
        event,
        inArm: `${series} ${name} ${event}`,
        inStage: `${series} ${candidate.stages.length} ${event}`,
        inHour: `${series} ${event}`,
        incident: sumName(name, { kind: 'event', event }),
        spent: sumName(name, { kind: 'spent', event }),
      })),
      metrics: watches.metrics.map((metric) => ({
        ...metric,
        inHour: `${series} =${metric.signal}`,
        value: sumName(name, { kind: 'metric', signal: metric.signal }),
      })),
      // One for all arms: sites that count once must not be compared with devices that count each.
      unit: candidate.stages.find(({ unit }) => unit !== 'device')?.unit,
    };
    known.set(name, arm);
  }
  return arm;
}

/** A candidate is one object as long as the program is. */
const armsByName = new WeakMap<ProgramCandidate, Map<ArmName, Arm>>();
