/** Reads the files of a snapshot: `fleet/` (whose tree id is the snapshot id) and `ops/` beside it. */
import type { CommitId, SnapshotId } from '../core/model/ids.ts';
import type { SourceFile } from '../documents/load.ts';
import type { Commit, Git, Oid } from './git.ts';
import { entryAt, readFiles } from './tree.ts';

export interface SnapshotFiles {
  readonly snapshot: SnapshotId;
  readonly commit: CommitId;
  readonly files: readonly SourceFile[];
}

/** The files under `fleet/` of a commit, or undefined where the commit has no such folder. */
export async function readSnapshot(
  git: Git,
  commit: Commit,
  path = 'fleet',
): Promise<SnapshotFiles | undefined> {
  const folder = await entryAt(git, commit.tree, path);
  if (folder?.mode !== '040000') return undefined;
  return {
    snapshot: folder.oid as SnapshotId,
    commit: commit.oid as CommitId,
    files: await readFolder(git, commit.tree, path),
  };
}

/**
 * The YAML files at and below a folder of a tree; none where it is not there. Links and submodules come without
 * content: they are reported, never followed.
 */
export async function readFolder(git: Git, tree: Oid, folder: string): Promise<readonly SourceFile[]> {
  const files: SourceFile[] = [];
  for (const { path, mode, oid } of await readFiles(git, tree, folder)) {
    const isFile = mode === '100644' || mode === '100755';
    const content = isFile && /\.ya?ml$/.test(path) ? await git.blob(oid) : new Uint8Array();
    files.push({ path, mode, blob: oid, content });
  }
  return files;
}
