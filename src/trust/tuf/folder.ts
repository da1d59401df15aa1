/**
 * What people sign: the folder `trust/` of the fleet's repository. It holds public metadata alone.
 *
 * - `N.root.json`: every version of the root metadata, from 1 on
 * - `targets.json`: which keys sign for which product, and the files that it lists itself:
 *   `assignment-keys.json` and `permits/<product>.json`
 * - `artifacts-<product>.json`: what people vouch for
 * - `keys/<name>.pub`: public keys as `openssl pkey -pubout` writes them, so that people are called by name
 *
 * Reading it judges nothing but its form; files may still lack signatures.
 */
import { createPublicKey } from 'node:crypto';
import { ASSIGNMENT_KEYS } from './content.ts';
import {
  keyIdOf,
  MetadataError,
  parseMetadata,
  type Root,
  type Targets,
  type TufKey,
  tufKey,
} from './metadata.ts';
import type { SignedFile } from './repository.ts';
import { rootFile } from './root-chain.ts';

export const TRUST_FOLDER = 'trust';

export interface TrustFolder {
  /** Version 1 first. */
  readonly roots: readonly SignedFile<Root>[];
  /** `targets` and `artifacts-<product>`, by name. */
  readonly roles: ReadonlyMap<string, SignedFile<Targets>>;
  /** Files that `targets` lists itself, by target path. */
  readonly shared: ReadonlyMap<string, Uint8Array>;
  /** By the name of its file, without `.pub`. */
  readonly keys: ReadonlyMap<string, TufKey>;
  /** Those names by key id. */
  readonly names: ReadonlyMap<string, string>;
  /** Files that are not what they must be. */
  readonly flaws: readonly Flaw[];
}

/** What is wrong with a file. */
export interface Flaw {
  /** From the root of the repository. */
  readonly file: string;
  /** With the next step. */
  readonly message: string;
}

/** Of a fleet with thousands of products. */
const FILES_MAX = 5000;

const SHARED = /^(assignment-keys|permits\/[a-z0-9][a-z0-9.-]*)\.json$/;
const ROLE = /^(targets|artifacts-[a-z0-9][a-z0-9.-]*)\.json$/;
const ROOT = /^[1-9]\d{0,5}\.root\.json$/;
const PUBLIC_KEY = /^keys\/([A-Za-z0-9][A-Za-z0-9._-]*)\.pub$/;

/** A folder without anything: nobody has taken the keys. `flaws`: what stands there instead. */
export function emptyTrustFolder(flaws: readonly Flaw[] = []): TrustFolder {
  return { roots: [], roles: new Map(), shared: new Map(), keys: new Map(), names: new Map(), flaws };
}

/** What stands in the place of the folder is a file, a link or a submodule. */
export const NO_FOLDER: Flaw = { file: TRUST_FOLDER, message: 'is no folder; put the folder itself here' };

/** Whether a file, by its path below `trust/`, is one that is read here. */
export function isTrustFile(path: string): boolean {
  return [SHARED, ROLE, ROOT, PUBLIC_KEY].some((pattern) => pattern.test(path));
}

/** `files`: contents by path below `trust/`; undefined for what is no regular file. */
export function readTrustFolder(given: ReadonlyMap<string, Uint8Array | undefined>): TrustFolder {
  const flaws: Flaw[] = [];
  const files = new Map([...given].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, FILES_MAX));
  if (given.size > FILES_MAX)
    flaws.push({
      file: TRUST_FOLDER,
      message: `has ${given.size} files, and at most ${FILES_MAX} are read: take some away`,
    });
  const flaw = (path: string, message: string) => flaws.push({ file: `${TRUST_FOLDER}/${path}`, message });
  const read = <Value>(path: string, reading: (bytes: Uint8Array) => Value): Value | undefined => {
    const bytes = files.get(path);
    if (bytes === undefined) {
      flaw(path, 'is no regular file; put the file itself here');
      return undefined;
    }
    try {
      return reading(bytes);
    } catch (error) {
      if (!(error instanceof MetadataError)) throw error;
      flaw(path, withoutName(error.message, path));
      return undefined;
    }
  };

  const roots: SignedFile<Root>[] = [];
  for (let version = 1; files.has(rootFile(version)); version += 1) {
    const name = rootFile(version);
    const root = read(name, (bytes) => ({ bytes, envelope: parseMetadata(bytes, 'root', name) }));
    if (root === undefined) break;
    roots.push(root);
  }
  const roles = new Map<string, SignedFile<Targets>>();
  const shared = new Map<string, Uint8Array>();
  const keys = new Map<string, TufKey>();
  for (const path of [...files.keys()].sort()) {
    if (ROLE.test(path)) {
      const role = read(path, (bytes) => ({ bytes, envelope: parseMetadata(bytes, 'targets', path) }));
      if (role !== undefined) roles.set(path.slice(0, -'.json'.length), role);
    } else if (SHARED.test(path)) {
      const content = read(path, (bytes) => checkedShared(path, bytes));
      if (content !== undefined) shared.set(path, content);
    } else if (ROOT.test(path) && Number.parseInt(path, 10) > roots.length + 1) {
      flaw(path, `${rootFile(roots.length + 1)} is missing or cannot be read: devices need every version`);
    }
    const [, name] = PUBLIC_KEY.exec(path) ?? [];
    const key = name === undefined ? undefined : read(path, parsePublicKey);
    if (name !== undefined && key !== undefined) keys.set(name, key);
  }
  const names = new Map<string, string>();
  for (const [name, key] of keys) {
    const keyid = keyIdOf(key);
    const first = names.get(keyid);
    if (first === undefined) names.set(keyid, name);
    else
      flaw(`keys/${name}.pub`, `is the key of ${first}, too: two names would be two signers; take one away`);
  }
  return { roots, roles, shared, keys, names, flaws };
}

