/**
 * Joining the fleet. An enrolment token is what an operator hands out: it says which tags, and perhaps which id, its
 * bearer gets. A credential is what the device keeps: it binds id, tags and key, has no expiry, and lets the device
 * be registered again when the store was lost. Revoking is a commit, not a matter of tokens.
 */
import type { KeyObject } from 'node:crypto';
import { DEVICE_ID_PATTERN, type DeviceId } from '../core/model/ids.ts';
import { type DurationMs, formatDuration, type Instant, MINUTE, SECOND } from '../core/model/time.ts';
import { type Claims, keySet, signJws, verifyJws } from './jws.ts';
import type { Keys } from './keys.ts';
import { thumbprintOf } from './signing-key.ts';

export interface EnrolmentGrant {
  readonly tags: Readonly<Record<string, string>>;
  /** Where it is there, the token is for this device only and may give it a new key. */
  readonly id?: DeviceId;
  /** How many devices may join with it; absent: as many as come before it expires. */
  readonly limit?: { readonly token: string; readonly uses: number };
}

export interface Credential {
  readonly id: DeviceId;
  /** RFC 7638 thumbprint of the device's public key. */
  readonly thumbprint: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Counts the keys that this id has had, from 1. */
  readonly serial: number;
}

export type Refused = { readonly kind: 'refused'; readonly message: string };

const TOKEN_TYP = 'tidegate-enrolment+jwt';
const CREDENTIAL_TYP = 'tidegate-credential+jwt';
const KEY_CHANGE_TYP = 'tidegate-key-change+jwt';
const KEY_CHANGE_MS: DurationMs = 10 * MINUTE;
/** How far a device's clock may be off. */
const CLOCK_TOLERANCE_MS: DurationMs = MINUTE;

export async function mintEnrolmentToken(
  keys: Keys,
  grant: EnrolmentGrant & { readonly fleet: string; readonly expiresAt: Instant; readonly now: Instant },
): Promise<string> {
  const { fleet, id, tags, limit, expiresAt, now } = grant;
  return signEnrolment(keys, TOKEN_TYP, {
    iss: fleet,
    ...(id === undefined ? {} : { sub: id }),
    iat: Math.floor(now / SECOND),
    exp: Math.floor(expiresAt / SECOND),
    ...(limit === undefined ? {} : { jti: limit.token, uses: limit.uses }),
    tags,
  });
}

export async function verifyEnrolmentToken(
  keys: Keys,
  given: { readonly token: string; readonly fleet: string; readonly now: Instant },
): Promise<{ readonly kind: 'ok'; readonly grant: EnrolmentGrant; readonly expiresAt: Instant } | Refused> {
  const result = verifyJws(given.token, { typ: TOKEN_TYP, publicKey: keySet(keys.enrolment) });
  if (result.kind === 'refused') return refused(`not an enrolment token of ours: ${result.message}`);
  const { iss, sub, exp, tags, jti, uses } = result.claims;
  if (iss !== given.fleet) return refused(wrongFleet('token', given.fleet, iss));
  if (!Number.isSafeInteger(exp) || !isTags(tags) || !(sub === undefined || isDeviceId(sub))) {
    return refused('the token lacks an expiry, tags or a well-formed id');
  }
  const leftMs = Number(exp) * SECOND - given.now;
  if (leftMs <= 0) {
    return refused(`the token expired ${formatDuration(-leftMs)} ago; ask an operator for a new one`);
  }
  const isLimited = typeof jti === 'string' && Number.isSafeInteger(uses);
  if (!isLimited && (jti !== undefined || uses !== undefined))
    return refused('the token lacks an id, or how many devices may join with it');
  const grant = {
    tags,
    ...(sub === undefined ? {} : { id: sub }),
    ...(isLimited ? { limit: { token: jti, uses: Number(uses) } } : {}),
  };
  return { kind: 'ok', grant, expiresAt: Number(exp) * SECOND };
}

