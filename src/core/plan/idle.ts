/** Nothing is under way: does a new attempt begin? */
import type { Operation } from '../model/desired.ts';
import { sha256Hex } from '../model/manifest.ts';
import { type Attempt, isFinished } from '../model/outcome.ts';
import { whyQuarantined } from './quarantine.ts';
import { isRestoring, stepRestore, takeBack } from './restoration.ts';
import { type Context, canonical, decide, operations, type Step } from './step.ts';

export function stepIdle(context: Context, latest: Attempt | undefined): Step {
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
export function wasGivenUp(attempt: Attempt): boolean {
  if (!isFinished(attempt) || attempt.state === 'succeeded') return false;
  return attempt.cause === 'operator' || attempt.stages.some(({ state }) => state === 'failed');
}

/** The entry that asks for what was given up again, by the number of that attempt or of the latest one. */
function retryOf(context: Context, failed: Attempt): Operation | undefined {
  const latest = context.attempts.at(-1) ?? failed;
  return [failed, latest].flatMap((attempt) => operations(context, attempt, ['retry']))[0];
}

/** Main wants what is known to be good. Only a wider condition makes work. */
function stepOnKnownGood(context: Context, latest: Attempt, knownGood: Attempt): Step {
  const { rollout, tally, attempts } = context;
  const since = attempts.filter((attempt) => attempt.attempt > knownGood.attempt);
  const abandoned = since.findLast((attempt) => attempt.stages.length > 0);
  if (abandoned !== undefined && abandoned.state !== 'rolledBack')
    return takeBack(context, abandoned, knownGood);
  const returned = returnCohort(rollout, { knownGood, since });
  if (returned !== undefined) return returned;
  const condition = canonical(rollout.condition);
  const isWider = condition !== canonical(knownGood.condition) || takesBackIn(rollout, knownGood);
  const rolledBack = since.findLast((attempt) => attempt.state === 'rolledBack');
  // A widening that failed is undone while main wants just that; another condition is another wish.
  const isMoot =
    rolledBack?.excluding !== undefined && isWider && canonical(rolledBack.condition) !== condition;
  if (rolledBack !== undefined && isRestoring(rolledBack) && !isMoot) return stepRestore(context, rolledBack);
  if (isWider && tally.newcomers > 0) {
    const excluding = coveredBy(knownGood);
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

/** Main excludes devices that known-good covers: they go back to what they had before it, at once. */
function returnCohort(
  { exclude }: Context['rollout'],
  { knownGood, since }: { readonly knownGood: Attempt; readonly since: readonly Attempt[] },
): Step | undefined {
  if (exclude === undefined) return undefined;
  // What was said of a later attempt, and is still in the file now that main went back, is not said of this one.
  const said = canonical(exclude);
  if (since.some((each) => each.exclude !== undefined && canonical(each.exclude) === said)) return undefined;
  const { exclude: before } = knownGood;
  const isKnown = before !== undefined && (canonical(before) === said || before.includes(`(${exclude})`));
  if (isKnown) return undefined;
  const both = before === undefined ? exclude : `(${before}) OR (${exclude})`;
  const text = `known-good of attempt ${knownGood.attempt} excludes ${exclude}: those devices return`;
  return decide('exclude', 'closes', { ...knownGood, exclude: both }, text);
}

/** Whether main does not exclude any more whom known-good did. */
function takesBackIn({ exclude }: Context['rollout'], knownGood: Attempt): boolean {
  if (knownGood.exclude === undefined) return false;
  return exclude === undefined || canonical(exclude) !== canonical(knownGood.exclude);
}

/** The devices that have what succeeded. */
function coveredBy({ condition, exclude }: Attempt): string {
  if (exclude === undefined) return condition;
  return condition.trim() === '*' ? `NOT (${exclude})` : `(${condition}) AND NOT (${exclude})`;
}

function create(context: Context, from: { latest?: Attempt; retry?: Operation; excluding?: string }): Step {
  const { rollout, attempts, input } = context;
  const quarantined =
    from.retry === undefined ? whyQuarantined(rollout.manifest, rollout.name, input.outcomes) : undefined;
  if (quarantined !== undefined) return { kind: 'wait', reason: quarantined };
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
    ...(rollout.exclude === undefined ? {} : { exclude: rollout.exclude }),
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
