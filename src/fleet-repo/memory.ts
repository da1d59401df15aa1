/**
 * Git's object format, and a repository in memory that is made of nothing else: same ids as git's, same
 * compare-and-swap, no files. Tests and simulations run on it. The engine over a real folder reads and writes the same
 * format, so it borrows it from here.
 */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { GitObjectError } from './errors.ts';
import type { Commit, Git, MoveResult, NewCommit, Oid, TreeEntry } from './git.ts';
import { branchNameProblem, rivalOf, rivalReason } from './ref-lock.ts';
import { EMPTY_TREE } from './tree.ts';

export interface MemoryRepository extends Git {
  /** Every branch and the commit it points at. */
  branches(): ReadonlyMap<string, Oid>;
  /** From now on every move of `branch` is refused with `reason`, as a protected branch does; undefined lifts that. */
  refuseMoves(branch: string, reason: string | undefined): void;
}

export const DEFAULT_IDENTITY = 'Tidegate <tidegate@localhost>';

export type ObjectType = 'blob' | 'tree' | 'commit' | 'tag';

const OBJECT_ID = /^[0-9a-f]{40}$/;
/** `100664` is what very old gits wrote for a group-writable file; it is kept, so that an unchanged tree keeps its id. */
const TREE_ENTRY_MODE = /^(100644|100755|100664|040000|120000|160000)$/;

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

export function wrongType(
  oid: Oid,
  { expected, found }: { expected: ObjectType; found: string },
): GitObjectError {
  return new GitObjectError(oid, `object ${oid} must be a ${expected}, found a ${found}`);
}

export function isObjectId(text: string): boolean {
  return OBJECT_ID.test(text);
}

/** An object as git hashes and stores it: a header with type and size, then the content. */
export function frame(type: ObjectType, content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${type} ${content.byteLength}\0`), content]);
}

export function objectId(type: ObjectType, content: Uint8Array): Oid {
  return createHash('sha1').update(`${type} ${content.byteLength}\0`).update(content).digest('hex');
}

/** A tree's content. An entry that `git fsck` would complain about is a bug of the caller and throws. */
export function encodeTree(entries: readonly TreeEntry[]): Buffer {
  const named = entries.map(({ name, mode, oid }) => {
    const problem = entryNameProblem(name);
    assert(problem === undefined, `tree entry ${JSON.stringify(name)} ${problem}`);
    assert(TREE_ENTRY_MODE.test(mode), `tree entry ${name} must have one of git's modes, found ${mode}`);
    assert(isObjectId(oid), `tree entry ${name} must have an id of 40 hex digits, found ${oid}`);
    const bytes = encodeName(name);
    // Git sorts a folder as if its name ended with a slash.
    return { bytes, sortsAs: mode === '040000' ? Buffer.concat([bytes, SLASH]) : bytes, mode, oid };
  });
  named.sort((a, b) => Buffer.compare(a.sortsAs, b.sortsAs));
  const names = new Set(named.map(({ bytes }) => bytes.toString('latin1')));
  assert(names.size === named.length, 'a tree must not have two entries of one name');
  return Buffer.concat(
    named.flatMap(({ bytes, mode, oid }) => [
      Buffer.from(`${mode.replace(/^0/, '')} `),
      bytes,
      NUL,
      Buffer.from(oid, 'hex'),
    ]),
  );
}

/** The entries in git's order. Throws where `content` is no tree. */
export function decodeTree(content: Uint8Array): readonly TreeEntry[] {
  const bytes = asBuffer(content);
  const entries: TreeEntry[] = [];
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const end = bytes.indexOf(0, space);
    if (space < 0 || end < 0 || end + 20 >= bytes.length) throw new Error(`no tree entry at byte ${at}`);
    entries.push({
      name: decodeName(bytes.subarray(space + 1, end)),
      mode: bytes.toString('latin1', at, space).padStart(6, '0'),
      oid: bytes.toString('hex', end + 1, end + 21),
    });
    at = end + 21;
  }
  return entries;
}

const SLASH = Buffer.from('/');
const NUL = Buffer.from([0]);

/**
 * Git's names are bytes, ours are text. A name that is not UTF-8 has each byte from 0x80 on as a lone surrogate
 * U+DC80 … U+DCFF (Python's "surrogateescape", PEP 383): no UTF-8 name contains one, so the way back is exact.
 */
function decodeName(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString();
  return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join('');
}

function encodeName(name: string): Buffer {
  if (name.isWellFormed()) return Buffer.from(name);
  return Buffer.from(Array.from(name, (unit) => unit.charCodeAt(0) & 0xff));
}

function entryNameProblem(name: string): string | undefined {
  if (name === '' || name.includes('/') || name.includes('\0'))
    return 'must not be empty, nor contain a slash or NUL';
  if (name === '.' || name === '..' || name.toLowerCase() === '.git') return 'is a name that git reserves';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: every ASCII character may stand in such a name.
  if (!name.isWellFormed() && !/^[\x00-\x7f\udc80-\udcff]*$/.test(name))
    return 'is neither text nor escaped bytes';
  return undefined;
}

/** A commit's content: author and committer are both `identity`, in UTC, in whole seconds. */
export function encodeCommit(commit: NewCommit, identity: string): Buffer {
  assert(IDENTITY.test(identity), `an identity must be "Name <email>", found ${JSON.stringify(identity)}`);
  const signature = `${identity} ${Math.floor(commit.at / 1000)} +0000`;
  const headers = [
    `tree ${commit.tree}`,
    ...commit.parents.map((parent) => `parent ${parent}`),
    `author ${signature}`,
    `committer ${signature}`,
  ];
  return Buffer.from(`${headers.join('\n')}\n\n${commit.message}`);
}

/** Throws where `content` is no commit. Headers we do not use (signatures, encoding) are skipped. */
export function decodeCommit(oid: Oid, content: Uint8Array): Commit {
  const text = asBuffer(content).toString();
  const headersEnd = text.indexOf('\n\n');
  const headers = (headersEnd < 0 ? text : text.slice(0, headersEnd)).split('\n');
  const valuesOf = (key: string) =>
    headers.filter((line) => line.startsWith(`${key} `)).map((line) => line.slice(key.length + 1));
  const [tree] = valuesOf('tree');
  const author = SIGNATURE.exec(valuesOf('author')[0] ?? '');
  const committer = SIGNATURE.exec(valuesOf('committer')[0] ?? '');
  if (tree === undefined || author === null || committer === null) {
    throw new Error('no tree, author or committer in the commit');
  }
  return {
    oid,
    tree,
    parents: valuesOf('parent'),
    message: headersEnd < 0 ? '' : text.slice(headersEnd + 2),
    author: author[1] ?? '',
    committedAt: Number(committer[2]) * 1000,
  };
}

const IDENTITY = /^[^<>\n\0]+ <[^<>\n\0]*>$/;
/** `Name <email>`, seconds since the epoch, offset. */
const SIGNATURE = /^(.*>) (-?\d+) [+-]\d+$/;

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
