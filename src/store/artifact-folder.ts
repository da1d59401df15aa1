/**
 * Artifacts that this server keeps itself: one file per content, named by its SHA-256. A file is there whole or not at all, and
 * never changes.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';

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
      const found = await stat(path).catch((error: unknown) => {
        if (
          error instanceof Error &&
          'code' in error &&
          (error.code === 'ENOENT' || error.code === 'ENOTDIR')
        )
          return undefined;
        throw error;
      });
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
      const [sha256, sha1, md5] = ['sha256', 'sha1', 'md5'].map((name) => createHash(name));
      if (sha256 === undefined || sha1 === undefined || md5 === undefined)
        throw new TypeError('three digests');
      let sizeBytes = 0;
      try {
        try {
          for await (const chunk of source) {
            for (const digest of [sha256, sha1, md5]) digest.update(chunk);
            sizeBytes += chunk.byteLength;
            await file.writeFile(chunk);
          }
          await file.sync();
        } finally {
          await file.close();
        }
        const name = sha256.digest('hex');
        await rename(temporary, join(folder, name));
        const parent = await open(folder, 'r');
        await parent.sync().finally(() => parent.close());
        return { sha256: name, sha1: sha1.digest('hex'), md5: md5.digest('hex'), sizeBytes };
      } catch (error) {
        await unlink(temporary).catch(() => undefined);
        throw error;
      }
    },
  };
}
