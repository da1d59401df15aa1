/**
 * Reads the repository around a working folder, as far as it says what the folder's documents would change: those of the commit that they
 * are compared with, and the record. Nothing is fetched and nothing is written.
 */

import type { Census } from '../core/model/census.ts';
import type { DesiredState } from '../core/model/desired.ts';
import type { CommitId, SnapshotId } from '../core/model/ids.ts';
import type { Outcomes } from '../core/model/outcome.ts';
import { loadDesired, type SourceFile } from '../documents/load.ts';
import { OUTCOMES_BRANCH, readCensus, readOutcomes } from '../fleet-repo/outcomes.ts';
import { readSnapshot } from '../fleet-repo/snapshot.ts';
import { GitRepositoryError } from '../git/errors.ts';
import type { Git, Oid } from '../git/git.ts';
import { openRepository } from '../git/local.ts';
import { locateRepository } from '../git/locate.ts';
import { mergeBase, resolveRevision } from '../git/revision.ts';
import { readShallow } from '../git/shallow.ts';
import { ProposalError } from './errors.ts';

/** What there is around a working folder. */
export interface Surroundings {
  /** Undefined where there is nothing to compare with. */
  readonly base: BaseState | undefined;
  readonly record: FleetRecord;
  /** Whether part of the history was not fetched: then the record may be there, and not here. */
  readonly isShallow: boolean;
}

export interface BaseState {
  /** As it was named: `origin/main`. */
  readonly name: string;
  readonly commit: CommitId;
  readonly snapshot: SnapshotId;
  /** Undefined where its documents have errors: then there is nothing to compare with but files. */
  readonly desired: DesiredState | undefined;
  readonly files: readonly SourceFile[];
}

export interface FleetRecord {
  /** Where it was found: `origin/outcomes`. Undefined: nothing has been recorded yet, or it was not fetched. */
  readonly name?: string;
  readonly outcomes: Outcomes;
  readonly census: Census | undefined;
}

export interface SurroundingsOptions {
  readonly path: string;
  /** Where to compare from; unless given, the branch as the remote has it, else as it is here; without either, nothing is compared. */
  readonly base: string | undefined;
  readonly branch: string | undefined;
}

/** Throws {@link ProposalError} where a base was named that is not there. */
export async function readSurroundings(options: SurroundingsOptions): Promise<Surroundings> {
  const { path, base } = options;
  let repository: Git;
  try {
    repository = await openRepository(path);
  } catch (error) {
    if (!(error instanceof GitRepositoryError)) throw error;
    if (base !== undefined)
      throw new ProposalError(
        `there is no git repository in ${path}, so nothing to compare with; leave --base out`,
        error,
      );
    return { base: undefined, record: { outcomes: new Map(), census: undefined }, isShallow: false };
  }
  try {
    return {
      base: await baseOf(repository, options),
      record: await recordOf(repository, path),
      isShallow: (await readShallow(await locateRepository(path))).size > 0,
    };
  } finally {
    await repository.close();
  }
}

async function baseOf(repository: Git, options: SurroundingsOptions): Promise<BaseState | undefined> {
  const named = await baseCommit(repository, options);
  if (named === undefined) return undefined;
  const snapshot = await readSnapshot(repository, await repository.commit(named.oid));
  // The change that brings the fleet into a repository is compared with nothing.
  if (snapshot === undefined) return undefined;
  const { desired } = loadDesired(snapshot.files, snapshot);
  return { name: named.name, desired, ...snapshot };
}

/** Where the work branched off: what the branch has got since is nobody's proposal here. */
async function baseCommit(
  repository: Git,
  { path, base, branch }: SurroundingsOptions,
): Promise<{ readonly name: string; readonly oid: Oid } | undefined> {
  const head = await resolveRevision(repository, path, 'HEAD');
  const ofBranch = branch === undefined ? [] : [`origin/${branch}`, branch];
  for (const name of base === undefined ? ofBranch : [base]) {
    const found = await resolveRevision(repository, path, name);
    if (found.kind === 'unknown') {
      if (base === undefined) continue;
      const next = found.isShallow
        ? 'this copy has only part of the history: fetch the rest (in a workflow: actions/checkout with fetch-depth: 0)'
        : 'fetch it (in a workflow: actions/checkout with fetch-depth: 0), or name another';
      throw new ProposalError(`there is no commit "${base}" in ${path} to compare with; ${next}`);
    }
    const parted = head.kind === 'found' ? await mergeBase(path, [found.oid, head.oid]) : undefined;
    return { name, oid: parted ?? found.oid };
  }
  return undefined;
}

async function recordOf(repository: Git, path: string): Promise<FleetRecord> {
  // What was fetched last is newer than a branch of one's own, which nobody moves.
  for (const name of [`origin/${OUTCOMES_BRANCH}`, OUTCOMES_BRANCH]) {
    const found = await resolveRevision(repository, path, name);
    if (found.kind === 'unknown') continue;
    const outcomes = await readOutcomes(repository, found.oid, new Map());
    return { name, outcomes, census: await readCensus(repository, found.oid) };
  }
  return { outcomes: new Map(), census: undefined };
}
