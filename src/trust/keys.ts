/**
 * The server's own signing keys: one signs assignments, the other what enrolment hands out. They are made on first
 * use and lie as PKCS8 PEM files in a folder of their own. A device's private key is never among them: devices make
 * and keep theirs.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { calculateJwkThumbprint } from 'jose';
import { KeyFileError } from './errors.ts';

export interface Keys {
  /** Signs what devices are told to run. */
  readonly assignment: SigningKey;
  /** Signs enrolment tokens and credentials. */
  readonly enrolment: SigningKey;
}

export interface SigningKey {
  /** The public key's RFC 7638 thumbprint. */
  readonly kid: string;
  readonly private: KeyObject;
  readonly publicJwk: PublicJwk;
}

export interface PublicJwk {
  readonly kty: 'OKP';
  readonly crv: 'Ed25519';
  /** Base64url of the key's 32 bytes. */
  readonly x: string;
  readonly alg: 'Ed25519';
  readonly use: 'sig';
  readonly kid: string;
}

/** The public keys that a device is given: an RFC 7517 key set. */
export interface PublicKeySet {
  readonly keys: readonly PublicJwk[];
}

/** A device's own key pair; the public half is a JWK's `x`. */
export interface DeviceKey {
  readonly private: KeyObject;
  readonly publicKey: string;
}

/**
 * The keys in `folder`, made if they are not there yet; processes that start at once end up with the same ones.
 * Throws {@link KeyFileError} where somebody else could read or replace a key, or where a file holds no Ed25519 key.
 */
export async function openKeys(folder: string): Promise<Keys> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const mode = (await stat(folder)).mode & 0o777;
  if (HAS_MODES && (mode & 0o022) !== 0) {
    throw new KeyFileError(
      folder,
      `only its owner may write here, found mode ${octal(mode)}; run "chmod 700" on the folder`,
    );
  }
  const [assignment, enrolment] = await Promise.all([
    openKey(join(folder, 'assignment.pem')),
    openKey(join(folder, 'enrolment.pem')),
  ]);
  return { assignment, enrolment };
}

/** Keys that live in memory only, for simulations and tests. */
export async function generateKeys(): Promise<Keys> {
  const [assignment, enrolment] = await Promise.all([
    signingKey(generateKeyPairSync('ed25519').privateKey),
    signingKey(generateKeyPairSync('ed25519').privateKey),
  ]);
  return { assignment, enrolment };
}

export function generateDeviceKey(): DeviceKey {
  const { privateKey } = generateKeyPairSync('ed25519');
  return { private: privateKey, publicKey: publicKeyOf(privateKey) };
}

/** 32 bytes in base64url, spelled the one canonical way: two spellings would be two keys. */
export const PUBLIC_KEY_PATTERN = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

/** The RFC 7638 thumbprint of a device's public key. */
export function thumbprintOf(publicKey: string): Promise<string> {
  return calculateJwkThumbprint({ kty: 'OKP', crv: 'Ed25519', x: publicKey });
}

// Windows has no such modes: Node reports every file as readable by all.
const HAS_MODES = process.platform !== 'win32';

async function openKey(path: string): Promise<SigningKey> {
  let pem = await readKeyFile(path);
  if (pem === undefined) {
    await writeKeyFileOnce(path);
    pem = await readKeyFile(path);
  }
  if (pem === undefined) throw new KeyFileError(path, 'was removed while it was being made; start again');

  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    const expected = 'expected an unencrypted PKCS8 private key in PEM form';
    throw new KeyFileError(path, `${expected}; restore it, or move it away to have a new one made`, cause);
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    const found = key.asymmetricKeyType ?? 'an unknown type';
    throw new KeyFileError(
      path,
      `expected an Ed25519 key, found ${found}; move it away to have a new one made`,
    );
  }
  return signingKey(key);
}

/** The file's text, or undefined where there is none. */
async function readKeyFile(path: string): Promise<string | undefined> {
  const file = await unless('ENOENT', open(path, 'r'));
  if (file === undefined) return undefined;
  try {
    // The open file is looked at, not its name: nobody can exchange it in between.
    const mode = (await file.stat()).mode & 0o777;
    if (HAS_MODES && (mode & 0o077) !== 0) {
      const next = 'run "chmod 600" on it, or move it away to have a new one made if others may have read it';
      throw new KeyFileError(path, `only its owner may read it, found mode ${octal(mode)}; ${next}`);
    }
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/**
 * Makes a key and gives it the name `path`, unless that name is taken by then. A link, not a rename: a rename would
 * replace the key of a process that was faster and has begun to sign with it.
 */
async function writeKeyFileOnce(path: string): Promise<void> {
  const { privateKey } = generateKeyPairSync('ed25519');
  // The public key names the temporary file: two processes never choose the same one.
  const temporary = `${path}.${publicKeyOf(privateKey)}`;
  const file = await open(temporary, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
  try {
    try {
      await file.writeFile(privateKey.export({ type: 'pkcs8', format: 'pem' }));
      await file.sync();
    } finally {
      await file.close();
    }
    await unless('EEXIST', link(temporary, path));
  } finally {
    await unlink(temporary);
  }
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function signingKey(key: KeyObject): Promise<SigningKey> {
  const x = publicKeyOf(key);
  const kid = await thumbprintOf(x);
  return {
    kid,
    private: key,
    publicJwk: { kty: 'OKP', crv: 'Ed25519', x, alg: 'Ed25519', use: 'sig', kid },
  };
}

function publicKeyOf(key: KeyObject): string {
  const { x } = createPublicKey(key).export({ format: 'jwk' });
  if (x === undefined) throw new TypeError(`expected an Ed25519 key, found ${key.asymmetricKeyType}`);
  return x;
}

/** What `action` resolves with, or undefined where it fails with the system error `code`. */
async function unless<T>(code: string, action: Promise<T>): Promise<T | undefined> {
  try {
    return await action;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === code) return undefined;
    throw error;
  }
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
