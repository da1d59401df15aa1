/**
 * An attempt is under way. In this order: does main want something else, did a person say something, have too many
 * devices failed, and only then, may it go on?
 */
import type { Attempt, Cause, StageOutcome } from '../model/outcome.ts';
import assert from './assert.ts';
import { attemptKey, stageKey, type Want, wantKey } from './contract.ts';
import { emergencyOf } from './emergency.ts';
import { end, failStage } from './ending.ts';
import { type Judgement, judgeFailures, judgeProgress, runningSince, verdictOf } from './judge.ts';
import { enter, enterStage } from './lifecycle.ts';
import { openNext } from './open-stage.ts';
import { rampClock } from './ramp.ts';
import { identityOf, takeBack } from './restoration.ts';
import {
  applied,
  type Context,
  canonical,
  decide,
  decision,
  operations,
  type Step,
  stageTally,
} from './step.ts';

export function stepActive(context: Context, latest: Attempt): Step {
  return (
    wantedOtherwise(context, latest) ??
    obeyOperators(context, latest) ??
    stopOnFailures(context, latest) ??
    (latest.state === 'paused' ? waitPaused(context, latest) : advance(context, latest))
  );
}

/** A commit wants something else than this attempt installs. */
function wantedOtherwise(context: Context, latest: Attempt): Step | undefined {
  const { rollout, knownGood } = context;
  const narrowed =
    latest.excluding !== undefined && canonical(rollout.condition) === canonical(latest.excluding);
  if (rollout.revision === latest.revision && !narrowed) return undefined;
  const isBack = knownGood !== undefined && rollout.revision === knownGood.revision;
  if (isBack && latest.stages.length > 0) return takeBack(context, latest, knownGood);
  return decide(
    'supersede',
    'closes',
    end(context, latest, 'superseded', 'replaced'),
    `attempt ${latest.attempt} is superseded`,
  );
}

/** `spec.suspend`, and the entries of `ops/` for this attempt, oldest first. */
function obeyOperators(context: Context, latest: Attempt): Step | undefined {
  const { rollout } = context;
  const cancel = operations(context, latest, ['cancel']);
  const [first] = cancel;
  if (first !== undefined) {
    const stopped = applied(cancel, end(context, latest, 'stopped', 'operator'));
    return decide(
      'stop',
      'closes',
      stopped,
      `attempt ${latest.attempt} is cancelled by ${first.by}`,
      first.reason,
    );
  }
  const offering = latest.state === 'running' || latest.state === 'waitingForApproval';
  // The last word counts; what was said before it is applied with it.
  const wishes = operations(context, latest, ['pause', 'resume']);
  const wish = wishes.at(-1);
  if (offering && wish?.action === 'pause') {
    return pause(context, applied(wishes, latest), { cause: 'operator', because: `paused by ${wish.by}` });
  }
  if (offering && latest.stages.length > 0 && rollout.suspend) {
    return pause(context, latest, { cause: 'suspended', because: 'spec.suspend is true' });
  }
  if (latest.state === 'paused' && !rollout.suspend) {
    if (wish?.action === 'resume') return resume(context, applied(wishes, latest), `resumed by ${wish.by}`);
    if (latest.cause === 'suspended') return resume(context, latest, 'spec.suspend is gone');
  }
  // What asks for the state that already is has been done.
  if ((wish?.action === 'resume' && offering) || (wish?.action === 'pause' && latest.state === 'paused')) {
    return decide('recordOperation', 'records', applied(wishes, latest), `nothing to ${wish.action}`);
  }
  return undefined;
}

