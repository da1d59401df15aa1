/** Reads what people have signed: the folder `trust/` of a commit. */
import type { Commit, Git, Oid } from '../git/git.ts';
import { entryAt, readFiles } from '../git/tree.ts';
import { isTrustFile, readTrustFolder, TRUST_FOLDER, type TrustFolder } from '../trust/tuf/folder.ts';

export interface ReadTrust {
  /** The folder's tree. */
  readonly tree: Oid;
  readonly folder: TrustFolder;
}

/** Undefined where the commit has no such folder. Equal folders are one object. */
export async function readTrust(
  git: Git,
  commit: Commit,
  before?: ReadTrust,
): Promise<ReadTrust | undefined> {
  const entry = await entryAt(git, commit.tree, TRUST_FOLDER);
  if (entry?.mode !== '040000') return undefined;
  if (entry.oid === before?.tree) return before;
  const files = new Map<string, Uint8Array | undefined>();
  for (const { path, mode, oid } of await readFiles(git, commit.tree, TRUST_FOLDER)) {
    const below = path.slice(TRUST_FOLDER.length + 1);
    // Links are never followed.
    if (isTrustFile(below)) files.set(below, mode.startsWith('100') ? await git.blob(oid) : undefined);
  }
  return { tree: entry.oid, folder: readTrustFolder(files) };
}
