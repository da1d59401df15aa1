/** The packs of a repository, as files. */
import { readdir, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder, unlessAbsent } from '../durable-fs.ts';
import type { Oid } from './git.ts';

/** Names without their endings: `pack-<hash>`. */
export async function listPacks(commonDir: string): Promise<ReadonlySet<string>> {
  const files = (await readdir(packFolder(commonDir)).catch(unlessAbsent)) ?? [];
  return new Set(files.flatMap((file) => /^(pack-[0-9a-f]+)\.(pack|idx)$/.exec(file)?.[1] ?? []));
}

/** The ids of the objects in packs, as their indexes have them (gitformat-pack(5), version 2). */
export async function objectsIn(commonDir: string, packs: Iterable<string>): Promise<ReadonlySet<Oid>> {
  const oids = new Set<Oid>();
  for (const pack of packs) {
    const index = await readFile(join(packFolder(commonDir), `${pack}.idx`));
    const count = index.readUInt32BE(INDEX_FANOUT_END - 4);
    for (let n = 0; n < count; n += 1) {
      const at = INDEX_FANOUT_END + n * OID_BYTES;
      oids.add(index.toString('hex', at, at + OID_BYTES));
    }
  }
  return oids;
}

/** Magic number, version, and how many ids there are up to each first byte. The last of those counts them all. */
const INDEX_FANOUT_END = 8 + 256 * 4;
const OID_BYTES = 20;

/** The index goes first: what has no index is not looked at. */
export async function removePack(commonDir: string, name: string): Promise<void> {
  const folder = packFolder(commonDir);
  for (const file of (await readdir(folder)).sort(indexFirst)) {
    if (file.startsWith(`${name}.`)) await unlink(join(folder, file));
  }
  await syncFolder(folder);
}

/** What a fetch that was killed left behind. */
export async function removeTemporaryPacks(commonDir: string): Promise<void> {
  const folder = packFolder(commonDir);
  for (const file of (await readdir(folder).catch(unlessAbsent)) ?? []) {
    if (file.startsWith('tmp_')) await unlink(join(folder, file));
  }
}

function packFolder(commonDir: string): string {
  return join(commonDir, 'objects', 'pack');
}

function indexFirst(a: string, b: string): number {
  return Number(b.endsWith('.idx')) - Number(a.endsWith('.idx'));
}
