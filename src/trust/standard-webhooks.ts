/**
 * Signed messages between servers, as many of them make and check them.
 *
 * Standard Webhooks 1.0.0: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { createHmac } from 'node:crypto';
import { type Instant, SECOND } from '../core/model/time.ts';

/** What a signing token begins with; the key follows, in base64. */
export const SIGNING_TOKEN = 'whsec_';

/** The key in a signing token, 24 to 64 bytes; undefined where it is none. */
export function signingKeyOf(token: string): Uint8Array | undefined {
  if (!token.startsWith(SIGNING_TOKEN)) return undefined;
  const text = token.slice(SIGNING_TOKEN.length);
  const key = Buffer.from(text, 'base64');
  // Node passes over what is no base64: only what it would write itself was all of it.
  const isExact = key.toString('base64').replace(/=+$/, '') === text.replace(/=+$/, '');
  return isExact && key.length >= 24 && key.length <= 64 ? key : undefined;
}

/** The headers that prove who sends `body`, and when. `id` is the message's own, without a full stop. "Webhook headers". */
export function signedHeaders(message: {
  readonly key: Uint8Array;
  readonly id: string;
  readonly at: Instant;
  readonly body: string;
}): Readonly<Record<string, string>> {
  const { key, id, at, body } = message;
  const timestamp = String(Math.floor(at / SECOND));
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` };
}
