/**
 * Signed JSON, the way all of Tidegate signs it: a compact JWS (RFC 7515), one algorithm, and a `typ` that pins what the
 * document is for, so that a credential never passes for an enrolment token. Claims are judged by whoever reads them.
 *
 * node:crypto signs and verifies, in place and without a promise: WebCrypto takes three times as long over it, most of
 * that to hand the work to a thread and back (ADR 24).
 */

import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { PublicKeySet, SigningKey } from './signing-key.ts';

export type Claims = Readonly<Record<string, unknown>>;

export type JwsResult =
  | { readonly kind: 'ok'; readonly header: Claims; readonly claims: Claims }
  | { readonly kind: 'refused'; readonly code: JwsRefusal; readonly message: string };
export type JwsRefusal = 'malformed' | 'unknown-key' | 'bad-signature';

/** RFC 9864 §2.2: the algorithm by its own name, which `EdDSA` leaves open. */
const ALG = 'Ed25519';
const SIGNATURE_BYTES = 64;

/** Equal JSON and key give equal bytes: Ed25519 draws nothing at random. */
export function signJws(payload: {
  typ: string;
  json: string;
  key: KeyObject;
  kid?: string;
  /** Claims that the header holds in place of the payload: RFC 7519 §5.3. */
  header?: Claims;
}): string {
  const { typ, json, key, kid } = payload;
  const header = JSON.stringify({ alg: ALG, typ, ...(kid === undefined ? {} : { kid }), ...payload.header });
  const signed = `${toBase64url(header)}.${toBase64url(json)}`;
  return `${signed}.${sign(null, Buffer.from(signed, 'latin1'), key).toString('base64url')}`;
}

/** `publicKey` is a device's raw key, or the set that the header's `kid` chooses from. Never throws for what `jws` holds. */
export function verifyJws(
  jws: string | UnverifiedJws,
  expected: { typ: string; publicKey: string | PublicKeySet },
): JwsResult {
  const read = typeof jws === 'string' ? readJws(jws) : jws;
  if (read === undefined)
    return refused('malformed', 'expected three parts in base64url, two of them JSON objects');
  const { header, claims, signed, signature } = read;
  if (header['alg'] !== ALG) {
    return refused('malformed', `expected alg "${ALG}", found ${JSON.stringify(header['alg'])}`);
  }
  if (header['typ'] !== expected.typ) {
    return refused('malformed', `expected typ "${expected.typ}", found ${JSON.stringify(header['typ'])}`);
  }
  // RFC 7515 §4.1.11: whoever does not understand an extension refuses it, and we understand none. RFC 7797 would
  // let the payload go unencoded: whoever looked into it before it was verified saw something else.
  if (header['crit'] !== undefined) {
    return refused('malformed', 'expected no critical header parameters, found "crit"');
  }
  const x = keyFor(header, expected.publicKey);
  if (x === undefined) {
    return refused('unknown-key', 'it is signed with a key that is not in the key set');
  }
  const key = importKey(x);
  if (key === undefined) return refused('unknown-key', 'the public key cannot be used');
  return verify(null, Buffer.from(signed, 'latin1'), key, signature)
    ? { kind: 'ok', header, claims }
    : refused('bad-signature', 'the signature does not match the key');
}

/** The public half of `key` as a set of one, to verify what it signed itself. */
export function keySet(key: SigningKey): PublicKeySet {
  return { keys: [key.publicJwk] };
}

/** What a JWS says before anybody has verified it: good for nothing but finding the key to verify it with. */
export interface UnverifiedJws {
  readonly header: Claims;
  readonly claims: Claims;
  /** Header and payload as they were sent: what the signature is over. */
  readonly signed: string;
  readonly signature: Buffer;
}

const COMPACT = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/;

/** Undefined where it is not three parts in base64url, the first two of them JSON objects. */
export function readJws(jws: string): UnverifiedJws | undefined {
  const [, head, payload, mark] = COMPACT.exec(jws) ?? [];
  if (head === undefined || payload === undefined || mark === undefined) return undefined;
  const header = parseObject(head);
  const claims = parseObject(payload);
  const signature = Buffer.from(mark, 'base64url');
  if (header === undefined || claims === undefined || signature.length !== SIGNATURE_BYTES) return undefined;
  // The last character has room for bits that nobody signed: one signature is spelled one way.
  if (signature.toString('base64url') !== mark) return undefined;
  return { header, claims, signed: jws.slice(0, head.length + 1 + payload.length), signature };
}

function parseObject(base64url: string): Claims | undefined {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(Buffer.from(base64url, 'base64url')));
  } catch {
    return undefined; // Signed or not, it is no JSON: there is nothing more to know about it.
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Claims) : undefined;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** The key's `x`, or undefined where the set has no key of that name. */
function keyFor(header: Claims, publicKey: string | PublicKeySet): string | undefined {
  if (typeof publicKey === 'string') return publicKey;
  return publicKey.keys.find(({ kid }) => kid === header['kid'])?.x;
}

/** A device signs with one key for years. Importing takes a third of the time that verifying does; a key takes 1 KB. */
const imported = new LRUCache<string, KeyObject>({ max: 50_000 });

/** Undefined where `x` is no key. */
function importKey(x: string): KeyObject | undefined {
  let key = imported.get(x);
  if (key !== undefined) return key;
  try {
    key = createPublicKey({ key: { kty: 'OKP', crv: ALG, x }, format: 'jwk' });
  } catch {
    return undefined; // Node says no more about it than that.
  }
  imported.set(x, key);
  return key;
}

function toBase64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}

function refused(code: JwsRefusal, message: string): JwsResult {
  return { kind: 'refused', code, message };
}
