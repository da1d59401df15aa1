/** What a download takes: of one device's time, and of everybody's traffic. */
import { type DurationMs, SECOND } from '../model/time.ts';

export interface Transfer {
  /** Bits of one download, without what comes on top. */
  readonly bits: number;
  /** At the link's rate alone. */
  readonly linkMs: DurationMs;
  /** With protocols, pauses and repetitions: `linkMs` × overhead. */
  readonly likelyMs: DurationMs;
}

/** `bitsPerSecond`: of the device's link, above 0. `overhead`: at least 1. */
export function transferOf(given: {
  readonly sizeBytes: number;
  readonly bitsPerSecond: number;
  readonly overhead: number;
}): Transfer {
  const bits = given.sizeBytes * 8;
  const linkMs = (bits / given.bitsPerSecond) * SECOND;
  return { bits, linkMs, likelyMs: linkMs * given.overhead };
}

/** Bytes that `devices` downloads move, of which the share `retryRatio` is begun again. */
export function trafficOf(given: {
  readonly devices: number;
  readonly sizeBytes: number;
  readonly retryRatio: number;
}): number {
  return given.devices * given.sizeBytes * (1 + given.retryRatio);
}
