/** What a step of the walk in rollout.ts may look at, and what it may answer. */
import type { RolloutTally, StageTally } from '../assign/tally.ts';
import { emptyStageTally } from '../assign/tally.ts';
import type { Operation, Rollout } from '../model/desired.ts';
import type { Attempt, StageOutcome } from '../model/outcome.ts';
import type { Instant } from '../model/time.ts';
import { compileCondition } from '../target/condition.ts';
import type { Decision, PlanInput, Restore, Want } from './contract.ts';

export interface Context {
  readonly input: PlanInput;
  readonly rollout: Rollout;
  readonly attempts: readonly Attempt[];
  readonly knownGood: Attempt | undefined;
  readonly tally: RolloutTally;
  /** Entries of `ops/` that no outcome has applied yet. */
  readonly operations: readonly Operation[];
}

export type Step =
  | { readonly kind: 'decide'; readonly decision: Decision }
  | {
      readonly kind: 'wait';
      readonly reason: string;
      readonly stage?: string;
      readonly until?: Instant;
      readonly want?: Want;
      readonly restore?: Restore;
    };

export function decide(
  kind: Decision['kind'],
  effect: Decision['effect'],
  attempt: Attempt,
  text: string,
  because?: string,
): Step {
  return { kind: 'decide', decision: decision(kind, effect, attempt, text, because) };
}

export function decision(
  kind: Decision['kind'],
  effect: Decision['effect'],
  attempt: Attempt,
  text: string,
  because?: string,
): Decision {
  const made = { kind, effect, attempt, summary: `${attempt.rollout}: ${text}` };
  return because === undefined ? made : { ...made, because };
}

/** The entries of `ops/` for this attempt with one of these actions, oldest first. */
export function operations(
  context: Context,
  latest: Attempt,
  actions: readonly Operation['action'][],
): readonly Operation[] {
  return context.operations.filter(
    (entry) => actions.includes(entry.action) && entry.attempt === latest.attempt,
  );
}

/** The attempt with the entries marked as done, so that no later pass applies them again. */
export function applied(entries: readonly Operation[], attempt: Attempt): Attempt {
  return {
    ...attempt,
    appliedOperations: [...attempt.appliedOperations, ...entries.map((entry) => entry.id)],
  };
}

/** What was seen of an open stage, by its index; nothing yet where nobody was counted. */
export function stageTally(tally: RolloutTally | undefined, index: number): StageTally {
  return tally?.stages[index] ?? emptyStageTally();
}

/** The stage as it is judged: devices that were excluded since it opened are not waited for. */
export function judgedStage(stage: StageOutcome, { excluded }: Pick<StageTally, 'excluded'>): StageOutcome {
  return excluded === 0 ? stage : { ...stage, devices: Math.max(0, stage.devices - excluded) };
}

/** Equal for conditions that match the same devices by their spelling. */
export function canonical(condition: string): string {
  return compileCondition(condition).canonical;
}
