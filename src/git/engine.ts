/**
 * What an engine is: how objects are read, and how a remote is talked to. Writing objects, moving branches and watching
 * a repository on this machine are ours, whatever the engine (local.ts).
 */
import { GitObjectError } from './errors.ts';
import type { Oid } from './git.ts';

export interface GitEngine {
  readonly name: 'isomorphic' | 'native';
  /** Reads the objects of a repository's git folder. */
  objects(commonDir: string): ObjectReader;
  connect(remote: Remote): Transport;
  /**
   * Makes few packs of many, in a bare repository that is ours alone. No object is lost, whether or not anything reaches it,
   * and whenever it is aborted: then it throws.
   */
  repack(commonDir: string, signal: AbortSignal): Promise<void>;
}

export interface ReadObject {
  readonly type: string;
  readonly content: Uint8Array;
}

export interface ObjectReader {
  /** The object, whose bytes hash to `oid`. Throws {@link GitObjectError} where that cannot be had. */
  read(oid: Oid): Promise<ReadObject>;
  close(): Promise<void>;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface Remote {
  /** Without credentials. */
  readonly url: string;
  readonly credentials?: Credentials;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/** Throws GitRemoteError where the remote cannot be reached or does not let us. */
export interface Transport {
  /** The branches of these names, or all of them, and their commits. */
  listBranches(names?: readonly string[]): Promise<ReadonlyMap<string, Oid>>;
  /**
   * Brings the commit that `branch` points at, and what it needs. Moves no ref. Nothing of it can be trusted before it
   * has been looked at (arrival.ts). `near` is a branch of ours that a branch we do not have yet may have much in common with.
   */
  fetch(wanted: {
    readonly commonDir: string;
    readonly branch: string;
    /** How many commits of history; absent: down to what is there. */
    readonly depth?: number;
    readonly near?: string;
  }): Promise<void>;
  /** Moves a branch of the remote from exactly `from` to `to`, also back. `objects`: those that the remote lacks, at least. */
  push(move: {
    readonly commonDir: string;
    readonly branch: string;
    readonly from: Oid | undefined;
    readonly to: Oid;
    readonly objects: () => Promise<readonly Oid[]>;
  }): Promise<PushAnswer>;
}

/** `rejected`: the branch had moved, or the remote does not let us; `reason` is what it said. */
export type PushAnswer =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'rejected'; readonly reason: string };

export function unreadable(oid: Oid, commonDir: string, error: unknown): GitObjectError {
  const isMissing = error instanceof Error && error.name === 'NotFoundError';
  return new GitObjectError(
    oid,
    isMissing
      ? `object ${oid} is missing from ${commonDir}: fetch it from another clone`
      : `object ${oid} in ${commonDir} is corrupt or cannot be read (${String(error)}): run \`git fsck\` there`,
    error,
  );
}
