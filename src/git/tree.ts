/**
 * Folders of files in git: list them, look one up, change some, compare two, follow a history. Built on the port alone,
 * so it works the same over every engine. Nothing here reads a file's content.
 *
 * Paths are relative to the tree's top, with `/` between names; '' is the tree itself.
 */
import assert from 'node:assert/strict';
import { createTurns } from '../turns.ts';
import { GitObjectError } from './errors.ts';
import type { Commit, Git, Oid, TreeEntry } from './git.ts';

/** What a path holds: git's mode and the object's id. */
export interface PathContent {
  readonly mode: string;
  readonly oid: Oid;
}

/** Everything that is not a folder, symbolic links and submodules included. */
export interface TreeFile extends PathContent {
  readonly path: string;
}

export interface PathChange {
  readonly path: string;
  /** Absent: the path is new. */
  readonly before?: PathContent;
  /** Absent: the path is gone. */
  readonly after?: PathContent;
}

/** The id of the tree without entries; every repository has it, written or not. */
export const EMPTY_TREE: Oid = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';

const FOLDER_MODE = '040000';

/** The files at and below `prefix`, in ascending order of path; none where nothing is there. */
export async function readFiles(git: Git, tree: Oid, prefix: string): Promise<TreeFile[]> {
  const turns = createTurns();
  const files: TreeFile[] = [];
  const collect = async (path: string, { mode, oid }: PathContent): Promise<void> => {
    if (mode !== FOLDER_MODE) {
      files.push({ path, mode, oid });
      return;
    }
    const before = path === '' ? '' : `${path}/`;
    for (const entry of await git.tree(oid)) {
      if (entry.mode === FOLDER_MODE) await collect(before + entry.name, entry);
      else files.push({ path: before + entry.name, mode: entry.mode, oid: entry.oid });
    }
    if (turns.isOver()) await turns.next();
  };
  const top = await entryAt(git, tree, prefix);
  if (top !== undefined) await collect(namesOf(prefix).join('/'), top);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The entry at `path`, or undefined where there is none. */
export async function entryAt(git: Git, tree: Oid, path: string): Promise<TreeEntry | undefined> {
  let entry: TreeEntry | undefined = { name: '', mode: FOLDER_MODE, oid: tree };
  for (const name of namesOf(path)) {
    if (entry?.mode !== FOLDER_MODE) return undefined;
    entry = (await git.tree(entry.oid)).find((candidate) => candidate.name === name);
  }
  return entry;
}

/**
 * Writes `baseTree` (undefined: the empty tree) with every path of `changes` set, or removed where it is null. A folder
 * may be set or removed as a whole; changes inside it then apply on top. Folders that end up empty vanish, a file gives
 * way to a folder of its name, and removing what is not there changes nothing.
 */
export async function withChanges(
  git: Git,
  baseTree: Oid | undefined,
  changes: ReadonlyMap<string, PathContent | null>,
): Promise<Oid> {
  const top: Change = { below: new Map() };
  for (const [path, content] of changes) {
    let change = top;
    for (const name of namesOf(path)) {
      const below = change.below.get(name) ?? { below: new Map() };
      change.below.set(name, below);
      change = below;
    }
    assert(change !== top, 'a change must name a path below the top of the tree');
    change.content = content;
  }
  const base = baseTree === undefined ? undefined : { mode: FOLDER_MODE, oid: baseTree };
  return (await applied(git, base, top))?.oid ?? (await git.writeTree([]));
}

/** Changes as a tree of their own: `content` at this path itself (undefined: as it was), then those below it. */
interface Change {
  content?: PathContent | null;
  readonly below: Map<string, Change>;
}

async function applied(
  git: Git,
  before: PathContent | undefined,
  change: Change,
): Promise<PathContent | undefined> {
  const base = change.content === undefined ? before : (change.content ?? undefined);
  if (change.below.size === 0) return base?.oid === EMPTY_TREE ? undefined : base;
  const entries = new Map(base === undefined ? [] : await entriesOf(git, base));
  let isChanged = false;
  for (const [name, below] of change.below) {
    const old = entries.get(name);
    const now = await applied(git, old, below);
    if (isSame(old, now)) continue;
    isChanged = true;
    if (now === undefined) entries.delete(name);
    else entries.set(name, now);
  }
  if (!isChanged) return base;
  if (entries.size === 0) return undefined;
  const list = Array.from(entries, ([name, { mode, oid }]) => ({ name, mode, oid }));
  return { mode: FOLDER_MODE, oid: await git.writeTree(list) };
}

/**
 * The files at and below `prefix` that differ between two trees (undefined: the empty tree) in content or mode, in
 * ascending order of path. Folders with equal ids are not read. A file that became a folder is a removal and additions.
 */
export async function changedPaths(
  git: Git,
  treeA: Oid | undefined,
  treeB: Oid | undefined,
  prefix = '',
): Promise<readonly PathChange[]> {
  const changes: PathChange[] = [];
  const compare = async (path: string, before: PathContent | undefined, after: PathContent | undefined) => {
    if (isSame(before, after)) return;
    const fileBefore = fileOf(before);
    const fileAfter = fileOf(after);
    if (fileBefore !== undefined || fileAfter !== undefined) {
      changes.push({
        path,
        ...(fileBefore === undefined ? {} : { before: fileBefore }),
        ...(fileAfter === undefined ? {} : { after: fileAfter }),
      });
    }
    const entriesBefore = new Map(await entriesOf(git, before));
    const entriesAfter = new Map(await entriesOf(git, after));
    for (const name of new Set([...entriesBefore.keys(), ...entriesAfter.keys()])) {
      await compare(path === '' ? name : `${path}/${name}`, entriesBefore.get(name), entriesAfter.get(name));
    }
  };
  const top = async (tree: Oid | undefined) =>
    tree === undefined ? undefined : await entryAt(git, tree, prefix);
  await compare(namesOf(prefix).join('/'), await top(treeA), await top(treeB));
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Whether `tip` is `ancestor` or comes after it, over all parents. Commits that are not there end the way. */
export async function isAncestor(git: Git, ancestor: Oid, tip: Oid): Promise<boolean> {
  const seen = new Set<Oid>([tip]);
  for (const oid of seen) {
    if (oid === ancestor) return true;
    if (seen.size > ANCESTORS_MAX) return false;
    const commit = await git.commit(oid).catch(unlessGone);
    for (const parent of commit?.parents ?? []) seen.add(parent);
  }
  return false;
}

function unlessGone(error: unknown): undefined {
  if (!(error instanceof GitObjectError)) throw error;
}

/** Further back nobody commits today. */
const ANCESTORS_MAX = 10_000;

/**
 * `from` and its first parents, newest first, up to (not including) the first commit for which `until` holds; at most
 * `limit`. A list of `limit` commits may therefore have been cut short.
 */
export async function firstParentLog(
  git: Git,
  from: Oid,
  until: (commit: Commit) => boolean,
  limit: number,
): Promise<Commit[]> {
  const log: Commit[] = [];
  for (let next: Oid | undefined = from; next !== undefined && log.length < limit; ) {
    const commit: Commit = await git.commit(next);
    if (until(commit)) break;
    log.push(commit);
    next = commit.parents[0];
  }
  return log;
}

async function entriesOf(git: Git, content: PathContent | undefined): Promise<[string, PathContent][]> {
  if (content?.mode !== FOLDER_MODE) return [];
  return (await git.tree(content.oid)).map(({ name, mode, oid }) => [name, { mode, oid }]);
}

function fileOf(content: PathContent | undefined): PathContent | undefined {
  return content === undefined || content.mode === FOLDER_MODE
    ? undefined
    : { mode: content.mode, oid: content.oid };
}

function isSame(a: PathContent | undefined, b: PathContent | undefined): boolean {
  return a?.mode === b?.mode && a?.oid === b?.oid;
}

/** `fleet/rollouts/` and `fleet/rollouts` are the same path; an empty name inside a path is the caller's bug. */
function namesOf(path: string): readonly string[] {
  const names = path.replace(/\/$/, '').split('/');
  if (names.length === 1 && names[0] === '') return [];
  assert(
    !names.includes(''),
    `path ${JSON.stringify(path)} must not begin with a slash nor have two in a row`,
  );
  return names;
}
