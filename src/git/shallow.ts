/**
 * Where the history of a shallow clone begins: the file `shallow` in the git folder names the commits whose parents are
 * not there (gitrepository-layout(5)).
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unlessAbsent } from '../durable-fs.ts';
import type { Oid } from './git.ts';

/** None where the history is whole. */
export async function readShallow(commonDir: string): Promise<ReadonlySet<Oid>> {
  const text = await readFile(join(commonDir, 'shallow'), 'utf8').catch(unlessAbsent);
  return new Set(text?.split('\n').filter((line) => line !== ''));
}
