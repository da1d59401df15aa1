/**
 * Branches of a repository on disk (git's "files" format): reading them, and moving one under git's own lock, so that
 * native git, people and other replicas may move branches at the same time. Knows nothing of objects.
 */
import type { Dirent } from 'node:fs';
import {
  constants,
  type FileHandle,
  open,
  readdir,
  readFile,
  rename,
  rmdir,
  stat,
  unlink,
} from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Clock } from '../clock.ts';
import { formatDuration } from '../core/model/time.ts';
import { errorCode, isAbsent, makeFolderDurably, syncFolder, writeProblem } from '../durable-fs.ts';
import { GitRepositoryError } from './errors.ts';
import type { MoveResult, Oid } from './git.ts';

/** Where a repository keeps its branches and whose work trees show them. */
export interface RefPlace {
  /** The git folder that linked work trees share. */
  readonly commonDir: string;
  /** The main work tree, or undefined in a bare repository. */
  readonly workTree: string | undefined;
  /** Who moves branches, for the reflog: `Name <email>`. */
  readonly identity: string;
  /** Real time: it bounds a wait for other processes. */
  readonly clock: Clock;
}

/** How long another writer may hold the lock. Git itself waits 100 ms; a loaded disk's fsync takes longer than that. */
const LOCK_WAIT_MS = 1000;
const BACKOFF_FIRST_MS = 5;
const BACKOFF_MAX_MS = 80;

const NO_OBJECT = '0'.repeat(40);

/**
 * Moves `branch` from exactly `from` to `to`, as `git update-ref` does: create `<ref>.lock` exclusively, compare under
 * the lock, write and fsync the lock file, rename it over the ref, fsync the folder. A lock that somebody else left
 * behind is never broken: whether its owner still runs cannot be known from here.
 */
export async function moveBranch(
  place: RefPlace,
  move: {
    readonly branch: string;
    readonly from: Oid | undefined;
    readonly to: Oid;
    readonly reflog: string;
  },
): Promise<MoveResult> {
  const { branch, from, to } = move;
  const problem = branchNameProblem(branch);
  if (problem !== undefined) return { kind: 'refused', reason: problem };
  const refPath = join(place.commonDir, 'refs', 'heads', branch);
  try {
    const lock = await acquire(place, { branch, from, refPath });
    if (lock.kind !== 'held') return lock;
    try {
      const obstacle = await obstacleTo(place, move);
      if (obstacle !== undefined) return obstacle;
      if (from === undefined) await removeEmptyFolders(refPath);
      await lock.write(`${to}\n`);
      await appendReflog(place, move);
      await lock.commit();
      return { kind: 'moved' };
    } finally {
      await lock.release();
    }
  } catch (error) {
    const reason = isInTheWay(error)
      ? `a file or folder is in the way of ${refPath}: another branch's name is part of ${branch}, or the other way round`
      : writeProblem(error, refPath);
    if (reason === undefined) throw error;
    return { kind: 'refused', reason };
  }
}

/**
 * Removes `branch`, which is at `from`, under the same lock. Only for a repository of our own, where nobody packs refs: a
 * packed branch is left as it is.
 */
export async function removeBranch(
  place: RefPlace,
  { branch, from }: { readonly branch: string; readonly from: Oid | undefined },
): Promise<MoveResult> {
  const refPath = join(place.commonDir, 'refs', 'heads', branch);
  const lock = await acquire(place, { branch, from, refPath });
  if (lock.kind !== 'held') return lock;
  try {
    if ((await readBranch(place.commonDir, branch)) !== from) return { kind: 'lost' };
    await unlink(refPath);
    await syncFolder(dirname(refPath));
    return { kind: 'moved' };
  } finally {
    await lock.release();
  }
}

/** Removes every lock of a branch. Only for a repository of our own, at the beginning: a process that was killed left them. */
export async function removeLocks(commonDir: string, folder = HEADS): Promise<void> {
  for (const entry of await readFolder(join(commonDir, folder))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await removeLocks(commonDir, path);
    else if (entry.name.endsWith('.lock')) await unlink(join(commonDir, path));
  }
}

interface HeldLock {
  readonly kind: 'held';
  write(content: string): Promise<void>;
  /** Makes what was written the branch's value, durably. */
  commit(): Promise<void>;
  /** Gives the lock back; does nothing after a commit. */
  release(): Promise<void>;
}

