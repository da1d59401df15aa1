/** The engine over a real folder, with native git at work in it at the same time. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Git, Oid } from '../../src/git/git.ts';
import { createIsomorphicEngine } from '../../src/git/isomorphic/engine.ts';
import { createBareRepository, openRepository } from '../../src/git/local.ts';
import { createNativeEngine } from '../../src/git/native/engine.ts';
import { branchNameProblem } from '../../src/git/ref-lock.ts';
import { readFiles, withChanges } from '../../src/git/tree.ts';
import { describeGit } from './git-contract.ts';

const run = promisify(execFile);
const AT = Date.UTC(2025, 0, 1);
const IDENTITY = {
  GIT_AUTHOR_NAME: 'Ada',
  GIT_AUTHOR_EMAIL: 'ada@example.org',
  GIT_COMMITTER_NAME: 'Ada',
  GIT_COMMITTER_EMAIL: 'ada@example.org',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
};

/** Native git in a folder; resolves to what it prints, without the last newline. */
async function native(cwd: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run('git', args, { cwd, env: { ...process.env, ...IDENTITY } });
  return stdout.trimEnd();
}

async function temporaryFolder(): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'tidegate-git-'));
}

const ENGINES = { isomorphic: createIsomorphicEngine, native: createNativeEngine };

describe.each(Object.entries(ENGINES))(
  'a repository on disk, read by the engine %s',
  (name, createEngine) => {
    describeGit(`local, ${name}`, async () => {
      const folder = await temporaryFolder();
      await createBareRepository(folder, { defaultBranch: 'main' });
      const git = await openRepository(folder, { engine: createEngine() });
      return { git, close: () => rm(folder, { recursive: true }) };
    });

    let root: string;
    let bare: string;
    let git: Git;
    beforeEach(async () => {
      root = await temporaryFolder();
      bare = join(root, 'fleet.git');
      await createBareRepository(bare, { defaultBranch: 'main' });
      git = await openRepository(bare, { engine: createEngine() });
    });
    afterEach(async () => {
      await git.close();
      await rm(root, { recursive: true });
    });

    /** A commit of `files`, on top of `parent`, which no branch points at yet. */
    async function commitOf(files: Readonly<Record<string, string>>, parent?: Oid): Promise<Oid> {
      const changes = new Map<string, { mode: string; oid: Oid }>();
      for (const [path, text] of Object.entries(files)) {
        changes.set(path, { mode: '100644', oid: await git.writeBlob(Buffer.from(text)) });
      }
      const base = parent === undefined ? undefined : (await git.commit(parent)).tree;
      const tree = await withChanges(git, base, changes);
      const parents = parent === undefined ? [] : [parent];
      return await git.writeCommit({ tree, parents, message: `Change ${Object.keys(files)}\n`, at: AT });
    }

    async function mainOf(files: Readonly<Record<string, string>>): Promise<Oid> {
      const to = await commitOf(files);
      expect(await git.moveBranch({ branch: 'main', from: undefined, to })).toEqual({ kind: 'moved' });
      return to;
    }

    async function cloneOf(name: string): Promise<string> {
      await native(root, 'clone', '--quiet', bare, name);
      return join(root, name);
    }

    describe('what it writes', () => {
      it('passes git fsck --strict, is read-only like git’s own, and leaves no temporary file', async () => {
        const first = await mainOf({
          'fleet/fleet.yaml': 'kind: Fleet\n',
          'fleet/rollouts/ä.yaml': 'kind: Rollout\n',
        });
        const second = await commitOf({ 'ops/x.yaml': 'kind: Operation\n' }, first);
        expect(await git.moveBranch({ branch: 'main', from: first, to: second })).toEqual({ kind: 'moved' });

        await native(bare, 'fsck', '--strict', '--full');
        expect(await native(bare, 'log', '--format=%an %ae %at %s', '--first-parent', 'main')).toBe(
          'Tidegate tidegate@localhost 1735689600 Change ops/x.yaml\n' +
            'Tidegate tidegate@localhost 1735689600 Change fleet/fleet.yaml,fleet/rollouts/ä.yaml',
        );
        const object = join(bare, 'objects', first.slice(0, 2), first.slice(2));
        expect((await stat(object)).mode & 0o777).toBe(0o444);
        const names = await readdir(bare, { recursive: true });
        expect(names.filter((name) => /tmp_obj|\.lock$/.test(name))).toEqual([]);
      });

      it('is cloned, committed to and pushed by native git', async () => {
        await mainOf({ 'fleet/fleet.yaml': 'kind: Fleet\n' });
        const clone = await cloneOf('clone');
        await writeFile(join(clone, 'new.txt'), 'new\n');
        await native(clone, 'add', '.');
        await native(clone, 'commit', '--quiet', '-m', 'Native');
        await native(clone, 'push', '--quiet', 'origin', 'HEAD');
        const head = await git.commit((await git.branch('main')) ?? '');
        expect(head).toMatchObject({ message: 'Native\n', author: 'Ada <ada@example.org>' });
        expect((await readFiles(git, head.tree, '')).map(({ path }) => path)).toEqual([
          'fleet/fleet.yaml',
          'new.txt',
        ]);
      });

      it('heals an object file that a crash has torn', async () => {
        const oid = await git.writeBlob(Buffer.from('whole\n'));
        const path = join(bare, 'objects', oid.slice(0, 2), oid.slice(2));
        await chmod(path, 0o644);
        await writeFile(path, '');
        await expect(git.blob(oid)).rejects.toMatchObject({ name: 'GitObjectError', oid });
        expect(await git.writeBlob(Buffer.from('whole\n'))).toBe(oid);
        expect(Buffer.from(await git.blob(oid)).toString()).toBe('whole\n');
      });

      it('makes an old object young again, so that git prune leaves it to us', async () => {
        const oid = await git.writeBlob(Buffer.from('unreachable\n'));
        const path = join(bare, 'objects', oid.slice(0, 2), oid.slice(2));
        await utimes(path, 1_000_000, 1_000_000);
        await git.writeBlob(Buffer.from('unreachable\n'));
        await native(bare, 'prune', '--expire=1.day.ago');
        expect(await git.blob(oid)).toHaveLength(12);
      });

      it('keeps names that are not UTF-8, executable bits and symbolic links', async () => {
        const work = join(root, 'odd');
        await native(root, 'init', '--quiet', '-b', 'main', work);
        await writeFile(Buffer.concat([Buffer.from(`${work}/caf`), Buffer.from([0xe9])]), 'latin1\n');
        await writeFile(join(work, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
        await run('ln', ['-s', 'run.sh', join(work, 'link')]);
        await native(work, 'add', '.');
        await native(work, 'commit', '--quiet', '-m', 'Odd');
        const odd = await openRepository(work);
        const { oid: parent, tree } = await odd.commit((await odd.branch('main')) ?? '');
        const blob = await odd.writeBlob(Buffer.from('more\n'));
        const changed = await withChanges(odd, tree, new Map([['more', { mode: '100644', oid: blob }]]));

        const commit = await odd.writeCommit({ tree: changed, parents: [parent], message: 'More\n', at: AT });
        expect(await odd.moveBranch({ branch: 'next', from: undefined, to: commit })).toEqual({
          kind: 'moved',
        });
        expect(await native(work, 'ls-tree', '--format=%(objectmode) %(path)', 'next')).toBe(
          '100644 "caf\\351"\n120000 link\n100644 more\n100755 run.sh',
        );
        expect(await native(work, 'diff-tree', '--name-status', 'main', 'next')).toBe('A\tmore');
        await native(work, 'fsck', '--strict');
      });
    });

    describe('native git beside us', () => {
      it('reads on while gc and pack-refs replace the files under it', async () => {
        let tip = await mainOf({ 'fleet/0.yaml': 'n: 0\n' });
        const blobs = new Set<Oid>();
        for (let round = 1; round <= 3; round += 1) {
          // Several packs, so that gc has several to take away.
          for (let pack = 1; pack <= 6; pack += 1) {
            const next = await commitOf({ [`fleet/${round}-${pack}.yaml`]: `n: ${round}-${pack}\n` }, tip);
            expect(await git.moveBranch({ branch: 'main', from: tip, to: next })).toEqual({ kind: 'moved' });
            tip = next;
            await native(bare, 'repack', '--quiet', '-d');
          }
          for (const { oid } of await readFiles(git, (await git.commit(tip)).tree, 'fleet')) blobs.add(oid);

          let isDone = false;
          const housekeeping = native(bare, 'gc', '--quiet', '--prune=now', '--aggressive')
            .then(() => native(bare, 'pack-refs', '--all', '--prune'))
            .finally(() => {
              isDone = true;
            });
          let reads = 0;
          try {
            while (!isDone) {
              expect(await git.branch('main')).toBe(tip);
              await Promise.all(Array.from(blobs, (oid) => git.blob(oid)));
              reads += 1;
            }
          } finally {
            await housekeeping;
          }
          expect(reads).toBeGreaterThan(0);
          expect(await readdir(join(bare, 'refs/heads'))).toEqual([]);
          expect(await git.commit(tip)).toMatchObject({ oid: tip });
        }
      });

      it('reads many packs with a small cache', async () => {
        const small = await openRepository(bare, { engine: createIsomorphicEngine({ cacheBytesMax: 1 }) });
        let tip = await mainOf({ a: '0' });
        for (let n = 1; n <= 3; n += 1) {
          const next = await commitOf({ a: String(n) }, tip);
          await git.moveBranch({ branch: 'main', from: tip, to: next });
          tip = next;
          await native(bare, 'repack', '--quiet', '-d');
        }
        expect(
          (await readdir(join(bare, 'objects/pack'))).filter((name) => name.endsWith('.pack')),
        ).toHaveLength(3);
        for (let oid: Oid | undefined = tip, n = 3; oid !== undefined; n -= 1) {
          const commit = await small.commit(oid);
          const [file] = await readFiles(small, commit.tree, 'a');
          expect(Buffer.from(await small.blob(file?.oid ?? '')).toString()).toBe(String(n));
          oid = commit.parents[0];
        }
      });

      it('loses no acknowledged commit when people push while we move the same branch', async () => {
        await mainOf({ start: '' });
        const clone = await cloneOf('racer');
        const acknowledged: Oid[] = [];
        let lostPushes = 0;
        let lostMoves = 0;
        let ours = 0;
        let theirs = 0;
        let isDone = false;
        // Whoever loses gets more room, so that both sides win at times.
        const pause = (losses: number) => new Promise((resolve) => setTimeout(resolve, 10 * 2 ** losses));
        const people = async () => {
          while (theirs < 6 || ours < 6) {
            await native(clone, 'commit', '--quiet', '--allow-empty', '-m', `Native ${theirs}`);
            const isPushed = await native(clone, 'push', '--quiet', 'origin', 'HEAD').then(
              () => true,
              () => false,
            );
            lostPushes = isPushed ? 0 : lostPushes + 1;
            if (isPushed) acknowledged.push(await native(clone, 'rev-parse', 'HEAD'));
            if (isPushed) theirs += 1;
            else await native(clone, 'pull', '--quiet', '--rebase', 'origin', 'main');
            await pause(lostMoves);
          }
          isDone = true;
        };
        const reconciler = async () => {
          while (!isDone) {
            const from = await git.branch('main');
            const to = await commitOf({ [`ours/${ours}`]: '' }, from);
            const result = await git.moveBranch({ branch: 'main', from, to });
            expect(result.kind).not.toBe('refused');
            if (result.kind === 'moved') {
              acknowledged.push(to);
              ours += 1;
            }
            lostMoves = result.kind === 'moved' ? 0 : lostMoves + 1;
            await pause(lostPushes);
          }
        };
        await Promise.all([people(), reconciler()]);
        const history = new Set((await native(bare, 'rev-list', 'main')).split('\n'));
        expect(acknowledged.filter((oid) => !history.has(oid))).toEqual([]);
        expect(acknowledged).toHaveLength(ours + theirs);
        await native(bare, 'fsck', '--strict');
      });

      it('loses no acknowledged commit against git update-ref on packed and loose refs', async () => {
        let tip = await mainOf({ start: '' });
        const theirs = await Promise.all([0, 1, 2, 3, 4, 5].map((n) => commitOf({ theirs: String(n) }, tip)));
        for (const [n, rival] of theirs.entries()) {
          if (n % 2 === 0) await native(bare, 'pack-refs', '--all', '--prune');
          const to = await commitOf({ ours: String(n) }, tip);
          const [result, updated] = await Promise.all([
            git.moveBranch({ branch: 'main', from: tip, to }),
            native(bare, 'update-ref', 'refs/heads/main', rival, tip).then(
              () => true,
              () => false,
            ),
          ]);
          expect([result.kind === 'moved', updated].filter(Boolean)).toHaveLength(1);
          expect(await native(bare, 'rev-parse', 'main')).toBe(updated ? rival : to);
          tip = await commitOf({ next: String(n) }, updated ? rival : to);
          await native(bare, 'update-ref', 'refs/heads/main', tip);
          for (let later = n + 1; later < theirs.length; later += 1) {
            theirs[later] = await commitOf({ theirs: String(later) }, tip);
          }
        }
      });

      it('keeps a branch’s reflog where it has one', async () => {
        await native(bare, 'config', 'core.logAllRefUpdates', 'always');
        const first = await commitOf({ a: '1' });
        await native(bare, 'update-ref', '-m', 'native', 'refs/heads/main', first);
        const second = await commitOf({ a: '2' }, first);
        await git.moveBranch({ branch: 'main', from: first, to: second });
        expect(await native(bare, 'log', '-g', '--format=%gd %H %gs %gn', 'main')).toBe(
          `main@{0} ${second} tidegate: Change a Tidegate\nmain@{1} ${first} native Ada`,
        );
      });

      it('creates a branch where a deleted one has left empty folders', async () => {
        const to = await mainOf({ a: '1' });
        await mkdir(join(bare, 'refs/heads/outcomes/old/er'), { recursive: true });
        expect(await git.moveBranch({ branch: 'outcomes', from: undefined, to })).toEqual({ kind: 'moved' });
        expect(await native(bare, 'rev-parse', 'outcomes')).toBe(to);
      });

      it('refuses a packed branch’s name as a folder, and sees symbolic branches', async () => {
        const to = await mainOf({ a: '1' });
        await native(bare, 'symbolic-ref', 'refs/heads/master', 'refs/heads/main');
        expect(await git.branch('master')).toBe(to);
        expect(await git.moveBranch({ branch: 'master', from: to, to })).toMatchObject({ kind: 'refused' });
        await native(bare, 'pack-refs', '--all', '--prune');
        const reason =
          'branch main/x cannot exist beside main: one name is a folder of the other; rename or delete main';
        expect(await git.moveBranch({ branch: 'main/x', from: undefined, to })).toEqual({
          kind: 'refused',
          reason,
        });
      });

      it('waits for a lock that is given back, and never breaks one that is not', async () => {
        const from = await mainOf({ a: '1' });
        const to = await commitOf({ a: '2' }, from);
        const lock = join(bare, 'refs/heads/main.lock');
        await writeFile(lock, '');
        await utimes(lock, Date.now() / 1000 - 180, Date.now() / 1000 - 180);
        const result = await git.moveBranch({ branch: 'main', from, to });
        expect(result).toEqual({
          kind: 'refused',
          reason: expect.stringMatching(/main\.lock is 3m.* old .*delete that file/),
        });
        expect(await readFile(lock, 'utf8')).toBe('');

        setTimeout(() => void rm(lock), 200);
        expect(await git.moveBranch({ branch: 'main', from, to })).toEqual({ kind: 'moved' });
      });

      it('notices packed, deleted and pushed branches, and a moved HEAD', async () => {
        const first = await mainOf({ a: '1' });
        const onChange = vi.fn();
        // Polling is far away: these are file events.
        const quick = await openRepository(bare, { pollMs: 60_000 });
        const watch = await quick.watch(onChange);
        const noticed = async (change: () => Promise<unknown>) => {
          onChange.mockClear();
          await change();
          await vi.waitFor(() => expect(onChange).toHaveBeenCalled(), { timeout: 3000 });
        };
        await noticed(() => native(bare, 'update-ref', 'refs/heads/a/b', first));
        await native(bare, 'pack-refs', '--all', '--prune');
        await noticed(() => native(bare, 'update-ref', '-d', 'refs/heads/a/b'));
        await noticed(() => native(bare, 'update-ref', 'refs/heads/a/b/c', first));
        await noticed(() => native(bare, 'symbolic-ref', 'HEAD', 'refs/heads/a/b/c'));
        await watch.close();
      });

      it('finds a moved branch by itself where file events wake nobody', async () => {
        const first = await mainOf({ a: '1' });
        // This sleep does not listen to the signal, which is all that an event can give.
        const sleep = vi.fn(
          async (durationMs: number) => await new Promise<void>((go) => setTimeout(go, durationMs)),
        );
        const onChange = vi.fn();
        const deaf = await openRepository(bare, { clock: { now: () => AT, sleep }, pollMs: 50 });
        const watch = await deaf.watch(onChange);
        await native(bare, 'update-ref', 'refs/heads/quiet', first);
        await vi.waitFor(() => expect(onChange).toHaveBeenCalled(), { timeout: 3000 });
        expect(sleep).toHaveBeenCalledWith(50, expect.anything());
        await watch.close();
      });
    });

    describe('work trees', () => {
      it('refuses to move a branch that is checked out, in the main or in a linked work tree', async () => {
        await mainOf({ a: '1' });
        const clone = await cloneOf('work');
        await native(clone, 'worktree', 'add', '--quiet', '-b', 'side', join(root, 'linked'));
        for (const path of [clone, join(clone, '.git'), join(root, 'linked')]) {
          const work = await openRepository(path);
          const from = await work.branch('main');
          const { tree } = await work.commit(from ?? '');
          const to = await work.writeCommit({
            tree,
            parents: from === undefined ? [] : [from],
            message: 'x\n',
            at: AT,
          });
          const shown = [
            ['main', clone],
            ['side', join(root, 'linked')],
          ] as const;
          for (const [branch, workTree] of shown) {
            const reason = expect.stringContaining(`branch ${branch} is checked out in ${workTree},`);
            expect(await work.moveBranch({ branch, from, to })).toEqual({ kind: 'refused', reason });
            expect(await work.branch(branch)).toBe(from);
          }
        }
        const work = await openRepository(clone);
        const main = (await work.branch('main')) ?? '';
        expect(await work.moveBranch({ branch: 'outcomes', from: undefined, to: main })).toEqual({
          kind: 'moved',
        });
        await native(clone, 'switch', '--quiet', '--detach');
        expect(await work.moveBranch({ branch: 'main', from: main, to: main })).toEqual({ kind: 'moved' });
        expect(await native(clone, 'status', '--porcelain')).toBe('');
      });
    });

    describe('corruption', () => {
      it('reports a flipped byte in a loose object, wherever it is', async () => {
        const content = Buffer.from(Array.from({ length: 300 }, (_, n) => (n * 7919) % 251));
        const oid = await git.writeBlob(content);
        const path = join(bare, 'objects', oid.slice(0, 2), oid.slice(2));
        const whole = await readFile(path);
        await chmod(path, 0o644);
        for (let at = 0; at < whole.length; at += 11) {
          const flipped = Buffer.from(whole);
          flipped[at] = (whole[at] ?? 0) ^ 0x10;
          await writeFile(path, flipped);
          const read = await git.blob(oid).then(
            (found) => Buffer.from(found).equals(content),
            (error: Error) => error.name,
          );
          // Zlib's own header has bits that change nothing; wrong content must never come out.
          expect([true, 'GitObjectError']).toContain(read);
          if (at > 2) expect(read).toBe('GitObjectError');
        }
        await writeFile(path, whole);
        expect(await git.blob(oid)).toHaveLength(300);
      });

      it('reports a flipped byte in a pack, and an index that points at another object', async () => {
        // Many blobs, so that some have a blob as their neighbour in the index, which only the hash tells apart.
        const files = Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`${n}.yaml`, `n: ${n}\n`]));
        const { tree } = await git.commit(await mainOf(files));
        await native(bare, 'gc', '--quiet', '--prune=now');
        const blobs = (await readFiles(git, tree, '')).map(({ oid }) => oid);
        const contents = await Promise.all(blobs.map(async (oid) => Buffer.from(await git.blob(oid))));
        const outcomes = async () => {
          const damaged = await openRepository(bare, { engine: createEngine() });
          const reads = await Promise.allSettled(blobs.map((oid) => damaged.blob(oid)));
          await damaged.close();
          return new Set(
            reads.map((read, n) => {
              if (read.status === 'rejected') return read.reason.name;
              return Buffer.from(read.value).equals(contents[n] ?? Buffer.of()) ? 'right' : 'wrong';
            }),
          );
        };
        expect(await outcomes()).toEqual(new Set(['right']));

        const folder = join(bare, 'objects/pack');
        const names = await readdir(folder);
        const damages = { '.pack': flippedInTheSecondHalf, '.idx': withOffsetsRotated };
        for (const [extension, damage] of Object.entries(damages)) {
          const path = join(folder, names.find((each) => each.endsWith(extension)) ?? '');
          const whole = await readFile(path);
          await chmod(path, 0o644);
          await writeFile(path, damage(whole));
          const found = await outcomes();
          expect(found, extension).toContain('GitObjectError');
          expect(found, extension).not.toContain('wrong');
          // Isomorphic-git checks a pack as a whole; git reads on in what is not damaged.
          if (name === 'isomorphic') expect(found, extension).not.toContain('right');
          await writeFile(path, whole);
        }
        expect(await outcomes()).toEqual(new Set(['right']));
      });
    });

    describe('opening', () => {
      const opened = (path: string) =>
        openRepository(path).then(
          () => 'opened',
          ({ name, message }) => `${name}: ${message}`,
        );

      it('says what is wrong with a path and what to do next', async () => {
        await writeFile(join(root, 'file'), '');
        await mkdir(join(root, 'empty'));
        expect(await opened(join(root, 'nowhere'))).toMatch(
          /^GitRepositoryError: there is no folder .*nowhere: create it/,
        );
        expect(await opened(join(root, 'file'))).toMatch(
          /^GitRepositoryError: .*file is a file: name the folder/,
        );
        expect(await opened(join(root, 'empty'))).toMatch(
          /^GitRepositoryError: .*empty is not a git repository: .*git init/,
        );
      });

      it('refuses what isomorphic-git would misread: SHA-256, reftable, alternates, a newer format', async () => {
        await native(root, 'init', '--quiet', '--bare', '--object-format=sha256', 'sha256');
        expect(await opened(join(root, 'sha256'))).toMatch(
          /names its objects with sha256, .*--object-format=sha1/,
        );

        await native(bare, 'config', 'core.repositoryFormatVersion', '1');
        expect(await opened(bare)).toBe('opened');
        await native(bare, 'config', 'extensions.refStorage', 'reftable');
        expect(await opened(bare)).toMatch(/keeps its branches as reftable, .*git refs migrate/);
        await writeFile(join(bare, 'config'), '[core]\n\trepositoryformatversion = 2\n\tbare = true\n');
        expect(await opened(bare)).toMatch(/has repository format 2/);

        const origin = join(root, 'origin');
        await createBareRepository(origin, { defaultBranch: 'main' });
        await native(root, 'clone', '--quiet', '--shared', origin, 'borrower');
        expect(await opened(join(root, 'borrower'))).toMatch(/borrows objects .*git repack -a -d/);
      });

      it('says that a user may not read or write the repository', async () => {
        const from = await mainOf({ a: '1' });
        await chmod(root, 0o755);
        const script = `
        const { openRepository } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/git/local.ts'))});
        const print = (value) => console.log(JSON.stringify(value));
        try {
          const git = await openRepository(${JSON.stringify(bare)});
          print(await git.moveBranch({ branch: 'other', from: undefined, to: '${from}' }));
          await git.writeBlob(Buffer.from('x'));
        } catch (error) {
          print(error.name + ': ' + error.message);
        }`;
        // Root may do everything, so the repository is used by nobody (65534).
        const asNobody = async () => {
          const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
          const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
            cwd: '/',
            ...user,
          });
          return stdout
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line));
        };
        await native(root, 'config', '--file', join(bare, 'config'), 'core.bare', 'true');
        for (const folder of ['objects', 'refs/heads']) await chmod(join(bare, folder), 0o555);
        expect(await asNobody()).toEqual([
          { kind: 'refused', reason: expect.stringMatching(/may not be written by this user/) },
          expect.stringMatching(/^GitRepositoryError: .*may not be written by this user/),
        ]);
        await chmod(join(bare, 'objects'), 0o000);
        expect(await asNobody()).toEqual([
          expect.stringMatching(/^GitRepositoryError: .*may not be read by this user/),
        ]);
        await chmod(join(bare, 'objects'), 0o755);
      });

      it('creates a repository only in a new or empty folder, with a branch name that git takes', async () => {
        expect(await native(bare, 'symbolic-ref', 'HEAD')).toBe('refs/heads/main');
        expect(await native(bare, 'rev-parse', '--is-bare-repository')).toBe('true');
        await expect(createBareRepository(bare, { defaultBranch: 'main' })).rejects.toThrow(/is not empty/);
        const path = join(root, 'x');
        await expect(createBareRepository(path, { defaultBranch: 'a b' })).rejects.toThrow(
          /is no branch name/,
        );
      });
    });
  },
);

