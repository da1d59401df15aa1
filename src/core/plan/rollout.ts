/**
 * The plan for one rollout, as a walk: each step looks at the latest attempt and either decides something, which the
 * next step then starts from, or says what it waits for. Read {@link stepIdle} and {@link stepActive} first.
 */
import { emptyRolloutTally, emptyStageTally, type RolloutTally } from '../assign/tally.ts';
import type { Operation, Rollout, Stage } from '../model/desired.ts';
import type { RolloutName } from '../model/ids.ts';
import { sha256Hex } from '../model/manifest.ts';
import {
  type Attempt,
  type Cause,
  isFinished,
  knownGoodOf,
  type RolloutState,
  type StageOutcome,
} from '../model/outcome.ts';
import { formatDuration, formatInstant, type Instant } from '../model/time.ts';
import { resolveStage } from '../select/admission.ts';
import { formatSize } from '../select/size.ts';
import { compileCondition } from '../target/condition.ts';
import assert from './assert.ts';
import {
  attemptKey,
  type Decision,
  type PlanInput,
  type Restore,
  type RolloutReport,
  stageKey,
  type Want,
  wantKey,
} from './contract.ts';
import {
  type Judgement,
  judgeFailures,
  judgeProgress,
  meetsSuccess,
  runningSince,
  verdictOf,
} from './judge.ts';
import { enter, enterStage } from './lifecycle.ts';
import { rampClock } from './ramp.ts';

export interface RolloutPlan {
  readonly decisions: readonly Decision[];
  readonly wants: readonly Want[];
  readonly restores: readonly Restore[];
  readonly soaks: readonly (readonly [string, Instant])[];
  readonly report: RolloutReport | undefined;
}

/** More decisions than this about one rollout in one pass would mean that the walk goes in circles. */
const STEPS_MAX = 16;

/** What every step may look at. */
interface Context {
  readonly input: PlanInput;
  readonly rollout: Rollout;
  readonly attempts: readonly Attempt[];
  readonly knownGood: Attempt | undefined;
  readonly tally: RolloutTally;
  /** Entries of `ops/` that no outcome has applied yet. */
  readonly operations: readonly Operation[];
}

type Step =
  | { readonly kind: 'decide'; readonly decision: Decision }
  | {
      readonly kind: 'wait';
      readonly reason: string;
      readonly stage?: string;
      readonly until?: Instant;
      readonly want?: Want;
      readonly restore?: Restore;
    };

export function planRollout(input: PlanInput, name: RolloutName): RolloutPlan {
  const rollout = input.desired.rollouts.get(name);
  let attempts = input.outcomes.get(name) ?? [];
  const decisions: Decision[] = recordLearnings(input, attempts);
  attempts = decisions.reduce(replaceAttempt, attempts);

  for (let steps = 0; steps < STEPS_MAX; steps++) {
    let step = rollout === undefined ? stepRemoved(input, attempts) : next(input, rollout, attempts);
    if (step === undefined) return { decisions, wants: [], restores: [], soaks: [], report: undefined };
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
    };
  }
  assert(false, `rollout ${name}: more than ${STEPS_MAX} decisions in one pass`);
}

function next(input: PlanInput, rollout: Rollout, attempts: readonly Attempt[]): Step {
  const applied = new Set(attempts.flatMap((attempt) => attempt.appliedOperations));
  const context: Context = {
    input,
    rollout,
    attempts,
    knownGood: knownGoodOf(attempts),
    tally: input.observed.tally.rollouts.get(rollout.name) ?? emptyRolloutTally(),
    operations: input.operations.entries.filter(
      ({ id, rollout: name }) => name === rollout.name && !applied.has(id),
    ),
  };
  const latest = attempts.at(-1);
  return latest === undefined || isFinished(latest) ? stepIdle(context, latest) : stepActive(context, latest);
}

// ---- Nothing is under way: does a new attempt begin? ------------------------------------------------------------

