/**
 * Signed JSON, the way all of Tidegate signs it: a compact JWS, one algorithm, and a `typ` that pins what the document
 * is for, so that a credential never passes for an enrolment token. Claims are judged by whoever reads them.
 */

import type { KeyObject } from 'node:crypto';
import { CompactSign, compactVerify, createLocalJWKSet, errors } from 'jose';
import type { PublicKeySet, SigningKey } from './keys.ts';

export type Claims = Readonly<Record<string, unknown>>;

export type JwsResult =
  | { readonly kind: 'ok'; readonly claims: Claims }
  | { readonly kind: 'refused'; readonly code: JwsRefusal; readonly message: string };
export type JwsRefusal = 'malformed' | 'unknown-key' | 'bad-signature';

const ALG = 'Ed25519';

/** Equal JSON and key give equal bytes: Ed25519 draws nothing at random. */
export function signJws(payload: {
  typ: string;
  json: string;
  key: KeyObject;
  kid?: string;
}): Promise<string> {
  const { typ, json, key, kid } = payload;
  return new CompactSign(new TextEncoder().encode(json))
    .setProtectedHeader({ alg: ALG, typ, ...(kid === undefined ? {} : { kid }) })
    .sign(key);
}

/** `publicKey` is a device's raw key, or the set that the header's `kid` chooses from. Never throws for what `jws` holds. */
export async function verifyJws(
  jws: string,
  expected: { typ: string; publicKey: string | PublicKeySet },
): Promise<JwsResult> {
  const { typ, publicKey } = expected;
  try {
    const options = { algorithms: [ALG] };
    const { payload, protectedHeader } =
      typeof publicKey === 'string'
        ? await compactVerify(jws, { kty: 'OKP', crv: 'Ed25519', x: publicKey }, options)
        : await compactVerify(
            jws,
            createLocalJWKSet({ keys: publicKey.keys.map((key) => ({ ...key })) }),
            options,
          );
    if (protectedHeader.typ !== typ) {
      return refused('malformed', `expected typ "${typ}", found ${JSON.stringify(protectedHeader.typ)}`);
    }
    // RFC 7797 would let the payload go unencoded: whoever looked into it before it was verified saw something else.
    if (protectedHeader.crit !== undefined) {
      return refused('malformed', 'expected no critical header parameters, found "crit"');
    }
    const claims = parseObject(payload);
    return claims === undefined
      ? refused('malformed', 'expected a JSON object as payload')
      : { kind: 'ok', claims };
  } catch (error) {
    return refusalOf(error);
  }
}

/** The public half of `key` as a set of one, to verify what it signed itself. */
export function keySet(key: SigningKey): PublicKeySet {
  return { keys: [key.publicJwk] };
}

function parseObject(bytes: Uint8Array): Claims | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined; // Signed, but not JSON: there is nothing more to know about it.
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Claims) : undefined;
}

function refusalOf(error: unknown): JwsResult {
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return refused('bad-signature', 'the signature does not match the key');
  }
  if (error instanceof errors.JWKSNoMatchingKey) {
    return refused('unknown-key', 'it is signed with a key that is not in the key set');
  }
  // WebCrypto answers so where the public key itself is no key.
  if (error instanceof DOMException)
    return refused('unknown-key', `the public key cannot be used: ${error.message}`);
  if (error instanceof errors.JOSEError) return refused('malformed', error.message);
  throw error;
}

function refused(code: JwsRefusal, message: string): JwsResult {
  return { kind: 'refused', code, message };
}
