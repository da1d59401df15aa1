/**
 * Which revision a device gets: a pure function of the program, the device and the time, evaluated at every poll.
 * Nothing is looked up per device elsewhere, so replicas that hold the same program agree, and the work grows with
 * the number of rollouts only.
 *
 * The rollout of highest precedence that has something for the device wins alone; nothing is merged. Inside it:
 * the candidate, if an open stage contains the device; otherwise what the device already runs or installs of the
 * candidate or of an attempt it was admitted to, so that pausing and superseding never downgrade; otherwise
 * known-good; otherwise the next rollout. With nothing left the device keeps what it runs.
 */
import { type DeviceRecord, isInstalling } from '../model/device.ts';
import type { RolloutName } from '../model/ids.ts';
import type {
  OpenStage,
  Program,
  ProgramCandidate,
  ProgramRevision,
  ProgramRollout,
} from '../model/program.ts';
import type { Instant } from '../model/time.ts';
import { admits, willAdmit } from '../select/admission.ts';
import { scoreOf } from '../select/score.ts';
import { compileCondition } from '../target/condition.ts';

/** A device as conditions see it: the operators' overrides are laid over its tags. */
export interface Subject {
  readonly id: DeviceRecord['id'];
  readonly tags: Readonly<Record<string, string>>;
  readonly retired: boolean;
  readonly report?: DeviceRecord['report'];
}

/** What one rollout has for one device. */
export type Placement =
  | { readonly kind: 'notMatching' }
  | { readonly kind: 'candidate'; readonly revision: ProgramCandidate; readonly stage: number }
  | {
      readonly kind: 'keeps';
      readonly revision: ProgramCandidate;
      readonly because: 'candidate' | 'superseded';
    }
  | { readonly kind: 'knownGood'; readonly revision: ProgramRevision; readonly waiting: Waiting }
  | { readonly kind: 'nothing'; readonly waiting: Waiting };

/** Why a device that matches does not get the candidate. */
export type Waiting = 'noCandidate' | 'offersStopped' | 'notInOpenStage' | 'inRamp' | 'noUnit';

export type Assignment = (
  | {
      readonly kind: 'revision';
      readonly rollout: RolloutName;
      readonly revision: ProgramRevision;
      readonly placement: Placement;
    }
  | { readonly kind: 'nothing' }
) & {
  /** From when on time alone may change the answer; absent: only another program, or news of the device. */
  readonly until?: Instant;
};

export function assign(program: Program, device: DeviceRecord, now: Instant): Assignment {
  const subject = subjectOf(program, device);
  let until: { readonly until?: Instant } = {};
  for (const rollout of program.rollouts) {
    const placement = place(rollout, subject, now);
    // When the ramp reaches the device could be computed; nobody needs it.
    if ('waiting' in placement && placement.waiting === 'inRamp') until = { until: now };
    if ('revision' in placement) {
      return { kind: 'revision', rollout: rollout.name, revision: placement.revision, placement, ...until };
    }
  }
  return { kind: 'nothing', ...until };
}

/** The device with the operators' overrides laid over it. */
export function subjectOf(program: Program, device: DeviceRecord): Subject {
  const override = Object.hasOwn(program.devices, device.id) ? program.devices[device.id] : undefined;
  return {
    id: device.id,
    tags: override === undefined ? device.tags : overlay(device.tags, override.tags),
    retired: override?.retired ?? false,
    ...(device.report === undefined ? {} : { report: device.report }),
  };
}

function overlay(
  tags: Readonly<Record<string, string>>,
  over: Readonly<Record<string, string | null>>,
): Readonly<Record<string, string>> {
  const merged: Record<string, string> = { ...tags };
  for (const [name, value] of Object.entries(over)) {
    if (value === null) delete merged[name];
    else merged[name] = value;
  }
  return merged;
}

/** What this rollout alone would do with the device. */
export function place(rollout: ProgramRollout, subject: Subject, now: Instant): Placement {
  if (subject.retired || !compileCondition(rollout.condition).matches(subject))
    return { kind: 'notMatching' };
  const { candidate } = rollout;
  let waiting: Waiting = 'noCandidate';
  if (candidate !== undefined) {
    const stage = stageOf(candidate, subject, now);
    if (stage !== undefined && candidate.offers) return { kind: 'candidate', revision: candidate, stage };
    if (hasOrInstalls(subject, candidate))
      return { kind: 'keeps', revision: candidate, because: 'candidate' };
    waiting = candidate.offers ? whyNotIn(candidate, subject) : 'offersStopped';
  }
  for (const kept of rollout.kept) {
    if (hasOrInstalls(subject, kept) && stageOf(kept, subject, now) !== undefined) {
      return { kind: 'keeps', revision: kept, because: 'superseded' };
    }
  }
  if (rollout.knownGood !== undefined && compileCondition(rollout.knownGood.condition).matches(subject)) {
    return { kind: 'knownGood', revision: rollout.knownGood, waiting };
  }
  return { kind: 'nothing', waiting };
}

/** The first open stage that contains the device, by index. */
export function stageOf(candidate: ProgramCandidate, subject: Subject, now: Instant): number | undefined {
  const index = candidate.stages.findIndex((stage) => contains(candidate, stage, subject, now));
  return index === -1 ? undefined : index;
}

function contains(
  candidate: ProgramCandidate,
  stage: OpenStage,
  subject: Subject,
  now: Instant | 'afterRamp',
): boolean {
  const unit = unitIdOf(stage.unit, subject);
  if (unit === undefined || !compileCondition(stage.condition).matches(subject)) return false;
  if (candidate.excluding !== undefined && compileCondition(candidate.excluding).matches(subject))
    return false;
  const score = scoreOf(candidate.seed, unit);
  return now === 'afterRamp' ? willAdmit(stage, score) : admits(stage, score, now);
}

/** The id that the ring places: the device's own, or its value of the unit's tag; undefined where it has none. */
export function unitIdOf(unit: string, subject: Pick<Subject, 'id' | 'tags'>): string | undefined {
  if (unit === 'device') return subject.id;
  return Object.hasOwn(subject.tags, unit) ? subject.tags[unit] : undefined;
}

function whyNotIn(candidate: ProgramCandidate, subject: Subject): Waiting {
  if (candidate.stages.some((stage) => contains(candidate, stage, subject, 'afterRamp'))) return 'inRamp';
  if (candidate.stages.some((stage) => unitIdOf(stage.unit, subject) === undefined)) return 'noUnit';
  return 'notInOpenStage';
}

function hasOrInstalls(subject: Subject, revision: ProgramRevision): boolean {
  return subject.report?.running === revision.revision || isInstalling(subject.report, revision.revision);
}
