/**
 * Which commit brought an entry of `ops/`: the one that has it and none of whose parents does. Merged parents are followed,
 * too: a pull request's merge is made by the forge, and the commit that its author signed is the merge's second parent.
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
    const next = [head];
    for (let commit = next.shift(); commit !== undefined; commit = next.shift()) {
      const known = commit.oid === before?.from ? before.byEntry.get(entry) : undefined;
      if (known !== undefined) {
        found.push(...known);
        continue;
      }
      const having: Commit[] = [];
      let isWhole = true;
      for (const oid of commit.parents) {
        const parent = await history.commit(oid);
        if (parent === undefined) isWhole = false;
        else if ((await history.entriesAt(parent)).has(entry)) having.push(parent);
      }
      if (having.length === 0 && isWhole) found.push(commit.oid);
      for (const parent of having) {
        if (seen.has(parent.oid)) continue;
        if (seen.size === COMMITS_MAX) return found;
        seen.add(parent.oid);
        next.push(parent);
      }
    }
    return found;
  }
}

/** Commits and the ids of the entries in them, each read once: neighbours mostly have the same `ops/`. */
function entryHistory(git: Git, cache: DocumentCache) {
  const commits = new Map<Oid, Commit | undefined>();
  const entries = new Map<Oid, ReadonlySet<string>>();
  const contents = new Map<Oid, Uint8Array>();

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
    async commit(oid: Oid): Promise<Commit | undefined> {
      if (!commits.has(oid)) commits.set(oid, await git.commit(oid).catch(unlessMissing));
      return commits.get(oid);
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