function stepIdle(context: Context, latest: Attempt | undefined): Step {
  const { rollout, knownGood, attempts } = context;
  if (latest === undefined) return create(context, {});

  if (knownGood !== undefined && rollout.revision === knownGood.revision) {
    return stepOnKnownGood(context, latest, knownGood);
  }
  const failed = attempts.findLast((attempt) => attempt.revision === rollout.revision);
  if (failed === undefined || !wasGivenUp(failed)) return create(context, { latest });
  const retry = retryOf(context, failed);
  if (retry !== undefined) return create(context, { retry, latest });
  if (failed === latest && isRestoring(latest)) return stepRestore(context, latest);
  return {
    kind: 'wait',
    reason:
      failed.cause === 'operator'
        ? `attempt ${failed.attempt} of this revision was cancelled; change what is installed, or ask for a retry`
        : `revision is quarantined: attempt ${failed.attempt} failed; change what is installed, or ask for a retry`,
  };
}

/**
 * A failed or cancelled revision does not start again by itself, whoever ended the attempt. One that a commit took
 * away before it failed may come back.
 */
function wasGivenUp(attempt: Attempt): boolean {
  if (!isFinished(attempt) || attempt.state === 'succeeded') return false;
  return attempt.cause === 'operator' || attempt.stages.some(({ state }) => state === 'failed');
}

/** The entry that asks for what was given up again, by the number of that attempt or of the latest one. */
function retryOf(context: Context, failed: Attempt): Operation | undefined {
  const latest = context.attempts.at(-1) ?? failed;
  return [failed, latest].flatMap((attempt) => operations(context, attempt, ['retry']))[0];
}

/** Rolled back, and not yet through: devices are on their way, or main does not agree. */
function isRestoring({ restored }: Attempt): boolean {
  if (restored === undefined) return false;
  return restored.completedAt === undefined || restored.main === 'pending' || restored.main === 'diverged';
}

/** Main wants what is known to be good. Only a wider condition makes work. */
function stepOnKnownGood(context: Context, latest: Attempt, knownGood: Attempt): Step {
  const { rollout, tally, attempts } = context;
  const since = attempts.filter((attempt) => attempt.attempt > knownGood.attempt);
  const abandoned = since.findLast((attempt) => attempt.stages.length > 0);
  if (abandoned !== undefined && abandoned.state !== 'rolledBack')
    return takeBack(context, abandoned, knownGood);
  const condition = canonical(rollout.condition);
  const isWider = condition !== canonical(knownGood.condition);
  const rolledBack = since.findLast((attempt) => attempt.state === 'rolledBack');
  // A widening that failed is undone while main wants just that; another condition is another wish.
  const isMoot =
    rolledBack?.excluding !== undefined && isWider && canonical(rolledBack.condition) !== condition;
  if (rolledBack !== undefined && isRestoring(rolledBack) && !isMoot) return stepRestore(context, rolledBack);
  if (isWider && tally.newcomers > 0) {
    const excluding = knownGood.condition;
    const failed = since.findLast((each) => wasGivenUp(each) && canonical(each.condition) === condition);
    if (failed === undefined) return create(context, { latest, excluding });
    const retry = retryOf(context, failed);
    if (retry !== undefined) return create(context, { retry, latest, excluding });
    return {
      kind: 'wait',
      reason: `widening to this condition failed in attempt ${failed.attempt}; change the condition, or ask for a retry`,
    };
  }
  return {
    kind: 'wait',
    reason:
      `known-good (attempt ${knownGood.attempt}) is in force: ${tally.healthy} of ${tally.actual} devices healthy` +
      `${tally.unhealthy > 0 ? `, ${tally.unhealthy} unhealthy` : ''}`,
  };
}

/** A commit wants known-good again: devices that got or kept the attempt's revision go back with it. */
function takeBack(context: Context, attempt: Attempt, knownGood: Attempt): Step {
  const { commit, snapshot } = context.input.desired;
  const back = end(context, attempt, 'rolledBack', 'reverted');
  return decide(
    'rollBack',
    'closes',
    { ...back, restored: { knownGood: identityOf(knownGood), main: 'agrees', commit, snapshot } },
    `attempt ${attempt.attempt} is taken back by a commit; known-good of attempt ${knownGood.attempt} returns`,
  );
}