it('knows git’s rules for branch names', async () => {
  const part = fc.constantFrom(
    'a',
    '.',
    '..',
    '.lock',
    '@',
    '{',
    '/',
    '-',
    '~',
    '\\',
    '*',
    '[',
    ' ',
    '\x7f',
    'é',
    'HEAD',
  );
  const name = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join(''));
  const property = fc.asyncProperty(name, async (branch) => {
    // `git check-ref-format` leaves these two to `git branch`.
    const isTaken = branch.startsWith('-') || branch === 'HEAD';
    const accepted = await run('git', ['check-ref-format', `refs/heads/${branch}`]).then(
      () => true,
      () => false,
    );
    expect(branchNameProblem(branch) === undefined).toBe(accepted && !isTaken);
  });
  await fc.assert(property, { numRuns: 150 });
});

function flippedInTheSecondHalf(pack: Buffer): Buffer {
  const flipped = Buffer.from(pack);
  for (let at = Math.floor(pack.length / 2); at < pack.length - 20; at += 8)
    flipped[at] = (pack[at] ?? 0) ^ 1;
  return flipped;
}

/** A version 2 pack index that gives each object its neighbour's place: the offsets follow fan-out, ids and CRCs. */
function withOffsetsRotated(index: Buffer): Buffer {
  const count = index.readUInt32BE(8 + 255 * 4);
  const start = 8 + 256 * 4 + count * 24;
  const end = start + count * 4;
  return Buffer.concat([
    index.subarray(0, start),
    index.subarray(start + 4, end),
    index.subarray(start, start + 4),
    index.subarray(end),
  ]);
}
