/**
 * A local git repository through isomorphic-git: no git binary needed, and people may use native git in it at the same
 * time. Objects are read by isomorphic-git and checked here; they are written here, durably; branches move under git's
 * own lock (ref-lock.ts). No remotes, no work tree, no index, no hooks.
 */
import assert from 'node:assert/strict';
import nodeFs from 'node:fs';
import { access, constants, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import { watch as watchFiles } from 'chokidar';
import git, { type PromiseFsClient } from 'isomorphic-git';
import { type Clock, systemClock } from '../clock.ts';
import { type DurationMs, SECOND } from '../core/model/time.ts';
import { errorCode, isAbsent, makeFolderDurably, writeFileDurably, writeProblem } from './durable-fs.ts';
import { GitObjectError, GitRepositoryError } from './errors.ts';
import type { Git, Oid, Watcher } from './git.ts';
import {
  DEFAULT_IDENTITY,
  decodeCommit,
  decodeTree,
  encodeCommit,
  encodeTree,
  frame,
  isObjectId,
  type ObjectType,
  objectId,
  wrongType,
} from './memory.ts';
import { branchNameProblem, moveBranch, readBranch, readBranches } from './ref-lock.ts';

export interface RepositoryOptions {
  /** Author and committer of our commits: `Name <email>`. */
  readonly identity?: string;
  /** Real time, also where the fleet's clock is simulated: it bounds waits for other processes. */
  readonly clock?: Clock;
  /** How often a watch looks by itself, in case the operating system lost an event. */
  readonly pollMs?: DurationMs;
  /** Packs and their indexes are kept in memory up to this size; a single larger pack is kept all the same. */
  readonly cacheBytesMax?: number;
}

const POLL_MS = 5 * SECOND;
/** Native git moves a ref in several steps (lock, log, rename); they are one change. */
const DEBOUNCE_MS = 20;
const CACHE_BYTES_MAX = 256 * 1024 * 1024;

const FILE_MODE = 0o666;
/** Git makes objects read-only: they never change. */
const OBJECT_MODE = 0o444;

/**
 * Opens the repository at `path`: its top folder, its git folder, or a linked work tree. Throws
 * {@link GitRepositoryError} where there is none or where it has a format that cannot be used.
 */
export async function openRepository(path: string, options: RepositoryOptions = {}): Promise<Git> {
  const { identity = DEFAULT_IDENTITY, clock = systemClock, pollMs = POLL_MS } = options;
  const commonDir = await locate(path);
  const workTree = await checkFormat(commonDir);
  const objects = objectReader(commonDir, options.cacheBytesMax ?? CACHE_BYTES_MAX);

  async function read<T>(oid: Oid, expected: ObjectType, decode: (content: Uint8Array) => T): Promise<T> {
    const { type, content } = await objects.read(oid);
    if (type !== expected) throw wrongType(oid, { expected, found: type });
    try {
      return decode(content);
    } catch (error) {
      throw new GitObjectError(
        oid,
        `${expected} ${oid} is malformed; run \`git fsck\` in ${commonDir}`,
        error,
      );
    }
  }

  const write = (type: ObjectType, content: Uint8Array) => writeObject(commonDir, type, content);
  const commit: Git['commit'] = (oid) => read(oid, 'commit', (content) => decodeCommit(oid, content));

  return {
    place: path,
    away: () => undefined,
    branch: (branch) => readBranch(commonDir, branch),
    commit,
    tree: (oid) => read(oid, 'tree', decodeTree),
    blob: (oid) => read(oid, 'blob', (content) => content),

    writeBlob: (content) => write('blob', content),
    writeTree: async (entries) => await write('tree', encodeTree(entries)),
    writeCommit: async (newCommit) => await write('commit', encodeCommit(newCommit, identity)),

    async moveBranch(move) {
      const { message } = await commit(move.to);
      const reflog = `tidegate: ${message.split('\n', 1)[0]}`;
      return await moveBranch({ commonDir, workTree, identity, clock }, { ...move, reflog });
    },
    watch: (onChange) => watchBranches({ commonDir, clock, pollMs }, onChange),
  };
}

/**
 * The remote branch `<remote>/<branch>` of the repository at `path`, where the branch itself is not there: a clone has
 * other people's branches like that. Undefined where there is none, or where the branch is there.
 */
export async function remoteBranchOnly(path: string, branch: string): Promise<string | undefined> {
  const gitdir = await locate(path);
  if ((await readBranch(gitdir, branch)) !== undefined) return undefined;
  for (const { remote } of await git.listRemotes({ fs: nodeFs, gitdir })) {
    const branches = await git.listBranches({ fs: nodeFs, gitdir, remote });
    if (branches.includes(branch)) return `${remote}/${branch}`;
  }
  return undefined;
}

/** Creates an empty bare repository that native git understands, in a new or empty folder. */
export async function createBareRepository(
  path: string,
  { defaultBranch }: { readonly defaultBranch: string },
): Promise<void> {
  const problem = branchNameProblem(defaultBranch);
  if (problem !== undefined) throw new GitRepositoryError(path, `cannot create a repository: ${problem}`);
  try {
    if ((await readdir(path).catch(unlessAbsent))?.length) {
      throw new GitRepositoryError(
        path,
        `${path} is not empty: choose a new or empty folder for the repository`,
      );
    }
    for (const folder of ['objects/info', 'objects/pack', 'refs/heads', 'refs/tags']) {
      await makeFolderDurably(join(path, folder));
    }
    await writeFileDurably(join(path, 'config'), BARE_CONFIG, FILE_MODE);
    // Last, because HEAD makes it a repository.
    await writeFileDurably(join(path, 'HEAD'), `ref: refs/heads/${defaultBranch}\n`, FILE_MODE);
  } catch (error) {
    throw writeError(error, path);
  }
}

const BARE_CONFIG = '[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n';

/** The git folder that holds the objects and branches of the repository at `path`. */
async function locate(path: string): Promise<string> {
  const top = resolve(path);
  try {
    if (!(await stat(top)).isDirectory()) {
      throw new GitRepositoryError(path, `${path} is a file: name the folder of a git repository`);
    }
    for (const gitDir of [await dotGitOf(top), top]) {
      const commonDir = await commonDirOf(gitDir);
      if (commonDir !== undefined) return await realpath(commonDir);
    }
  } catch (error) {
    throw openError(error, path);
  }
  throw new GitRepositoryError(
    path,
    `${path} is not a git repository: name its top folder (the one with .git) or a bare repository, or run \`git init\` there`,
  );
}

/** `.git` is a folder, or in a linked work tree or a submodule a file that names one. */
async function dotGitOf(top: string): Promise<string> {
  const dotGit = join(top, '.git');
  const text = await readFile(dotGit, 'utf8').catch((error) => {
    if (errorCode(error) !== 'EISDIR') return unlessAbsent(error);
    return undefined;
  });
  const named = text === undefined ? undefined : /^gitdir: (.+)$/m.exec(text)?.[1];
  return named === undefined ? dotGit : resolve(top, named);
}

/** Where the objects and branches of `gitDir` are, or undefined where it is no git folder or may not be read. */
async function commonDirOf(gitDir: string): Promise<string | undefined> {
  try {
    await access(join(gitDir, 'HEAD'), constants.R_OK);
    const shared = await readFile(join(gitDir, 'commondir'), 'utf8').catch(unlessAbsent);
    const commonDir = shared === undefined ? gitDir : resolve(gitDir, shared.trim());
    for (const folder of ['objects', 'refs'])
      await access(join(commonDir, folder), constants.R_OK | constants.X_OK);
    return commonDir;
  } catch (error) {
    return unlessAbsent(error);
  }
}

/** Refuses what isomorphic-git would misread; the answer is the main work tree, undefined in a bare repository. */
async function checkFormat(commonDir: string): Promise<string | undefined> {
  const setting = async (path: string): Promise<unknown> =>
    await git.getConfig({ fs: nodeFs, gitdir: commonDir, path });
  const refuse = (what: string, nextStep: string) =>
    new GitRepositoryError(commonDir, `${commonDir} ${what}, which is not supported: ${nextStep}`);
  try {
    const version = Number((await setting('core.repositoryformatversion')) ?? 0);
    if (!(version <= 1)) throw refuse(`has repository format ${version}`, 'use format 0 or 1');
    const objectFormat = (await setting('extensions.objectformat')) ?? 'sha1';
    if (objectFormat !== 'sha1') {
      throw refuse(
        `names its objects with ${objectFormat}`,
        'create it with `git init --object-format=sha1`',
      );
    }
    const refStorage = (await setting('extensions.refstorage')) ?? 'files';
    if (refStorage !== 'files') {
      throw refuse(`keeps its branches as ${refStorage}`, 'run `git refs migrate --ref-format=files` there');
    }
    const alternates = await readFile(join(commonDir, 'objects/info/alternates'), 'utf8').catch(unlessAbsent);
    if (alternates?.trim()) {
      throw refuse(
        'borrows objects from another repository (objects/info/alternates)',
        'run `git repack -a -d` there and delete that file',
      );
    }
    const isBare = (await setting('core.bare')) ?? basename(commonDir) !== '.git';
    const workTree = await setting('core.worktree');
    if (isBare === true) return undefined;
    return typeof workTree === 'string' ? resolve(commonDir, workTree) : dirname(commonDir);
  } catch (error) {
    throw openError(error, commonDir);
  }
}

interface ReadObject {
  readonly type: string;
  readonly content: Uint8Array;
}

/**
 * Reads objects and makes sure that their bytes hash to their id: isomorphic-git checks a pack as a whole, and loose
 * objects, but not that a pack's index points at the right place.
 *
 * Native `git gc` replaces packs under us: what isomorphic-git has cached names files that are gone, and it fails on any
 * index, also one it does not need, that vanishes between its listing and its opening. So a failure is believed only
 * when it came from a new cache and the packs were the same before and after.
 */
function objectReader(commonDir: string, cacheBytesMax: number): { read(oid: Oid): Promise<ReadObject> } {
  let packs = packCache();

  async function readThrough({ fs, cache }: PackCache, oid: Oid): Promise<ReadObject> {
    const found = await git.readObject({ fs, gitdir: commonDir, oid, format: 'content', cache });
    assert(found.format === 'content' && found.object instanceof Uint8Array, 'content was asked for');
    const { type, object } = found;
    const content = new Uint8Array(object.buffer, object.byteOffset, object.byteLength);
    const hash = objectId(type, content);
    if (hash !== oid) throw new Error(`its bytes hash to ${hash}`);
    return { type, content };
  }

  return {
    async read(oid) {
      if (!isObjectId(oid))
        throw new GitObjectError(oid, `an object id must be 40 hex digits, found "${oid}"`);
      if (packs.sizeBytes() > cacheBytesMax && packs.count() > 1) packs = packCache();
      let packsBefore: string | undefined;
      for (let attempt = 1; ; attempt += 1) {
        const used = packs;
        try {
          return await readThrough(used, oid);
        } catch (error) {
          // Of several reads that failed together, the first drops the cache and the others share the new one.
          if (packs === used) packs = packCache();
          const packsNow = await listPacks(commonDir);
          const isLast = packsNow === packsBefore || attempt === READ_ATTEMPTS_MAX;
          if (isLast) throw unreadable(oid, commonDir, error);
          packsBefore = packsNow;
        }
      }
    },
  };
}

/** One `git gc` changes the folder of packs a few times, one pack after another. */
const READ_ATTEMPTS_MAX = 20;

async function listPacks(commonDir: string): Promise<string> {
  const names = await readdir(join(commonDir, 'objects', 'pack')).catch(unlessAbsent);
  return (names ?? []).sort().join('\n');
}

/** What isomorphic-git keeps of packs (whole files and parsed indexes), and how much that is. */
interface PackCache {
  readonly fs: PromiseFsClient;
  readonly cache: object;
  sizeBytes(): number;
  /** Packs read so far. */
  count(): number;
}

function packCache(): PackCache {
  let sizeBytes = 0;
  let count = 0;
  const counted = async (...args: Parameters<typeof readFile>) => {
    const content = await readFile(...args);
    const path = String(args[0]);
    if (/\.(pack|idx)$/.test(path)) sizeBytes += content.length;
    if (path.endsWith('.pack')) count += 1;
    return content;
  };
  const promises = { ...nodeFs.promises, readFile: counted };
  return { fs: { promises }, cache: {}, sizeBytes: () => sizeBytes, count: () => count };
}

function unreadable(oid: Oid, commonDir: string, error: unknown): GitObjectError {
  const isMissing = error instanceof Error && error.name === 'NotFoundError';
  return new GitObjectError(
    oid,
    isMissing
      ? `object ${oid} is missing from ${commonDir}: fetch it from another clone`
      : `object ${oid} in ${commonDir} is corrupt or cannot be read (${String(error)}): run \`git fsck\` there`,
    error,
  );
}

/**
 * Writes a loose object. What exists is written again instead of being trusted: native git does not fsync its loose
 * objects by default, a crash may have torn the file, and the new date keeps `git prune` away until a branch holds it.
 */
async function writeObject(commonDir: string, type: ObjectType, content: Uint8Array): Promise<Oid> {
  const oid = objectId(type, content);
  const folder = join(commonDir, 'objects', oid.slice(0, 2));
  try {
    await makeFolderDurably(folder);
    await writeFileDurably(join(folder, oid.slice(2)), await compress(frame(type, content)), OBJECT_MODE);
  } catch (error) {
    throw writeError(error, commonDir);
  }
  return oid;
}

const compress = promisify<Uint8Array, Buffer>(deflate);

/**
 * Calls `onChange` when a branch or HEAD differs from last time (HEAD, because a branch that was checked out may be
 * moved once it no longer is). File events only say when to look, so a lost or a superfluous one does no harm.
 */
async function watchBranches(
  { commonDir, clock, pollMs }: { commonDir: string; clock: Clock; pollMs: DurationMs },
  onChange: () => void,
): Promise<Watcher> {
  const closing = new AbortController();
  let look = new AbortController();
  let seen = await fingerprint(commonDir);

  const files = watchFiles(
    ['refs/heads', 'packed-refs', 'HEAD'].map((name) => join(commonDir, name)),
    { ignoreInitial: true, atomic: false, ignored: (path) => path.endsWith('.lock') },
  );
  files.on('all', () => look.abort());
  // Too many watches, or a network file system: the slow poll goes on.
  files.on('error', () => look.abort());
  await new Promise<void>((resolve) => files.once('ready', resolve));

  async function follow(): Promise<void> {
    while (!closing.signal.aborted) {
      look = new AbortController();
      const now = await fingerprint(commonDir);
      if (now !== seen && !closing.signal.aborted) onChange();
      seen = now;
      await clock.sleep(pollMs, AbortSignal.any([look.signal, closing.signal]));
      if (look.signal.aborted) await clock.sleep(DEBOUNCE_MS, closing.signal);
    }
  }
  const following = follow();

  return {
    look: () => look.abort(),
    async close() {
      closing.abort();
      await files.close();
      await following;
    },
  };
}

/** Equal as long as no branch has moved. A repository that cannot be read is a state too: reading it will say why. */
async function fingerprint(commonDir: string): Promise<string> {
  try {
    const head = await readFile(join(commonDir, 'HEAD'), 'utf8');
    return JSON.stringify([head, Array.from(await readBranches(commonDir)).sort()]);
  } catch (error) {
    return String(error);
  }
}

/** For `.catch`: a missing file is undefined, everything else is still an error. */
function unlessAbsent(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}

function openError(error: unknown, path: string): unknown {
  if (isAbsent(error)) {
    return new GitRepositoryError(path, `there is no folder ${path}: create it, or correct the path`, error);
  }
  if (errorCode(error) === 'EACCES' || errorCode(error) === 'EPERM') {
    const message = `${path} may not be read by this user: give the user read permission on the whole repository`;
    return new GitRepositoryError(path, message, error);
  }
  return error;
}

function writeError(error: unknown, path: string): unknown {
  const problem = writeProblem(error, path);
  return problem === undefined ? error : new GitRepositoryError(path, problem, error);
}
