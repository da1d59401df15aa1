/** Files that are whole and on disk, or not there: what has to survive a power cut. */
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * Puts a file in place atomically: temporary file, fsync, rename, fsync of the folder. A reader sees the old file or the
 * new one. The folder must exist.
 *
 * The temporary name starts with `tmp_obj_`, which `git prune` sweeps up if a crash leaves one behind; the rest only has
 * to differ between writers, also of two machines that share the folder.
 */
export async function writeFileDurably(
  path: string,
  content: Uint8Array | string,
  mode: number,
): Promise<void> {
  await throughTemporary(path, { content, mode }, (temporary) => rename(temporary, path));
}

/**
 * {@link writeFileDurably}, unless the name is taken: false then, and what is there stays. A link, not a rename: a rename would
 * replace what another process has put there and works with.
 */
export async function writeFileOnce(
  path: string,
  content: Uint8Array | string,
  mode: number,
): Promise<boolean> {
  let isOurs = true;
  await throughTemporary(path, { content, mode }, async (temporary) => {
    await link(temporary, path).catch((error: unknown) => {
      if (errorCode(error) !== 'EEXIST') throw error;
      isOurs = false;
    });
    await unlink(temporary);
  });
  return isOurs;
}

/** Writes the content beside `path`, on disk, and has `put` give it its name; nothing is left where something fails. */
async function throughTemporary(
  path: string,
  { content, mode }: { readonly content: Uint8Array | string; readonly mode: number },
  put: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = join(dirname(path), `tmp_obj_${randomUUID()}`);
  const file = await open(temporary, 'wx', mode);
  try {
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await put(temporary);
  } catch (error) {
    await unlink(temporary);
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Creates a folder and its missing parents; all of them are durable when this resolves. */
export async function makeFolderDurably(path: string): Promise<void> {
  const topmost = await mkdir(path, { recursive: true });
  if (topmost === undefined) return;
  for (let folder = path; folder.length >= topmost.length; folder = dirname(folder)) {
    await syncFolder(dirname(folder));
  }
}

/** Makes renames and new names in a folder durable: the name of a file is the folder's content, not the file's. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** The `code` of a failed system call (`ENOENT`), or undefined where `error` is something else. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** True where `error` says that there is no such file, also because a parent is missing or is a file. */
export function isAbsent(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Why a repository cannot be written, with the next step; undefined where `error` is nothing that a person can mend. */
export function writeProblem(error: unknown, path: string): string | undefined {
  switch (errorCode(error)) {
    case 'EACCES':
    case 'EPERM':
      return `${path} may not be written by this user: give the user write permission on the whole repository`;
    case 'EROFS':
      return `${path} is on a read-only file system: mount it writable, or use a copy of the repository`;
    case 'ENOSPC':
    case 'EDQUOT':
      return `the disk that holds ${path} is full: free some space, nothing was changed`;
    case 'ENAMETOOLONG':
      return `${path} is too long a name for the file system: choose a shorter one`;
    default:
      return undefined;
  }
}

/** For `.catch`: a missing file is undefined, everything else is still an error. */
export function unlessAbsent(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}
