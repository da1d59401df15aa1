/**
 * The plan for one rollout, as a walk: each step looks at the latest attempt and either decides something, which the
 * next step then starts from, or says what it waits for. Between attempts idle.ts decides, within one active.ts.
 */
import { emptyRolloutTally } from '../assign/tally.ts';
import type { Probe } from '../gates/probe.ts';
import type { GateReading } from '../gates/reading.ts';
import type { Rollout } from '../model/desired.ts';
import type { RolloutName } from '../model/ids.ts';
import { type Attempt, isFinished, knownGoodOf } from '../model/outcome.ts';
import type { Instant } from '../model/time.ts';
import { stepActive } from './active.ts';
import assert from './assert.ts';
import { remindersOf } from './breach.ts';
import {
  attemptKey,
  type Decision,
  type PlanInput,
  type Restore,
  type RolloutReport,
  stageKey,
  type Want,
} from './contract.ts';
import { probesOf, readingsOf } from './gates.ts';
import { stepIdle } from './idle.ts';
import { meetsSuccess } from './judge.ts';
import { enter } from './lifecycle.ts';
import type { Reminder } from './reminder.ts';
import { type Context, decide, decision, judgedStage, type Step, stageTally } from './step.ts';

export interface RolloutPlan {
  readonly decisions: readonly Decision[];
  readonly wants: readonly Want[];
  readonly restores: readonly Restore[];
  readonly soaks: readonly (readonly [string, Instant])[];
  readonly report: RolloutReport | undefined;
  readonly probes: readonly Probe[];
  readonly reminders: readonly Reminder[];
  readonly gates: readonly [RolloutName, readonly GateReading[]] | undefined;
}

/** More decisions than this about one rollout in one pass would mean that the walk goes in circles. */
const STEPS_MAX = 16;

export function planRollout(input: PlanInput, name: RolloutName): RolloutPlan {
  const rollout = input.desired.rollouts.get(name);
  let attempts = input.outcomes.get(name) ?? [];
  const decisions: Decision[] = recordLearnings(input, attempts);
  attempts = decisions.reduce(replaceAttempt, attempts);

  for (let steps = 0; steps < STEPS_MAX; steps++) {
    let step = rollout === undefined ? stepRemoved(input, attempts) : next(input, rollout, attempts);
    if (step === undefined) return { ...NOTHING, decisions };
    if (step.kind === 'decide') {
      decisions.push(step.decision);
      attempts = replaceAttempt(attempts, step.decision);
      if (step.decision.effect === 'records') continue;
      // What follows would be judged by counts from before the decision: the next pass has the right ones.
      step = { kind: 'wait', reason: step.decision.summary };
    }
    return {
      decisions,
      wants: step.want === undefined ? [] : [step.want],
      restores: step.restore === undefined ? [] : [step.restore],
      soaks: soaksOf(input, attempts),
      report: reportOf(name, attempts.at(-1), step),
      ...(rollout === undefined ? UNWATCHED : watchOf(contextOf(input, rollout, attempts))),
    };
  }
  assert(false, `rollout ${name}: more than ${STEPS_MAX} decisions in one pass`);
}

const UNWATCHED = { probes: [], reminders: [], gates: undefined };
const NOTHING = { decisions: [], wants: [], restores: [], soaks: [], report: undefined, ...UNWATCHED };

/** What is watched of the attempt under way, whatever it does next. */
function watchOf(context: Context): Pick<RolloutPlan, 'probes' | 'reminders' | 'gates'> {
  const latest = context.attempts.at(-1);
  const reminders = remindersOf(context, latest);
  if (latest === undefined || isFinished(latest) || latest.stages.length === 0)
    return { ...UNWATCHED, reminders };
  const readings = readingsOf(context, latest, latest.stages.length - 1);
  return { probes: probesOf(latest), reminders, gates: [latest.rollout, readings] };
}

function contextOf(input: PlanInput, rollout: Rollout, attempts: readonly Attempt[]): Context {
  const applied = new Set(attempts.flatMap((attempt) => attempt.appliedOperations));
  return {
    input,
    rollout,
    attempts,
    knownGood: knownGoodOf(attempts),
    tally: input.observed.tally.rollouts.get(rollout.name) ?? emptyRolloutTally(),
    operations: input.operations.entries.filter(
      ({ id, rollout: name }) => name === rollout.name && !applied.has(id),
    ),
  };
}

function next(input: PlanInput, rollout: Rollout, attempts: readonly Attempt[]): Step {
  const context = contextOf(input, rollout, attempts);
  const latest = attempts.at(-1);
  return latest === undefined || isFinished(latest) ? stepIdle(context, latest) : stepActive(context, latest);
}

/** A commit took the rollout away: what is under way stops, and its devices fall to the next rollout. */
function stepRemoved(input: PlanInput, attempts: readonly Attempt[]): Step | undefined {
  const latest = attempts.at(-1);
  if (latest === undefined || isFinished(latest)) return undefined;
  const stopped = enter(latest, 'stopped', { cause: 'removed', at: input.now });
  return decide('stop', 'closes', stopped, `attempt ${latest.attempt} stops: the rollout was removed`);
}

function recordLearnings(input: PlanInput, attempts: readonly Attempt[]): Decision[] {
  return attempts.flatMap((attempt) => {
    const learnings = input.operations.learnings.get(attemptKey(attempt));
    if (learnings === undefined || learnings === attempt.learnings) return [];
    return [
      decision(
        'recordLearnings',
        'records',
        { ...attempt, learnings },
        `learnings of attempt ${attempt.attempt}`,
      ),
    ];
  });
}

/** The soaks that run now: kept while the success threshold is met, forgotten as soon as it is not. */
function soaksOf(input: PlanInput, attempts: readonly Attempt[]): [string, Instant][] {
  const latest = attempts.at(-1);
  if (latest === undefined || isFinished(latest)) return [];
  const tally = input.observed.tally.rollouts.get(latest.rollout);
  return latest.stages.flatMap((stage, index): [string, Instant][] => {
    const seen = stageTally(tally, index);
    if (stage.state !== 'running' || !meetsSuccess(judgedStage(stage, seen), seen)) return [];
    const key = stageKey(latest, index);
    return [[key, input.observed.soaks.get(key) ?? input.now]];
  });
}

function replaceAttempt(attempts: readonly Attempt[], made: Decision): readonly Attempt[] {
  const index = attempts.findIndex((each) => each.attempt === made.attempt.attempt);
  return index === -1 ? [...attempts, made.attempt] : attempts.with(index, made.attempt);
}

function reportOf(
  rollout: RolloutName,
  latest: Attempt | undefined,
  step: Extract<Step, { kind: 'wait' }>,
): RolloutReport {
  return {
    rollout,
    state: latest?.state ?? 'unknown',
    ...(latest === undefined ? {} : { attempt: latest.attempt }),
    ...(step.stage === undefined ? {} : { stage: step.stage }),
    reason: step.reason,
    ...(step.until === undefined ? {} : { until: step.until }),
  };
}
