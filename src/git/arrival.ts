/**
 * Looks at what a fetch brought before a branch points there: an answer can be cut, garbled or incomplete, and a branch
 * that points at what cannot be read would be worse than one that is a little old.
 */
import type { Git, Oid } from './git.ts';
import { changedPaths } from './tree.ts';

/** How far back a history that is all new is followed. What is older is read when somebody asks for it. */
const COMMITS_MAX = 10_000;

export interface Arrival {
  readonly tip: Oid;
  /** Where the branch was: its files are not read again. */
  readonly before: Oid | undefined;
  /** Folders whose files must all be there; '' is everything. */
  readonly folders: readonly string[];
  /** Objects that were read to the last byte when they came, as whoever makes a pack's index has to: not read again. */
  readonly indexed?: ReadonlySet<Oid>;
}

/**
 * Reads the new commits, and the new files of the folders at the tip, as far as they are not known to be there. Throws
 * GitObjectError where anything is missing. `seen` holds commits that were looked at earlier, and the new ones afterwards.
 */
export async function examineArrival(git: Git, arrival: Arrival, seen: Set<Oid>): Promise<void> {
  const { tip, before, folders, indexed } = arrival;
  const commits = await newCommits(git, arrival, seen);
  const treeBefore = before === undefined ? undefined : (await git.commit(before)).tree;
  const { tree } = await git.commit(tip);
  for (const folder of folders) {
    for (const { after } of await changedPaths(git, treeBefore, tree, folder)) {
      if (after === undefined || after.mode === SUBMODULE || indexed?.has(after.oid) === true) continue;
      await git.blob(after.oid);
    }
  }
  if (seen.size + commits.length > SEEN_MAX) seen.clear();
  for (const oid of commits) seen.add(oid);
}

const SUBMODULE = '160000';
const SEEN_MAX = 100_000;

async function newCommits(git: Git, { tip, before }: Arrival, seen: ReadonlySet<Oid>): Promise<Oid[]> {
  const found = new Set<Oid>();
  const waiting = [tip];
  for (let oid = waiting.pop(); oid !== undefined && found.size < COMMITS_MAX; oid = waiting.pop()) {
    if (oid === before || seen.has(oid) || found.has(oid)) continue;
    found.add(oid);
    waiting.push(...(await git.commit(oid)).parents);
  }
  return [...found];
}

/** Whether `tip` is `ancestor` or comes after it, as far as that can be seen in {@link COMMITS_MAX} commits. */
export async function comesAfter(git: Git, tip: Oid, ancestor: Oid): Promise<boolean> {
  const found = new Set<Oid>();
  let generation: readonly Oid[] = [tip];
  while (generation.length > 0 && found.size < COMMITS_MAX) {
    if (generation.includes(ancestor)) return true;
    const parents: Oid[] = [];
    for (const oid of generation) {
      if (found.has(oid)) continue;
      found.add(oid);
      parents.push(...(await git.commit(oid)).parents);
    }
    generation = parents;
  }
  return false;
}