/** Whose key it is: the name of its file, else the beginning of its id. */
export function nameOf(keyid: string, { names }: Pick<TrustFolder, 'names'>): string {
  return names.get(keyid) ?? keyid.slice(0, 12);
}

/** A public key in PEM, as `openssl pkey -pubout` writes it. Throws {@link MetadataError}. */
export function parsePublicKey(pem: Uint8Array): TufKey {
  if (Buffer.from(pem).includes('PRIVATE KEY')) {
    const next = 'whoever can read the repository has it; make another key, and put its public half here';
    throw new MetadataError('malformed', `is a private key: ${next}`);
  }
  try {
    const key = createPublicKey({ key: Buffer.from(pem), format: 'pem' });
    const { x } = key.export({ format: 'jwk' });
    if (key.asymmetricKeyType === 'ed25519' && x !== undefined) return tufKey(x);
  } catch {
    // Node says no more about it than that.
  }
  throw new MetadataError('malformed', 'must be an Ed25519 public key in PEM');
}

/** The key as {@link parsePublicKey} reads it. */
export function publicKeyPem({ keyval }: TufKey): Uint8Array {
  const x = Buffer.from(keyval.public, 'hex').toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  return Buffer.from(key.export({ type: 'spki', format: 'pem' }));
}

function checkedShared(path: string, bytes: Uint8Array): Uint8Array {
  let value: { readonly keys?: unknown; readonly permits?: unknown };
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new MetadataError('malformed', `${path} is no JSON`);
  }
  if (path === ASSIGNMENT_KEYS) {
    if (!Array.isArray(value?.keys) || value.keys.length === 0 || !value.keys.every(isAssignmentKey))
      throw new MetadataError('malformed', `${path}: keys must be Ed25519 public keys, as JWK with a kid`);
  } else if (!Array.isArray(value?.permits) || !value.permits.every(isPermit)) {
    const form =
      '{"sha256": "…", "devices": ["…"], "until": "2026-12-24T18:00:00Z"}, devices left out for all';
    throw new MetadataError('malformed', `${path}: permits must be a list of ${form}`);
  }
  return bytes;
}

function isAssignmentKey(value: unknown): boolean {
  const { kty, crv, x, kid, d } = (value ?? {}) as Record<string, unknown>;
  const isPublic = kty === 'OKP' && crv === 'Ed25519' && typeof x === 'string' && d === undefined;
  return isPublic && /^[A-Za-z0-9_-]{43}$/.test(x) && typeof kid === 'string' && kid !== '';
}

function isPermit(value: unknown): boolean {
  const { sha256, devices, until, ...others } = (value ?? {}) as Record<string, unknown>;
  const hasDevices =
    devices === undefined || (Array.isArray(devices) && devices.every((id) => typeof id === 'string'));
  return (
    typeof sha256 === 'string' &&
    /^[0-9a-f]{64}$/.test(sha256) &&
    hasDevices &&
    typeof until === 'string' &&
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(until) &&
    !Number.isNaN(Date.parse(until)) &&
    Object.keys(others).length === 0
  );
}

function withoutName(message: string, name: string): string {
  return message.replace(new RegExp(`^${name.replaceAll('.', '\\.')}:? `), '');
}