export async function issueCredential(
  keys: Keys,
  device: {
    readonly fleet: string;
    readonly id: DeviceId;
    readonly publicKey: string;
    readonly tags: Readonly<Record<string, string>>;
    readonly serial: number;
    readonly now: Instant;
  },
): Promise<string> {
  return signEnrolment(keys, CREDENTIAL_TYP, {
    iss: device.fleet,
    sub: device.id,
    iat: Math.floor(device.now / SECOND),
    // RFC 7800 names the confirmation claim, RFC 9449 the thumbprint in it.
    cnf: { jkt: await thumbprintOf(device.publicKey) },
    tags: device.tags,
    serial: device.serial,
  });
}

export async function verifyCredential(
  keys: Keys,
  given: { readonly credential: string; readonly fleet: string },
): Promise<{ readonly kind: 'ok'; readonly credential: Credential } | Refused> {
  const result = verifyJws(given.credential, {
    typ: CREDENTIAL_TYP,
    publicKey: keySet(keys.enrolment),
  });
  if (result.kind === 'refused') return refused(`not a credential of ours: ${result.message}`);
  const { iss, sub, cnf, tags, serial } = result.claims;
  if (iss !== given.fleet) return refused(wrongFleet('credential', given.fleet, iss));
  const thumbprint = isRecord(cnf) ? cnf['jkt'] : undefined;
  if (!isDeviceId(sub) || typeof thumbprint !== 'string' || !isTags(tags) || !Number.isSafeInteger(serial)) {
    return refused('the credential lacks its id, key thumbprint, tags or serial');
  }
  return { kind: 'ok', credential: { id: sub, thumbprint, tags, serial: Number(serial) } };
}

/**
 * A device that takes another key says so with the one that it has: this is what it signs. Ten minutes are enough for that.
 */
export async function signKeyChange(change: {
  readonly fleet: string;
  readonly id: DeviceId;
  /** The new one. */
  readonly publicKey: string;
  /** The old one. */
  readonly key: KeyObject;
  readonly now: Instant;
}): Promise<string> {
  const { fleet, id, publicKey, key, now } = change;
  const iat = Math.floor(now / SECOND);
  const claims = {
    iss: id,
    sub: id,
    aud: fleet,
    iat,
    exp: iat + KEY_CHANGE_MS / SECOND,
    cnf: { jkt: await thumbprintOf(publicKey) },
  };
  return signJws({ typ: KEY_CHANGE_TYP, json: JSON.stringify(claims), key });
}

/** Undefined where the holder of `oldKey` has said that `publicKey` takes its place; else why that is not so. */
export async function keyChangeProblem(
  proof: string,
  given: {
    readonly fleet: string;
    readonly id: DeviceId;
    readonly publicKey: string;
    readonly oldKey: string;
    readonly now: Instant;
  },
): Promise<string | undefined> {
  const { fleet, id, publicKey, oldKey, now } = given;
  const result = verifyJws(proof, { typ: KEY_CHANGE_TYP, publicKey: oldKey });
  if (result.kind === 'refused') return `the proof does not hold: ${result.message}`;
  const { sub, aud, exp, cnf } = result.claims;
  if (sub !== id || aud !== fleet)
    return `the proof is for another device or fleet than "${id}" of "${fleet}"`;
  const left = Number(exp) * SECOND - now;
  if (!(left > 0 && left <= KEY_CHANGE_MS + CLOCK_TOLERANCE_MS))
    return 'the proof has expired, or lasts longer than ten minutes';
  const named = isRecord(cnf) ? cnf['jkt'] : undefined;
  return named === (await thumbprintOf(publicKey)) ? undefined : 'the proof names another public key';
}

/** What the enrolment key signs; `typ` says what it is for. */
export function signEnrolment(keys: Keys, typ: string, claims: Claims): string {
  const { kid, private: key } = keys.enrolment;
  return signJws({ typ, json: JSON.stringify(claims), key, kid });
}

export function wrongFleet(what: string, expected: string, found: unknown): string {
  return `the ${what} is for fleet ${JSON.stringify(found)}, this is "${expected}"`;
}

function isDeviceId(value: unknown): value is DeviceId {
  return typeof value === 'string' && DEVICE_ID_PATTERN.test(value);
}

function isTags(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every((tag) => typeof tag === 'string');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function refused(message: string): Refused {
  return { kind: 'refused', message };
}
