/** What the planner is given and what it returns: plain data, so that plans can be compared, printed and replayed. */
import type { Tally } from '../assign/tally.ts';
import type { Exposure } from '../gates/exposure.ts';
import type { ObservedMinute } from '../gates/outside.ts';
import type { Probe, Sample } from '../gates/probe.ts';
import type { GateReading } from '../gates/reading.ts';
import type { DesiredState, Operations } from '../model/desired.ts';
import type { CommitId, RolloutName, Score, SnapshotId } from '../model/ids.ts';
import type { Attempt, Cluster, Outcomes, RolloutState, StageVerdict } from '../model/outcome.ts';
import type { Instant } from '../model/time.ts';
import type { Resolved, StageTaking } from '../select/admission.ts';
import type { Reminder } from './reminder.ts';

export interface PlanInput {
  readonly desired: DesiredState;
  readonly outcomes: Outcomes;
  readonly operations: Operations;
  readonly observed: Observed;
  readonly now: Instant;
}

/** What was seen of the fleet, always a little old. */
export interface Observed {
  /** The store's epoch. */
  readonly epoch: string;
  /** Counted under the program that follows from the same desired state and outcomes. */
  readonly tally: Tally;
  /** When a stage's success threshold was met, by {@link stageKey}; what the last plan returned. */
  readonly soaks: ReadonlyMap<string, Instant>;
  /** Answers to the wants of an earlier plan of the same pass, by {@link wantKey}. */
  readonly answers: ReadonlyMap<string, Answer>;
  /** What became of our attempts to make main agree again, by `<rollout>/<attempt>`. */
  readonly restorations: ReadonlyMap<string, RestoreResult>;
  /** What gates over whole stages look at; absent: nothing was measured. */
  readonly measured?: Measured;
  /** 128 random bits in hex, fresh with each pass. */
  readonly randomHex: string;
  /** Set while nothing may open, with the reason: git is away, `outcomes` was rewound. */
  readonly held?: string;
  /** Rollouts of which nothing may open, with the reason: devices would refuse the revision. */
  readonly heldRollouts?: ReadonlyMap<RolloutName, string>;
}

export interface Measured {
  /** By {@link attemptKey}. */
  readonly exposures: ReadonlyMap<string, Exposure>;
  /** What was posted, by metric, in order of time. */
  readonly observations: ReadonlyMap<string, readonly ObservedMinute[]>;
  /** What was answered, by the key of the probe, in order of time. */
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
}

export interface Plan {
  readonly decisions: readonly Decision[];
  /** Questions whose answers would let something move: ask, and plan again. */
  readonly wants: readonly Want[];
  readonly restores: readonly Restore[];
  readonly soaks: ReadonlyMap<string, Instant>;
  readonly report: readonly RolloutReport[];
  /** What is to be asked of others from now on. */
  readonly probes: readonly Probe[];
  /** What people are to be told of before time decides, or because it has. */
  readonly reminders: readonly Reminder[];
  /** What the gates of each attempt under way say, by rollout. */
  readonly gates: ReadonlyMap<RolloutName, readonly GateReading[]>;
}

export interface Decision {
  readonly kind:
    | 'create'
    | 'askApproval'
    | 'openStage'
    | 'passStage'
    | 'pause'
    | 'resume'
    | 'succeed'
    | 'stop'
    | 'supersede'
    | 'rollBack'
    | 'recordRestored'
    | 'recordOperation'
    | 'recordLearnings'
    | 'recordEvidence'
    | 'recordConcern'
    | 'recordClusters'
    | 'exclude';
  /** `opens` takes effect once it is committed; `closes` as soon as it is durable here; `records` has no effect on devices. */
  readonly effect: 'opens' | 'closes' | 'records';
  /** The outcome document after the decision. */
  readonly attempt: Attempt;
  /** The commit's subject: what happens. */
  readonly summary: string;
  /** The commit's body: why. */
  readonly because?: string;
  readonly stage?: string;
  readonly verdict?: StageVerdict['verdict'];
}

/** Who would be in the next stage, or who has not decided in the present one. */
export type Want =
  | {
      readonly kind: 'population';
      readonly rollout: RolloutName;
      readonly attempt: number;
      /** Index of the stage that would open. */
      readonly stage: number;
      readonly condition: string;
      readonly excluding?: string;
      readonly exclude?: string;
      readonly seed: string;
      readonly takes: StageTaking;
    }
  | { readonly kind: 'undecided'; readonly rollout: RolloutName; readonly attempt: number }
  /** Where the failures are: those that failed, and those that reported the event. */
  | {
      readonly kind: 'clusters';
      readonly rollout: RolloutName;
      readonly attempt: number;
      readonly event?: string;
    };

export type Answer =
  | {
      readonly kind: 'population';
      /** Units that match, those already in included. */
      readonly units: number;
      readonly resolved: Resolved;
    }
  | { readonly kind: 'undecided'; readonly scores: readonly Score[] }
  | { readonly kind: 'clusters'; readonly clusters: readonly Cluster[] };

/** Make main want the known-good revision again; where it has refused that (`attempt.restored`), ask people to. */
export interface Restore {
  readonly rollout: RolloutName;
  readonly attempt: Attempt;
  readonly knownGood: Attempt;
}

export type RestoreResult =
  | { readonly kind: 'pushed'; readonly commit: CommitId; readonly snapshot: SnapshotId }
  | {
      readonly kind: 'diverged';
      readonly branch?: string;
      readonly reason: string;
      /** URL of what asks people to merge the branch. */
      readonly pullRequest?: string;
      /** Why there is none, where one was asked for. */
      readonly unopened?: string;
    };

export interface RolloutReport {
  readonly rollout: RolloutName;
  readonly state: RolloutState | 'unknown';
  readonly attempt?: number;
  /** The stage that the reason is about. */
  readonly stage?: string;
  /** A sentence: why the rollout does not move. */
  readonly reason: string;
  /** When time alone will change that, if it will. */
  readonly until?: Instant;
}

export function stageKey(attempt: Attempt, index: number): string {
  return `${attempt.rollout}/${attempt.attempt}/${index}`;
}

export function attemptKey(attempt: Pick<Attempt, 'rollout' | 'attempt'>): string {
  return `${attempt.rollout}/${attempt.attempt}`;
}

/** Equal for wants that have the same answer. */
export function wantKey(want: Want): string {
  return JSON.stringify(want);
}

/** The outcomes with decisions applied: attempts replaced by number, or added. */
export function applyDecisions(outcomes: Outcomes, decisions: readonly Decision[]): Outcomes {
  if (decisions.length === 0) return outcomes;
  const next = new Map(outcomes);
  for (const { attempt } of decisions) {
    const attempts = next.get(attempt.rollout) ?? [];
    const others = attempts.filter((each) => each.attempt !== attempt.attempt);
    next.set(
      attempt.rollout,
      [...others, attempt].sort((a, b) => a.attempt - b.attempt),
    );
  }
  return next;
}