function create(context: Context, from: { latest?: Attempt; retry?: Operation; excluding?: string }): Step {
  const { rollout, attempts, input } = context;
  const number = (from.latest?.attempt ?? 0) + 1;
  const first = attempts[0];
  const { desired, now, observed } = input;
  const attempt: Attempt = {
    rollout: rollout.name,
    attempt: number,
    revision: rollout.revision,
    manifest: rollout.manifest,
    snapshot: desired.snapshot,
    commit: desired.commit,
    condition: rollout.condition,
    ...(from.excluding === undefined ? {} : { excluding: from.excluding }),
    seed: rollout.seed ?? first?.seed ?? sha256Hex(`${observed.randomHex}\0${rollout.name}`).slice(0, 32),
    createdAt: now,
    state: 'ready',
    cause: 'created',
    stages: [],
    history: [{ at: now, state: 'ready', cause: 'created' }],
    appliedOperations: from.retry === undefined ? [] : [from.retry.id],
    learnings: '',
  };
  return decide(
    'create',
    'records',
    attempt,
    `attempt ${number} of ${rollout.manifest.distributionSet} is ready`,
  );
}

/** The attempt was rolled back: make main agree, and record when the last device is back. */
function stepRestore(context: Context, latest: Attempt): Step {
  const { rollout, knownGood, tally, input } = context;
  const { now, desired, observed } = input;
  const restored = latest.restored;
  assert(restored !== undefined, `${attemptKey(latest)} is rolled back without a record of its restoration`);

  const agrees =
    knownGood !== undefined &&
    rollout.revision === knownGood.revision &&
    (latest.excluding === undefined || canonical(rollout.condition) === canonical(knownGood.condition));
  const result = observed.restorations.get(attemptKey(latest));
  const main =
    restored.main === 'none' || restored.main === 'agrees'
      ? restored
      : agrees
        ? { ...restored, main: 'agrees' as const, commit: desired.commit, snapshot: desired.snapshot }
        : result?.kind === 'diverged'
          ? {
              ...restored,
              main: 'diverged' as const,
              ...(result.branch === undefined ? {} : { branch: result.branch }),
            }
          : restored;
  const rolledBackAt = latest.history.at(-1)?.at ?? now;
  const complete =
    tally.onWithdrawn === 0 && restored.completedAt === undefined
      ? { ...main, completedAt: now, timeToRestoreMs: now - rolledBackAt }
      : main;
  const isNews = complete.main !== restored.main || complete.branch !== restored.branch;
  if (isNews || (complete.completedAt !== restored.completedAt && complete.main !== 'pending')) {
    const how =
      complete.timeToRestoreMs !== undefined && restored.completedAt === undefined
        ? `every device has left the failed revision, ${formatDuration(complete.timeToRestoreMs)} after the decision`
        : complete.main === 'diverged'
          ? 'main could not be restored'
          : 'main wants known-good again';
    const because = complete.main === 'diverged' && result?.kind === 'diverged' ? result.reason : undefined;
    return decide('recordRestored', 'records', { ...latest, restored: complete }, how, because);
  }
  return {
    kind: 'wait',
    reason:
      restored.main === 'diverged'
        ? `rolled back; main still wants the failed revision: ${
            restored.branch === undefined ? 'revert it by hand' : `merge the branch ${restored.branch}`
          }`
        : knownGood === undefined
          ? 'rolled back without a known-good: devices keep what they run; change what is installed, or ask for a retry'
          : `rolled back to attempt ${knownGood.attempt}; ${tally.onWithdrawn} devices have yet to leave the failed revision`,
    ...(complete.main === 'pending' && knownGood !== undefined
      ? { restore: { rollout: rollout.name, attempt: latest, knownGood } }
      : {}),
  };
}

// ---- An attempt is under way ------------------------------------------------------------------------------------

