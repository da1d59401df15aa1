/**
 * TUF metadata (specification 1.0.34): its shapes, the bytes that signatures cover, and who has signed. What every client is
 * known to read is a little less than the specification allows: Ed25519 keys in hex, `expires` in whole seconds, sha256
 * alone, path patterns with `*` and `?`, and no member that is empty.
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { canonicalJson, sha256Hex } from '../../core/model/manifest.ts';
import { type Instant, SECOND } from '../../core/model/time.ts';

export type TopLevelRole = 'root' | 'targets' | 'snapshot' | 'timestamp';
export const TOP_LEVEL_ROLES: readonly TopLevelRole[] = ['root', 'targets', 'snapshot', 'timestamp'];

/** A public key. Its id is the digest of its canonical JSON. */
export interface TufKey {
  readonly keytype: 'ed25519';
  readonly scheme: 'ed25519';
  /** 32 bytes in hex. */
  readonly keyval: { readonly public: string };
}

/** Who signs for a role: `threshold` of these keys. */
export interface RoleKeys {
  readonly keyids: readonly string[];
  readonly threshold: number;
}

interface Common<Type extends TopLevelRole> {
  readonly _type: Type;
  readonly spec_version: string;
  readonly version: number;
  /** RFC 3339, in whole seconds, UTC. */
  readonly expires: string;
}

export interface Root extends Common<'root'> {
  readonly consistent_snapshot: boolean;
  readonly keys: Readonly<Record<string, TufKey>>;
  readonly roles: Readonly<Record<TopLevelRole, RoleKeys>>;
}

export interface Targets extends Common<'targets'> {
  readonly targets: Readonly<Record<string, TargetFile>>;
  readonly delegations?: Delegations;
}

export interface Delegations {
  readonly keys: Readonly<Record<string, TufKey>>;
  readonly roles: readonly DelegatedRole[];
}

export interface DelegatedRole extends RoleKeys {
  readonly name: string;
  readonly paths: readonly string[];
  readonly terminating: boolean;
}

export interface TargetFile {
  readonly length: number;
  readonly hashes: { readonly sha256: string };
  readonly custom?: Readonly<Record<string, unknown>>;
}

/** Which version of another role's file is meant, and what its bytes are. */
export interface MetaFile {
  readonly version: number;
  readonly length?: number;
  readonly hashes?: { readonly sha256: string };
}

export interface Snapshot extends Common<'snapshot'> {
  /** By file name without a version: `targets.json`. */
  readonly meta: Readonly<Record<string, MetaFile>>;
}

export interface Timestamp extends Common<'timestamp'> {
  readonly meta: { readonly 'snapshot.json': MetaFile };
}

export type Signed = Root | Targets | Snapshot | Timestamp;
export type SignedAs<Type extends TopLevelRole> = Extract<Signed, { _type: Type }>;

export interface Signature {
  readonly keyid: string;
  /** 64 bytes in hex. */
  readonly sig: string;
}

export interface Envelope<Content extends Signed = Signed> {
  readonly signed: Content;
  readonly signatures: readonly Signature[];
}

/** What stock clients accept at the most, in bytes. */
export const LENGTH_MAX: Readonly<Record<TopLevelRole, number>> = {
  root: 512_000,
  timestamp: 16_384,
  snapshot: 1_048_576,
  targets: 5_000_000,
};

export const SPEC_VERSION = '1.0.0';

