/**
 * Where a device stands in every rollout that targets it. Counts are sums of standings, so a change of one device
 * changes them by a subtraction and an addition; nothing else is ever counted.
 */

import { compiledGate, type GateResult } from '../gates/expression.ts';
import { type DeviceRecord, isInstalling, type ReportedState } from '../model/device.ts';
import type { ExpressionGate } from '../model/gate.ts';
import type { Revision, RolloutName } from '../model/ids.ts';
import type { StageCounts } from '../model/outcome.ts';
import type { OpenStage, Program, ProgramCandidate, ProgramRollout } from '../model/program.ts';
import type { Instant } from '../model/time.ts';
import { compileCondition } from '../target/condition.ts';
import type { ZonedWindow } from '../window/install-window.ts';
import {
  type Assignment,
  assignmentOf,
  earlier,
  givesRevision,
  hasOrInstalls,
  isExcluded,
  type Placement,
  place,
  stageOf,
  takes,
} from './assign.ts';
import { rolloutsFor } from './candidates.ts';
import { type Subject, subjectOf, windowOf } from './subject.ts';

export interface Standing {
  readonly assignment: Assignment;
  /** One per rollout whose target condition the device matches, highest precedence first. */
  readonly rollouts: readonly RolloutStanding[];
  readonly status: DeviceStatus;
  /** What it runs: a revision that some attempt had, something else, or nobody knows. */
  readonly runs: Revision | 'other' | 'unknown';
  /** From when on time alone may change the status, but for a ramp, which changes it all the time. */
  readonly until?: Instant;
}

/**
 * unknown: never reported. registered: nothing is assigned. pending: not yet there, or waiting for its install window. inSync: runs what it is assigned
 * and its gates hold. error: it failed, or a gate does. drifted: it runs what nobody assigned.
 */
export type DeviceStatus = 'unknown' | 'registered' | 'pending' | 'inSync' | 'error' | 'drifted';

export interface RolloutStanding {
  readonly rollout: RolloutName;
  readonly placement: Placement;
  /** The rollout of higher precedence that took the device. */
  readonly shadowedBy?: RolloutName;
  /** Against the revision that this rollout assigns. */
  readonly health: 'healthy' | 'unhealthy' | 'unknown';
  /** With that revision, where there is one. */
  readonly progress?: Progress;
  /** Index of the candidate's first open stage that contains the device, and where the device stands in it. */
  readonly stage?: {
    readonly index: number;
    readonly progress: Progress;
    /** The window that it had to wait for, or has to, while it has not succeeded. */
    readonly window?: ZonedWindow;
  };
  /** It matches and runs something else, and no stage of the candidate has reached it. */
  readonly isControl?: true;
  /** The open stage that would contain it, were it not excluded; −1 where none would. */
  readonly excludedFrom?: number;
  /** When it was last heard of, where a gate asks for devices that are silent: of those that are reached, or are control. */
  readonly heardAt?: Instant;
  /** Matches now, but did not match the condition under which known-good succeeded. */
  readonly newcomer: boolean;
  /** Still runs or installs the revision that was rolled back. */
  readonly onWithdrawn: boolean;
}

/** How far a device has come with one revision. */
export interface Progress {
  readonly state: keyof StageCounts;
  /** Why it failed. */
  readonly category?: string;
  readonly message?: string;
  /** It failed, and the device took the revision back by itself. */
  readonly wentBack?: true;
  /** One result per gate, once the device runs the revision. */
  readonly gates: readonly { readonly name: string; readonly result: GateResult }[];
  /** Device-hours on the revision. */
  readonly exposureHours: number;
}

export function standingOf(program: Program, device: DeviceRecord, now: Instant): Standing {
  const subject = subjectOf(program, device);
  const rollouts: RolloutStanding[] = [];
  let assignment: Assignment = { kind: 'nothing' };
  let until: Instant | undefined;
  let taken: RolloutName | undefined;
  for (const { rollout } of rolloutsFor(program, subject)) {
    const placement = place(rollout, subject, now);
    if (placement.kind === 'notMatching') continue;
    rollouts.push(standingIn(rollout, { subject, placement, shadowedBy: taken, now }));
    if (assignment.kind === 'nothing' && givesRevision(placement, taken !== undefined)) {
      assignment = assignmentOf(rollout, placement);
    }
    if (takes(placement)) taken ??= rollout.name;
    if (placement.until !== undefined && placement.until > now) until = earlier(until, placement.until);
  }
  const status = statusOf(program, assignment, rollouts, subject.report);
  const runs = runsOf(program, subject.report);
  return { assignment, rollouts, status, runs, ...(until === undefined ? {} : { until }) };
}

/** What devices say that they run may be anything: what no attempt had is counted as one. */
function runsOf(program: Program, report: ReportedState | undefined): Standing['runs'] {
  if (report?.running === undefined) return 'unknown';
  return isKnown(program, report.running) ? report.running : 'other';
}

function isKnown(program: Program, revision: Revision): boolean {
  let known = knownIn.get(program);
  if (known === undefined) {
    known = new Set(program.knownRevisions);
    knownIn.set(program, known);
  }
  return known.has(revision);
}

const knownIn = new WeakMap<Program, ReadonlySet<Revision>>();

