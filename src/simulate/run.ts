/** What one run of an experiment came to, read from what the reconciler decided. */
import type { BreachAction } from '../core/model/gate.ts';
import type { RolloutName } from '../core/model/ids.ts';
import type { Attempt, Cause, RolloutState, StageState } from '../core/model/outcome.ts';
import type { DurationMs, Instant } from '../core/model/time.ts';
import type { Decision } from '../core/plan/contract.ts';
import type { ReconcileEvent } from '../reconcile/event.ts';
import type { CrowdCounts } from './crowd.ts';

/** Times are counted from the commit that released the candidate. */
export interface Run {
  readonly seed: string;
  readonly startAt: Instant;
  readonly lastedMs: DurationMs;
  /** Of the attempt, at the end; `notStarted`: none was begun. */
  readonly state: RolloutState | 'notStarted';
  /** Why it does not move any more, in the reconciler's words. */
  readonly reason: string;
  readonly stages: readonly RunStage[];
  readonly found?: Found;
  /** Decisions about the rollout, in order. */
  readonly moments: readonly Moment[];
  /** Devices that ever began with the candidate; and those on which a fault showed. */
  readonly reached: number;
  readonly hit: number;
  readonly timeline: readonly TimelinePoint[];
  readonly sampled: CrowdCounts['sampled'];
  /** It was ended before its time. */
  readonly isInterrupted: boolean;
}

export interface RunStage {
  readonly name: string;
  readonly state: StageState;
  /** Newly taken in when it opened. */
  readonly devices: number;
  readonly openedMs: DurationMs;
  readonly closedMs?: DurationMs;
}

/** What told that something is wrong. */
export type FoundBy =
  | { readonly kind: 'gate'; readonly gate: string }
  /** As many devices failed as the error threshold allows. */
  | { readonly kind: 'errorThreshold' }
  /** Too many had not succeeded when the time for that was over. */
  | { readonly kind: 'stuck' };

export interface Found {
  readonly afterMs: DurationMs;
  readonly stage: string;
  /** Since that stage opened. */
  readonly intoStageMs: DurationMs;
  readonly by: FoundBy;
  readonly action: BreachAction;
  readonly because: string;
  /** By then: devices that had begun with the candidate, and those on which a fault showed. */
  readonly reached: number;
  readonly hit: number;
}

export interface Moment {
  readonly afterMs: DurationMs;
  readonly kind: Decision['kind'];
  readonly stage?: string;
  /** Without the rollout's name. */
  readonly text: string;
  readonly because?: string;
}

/** Devices that run the candidate, by the stage that took them in; the same until the next point. */
export interface TimelinePoint {
  readonly afterMs: DurationMs;
  readonly running: readonly number[];
}

/** The first decision that says that something is wrong; undefined where none was made. */
export function breachIn(
  events: readonly ReconcileEvent[],
  rollout: RolloutName,
): { readonly at: Instant; readonly decision: Decision } | undefined {
  const found = decisionsIn(events, rollout).find(({ decision }) => foundBy(decision) !== undefined);
  return found && { at: found.at, decision: found.decision };
}

export function foundBy({ kind, attempt }: Decision): FoundBy | undefined {
  if (kind === 'recordConcern') return { kind: 'gate', gate: attempt.concerns?.at(-1)?.gate ?? '' };
  if (kind !== 'pause' && kind !== 'rollBack') return undefined;
  const by: Partial<Record<Cause, FoundBy>> = {
    gate: { kind: 'gate', gate: attempt.breach?.gate ?? '' },
    errorThreshold: { kind: 'errorThreshold' },
    stuck: { kind: 'stuck' },
  };
  return by[attempt.history.at(-1)?.cause ?? attempt.cause];
}

/** How the breach is told, with what had happened to devices by then. */
export function foundOf(
  { at, decision }: { readonly at: Instant; readonly decision: Decision },
  given: { readonly startAt: Instant; readonly reached: number; readonly hit: number },
): Found {
  const { attempt, because, kind } = decision;
  const stage = attempt.stages.at(-1);
  return {
    afterMs: at - given.startAt,
    stage: stage?.name ?? '',
    intoStageMs: at - (stage?.openedAt ?? given.startAt),
    by: foundBy(decision) ?? { kind: 'stuck' },
    action: kind === 'recordConcern' ? 'continue' : kind === 'rollBack' ? 'rollBack' : heldBy(attempt),
    // The gate is named beside it.
    because: (because ?? '').replace(/^gate \S+: /, ''),
    reached: given.reached,
    hit: given.hit,
  };
}

function heldBy({ state }: Attempt): BreachAction {
  return state === 'monitoring' ? 'monitor' : 'pause';
}

export function momentsOf(
  events: readonly ReconcileEvent[],
  rollout: RolloutName,
  startAt: Instant,
): readonly Moment[] {
  return decisionsIn(events, rollout).map(({ at, decision: { kind, stage, summary, because } }) => ({
    afterMs: at - startAt,
    kind,
    ...(stage === undefined ? {} : { stage }),
    text: summary.replace(`${rollout}: `, ''),
    ...(because === undefined ? {} : { because }),
  }));
}

export function stagesOf(attempt: Attempt | undefined, startAt: Instant): readonly RunStage[] {
  return (attempt?.stages ?? []).map(({ name, state, devices, openedAt, closedAt }) => ({
    name,
    state,
    devices,
    openedMs: openedAt - startAt,
    ...(closedAt === undefined ? {} : { closedMs: closedAt - startAt }),
  }));
}

function decisionsIn(events: readonly ReconcileEvent[], rollout: RolloutName) {
  return events.flatMap((event) =>
    event.kind === 'decision' && event.decision.attempt.rollout === rollout ? [event] : [],
  );
}
