/** One Ed25519 key pair: as a JWK, by its thumbprint, and as a device has it. */
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';

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

export async function signingKey(key: KeyObject): Promise<SigningKey> {
  const x = publicKeyOf(key);
  const kid = await thumbprintOf(x);
  return {
    kid,
    private: key,
    publicJwk: { kty: 'OKP', crv: 'Ed25519', x, alg: 'Ed25519', use: 'sig', kid },
  };
}

export function publicKeyOf(key: KeyObject): string {
  const { x } = createPublicKey(key).export({ format: 'jwk' });
  if (x === undefined) throw new TypeError(`expected an Ed25519 key, found ${key.asymmetricKeyType}`);
  return x;
}
