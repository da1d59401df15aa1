/** Git's object format: ids, trees and commits as bytes. Knows nothing of where objects are kept. */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { GitObjectError } from './errors.ts';
import type { Commit, NewCommit, Oid, TreeEntry } from './git.ts';

export const DEFAULT_IDENTITY = 'Tidegate <tidegate@localhost>';

export type ObjectType = 'blob' | 'tree' | 'commit' | 'tag';

const OBJECT_ID = /^[0-9a-f]{40}$/;
/** `100664` is what very old gits wrote for a group-writable file; it is kept, so that an unchanged tree keeps its id. */
const TREE_ENTRY_MODE = /^(100644|100755|100664|040000|120000|160000)$/;

export function wrongType(
  oid: Oid,
  { expected, found }: { expected: ObjectType; found: string },
): GitObjectError {
  return new GitObjectError(oid, `object ${oid} must be a ${expected}, found a ${found}`);
}

export function isObjectId(text: string): boolean {
  return OBJECT_ID.test(text);
}

export function isObjectType(text: string): text is ObjectType {
  return ['blob', 'tree', 'commit', 'tag'].includes(text);
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
  const unsigned = Buffer.from(`${headers.join('\n')}\n\n${commit.message}`);
  if (commit.sign === undefined) return unsigned;
  // Further lines of a header begin with a space.
  headers.push(`gpgsig ${commit.sign(unsigned).trimEnd().replaceAll('\n', '\n ')}`);
  return Buffer.from(`${headers.join('\n')}\n\n${commit.message}`);
}

/** Throws where `content` is no commit. Headers we do not use (encoding, tags merged) are skipped. */
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
    ...signatureOf(asBuffer(content)),
  };
}

/**
 * The signature is one header, `gpgsig`, whose further lines begin with a space; what was signed is the commit without
 * it. A commit that was also signed under its SHA-256 name has a second such header, which was not there either when
 * this one was made (gitformat-signature(5)).
 */
function signatureOf(content: Buffer): Pick<Commit, 'signature'> {
  const headersEnd = content.indexOf('\n\n');
  const headers = headersEnd < 0 ? content : content.subarray(0, headersEnd + 1);
  const payload: Buffer[] = [];
  const armoured: string[] = [];
  let inside: 'ours' | 'other' | undefined;
  for (let at = 0; at < headers.length; ) {
    const newline = headers.indexOf(NEWLINE, at);
    const end = newline < 0 ? headers.length : newline + 1;
    const line = headers.subarray(at, end);
    at = end;
    if (inside === undefined || line[0] !== SPACE) inside = signatureHeader(line);
    if (inside === undefined) payload.push(line);
    if (inside === 'ours') armoured.push(line.toString('latin1').replace(/^(gpgsig)? /, ''));
  }
  if (armoured.length === 0) return {};
  payload.push(content.subarray(headers.length));
  return { signature: { armoured: armoured.join(''), payload: Buffer.concat(payload) } };
}

function signatureHeader(line: Buffer): 'ours' | 'other' | undefined {
  const key = line.toString('latin1', 0, line.indexOf(SPACE));
  if (key === 'gpgsig') return 'ours';
  return key === 'gpgsig-sha256' ? 'other' : undefined;
}

const NEWLINE = 0x0a;
const SPACE = 0x20;

const IDENTITY = /^[^<>\n\0]+ <[^<>\n\0]*>$/;
/** `Name <email>`, seconds since the epoch, offset. */
const SIGNATURE = /^(.*>) (-?\d+) [+-]\d+$/;

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
