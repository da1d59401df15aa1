/** The documents of a working directory, for commands that look at what is not committed yet. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../durable-fs.ts';
import type { SourceFile } from './load.ts';
import { PARSE_LIMITS, tooLarge } from './parse.ts';
import type { Finding } from './problem.ts';

/** Where documents are; what else a fleet repository holds is none of theirs. */
const DOCUMENT_FOLDERS = ['fleet', 'ops'] as const;

/**
 * The files below these folders of the folder `root`, in order of path. Links are listed and not followed, so
 * that nothing outside is read; files that are not YAML are listed without their content, and so are those that cannot be
 * read. Throws where `root` cannot be read; a folder without documents gives an empty list.
 */
export async function readFolder(
  root: string,
  folders: readonly string[] = DOCUMENT_FOLDERS,
): Promise<readonly SourceFile[]> {
  const names = new Set(await readdir(root));
  const files: SourceFile[] = [];
  // One after the other, at once: nothing else runs in a command, and a file costs a fraction of what it costs in a thread pool.
  for (const folder of folders) if (names.has(folder)) collect(root, folder, files);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function collect(root: string, path: string, files: SourceFile[]): void {
  const absolute = join(root, path);
  const stats = lstatSync(absolute);
  if (stats.isSymbolicLink()) {
    files.push({ path, content: EMPTY, mode: '120000' });
  } else if (stats.isDirectory()) {
    const names = unlessUnreadable(() => readdirSync(absolute));
    if (!Array.isArray(names)) files.push({ path, content: EMPTY, unread: names });
    // A folder with a repository of its own is what git would record as a submodule.
    else if (names.includes('.git')) files.push({ path, content: EMPTY, mode: '160000' });
    else {
      if (isDocument(path)) files.push({ path, content: EMPTY, mode: '040000' });
      for (const name of names) collect(root, `${path}/${name}`, files);
    }
  } else if (stats.isFile()) {
    files.push({ path, mode: '100644', sizeBytes: stats.size, ...contentOf(absolute, stats.size) });
  }
}

const EMPTY = new Uint8Array();

function isDocument(path: string): boolean {
  return /\.ya?ml$/.test(path);
}

function contentOf(path: string, sizeBytes: number): Pick<SourceFile, 'content' | 'unread'> {
  if (!isDocument(path)) return { content: EMPTY };
  // A firmware image with a wrong name must not be read into memory to be refused.
  const most = PARSE_LIMITS.withLongTextsBytes;
  if (sizeBytes > most) return { content: EMPTY, unread: tooLarge(most, sizeBytes) };
  const content = unlessUnreadable(() => readFileSync(path));
  return content instanceof Uint8Array ? { content } : { content: EMPTY, unread: content };
}

function unlessUnreadable<Read>(read: () => Read): Read | Finding {
  try {
    return read();
  } catch (error) {
    return unreadable(error);
  }
}

/** Whose rights are missing, and disks that fail: a problem of this one file. */
function unreadable(error: unknown): Finding {
  const code = errorCode(error);
  if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EIO') throw error;
  const message = `it cannot be read (${code}), so nothing in it was checked; give yourself the right to read it`;
  return { line: 1, column: 1, rule: 'unreadable', severity: 'error', message };
}
