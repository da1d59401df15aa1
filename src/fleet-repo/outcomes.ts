/**
 * The branch `outcomes`: the record of what was decided, and the write-ahead log. A decision is a commit on exactly
 * the tip it was planned from; whoever loses that race plans anew, so the branch itself is the fence between replicas.
 */
import type { RolloutName } from '../core/model/ids.ts';
import type { Attempt, Outcomes } from '../core/model/outcome.ts';
import type { Instant } from '../core/model/time.ts';
import type { Decision } from '../core/plan/contract.ts';
import { decodeOutcome, encodeOutcome, outcomePath } from '../documents/outcome.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Git, MoveResult, NewCommit, Oid, TreeEntry } from '../git/git.ts';
import { readFiles, withChanges } from '../git/tree.ts';

export const OUTCOMES_BRANCH = 'outcomes';

/** Attempts by the id of the blob they were read from: blobs never change, so this is read once. */
export type OutcomeCache = Map<Oid, Attempt>;

/** Every attempt recorded at `tip`. Throws {@link GitObjectError} where a document cannot be read: nothing may be guessed. */
export async function readOutcomes(git: Git, tip: Oid | undefined, cache: OutcomeCache): Promise<Outcomes> {
  if (tip === undefined) return new Map();
  const { tree } = await git.commit(tip);
  const rollouts = new Map<RolloutName, Attempt[]>();
  const seen = new Set<Oid>();
  for (const file of await readFiles(git, tree, 'rollouts')) {
    if (!file.path.endsWith('.yaml')) continue;
    seen.add(file.oid);
    const attempt = cache.get(file.oid) ?? (await readAttempt(git, file));
    cache.set(file.oid, attempt);
    const attempts = rollouts.get(attempt.rollout) ?? [];
    attempts.push(attempt);
    rollouts.set(attempt.rollout, attempts);
  }
  for (const blob of cache.keys()) if (!seen.has(blob)) cache.delete(blob);
  for (const attempts of rollouts.values()) attempts.sort((a, b) => a.attempt - b.attempt);
  return rollouts;
}

async function readAttempt(git: Git, file: { path: string; oid: Oid }): Promise<Attempt> {
  const decoded = decodeOutcome(new TextDecoder().decode(await git.blob(file.oid)));
  if (!decoded.ok) {
    throw new GitObjectError(
      file.oid,
      `${OUTCOMES_BRANCH}:${file.path}: ${decoded.message}; restore the branch to a commit that Tidegate wrote`,
    );
  }
  return decoded.attempt;
}

/**
 * Commits decisions, one commit each, as one move of the branch from `tip`. The tip after it, or what kept the branch
 * from moving; then nothing is recorded.
 */
export async function recordDecisions(
  git: Git,
  given: {
    tip: Oid | undefined;
    decisions: readonly Decision[];
    at: Instant;
    /** The version that the program will have with them in it. */
    epoch: number;
    flagsVersion: number;
    /** The commit of main that was in force. */
    inForce?: Oid;
    sign?: NewCommit['sign'];
    /** Called when every object is written and no branch has moved yet. */
    onWritten?: () => void;
  },
): Promise<{ kind: 'recorded'; tip: Oid; commits: readonly Oid[] } | Exclude<MoveResult, { kind: 'moved' }>> {
  const { tip, decisions, at } = given;
  let parent = tip;
  const commits: Oid[] = [];
  for (const decision of decisions) {
    const base = parent === undefined ? undefined : (await git.commit(parent)).tree;
    const changes = new Map<string, Omit<TreeEntry, 'name'>>();
    const content = new TextEncoder().encode(encodeOutcome(decision.attempt));
    changes.set(outcomePath(decision.attempt), { mode: '100644', oid: await git.writeBlob(content) });
    if (decision.kind === 'succeed') {
      // Linked from here, the known-good tree survives force-pushes of main and garbage collection.
      const { rollout, snapshot } = decision.attempt;
      changes.set(`known-good/${rollout}`, { mode: '040000', oid: snapshot });
    }
    const tree = await withChanges(git, base, changes);
    parent = await git.writeCommit({
      tree,
      parents: parent === undefined ? [] : [parent],
      message: messageOf(decision, given),
      at,
      ...(given.sign === undefined ? {} : { sign: given.sign }),
    });
    commits.push(parent);
  }
  if (parent === undefined) throw new Error('no decisions to record');
  given.onWritten?.();
  const moved = await git.moveBranch({ branch: OUTCOMES_BRANCH, from: tip, to: parent });
  return moved.kind === 'moved' ? { kind: 'recorded', tip: parent, commits } : moved;
}

function messageOf(
  decision: Decision,
  { epoch, flagsVersion, inForce }: { epoch: number; flagsVersion: number; inForce?: Oid },
): string {
  const { kind, attempt, summary, because, stage, verdict } = decision;
  const trailers = [
    `Decision: ${kind}`,
    `Snapshot: ${attempt.snapshot}`,
    `Desired-Commit: ${attempt.commit}`,
    `Rollout: ${attempt.rollout}`,
    `Attempt: ${attempt.attempt}`,
    `Revision: ${attempt.revision}`,
    ...(stage === undefined ? [] : [`Stage: ${stage}`]),
    ...(verdict === undefined ? [] : [`Verdict: ${verdict}`]),
    ...(inForce === undefined ? [] : [`In-Force-Commit: ${inForce}`]),
    `Flags-Version: ${flagsVersion}`,
    `Epoch: ${epoch}`,
  ];
  return `${[summary, ...(because === undefined ? [] : [because]), trailers.join('\n')].join('\n\n')}\n`;
}
