/**
 * Who may post numbers that gates judge by: a token that the server's enrolment key signs and an operator hands out, for
 * the metrics that it names and until it expires. The server verifies it without having heard of it before, so taking
 * one back sooner means that the server is told its id. It is good for nothing else, and nothing else is good for this.
 */
import assert from 'node:assert/strict';
import { METRIC_PATTERN } from '../core/gates/outside.ts';
import { DAY, type DurationMs, formatDuration, type Instant, SECOND } from '../core/model/time.ts';
import { type Refused, refused, signEnrolment, wrongFleet } from './enrolment.ts';
import { keySet, verifyJws } from './jws.ts';
import type { Keys } from './keys.ts';

export interface ObservationGrant {
  /** Names the token, and says nothing of what is in it: a UUID. */
  readonly id: string;
  /** Exactly these, or whatever a gate may ask for. */
  readonly metrics: readonly string[] | '*';
  /** What a metric is counted in, where the operator has said so. */
  readonly units: Readonly<Record<string, string>>;
}

export type ObservationTokenResult =
  | { readonly kind: 'ok'; readonly grant: ObservationGrant; readonly expiresAt: Instant }
  | Refused;

/** A year: a token that nobody has to renew is one that nobody remembers. */
export const OBSERVATION_TOKEN_MAX_MS: DurationMs = 366 * DAY;
/** It travels in a header, which proxies bound. */
export const OBSERVATION_TOKEN_LENGTH_MAX = 6144;
export const OBSERVATION_TOKEN_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
export const UNIT_LENGTH_MAX = 32;

const TYP = 'tidegate-observations+jwt';

/** Names and units as they are to be; a token that came out too long for a header is the caller's to refuse. */
export async function mintObservationToken(
  keys: Keys,
  grant: ObservationGrant & { readonly fleet: string; readonly expiresAt: Instant; readonly now: Instant },
): Promise<string> {
  const { fleet, id, metrics, units, expiresAt, now } = grant;
  const lifeMs = expiresAt - now;
  assert(lifeMs > 0 && lifeMs <= OBSERVATION_TOKEN_MAX_MS, 'an observation token lasts for 366 days at most');
  assert(isMetrics(metrics), 'an observation token names metrics as gates name them, or all of them');
  return signEnrolment(keys, TYP, {
    iss: fleet,
    iat: Math.floor(now / SECOND),
    exp: Math.floor(expiresAt / SECOND),
    jti: id,
    metrics,
    ...(Object.keys(units).length === 0 ? {} : { units }),
  });
}

export async function verifyObservationToken(
  keys: Pick<Keys, 'enrolment'>,
  given: {
    readonly token: string;
    readonly fleet: string;
    readonly now: Instant;
    /** Ids of tokens that were taken back. */
    readonly revoked: ReadonlySet<string>;
  },
): Promise<ObservationTokenResult> {
  const { token, fleet, now, revoked } = given;
  if (token.length > OBSERVATION_TOKEN_LENGTH_MAX)
    return refused('not an observation token of ours: it is too long');
  const result = verifyJws(token, { typ: TYP, publicKey: keySet(keys.enrolment) });
  if (result.kind === 'refused') return refused(`not an observation token of ours: ${result.message}`);
  const { iss, exp, jti, metrics, units = {} } = result.claims;
  if (iss !== fleet) return refused(wrongFleet('token', fleet, iss));
  if (!Number.isSafeInteger(exp) || typeof jti !== 'string' || !isMetrics(metrics) || !isUnits(units))
    return refused('the token lacks an expiry, an id or metrics');
  const expiresAt = Number(exp) * SECOND;
  if (expiresAt <= now)
    return refused(`the token expired ${formatDuration(now - expiresAt)} ago; ask an operator for a new one`);
  if (revoked.has(jti)) return refused('the token was taken back; ask an operator for a new one');
  return { kind: 'ok', grant: { id: jti, metrics, units }, expiresAt };
}

export function mayPost({ metrics }: ObservationGrant, metric: string): boolean {
  return metrics === '*' || metrics.includes(metric);
}

/** Undefined where the token names none. A metric may be called as something that every object inherits. */
export function unitOf({ units }: ObservationGrant, metric: string): string | undefined {
  return Object.hasOwn(units, metric) ? units[metric] : undefined;
}

function isMetrics(value: unknown): value is readonly string[] | '*' {
  if (value === '*') return true;
  const isName = (each: unknown) => typeof each === 'string' && METRIC_PATTERN.test(each);
  return Array.isArray(value) && value.length > 0 && value.every(isName);
}

function isUnits(value: unknown): value is Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((unit) => typeof unit === 'string');
}
