/**
 * The way back. A rollback takes effect with its decision; what remains is that main wants known-good again and that
 * the last device has left the failed revision, and both are recorded when they come true.
 */
import type { Attempt, Restored } from '../model/outcome.ts';
import { formatDuration } from '../model/time.ts';
import assert from './assert.ts';
import { attemptKey } from './contract.ts';
import { end } from './ending.ts';
import { type Context, canonical, decide, type Step } from './step.ts';

/** A commit wants known-good again: devices that got or kept the attempt's revision go back with it. */
export function takeBack(context: Context, attempt: Attempt, knownGood: Attempt): Step {
  const { commit, snapshot } = context.input.desired;
  const back = end(context, attempt, 'rolledBack', 'reverted');
  return decide(
    'rollBack',
    'closes',
    { ...back, restored: { knownGood: identityOf(knownGood), main: 'agrees', commit, snapshot } },
    `attempt ${attempt.attempt} is taken back by a commit; known-good of attempt ${knownGood.attempt} returns`,
  );
}

/** Rolled back, and not yet through: devices are on their way, or main does not agree. */
export function isRestoring({ restored }: Attempt): boolean {
  if (restored === undefined) return false;
  return restored.completedAt === undefined || restored.main === 'pending' || restored.main === 'diverged';
}

/** What there is to record of the restoration, or what it waits for. Main is asked to agree while it does not, and then people are. */
export function stepRestore(context: Context, attempt: Attempt): Step {
  const before = attempt.restored;
  assert(before !== undefined, `${attemptKey(attempt)} is rolled back without a record of its restoration`);
  const main = mainOf(context, attempt, before);
  const after = completionOf(context, attempt, main);
  // The last device may be back before main agrees; both are then recorded together.
  const isComplete = after.completedAt !== before.completedAt && after.main !== 'pending';
  if (main !== before || isComplete) {
    const { text, because } = newsOf(context, attempt, { before, after });
    return decide('recordRestored', 'records', { ...attempt, restored: after }, text, because);
  }
  const { knownGood, rollout } = context;
  const asksPeople =
    before.main === 'diverged' && before.branch !== undefined && before.pullRequest === undefined;
  const asks = before.main === 'pending' || asksPeople;
  return {
    kind: 'wait',
    reason: reasonOf(context, attempt, before),
    ...(asks && knownGood !== undefined ? { restore: { rollout: rollout.name, attempt, knownGood } } : {}),
  };
}

/** The record with what main says now; the same object where that is no news. */
function mainOf(context: Context, attempt: Attempt, before: Restored): Restored {
  if (before.main === 'none' || before.main === 'agrees') return before;
  const { rollout, knownGood, input } = context;
  const agrees =
    knownGood !== undefined &&
    rollout.revision === knownGood.revision &&
    (attempt.excluding === undefined || canonical(rollout.condition) === canonical(knownGood.condition));
  if (agrees) {
    const { commit, snapshot } = input.desired;
    return { ...before, main: 'agrees', commit, snapshot };
  }
  const result = input.observed.restorations.get(attemptKey(attempt));
  if (result?.kind !== 'diverged') return before;
  const { branch, pullRequest = before.pullRequest } = result;
  const isKnown = before.branch === branch && before.pullRequest === pullRequest;
  if (before.main === 'diverged' && isKnown) return before;
  return {
    ...before,
    main: 'diverged',
    ...(branch === undefined ? {} : { branch }),
    ...(pullRequest === undefined ? {} : { pullRequest }),
  };
}

/** The record with the time it took, once the last device has left the failed revision. */
function completionOf({ tally, input }: Context, attempt: Attempt, restored: Restored): Restored {
  if (tally.onWithdrawn > 0 || restored.completedAt !== undefined) return restored;
  const rolledBackAt = attempt.history.at(-1)?.at ?? input.now;
  return { ...restored, completedAt: input.now, timeToRestoreMs: input.now - rolledBackAt };
}

function newsOf(
  context: Context,
  attempt: Attempt,
  { before, after }: { before: Restored; after: Restored },
): { text: string; because?: string | undefined } {
  if (after.main === 'diverged' && before.main !== 'diverged') {
    const result = context.input.observed.restorations.get(attemptKey(attempt));
    const text = 'main could not be restored';
    return result?.kind === 'diverged' ? { text, because: result.reason } : { text };
  }
  if (after.pullRequest !== before.pullRequest) {
    return { text: 'a pull request asks to restore main', because: after.pullRequest };
  }
  if (after.completedAt === before.completedAt || after.timeToRestoreMs === undefined) {
    return { text: 'main wants known-good again' };
  }
  const took = formatDuration(after.timeToRestoreMs);
  return { text: `every device has left the failed revision, ${took} after the decision` };
}

function reasonOf(
  { knownGood, tally, input }: Context,
  attempt: Attempt,
  { main, branch, pullRequest }: Restored,
): string {
  if (main === 'diverged') {
    const how = branch === undefined ? 'revert it by hand' : `merge ${pullRequest ?? `the branch ${branch}`}`;
    const result = input.observed.restorations.get(attemptKey(attempt));
    const unopened =
      pullRequest === undefined && result?.kind === 'diverged' && result.unopened !== undefined
        ? `; there is no pull request: ${result.unopened}`
        : '';
    return `rolled back; main still wants the failed revision: ${how}${unopened}`;
  }
  if (knownGood === undefined) {
    return (
      'rolled back without a known-good: devices keep what they run; ' +
      'change what is installed, or ask for a retry'
    );
  }
  const { onWithdrawn } = tally;
  return `rolled back to attempt ${knownGood.attempt}; ${onWithdrawn} devices have yet to leave the failed revision`;
}

export function identityOf(attempt: Attempt) {
  const { attempt: number, revision, snapshot, commit } = attempt;
  return { attempt: number, revision, snapshot, commit };
}
