/**
 * Follows main: which snapshot is wanted, and what is wrong with the newest one. A broken commit changes nothing that
 * is served: the last good snapshot stays in force, its problems are shown, and the next good commit is taken at once.
 */
import type { DesiredState, Operations } from '../core/model/desired.ts';
import type { CommitId } from '../core/model/ids.ts';
import type { Outcomes } from '../core/model/outcome.ts';
import {
  type DocumentCache,
  type LoadedState,
  loadingDesired,
  loadingOperations,
} from '../documents/load.ts';
import type { Problem } from '../documents/problem.ts';
import type { Policy } from '../documents/rules.ts';
import type { Origins } from '../fleet-repo/origins.ts';
import { readDocuments, snapshotAt } from '../fleet-repo/snapshot.ts';
import { type ReadTrust, readTrust } from '../fleet-repo/trust.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Commit, Git } from '../git/git.ts';
import { firstParentLog } from '../git/tree.ts';
import { inTurns } from '../turns.ts';
import { withSigners } from './approvals.ts';
import { changedSets } from './changed-sets.ts';
import { acceptedCommit, type CommitPolicy } from './commit-policy.ts';
import { frozenStages } from './frozen-stages.ts';
import { mootOperations } from './moot-operations.ts';

export interface Wanted {
  /** What is in force; undefined until the repository has had a valid snapshot. */
  readonly desired: DesiredState | undefined;
  readonly operations: Operations;
  /** What people have signed, at `head`. */
  readonly trust?: ReadTrust;
  /** The tip of main that was looked at. */
  readonly head: CommitId | undefined;
  /** What is wrong at `head`; while nothing changes, one array. With an error among them, `desired` is an older commit's. */
  readonly problems: readonly Problem[];
  /** Why `head` does not count, under the outcomes that it was judged by: those may say otherwise later. */
  readonly refused?: Outcomes;
  /** What the next look starts from. */
  readonly looked?: Looked;
}

/** What was read at `head`, before anybody asked what has come of it since. */
interface Looked {
  readonly loaded: Pick<LoadedState, 'desired' | 'paths' | 'problems'>;
  readonly origins: Origins | undefined;
  /** The outcomes that the problems were judged by. */
  readonly outcomes: Outcomes;
}

const NO_OPERATIONS: Operations = { entries: [], learnings: new Map() };

/** Commits looked back at for a valid snapshot when nothing says which one was in force. */
const LOOK_BACK_MAX = 50;

/** Reads what the tip of main wants, given what was in force before. */
export async function readWanted(
  git: Git,
  given: {
    branch: string;
    cache: DocumentCache;
    outcomes: Outcomes;
    before: Wanted | undefined;
    applied?: CommitId | undefined;
    /** Whose commits count; undefined: everybody's. */
    policy?: CommitPolicy | undefined;
  },
): Promise<Wanted> {
  const { branch, cache, outcomes, before, policy } = given;
  const head = (await git.branch(branch)) as CommitId | undefined;
  const mayHaveChanged = before?.refused !== undefined && before.refused !== outcomes;
  if (before !== undefined && head === before.head && !mayHaveChanged) return judgedAnew(before, outcomes);
  if (head === undefined) {
    const problem = repositoryProblem(
      `branch ${branch} has no commit`,
      `push a commit with a folder fleet/ to ${branch}`,
    );
    const desired =
      before?.desired ?? (await lastValid(git, undefined, { cache, outcomes, applied: given.applied }));
    return { desired, operations: NO_OPERATIONS, head, problems: [problem] };
  }
  const { accepted: commit, refused } =
    policy === undefined
      ? { accepted: await git.commit(head), refused: undefined }
      : await acceptedCommit(git, { policy, head, applied: given.applied, outcomes, cache });
  const unsigned = refused === undefined ? [] : [refusedProblem(refused)];
  if (commit === undefined) {
    // Not even what was in force is to be found: it stays all the same.
    const desired =
      before?.desired ?? (await lastValid(git, undefined, { cache, outcomes, applied: given.applied }));
    const operations = before?.operations ?? NO_OPERATIONS;
    return { desired, operations, head, problems: unsigned, refused: outcomes };
  }
  const loaded = await readDesired(git, commit, { cache, outcomes });
  // Older commits may be anybody's.
  const older = policy === undefined ? commit : undefined;
  const desired =
    loaded.desired ??
    before?.desired ??
    (await lastValid(git, older, { cache, outcomes, applied: given.applied }));
  const files = await readDocuments(git, { tree: commit.tree, folder: 'ops', cache });
  const read = await inTurns(loadingOperations(files));
  const { entries, origins, problems } = await withSigners(git, {
    head: commit,
    entries: read.operations.entries,
    desired,
    outcomes,
    before: before?.looked?.origins,
    cache,
  });
  const operations = { ...read.operations, entries };
  const trust = await readTrust(git, commit, before?.trust);
  const looked: Looked = {
    loaded: { ...loaded, problems: [...unsigned, ...loaded.problems, ...read.problems, ...problems] },
    origins,
    outcomes,
  };
  return {
    desired,
    operations,
    head,
    problems: judge({ desired, operations, looked }),
    looked,
    trust,
    ...(refused === undefined ? {} : { refused: outcomes }),
  };
}

