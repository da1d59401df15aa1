/**
 * Joining the fleet. An enrolment token is what an operator hands out: it says which tags, and perhaps which id, its
 * bearer gets. A credential is what the device keeps: it binds id, tags and key, has no expiry, and lets the device
 * be registered again when the store was lost. Revoking is a commit, not a matter of tokens.
 */
import { DEVICE_ID_PATTERN, type DeviceId } from '../core/model/ids.ts';
import { formatDuration, type Instant, SECOND } from '../core/model/time.ts';
import { type Claims, keySet, signJws, verifyJws } from './jws.ts';
import type { Keys } from './keys.ts';
import { thumbprintOf } from './signing-key.ts';

export interface EnrolmentGrant {
  readonly tags: Readonly<Record<string, string>>;
  /** Where it is there, the token is for this device only and may give it a new key. */
  readonly id?: DeviceId;
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

export async function mintEnrolmentToken(
  keys: Keys,
  grant: EnrolmentGrant & { readonly fleet: string; readonly expiresAt: Instant; readonly now: Instant },
): Promise<string> {
  const { fleet, id, tags, expiresAt, now } = grant;
  return signEnrolment(keys, TOKEN_TYP, {
    iss: fleet,
    ...(id === undefined ? {} : { sub: id }),
    iat: Math.floor(now / SECOND),
    exp: Math.floor(expiresAt / SECOND),
    tags,
  });
}

export async function verifyEnrolmentToken(
  keys: Keys,
  given: { readonly token: string; readonly fleet: string; readonly now: Instant },
): Promise<{ readonly kind: 'ok'; readonly grant: EnrolmentGrant } | Refused> {
  const result = verifyJws(given.token, { typ: TOKEN_TYP, publicKey: keySet(keys.enrolment) });
  if (result.kind === 'refused') return refused(`not an enrolment token of ours: ${result.message}`);
  const { iss, sub, exp, tags } = result.claims;
  if (iss !== given.fleet) return refused(wrongFleet('token', given.fleet, iss));
  if (!Number.isSafeInteger(exp) || !isTags(tags) || !(sub === undefined || isDeviceId(sub))) {
    return refused('the token lacks an expiry, tags or a well-formed id');
  }
  const leftMs = Number(exp) * SECOND - given.now;
  if (leftMs <= 0) {
    return refused(`the token expired ${formatDuration(-leftMs)} ago; ask an operator for a new one`);
  }
  return { kind: 'ok', grant: { tags, ...(sub === undefined ? {} : { id: sub }) } };
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

function signEnrolment(keys: Keys, typ: string, claims: Claims): string {
  const { kid, private: key } = keys.enrolment;
  return signJws({ typ, json: JSON.stringify(claims), key, kid });
}

function wrongFleet(what: string, expected: string, found: unknown): string {
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

function refused(message: string): Refused {
  return { kind: 'refused', message };
}
