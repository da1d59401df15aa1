/**
 * Trust without a ceremony: this server holds every key, those of people included, and makes the root metadata itself. Good for
 * trying things out, and loud about it: whoever has the server has the fleet.
 */
import { canonicalJson } from '../../core/model/manifest.ts';
import type { Instant } from '../../core/model/time.ts';
import {
  expiresAt,
  formatExpires,
  MetadataError,
  type Root,
  SPEC_VERSION,
  TOP_LEVEL_ROLES,
} from './metadata.ts';
import { type DevelopmentTrust, LIFETIMES, type RepositorySigners } from './repository.ts';
import { chainOf } from './root-chain.ts';
import { type Signer, signMetadata } from './signer.ts';

/** Undefined where no server has published that version. */
export type PublishedRoot = (version: number) => Promise<Uint8Array | undefined>;

export type DevelopmentSigners = RepositorySigners & DevelopmentTrust['signers'] & { readonly root: Signer };

/** Where root metadata is kept: with the keys, for losing it means losing the fleet's trust as well. */
export interface RootFiles {
  /** Version 1 first. */
  read(): Promise<readonly Uint8Array[]>;
  /** Unless that version is there: then it stays as it is. */
  write(version: number, bytes: Uint8Array): Promise<void>;
}

/**
 * The root metadata in force at `now`; made or renewed where it has to be. `published` is a version that devices have been
 * given, perhaps by another server with these keys: it is taken over.
 */
export async function developmentTrust(
  signers: DevelopmentSigners,
  files: RootFiles,
  { now, published }: { readonly now: Instant; readonly published: PublishedRoot },
): Promise<Pick<DevelopmentTrust, 'kind' | 'roots' | 'signers'>> {
  let kept = await files.read();
  const [ours, theirs] = [kept[0], await published(1)];
  if (ours !== undefined && theirs !== undefined && !Buffer.from(ours).equals(theirs)) {
    throw new MetadataError(
      'mismatch',
      '1.root.json beside our keys is not the one that devices of this database were given: servers that share a database share keys; ' +
        'copy the folder keys/ of the first one, or give this server a database of its own',
    );
  }
  for (
    let more = await published(kept.length + 1);
    more !== undefined;
    more = await published(kept.length + 1)
  ) {
    chainOf([...kept, more]);
    await files.write(kept.length + 1, more);
    kept = [...kept, more];
  }
  let roots = chainOf(kept);
  const newest = roots.at(-1)?.envelope.signed;
  const wanted = rolesOf(signers);
  const isRight =
    newest !== undefined &&
    canonicalJson({ keys: newest.keys, roles: newest.roles }) === canonicalJson(wanted) &&
    now < expiresAt(newest) - LIFETIMES.root / 2;
  if (!isRight) {
    if (newest !== undefined && !newest.roles.root.keyids.includes(signers.root.keyid)) {
      throw new MetadataError(
        'signatures',
        `the key root.pem is not the one that signed ${newest.version}.root.json: restore it, or move the files *.root.json ` +
          'away to begin anew, after which devices need the new 1.root.json',
      );
    }
    const version = (newest?.version ?? 0) + 1;
    const expires = formatExpires(now + LIFETIMES.root);
    const root: Root = {
      _type: 'root',
      spec_version: SPEC_VERSION,
      version,
      expires,
      consistent_snapshot: true,
      ...wanted,
    };
    const envelope = await signMetadata(root, [signers.root]);
    await files.write(version, Buffer.from(`${JSON.stringify(envelope, null, 2)}\n`));
    // Another process may have been faster.
    roots = chainOf(await files.read());
  }
  const { targets, artifacts } = signers;
  return { kind: 'development', roots, signers: { targets, artifacts } };
}

function rolesOf(signers: DevelopmentSigners): Pick<Root, 'keys' | 'roles'> {
  const keys = Object.fromEntries(
    TOP_LEVEL_ROLES.map((role) => [signers[role].keyid, signers[role].key] as const).sort(([a], [b]) =>
      a < b ? -1 : 1,
    ),
  );
  const one = (signer: Signer) => ({ keyids: [signer.keyid], threshold: 1 });
  const { root, targets, snapshot, timestamp } = signers;
  return {
    keys,
    roles: { root: one(root), targets: one(targets), snapshot: one(snapshot), timestamp: one(timestamp) },
  };
}
