/** Root metadata, each version signed as the one before and it itself want: the way that devices go from the root they were made with. */
import { MetadataError, parseMetadata, type Root, requireSigned } from './metadata.ts';
import type { SignedFile } from './repository.ts';

/** Version 1 first. Throws {@link MetadataError} where one is not what it must be. */
export function chainOf(files: readonly Uint8Array[]): readonly SignedFile<Root>[] {
  const roots: SignedFile<Root>[] = [];
  for (const [index, bytes] of files.entries()) {
    const name = rootFile(index + 1);
    const root = { bytes, envelope: parseMetadata(bytes, 'root', name) };
    requireNext(roots.at(-1), root);
    roots.push(root);
  }
  return roots;
}

/** Throws {@link MetadataError} unless `root` may follow `before`; undefined: it is the first one. */
export function requireNext(before: SignedFile<Root> | undefined, { envelope }: SignedFile<Root>): void {
  const { signed } = envelope;
  const expected = (before?.envelope.signed.version ?? 0) + 1;
  const name = rootFile(expected);
  if (signed.version !== expected)
    throw new MetadataError('version', `${name} must have version ${expected}, found ${signed.version}`);
  if (before !== undefined) {
    const { keys, roles } = before.envelope.signed;
    requireSigned(envelope, roles.root, { keys, name: `${name} (by the keys of version ${expected - 1})` });
  }
  requireSigned(envelope, signed.roles.root, { keys: signed.keys, name });
}

export function rootFile(version: number): string {
  return `${version}.root.json`;
}
