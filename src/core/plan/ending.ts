/** Stages and attempts that end before they passed: what was seen until then goes into the outcome. */
import type { GateReading } from '../gates/reading.ts';
import {
  type Attempt,
  type Cause,
  isFinished,
  type RolloutState,
  type StageOutcome,
} from '../model/outcome.ts';
import assert from './assert.ts';
import { attemptKey } from './contract.ts';
import { enter, enterStage } from './lifecycle.ts';
import type { Context } from './step.ts';
import { verdictOn } from './verdict.ts';

/** Ends the attempt, perhaps before its last stage: what that one has seen until now goes into the outcome. */
export function end(context: Context, attempt: Attempt, to: RolloutState, cause: Cause): Attempt {
  const at = context.input.now;
  // The counts at hand are those of the attempt under way, never of one that ended before.
  if (isFinished(attempt)) return enter(attempt, to, { cause, at });
  const because = `the attempt ended ${to} while the stage was running`;
  const stages = attempt.stages.map((stage, index): StageOutcome => {
    if (stage.state !== 'running') return stage;
    const verdict = verdictOn(context, attempt, index, { verdict: 'undecided', because });
    return { ...stage, verdict, closedAt: at };
  });
  return enter({ ...attempt, stages }, to, { cause, at });
}

export function failStage(
  context: Context,
  latest: Attempt,
  index: number,
  why: { readonly because: string; readonly readings: readonly GateReading[] },
): Attempt {
  const stage = latest.stages[index];
  assert(stage !== undefined, `${attemptKey(latest)}: stage ${index} failed without being open`);
  if (stage.state === 'failed') return latest;
  const verdict = verdictOn(context, latest, index, { verdict: 'halt', ...why });
  return enterStage(latest, index, 'failed', { verdict, closedAt: context.input.now });
}