/** Metadata that is not what it must be; the message says what and where. */
export class MetadataError extends Error {
  override readonly name = 'MetadataError';
  readonly code: 'malformed' | 'signatures' | 'version' | 'expired' | 'mismatch' | 'too-large' | 'absent';
  constructor(code: MetadataError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** `x` is a raw public key in base64url, as a JWK has it. */
export function tufKey(x: string): TufKey {
  return {
    keytype: 'ed25519',
    scheme: 'ed25519',
    keyval: { public: Buffer.from(x, 'base64url').toString('hex') },
  };
}

export function keyIdOf(key: TufKey): string {
  return sha256Hex(canonicalJson(key));
}

export function formatExpires(at: Instant): string {
  return new Date(Math.floor(at / SECOND) * SECOND).toISOString().replace('.000Z', 'Z');
}

export function expiresAt({ expires }: Pick<Signed, 'expires'>): Instant {
  return Date.parse(expires);
}

/** What signatures cover. */
export function signedBytes(signed: Signed): Buffer {
  let bytes = covered.get(signed);
  if (bytes === undefined) {
    bytes = Buffer.from(canonicalJson(signed));
    covered.set(signed, bytes);
  }
  return bytes;
}

/** Signed and then checked: large metadata is written out once. */
const covered = new WeakMap<Signed, Buffer>();

/**
 * The keys of `role` that have signed. A key counts once, under the id that its own bytes have: two names for one key would
 * be two signers.
 */
export function signersOf(
  { signed, signatures }: Envelope,
  role: RoleKeys,
  keys: Readonly<Record<string, TufKey>>,
): ReadonlySet<string> {
  return signersOver({ covered: signedBytes(signed), signatures }, role, keys);
}

/** What signatures cover, and the signatures. */
export interface Covered {
  readonly covered: Uint8Array;
  readonly signatures: readonly Signature[];
}

function signersOver(
  { covered: bytes, signatures }: Covered,
  { keyids }: RoleKeys,
  keys: Readonly<Record<string, TufKey>>,
): ReadonlySet<string> {
  const signers = new Set<string>();
  for (const { keyid, sig } of signatures) {
    const key = keyids.includes(keyid) && Object.hasOwn(keys, keyid) ? keys[keyid] : undefined;
    if (key === undefined || keyIdOf(key) !== keyid || signers.has(keyid)) continue;
    const publicKey = importTufKey(key);
    if (
      publicKey !== undefined &&
      SIGNATURE.test(sig) &&
      verify(null, bytes, publicKey, Buffer.from(sig, 'hex'))
    )
      signers.add(keyid);
  }
  return signers;
}

/** Throws {@link MetadataError} unless as many keys of the role have signed as it wants. */
export function requireSigned(
  { signed, signatures }: Envelope,
  role: RoleKeys,
  given: { readonly keys: Readonly<Record<string, TufKey>>; readonly name: string },
): void {
  requireSignedOver({ covered: signedBytes(signed), signatures }, role, given);
}

/** {@link requireSigned}, for whoever has the bytes. */
export function requireSignedOver(
  signed: Covered,
  role: RoleKeys,
  { keys, name }: { readonly keys: Readonly<Record<string, TufKey>>; readonly name: string },
): void {
  const count = signersOver(signed, role, keys).size;
  if (count >= role.threshold) return;
  throw new MetadataError(
    'signatures',
    `${name} must be signed by ${role.threshold} of its ${role.keyids.length} keys, found ${count}`,
  );
}

const SIGNATURE = /^[0-9a-f]{128}$/;
const PUBLIC_KEY = /^[0-9a-f]{64}$/;
const KEY_ID = /^[0-9a-f]{64}$/;

/** Undefined where it is no Ed25519 key. */
export function importTufKey({ keytype, scheme, keyval }: TufKey): KeyObject | undefined {
  if (keytype !== 'ed25519' || scheme !== 'ed25519' || !PUBLIC_KEY.test(keyval.public)) return undefined;
  const x = Buffer.from(keyval.public, 'hex').toString('base64url');
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  } catch {
    return undefined; // Node says no more about it than that.
  }
}

/**
 * Reads a file of metadata and checks its form; not who signed it, nor when it expires. Throws {@link MetadataError}, naming the
 * member.
 */
export function parseMetadata<Type extends TopLevelRole>(
  bytes: Uint8Array,
  type: Type,
  name: string,
): Envelope<SignedAs<Type>> {
  if (bytes.byteLength > LENGTH_MAX[type])
    throw new MetadataError('too-large', `${name} has more than ${LENGTH_MAX[type]} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    throw new MetadataError('malformed', `${name} is no JSON`);
  }
  const check = checker(name);
  const { signed, signatures } = check.object(value, 'the file');
  const content = check.object(signed, 'signed');
  if (content['_type'] !== type) throw check.error(`signed._type must be "${type}"`);
  try {
    signedBytes(content as unknown as Signed);
  } catch {
    // A fraction, or more levels than the stack has: nobody can have signed it.
    throw check.error('signed has no canonical form');
  }
  const spec = content['spec_version'];
  if (typeof spec !== 'string' || !/^1\.\d+(\.\d+)?$/.test(spec))
    throw check.error('signed.spec_version must be 1.x');
  check.count(content['version'], 'signed.version', 1);
  const expires = content['expires'];
  if (typeof expires !== 'string' || !EXPIRES.test(expires) || Number.isNaN(Date.parse(expires)))
    throw check.error('signed.expires must be an instant like 2026-12-24T18:00:00Z');
  CONTENTS[type](content, check);
  const found = check.list(signatures, 'signatures').map((each) => {
    const { keyid, sig } = check.object(each, 'signatures[]');
    if (typeof keyid !== 'string' || !KEY_ID.test(keyid) || typeof sig !== 'string')
      throw check.error('signatures[] must have keyid and sig in hex');
    return { keyid, sig };
  });
  if (new Set(found.map(({ keyid }) => keyid)).size !== found.length)
    throw check.error('signatures must name each key once');
  return { signed: content as unknown as SignedAs<Type>, signatures: found };
}

const EXPIRES = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

const CONTENTS: Readonly<Record<TopLevelRole, (content: Json, check: Checker) => void>> = {
  root(content, check) {
    if (content['consistent_snapshot'] !== true) throw check.error('signed.consistent_snapshot must be true');
    checkKeys(content['keys'], 'signed.keys', check);
    const roles = check.object(content['roles'], 'signed.roles');
    for (const role of TOP_LEVEL_ROLES) checkRoleKeys(roles[role], `signed.roles.${role}`, check);
  },
  targets(content, check) {
    for (const [path, file] of Object.entries(check.object(content['targets'], 'signed.targets')))
      checkFile(file, `signed.targets[${JSON.stringify(path)}]`, check, true);
    if (content['delegations'] === undefined) return;
    const delegations = check.object(content['delegations'], 'signed.delegations');
    checkKeys(delegations['keys'], 'signed.delegations.keys', check);
    const names = new Set<unknown>();
    for (const [n, role] of check.list(delegations['roles'], 'signed.delegations.roles').entries()) {
      const at = `signed.delegations.roles[${n}]`;
      checkRoleKeys(role, at, check);
      const { name, paths, terminating } = check.object(role, at);
      if (typeof name !== 'string' || !ROLE_NAME.test(name) || names.has(name))
        throw check.error(
          `${at}.name must be a name of its own, of letters, digits, dots, dashes and underscores`,
        );
      names.add(name);
      if (!check.list(paths, `${at}.paths`).every((path) => typeof path === 'string'))
        throw check.error(`${at}.paths must be texts`);
      if (typeof terminating !== 'boolean') throw check.error(`${at}.terminating must be true or false`);
    }
  },
  snapshot(content, check) {
    for (const [file, meta] of Object.entries(check.object(content['meta'], 'signed.meta')))
      checkFile(meta, `signed.meta[${JSON.stringify(file)}]`, check, false);
  },
  timestamp(content, check) {
    checkFile(
      check.object(content['meta'], 'signed.meta')['snapshot.json'],
      'signed.meta["snapshot.json"]',
      check,
      false,
    );
  },
};

/** Clients sort members that look like numbers first, and signatures do not hold any more. */
const ROLE_NAME = /^[A-Za-z][A-Za-z0-9._-]{0,127}$/;

function checkKeys(value: unknown, at: string, check: Checker): void {
  for (const [keyid, key] of Object.entries(check.object(value, at))) {
    const { keytype, scheme, keyval } = check.object(key, `${at}.${keyid}`);
    const { public: hex } = check.object(keyval, `${at}.${keyid}.keyval`);
    if (keytype !== 'ed25519' || scheme !== 'ed25519' || typeof hex !== 'string' || !PUBLIC_KEY.test(hex))
      throw check.error(`${at}.${keyid} must be an ed25519 key in hex`);
    if (keyIdOf(key as TufKey) !== keyid) throw check.error(`${at}.${keyid} is not the id of that key`);
  }
}

function checkRoleKeys(value: unknown, at: string, check: Checker): void {
  const { keyids, threshold } = check.object(value, at);
  const ids = check.list(keyids, `${at}.keyids`);
  if (!ids.every((id) => typeof id === 'string' && KEY_ID.test(id)) || new Set(ids).size !== ids.length)
    throw check.error(`${at}.keyids must be ids of keys, each once`);
  check.count(threshold, `${at}.threshold`, 1);
  if (Number(threshold) > ids.length) throw check.error(`${at}.threshold must not be more than its keys`);
}

function checkFile(value: unknown, at: string, check: Checker, isTarget: boolean): void {
  const { version, length, hashes } = check.object(value, at);
  if (!isTarget) check.count(version, `${at}.version`, 1);
  if (isTarget || length !== undefined) check.count(length, `${at}.length`, 0);
  if (!isTarget && hashes === undefined) return;
  const { sha256 } = check.object(hashes, `${at}.hashes`);
  if (typeof sha256 !== 'string' || !KEY_ID.test(sha256))
    throw check.error(`${at}.hashes.sha256 must be 64 hex digits`);
}

type Json = Readonly<Record<string, unknown>>;
type Checker = ReturnType<typeof checker>;

function checker(name: string) {
  const error = (what: string) => new MetadataError('malformed', `${name}: ${what}`);
  return {
    error,
    object(value: unknown, at: string): Json {
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
      throw error(`${at} must be an object`);
    },
    list(value: unknown, at: string): readonly unknown[] {
      if (Array.isArray(value)) return value;
      throw error(`${at} must be a list`);
    },
    count(value: unknown, at: string, least: number): void {
      if (!Number.isSafeInteger(value) || Number(value) < least)
        throw error(`${at} must be a whole number of at least ${least}`);
    },
  };
}