function stepActive(context: Context, latest: Attempt): Step {
  return (
    wantedOtherwise(context, latest) ??
    obeyOperators(context, latest) ??
    stopOnFailures(context, latest) ??
    (latest.state === 'paused' ? waitPaused(latest) : advance(context, latest))
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
    return decide('recordLearnings', 'records', applied(wishes, latest), `nothing to ${wish.action}`);
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
    const tally = context.tally.stages[index] ?? emptyStageTally();
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

/** Ends the attempt, perhaps before its last stage: what that one has seen until now goes into the outcome. */
function end(context: Context, attempt: Attempt, to: RolloutState, cause: Cause): Attempt {
  const at = context.input.now;
  // The counts at hand are those of the attempt under way, never of one that ended before.
  if (isFinished(attempt)) return enter(attempt, to, { cause, at });
  const because = `the attempt ended ${to} while the stage was running`;
  const stages = attempt.stages.map((stage, index): StageOutcome => {
    if (stage.state !== 'running') return stage;
    const tally = context.tally.stages[index] ?? emptyStageTally();
    const verdict = verdictOf(stage, tally, { at, verdict: 'undecided', because, silent: [] });
    return { ...stage, verdict, closedAt: at };
  });
  return enter({ ...attempt, stages }, to, { cause, at });
}

function failStage(context: Context, latest: Attempt, index: number, because: string): Attempt {
  const stage = latest.stages[index];
  assert(stage !== undefined, `${attemptKey(latest)}: stage ${index} failed without being open`);
  if (stage.state === 'failed') return latest;
  const tally = context.tally.stages[index] ?? emptyStageTally();
  const at = context.input.now;
  const verdict = verdictOf(stage, tally, { at, verdict: 'halt', because, silent: [] });
  return enterStage(latest, index, 'failed', { verdict, closedAt: at });
}

function waitPaused(latest: Attempt): Step {
  const last = latest.history.at(-1);
  const stage = latest.stages.findLast((each) => each.state === 'failed') ?? latest.stages.at(-1);
  const because: Partial<Record<Cause, string>> = {
    suspended: 'spec.suspend is true; take it away to go on',
    operator: 'an operator paused it; resume to go on',
    stuck: `${stage?.verdict?.because ?? 'it was undecided for too long'}; resume, cancel or revert`,
    errorThreshold: `${stage?.verdict?.because ?? 'too many devices failed'}; resume, cancel or revert`,
  };
  return {
    kind: 'wait',
    reason: `paused: ${because[last?.cause ?? latest.cause] ?? latest.cause}`,
    ...(stage === undefined ? {} : { stage: stage.name }),
  };
}

/** Running, ready or waiting for approval: the stage at hand passes, or the next one opens, or there is a reason. */
function advance(context: Context, latest: Attempt): Step {
  const index = latest.stages.length - 1;
  const stage = latest.stages[index];
  if (stage !== undefined && stage.state === 'running') return judge(context, latest, index, stage);
  if (stage?.size === 'all') return succeed(context, latest);
  return openNext(context, latest);
}

function judge(context: Context, latest: Attempt, index: number, stage: StageOutcome): Step {
  const tally = context.tally.stages[index] ?? emptyStageTally();
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
  const tally = context.tally.stages[index] ?? emptyStageTally();
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

// ---- Opening a stage --------------------------------------------------------------------------------------------

function openNext(context: Context, latest: Attempt): Step {
  const { rollout, input } = context;
  const index = latest.stages.length;
  const stage = rollout.stages[index];
  if (stage === undefined) {
    const reason = 'every declared stage has passed and none takes in all devices; add a stage of size "all"';
    return { kind: 'wait', reason };
  }
  const held = whyHeld(context, latest, stage);
  if (held !== undefined) return held;

  const want: Want = {
    kind: 'population',
    rollout: rollout.name,
    attempt: latest.attempt,
    stage: index,
    condition: rollout.condition,
    ...(latest.excluding === undefined ? {} : { excluding: latest.excluding }),
    seed: latest.seed,
    unit: stage.unit,
    stratifyBy: stage.stratifyBy,
  };
  const answer = input.observed.answers.get(wantKey(want));
  if (answer?.kind !== 'population') {
    return { kind: 'wait', stage: stage.name, reason: 'its devices are being counted', want };
  }
  if (answer.units.length === 0) {
    const what = stage.unit === 'device' ? 'enrolled device' : `value of the tag ${stage.unit}`;
    return { kind: 'wait', stage: stage.name, reason: `no ${what} matches the target condition yet` };
  }
  const resolved = resolveStage(stage, answer.units);
  const opened: StageOutcome = {
    name: stage.name,
    state: 'running',
    openedAt: input.now,
    epoch: input.observed.epoch,
    condition: rollout.condition,
    unit: stage.unit,
    size: formatSize(stage.size),
    ...resolved,
    successThreshold: stage.successThreshold,
    errorThreshold: stage.errorThreshold,
    soakMs: stage.soakMs,
    minExposureHours: stage.minExposureHours,
    stuckAfterMs: stage.stuckAfterMs,
    gates: rollout.gates.filter((gate) => stage.gates.includes(gate.name)),
  };
  const withStage: Attempt = {
    ...applied(approvalsOf(context, latest, stage), latest),
    condition: rollout.condition,
    stages: [...latest.stages, opened],
  };
  const cause: Cause = latest.state === 'waitingForApproval' ? 'approved' : 'started';
  const running =
    latest.state === 'running' ? withStage : enter(withStage, 'running', { cause, at: input.now });
  const made = decision(
    'openStage',
    'opens',
    running,
    `stage ${stage.name} opens for ${describe(resolved, stage)}`,
  );
  return { kind: 'decide', decision: { ...made, stage: stage.name } };
}

/** Why the next stage may not open now, whoever would be in it. */
function whyHeld(context: Context, latest: Attempt, stage: Stage): Step | undefined {
  const { rollout, input } = context;
  const { now, desired, observed } = input;
  const wait = (reason: string, until?: Instant): Step => ({
    kind: 'wait',
    stage: stage.name,
    reason,
    ...(until === undefined ? {} : { until }),
  });
  if (latest.stages.length === 0) {
    if (rollout.start.kind === 'manual') return wait('start is manual; set start: onMerge to begin');
    if (rollout.start.kind === 'at' && now < rollout.start.at) {
      return wait(`starts at ${formatInstant(rollout.start.at)}`, rollout.start.at);
    }
  }
  if (rollout.suspend) return wait('spec.suspend is true; take it away to go on');
  const said = operations(context, latest, ['pause', 'resume']).at(-1);
  if (said?.action === 'pause') return wait(`paused by ${said.by}; resume to go on`);
  const { freeze } = desired.fleet;
  if (freeze !== undefined && now < freeze.until && !freeze.except.includes(rollout.name)) {
    return wait(`the fleet is frozen until ${formatInstant(freeze.until)}`, freeze.until);
  }
  const given = new Set(approvalsOf(context, latest, stage).map((entry) => entry.by)).size;
  if (given < stage.approvals) {
    if (latest.state !== 'waitingForApproval') {
      const asked = enter(latest, 'waitingForApproval', { cause: 'approvalNeeded', at: now });
      return decide(
        'askApproval',
        'records',
        asked,
        `stage ${stage.name} waits for ${stage.approvals} approvals`,
      );
    }
    return wait(`${given} of ${stage.approvals} approvals given`);
  }
  if (observed.held !== undefined) return wait(observed.held);
  return undefined;
}

function approvalsOf(context: Context, latest: Attempt, stage: Stage): readonly Operation[] {
  return operations(context, latest, ['approve']).filter((entry) => entry.stage === stage.name);
}

function describe(resolved: { units: number; devices: number }, stage: Stage): string {
  const devices = `${resolved.devices} ${resolved.devices === 1 ? 'device' : 'devices'}`;
  if (stage.unit === 'device') return devices;
  return `${resolved.units} ${stage.unit}${resolved.units === 1 ? '' : 's'} with ${devices}`;
}

// ---- Around the walk --------------------------------------------------------------------------------------------

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
    const seen = tally?.stages[index] ?? emptyStageTally();
    if (stage.state !== 'running' || !meetsSuccess(stage, seen)) return [];
    const key = stageKey(latest, index);
    return [[key, input.observed.soaks.get(key) ?? input.now]];
  });
}

