/**
 * Which revision a device gets: a pure function of the program, the device and the time, evaluated at every poll.
 * Nothing is looked up per device elsewhere, so replicas that hold the same program agree, and the work grows with
 * the number of rollouts that may match only.
 *
 * The rollout of highest precedence that has something for the device wins alone; nothing is merged. Inside it:
 * the candidate, if an open stage contains the device; otherwise what the device already runs or installs of the
 * candidate or of an attempt it was admitted to, so that pausing and superseding never downgrade; otherwise
 * known-good; otherwise the next rollout. With nothing left the device keeps what it runs.
 *
 * While its install window is closed a rollout gives a device nothing but what that already runs or installs, and still
 * takes it: the next rollout's would be an install, too. Two things do not wait: the return from a revision that was
 * rolled back, whatever rollout of higher precedence the device waits for, and an emergency.
 */
import { type DeviceRecord, isInstalling } from '../model/device.ts';
import type { RolloutName } from '../model/ids.ts';
import type {
  KnownGood,
  OpenStage,
  Program,
  ProgramCandidate,
  ProgramRevision,
  ProgramRollout,
} from '../model/program.ts';
import type { DurationMs, Instant } from '../model/time.ts';
import { admits, willAdmit } from '../select/admission.ts';
import { scoreOf } from '../select/score.ts';
import { compileCondition } from '../target/condition.ts';
import { type WindowState, windowAt } from '../window/install-window.ts';
import { rolloutsFor } from './candidates.ts';
import { type Subject, subjectOf, windowOf } from './subject.ts';

/** What one rollout has for one device. */
export type Placement =
  | { readonly kind: 'notMatching' }
  | ((
      | {
          readonly kind: 'candidate';
          readonly revision: ProgramCandidate;
          readonly stage: number;
          /** When the window closes, for a device that has yet to begin. */
          readonly installBy?: Instant;
        }
      | {
          readonly kind: 'keeps';
          readonly revision: ProgramCandidate;
          readonly because: 'candidate' | 'superseded';
        }
      | {
          readonly kind: 'knownGood';
          readonly revision: ProgramRevision;
          readonly waiting: Waiting;
          readonly installBy?: Instant;
          /** From a revision that was rolled back. */
          readonly returns?: true;
        }
      | { readonly kind: 'nothing'; readonly waiting: Waiting }
    ) & {
      /** From when on time alone may change it: the device's install window opens or closes, its ramp goes on. */
      readonly until?: Instant;
    });

/** Why a device that matches does not get the candidate; or, outside its install window, neither that nor known-good. */
export type Waiting =
  | 'noCandidate'
  | 'offersStopped'
  | 'excluded'
  | 'notInOpenStage'
  | 'inRamp'
  | 'noUnit'
  | 'outsideWindow';

export type Assignment = (
  | {
      readonly kind: 'revision';
      readonly rollout: RolloutName;
      readonly revision: ProgramRevision;
      readonly placement: Placement;
      /** A device that has not begun by then must not begin: its install window closes. Absent: no window bounds it. */
      readonly installBy?: Instant;
    }
  | { readonly kind: 'nothing' }
) & {
  /** From when on time alone may change the answer; absent: only another program, or news of the device. */
  readonly until?: Instant;
  /** Of the device's site, where it has its own. */
  readonly pollIntervalMs?: DurationMs;
};

export function assign(program: Program, device: DeviceRecord, now: Instant): Assignment {
  const subject = subjectOf(program, device);
  const pollIntervalMs = subject.site?.pollIntervalMs;
  const common = pollIntervalMs === undefined ? {} : { pollIntervalMs };
  let until: Instant | undefined;
  let taken = false;
  for (const { rollout } of rolloutsFor(program, subject)) {
    const placement = place(rollout, subject, now);
    if (placement.kind !== 'notMatching') until = earlier(until, placement.until);
    if (givesRevision(placement, taken)) {
      return { ...assignmentOf(rollout, placement), ...common, ...(until === undefined ? {} : { until }) };
    }
    taken ||= takes(placement);
  }
  return { kind: 'nothing', ...common, ...(until === undefined ? {} : { until }) };
}

