/**
 * A device's flags, signed for it as an assignment is: by the same key, for the same time, in the same slots. The
 * document stays the plain JSON that any client can read; its signature travels beside it, as a JWS without its payload
 * (RFC 7515 appendix F). What the flags are is decided elsewhere.
 */
import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { FlagValue } from '../core/model/flag.ts';
import type { DeviceId } from '../core/model/ids.ts';
import { formatDuration, type Instant, SECOND } from '../core/model/time.ts';
import { ASSIGNMENT_LIFETIME_MS, renewalSlot } from './assignment.ts';
import { type Claims, type JwsRefusal, signJws, verifyJws } from './jws.ts';
import type { PublicKeySet, SigningKey } from './signing-key.ts';

/** A document that is about to be served. */
export interface SignableFlags {
  /** `{"device_id": …, "flags": {…}, "version": N}`: these bytes are signed. */
  readonly body: string;
  /** Strong, quotes included. It digests all that is signed, so it also changes when the signature is renewed. */
  readonly etag: string;
  readonly header: Claims;
}

/** What a device may act on, once verified. */
export interface VerifiedFlags {
  readonly values: Readonly<Record<string, FlagValue>>;
  /** Counts the changes of flags. A device ignores flags with a lower one than it has seen. */
  readonly version: number;
  /** Past it a device does not take these flags for news; those it has stay in force. */
  readonly expiresAt: Instant;
}

export type FlagsResult =
  | { readonly kind: 'ok'; readonly flags: VerifiedFlags }
  | { readonly kind: 'refused'; readonly code: FlagsRefusal; readonly message: string };

export type FlagsRefusal = JwsRefusal | 'wrong-fleet' | 'wrong-device' | 'expired' | 'older-version';

export interface FlagsSigner {
  document(flags: {
    readonly device: DeviceId;
    readonly values: Readonly<Record<string, FlagValue>>;
    readonly version: number;
    readonly now: Instant;
  }): SignableFlags;
  /** `<header>..<signature>`, the value of `Tidegate-Signature`. */
  sign(flags: SignableFlags): string;
}

const TYP = 'tidegate-flags+jwt';
/** Signatures that are remembered, each with its tag about 400 bytes. */
const CACHE_SIZE = 20_000;

/** `issuer` is the fleet's name. */
export function createFlagsSigner(key: SigningKey, { issuer }: { issuer: string }): FlagsSigner {
  const signed = new LRUCache<string, string>({ max: CACHE_SIZE });
  return {
    document({ device, values, version, now }) {
      const issuedAt = renewalSlot(device, now);
      const body = JSON.stringify({ device_id: device, flags: values, version });
      const header = {
        iss: issuer,
        iat: issuedAt / SECOND,
        exp: (issuedAt + ASSIGNMENT_LIFETIME_MS) / SECOND,
      };
      const digest = hash('sha256', JSON.stringify({ kid: key.kid, ...header, body }), 'base64url');
      return { body, header, etag: `"${digest}"` };
    },

    sign({ body, header, etag }) {
      const known = signed.get(etag);
      if (known !== undefined) return known;
      const jws = signJws({ typ: TYP, json: body, key: key.private, kid: key.kid, header });
      const detached = jws.replace(/\.[^.]*\./, '..');
      signed.set(etag, detached);
      return detached;
    },
  };
}

/**
 * Whether a device may act on `body`. It is checked that we signed these bytes, as flags, for this fleet and this
 * device; that the signature has not expired; and that the flags are no older than those that the device has seen.
 */
export function verifyFlags(
  { body, signature }: { readonly body: string; readonly signature: string },
  expected: {
    readonly keys: PublicKeySet;
    readonly device: DeviceId;
    readonly fleet: string;
    readonly now: Instant;
    /** The highest version seen so far; 0 at first. */
    readonly lastVersion: number;
  },
): FlagsResult {
  const { keys, device, fleet, now, lastVersion } = expected;
  const [head, mark, ...more] = signature.split('..');
  if (mark === undefined || more.length > 0) {
    return refused('malformed', 'expected a JWS without its payload, <header>..<signature>');
  }
  const jws = `${head}.${Buffer.from(body).toString('base64url')}.${mark}`;
  const result = verifyJws(jws, { typ: TYP, publicKey: keys });
  if (result.kind === 'refused') return result;

  const { iss } = result.header;
  if (iss !== fleet) return refused('wrong-fleet', `expected iss "${fleet}", found ${JSON.stringify(iss)}`);
  const { device_id: id } = result.claims;
  if (id !== device) {
    return refused('wrong-device', `expected device_id "${device}", found ${JSON.stringify(id)}`);
  }
  const flags = readFlags(result.header, result.claims);
  if (flags === undefined) return refused('malformed', 'the document lacks a member that all flags have');
  if (flags.expiresAt <= now) {
    const age = formatDuration(now - flags.expiresAt);
    return refused('expired', `it expired ${age} ago by the device's clock`);
  }
  if (flags.version < lastVersion) {
    return refused('older-version', `version ${flags.version} is older than ${lastVersion}, seen before`);
  }
  return { kind: 'ok', flags };
}

/** Undefined where a member is missing or of another type. */
function readFlags({ exp }: Claims, { flags, version }: Claims): VerifiedFlags | undefined {
  if (!isCount(exp) || !isCount(version)) return undefined;
  if (typeof flags !== 'object' || flags === null || Array.isArray(flags)) return undefined;
  if (!Object.values(flags).every((value) => ['boolean', 'number', 'string'].includes(typeof value))) {
    return undefined;
  }
  return { values: flags as Record<string, FlagValue>, version, expiresAt: exp * SECOND };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function refused(code: FlagsRefusal, message: string): FlagsResult {
  return { kind: 'refused', code, message };
}
