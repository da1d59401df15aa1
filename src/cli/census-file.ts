/** A census in a file: from the branch outcomes, or as somebody wrote it down. */
import { readFile } from 'node:fs/promises';
import type { Census } from '../core/model/census.ts';
import { decodeCensus } from '../documents/census.ts';
import { errorCode } from '../durable-fs.ts';
import { CommandError } from './errors.ts';

export async function readCensusFile(file: string): Promise<Census> {
  return censusIn(await textOf(file), file);
}

/** `from`: where the text was found, for messages. */
export function censusIn(text: string, from: string): Census {
  const decoded = decodeCensus(text);
  if (decoded.ok) return decoded.census;
  throw new CommandError(`${from}: ${decoded.message}`);
}

export async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CommandError(`${file} cannot be read: ${errorCode(error) ?? String(error)}; name a file`);
  }
}