/** What a rollout gives; everything about it is in the placement. */
export function assignmentOf(
  rollout: ProgramRollout,
  placement: Extract<Placement, { revision: unknown }>,
): Extract<Assignment, { kind: 'revision' }> {
  const { revision } = placement;
  const installBy = 'installBy' in placement ? placement.installBy : undefined;
  const limit = installBy === undefined ? {} : { installBy };
  return { kind: 'revision', rollout: rollout.name, revision, placement, ...limit };
}

/** Whether the rollout leaves nothing to those below it, though it may have nothing for the device before its window. */
export function takes(placement: Placement): boolean {
  return 'revision' in placement || ('waiting' in placement && placement.waiting === 'outsideWindow');
}

/** Whether a rollout of higher precedence than the named one leaves it nothing. */
export function isTakenAbove(program: Program, name: RolloutName, subject: Subject, now: Instant): boolean {
  const placed = rolloutsFor(program, subject);
  const at = placed.findIndex(({ rollout }) => rollout.name === name);
  return placed.slice(0, Math.max(0, at)).some(({ rollout }) => takes(place(rollout, subject, now)));
}

/** Whether the device gets what the placement has; `taken`: a rollout above took it and waits for its window. */
export function givesRevision(
  placement: Placement,
  taken: boolean,
): placement is Extract<Placement, { revision: unknown }> {
  if (!('revision' in placement)) return false;
  return !taken || (placement.kind === 'knownGood' && placement.returns === true);
}

/** The earlier of two instants that need not come. */
export function earlier(a: Instant | undefined, b: Instant | undefined): Instant | undefined {
  return a === undefined || (b !== undefined && b < a) ? b : a;
}

/** What this rollout alone would do with the device. */
export function place(rollout: ProgramRollout, subject: Subject, now: Instant): Placement {
  if (subject.retired || !compileCondition(rollout.condition).matches(subject))
    return { kind: 'notMatching' };
  const { candidate, knownGood, withdrawn } = rollout;
  const window = windowOf(rollout, subject);
  const { isOpen, until } = window === undefined ? ALWAYS_OPEN : windowAt(window, now);
  const next = until === undefined ? {} : { until };
  /** Only what the device has yet to begin is bound to the window. */
  const limit = (revision: ProgramRevision) =>
    !isOpen || until === undefined || hasOrInstalls(subject, revision) ? {} : { installBy: until };

  let waiting: Waiting = 'noCandidate';
  if (candidate !== undefined && isExcluded(candidate, subject)) waiting = 'excluded';
  else if (candidate !== undefined) {
    const stage = stageOf(candidate, subject, now);
    const isOffered = stage !== undefined && candidate.offers;
    const has = hasOrInstalls(subject, candidate);
    if (isOffered && (isOpen || has || candidate.emergency === true)) {
      const bound = candidate.emergency === true ? {} : limit(candidate);
      return { kind: 'candidate', revision: candidate, stage, ...bound, ...next };
    }
    if (has) return { kind: 'keeps', revision: candidate, because: 'candidate', ...next };
    waiting = isOffered ? 'outsideWindow' : candidate.offers ? whyNotIn(candidate, subject) : 'offersStopped';
  }
  for (const kept of rollout.kept) {
    if (
      !isExcluded(kept, subject) &&
      hasOrInstalls(subject, kept) &&
      stageOf(kept, subject, now) !== undefined
    ) {
      return { kind: 'keeps', revision: kept, because: 'superseded', ...next };
    }
  }
  // When the ramp reaches the device could be computed; nobody needs it.
  const soon = waiting === 'inRamp' ? { until: now } : next;
  const good = knownGoodFor(rollout, subject);
  if (good !== undefined) {
    const common = { kind: 'knownGood', revision: good, waiting, ...soon } as const;
    // What was rolled back, and what a cohort is excluded from, is left at once.
    const excludedFrom = [candidate, ...rollout.kept, knownGood].filter(
      (each) => each !== undefined && each.revision !== good.revision && isExcluded(each, subject),
    );
    const left = [withdrawn, ...excludedFrom].some(
      (each) => each !== undefined && hasOrInstalls(subject, each),
    );
    if (left) return { ...common, returns: true };
    if (isOpen || hasOrInstalls(subject, good)) return { ...common, ...limit(good) };
    waiting = 'outsideWindow';
  }
  return { kind: 'nothing', waiting, ...soon };
}