async function acquire(
  place: RefPlace,
  { branch, from, refPath }: { branch: string; from: Oid | undefined; refPath: string },
): Promise<HeldLock | MoveResult> {
  const lockPath = `${refPath}.lock`;
  const deadline = place.clock.now() + LOCK_WAIT_MS;
  for (let backoffMs = BACKOFF_FIRST_MS; ; backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS)) {
    // Whoever held the lock has most likely moved the branch: then there is nothing left to wait for.
    if ((await readBranch(place.commonDir, branch)) !== from) return { kind: 'lost' };
    try {
      return heldLock(await open(lockPath, 'wx'), { lockPath, refPath });
    } catch (error) {
      const code = errorCode(error);
      // Git removes a folder as soon as it is empty, so this may also happen after we have made it.
      if (code === 'ENOENT') await makeFolderDurably(dirname(refPath));
      else if (code !== 'EEXIST') throw error;
    }
    if (place.clock.now() >= deadline) return { kind: 'refused', reason: await heldReason(place, lockPath) };
    await place.clock.sleep(backoffMs);
  }
}

function heldLock(file: FileHandle, { lockPath, refPath }: { lockPath: string; refPath: string }): HeldLock {
  let isOpen = true;
  let isCommitted = false;
  const close = async () => {
    if (isOpen) await file.close();
    isOpen = false;
  };
  return {
    kind: 'held',
    write: (content) => file.writeFile(content),
    async commit() {
      await file.sync();
      await close();
      await rename(lockPath, refPath);
      isCommitted = true;
      await syncFolder(dirname(refPath));
    },
    async release() {
      await close();
      if (!isCommitted) await unlink(lockPath);
    },
  };
}

async function heldReason({ clock }: RefPlace, lockPath: string): Promise<string> {
  const age = await stat(lockPath).then(
    ({ mtimeMs }) =>
      `is ${formatDuration(Math.max(0, Math.floor((clock.now() - mtimeMs) / 1000) * 1000))} old`,
    () => 'keeps coming and going',
  );
  return `${lockPath} ${age} and keeps the branch locked: if no git process is at work there, delete that file`;
}

/** What speaks against the move, now that nobody else can make it. */
async function obstacleTo(
  place: RefPlace,
  { branch, from }: { readonly branch: string; readonly from: Oid | undefined },
): Promise<MoveResult | undefined> {
  const { commonDir } = place;
  if ((await readBranch(commonDir, branch)) !== from) return { kind: 'lost' };
  const workTree = await workTreeShowing(place, branch);
  if (workTree !== undefined) {
    const reason =
      `branch ${branch} is checked out in ${workTree}, where moving it would stage the reverse of the new commit: ` +
      `run \`git -C ${workTree} switch --detach\`, or use a bare repository`;
    return { kind: 'refused', reason };
  }
  if (SYMBOLIC_REF.test((await readText(join(commonDir, HEADS, branch)))?.trim() ?? '')) {
    return {
      kind: 'refused',
      reason: `branch ${branch} only stands for another branch: name that one instead`,
    };
  }
  if (from !== undefined) return undefined;
  const rival = rivalOf(branch, (await readBranches(commonDir)).keys());
  return rival === undefined ? undefined : { kind: 'refused', reason: rivalReason(branch, rival) };
}

/** The work tree whose HEAD is `branch`: the main one or a linked one (`git worktree add`). */
async function workTreeShowing(
  { commonDir, workTree }: RefPlace,
  branch: string,
): Promise<string | undefined> {
  const shows = async (gitDir: string) =>
    (await readText(join(gitDir, 'HEAD')))?.trim() === `ref: refs/heads/${branch}`;
  if (workTree !== undefined && (await shows(commonDir))) return workTree;
  for (const { name } of await readFolder(join(commonDir, 'worktrees'))) {
    const gitDir = join(commonDir, 'worktrees', name);
    if (!(await shows(gitDir))) continue;
    const dotGit = (await readText(join(gitDir, 'gitdir')))?.trim();
    return dotGit === undefined ? gitDir : dirname(resolve(gitDir, dotGit));
  }
  return undefined;
}

/** A branch whose name is a folder of this one's, or the other way round: git keeps branches as files and allows no such pair. */
export function rivalOf(branch: string, others: Iterable<string>): string | undefined {
  for (const other of others) {
    if (other.startsWith(`${branch}/`) || branch.startsWith(`${other}/`)) return other;
  }
  return undefined;
}

export function rivalReason(branch: string, rival: string): string {
  return `branch ${branch} cannot exist beside ${rival}: one name is a folder of the other; rename or delete ${rival}`;
}

