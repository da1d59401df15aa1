/** A fleet's repository on a server, somebody who pushes to it, and mirrors of it. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Git, Oid } from '../../src/git/git.ts';
import { createIsomorphicEngine } from '../../src/git/isomorphic/engine.ts';
import { createBareRepository, openRepository } from '../../src/git/local.ts';
import { createNativeEngine } from '../../src/git/native/engine.ts';
import { openRemote, type RemoteOptions } from '../../src/git/remote.ts';
import { type PathContent, readFiles, withChanges } from '../../src/git/tree.ts';
import { type GitServer, startGitServer } from './git-server.ts';

const run = promisify(execFile);

export type EngineName = 'isomorphic' | 'native';
export const ENGINE_NAMES: readonly EngineName[] = ['isomorphic', 'native'];

export interface RemoteFixture {
  readonly root: string;
  /** The repository itself, where the server has it. */
  readonly bare: string;
  readonly server: GitServer;
  readonly url: string;
  /** Opens a mirror; all are closed at the end. */
  open(options?: Partial<RemoteOptions> & { mirror?: string; idleMs?: number; url?: string }): Promise<Git>;
  /** Somebody's commit of these files is on the branch, which begins with it if need be. */
  push(branch: string, files: Readonly<Record<string, string | Uint8Array>>): Promise<Oid>;
  /** Native git in the repository itself. */
  native(...args: readonly string[]): Promise<string>;
  close(): Promise<void>;
}

export async function remoteFixture(engine: EngineName): Promise<RemoteFixture> {
  const root = await mkdtemp(join(tmpdir(), 'tidegate-remote-'));
  const served = join(root, 'served');
  const bare = join(served, 'fleet.git');
  await createBareRepository(bare, { defaultBranch: 'main' });
  const server = await startGitServer(served);
  const opened: Git[] = [];
  // Who works in the repository itself needs no clone and no process.
  const person = await openRepository(bare, { identity: 'Ada <ada@example.org>' });

  return {
    root,
    bare,
    server,
    url: `${server.url}/fleet.git`,
    async open({ mirror = 'mirrors', idleMs, url, ...options } = {}) {
      const limits = idleMs === undefined ? {} : { idleMs };
      const git = await openRemote(url ?? `${server.url}/fleet.git`, {
        folder: join(root, mirror),
        engine: engine === 'native' ? createNativeEngine(limits) : createIsomorphicEngine(limits),
        alsoFollow: ['outcomes'],
        folders: ['fleet', 'ops', 'trust'],
        branch: 'main',
        ...options,
      });
      opened.push(git);
      return git;
    },
    async push(branch, files) {
      const from = await person.branch(branch);
      const base = from === undefined ? undefined : (await person.commit(from)).tree;
      const changes = new Map<string, PathContent>();
      for (const [path, content] of Object.entries(files)) {
        changes.set(path, { mode: '100644', oid: await person.writeBlob(Buffer.from(content)) });
      }
      const to = await person.writeCommit({
        tree: await withChanges(person, base, changes),
        parents: from === undefined ? [] : [from],
        message: `Change ${Object.keys(files).join(', ')}\n`,
        at: Date.UTC(2025, 0, 1),
      });
      const moved = await person.moveBranch({ branch, from, to });
      if (moved.kind !== 'moved') throw new Error(`the test's own push was ${moved.kind}`);
      return to;
    },
    native: (...args) => nativeGit(bare, ...args),
    async close() {
      for (const git of opened) await git.close();
      await server.close();
      await rm(root, { recursive: true });
    },
  };
}

/** Native git in a folder, as Ada; resolves to what it prints, without the last newline. */
export async function nativeGit(cwd: string, ...args: readonly string[]): Promise<string> {
  const env = {
    ...process.env,
    GIT_AUTHOR_NAME: 'Ada',
    GIT_AUTHOR_EMAIL: 'ada@example.org',
    GIT_COMMITTER_NAME: 'Ada',
    GIT_COMMITTER_EMAIL: 'ada@example.org',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
  };
  const { stdout } = await run('git', args, { cwd, env, maxBuffer: 2 ** 26 });
  return stdout.trimEnd();
}

/** The text of every file at the tip of a branch. */
export async function filesOf(git: Git, branch: string): Promise<Record<string, string>> {
  const tip = await git.branch(branch);
  if (tip === undefined) return {};
  const files = await readFiles(git, (await git.commit(tip)).tree, '');
  const read = files.map(async ({ path, oid }) => [path, Buffer.from(await git.blob(oid)).toString()]);
  return Object.fromEntries(await Promise.all(read));
}

/** A commit of ours that adds a file, on top of `parent`; no branch points at it yet. */
export async function commitOn(git: Git, parent: Oid | undefined, name: string): Promise<Oid> {
  const base = parent === undefined ? [] : await git.tree((await git.commit(parent)).tree);
  const blob = await git.writeBlob(Buffer.from(`${name}\n`));
  const tree = await git.writeTree([
    ...base.filter((entry) => entry.name !== name),
    { name, mode: '100644', oid: blob },
  ]);
  const parents = parent === undefined ? [] : [parent];
  return await git.writeCommit({ tree, parents, message: `Add ${name}\n`, at: Date.UTC(2025, 0, 1) });
}
