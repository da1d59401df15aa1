/**
 * The life of an attempt. Created, it is `ready`; opening its first stage makes it `running`; each stage that passes
 * opens the next, and the last one makes it `succeeded`. A breach, a person or `stuckAfter` pauses it; a pause only
 * stops offers, and resuming goes on at the stage where it stopped. `monitoring` is a pause that expects to go on: nothing new is
 * offered, devices tell more, and at its deadline what was seen since decides. It ends `succeeded`, `stopped` (cancelled or
 * taken away), `rolledBack` (its devices are on their way to known-good) or `superseded` (another revision is wanted).
 * `waitingForApproval` is a stage whose turn it is and that nobody has approved; the open ones go on.
 *
 * Every change of state passes through {@link enter}, so a transition that the table lacks cannot be recorded.
 */

import type { Attempt, Cause, RolloutState, StageOutcome, StageState } from '../model/outcome.ts';
import type { Instant } from '../model/time.ts';
import assert from './assert.ts';

/** docs/states.md explains each state and gives hawkBit's name for it. */
export const ROLLOUT_TRANSITIONS: Readonly<Record<RolloutState, readonly RolloutState[]>> = {
  // Nothing was installed yet, so there is nothing to roll back.
  ready: ['waitingForApproval', 'running', 'stopped', 'superseded'],
  waitingForApproval: ['running', 'monitoring', 'paused', 'stopped', 'rolledBack', 'superseded'],
  running: ['waitingForApproval', 'monitoring', 'paused', 'succeeded', 'stopped', 'rolledBack', 'superseded'],
  // A person may take over what would otherwise be decided at its deadline.
  monitoring: ['running', 'paused', 'stopped', 'rolledBack', 'superseded'],
  paused: ['running', 'stopped', 'rolledBack', 'superseded'],
  succeeded: [],
  // A commit may bring known-good back for devices that kept a cancelled or superseded revision.
  stopped: ['rolledBack'],
  rolledBack: [],
  superseded: ['rolledBack'],
};

export const STAGE_TRANSITIONS: Readonly<Record<StageState, readonly StageState[]>> = {
  scheduled: ['running'],
  running: ['passed', 'failed'],
  // Devices of a stage that has passed are judged on while the attempt lasts.
  passed: ['failed'],
  // A person resumed in spite of the failures.
  failed: ['running', 'passed'],
};

/** The attempt in another state. Throws where the table does not allow the change: that is a bug, never bad input. */
export function enter(attempt: Attempt, to: RolloutState, why: { cause: Cause; at: Instant }): Attempt {
  assert(
    ROLLOUT_TRANSITIONS[attempt.state].includes(to),
    `rollout ${attempt.rollout}: ${attempt.state} → ${to} is not a transition`,
  );
  const stage = attempt.stages.at(-1)?.name;
  const transition = { at: why.at, state: to, cause: why.cause, ...(stage === undefined ? {} : { stage }) };
  return { ...attempt, state: to, cause: why.cause, history: [...attempt.history, transition] };
}

/** The attempt with its stage at `index` changed to another state, and perhaps more. */
export function enterStage(
  attempt: Attempt,
  index: number,
  to: StageState,
  change: Partial<StageOutcome> = {},
): Attempt {
  const stage = attempt.stages[index];
  assert(stage !== undefined, `rollout ${attempt.rollout}: no stage ${index} is open`);
  assert(
    STAGE_TRANSITIONS[stage.state].includes(to),
    `rollout ${attempt.rollout}, stage ${stage.name}: ${stage.state} → ${to} is not a transition`,
  );
  // A stage that runs again is not closed any more.
  const { closedAt: _closedAt, ...open } = stage;
  const before = to === 'running' ? open : stage;
  return { ...attempt, stages: attempt.stages.with(index, { ...before, ...change, state: to }) };
}
