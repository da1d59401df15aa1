/**
 * Signed messages between servers, as many of them make and check them.
 *
 * Standard Webhooks 1.0.0, "Signature scheme", symmetric:
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { createHmac } from 'node:crypto';
import { type Instant, SECOND } from '../core/model/time.ts';

/** What a secret begins with; the key follows, in base64. */
export const SIGNING_TOKEN = 'whsec_';

/** One, or while it is being replaced the new and the old one: a receiver takes either signature. */
export type SigningKeys = readonly Uint8Array[];

const KEY_BYTES_MIN = 24;
const KEY_BYTES_MAX = 64;
const KEYS_MAX = 2;

/** The key in a secret, 24 to 64 bytes; undefined where it is none. */
export function signingKeyOf(secret: string): Uint8Array | undefined {
  if (!secret.startsWith(SIGNING_TOKEN)) return undefined;
  const text = secret.slice(SIGNING_TOKEN.length);
  const key = Buffer.from(text, 'base64');
  // Node passes over what is no base64: only what it would write itself was all of it.
  const isExact = key.toString('base64').replace(/=+$/, '') === text.replace(/=+$/, '');
  return isExact && key.length >= KEY_BYTES_MIN && key.length <= KEY_BYTES_MAX ? key : undefined;
}

export type ReadSigningKeys =
  | { readonly ok: true; readonly keys: SigningKeys }
  | { readonly ok: false; readonly problem: string };

/** The keys in one or two secrets, with a space between. The problem never shows any of it. */
export function readSigningKeys(secrets: string): ReadSigningKeys {
  const parts = secrets.split(' ');
  const keys = parts.map(signingKeyOf);
  if (parts.length <= KEYS_MAX && keys.every((key) => key !== undefined)) return { ok: true, keys };
  return {
    ok: false,
    problem:
      `expected ${SIGNING_TOKEN} and ${KEY_BYTES_MIN} to ${KEY_BYTES_MAX} bytes in base64, or two of these with a space between, found something else; ` +
      `make one with echo ${SIGNING_TOKEN}$(openssl rand -base64 32)`,
  };
}

/**
 * The headers that say which message it is and when it was sent, and prove by whom, if there is a key. `id` is the message's own,
 * without a full stop, and the same in every try; `at` is the time of this one. "Webhook headers".
 */
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
