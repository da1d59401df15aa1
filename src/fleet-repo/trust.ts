/** Reads what people have signed: the folder `trust/` of a commit. */
import type { Commit, Git, Oid } from '../git/git.ts';
import { EMPTY_TREE, entryAt, readFiles } from '../git/tree.ts';
import {
  emptyTrustFolder,
  isTrustFile,
  NO_FOLDER,
  readTrustFolder,
  TRUST_FOLDER,
  type TrustFolder,
} from '../trust/tuf/folder.ts';

export interface ReadTrust {
  /** The folder's tree. */
  readonly tree: Oid;
  readonly folder: TrustFolder;
}

/** Without such a folder an empty one. Equal folders are one object. */
export async function readTrust(git: Git, commit: Commit, before?: ReadTrust): Promise<ReadTrust> {
  const entry = await entryAt(git, commit.tree, TRUST_FOLDER);
  const tree = entry?.oid ?? EMPTY_TREE;
  if (tree === before?.tree) return before;
  if (entry === undefined) return { tree, folder: emptyTrustFolder() };
  if (entry.mode !== '040000') return { tree, folder: emptyTrustFolder([NO_FOLDER]) };
  const files = new Map<string, Uint8Array | undefined>();
  for (const { path, mode, oid } of await readFiles(git, commit.tree, TRUST_FOLDER)) {
    const below = path.slice(TRUST_FOLDER.length + 1);
    // Links are never followed.
    if (isTrustFile(below)) files.set(below, mode.startsWith('100') ? await git.blob(oid) : undefined);
  }
  return { tree, folder: readTrustFolder(files) };
}
