/**
 * An attempt is under way. In this order: does main want something else, did a person say something, have too many
 * devices failed, and only then, may it go on?
 */
import type { Attempt, Cause, StageOutcome } from '../model/outcome.ts';
import { formatInstant } from '../model/time.ts';
import assert from './assert.ts';
import { checkpoint, deadlineOf, decideAtDeadline, findClusters, resume, stopOnBreach } from './breach.ts';
import { attemptKey, stageKey, type Want, wantKey } from './contract.ts';
import { emergencyOf } from './emergency.ts';
import { end } from './ending.ts';
import { approvalsOfGate, readingsOf } from './gates.ts';
import { judgeProgress, runningSince } from './judge.ts';
import { enter, enterStage } from './lifecycle.ts';
import { openNext } from './open-stage.ts';
import { rampClock } from './ramp.ts';
import { takeBack } from './restoration.ts';
import {
  applied,
  type Context,
  canonical,
  decide,
  decision,
  judgedStage,
  operations,
  type Step,
  stageTally,
} from './step.ts';
import { verdictOn } from './verdict.ts';

export function stepActive(context: Context, latest: Attempt): Step {
  return (
    wantedOtherwise(context, latest) ??
    followExclusion(context, latest) ??
    obeyOperators(context, latest) ??
    stopOnBreach(context, latest) ??
    decideAtDeadline(context, latest) ??
    (isHeld(latest) ? (findClusters(context, latest) ?? waitHeld(context, latest)) : advance(context, latest))
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

/**
 * Main excludes others than it did: those go back to what they had before, at once. Whom it does not exclude any more may have the
 * revision again, which is an opening.
 */
function followExclusion({ rollout }: Context, latest: Attempt): Step | undefined {
  const { exclude: before, ...rest } = latest;
  const { exclude: after } = rollout;
  const said = (condition: string | undefined) =>
    condition === undefined ? undefined : canonical(condition);
  if (said(before) === said(after)) return undefined;
  const text =
    after === undefined
      ? `attempt ${latest.attempt} excludes nobody any more`
      : `attempt ${latest.attempt} excludes ${after}: those devices return`;
  const changed = after === undefined ? rest : { ...rest, exclude: after };
  return decide('exclude', after === undefined ? 'opens' : 'closes', changed, text);
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
  if ((offering || latest.state === 'monitoring') && wish?.action === 'pause') {
    return pause(context, applied(wishes, latest), { cause: 'operator', because: `paused by ${wish.by}` });
  }
  if (offering && latest.stages.length > 0 && rollout.suspend) {
    return pause(context, latest, { cause: 'suspended', because: 'spec.suspend is true' });
  }
  if (isHeld(latest) && !rollout.suspend) {
    const because = wish?.action === 'resume' ? `resumed by ${wish.by}` : 'spec.suspend is gone';
    if (wish?.action === 'resume')
      return resume(context, applied(wishes, latest), { cause: 'resumed', because });
    if (latest.cause === 'suspended') return resume(context, latest, { cause: 'resumed', because });
  }
  // What asks for the state that already is has been done.
  if ((wish?.action === 'resume' && offering) || (wish?.action === 'pause' && latest.state === 'paused')) {
    return decide('recordOperation', 'records', applied(wishes, latest), `nothing to ${wish.action}`);
  }
  return undefined;
}

/** By people, or because nobody can tell how it is: a breach has its own way (breach.ts). */
function pause(
  context: Context,
  latest: Attempt,
  why: { cause: Cause; because: string; verdict?: 'undecided' },
): Step {
  const paused = enter(latest, 'paused', { cause: why.cause, at: context.input.now });
  const made = decision('pause', 'closes', paused, `attempt ${latest.attempt} is paused`, why.because);
  const stage = latest.stages.at(-1)?.name;
  return {
    kind: 'decide',
    decision: {
      ...made,
      ...(stage === undefined ? {} : { stage }),
      ...(why.verdict === undefined ? {} : { verdict: why.verdict }),
    },
  };
}

function isHeld({ state }: Attempt): boolean {
  return state === 'paused' || state === 'monitoring';
}

function waitHeld(context: Context, latest: Attempt): Step {
  const last = latest.history.at(-1);
  const stage = latest.stages.findLast((each) => each.state === 'failed') ?? latest.stages.at(-1);
  const because: Partial<Record<Cause, string>> = {
    suspended: 'spec.suspend is true; take it away to go on',
    operator: `${whoPaused(context, latest)}; an entry in ops/ with action: resume goes on`,
    stuck: `${stage?.verdict?.because ?? 'it was undecided for too long'}; resume, cancel or revert`,
    errorThreshold: `${stage?.verdict?.because ?? 'too many devices failed'}; ${whoDecides(latest)}`,
    gate: `${latest.breach?.because ?? 'a gate halted it'}; ${whoDecides(latest)}`,
  };
  const until = deadlineOf(latest);
  return {
    kind: 'wait',
    reason: `${latest.state}: ${because[last?.cause ?? latest.cause] ?? latest.cause}`,
    ...(until === undefined ? {} : { until }),
    ...(stage === undefined ? {} : { stage: stage.name }),
  };
}

function whoDecides({ breach }: Attempt): string {
  const ways = 'resume, cancel or revert';
  if (breach?.decideBy === undefined) return ways;
  return `${ways}; ${breach.owner} decides by ${formatInstant(breach.decideBy)}, after that what is seen until then does`;
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
  if (stage?.size === 'all' && !isPart(stage)) return succeed(context, latest);
  return openNext(context, latest);
}

/** All of a part are not all. */
function isPart({ where, whereDigest }: StageOutcome): boolean {
  return where !== undefined || whereDigest !== undefined;
}

function judge(context: Context, latest: Attempt, index: number, stage: StageOutcome): Step {
  const tally = stageTally(context.tally, index);
  const readings = readingsOf(context, latest, index);
  const { now, observed } = context.input;
  const promotions = operations(context, latest, ['promote']).filter(
    ({ stage: name }) => name === stage.name,
  );
  const succeededAt = observed.soaks.get(stageKey(latest, index));
  const judgement = judgeProgress(
    judgedStage(stage, tally),
    tally,
    {
      ...(succeededAt === undefined ? {} : { succeededAt }),
      runningSince: runningSince(latest, stage),
      rampEndsAt: rampClock(latest, stage).rampStartedAt + (stage.admits.rampMs ?? 0),
      promoted: promotions.length > 0,
      readings,
    },
    now,
  );
  switch (judgement.kind) {
    case 'waits': {
      const marked = checkpoint(context, latest);
      if (marked !== undefined) return marked;
      const { until, because } = judgement;
      return { kind: 'wait', stage: stage.name, reason: because, ...(until === undefined ? {} : { until }) };
    }
    case 'stuck':
      return pauseStuck(context, latest, index, judgement.because);
    case 'passes': {
      const verdict = verdictOn(context, latest, index, {
        verdict: 'pass',
        because: judgement.because,
        readings,
      });
      const passed = enterStage(latest, index, 'passed', { verdict, closedAt: now });
      const approvals = stage.gates.flatMap((gate) =>
        gate.kind === 'approval' ? approvalsOfGate(context, latest, stage, gate) : [],
      );
      const made = decision(
        'passStage',
        'records',
        applied([...promotions, ...approvals], passed),
        `stage ${stage.name} passed`,
        judgement.because,
      );
      return { kind: 'decide', decision: { ...made, stage: stage.name, verdict: 'pass' } };
    }
  }
}

/** The pause names the devices that nobody heard of; asking who they are takes a look at the whole stage. */
function pauseStuck(context: Context, latest: Attempt, index: number, because: string): Step {
  const stage = latest.stages[index];
  assert(stage !== undefined, `${attemptKey(latest)}: stage ${index} is stuck without being open`);
  const want: Want = { kind: 'undecided', rollout: latest.rollout, attempt: latest.attempt };
  const answer = context.input.observed.answers.get(wantKey(want));
  if (answer?.kind !== 'undecided') return { kind: 'wait', stage: stage.name, reason: because, want };
  const verdict = verdictOn(context, latest, index, { verdict: 'undecided', because, silent: answer.scores });
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
