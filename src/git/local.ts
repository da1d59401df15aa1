/**
 * A git repository on this machine, which people may use with native git at the same time. An engine reads its objects;
 * they are written here, durably, and branches move under git's own lock (ref-lock.ts). No work tree, no index, no hooks.
 */
import nodeFs from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import git from 'isomorphic-git';
import { type Clock, systemClock } from '../clock.ts';
import { type DurationMs, SECOND } from '../core/model/time.ts';
import { makeFolderDurably, unlessAbsent, writeFileDurably, writeProblem } from '../durable-fs.ts';
import type { GitEngine } from './engine.ts';
import { GitObjectError, GitRepositoryError } from './errors.ts';
import type { Commit, Git, Oid } from './git.ts';
import { createIsomorphicEngine } from './isomorphic/engine.ts';
import { checkFormat, locateRepository } from './locate.ts';
import {
  DEFAULT_IDENTITY,
  decodeCommit,
  decodeTree,
  encodeCommit,
  encodeTree,
  frame,
  type ObjectType,
  objectId,
  wrongType,
} from './objects.ts';
import { branchNameProblem, moveBranch, readBranch } from './ref-lock.ts';
import { readShallow } from './shallow.ts';
import { watchBranches } from './watch-branches.ts';

export interface RepositoryOptions {
  /** Reads the objects; isomorphic-git by default. */
  readonly engine?: GitEngine;
  /** Author and committer of our commits: `Name <email>`. */
  readonly identity?: string;
  /** Real time, also where the fleet's clock is simulated: it bounds waits for other processes. */
  readonly clock?: Clock;
  /** How often a watch looks by itself, in case the operating system lost an event. */
  readonly pollMs?: DurationMs;
}

const POLL_MS = 5 * SECOND;

const FILE_MODE = 0o666;
/** Git makes objects read-only: they never change. */
const OBJECT_MODE = 0o444;

/**
 * Opens the repository at `path`: its top folder, its git folder, or a linked work tree. Throws
 * {@link GitRepositoryError} where there is none or where it has a format that cannot be used.
 */
export async function openRepository(path: string, options: RepositoryOptions = {}): Promise<Git> {
  const { identity = DEFAULT_IDENTITY, clock = systemClock, pollMs = POLL_MS } = options;
  const commonDir = await locateRepository(path);
  const workTree = await checkFormat(commonDir);
  const objects = (options.engine ?? createIsomorphicEngine()).objects(commonDir);

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
  const commit: Git['commit'] = async (oid) =>
    withoutAbsentParents(await read(oid, 'commit', (content) => decodeCommit(oid, content)), commonDir);

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
    close: () => objects.close(),
  };
}

/** What a shallow clone does not have is not part of its history. */
async function withoutAbsentParents(commit: Commit, commonDir: string): Promise<Commit> {
  if (commit.parents.length === 0) return commit;
  const boundary = await readShallow(commonDir);
  return boundary.has(commit.oid) ? { ...commit, parents: [] } : commit;
}

/**
 * The remote branch `<remote>/<branch>` of the repository at `path`, where the branch itself is not there: a clone has
 * other people's branches like that. Undefined where there is none, or where the branch is there.
 */
export async function remoteBranchOnly(path: string, branch: string): Promise<string | undefined> {
  const gitdir = await locateRepository(path);
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

function writeError(error: unknown, path: string): unknown {
  const problem = writeProblem(error, path);
  return problem === undefined ? error : new GitRepositoryError(path, problem, error);
}