function resume(context: Context, latest: Attempt, because: string): Step {
  const last = latest.stages.length - 1;
  // What a person has seen and resumed in spite of does not halt a second time.
  const forgiven = latest.stages.reduce((attempt, stage, index) => {
    const failed = context.tally.stages[index]?.counts.failed ?? 0;
    const tolerated = { tolerated: Math.max(stage.tolerated ?? 0, failed) };
    if (stage.state === 'failed')
      return enterStage(attempt, index, index === last ? 'running' : 'passed', tolerated);
    return attempt;
  }, latest);
  const running = enter(forgiven, 'running', { cause: 'resumed', at: context.input.now });
  return decide('resume', 'opens', running, `attempt ${latest.attempt} is resumed`, because);
}

/** Devices of every open stage are judged, those of stages that passed included. A paused attempt can only get worse. */
function stopOnFailures(context: Context, latest: Attempt): Step | undefined {
  for (const [index, stage] of latest.stages.entries()) {
    const tally = stageTally(context.tally, index);
    const breach = judgeFailures(stage, tally, context.rollout.onFailure);
    if (breach === undefined) continue;
    if (breach.action === 'rollBack') return rollBack(context, latest, { index, breach });
    if (latest.state !== 'paused')
      return pause(context, latest, { cause: 'errorThreshold', because: breach.because, index });
  }
  return undefined;
}

function rollBack(
  context: Context,
  latest: Attempt,
  at: { index: number; breach: Extract<Judgement, { kind: 'breach' }> },
): Step {
  const { knownGood } = context;
  const failed = failStage(context, latest, at.index, at.breach.because);
  const back = end(context, failed, 'rolledBack', 'errorThreshold');
  const restored =
    knownGood === undefined
      ? ({ main: 'none' } as const)
      : ({ main: 'pending', knownGood: identityOf(knownGood) } as const);
  const to =
    knownGood === undefined ? 'offers are withdrawn' : `back to known-good of attempt ${knownGood.attempt}`;
  return {
    kind: 'decide',
    decision: {
      ...decision(
        'rollBack',
        'closes',
        { ...back, restored },
        `attempt ${latest.attempt} failed, ${to}`,
        at.breach.because,
      ),
      stage: latest.stages[at.index]?.name ?? '',
      verdict: 'halt',
    },
  };
}

function pause(
  context: Context,
  latest: Attempt,
  why: { cause: Cause; because: string; index?: number; verdict?: 'undecided' },
): Step {
  const index = why.index ?? latest.stages.length - 1;
  const marked = why.cause === 'errorThreshold' ? failStage(context, latest, index, why.because) : latest;
  const paused = enter(marked, 'paused', { cause: why.cause, at: context.input.now });
  const made = decision('pause', 'closes', paused, `attempt ${latest.attempt} is paused`, why.because);
  const stage = latest.stages[index]?.name;
  return {
    kind: 'decide',
    decision: {
      ...made,
      ...(stage === undefined ? {} : { stage }),
      ...(why.cause === 'errorThreshold'
        ? { verdict: 'halt' }
        : why.verdict === undefined
          ? {}
          : { verdict: why.verdict }),
    },
  };
}

function waitPaused(context: Context, latest: Attempt): Step {
  const last = latest.history.at(-1);
  const stage = latest.stages.findLast((each) => each.state === 'failed') ?? latest.stages.at(-1);
  const because: Partial<Record<Cause, string>> = {
    suspended: 'spec.suspend is true; take it away to go on',
    operator: `${whoPaused(context, latest)}; an entry in ops/ with action: resume goes on`,
    stuck: `${stage?.verdict?.because ?? 'it was undecided for too long'}; resume, cancel or revert`,
    errorThreshold: `${stage?.verdict?.because ?? 'too many devices failed'}; resume, cancel or revert`,
  };
  return {
    kind: 'wait',
    reason: `paused: ${because[last?.cause ?? latest.cause] ?? latest.cause}`,
    ...(stage === undefined ? {} : { stage: stage.name }),
  };
}

