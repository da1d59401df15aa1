/**
 * Makes one pack of many small ones and of loose objects, without a git binary: reading an object looks through the index
 * of every pack, and each fetch brings one more. The largest pack stays as it is, so this costs what has come since.
 */
import assert from 'node:assert/strict';
import nodeFs from 'node:fs';
import { readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import git, { type PromiseFsClient } from 'isomorphic-git';
import { writeFileDurably } from '../../durable-fs.ts';
import type { Oid } from '../git.ts';
import { isObjectId } from '../objects.ts';
import { listPacks, objectsIn, removePack } from '../packs.ts';

const PACK_MODE = 0o444;

export async function repackInProcess(commonDir: string, signal: AbortSignal): Promise<void> {
  const small = await allButTheLargest(commonDir);
  const loose = await looseObjects(commonDir);
  const objects = new Set([...(await objectsIn(commonDir, small)), ...loose]);
  if (objects.size === 0) return;
  const fs = durableFiles(signal);
  const { filename } = await git.packObjects({ fs, gitdir: commonDir, oids: [...objects], write: true });
  const made = filename.replace(/\.pack$/, '');
  const isNew = !small.includes(made);
  try {
    const filepath = `objects/pack/${filename}`;
    const { oids } = await git.indexPack({ fs, dir: commonDir, gitdir: commonDir, filepath });
    assert(
      objects.isSubsetOf(new Set(oids)),
      'the new pack must have every object of those that it replaces',
    );
  } catch (error) {
    if (isNew) await removePack(commonDir, made);
    throw error;
  }

  // The new pack is whole and on disk. Until the last of them is gone, an object may be there twice.
  for (const pack of small) if (pack !== made) await removePack(commonDir, pack);
  for (const oid of loose) await unlink(join(commonDir, 'objects', oid.slice(0, 2), oid.slice(2)));
}

async function allButTheLargest(commonDir: string): Promise<readonly string[]> {
  const sizes = await Promise.all(
    Array.from(await listPacks(commonDir), async (pack) => {
      const { size } = await stat(join(commonDir, 'objects', 'pack', `${pack}.pack`));
      return { pack, size };
    }),
  );
  return sizes
    .sort((a, b) => b.size - a.size)
    .slice(1)
    .map(({ pack }) => pack);
}

async function looseObjects(commonDir: string): Promise<readonly Oid[]> {
  const folder = join(commonDir, 'objects');
  const oids: Oid[] = [];
  for (const name of await readdir(folder)) {
    if (!/^[0-9a-f]{2}$/.test(name)) continue;
    for (const rest of await readdir(join(folder, name))) if (isObjectId(name + rest)) oids.push(name + rest);
  }
  return oids;
}

/** Isomorphic-git cannot be told to stop, but asks for a file at every step. */
function durableFiles(signal: AbortSignal): PromiseFsClient {
  const writeFile = (path: string, content: Uint8Array | string) =>
    writeFileDurably(path, content, PACK_MODE);
  const readFile = async (...args: Parameters<typeof nodeFs.promises.readFile>) => {
    signal.throwIfAborted();
    return await nodeFs.promises.readFile(...args);
  };
  return { promises: { ...nodeFs.promises, readFile, writeFile } };
}
