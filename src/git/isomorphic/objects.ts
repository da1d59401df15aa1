/** Reads objects through isomorphic-git: no git binary needed, every byte checked against its id. */
import assert from 'node:assert/strict';
import nodeFs from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import git, { type PromiseFsClient } from 'isomorphic-git';
import { unlessAbsent } from '../../durable-fs.ts';
import { type ObjectReader, type ReadObject, unreadable } from '../engine.ts';
import { GitObjectError } from '../errors.ts';
import type { Oid } from '../git.ts';
import { isObjectId, objectId } from '../objects.ts';

/**
 * Reads objects and makes sure that their bytes hash to their id: isomorphic-git checks a pack as a whole, and loose
 * objects, but not that a pack's index points at the right place.
 *
 * Native `git gc` replaces packs under us: what isomorphic-git has cached names files that are gone, and it fails on any
 * index, also one it does not need, that vanishes between its listing and its opening. So a failure is believed only
 * when it came from a new cache and the packs were the same before and after; and twice in a row, because the cache is shared: what
 * another read has put into a new one may be older than our first listing, never than the second.
 */
export function isomorphicObjects(commonDir: string, cacheBytesMax: number): ObjectReader {
  let packs = packCache();

  async function readThrough({ fs, cache }: PackCache, oid: Oid): Promise<ReadObject> {
    const found = await git.readObject({ fs, gitdir: commonDir, oid, format: 'content', cache });
    assert(found.format === 'content' && found.object instanceof Uint8Array, 'content was asked for');
    const { type, object } = found;
    const content = new Uint8Array(object.buffer, object.byteOffset, object.byteLength);
    const hash = objectId(type, content);
    if (hash !== oid) throw new Error(`its bytes hash to ${hash}`);
    return { type, content };
  }

  return {
    async read(oid) {
      if (!isObjectId(oid))
        throw new GitObjectError(oid, `an object id must be 40 hex digits, found "${oid}"`);
      if (packs.sizeBytes() > cacheBytesMax && packs.count() > 1) packs = packCache();
      let packsBefore: string | undefined;
      let timesSame = 0;
      for (let attempt = 1; ; attempt += 1) {
        const used = packs;
        try {
          return await readThrough(used, oid);
        } catch (error) {
          // Of several reads that failed together, the first drops the cache and the others share the new one.
          if (packs === used) packs = packCache();
          const packsNow = await listPacks(commonDir);
          timesSame = packsNow === packsBefore ? timesSame + 1 : 0;
          const isLast = timesSame === SAME_PACKS_NEEDED || attempt === READ_ATTEMPTS_MAX;
          if (isLast) throw unreadable(oid, commonDir, error);
          packsBefore = packsNow;
        }
      }
    },
    close: async () => {},
  };
}

const SAME_PACKS_NEEDED = 2;
/** One `git gc` changes the folder of packs a few times, one pack after another. */
const READ_ATTEMPTS_MAX = 20;

async function listPacks(commonDir: string): Promise<string> {
  const names = await readdir(join(commonDir, 'objects', 'pack')).catch(unlessAbsent);
  return (names ?? []).sort().join('\n');
}

/** What isomorphic-git keeps of packs (whole files and parsed indexes), and how much that is. */
interface PackCache {
  readonly fs: PromiseFsClient;
  readonly cache: object;
  sizeBytes(): number;
  /** Packs read so far. */
  count(): number;
}

function packCache(): PackCache {
  let sizeBytes = 0;
  let count = 0;
  const counted = async (...args: Parameters<typeof readFile>) => {
    const content = await readFile(...args);
    const path = String(args[0]);
    if (/\.(pack|idx)$/.test(path)) sizeBytes += content.length;
    if (path.endsWith('.pack')) count += 1;
    return content;
  };
  const promises = { ...nodeFs.promises, readFile: counted };
  return { fs: { promises }, cache: {}, sizeBytes: () => sizeBytes, count: () => count };
}
