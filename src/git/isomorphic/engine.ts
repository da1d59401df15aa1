/** The default engine: isomorphic-git, which needs no git binary. It has no ssh, and holds packs in memory. */
import { type Clock, systemClock } from '../../clock.ts';
import { type DurationMs, MINUTE } from '../../core/model/time.ts';
import type { GitEngine } from '../engine.ts';
import { isomorphicObjects } from './objects.ts';
import { repackInProcess } from './repack.ts';
import { isomorphicTransport } from './transport.ts';

export interface IsomorphicOptions {
  /** Packs and their indexes are kept in memory up to this size; a single larger pack is kept all the same. */
  readonly cacheBytesMax?: number;
  /** Real time. */
  readonly clock?: Clock;
  /** A server that sends nothing for this long has hung. Some think for many seconds before the first byte. */
  readonly idleMs?: DurationMs;
}

const CACHE_BYTES_MAX = 256 * 1024 * 1024;
/** A fetch is held in memory, more than once. */
const RESPONSE_BYTES_MAX = 1024 * 1024 * 1024;

export function createIsomorphicEngine(options: IsomorphicOptions = {}): GitEngine {
  const { cacheBytesMax = CACHE_BYTES_MAX, clock = systemClock, idleMs = MINUTE } = options;
  return {
    name: 'isomorphic',
    objects: (commonDir) => isomorphicObjects(commonDir, cacheBytesMax),
    connect: (remote) => isomorphicTransport(remote, { clock, idleMs, responseBytesMax: RESPONSE_BYTES_MAX }),
    repack: repackInProcess,
  };
}