/** Deleted branches leave empty folders, which would keep `path` from becoming a file. Throws where one is not empty. */
async function removeEmptyFolders(path: string): Promise<void> {
  for (const entry of await readFolder(path)) {
    if (entry.isDirectory()) await removeEmptyFolders(join(path, entry.name));
  }
  try {
    await rmdir(path);
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}

/** One line in the branch's reflog, if it has one. Under the lock and before the move, as git does it. */
async function appendReflog(
  { commonDir, identity, clock }: RefPlace,
  { branch, from, to, reflog }: { branch: string; from: Oid | undefined; to: Oid; reflog: string },
): Promise<void> {
  const seconds = Math.floor(clock.now() / 1000);
  const line = `${from ?? NO_OBJECT} ${to} ${identity} ${seconds} +0000\t${reflog.replaceAll('\n', ' ')}\n`;
  try {
    const log = await open(
      join(commonDir, 'logs', 'refs', 'heads', branch),
      constants.O_APPEND | constants.O_WRONLY,
    );
    try {
      await log.writeFile(line);
    } finally {
      await log.close();
    }
  } catch (error) {
    if (!isAbsent(error) && errorCode(error) !== 'EISDIR') throw error;
  }
}

/** The commit that a branch points at, also where the branch is a symbolic ref to another. */
export async function readBranch(commonDir: string, branch: string): Promise<Oid | undefined> {
  if (branchNameProblem(branch) !== undefined) return undefined;
  return await readRef(commonDir, `${HEADS}${branch}`);
}

/** Every branch and its commit. */
export async function readBranches(commonDir: string): Promise<ReadonlyMap<string, Oid>> {
  const loose = await readLooseBranches(commonDir, '');
  const branches = new Map<string, Oid>();
  for (const [ref, oid] of await readPackedRefs(commonDir)) {
    if (ref.startsWith(HEADS)) branches.set(ref.slice(HEADS.length), oid);
  }
  for (const [branch, oid] of loose) branches.set(branch, oid);
  return branches;
}

const HEADS = 'refs/heads/';

async function readLooseBranches(commonDir: string, prefix: string): Promise<[string, Oid][]> {
  const branches: [string, Oid][] = [];
  for (const entry of await readFolder(join(commonDir, HEADS, prefix))) {
    const name = `${prefix}${entry.name}`;
    if (entry.isDirectory()) {
      branches.push(...(await readLooseBranches(commonDir, `${name}/`)));
    } else if (branchNameProblem(name) === undefined) {
      const oid = await readRef(commonDir, `${HEADS}${name}`);
      if (oid !== undefined) branches.push([name, oid]);
    }
  }
  return branches;
}

/**
 * The loose file wins over packed-refs, and is looked at first: `git pack-refs` writes the packed value before it removes
 * the file, so in this order a ref is never missed.
 */
async function readRef(commonDir: string, ref: string, depth = 0): Promise<Oid | undefined> {
  const path = join(commonDir, ref);
  const text = (await readText(path))?.trim();
  if (text === undefined) return (await readPackedRefs(commonDir)).get(ref);
  if (OBJECT_ID.test(text)) return text;
  const target = SYMBOLIC_REF.exec(text)?.[1];
  if (target !== undefined && depth < SYMBOLIC_REF_DEPTH_MAX)
    return await readRef(commonDir, target, depth + 1);
  throw new GitRepositoryError(
    path,
    `${path} must hold a commit id, found ${JSON.stringify(text.slice(0, 60))}: restore it from the reflog or another clone`,
  );
}

const OBJECT_ID = /^[0-9a-f]{40}$/;
const SYMBOLIC_REF = /^ref: (refs\/(?!.*\.\.).+)$/;
/** Git's own limit. */
const SYMBOLIC_REF_DEPTH_MAX = 5;

async function readPackedRefs(commonDir: string): Promise<ReadonlyMap<string, Oid>> {
  const text = (await readText(join(commonDir, 'packed-refs'))) ?? '';
  const lines = text.matchAll(/^([0-9a-f]{40}) (refs\/.+)$/gm);
  return new Map(Array.from(lines, ([, oid = '', ref = '']) => [ref, oid]));
}

/** Why git would not take `branch` as a branch's name (git-check-ref-format(1)), or undefined where it would. */
export function branchNameProblem(branch: string): string | undefined {
  const rule = BRANCH_NAME_RULES.find(({ broken }) => broken.test(branch));
  return rule === undefined
    ? undefined
    : `${JSON.stringify(branch)} is no branch name for git: it must not ${rule.must}`;
}

const BRANCH_NAME_RULES: readonly { readonly must: string; readonly broken: RegExp }[] = [
  {
    must: 'be empty, nor begin or end with a slash, nor have two slashes in a row',
    broken: /^$|^\/|\/$|\/\//,
  },
  { must: 'have a part that begins with a dot or ends with .lock', broken: /(^|\/)\.|\.lock(\/|$)/ },
  { must: 'contain two dots in a row, nor end with a dot', broken: /\.\.|\.$/ },
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what the rule is about.
  { must: 'contain spaces, control characters or any of ~^:?*[\\', broken: /[\x00-\x20\x7f~^:?*[\\]/ },
  { must: 'contain @{', broken: /@\{/ },
  { must: 'begin with a dash, nor be HEAD', broken: /^-|^HEAD$/ },
];

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isAbsent(error) || errorCode(error) === 'EISDIR') return undefined;
    throw error;
  }
}

async function readFolder(path: string): Promise<readonly Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

function isInTheWay(error: unknown): boolean {
  return ['EEXIST', 'EISDIR', 'ENOTDIR', 'ENOTEMPTY'].includes(errorCode(error) ?? '');
}
