/**
 * What happened: one attempt of one rollout, as it is committed to `outcomes`. The attempts of a rollout are its
 * whole memory; everything that is decided can be decided again from them.
 */

import type { Row } from '../gates/exposure.ts';
import type { Sample } from '../gates/probe.ts';
import type { Threshold } from './desired.ts';
import type { BreachAction, Gate, Severity } from './gate.ts';
import type { CommitId, Revision, RolloutName, Score, SnapshotId } from './ids.ts';
import type { Manifest } from './manifest.ts';
import type { DurationMs, Instant } from './time.ts';

export type RolloutState =
  | 'waitingForApproval'
  | 'ready'
  | 'running'
  | 'monitoring'
  | 'paused'
  | 'succeeded'
  | 'stopped'
  | 'rolledBack'
  | 'superseded';

export type StageState = 'scheduled' | 'running' | 'passed' | 'failed';

/** Why a rollout entered its state. */
export type Cause =
  | 'created'
  | 'started'
  | 'approvalNeeded'
  | 'approved'
  | 'resumed'
  | 'suspended' // spec.suspend: true
  | 'operator' // an entry in ops/
  | 'errorThreshold' // as many devices failed as the error threshold allows
  | 'gate' // a gate over the stage halted it
  | 'deadline' // nobody decided in time, and what was seen did
  | 'stuck' // undecided after stuckAfter
  | 'reverted' // a commit brought the known-good revision back
  | 'replaced' // a commit wants another revision
  | 'removed' // a commit took the rollout away
  | 'passed'; // the last stage passed

export interface Attempt {
  readonly rollout: RolloutName;
  /** 1, 2, 3 … within the rollout. */
  readonly attempt: number;
  readonly revision: Revision;
  readonly manifest: Manifest;
  /** The snapshot and commit that first asked for this attempt. */
  readonly snapshot: SnapshotId;
  readonly commit: CommitId;
  /** The target condition that the attempt covers. It follows edits until the attempt ends. */
  readonly condition: string;
  /** Set when a finished rollout was widened: devices that match this already have the revision. */
  readonly excluding?: string;
  readonly seed: string;
  readonly createdAt: Instant;
  readonly state: RolloutState;
  readonly cause: Cause;
  /** Stages opened so far, in order. What is in here is frozen. */
  readonly stages: readonly StageOutcome[];
  readonly history: readonly Transition[];
  /** Ids of the `ops/` entries that were applied. */
  readonly appliedOperations: readonly string[];
  /** Devices that match this went back to what they had before; set with the attempt or while it lasts, never taken away. */
  readonly exclude?: string;
  /** The last breach, and what it asks of people. */
  readonly breach?: Breach;
  /** Breaches that go on and are looked at later, oldest first. */
  readonly concerns?: readonly Concern[];
  readonly restored?: Restored;
  readonly learnings: string;
}

/** What was too much, how bad it is, and by when who has to have decided. */
export interface Breach {
  readonly at: Instant;
  /** Absent: the error threshold. */
  readonly gate?: string;
  readonly severity: Severity;
  readonly action: BreachAction;
  readonly ratio?: number;
  readonly because: string;
  readonly owner: string;
  readonly runbook?: string;
  /** A pause: then it is decided by what was seen since. A rollback: devices should be back by then. Absent: people decide. */
  readonly decideBy?: Instant;
  /** Where the failures are, the most telling first. */
  readonly clusters?: readonly Cluster[];
}

/** Of the stage's devices with this value of a tag, so many failed. */
export interface Cluster {
  readonly tag: string;
  readonly value: string;
  readonly failed: number;
  readonly devices: number;
}

export interface Concern {
  readonly at: Instant;
  readonly gate: string;
  readonly severity: Severity;
  readonly because: string;
  readonly reviewBy: Instant;
}

export interface Transition {
  readonly at: Instant;
  readonly state: RolloutState;
  readonly cause: Cause;
  /** The stage it happened in, if one was open. */
  readonly stage?: string;
}

/**
 * Which units a stage takes in: a list for up to 1,000 of them, and for any number that people named by id; else everyone up to a score;
 * evenly over `rampMs`.
 */
export type Admission =
  | { readonly kind: 'list'; readonly scores: readonly Score[]; readonly rampMs?: DurationMs }
  | {
      readonly kind: 'upTo';
      readonly score: Score;
      /** A ramp starts at this score and reaches `score` after `rampMs`. */
      readonly rampFrom?: Score;
      readonly rampMs?: DurationMs;
      /** Units beyond the threshold that a stratum put in. */
      readonly also?: readonly Score[];
    };

