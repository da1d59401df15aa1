/** What commands need that sign with the server's own keys, without a server: where its data lies, for which fleet, how long. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { type DurationMs, formatDuration, parseDuration } from '../core/model/time.ts';
import { isAbsent } from '../durable-fs.ts';
import { type Keys, openKeys } from '../trust/keys.ts';
import { CommandError } from './errors.ts';
import type { Io } from './io.ts';
import { getJson, serverUrl } from './server.ts';

export interface SignedHere {
  /** The server's data folder. */
  readonly data: string;
  /** Asked of the running server, unless said. */
  readonly fleet?: string;
  readonly server?: string;
}

/** Keys are the server's to make: a token signed with new ones from a wrong folder would be of no use. */
export async function serverKeys({ data }: SignedHere, { env }: Pick<Io, 'env'>): Promise<Keys> {
  const folder = join(data, 'keys');
  if (!env['TIDEGATE_KEY_ENROLMENT']) {
    try {
      await access(join(folder, 'enrolment.pem'));
    } catch (error) {
      if (!isAbsent(error)) throw error;
      throw new CommandError(
        `${folder} has no enrolment key; check --data, or start the server once: it makes its keys`,
      );
    }
  }
  return openKeys(folder, env);
}

export async function fleetOf({ fleet, server }: SignedHere, io: Io): Promise<string> {
  if (fleet !== undefined) return fleet;
  const url = serverUrl(server, io);
  const status = (await getJson(io, url, 'api/status'))?.body as { fleet?: string | null } | undefined;
  if (typeof status?.fleet === 'string') return status.fleet;
  throw new CommandError(`the server at ${url.origin} has no fleet in force yet; name it with --fleet`);
}

export function parseExpiry(
  written: string,
  { maxMs, such }: { readonly maxMs: DurationMs; readonly such: string },
): DurationMs {
  const duration = parseDuration(written);
  if (duration !== undefined && duration > 0 && duration <= maxMs) return duration;
  const expected = `a duration of at most ${formatDuration(maxMs)}, such as ${such}`;
  throw new CommandError(`--expires must be ${expected}; found "${written}"`);
}
