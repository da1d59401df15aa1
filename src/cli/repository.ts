/** A fleet repository as commands that only read see it: its outcomes, and snapshots by any name people give them. */
import type { DesiredState } from '../core/model/desired.ts';
import type { CommitId, SnapshotId } from '../core/model/ids.ts';
import { type Attempt, knownGoodOf, type Outcomes } from '../core/model/outcome.ts';
import type { Kind } from '../documents/kinds.ts';
import { loadDesired } from '../documents/load.ts';
import type { Problem } from '../documents/problem.ts';
import { readDocument } from '../documents/read.ts';
import { closest } from '../documents/suggest.ts';
import { OUTCOMES_BRANCH, readOutcomes } from '../fleet-repo/outcomes.ts';
import { readFolder } from '../fleet-repo/snapshot.ts';
import { openWorkplace, type Workplace } from '../fleet-repo/workplace.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Commit, Git, Oid } from '../git/git.ts';
import { openRepository } from '../git/local.ts';
import { entryAt, firstParentLog } from '../git/tree.ts';
import { CommandError } from './errors.ts';
import type { Io } from './io.ts';

export interface RepositoryOptions {
  readonly repo: string;
  readonly branch: string;
}

export interface FleetRepository extends RepositoryOptions {
  readonly git: Git;
  readonly outcomes: Outcomes;
}

/** A snapshot that somebody named. */
export interface NamedSnapshot {
  readonly snapshot: SnapshotId;
  /** The commit it was found in; a tree id alone has none. */
  readonly commit?: Commit;
  /** The name, spelled so that git understands it: `main:fleet`. */
  readonly name: string;
}

export interface SnapshotContent {
  /** Undefined where the documents have an error. */
  readonly desired: DesiredState | undefined;
  readonly problems: readonly Problem[];
  readonly documents: readonly {
    readonly kind: Kind | undefined;
    readonly name: string;
    readonly file: string;
  }[];
}

/** Throws GitRepositoryError where there is no repository. */
export async function openFleetRepository(options: RepositoryOptions): Promise<FleetRepository> {
  const git = await openRepository(options.repo);
  const outcomes = await readOutcomes(git, await git.branch(OUTCOMES_BRANCH), new Map());
  return { ...options, git, outcomes };
}

/** A repository as people work in it, or an address: the branches are those of where commits go. Nothing is written there. */
export async function openToRead(options: RepositoryOptions, io: Io): Promise<Workplace> {
  const person = { env: io.env, mayAsk: io.err.width !== undefined, signal: io.interrupted() };
  return await openWorkplace({ ...options, person, identity: 'Tidegate <tidegate@localhost>' });
}

const KNOWN_GOOD = 'known-good/';
/** Commits of the branch among which an abbreviated id is looked for. */
export const HISTORY_MAX = 200;
/** Git's own lower bound for abbreviated ids. */
export const ABBREVIATED = /^[0-9a-f]{4,40}$/;

/**
 * The snapshot that `name` means: `known-good/<rollout>`, a branch or commit (`~N` behind it goes N commits back), or a
 * `fleet/` tree; ids may be abbreviated. Throws {@link CommandError} where it means none, or several.
 */
export async function findSnapshot(repository: FleetRepository, name: string): Promise<NamedSnapshot> {
  if (name.startsWith(KNOWN_GOOD)) return knownGoodSnapshot(repository, name.slice(KNOWN_GOOD.length));
  const [, base = name, steps] = /^(.+?)(?:~(\d+))?$/.exec(name) ?? [];
  const commit = await findCommit(repository, base);
  if (commit !== undefined)
    return snapshotOf(repository, await ancestor(repository, commit, Number(steps ?? 0), name), name);
  const snapshot = await findTree(repository, name);
  if (snapshot !== undefined) return { snapshot, name: snapshot };
  const next = 'tidegate snapshot list shows ids; a branch, a commit or known-good/<rollout> will do, too';
  throw new CommandError(`${repository.repo} has no snapshot "${name}"; ${next}`);
}

/** What the snapshot says, whether or not it is valid. */
export async function readContent(git: Git, { snapshot, commit }: NamedSnapshot): Promise<SnapshotContent> {
  const files = (await readFolder(git, snapshot, '')).map((file) => ({
    ...file,
    path: `fleet/${file.path}`,
  }));
  const { desired, problems } = loadDesired(files, { snapshot, commit: (commit?.oid ?? '') as CommitId });
  const documents = files
    .filter(({ path }) => /\.ya?ml$/.test(path))
    .map((file) => {
      const { kind, name } = readDocument(file);
      return { kind, name: name ?? '', file: file.path };
    });
  return { desired, problems, documents };
}

