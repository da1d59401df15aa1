/** What a push has to send: the objects that a commit brings and the other side does not have. */
import type { Git, Oid, TreeEntry } from './git.ts';

/** Commits looked at one by one before it is worth while to know all those that are there already. */
const FEW = 50;
/** How far back the history that is there is followed. */
const HISTORY_MAX = 10_000;

const FOLDER = '040000';
const SUBMODULE = '160000';

/**
 * The commits that lead to `to` from what `there`, commits of the other side's branches, lead to; their trees and files, as far as
 * they are not in the same place of a parent, or in a folder at the top of one of `there`. (Known-good snapshots are folders
 * of another branch.) Sending an object that is there already does no harm; leaving out one that is not would be refused.
 */
export async function newObjects(git: Git, to: Oid, there: readonly Oid[]): Promise<readonly Oid[]> {
  const found = new Set<Oid>();
  const roots = await topFolders(git, there);
  for (const oid of await newCommits(git, to, there)) {
    found.add(oid);
    const { tree, parents } = await git.commit(oid);
    const before: Oid[] = [];
    for (const parent of parents) before.push((await git.commit(parent)).tree);
    await addTree(tree, before);
  }
  return [...found];

  async function addTree(oid: Oid, before: readonly Oid[]): Promise<void> {
    if (found.has(oid) || before.includes(oid) || roots.includes(oid)) return;
    found.add(oid);
    const known = await Promise.all(before.map(async (each) => entriesOf(await git.tree(each))));
    for (const { name, mode, oid: entry } of await git.tree(oid)) {
      const same = known.flatMap((entries) => entries.get(name) ?? []);
      if (mode === SUBMODULE || same.some((each) => each.oid === entry)) continue;
      if (mode !== FOLDER) found.add(entry);
      else {
        const folders = same.filter((each) => each.mode === FOLDER).map((each) => each.oid);
        await addTree(entry, [...folders, ...roots]);
      }
    }
  }
}

function entriesOf(tree: readonly TreeEntry[]): ReadonlyMap<string, TreeEntry> {
  return new Map(tree.map((entry) => [entry.name, entry]));
}

async function topFolders(git: Git, commits: readonly Oid[]): Promise<readonly Oid[]> {
  const folders = new Set<Oid>();
  for (const oid of commits) {
    const entries = await git.tree((await git.commit(oid)).tree);
    for (const entry of entries) if (entry.mode === FOLDER) folders.add(entry.oid);
  }
  return [...folders];
}

async function newCommits(git: Git, to: Oid, there: readonly Oid[]): Promise<readonly Oid[]> {
  let known: ReadonlySet<Oid> = new Set(there);
  const found = new Set<Oid>();
  const waiting = [to];
  for (let oid = waiting.pop(); oid !== undefined; oid = waiting.pop()) {
    if (known.has(oid) || found.has(oid)) continue;
    found.add(oid);
    // Most often what is there is a commit away; where it is not, it is looked for from the other end.
    if (found.size === FEW) known = await history(git, there);
    waiting.push(...(await git.commit(oid)).parents);
  }
  return [...found].filter((oid) => !known.has(oid));
}

async function history(git: Git, tips: readonly Oid[]): Promise<ReadonlySet<Oid>> {
  const found = new Set<Oid>();
  let generation = tips;
  while (generation.length > 0 && found.size < HISTORY_MAX) {
    const parents = new Set<Oid>();
    for (const oid of generation) {
      if (found.has(oid)) continue;
      found.add(oid);
      for (const parent of (await git.commit(oid)).parents) parents.add(parent);
    }
    generation = [...parents];
  }
  return found;
}
