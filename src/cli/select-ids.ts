/** The device ids that `tidegate select --ids` is given: on the command line, in a file or piped in. */
import { readFile } from 'node:fs/promises';
import { DEVICE_ID_PATTERN, type DeviceId } from '../core/model/ids.ts';
import { CommandError } from './errors.ts';
import type { Io } from './io.ts';

const SHOWN_MAX = 5;

/** Each once, in the order in which they were written. `@FILE` names a file, `@-` what is piped in. */
export async function readIds(written: string, io: Io): Promise<readonly DeviceId[]> {
  const ids = parseIds(await textOf(written, io));
  const wrong = ids.filter((id) => !DEVICE_ID_PATTERN.test(id));
  if (wrong.length > 0) {
    const shown = wrong.slice(0, SHOWN_MAX).map((id) => JSON.stringify(id.slice(0, 140)));
    throw new CommandError(
      `--ids: a device id has 1 to 128 letters, digits and ._:@'+- and begins with a letter or digit, found ${shown.join(', ')}${wrong.length > SHOWN_MAX ? ` and ${wrong.length - SHOWN_MAX} more` : ''}; correct them`,
    );
  }
  if (ids.length === 0)
    throw new CommandError('--ids names no device; write ids, @FILE or @- for what is piped in');
  return ids as readonly DeviceId[];
}

/** Separated by commas, semicolons, pipes, white space and line breaks, in any mix. */
export function parseIds(text: string): readonly string[] {
  return [...new Set(text.split(/[\s,;|\uFEFF]+/).filter((id) => id !== ''))];
}

async function textOf(written: string, io: Io): Promise<string> {
  if (!written.startsWith('@')) return written;
  if (written === '@-') return await io.input();
  const file = written.slice(1);
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CommandError(`--ids: ${file} cannot be read (${why}); name a file with ids`, undefined, error);
  }
}
