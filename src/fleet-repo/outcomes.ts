/**
 * The branch `outcomes`: the record of what was decided, and the write-ahead log. A decision is a commit on exactly
 * the tip it was planned from; whoever loses that race plans anew, so the branch itself is the fence between replicas.
 */
import type { Census } from '../core/model/census.ts';
import type { CommitId, RolloutName, SnapshotId } from '../core/model/ids.ts';
import type { Attempt, Outcomes } from '../core/model/outcome.ts';
import type { Instant } from '../core/model/time.ts';
import type { Decision } from '../core/plan/contract.ts';
import { CENSUS_PATH, decodeCensus, encodeCensus } from '../documents/census.ts';
import { decodeOutcome, encodeOutcome, outcomePath } from '../documents/outcome.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Git, MoveResult, NewCommit, Oid, TreeEntry } from '../git/git.ts';
import { entryAt, readFiles, withChanges } from '../git/tree.ts';

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

/** The last census that was recorded; undefined where there is none, or none that can be read. */
export async function readCensus(git: Git, tip: Oid | undefined): Promise<Census | undefined> {
  if (tip === undefined) return undefined;
  const file = await entryAt(git, (await git.commit(tip)).tree, CENSUS_PATH);
  if (file === undefined) return undefined;
  const decoded = decodeCensus(new TextDecoder().decode(await git.blob(file.oid)));
  return decoded.ok ? decoded.census : undefined;
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
    /** Goes with the last decision; where nothing was decided, it is a commit of its own. */
    census?:
      | { readonly census: Census; readonly snapshot: SnapshotId; readonly commit: CommitId }
      | undefined;
    sign?: NewCommit['sign'];
    /** Called when every object is written and no branch has moved yet. */
    onWritten?: () => void;
  },
): Promise<{ kind: 'recorded'; tip: Oid; commits: readonly Oid[] } | Exclude<MoveResult, { kind: 'moved' }>> {
  const { tip, decisions, at, census } = given;
  let parent = tip;
  const commits: Oid[] = [];

  async function commit(changes: Map<string, Omit<TreeEntry, 'name'>>, message: string): Promise<void> {
    const base = parent === undefined ? undefined : (await git.commit(parent)).tree;
    const tree = await withChanges(git, base, changes);
    const parents = parent === undefined ? [] : [parent];
    parent = await git.writeCommit({
      tree,
      parents,
      message,
      at,
      ...(given.sign === undefined ? {} : { sign: given.sign }),
    });
    commits.push(parent);
  }

  const file = async (text: string) => ({
    mode: '100644',
    oid: await git.writeBlob(new TextEncoder().encode(text)),
  });
  for (const decision of decisions) {
    const changes = new Map<string, Omit<TreeEntry, 'name'>>();
    changes.set(outcomePath(decision.attempt), await file(encodeOutcome(decision.attempt)));
    if (decision.kind === 'succeed') {
      // Linked from here, the known-good tree survives force-pushes of main and garbage collection.
      const { rollout, snapshot } = decision.attempt;
      changes.set(`known-good/${rollout}`, { mode: '040000', oid: snapshot });
    }
    if (census !== undefined && decision === decisions.at(-1))
      changes.set(CENSUS_PATH, await file(encodeCensus(census.census)));
    await commit(changes, messageOf(decision, given));
  }
  if (census !== undefined && decisions.length === 0) {
    const changes = new Map([[CENSUS_PATH, await file(encodeCensus(census.census))]]);
    await commit(changes, censusMessage(census, given));
  }
  if (parent === undefined) throw new Error('no decisions to record');
  given.onWritten?.();
  const moved = await git.moveBranch({ branch: OUTCOMES_BRANCH, from: tip, to: parent });
  return moved.kind === 'moved' ? { kind: 'recorded', tip: parent, commits } : moved;
}

interface Reached {
  readonly epoch: number;
  readonly flagsVersion: number;
  readonly inForce?: Oid;
}

/** What every commit of ours ends with: how far the store was. */
function reachedTrailers({ epoch, flagsVersion, inForce }: Reached): readonly string[] {
  return [
    ...(inForce === undefined ? [] : [`In-Force-Commit: ${inForce}`]),
    `Flags-Version: ${flagsVersion}`,
    `Epoch: ${epoch}`,
  ];
}

function censusMessage(
  { census, snapshot, commit }: { census: Census; snapshot: SnapshotId; commit: CommitId },
  reached: Reached,
): string {
  const { devices } = census;
  const trailers = [`Snapshot: ${snapshot}`, `Desired-Commit: ${commit}`, ...reachedTrailers(reached)];
  return `census of ${devices} ${devices === 1 ? 'device' : 'devices'}\n\n${trailers.join('\n')}\n`;
}

function messageOf(decision: Decision, reached: Reached): string {
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
    ...reachedTrailers(reached),
  ];
  return `${[summary, ...(because === undefined ? [] : [because]), trailers.join('\n')].join('\n\n')}\n`;
}
