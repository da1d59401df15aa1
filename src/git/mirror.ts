/**
 * The copy of a remote repository on this machine: a bare repository whose branches are ours. A branch here points at what
 * has been fetched *and* looked at, nothing else does; what a fetch brings moves no ref. No object is ever taken out, so
 * that what was read once can be read again: also the record that a rewound `outcomes` has lost.
 *
 * Each remote has a folder of its own, named by its URL's digest. It is filled under another name and renamed when it is
 * complete, so that a clone that was cut off is no mirror. One process at a time uses the folder: its caller sees to that. A
 * git that was started by one that was killed may still be at work, though, for as long as its connection lasts.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { errorCode, makeFolderDurably, syncFolder, unlessAbsent, writeProblem } from '../durable-fs.ts';
import type { GitEngine } from './engine.ts';
import { GitObjectError, GitRepositoryError } from './errors.ts';
import type { Git, Oid } from './git.ts';
import { createBareRepository, openRepository } from './local.ts';
import { removeTemporaryPacks } from './packs.ts';
import { readBranch, readBranches, removeBranch, removeLocks } from './ref-lock.ts';

export interface Mirror {
  readonly commonDir: string;
  /** Reads and writes objects here, and moves the branches here. */
  readonly git: Git;
  branches(): Promise<ReadonlyMap<string, Oid>>;
  /** Points `branch` at `to` (undefined: removes it), durably. */
  point(branch: string, to: Oid | undefined): Promise<void>;
}

export interface MirrorOptions {
  readonly folder: string;
  readonly url: string;
  readonly engine: GitEngine;
  readonly identity: string;
  /** Real time. */
  readonly clock: Clock;
}

/** The mirror that is there, or undefined where there is none or what its branches point at cannot be read. */
export async function openMirror(options: MirrorOptions): Promise<Mirror | undefined> {
  const path = mirrorPath(options);
  const names = (await readdir(options.folder).catch(unlessAbsent)) ?? [];
  if (!names.includes(mirrorName(options.url))) return undefined;
  const mirror = await mirrorAt(path, options);
  await removeTemporaryPacks(path);
  // Branches are ours alone to move: whoever held a lock is gone.
  await removeLocks(path);
  try {
    for (const oid of (await mirror.branches()).values())
      await mirror.git.tree((await mirror.git.commit(oid)).tree);
    return mirror;
  } catch (error) {
    await mirror.git.close();
    if (error instanceof GitObjectError || error instanceof GitRepositoryError) return undefined;
    throw error;
  }
}

/** Makes the mirror anew; it is there, complete, when `fill` has filled it. Mirrors of other remotes are removed then. */
export async function makeMirror(
  options: MirrorOptions,
  fill: (mirror: Mirror) => Promise<void>,
): Promise<Mirror> {
  const { folder } = options;
  const path = mirrorPath(options);
  let partial: string | undefined;
  try {
    await makeFolderDurably(folder);
    await removeAll(folder, (name) => name.startsWith(`${mirrorName(options.url)}.partial`));
    partial = await mkdtemp(`${path}.partial-`);
    await createBareRepository(partial, { defaultBranch: 'main' });
    const filling = await mirrorAt(partial, options);
    try {
      await fill(filling);
    } finally {
      await filling.git.close();
    }
    await rm(path, { recursive: true, force: true });
    await rename(partial, path);
    await syncFolder(folder);
    await removeAll(folder, (name) => MIRROR_NAME.test(name) && name !== mirrorName(options.url));
    return await mirrorAt(path, options);
  } catch (error) {
    if (partial !== undefined) await rm(partial, { recursive: true, force: true, ...UNDER_USE });
    const problem = writeProblem(error, folder);
    throw problem === undefined ? error : new GitRepositoryError(folder, problem, error);
  }
}

async function mirrorAt(path: string, { engine, identity, clock }: MirrorOptions): Promise<Mirror> {
  const git = await openRepository(path, { engine, identity, clock });
  const place = { commonDir: path, workTree: undefined, identity, clock };
  return {
    commonDir: path,
    git,
    branches: () => readBranches(path),
    async point(branch, to) {
      const from = await readBranch(path, branch);
      if (from === to) return;
      const moved =
        to === undefined
          ? await removeBranch(place, { branch, from })
          : await git.moveBranch({ branch, from, to });
      if (moved.kind === 'moved') return;
      const why =
        moved.kind === 'lost' ? 'another process works there: give each its own folder' : moved.reason;
      throw new GitRepositoryError(path, `branch ${branch} of the copy ${path} cannot be moved: ${why}`);
    },
  };
}

/** Takes away what is of no use, as far as nobody is writing to it: what is left is taken away next time. */
async function removeAll(folder: string, isUseless: (name: string) => boolean): Promise<void> {
  for (const name of (await readdir(folder)).filter(isUseless)) {
    await rm(join(folder, name), { recursive: true, force: true, ...UNDER_USE }).catch((error: unknown) => {
      if (errorCode(error) !== 'ENOTEMPTY') throw error;
    });
  }
}

/** A git whose folder goes away stops soon. */
const UNDER_USE = { maxRetries: 3, retryDelay: 50 } as const;

function mirrorPath({ folder, url }: MirrorOptions): string {
  return join(folder, mirrorName(url));
}

function mirrorName(url: string): string {
  return `${createHash('sha256').update(url).digest('hex').slice(0, 16)}.git`;
}

const MIRROR_NAME = /^[0-9a-f]{16}\.git(\.partial.*)?$/;