/** The entries of `ops/` for this attempt with one of these actions, oldest first. */
function operations(
  context: Context,
  latest: Attempt,
  actions: readonly Operation['action'][],
): readonly Operation[] {
  return context.operations.filter(
    (entry) => actions.includes(entry.action) && entry.attempt === latest.attempt,
  );
}

/** The attempt with the entries marked as done, so that no later pass applies them again. */
function applied(entries: readonly Operation[], attempt: Attempt): Attempt {
  return {
    ...attempt,
    appliedOperations: [...attempt.appliedOperations, ...entries.map((entry) => entry.id)],
  };
}

function decide(
  kind: Decision['kind'],
  effect: Decision['effect'],
  attempt: Attempt,
  text: string,
  because?: string,
): Step {
  return { kind: 'decide', decision: decision(kind, effect, attempt, text, because) };
}

function decision(
  kind: Decision['kind'],
  effect: Decision['effect'],
  attempt: Attempt,
  text: string,
  because?: string,
): Decision {
  const made = { kind, effect, attempt, summary: `${attempt.rollout}: ${text}` };
  return because === undefined ? made : { ...made, because };
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

function identityOf(attempt: Attempt) {
  const { attempt: number, revision, snapshot, commit } = attempt;
  return { attempt: number, revision, snapshot, commit };
}

function canonical(condition: string): string {
  return compileCondition(condition).canonical;
}