export interface StageOutcome {
  readonly name: string;
  readonly state: StageState;
  readonly openedAt: Instant;
  /** The store's epoch when the stage opened. Another epoch: what was observed is lost, soak starts again. */
  readonly epoch: string;
  /** The target condition when the stage opened: widening later never adds devices to an open stage. */
  readonly condition: string;
  /** Only devices that match this, too, are in it. One that names device ids is never here: the list of scores says whom it took. */
  readonly where?: string;
  /** Of a condition that names device ids: the SHA-256 of its canonical form, by which it is known again. */
  readonly whereDigest?: string;
  readonly unit: string;
  /** As declared: `5%`, `10`, `all`. Only a stage of `all` can be the last one. */
  readonly size: string;
  readonly admits: Admission;
  /** Newly taken in when it opened: units, and the devices in them. */
  readonly units: number;
  readonly devices: number;
  readonly successThreshold: Threshold;
  readonly errorThreshold: Threshold;
  readonly soakMs: DurationMs;
  readonly soakMaxMs?: DurationMs;
  readonly minExposureHours: number;
  readonly stuckAfterMs: DurationMs;
  readonly gates: readonly Gate[];
  readonly alpha: number;
  /** It was put in before a declared stage, a fifth of it, because something had to be decided without people. */
  readonly slow?: true;
  /** Since when its gates over hours count anew, and what of that hour had been seen by then. */
  readonly watch?: {
    readonly sinceAt: Instant;
    /** When that hour began. */
    readonly hourAt: Instant;
    readonly less: Readonly<Record<string, Row>>;
  };
  /** Failures that a person has looked at and resumed in spite of: only further ones count against the threshold. */
  readonly tolerated?: number;
  readonly closedAt?: Instant;
  /** What was seen when the stage passed, failed or was paused. */
  readonly verdict?: StageVerdict;
}

export interface StageVerdict {
  readonly at: Instant;
  /** Of the store that had counted; absent: the stage's. */
  readonly epoch?: string;
  readonly verdict: 'pass' | 'halt' | 'undecided';
  readonly counts: StageCounts;
  readonly gates: readonly GateVerdict[];
  /** Failure categories, most frequent first. */
  readonly failures: readonly { readonly category: string; readonly devices: number }[];
  /** Scores, never ids, of up to 100 devices that had not decided. */
  readonly silent: readonly Score[];
  readonly because: string;
}

export type GateVerdict = ExpressionVerdict | StageGateVerdict;

/** A gate that looks at the stage as a whole: what it said, and what it had seen, from which it can be said again. */
export interface StageGateVerdict {
  readonly name: string;
  readonly state: 'holds' | 'halts' | 'missing';
  readonly because: string;
  readonly ratio?: number;
  readonly logEvidence?: number;
  /** The baseline, where it is another attempt's. */
  readonly previous?: number;
  readonly rows?: readonly Row[];
  /** Of these rows, what stores had counted that were lost since. */
  readonly before?: readonly Row[];
  readonly counts?: readonly [number, number, number, number];
  /** Of those that are silent: for how long. */
  readonly afterMs?: DurationMs;
  readonly observations?: readonly (readonly [Instant, number])[];
  readonly samples?: readonly Sample[];
}

export interface ExpressionVerdict {
  readonly name: string;
  readonly expression: string;
  readonly holds: number;
  readonly fails: number;
  /** Devices whose latest report lacks a signal that the gate needs. */
  readonly missing: number;
}

/** Devices of one stage by where they stand. They sum to the stage's present members. */
export interface StageCounts {
  /** Offered, nothing heard yet. */
  readonly pending: number;
  readonly installing: number;
  /** Runs the revision; signals are missing or a gate has not been heard. */
  readonly verifying: number;
  readonly succeeded: number;
  readonly failed: number;
}

export interface Restored {
  /** What devices were given back; absent without a known-good: they keep what they run. */
  readonly knownGood?: {
    readonly attempt: number;
    readonly revision: Revision;
    readonly snapshot: SnapshotId;
    readonly commit: CommitId;
  };
  /**
   * `pending`: main still wants the failed revision. `agrees`: it wants the known-good one again. `diverged`: main
   * refused our commit, which waits on `branch`. `none`: there is no known-good to go back to.
   */
  readonly main: 'pending' | 'agrees' | 'diverged' | 'none';
  readonly branch?: string;
  /** URL of the pull request that asks people to merge it. */
  readonly pullRequest?: string;
  /** The commit of main that restored it, and the snapshot main is at since. */
  readonly commit?: CommitId;
  readonly snapshot?: SnapshotId;
  /** When the last device had left the failed revision, and how long that took from the decision. */
  readonly completedAt?: Instant;
  readonly timeToRestoreMs?: DurationMs;
}

/** Attempts by rollout, oldest first, as read from one tip of `outcomes`. */
export type Outcomes = ReadonlyMap<RolloutName, readonly Attempt[]>;

const FINISHED: ReadonlySet<RolloutState> = new Set(['succeeded', 'stopped', 'rolledBack', 'superseded']);

/** Whether nothing will happen to the attempt any more, but for the record of its restoration. */
export function isFinished(attempt: Attempt): boolean {
  return FINISHED.has(attempt.state);
}

/** The last attempt that succeeded: what the rollout's devices go back to. */
export function knownGoodOf(attempts: readonly Attempt[]): Attempt | undefined {
  return attempts.findLast((attempt) => attempt.state === 'succeeded');
}
