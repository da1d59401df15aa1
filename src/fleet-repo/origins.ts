/**
 * Which commit brought an entry of `ops/`: the one that has it and none of whose parents does. Merged parents are followed
 * where the first one does not have it: a pull request's merge is made by the forge, and the commit that its author signed is
 * in the history of the merge's second parent.
 *
 * A merge can name any commit as a parent, and a signature says nothing of where its commit will be merged. So on a merged
 * branch a commit does not count that the first parent's history has already (the entry was there, and was taken away), nor one
 * whose history never meets it (the entry was written for another repository).
 */
import { type DocumentCache, loadOperations, type SourceFile } from '../documents/load.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Commit, Git, Oid } from '../git/git.ts';
import { entryAt, readFiles } from '../git/tree.ts';

/** The commits that brought an entry: several where branches brought it independently. Empty: further back than is looked. */
export type Origin = readonly Oid[];

/** What was found from one commit: a later look stops there instead of walking the same history again. */
export interface Origins {
  readonly from: Oid;
  readonly byEntry: ReadonlyMap<string, Origin>;
}

/** An entry that has waited for longer than this many commits is not found: its author approves again. */
const COMMITS_MAX = 1000;

/** Origins of `entries` (their ids), which `head` has. */
export async function findOrigins(
  git: Git,
  given: {
    readonly head: Commit;
    readonly entries: readonly string[];
    readonly before: Origins | undefined;
    readonly cache: DocumentCache;
  },
): Promise<Origins> {
  const { head, before, cache } = given;
  const history = entryHistory(git, cache);
  const byEntry = new Map<string, Origin>();
  for (const entry of new Set(given.entries)) byEntry.set(entry, await originOf(entry));
  return { from: head.oid, byEntry };

  async function originOf(entry: string): Promise<Origin> {
    const found: Oid[] = [];
    const seen = new Set([head.oid]);
    const next: Reached[] = [{ commit: head, besides: [] }];
    for (let reached = next.shift(); reached !== undefined; reached = next.shift()) {
      const { commit, besides } = reached;
      const known = commit.oid === before?.from ? before.byEntry.get(entry) : undefined;
      if (known !== undefined) {
        found.push(...known);
        continue;
      }
      const { having, isWhole } = await parentsHaving(entry, reached);
      if (having.length === 0 && isWhole && (await areMet(besides, commit))) found.push(commit.oid);
      for (const parent of having) {
        if (seen.has(parent.commit.oid)) continue;
        if (seen.size === COMMITS_MAX) return found;
        seen.add(parent.commit.oid);
        next.push(parent);
      }
    }
    return found;
  }

  /** Parents that have the entry and may have brought it. */
  async function parentsHaving(
    entry: string,
    { commit, besides }: Reached,
  ): Promise<{ having: readonly Reached[]; isWhole: boolean }> {
    const [first, ...merged] = commit.parents;
    let isWhole = true;
    const reach = async (oid: Oid, beside: readonly ReadonlySet<Oid>[]): Promise<Reached[]> => {
      if (beside.some((history) => history.has(oid))) return [];
      const parent = await history.commit(oid);
      if (parent === undefined) isWhole = false;
      const has = parent !== undefined && (await history.entriesAt(parent)).has(entry);
      return has ? [{ commit: parent, besides: beside }] : [];
    };
    if (first === undefined) return { having: [], isWhole };
    const onFirst = await reach(first, besides);
    if (onFirst.length > 0 || merged.length === 0) return { having: onFirst, isWhole };
    const beside = [...besides, await history.before(first)];
    const having: Reached[] = [];
    for (const oid of merged) having.push(...(await reach(oid, beside)));
    return { having, isWhole };
  }

  /** Whether the commit comes from the history that each merge on the way to it went on from. */
  async function areMet(besides: readonly ReadonlySet<Oid>[], commit: Commit): Promise<boolean> {
    if (besides.length === 0) return true;
    const own = await history.before(commit.oid);
    return besides.every((beside) => !beside.isDisjointFrom(own));
  }
}

/** A commit that has the entry. */
interface Reached {
  readonly commit: Commit;
  /** For each merge that was left by another parent than its first: the history of the first. */
  readonly besides: readonly ReadonlySet<Oid>[];
}

/** Commits and the ids of the entries in them, each read once: neighbours mostly have the same `ops/`. */
function entryHistory(git: Git, cache: DocumentCache) {
  const commits = new Map<Oid, Commit | undefined>();
  const entries = new Map<Oid, ReadonlySet<string>>();
  const contents = new Map<Oid, Uint8Array>();
  const histories = new Map<Oid, ReadonlySet<Oid>>();

  async function commitAt(oid: Oid): Promise<Commit | undefined> {
    if (!commits.has(oid)) commits.set(oid, await git.commit(oid).catch(unlessMissing));
    return commits.get(oid);
  }

  /** The newest of what leads to the commit, itself included. */
  async function before(oid: Oid): Promise<ReadonlySet<Oid>> {
    const found = new Set<Oid>();
    let generation: readonly Oid[] = [oid];
    while (generation.length > 0 && found.size < COMMITS_MAX) {
      const parents = new Set<Oid>();
      for (const each of generation) {
        if (found.has(each)) continue;
        found.add(each);
        for (const parent of (await commitAt(each))?.parents ?? []) parents.add(parent);
      }
      generation = [...parents];
    }
    return found;
  }

  async function read(tree: Oid): Promise<ReadonlySet<string>> {
    const files: SourceFile[] = [];
    for (const { path, mode, oid } of await readFiles(git, tree, 'ops')) {
      if (!path.endsWith('.yaml') && !path.endsWith('.yml')) continue;
      const content = contents.get(oid) ?? (mode.startsWith('100') ? await git.blob(oid) : new Uint8Array());
      contents.set(oid, content);
      files.push({ path, mode, blob: oid, content });
    }
    return new Set(loadOperations(files, cache).operations.entries.map(({ id }) => id));
  }

  return {
    /** Undefined where this clone does not reach back to it. */
    commit: commitAt,
    async before(oid: Oid): Promise<ReadonlySet<Oid>> {
      const known = histories.get(oid) ?? (await before(oid));
      histories.set(oid, known);
      return known;
    },
    async entriesAt({ tree }: Commit): Promise<ReadonlySet<string>> {
      const folder = await entryAt(git, tree, 'ops');
      if (folder === undefined) return new Set();
      const known = entries.get(folder.oid) ?? (await read(tree));
      entries.set(folder.oid, known);
      return known;
    },
  };
}

function unlessMissing(error: unknown): undefined {
  if (!(error instanceof GitObjectError)) throw error;
}
