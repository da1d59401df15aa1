/**
 * A stage is too bad: what is done about it, and what becomes of it. Evidence or a threshold says that it is; the rung of the ladder says
 * how bad, and what follows: it is only noted, nothing new is offered (`paused`; `monitoring` where it may well go on), or devices
 * return. A pause waits for its owner until its deadline. Then what was seen since it began decides: nothing wrong, and it goes on slowly;
 * anything else, or nothing seen at all, and devices return and the revision is quarantined.
 */
import type { GateReading } from '../gates/reading.ts';
import { ladderOf, rungOf, STANDARD_LADDER } from '../gates/severity.ts';
import type { BreachAction, Gate, Rung } from '../model/gate.ts';
import type { Attempt, Breach, Cause, StageOutcome } from '../model/outcome.ts';
import { formatDuration, formatInstant, HOUR, type Instant } from '../model/time.ts';
import { type Decision, type Want, wantKey } from './contract.ts';
import { end, failStage } from './ending.ts';
import { readingsOf, watchedAnew } from './gates.ts';
import { judgeFailures } from './judge.ts';
import { enter, enterStage } from './lifecycle.ts';
import type { Reminder } from './reminder.ts';
import { identityOf } from './restoration.ts';
import { type Context, decide, decision, judgedStage, type Step, stageTally } from './step.ts';
import { verdictOn } from './verdict.ts';

/** What is too much now. */
interface Found {
  readonly index: number;
  readonly rung: Rung;
  readonly because: string;
  readonly ratio?: number;
  /** Absent: the error threshold. */
  readonly gate?: string;
  readonly readings: readonly GateReading[];
}

const WEIGHT: Readonly<Record<BreachAction, number>> = { continue: 0, monitor: 1, pause: 2, rollBack: 3 };

/** The worst of what is too much; devices of every open stage are judged, those of stages that passed included. */
function worstOf(context: Context, latest: Attempt): Found | undefined {
  const last = latest.stages.length - 1;
  const readings = readingsOf(context, latest, last);
  const found: Found[] = latest.stages.flatMap((stage, index): Found[] => {
    const tally = stageTally(context.tally, index);
    const breach = judgeFailures(judgedStage(stage, tally), tally);
    if (breach === undefined) return [];
    const rung = rungOf(STANDARD_LADDER, breach.ratio);
    // Devices that failed have failed: there is nothing to watch.
    const action = rung.action === 'monitor' ? 'pause' : rung.action;
    return [{ ...breach, index, rung: { ...rung, action }, readings }];
  });
  for (const { name, state, because, ratio } of readings) {
    const gate = latest.stages[last]?.gates.find((each) => each.name === name);
    if (state !== 'halts' || gate === undefined) continue;
    const rung = rungOf(ladderOf(gate), ratio);
    found.push({
      index: last,
      rung,
      because: `gate ${name}: ${because}`,
      gate: name,
      readings,
      ...(ratio === undefined ? {} : { ratio }),
    });
  }
  const asked = found.map((each) => ({ ...each, rung: asWished(context, each.rung) }));
  return asked.sort((a, b) => WEIGHT[b.rung.action] - WEIGHT[a.rung.action] || b.rung.from - a.rung.from)[0];
}

/** `onFailure` knows better than the ladder, where it is not `ladder`. */
function asWished({ rollout }: Context, rung: Rung): Rung {
  if (rollout.onFailure === 'ladder' || rung.action === 'continue') return rung;
  return { ...rung, action: rollout.onFailure === 'rollback' ? 'rollBack' : 'pause' };
}

const HELD: ReadonlySet<Attempt['state']> = new Set(['paused', 'monitoring']);

/** A held attempt can only get worse. */
export function stopOnBreach(context: Context, latest: Attempt): Step | undefined {
  const found = worstOf(context, latest);
  if (found === undefined) return undefined;
  const { action } = found.rung;
  if (action === 'rollBack')
    return rollBack(context, latest, found, found.gate === undefined ? 'errorThreshold' : 'gate');
  if (action === 'continue') return note(context, latest, found);
  return HELD.has(latest.state) ? undefined : hold(context, latest, found);
}

function breachOf({ rollout, input }: Context, found: Found): Breach {
  const { rung, because, gate, ratio } = found;
  const isDecided = rung.action === 'rollBack' || rollout.onFailure === 'ladder';
  return {
    at: input.now,
    ...(gate === undefined ? {} : { gate }),
    severity: rung.severity,
    action: rung.action,
    ...(ratio === undefined || !Number.isFinite(ratio) ? {} : { ratio }),
    because,
    owner: rollout.owner,
    ...(rollout.runbook === undefined ? {} : { runbook: rollout.runbook }),
    ...(isDecided ? { decideBy: input.now + rung.withinMs } : {}),
  };
}

