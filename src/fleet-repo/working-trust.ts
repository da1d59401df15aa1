/** The folder `trust/` of a working folder, as it lies there, committed or not. */
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbsent, unlessAbsent } from '../durable-fs.ts';
import {
  emptyTrustFolder,
  isTrustFile,
  NO_FOLDER,
  readTrustFolder,
  TRUST_FOLDER,
  type TrustFolder,
} from '../trust/tuf/folder.ts';

/** What `trust/` below `repo` holds; links are seen and not followed. */
export async function readTrustIn(repo: string): Promise<TrustFolder> {
  const top = join(repo, TRUST_FOLDER);
  const found = await lstat(top).catch(unlessAbsent);
  if (found?.isDirectory() === false) return emptyTrustFolder([NO_FOLDER]);
  const files = new Map<string, Uint8Array | undefined>();
  for (const path of await filesBelow(top)) {
    if (!isTrustFile(path)) continue;
    const isFile = (await lstat(join(top, path))).isFile();
    files.set(path, isFile ? await readFile(join(top, path)) : undefined);
  }
  return readTrustFolder(files);
}

async function filesBelow(folder: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) =>
        join(entry.parentPath, entry.name)
          .slice(folder.length + 1)
          .replaceAll('\\', '/'),
      );
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}
