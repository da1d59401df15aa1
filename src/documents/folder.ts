/** The documents of a working directory, for commands that look at what is not committed yet. */
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SourceFile } from './load.ts';

/**
 * The files below `fleet/` and `ops/` of the folder `root`, in order of path. Links are listed and not followed, so
 * that nothing outside is read; files that are not YAML are listed without their content. Throws where `root` cannot
 * be read; a folder without documents gives an empty list.
 */
export async function readFolder(root: string): Promise<readonly SourceFile[]> {
  const names = new Set(await readdir(root));
  const files: SourceFile[] = [];
  for (const folder of ['fleet', 'ops']) if (names.has(folder)) await collect(root, folder, files);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function collect(root: string, path: string, files: SourceFile[]): Promise<void> {
  const absolute = join(root, path);
  const stats = await lstat(absolute);
  if (stats.isSymbolicLink()) {
    files.push({ path, content: EMPTY, mode: '120000' });
  } else if (stats.isDirectory()) {
    const names = await readdir(absolute);
    // A folder with a repository of its own is what git would record as a submodule.
    if (names.includes('.git')) files.push({ path, content: EMPTY, mode: '160000' });
    else for (const name of names) await collect(root, `${path}/${name}`, files);
  } else if (stats.isFile()) {
    const content = /\.ya?ml$/.test(path) ? await readFile(absolute) : EMPTY;
    files.push({ path, content, mode: '100644' });
  }
}

const EMPTY = new Uint8Array();
