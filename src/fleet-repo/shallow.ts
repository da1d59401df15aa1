/**
 * Where the history of a shallow clone begins: the file `shallow` in the git folder names the commits whose parents are
 * not there (gitrepository-layout(5)).
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unlessAbsent, writeFileDurably } from './durable-fs.ts';
import type { Oid } from './git.ts';

const FILE_MODE = 0o666;

/** None where the history is whole. */
export async function readShallow(commonDir: string): Promise<ReadonlySet<Oid>> {
  const text = await readFile(join(commonDir, 'shallow'), 'utf8').catch(unlessAbsent);
  return new Set(text?.split('\n').filter((line) => line !== ''));
}

export async function writeShallow(commonDir: string, boundary: Iterable<Oid>): Promise<void> {
  const lines = Array.from(boundary, (oid) => `${oid}\n`);
  await writeFileDurably(join(commonDir, 'shallow'), lines.join(''), FILE_MODE);
}
