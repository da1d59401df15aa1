/**
 * Signs what is sent, so that a receiver knows who sent it.
 *
 * Standard Webhooks 1.0.0, "Signature scheme", symmetric:
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { createHmac } from 'node:crypto';
import { type Instant, SECOND } from '../core/model/time.ts';

/** One, or while it is being replaced the new and the old one: a receiver takes either signature. */
export type SigningKeys = readonly Uint8Array[];

/** What secrets begin with; the key follows, in base64. */
const PREFIX = 'whsec_';
const KEY_BYTES_MIN = 24;
const KEY_BYTES_MAX = 64;
const KEYS_MAX = 2;

export type ReadSigningKeys =
  | { readonly ok: true; readonly keys: SigningKeys }
  | { readonly ok: false; readonly problem: string };

/** The keys in `secret`, which one or two secrets make up, with a space between. The problem never shows any of it. */
export function readSigningKeys(secret: string): ReadSigningKeys {
  const parts = secret.split(' ');
  const keys = parts.map(keyOf);
  if (parts.length <= KEYS_MAX && keys.every((key) => key !== undefined)) return { ok: true, keys };
  return {
    ok: false,
    problem:
      `expected ${PREFIX} and ${KEY_BYTES_MIN} to ${KEY_BYTES_MAX} bytes in base64, or two of these with a space between, found something else; ` +
      `make one with echo ${PREFIX}$(openssl rand -base64 32)`,
  };
}

function keyOf(secret: string): Uint8Array | undefined {
  if (!secret.startsWith(PREFIX)) return undefined;
  const text = secret.slice(PREFIX.length);
  const key = Buffer.from(text, 'base64');
  // Node passes over what is no base64: only what it would write itself was all of it.
  const isExact = key.toString('base64').replace(/=+$/, '') === text.replace(/=+$/, '');
  return isExact && key.length >= KEY_BYTES_MIN && key.length <= KEY_BYTES_MAX ? key : undefined;
}

/** The id is the same in every try, the time is that of this one. */
export function webhookHeaders(
  { id, body, at }: { readonly id: string; readonly body: string; readonly at: Instant },
  keys: SigningKeys,
): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(at / SECOND));
  const signatures = keys.map(
    (key) => `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`,
  );
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    ...(signatures.length === 0 ? {} : { 'webhook-signature': signatures.join(' ') }),
  };
}
