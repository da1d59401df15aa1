/**
 * Selection by hash: every unit has a place in a ring that its seed alone decides, so the same commit always takes
 * in the same devices, and nobody can tell beforehand which.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import type { Score } from '../model/ids.ts';

const DOMAIN = 'tidegate/sel/1';
export const HIGHEST_SCORE = 'ffffffffffffffff' as Score;

// A count asks for the score of every device. Half of its time would go into new buffers, so they are used again, and a
// tenth into the seed, which many devices share.
const hashing = sha256.create();
const digestBytes = new Uint8Array(sha256.outputLen);
const digest = new DataView(digestBytes.buffer);
const encoder = new TextEncoder();
let message = new Uint8Array(256);
let seeded = { seed: '', hashed: sha256.create().update(encoder.encode(`${DOMAIN}\0\0`)) };

/**
 * Questions and their answers. One device is asked about stage by stage, before and after its report, and in the next hour
 * again; hashing costs more than all that is done with the score. Devices share places: who was asked about last has it.
 */
const asked: (Asked | undefined)[] = new Array(0x10000);

interface Asked {
  readonly seed: string;
  readonly unit: string;
  readonly score: Score;
}

/** First 8 bytes, big endian, of SHA-256(`tidegate/sel/1` NUL seed NUL unit), as 16 hex digits that sort like the number. */
export function scoreOf(seed: string, unit: string): Score {
  const place = placeOf(unit);
  const known = asked[place];
  if (known !== undefined && known.unit === unit && known.seed === seed) return known.score;
  const score = firstBytes(seed, unit);
  asked[place] = { seed, unit, score };
  return score;
}

/** The end of an id is where it differs from others. */
function placeOf(unit: string): number {
  let hash = 0;
  for (let at = Math.max(0, unit.length - 12); at < unit.length; at++) {
    hash = Math.imul(hash, 31) + unit.charCodeAt(at);
  }
  return hash & 0xffff;
}

function firstBytes(seed: string, unit: string): Score {
  if (seeded.seed !== seed) {
    seeded = { seed, hashed: sha256.create().update(encoder.encode(`${DOMAIN}\0${seed}\0`)) };
  }
  // A UTF-16 unit becomes at most three bytes.
  if (message.length < unit.length * 3) message = new Uint8Array(unit.length * 3);
  const { written } = encoder.encodeInto(unit, message);
  seeded.hashed._cloneInto(hashing).update(message.subarray(0, written)).digestInto(digestBytes);
  return (hexOf(digest.getUint32(0)) + hexOf(digest.getUint32(4))) as Score;
}

const FOUR_DIGITS = Array.from({ length: 0x10000 }, (_, n) => n.toString(16).padStart(4, '0'));

/** Eight digits. */
function hexOf(word: number): string {
  return `${FOUR_DIGITS[word >>> 16]}${FOUR_DIGITS[word & 0xffff]}`;
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