/** The same commit after something has happened: what had no effect may have one now, and the other way round. */
function judgedAnew(before: Wanted, outcomes: Outcomes): Wanted {
  const { desired, operations } = before;
  if (before.looked === undefined || before.looked.outcomes === outcomes) return before;
  const looked = { ...before.looked, outcomes };
  const problems = judge({ desired, operations, looked });
  // No news: whoever compares sees the same problems.
  const isSame = JSON.stringify(problems) === JSON.stringify(before.problems);
  return { ...before, problems: isSame ? before.problems : problems, looked };
}

function judge(given: {
  desired: DesiredState | undefined;
  operations: Operations;
  looked: Looked;
}): readonly Problem[] {
  const { desired, operations, looked } = given;
  const { loaded, outcomes } = looked;
  const rollouts = desired?.rollouts;
  const moot = rollouts === undefined ? [] : mootOperations(operations.entries, { rollouts, outcomes });
  return [...loaded.problems, ...frozenStages(loaded, outcomes), ...moot];
}

async function readDesired(
  git: Git,
  commit: Commit,
  given: { cache: DocumentCache; outcomes: Outcomes; policy?: Policy | undefined },
): Promise<Looked['loaded']> {
  const { cache } = given;
  const snapshot = await snapshotAt(git, commit);
  if (snapshot === undefined) {
    return {
      desired: undefined,
      paths: new Map(),
      problems: [repositoryProblem('the commit has no folder fleet/', 'run tidegate init')],
    };
  }
  const files = await readDocuments(git, { tree: commit.tree, folder: 'fleet', cache });
  const { desired, problems, paths, distributionSetFiles } = await inTurns(
    loadingDesired(files, snapshot, { policy: given.policy }),
  );
  if (desired === undefined) return { desired, paths, problems };
  const changed = changedSets({ desired, distributionSetFiles }, given.outcomes);
  return changed.length === 0
    ? { desired, paths, problems }
    : { desired: undefined, paths, problems: [...problems, ...changed] };
}

/** After a restart at a broken tip, or without one: the snapshot that was in force, else the newest valid one before it. */
async function lastValid(
  git: Git,
  head: Commit | undefined,
  given: { cache: DocumentCache; outcomes: Outcomes; applied: CommitId | undefined },
): Promise<DesiredState | undefined> {
  const older = async () =>
    head === undefined ? [] : (await firstParentLog(git, head.oid, () => false, LOOK_BACK_MAX)).slice(1);
  const applied = given.applied === undefined ? undefined : await git.commit(given.applied).catch(unlessGone);
  for (const commit of applied === undefined ? await older() : [applied]) {
    // What was in force stays in force, also where a newer Tidegate has policies that the fleet would enforce.
    const policy = applied === undefined ? undefined : 'warn';
    const { desired } = await readDesired(git, commit, { ...given, policy });
    if (desired !== undefined) return desired;
  }
  return undefined;
}

/** History may have been rewritten, and a copy that was made anew does not reach back as far. */
function unlessGone(error: unknown): undefined {
  if (!(error instanceof GitObjectError)) throw error;
}

function refusedProblem(message: string): Problem {
  return { file: 'fleet', line: 1, column: 1, rule: 'commit-signature', severity: 'error', message };
}

function repositoryProblem(what: string, next: string): Problem {
  return {
    file: 'fleet',
    line: 1,
    column: 1,
    rule: 'repository',
    severity: 'error',
    message: `${what}; ${next}`,
  };
}