/** The newest known-good that the device matches and that does not exclude it. */
export function knownGoodFor(
  { knownGood, olderKnownGood = [] }: ProgramRollout,
  subject: Subject,
): KnownGood | undefined {
  if (knownGood === undefined) return undefined;
  return [knownGood, ...olderKnownGood].find(
    (each) => compileCondition(each.condition).matches(subject) && !isExcluded(each, subject),
  );
}

/** Whether the device is of a cohort that went back to what it had before. */
export function isExcluded({ exclude }: { readonly exclude?: string }, subject: Subject): boolean {
  return exclude !== undefined && compileCondition(exclude).matches(subject);
}

const ALWAYS_OPEN: WindowState = { isOpen: true };

/** The first open stage that contains the device, by index. */
export function stageOf(candidate: ProgramCandidate, subject: Subject, now: Instant): number | undefined {
  const { stages } = candidate;
  if (stages.length === 0 || isLeftOut(candidate, subject)) return undefined;
  const index = stages.findIndex((stage) => takesIn(candidate.seed, stage, subject, now));
  return index === -1 ? undefined : index;
}

/** Of those whom the candidate is for at all. */
function isLeftOut(candidate: ProgramCandidate, subject: Subject): boolean {
  const { excluding } = candidate;
  if (excluding !== undefined && compileCondition(excluding).matches(subject)) return true;
  return isExcluded(candidate, subject);
}

function takesIn(seed: string, stage: OpenStage, subject: Subject, now: Instant | 'afterRamp'): boolean {
  const unit = unitIdOf(stage.unit, subject);
  if (unit === undefined) return false;
  // Most devices are in no stage by their score, which is quicker to see than what their tags match.
  const score = scoreOf(seed, unit);
  const isIn = now === 'afterRamp' ? willAdmit(stage, score) : admits(stage, score, now);
  if (!isIn || !compileCondition(stage.condition).matches(subject)) return false;
  return stage.where === undefined || compileCondition(stage.where).matches(subject);
}

/** The id that the ring places: the device's own, or its value of the unit's tag; undefined where it has none. */
export function unitIdOf(unit: string, subject: Pick<Subject, 'id' | 'tags'>): string | undefined {
  if (unit === 'device') return subject.id;
  return Object.hasOwn(subject.tags, unit) ? subject.tags[unit] : undefined;
}

function whyNotIn(candidate: ProgramCandidate, subject: Subject): Waiting {
  const willTake = (stage: OpenStage) =>
    stage.admits.rampMs !== undefined && takesIn(candidate.seed, stage, subject, 'afterRamp');
  if (!isLeftOut(candidate, subject) && candidate.stages.some(willTake)) return 'inRamp';
  if (candidate.stages.some((stage) => unitIdOf(stage.unit, subject) === undefined)) return 'noUnit';
  return 'notInOpenStage';
}

/** Whether the device runs the revision, or is on its way to it. */
export function hasOrInstalls(subject: Subject, revision: ProgramRevision): boolean {
  return subject.report?.running === revision.revision || isInstalling(subject.report, revision.revision);
}
