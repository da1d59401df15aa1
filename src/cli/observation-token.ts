/**
 * `tidegate observation token`: what others post numbers with. It is signed with the server's own key, so this runs where the server's
 * data lies; the token itself is a secret until it has expired.
 */
import { randomUUID } from 'node:crypto';
import { METRIC_PATTERN } from '../core/gates/outside.ts';
import {
  mintObservationToken,
  OBSERVATION_TOKEN_LENGTH_MAX,
  OBSERVATION_TOKEN_MAX_MS,
  type ObservationGrant,
  UNIT_LENGTH_MAX,
} from '../trust/observation-token.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { formatWhen } from './output.ts';
import { fleetOf, parseExpiry, type SignedHere, serverKeys } from './server-keys.ts';

export interface ObservationTokenOptions extends SignedHere {
  /** `name` or `name=unit` each; `*` alone. */
  readonly metric: readonly string[];
  readonly expires: string;
}

/** Prints the token alone on standard output, so that scripts can take it; what it is good for goes to standard error. */
export async function run(options: ObservationTokenOptions, io: Io): Promise<ExitCode> {
  const named = parseMetrics(options.metric);
  const now = io.clock.now();
  const expiresAt = now + parseExpiry(options.expires, { maxMs: OBSERVATION_TOKEN_MAX_MS, such: '90d' });
  const fleet = await fleetOf(options, io);
  const keys = await serverKeys(options, io);
  const id = randomUUID();
  const token = await mintObservationToken(keys, { ...named, id, fleet, expiresAt, now });
  if (token.length > OBSERVATION_TOKEN_LENGTH_MAX) {
    throw new CommandError(
      `${options.metric.length} metrics make a token that is too long for a header; make several tokens`,
    );
  }
  io.out.lines([token]);
  const what = named.metrics === '*' ? 'any metric' : options.metric.join(', ');
  io.err.lines([
    `lets whoever has it post ${what} to fleet ${fleet}; expires ${formatWhen(expiresAt, now)}`,
    `TIDEGATE_REVOKED_OBSERVATION_TOKENS=${id} takes it back sooner`,
  ]);
  return EXIT.fine;
}

function parseMetrics(written: readonly string[]): Pick<ObservationGrant, 'metrics' | 'units'> {
  if (written.includes('*')) {
    if (written.length === 1) return { metrics: '*', units: {} };
    throw new CommandError('--metric "*" stands for all metrics; name some, or give it alone');
  }
  const units = new Map<string, string | undefined>();
  for (const text of written) {
    const [name = '', ...rest] = text.split('=');
    const unit = rest.length === 0 ? undefined : rest.join('=');
    if (!METRIC_PATTERN.test(name)) {
      const expected = '1 to 128 letters, digits and _ . - that begin with a letter, as in support-tickets';
      throw new CommandError(`--metric must be ${expected}; found "${text}"`);
    }
    if (unit !== undefined && (unit === '' || unit.length > UNIT_LENGTH_MAX))
      throw new CommandError(`--metric ${name}= needs a unit of at most ${UNIT_LENGTH_MAX} characters`);
    if (units.has(name)) throw new CommandError(`--metric ${name} is given twice; a metric has one unit`);
    units.set(name, unit);
  }
  const known = [...units].flatMap(([name, unit]) => (unit === undefined ? [] : [[name, unit] as const]));
  return { metrics: [...units.keys()], units: Object.fromEntries(known) };
}
