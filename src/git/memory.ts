/**
 * A repository in memory: same ids as git's, same compare-and-swap, no files. Tests and simulations run on it.
 */
import { GitObjectError } from './errors.ts';
import type { Commit, Git, MoveResult, Oid, TreeEntry } from './git.ts';
import {
  DEFAULT_IDENTITY,
  decodeCommit,
  decodeTree,
  encodeCommit,
  encodeTree,
  objectId,
  wrongType,
} from './objects.ts';
import { branchNameProblem, rivalOf, rivalReason } from './ref-lock.ts';
import { EMPTY_TREE } from './tree.ts';

export interface MemoryRepository extends Git {
  /** Every branch and the commit it points at. */
  branches(): ReadonlyMap<string, Oid>;
  /** From now on every move of `branch` is refused with `reason`, as a protected branch does; undefined lifts that. */
  refuseMoves(branch: string, reason: string | undefined): void;
}

type Stored =
  | { readonly type: 'blob'; readonly content: Uint8Array }
  | { readonly type: 'tree'; readonly entries: readonly TreeEntry[] }
  | { readonly type: 'commit'; readonly commit: Commit };

/** An empty repository without branches. `identity` (`Name <email>`) is author and committer of what it writes. */
export function createMemoryRepository(identity: string = DEFAULT_IDENTITY): MemoryRepository {
  const objects = new Map<Oid, Stored>();
  const branches = new Map<string, Oid>();
  const refusals = new Map<string, string>();
  const watchers = new Set<{ readonly onChange: () => void }>();

  function read<T extends Stored['type']>(oid: Oid, type: T): Extract<Stored, { type: T }> {
    const stored = objects.get(oid);
    if (stored === undefined)
      throw new GitObjectError(oid, `object ${oid} is not in the repository in memory`);
    if (!hasType(stored, type)) throw wrongType(oid, { expected: type, found: stored.type });
    return stored;
  }

  function write(encoded: Uint8Array, stored: Stored): Oid {
    const oid = objectId(stored.type, encoded);
    if (!objects.has(oid)) objects.set(oid, stored);
    return oid;
  }

  return {
    place: 'memory',
    away: () => undefined,
    branch: async (branch) => branches.get(branch),
    commit: async (oid) => read(oid, 'commit').commit,
    tree: async (oid) => (oid === EMPTY_TREE ? [] : read(oid, 'tree').entries),
    blob: async (oid) => read(oid, 'blob').content.slice(),

    writeBlob: async (content) => write(content, { type: 'blob', content: Uint8Array.from(content) }),
    async writeTree(entries) {
      const encoded = encodeTree(entries);
      return write(encoded, { type: 'tree', entries: decodeTree(encoded) });
    },
    async writeCommit(commit) {
      const encoded = encodeCommit(commit, identity);
      const oid = objectId('commit', encoded);
      return write(encoded, { type: 'commit', commit: decodeCommit(oid, encoded) });
    },

    async moveBranch({ branch, from, to }): Promise<MoveResult> {
      const { commit } = read(to, 'commit');
      const problem = branchNameProblem(branch);
      if (problem !== undefined) return { kind: 'refused', reason: problem };
      if (branches.get(branch) !== from) return { kind: 'lost' };
      const rival = from === undefined ? rivalOf(branch, branches.keys()) : undefined;
      const reason = rival === undefined ? refusals.get(branch) : rivalReason(branch, rival);
      if (reason !== undefined) return { kind: 'refused', reason };
      branches.set(branch, commit.oid);
      for (const watcher of watchers) {
        queueMicrotask(() => {
          if (watchers.has(watcher)) watcher.onChange();
        });
      }
      return { kind: 'moved' };
    },
    async watch(onChange) {
      const watcher = { onChange };
      watchers.add(watcher);
      return {
        look: onChange,
        close: async () => {
          watchers.delete(watcher);
        },
      };
    },

    close: async () => {},

    branches: () => new Map(branches),
    refuseMoves(branch, reason) {
      if (reason === undefined) refusals.delete(branch);
      else refusals.set(branch, reason);
    },
  };
}

function hasType<T extends Stored['type']>(stored: Stored, type: T): stored is Extract<Stored, { type: T }> {
  return stored.type === type;
}