export function rollBack(context: Context, latest: Attempt, found: Found, cause: Cause): Step {
  const { knownGood } = context;
  const { index, because, readings } = found;
  const failed = failStage(context, latest, index, { because, readings });
  const back = end(context, failed, 'rolledBack', cause);
  const restored =
    knownGood === undefined
      ? ({ main: 'none' } as const)
      : ({ main: 'pending', knownGood: identityOf(knownGood) } as const);
  const to =
    knownGood === undefined ? 'offers are withdrawn' : `back to known-good of attempt ${knownGood.attempt}`;
  // What was decided about before keeps its clusters: they are why.
  const { clusters } = latest.breach ?? {};
  const breach = { ...breachOf(context, found), ...(clusters === undefined ? {} : { clusters }) };
  const text = `attempt ${latest.attempt} failed, ${to}`;
  const made = decision('rollBack', 'closes', { ...back, restored, breach }, text, because);
  return { kind: 'decide', decision: { ...made, stage: latest.stages[index]?.name ?? '', verdict: 'halt' } };
}

function hold(context: Context, latest: Attempt, found: Found): Step {
  const { index, because, readings, rung, gate } = found;
  const cause: Cause = gate === undefined ? 'errorThreshold' : 'gate';
  const failed = failStage(context, latest, index, { because, readings });
  const watched = gate === undefined ? failed : watchAnew(context, failed);
  const to = rung.action === 'monitor' ? 'monitoring' : 'paused';
  const held = enter(watched, to, { cause, at: context.input.now });
  const breach = breachOf(context, found);
  const by =
    breach.decideBy === undefined ? '' : `, ${breach.owner} decides by ${formatInstant(breach.decideBy)}`;
  const text = `attempt ${latest.attempt} is ${to === 'paused' ? 'paused' : 'held and watched'} (${breach.severity})${by}`;
  const made = decision('pause', 'closes', { ...held, breach }, text, because);
  return { kind: 'decide', decision: { ...made, stage: latest.stages[index]?.name ?? '', verdict: 'halt' } };
}

/** The gates of the last stage count from now on. */
export function watchAnew(context: Context, attempt: Attempt): Attempt {
  const index = attempt.stages.length - 1;
  const stage = attempt.stages[index];
  if (stage === undefined) return attempt;
  const changed: StageOutcome = { ...stage, watch: watchedAnew(context, attempt, stage) };
  return { ...attempt, stages: attempt.stages.with(index, changed) };
}

/** It goes on, and somebody looks at it in time. Said once per gate. */
function note(context: Context, latest: Attempt, found: Found): Step | undefined {
  const { gate = '', because, rung } = found;
  const known = latest.concerns ?? [];
  if (known.some((concern) => concern.gate === gate)) return undefined;
  const { now } = context.input;
  const concern = { at: now, gate, severity: rung.severity, because, reviewBy: now + rung.withinMs };
  const text = `attempt ${latest.attempt} goes on with a concern, to be looked at by ${formatInstant(concern.reviewBy)}`;
  return decide('recordConcern', 'records', { ...latest, concerns: [...known, concern] }, text, because);
}

/** Nobody has decided in time. */
export function decideAtDeadline(context: Context, latest: Attempt): Step | undefined {
  const { breach } = latest;
  const { now } = context.input;
  if (!isAwaited(latest) || breach?.decideBy === undefined || now < breach.decideBy) return undefined;
  const index = latest.stages.length - 1;
  const readings = readingsOf(context, latest, index);
  const unstable = whyUnstable(context, latest, readings);
  const late = `nobody decided within ${formatDuration(breach.decideBy - breach.at)}`;
  if (unstable === undefined) {
    const because = `${late}, and nothing was wrong since: it goes on slowly`;
    return resume(context, latest, { cause: 'deadline', because });
  }
  const rung = { from: 0, severity: breach.severity, action: 'rollBack', withinMs: 4 * HOUR } as const;
  const because = `${late}, and ${unstable}; before: ${breach.because}`;
  return rollBack(
    context,
    latest,
    { index, rung, because, readings, ...(breach.gate === undefined ? {} : { gate: breach.gate }) },
    'deadline',
  );
}

/** Held by a breach, so that a deadline runs; who paused it otherwise says themselves when it goes on. */
function isAwaited({ state, cause }: Attempt): boolean {
  return HELD.has(state) && (cause === 'gate' || cause === 'errorThreshold');
}

/** Why what was seen since the breach is no reason to go on. */
function whyUnstable(
  context: Context,
  latest: Attempt,
  readings: readonly GateReading[],
): string | undefined {
  for (const [index, stage] of latest.stages.entries()) {
    const tally = stageTally(context.tally, index);
    const failures = judgeFailures(judgedStage(stage, tally), tally);
    if (failures !== undefined) return failures.because;
  }
  const gates = latest.stages.at(-1)?.gates ?? [];
  const own = gates.find(({ name }) => name === latest.breach?.gate);
  if (own?.kind === 'share' && own.of !== 'silent') {
    return `gate ${own.name}: while nothing is offered nobody new tries, so nothing speaks for it`;
  }
  const bad =
    readings.find(({ state }) => state === 'halts') ??
    readings.find(({ name, state }) => state === 'missing' && !isForPeople(gates, name));
  return bad === undefined ? undefined : `gate ${bad.name}: ${bad.because}`;
}