/** The last word of `ops/` that was obeyed, as far as it is still there. */
function whoPaused({ input }: Context, latest: Attempt): string {
  const entry = input.operations.entries.findLast(
    ({ id, action }) => action === 'pause' && latest.appliedOperations.includes(id),
  );
  if (entry === undefined) return 'an operator paused it';
  return `by ${entry.by}${entry.reason === undefined ? '' : ` (${entry.reason})`}`;
}

/** Running, ready or waiting for approval: the stage at hand passes, or the next one opens, or there is a reason. */
function advance(context: Context, latest: Attempt): Step {
  const index = latest.stages.length - 1;
  const stage = latest.stages[index];
  if (emergencyOf(context, latest) !== undefined) return openNext(context, latest);
  if (stage !== undefined && stage.state === 'running') return judge(context, latest, index, stage);
  if (stage?.size === 'all') return succeed(context, latest);
  return openNext(context, latest);
}

function judge(context: Context, latest: Attempt, index: number, stage: StageOutcome): Step {
  const tally = stageTally(context.tally, index);
  const { now, observed } = context.input;
  const promotions = operations(context, latest, ['promote']).filter(
    ({ stage: name }) => name === stage.name,
  );
  const succeededAt = observed.soaks.get(stageKey(latest, index));
  const judgement = judgeProgress(
    stage,
    tally,
    {
      ...(succeededAt === undefined ? {} : { succeededAt }),
      runningSince: runningSince(latest, stage),
      rampEndsAt: rampClock(latest, stage).rampStartedAt + (stage.admits.rampMs ?? 0),
      promoted: promotions.length > 0,
    },
    now,
  );
  switch (judgement.kind) {
    case 'waits': {
      const { until, because } = judgement;
      return { kind: 'wait', stage: stage.name, reason: because, ...(until === undefined ? {} : { until }) };
    }
    case 'stuck':
      return pauseStuck(context, latest, index, judgement.because);
    case 'passes': {
      const verdict = verdictOf(stage, tally, {
        at: now,
        verdict: 'pass',
        because: judgement.because,
        silent: [],
      });
      const passed = enterStage(latest, index, 'passed', { verdict, closedAt: now });
      const made = decision(
        'passStage',
        'records',
        applied(promotions, passed),
        `stage ${stage.name} passed`,
        judgement.because,
      );
      return { kind: 'decide', decision: { ...made, stage: stage.name, verdict: 'pass' } };
    }
    case 'breach':
      throw new Error('failures are judged before progress');
  }
}

/** The pause names the devices that nobody heard of; asking who they are takes a look at the whole stage. */
function pauseStuck(context: Context, latest: Attempt, index: number, because: string): Step {
  const stage = latest.stages[index];
  assert(stage !== undefined, `${attemptKey(latest)}: stage ${index} is stuck without being open`);
  const want: Want = { kind: 'undecided', rollout: latest.rollout, attempt: latest.attempt };
  const answer = context.input.observed.answers.get(wantKey(want));
  if (answer?.kind !== 'undecided') return { kind: 'wait', stage: stage.name, reason: because, want };
  const at = context.input.now;
  const tally = stageTally(context.tally, index);
  const verdict = verdictOf(stage, tally, { at, verdict: 'undecided', because, silent: answer.scores });
  const marked = { ...latest, stages: latest.stages.with(index, { ...stage, verdict }) };
  return pause(context, marked, { cause: 'stuck', because, verdict: 'undecided' });
}

function succeed(context: Context, latest: Attempt): Step {
  const last = latest.stages.at(-1);
  // Only what its last stage covered has been seen to work: a condition widened since then starts an attempt of its own.
  const covered = { ...latest, condition: last?.condition ?? latest.condition };
  const done = enter(covered, 'succeeded', { cause: 'passed', at: context.input.now });
  const made = decision(
    'succeed',
    'opens',
    done,
    `attempt ${latest.attempt} succeeded: ${latest.manifest.distributionSet} is known-good`,
  );
  return { kind: 'decide', decision: { ...made, verdict: 'pass' } };
}
