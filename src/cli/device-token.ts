/**
 * `tidegate device token`: what a device enrols with. It is signed with the server's own key, so this runs where the
 * server's data lies; the token itself is a secret until it has expired.
 */
import { randomUUID } from 'node:crypto';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { DEVICE_ID_PATTERN, type DeviceId } from '../core/model/ids.ts';
import { DAY, type DurationMs, formatDuration, parseDuration } from '../core/model/time.ts';
import { isAbsent } from '../durable-fs.ts';
import { mintEnrolmentToken } from '../trust/enrolment.ts';
import { openKeys } from '../trust/keys.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { formatWhen } from './output.ts';
import { getJson, serverUrl } from './server.ts';

export interface DeviceTokenOptions {
  /** The server's data folder. */
  readonly data: string;
  /** `key=value` each. */
  readonly tag?: readonly string[];
  readonly id?: string;
  readonly expires: string;
  /** How many devices may join with it. */
  readonly uses: number;
  /** Asked of the running server, unless said. */
  readonly fleet?: string;
  readonly server?: string;
}

/** Whoever holds a token can join the fleet: none is good for longer than people remember that it exists. */
const EXPIRES_MAX_MS = 90 * DAY;

/** Prints the token alone on standard output, so that scripts can take it; what it is good for goes to standard error. */
export async function run(options: DeviceTokenOptions, io: Io): Promise<ExitCode> {
  const tags = parseTags(options.tag ?? []);
  const id = parseId(options.id);
  const now = io.clock.now();
  const expiresAt = now + parseExpiry(options.expires);
  const fleet = options.fleet ?? (await fleetOf(options, io));
  const keys = await openKeys(await keyFolder(options.data, io.env), io.env);
  const { uses } = options;
  const limit = { token: randomUUID(), uses };
  const grant = { fleet, tags, expiresAt, now, limit, ...(id === undefined ? {} : { id }) };
  io.out.lines([await mintEnrolmentToken(keys, grant)]);
  const whom = id === undefined ? (uses === 1 ? 'one device' : `${uses} devices`) : `device ${id}`;
  const named = Object.entries(tags).map(([key, value]) => `${key}=${value}`);
  const given = named.length === 0 ? 'no tags' : named.join(' ');
  io.err.lines([`lets ${whom} join fleet ${fleet} with ${given}; expires ${formatWhen(expiresAt, now)}`]);
  return EXIT.fine;
}

function parseTags(written: readonly string[]): Record<string, string> {
  const tags = new Map<string, string>();
  for (const text of written) {
    const at = text.indexOf('=');
    const [key, value] = [text.slice(0, at), text.slice(at + 1)];
    if (at < 1 || value === '') {
      throw new CommandError(`--tag must be key=value, as in --tag site=berlin-1; found "${text}"`);
    }
    if (tags.has(key))
      throw new CommandError(`--tag ${key} is given twice; a device has one value of each tag`);
    tags.set(key, value);
  }
  return Object.fromEntries(tags);
}

function parseId(written: string | undefined): DeviceId | undefined {
  if (written === undefined || DEVICE_ID_PATTERN.test(written)) return written as DeviceId | undefined;
  const expected = "1 to 128 letters, digits and . _ : @ ' + -, the first a letter or digit";
  throw new CommandError(`--id must be ${expected}; found "${written}"`);
}

function parseExpiry(written: string): DurationMs {
  const duration = parseDuration(written);
  if (duration !== undefined && duration > 0 && duration <= EXPIRES_MAX_MS) return duration;
  const expected = `a duration of at most ${formatDuration(EXPIRES_MAX_MS)}, such as 1h or 7d`;
  throw new CommandError(`--expires must be ${expected}; found "${written}"`);
}

async function fleetOf({ server }: DeviceTokenOptions, io: Io): Promise<string> {
  const url = serverUrl(server, io);
  const status = (await getJson(io, url, 'api/status'))?.body as { fleet?: string | null } | undefined;
  if (typeof status?.fleet === 'string') return status.fleet;
  throw new CommandError(`the server at ${url.origin} has no fleet in force yet; name it with --fleet`);
}

/** Keys are the server's to make: a token signed with new ones from a wrong folder would be of no use. */
async function keyFolder(data: string, env: Io['env']): Promise<string> {
  const folder = join(data, 'keys');
  if (env['TIDEGATE_KEY_ENROLMENT']) return folder;
  try {
    await access(join(folder, 'enrolment.pem'));
  } catch (error) {
    if (!isAbsent(error)) throw error;
    throw new CommandError(
      `${folder} has no enrolment key; check --data, or start the server once: it makes its keys`,
    );
  }
  return folder;
}
