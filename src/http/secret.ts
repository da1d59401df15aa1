/** Comparing what somebody sent with what only they and we know. */
import { createHash, timingSafeEqual } from 'node:crypto';

/**
 * Whether the two texts are equal. Digests are compared, which are of one length and in constant time: how long it
 * takes tells nothing of the secret.
 */
export function isSameSecret(given: string, expected: string): boolean {
  return timingSafeEqual(digestOf(given), digestOf(expected));
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
