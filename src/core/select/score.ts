/**
 * Selection by hash: every unit has a place in a ring that its seed alone decides, so the same commit always takes
 * in the same devices, and nobody can tell beforehand which.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import type { Score } from '../model/ids.ts';

const DOMAIN = 'tidegate/sel/1';
const SCORE_BYTES = 8;
export const HIGHEST_SCORE = 'ffffffffffffffff' as Score;

/** First 8 bytes, big endian, of SHA-256(`tidegate/sel/1` NUL seed NUL unit), as 16 hex digits that sort like the number. */
export function scoreOf(seed: string, unit: string): Score {
  const digest = sha256(utf8ToBytes(`${DOMAIN}\0${seed}\0${unit}`));
  return bytesToHex(digest.subarray(0, SCORE_BYTES)) as Score;
}

/** Parts per million, 0 … 999,999: (score × 10⁶) >> 64. */
export function bucketPpm(score: Score): number {
  return Number((BigInt(`0x${score}`) * 1_000_000n) >> 64n);
}

/** The score that lies `done` (0–1) of the way from `from` to `to`. */
export function scoreBetween(from: Score, to: Score, done: number): Score {
  const low = BigInt(`0x${from}`);
  const high = BigInt(`0x${to}`);
  // Thousandths of a millionth are finer than any fleet; BigInt keeps the ends exact.
  const parts = BigInt(Math.round(Math.min(1, Math.max(0, done)) * 1e9));
  return (low + ((high - low) * parts) / 1_000_000_000n).toString(16).padStart(16, '0') as Score;
}