/** People approve a stage, not a pause. */
function isForPeople(gates: readonly Gate[], name: string): boolean {
  return gates.find((each) => each.name === name)?.kind === 'approval';
}

/** Goes on. What has been seen, and resumed in spite of, does not halt a second time. */
export function resume(
  context: Context,
  latest: Attempt,
  why: { cause: 'resumed' | 'deadline'; because: string },
): Step {
  const last = latest.stages.length - 1;
  const forgiven = latest.stages.reduce((attempt, stage, index) => {
    const failed = context.tally.stages[index]?.counts.failed ?? 0;
    const tolerated = { tolerated: Math.max(stage.tolerated ?? 0, failed) };
    if (stage.state !== 'failed') return attempt;
    return enterStage(attempt, index, index === last ? 'running' : 'passed', tolerated);
  }, latest);
  const running = enter(watchAnew(context, forgiven), 'running', { cause: why.cause, at: context.input.now });
  const how = why.cause === 'deadline' ? ' slowly' : '';
  return decide('resume', 'opens', running, `attempt ${latest.attempt} is resumed${how}`, why.because);
}

/** Where the failures are is looked up once, after the halt: looking through the fleet takes longer than stopping. */
export function findClusters(context: Context, latest: Attempt): Step | undefined {
  const { breach } = latest;
  if (breach === undefined || breach.clusters !== undefined || !isAwaited(latest)) return undefined;
  const gate = latest.stages.at(-1)?.gates.find(({ name }) => name === breach.gate);
  const want: Want = {
    kind: 'clusters',
    rollout: latest.rollout,
    attempt: latest.attempt,
    ...(gate?.kind === 'events' ? { event: gate.event } : {}),
  };
  const answer = context.input.observed.answers.get(wantKey(want));
  if (answer?.kind !== 'clusters')
    return { kind: 'wait', reason: 'where the failures are is being looked up', want };
  const [first] = answer.clusters;
  const text =
    first === undefined
      ? `attempt ${latest.attempt}: no tag tells the failures apart`
      : `attempt ${latest.attempt}: ${first.failed} of ${first.devices} devices with ${first.tag} ${first.value} are affected`;
  return decide(
    'recordClusters',
    'records',
    { ...latest, breach: { ...breach, clusters: answer.clusters } },
    text,
  );
}

/** The record remembers evidence that has grown half way (in its logarithm) to a halt: a store that is lost costs no more. */
export function checkpoint(context: Context, latest: Attempt): Step | undefined {
  const index = latest.stages.length - 1;
  const stage = latest.stages[index];
  if (stage === undefined || stage.state !== 'running' || stage.verdict !== undefined) return undefined;
  const readings = readingsOf(context, latest, index);
  const grown = readings.find(({ logEvidence = 0 }) => logEvidence >= -Math.log(stage.alpha) / 2);
  if (grown === undefined) return undefined;
  const because = `gate ${grown.name} is half way to a halt: ${grown.because}`;
  const verdict = verdictOn(context, latest, index, { verdict: 'undecided', because, readings });
  const marked = { ...latest, stages: latest.stages.with(index, { ...stage, verdict }) };
  const made = decision(
    'recordEvidence',
    'records',
    marked,
    `stage ${stage.name} has evidence against it`,
    because,
  );
  return { kind: 'decide', decision: { ...made, stage: stage.name } satisfies Decision };
}

/** What owners have to be told of the deadline now. */
export function remindersOf(context: Context, latest: Attempt | undefined): readonly Reminder[] {
  const breach = latest?.breach;
  if (latest === undefined || breach?.decideBy === undefined) return [];
  const isReturning =
    latest.state === 'rolledBack' &&
    latest.restored !== undefined &&
    latest.restored.completedAt === undefined;
  if (!isAwaited(latest) && !isReturning) return [];
  const { at, decideBy } = breach;
  const { now } = context.input;
  const consequence = isReturning
    ? 'devices that were rolled back should all have returned by then'
    : 'without a decision it goes on slowly if nothing is wrong since, and is rolled back and quarantined otherwise';
  const stage = latest.stages.at(-1)?.name;
  const total = decideBy - at;
  // Half of the time, an hour, and none is left; a deadline that is near from the start needs no second word.
  const steps = isReturning ? [0] : total > 2 * HOUR ? [total / 2, HOUR] : [];
  return steps
    .filter((remainingMs) => decideBy - remainingMs <= now && (remainingMs === 0 || now < decideBy))
    .map((remainingMs) => ({
      rollout: latest.rollout,
      attempt: latest.attempt,
      ...(stage === undefined ? {} : { stage }),
      deadlineAt: decideBy,
      remainingMs,
      consequence,
    }));
}

/** When the deadline comes, so that the next plan is made then. */
export function deadlineOf(latest: Attempt): Instant | undefined {
  return isAwaited(latest) ? latest.breach?.decideBy : undefined;
}
