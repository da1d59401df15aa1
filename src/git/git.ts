/**
 * The git port: the few things that Tidegate needs from a git repository. No work tree, no index, no merge.
 * Every engine passes test/git/git-contract.ts. Object ids are 40 hex digits.
 */
import type { Instant } from '../core/model/time.ts';

export type Oid = string;

export interface TreeEntry {
  readonly name: string;
  /** `100644`, `100755`, `040000` (folder), `120000` (symbolic link) or `160000` (submodule). */
  readonly mode: string;
  readonly oid: Oid;
}

export interface Commit {
  readonly oid: Oid;
  readonly tree: Oid;
  readonly parents: readonly Oid[];
  readonly message: string;
  readonly author: string;
  readonly committedAt: Instant;
  /** `gpgsig` as it stands there, and the bytes it is a signature of: the commit without it. */
  readonly signature?: { readonly armoured: string; readonly payload: Uint8Array };
}

export interface NewCommit {
  readonly tree: Oid;
  readonly parents: readonly Oid[];
  /** Ends with a newline; trailers included. */
  readonly message: string;
  readonly at: Instant;
  /** The armoured signature over the commit without it. */
  readonly sign?: (content: Uint8Array) => string;
}

export interface Git {
  /** Path or URL of the repository, for messages; never with credentials. */
  readonly place: string;
  /**
   * Why the repository cannot be reached, in a sentence with the next step, while that is so. What is read meanwhile is
   * what was fetched last, and nothing can be written. Always undefined for a repository on this machine.
   */
  away(): string | undefined;

  /** The commit that branch `branch` (a name without `refs/heads/`) points at, or undefined where there is none. */
  branch(branch: string): Promise<Oid | undefined>;
  /** Throws {@link GitObjectError} where the object is missing, corrupt (its bytes do not hash to its id) or of another type. */
  commit(oid: Oid): Promise<Commit>;
  tree(oid: Oid): Promise<readonly TreeEntry[]>;
  blob(oid: Oid): Promise<Uint8Array>;

  /** Objects are durable (fsync) when these resolve. Writing what exists already changes nothing. */
  writeBlob(content: Uint8Array): Promise<Oid>;
  /** Entries in any order; an empty list is the empty tree. */
  writeTree(entries: readonly TreeEntry[]): Promise<Oid>;
  writeCommit(commit: NewCommit): Promise<Oid>;

  /**
   * Moves a branch from exactly `from` (undefined: it does not exist) to `to`, under git's own ref lock. `lost`: somebody
   * else moved it first. `refused`: the repository does not let us (the branch is checked out in a work tree, where
   * moving it would stage the reverse of our commit; it is protected; the credentials do not allow it); `reason` says so
   * in a sentence with the next step. Over a remote this is the push.
   */
  moveBranch(move: { branch: string; from: Oid | undefined; to: Oid }): Promise<MoveResult>;

  /** Calls `onChange` soon after any branch, or {@link Git.away}, may have changed; may call more often than that. */
  watch(onChange: () => void): Promise<Watcher>;

  /** Ends what the engine keeps running, and what is under way with a remote. Nothing is called afterwards but this again. */
  close(): Promise<void>;
}

export interface Watcher {
  /** Somebody says that the repository has changed: looks at once instead of at its next time. Cheap to call often. */
  look(): void;
  close(): Promise<void>;
}

export type MoveResult =
  | { readonly kind: 'moved' }
  | { readonly kind: 'lost' }
  | { readonly kind: 'refused'; readonly reason: string };