function standingIn(
  rollout: ProgramRollout,
  at: { subject: Subject; placement: Placement; shadowedBy: RolloutName | undefined; now: Instant },
): RolloutStanding {
  const { subject, placement, shadowedBy, now } = at;
  const { candidate, withdrawn } = rollout;
  const index =
    placement.kind === 'candidate'
      ? placement.stage
      : candidate === undefined
        ? undefined
        : stageOf(candidate, subject, now);
  const stage = index === undefined ? undefined : candidate?.stages[index];
  const inStage =
    candidate === undefined || index === undefined || stage === undefined
      ? undefined
      : stageStanding(rollout, subject, { index, candidate, stage });
  const progress = progressIn(rollout, placement, inStage?.progress, subject.report);
  const standing: { -readonly [Key in keyof RolloutStanding]: RolloutStanding[Key] } = {
    rollout: rollout.name,
    placement,
    health: healthOf(progress),
    newcomer: isNewcomer(rollout, subject),
    onWithdrawn:
      withdrawn !== undefined &&
      (subject.report?.running === withdrawn.revision || isInstalling(subject.report, withdrawn.revision)),
  };
  // Spreading what may be there into the literal would be shorter, and a third of what counting a fleet costs.
  if (shadowedBy !== undefined) standing.shadowedBy = shadowedBy;
  if (progress !== undefined) standing.progress = progress;
  if (inStage !== undefined) standing.stage = inStage;
  if (candidate === undefined) return standing;
  const isOut = isExcluded(candidate, subject);
  const isControl =
    !isOut && index === undefined && subject.report !== undefined && !hasOrInstalls(subject, candidate);
  if (isOut) {
    const { exclude: _exclude, ...everybody } = candidate;
    standing.excludedFrom = stageOf(everybody, subject, now) ?? -1;
  }
  if (isControl) standing.isControl = true;
  const isReached = inStage !== undefined && inStage.progress.state !== 'pending';
  if (candidate.watches?.silent === true && subject.report !== undefined && (isControl || isReached)) {
    standing.heardAt = subject.report.receivedAt;
  }
  return standing;
}

function isNewcomer(rollout: ProgramRollout, subject: Subject): boolean {
  const { knownGood } = rollout;
  if (knownGood === undefined || isExcluded(rollout, subject)) return false;
  return !compileCondition(knownGood.condition).matches(subject) || isExcluded(knownGood, subject);
}

function stageStanding(
  rollout: ProgramRollout,
  subject: Subject,
  at: { index: number; candidate: ProgramCandidate; stage: OpenStage },
): NonNullable<RolloutStanding['stage']> {
  const { index, candidate, stage } = at;
  const progress = progressOf(subject.report, candidate.revision, stage.gates);
  const isBound = progress.state !== 'succeeded' && candidate.emergency !== true;
  const window = isBound ? windowOf(rollout, subject) : undefined;
  return { index, progress, ...(window === undefined ? {} : { window }) };
}

/** How far the device has come with `revision`, judged by the gates. A device that says it failed has failed, whatever runs. */
export function progressOf(
  report: ReportedState | undefined,
  revision: Revision,
  gates: readonly ExpressionGate[],
): Progress {
  const attempt = report?.attempt?.revision === revision ? report.attempt : undefined;
  const runs = report?.running === revision;
  const exposureHours = runs ? report.exposureHours : 0;
  const results = runs
    ? gates.map((gate) => ({
        name: gate.name,
        result: compiledGate(gate.expression).evaluate(report.signals),
      }))
    : [];
  if (attempt?.state === 'failed' || attempt?.state === 'rolledBack') {
    return {
      state: 'failed',
      category: attempt.category ?? 'uncategorised',
      ...(attempt.message === undefined ? {} : { message: attempt.message }),
      ...(attempt.state === 'rolledBack' ? { wentBack: true } : {}),
      gates: results,
      exposureHours,
    };
  }
  if (!runs) return { state: attempt === undefined ? 'pending' : 'installing', gates: [], exposureHours };
  const failed = results.find(({ result }) => result.kind === 'fails');
  if (failed !== undefined)
    return { state: 'failed', category: `gate.${failed.name}`, gates: results, exposureHours };
  const holds = results.every(({ result }) => result.kind === 'holds');
  return { state: holds ? 'succeeded' : 'verifying', gates: results, exposureHours };
}

/** How far the device has come with what this rollout assigns; a stage that offers it brings its own gates. */
function progressIn(
  rollout: ProgramRollout,
  placement: Placement,
  inStage: Progress | undefined,
  report: ReportedState | undefined,
): Progress | undefined {
  if (!('revision' in placement)) return undefined;
  if (placement.kind === 'candidate' && inStage !== undefined) return inStage;
  return progressOf(report, placement.revision.revision, rollout.gates);
}

function healthOf(progress: Progress | undefined): RolloutStanding['health'] {
  if (progress?.state === 'succeeded') return 'healthy';
  return progress?.state === 'failed' ? 'unhealthy' : 'unknown';
}

function statusOf(
  program: Program,
  assignment: Assignment,
  rollouts: readonly RolloutStanding[],
  report: ReportedState | undefined,
): DeviceStatus {
  if (report === undefined) return 'unknown';
  if (assignment.kind === 'nothing') {
    // What waits for its install window has something coming.
    const waits = rollouts.some(({ placement, shadowedBy }) => shadowedBy === undefined && takes(placement));
    return waits ? 'pending' : 'registered';
  }
  const health = rollouts.find((each) => each.rollout === assignment.rollout)?.health;
  if (health === 'healthy') return 'inSync';
  if (health === 'unhealthy') return 'error';
  return hasDrifted(program, assignment.revision.revision, report) ? 'drifted' : 'pending';
}

/**
 * A device drifts when it runs something that no rollout of the program ever gave out, or says that it installed what
 * it is assigned and runs something else. One that is merely behind is pending.
 */
function hasDrifted(program: Program, assigned: Revision, report: ReportedState): boolean {
  const { running, attempt } = report;
  if (running === undefined || running === assigned || isInstalling(report, assigned)) return false;
  if (attempt?.revision === assigned && attempt.state === 'succeeded') return true;
  return !isKnown(program, running);
}
