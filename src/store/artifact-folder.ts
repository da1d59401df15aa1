/**
 * Artifacts that this server keeps itself: one file per content, named by its SHA-256. A file is there whole or not at all, and
 * never changes.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder, unlessAbsent } from '../durable-fs.ts';

export interface ArtifactFolder {
  /** Undefined where it is not here. */
  find(sha256: string): Promise<StoredArtifact | undefined>;
  /** Takes a file in, however large it is. One that is here already stays. */
  add(source: AsyncIterable<Uint8Array>): Promise<AddedArtifact>;
}

export interface StoredArtifact {
  readonly sizeBytes: number;
  /** Its bytes from `first` to `last`, both included. */
  read(range: { readonly first: number; readonly last: number }): AsyncIterable<Uint8Array>;
}

/** Digests in hex. MD5 and SHA-1 are for hawkBit's clients, which ask for them; nobody is to trust them. */
export interface AddedArtifact {
  readonly sha256: string;
  readonly sha1: string;
  readonly md5: string;
  readonly sizeBytes: number;
}

const FILE_MODE = 0o444;

export function openArtifactFolder(folder: string): ArtifactFolder {
  return {
    async find(sha256) {
      const path = join(folder, sha256);
      const found = await stat(path).catch(unlessAbsent);
      if (found === undefined || !found.isFile()) return undefined;
      return {
        sizeBytes: found.size,
        read: ({ first, last }) => createReadStream(path, { start: first, end: last }),
      };
    },

    async add(source) {
      await mkdir(folder, { recursive: true, mode: 0o755 });
      const temporary = join(folder, `.${randomUUID()}`);
      const file = await open(temporary, 'wx', FILE_MODE);
      try {
        let added: AddedArtifact;
        try {
          added = await digestArtifact(source, (chunk) => file.writeFile(chunk));
          await file.sync();
        } finally {
          await file.close();
        }
        await rename(temporary, join(folder, added.sha256));
        await syncFolder(folder);
        return added;
      } catch (error) {
        await unlink(temporary).catch(() => undefined);
        throw error;
      }
    },
  };
}

/** What a file is known by, however large it is; `keep` is given each part of it. */
export async function digestArtifact(
  source: AsyncIterable<Uint8Array>,
  keep: (chunk: Uint8Array) => Promise<void> = async () => undefined,
): Promise<AddedArtifact> {
  const digests = { sha256: createHash('sha256'), sha1: createHash('sha1'), md5: createHash('md5') };
  let sizeBytes = 0;
  for await (const chunk of source) {
    for (const digest of Object.values(digests)) digest.update(chunk);
    sizeBytes += chunk.byteLength;
    await keep(chunk);
  }
  const { sha256, sha1, md5 } = digests;
  return { sha256: sha256.digest('hex'), sha1: sha1.digest('hex'), md5: md5.digest('hex'), sizeBytes };
}
