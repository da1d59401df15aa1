/**
 * `tidegate device token`: what a device enrols with. It is signed with the server's own key, so this runs where the
 * server's data lies; the token itself is a secret until it has expired.
 */
import { randomUUID } from 'node:crypto';
import { DEVICE_ID_PATTERN, type DeviceId } from '../core/model/ids.ts';
import { DAY } from '../core/model/time.ts';
import { mintEnrolmentToken } from '../trust/enrolment.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { formatWhen } from './output.ts';
import { fleetOf, parseExpiry, type SignedHere, serverKeys } from './server-keys.ts';

export interface DeviceTokenOptions extends SignedHere {
  /** `key=value` each. */
  readonly tag?: readonly string[];
  readonly id?: string;
  readonly expires: string;
  /** How many devices may join with it. */
  readonly uses: number;
}

/** Whoever holds a token can join the fleet: none is good for longer than people remember that it exists. */
const EXPIRES_MAX_MS = 90 * DAY;

/** Prints the token alone on standard output, so that scripts can take it; what it is good for goes to standard error. */
export async function run(options: DeviceTokenOptions, io: Io): Promise<ExitCode> {
  const tags = parseTags(options.tag ?? []);
  const id = parseId(options.id);
  const now = io.clock.now();
  const expiresAt = now + parseExpiry(options.expires, { maxMs: EXPIRES_MAX_MS, such: '1h or 7d' });
  const fleet = await fleetOf(options, io);
  const keys = await serverKeys(options, io);
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
