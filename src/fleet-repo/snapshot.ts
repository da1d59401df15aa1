/**
 * Reads the files of a snapshot: `fleet/` (whose tree id is the snapshot id) and `ops/` beside it. As bytes, or as the
 * documents that they are.
 */
import type { CommitId, SnapshotId } from '../core/model/ids.ts';
import type { ReadFile, SnapshotPlace, SourceFile } from '../documents/load.ts';
import { type DocumentCache, readDocument } from '../documents/read.ts';
import type { Commit, Git, Oid } from '../git/git.ts';
import { entryAt, readFiles, type TreeFile } from '../git/tree.ts';
import { createTurns } from '../turns.ts';

export interface SnapshotFiles extends SnapshotPlace {
  readonly files: readonly SourceFile[];
}

/** The files under `fleet/` of a commit, or undefined where the commit has no such folder. */
export async function readSnapshot(
  git: Git,
  commit: Commit,
  path = 'fleet',
): Promise<SnapshotFiles | undefined> {
  const place = await snapshotAt(git, commit, path);
  return place && { ...place, files: await readFolder(git, commit.tree, path) };
}

/** The snapshot of a commit, or undefined where the commit has no such folder. */
export async function snapshotAt(
  git: Git,
  commit: Commit,
  path = 'fleet',
): Promise<SnapshotPlace | undefined> {
  const folder = await entryAt(git, commit.tree, path);
  if (folder?.mode !== '040000') return undefined;
  return { snapshot: folder.oid as SnapshotId, commit: commit.oid as CommitId };
}

/**
 * The YAML files at and below a folder of a tree; none where it is not there. Links and submodules come without
 * content: they are reported, never followed.
 */
export async function readFolder(git: Git, tree: Oid, folder: string): Promise<readonly SourceFile[]> {
  const files: SourceFile[] = [];
  for (const file of await readFiles(git, tree, folder)) {
    const { path, mode, oid } = file;
    const content = isDocument(file) ? await git.blob(oid) : new Uint8Array();
    files.push({ path, mode, blob: oid, content });
  }
  return files;
}

/**
 * Blobs that are asked for together: an engine that is another process answers them in one go; one in this process unpacks
 * them all in one turn.
 */
const BATCH_FILES = 16;

/**
 * The files at and below a folder of a tree, and what they say. What `cache` knows is not read from git; the rest is read
 * in turns, and a batch of contents is held at a time.
 */
export async function readDocuments(
  git: Git,
  given: { readonly tree: Oid; readonly folder: string; readonly cache: DocumentCache },
): Promise<readonly ReadFile[]> {
  const { tree, folder, cache } = given;
  const turns = createTurns();
  const listed = await readFiles(git, tree, folder);
  const files: ReadFile[] = [];
  for (let first = 0; first < listed.length; first += BATCH_FILES) {
    const batch = listed.slice(first, first + BATCH_FILES);
    const found = await Promise.all(batch.map((file) => knownOrContent(git, file, cache)));
    for (const [at, { path, mode, oid: blob }] of batch.entries()) {
      const each = found[at] ?? { findings: [] };
      const validation = each instanceof Uint8Array ? readDocument({ content: each, blob }, cache) : each;
      files.push({ path, mode, validation });
      if (turns.isOver()) await turns.next();
    }
  }
  return files;
}

/** What the file is known to say, or the content that says it; undefined for what is no document. */
async function knownOrContent(
  git: Git,
  file: TreeFile,
  cache: DocumentCache,
): Promise<ReadFile['validation'] | Uint8Array | undefined> {
  if (!isDocument(file)) return undefined;
  return cache.get(file.oid)?.validation ?? (await git.blob(file.oid));
}

function isDocument({ path, mode }: TreeFile): boolean {
  return (mode === '100644' || mode === '100755') && /\.ya?ml$/.test(path);
}
