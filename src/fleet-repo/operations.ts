/**
 * What a person does to a rollout, as one commit on a branch's newest tip. Whoever loses the race for the tip looks again:
 * what is right may have changed with it. Works on the git port alone.
 */
import type { RolloutName } from '../core/model/ids.ts';
import { formatInstant, type Instant } from '../core/model/time.ts';
import { addOperations, newOperations, type OperationEntry } from '../documents/edit.ts';
import { PLACES } from '../documents/kinds.ts';
import { type DocumentCache, loadOperations, type SourceFile } from '../documents/load.ts';
import { readDocument } from '../documents/read.ts';
import type { Commit, Git, NewCommit, Oid } from '../git/git.ts';
import { type PathContent, withChanges } from '../git/tree.ts';
import { readFolder } from './snapshot.ts';

/** A commit that is about to be made. */
export interface Draft {
  readonly tree: Oid;
  /** Ends with a newline; trailers included. */
  readonly message: string;
}

export type Committed<D extends Draft> =
  | { readonly kind: 'committed'; readonly commit: Oid; readonly from: Oid; readonly draft: D }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'lost' };

/** So many others in a row were faster: something commits without end. */
const TRIES_MAX = 5;

/** Commits what `draw` draws for the newest tip of `branch`, which must exist. What `draw` throws ends it. */
export async function commitOnNewest<D extends Draft>(
  git: Git,
  given: {
    readonly branch: string;
    /** Of the repository, as people know it. */
    readonly place: string;
    readonly at: Instant;
    readonly draw: (head: Commit) => Promise<D>;
    /** Whose commit it is; the port's own otherwise. */
    readonly writeCommit?: (commit: NewCommit, draft: D) => Promise<Oid>;
  },
): Promise<Committed<D>> {
  const { branch, at, draw, writeCommit = (commit) => git.writeCommit(commit) } = given;
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const from = await git.branch(branch);
    if (from === undefined)
      return {
        kind: 'refused',
        reason: `${given.place} has no branch ${branch}; name the one that people change with --branch`,
      };
    const draft = await draw(await git.commit(from));
    const { tree, message } = draft;
    const commit = await writeCommit({ tree, parents: [from], message, at }, draft);
    const moved = await git.moveBranch({ branch, from, to: commit });
    if (moved.kind === 'moved') return { kind: 'committed', commit, from, draft };
    if (moved.kind === 'refused') return moved;
  }
  return { kind: 'lost' };
}

/** A file before and after; `before` is undefined where there is none. */
export interface FileChange {
  readonly path: string;
  readonly before: string | undefined;
  readonly after: string;
}

/**
 * The rollout's file in `ops/` with entries added: the first that is about the rollout, as they are read, else a new one. A
 * text says why there is no way to add them. An entry that would pass for one that was applied before (and taken out of the
 * file since, by a revert) gets the time `at`, which makes it another one.
 */
export async function entriesAdded(
  git: Git,
  tree: Oid,
  given: {
    readonly rollout: RolloutName;
    readonly entries: readonly OperationEntry[];
    /** Ids of entries that had their effect. */
    readonly applied: ReadonlySet<string>;
    readonly at: Instant;
    readonly cache: DocumentCache;
  },
): Promise<FileChange | string> {
  const { entries, applied, at } = given;
  const change = await withEntries(git, tree, given);
  if (typeof change === 'string' || !idsAdded(change, entries.length).some((id) => applied.has(id)))
    return change;
  const timed = entries.map((entry) => ({ ...entry, at: formatInstant(at) }));
  return await withEntries(git, tree, { ...given, entries: timed });
}

/** Ids of the last entries, which are those that were added. */
function idsAdded({ path, after }: FileChange, count: number): readonly string[] {
  const { operations } = loadOperations([{ path, content: new TextEncoder().encode(after) }]);
  return operations.entries.slice(-count).map(({ id }) => id);
}

async function withEntries(
  git: Git,
  tree: Oid,
  given: {
    readonly rollout: RolloutName;
    readonly entries: readonly OperationEntry[];
    readonly cache: DocumentCache;
  },
): Promise<FileChange | string> {
  const { rollout, entries, cache } = given;
  const files = await readFolder(git, tree, PLACES.Operation.replace(/\/$/, ''));
  const file = files.find((each) => {
    const { kind, name } = readDocument(each, cache);
    return kind === 'Operation' && name === rollout;
  });
  const path = `${PLACES.Operation}${rollout}.yaml`;
  if (file === undefined) {
    const other = files.find((each) => each.path === path);
    if (other !== undefined) return inTheWay(other, rollout, cache);
    return checked({ path, before: undefined, after: newOperations(rollout, entries) });
  }
  const before = new TextDecoder('utf-8', { ignoreBOM: true }).decode(file.content);
  const after = addOperations(before, entries);
  if (after === undefined)
    return `${file.path} is written so that no entry can be added to it; add it by hand`;
  return checked({ path: file.path, before, after });
}

/** Why a file that stands where the rollout's entries belong cannot take one. */
function inTheWay(file: SourceFile, rollout: RolloutName, cache: DocumentCache): string {
  const { kind, name, findings } = readDocument(file, cache);
  const [finding] = findings;
  if (kind === 'Operation' && name !== undefined)
    return `${file.path} holds the operations of ${name}, not of ${rollout}: its name must be that of the rollout; correct or move it first`;
  const where = finding === undefined ? file.path : `${file.path}:${finding.line}:${finding.column}`;
  const found = finding === undefined ? '' : ` (${finding.message})`;
  return `${where} is no Operation document of ${rollout}${found}; correct or move it first`;
}

/** The change, unless it brings a problem that was not there: a reason that is too long, a character that YAML does not have. */
function checked(change: FileChange): FileChange | string {
  const problemsOf = (text: string) =>
    loadOperations([{ path: change.path, content: new TextEncoder().encode(text) }]).problems;
  const known = new Set(problemsOf(change.before ?? '').map(({ message }) => message));
  const brought = problemsOf(change.after).find(({ message }) => !known.has(message));
  return brought === undefined ? change : `the entry would not be valid: ${brought.message}`;
}

/** `tree` with the files as they are afterwards. */
export async function withFiles(git: Git, tree: Oid, changes: readonly FileChange[]): Promise<Oid> {
  const contents = new Map<string, PathContent>();
  for (const { path, after } of changes) {
    contents.set(path, { mode: '100644', oid: await git.writeBlob(new TextEncoder().encode(after)) });
  }
  return await withChanges(git, tree, contents);
}