/** Every rollout's known-good attempt, in order of name. */
export function knownGoods(outcomes: Outcomes): Attempt[] {
  return [...outcomes.values()]
    .flatMap((attempts) => knownGoodOf(attempts) ?? [])
    .sort((a, b) => (a.rollout < b.rollout ? -1 : 1));
}

/** The commit, or undefined where the repository does not have it (any more). */
export async function commitIfThere(git: Git, oid: Oid): Promise<Commit | undefined> {
  return await unlessMissing(git.commit(oid));
}

function knownGoodSnapshot({ outcomes }: FleetRepository, rollout: string): NamedSnapshot {
  const known = knownGoods(outcomes);
  const attempt = known.find((each) => each.rollout === rollout);
  if (attempt !== undefined)
    return { snapshot: attempt.snapshot, name: `${OUTCOMES_BRANCH}:${KNOWN_GOOD}${rollout}` };
  const names = known.map((each) => each.rollout);
  const meant = closest(rollout, names);
  const hint =
    meant === undefined ? `rollouts that have one: ${names.join(', ') || 'none'}` : `did you mean ${meant}?`;
  throw new CommandError(`rollout "${rollout}" has no known-good snapshot; ${hint}`);
}

async function findCommit(repository: FleetRepository, name: string): Promise<Commit | undefined> {
  const { git } = repository;
  const tip = await git.branch(name);
  if (tip !== undefined) return await git.commit(tip);
  if (!ABBREVIATED.test(name)) return undefined;
  if (name.length === 40) return await commitIfThere(git, name);
  const commits = [
    ...(await recentCommits(repository)).map(({ oid }) => oid),
    ...attemptsOf(repository).map(({ commit }) => commit),
  ];
  const oid = theOne(name, commits);
  return oid === undefined ? undefined : await commitIfThere(git, oid);
}

async function findTree(repository: FleetRepository, name: string): Promise<SnapshotId | undefined> {
  const { git } = repository;
  if (!ABBREVIATED.test(name)) return undefined;
  const named = attemptsOf(repository).map(({ snapshot }): string => snapshot);
  if (name.length === 40) {
    // An id that outcomes name is a snapshot even where its object is gone or broken: that is for others to say.
    const isThere = named.includes(name) || (await unlessMissing(git.tree(name))) !== undefined;
    return isThere ? (name as SnapshotId) : undefined;
  }
  const trees = await Promise.all(
    (await recentCommits(repository)).map(({ tree }) => entryAt(git, tree, 'fleet')),
  );
  return theOne(name, [...named, ...trees.flatMap((entry) => entry?.oid ?? [])]) as SnapshotId | undefined;
}

function attemptsOf({ outcomes }: FleetRepository): readonly Attempt[] {
  return [...outcomes.values()].flat();
}

async function recentCommits({ git, branch }: FleetRepository): Promise<readonly Commit[]> {
  const tip = await git.branch(branch);
  return tip === undefined ? [] : await firstParentLog(git, tip, () => false, HISTORY_MAX);
}

/** The one of the ids that begins so, or none. Throws {@link CommandError} where several do. */
export function theOne(prefix: string, oids: readonly string[]): string | undefined {
  const found = [...new Set(oids)].filter((oid) => oid.startsWith(prefix));
  if (found.length > 1) {
    throw new CommandError(
      `"${prefix}" is the beginning of ${found.length} ids; write more of it: ${found.join(', ')}`,
    );
  }
  return found[0];
}

async function ancestor(
  { git }: FleetRepository,
  from: Commit,
  steps: number,
  name: string,
): Promise<Commit> {
  const log = await firstParentLog(git, from.oid, () => false, steps + 1);
  const commit = log[steps];
  if (commit !== undefined) return commit;
  throw new CommandError(
    `${name} is before the first commit: there are ${log.length - 1} before ${from.oid}`,
  );
}

async function snapshotOf({ git }: FleetRepository, commit: Commit, name: string): Promise<NamedSnapshot> {
  const folder = await entryAt(git, commit.tree, 'fleet');
  if (folder?.mode === '040000') return { snapshot: folder.oid as SnapshotId, commit, name: `${name}:fleet` };
  throw new CommandError(`commit ${commit.oid} has no folder fleet/; name a commit of the fleet's branch`);
}

async function unlessMissing<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof GitObjectError) return undefined;
    throw error;
  }
}
