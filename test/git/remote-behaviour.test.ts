/** What a remote repository does over time: following, losing races, going away and coming back, staying small. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Git, Oid } from '../../src/git/git.ts';
import { createIsomorphicEngine } from '../../src/git/isomorphic/engine.ts';
import { createNativeEngine } from '../../src/git/native/engine.ts';
import { listPacks, removePack } from '../../src/git/packs.ts';
import { createVirtualClock } from '../../src/simulate/virtual-clock.ts';
import { hasGitServer, startGitServer } from './git-server.ts';
import { commitOn, ENGINE_NAMES, filesOf, type RemoteFixture, remoteFixture } from './remote-fixture.ts';

describe.skipIf(!hasGitServer).each(ENGINE_NAMES)('a remote, by the engine %s', (engine) => {
  let remote: RemoteFixture;
  beforeEach(async () => {
    remote = await remoteFixture(engine);
  });
  afterEach(async () => {
    await remote.close();
  });

  /** The one mirror below a folder. */
  async function mirrorPath(mirror = 'mirrors'): Promise<string> {
    const names = await readdir(join(remote.root, mirror));
    expect(names).toHaveLength(1);
    return join(remote.root, mirror, names[0] ?? '');
  }

  async function historyOf(git: Git, branch: string): Promise<Oid[]> {
    const history: Oid[] = [];
    for (let oid = await git.branch(branch); oid !== undefined; oid = (await git.commit(oid)).parents[0])
      history.push(oid);
    return history;
  }

  describe('the mirror', () => {
    it('begins with the newest fifty commits of the branches that are followed, and no other', async () => {
      const tips: Oid[] = [];
      for (let n = 1; n <= 60; n += 1) tips.push(await remote.push('main', { 'fleet/n.yaml': `n: ${n}\n` }));
      const other = await remote.push('other', { 'other.txt': 'other\n' });
      const git = await remote.open();
      expect(await historyOf(git, 'main')).toEqual(tips.slice(10).reverse());
      await expect(git.commit(tips[0] ?? '')).rejects.toThrow(/missing/);
      await expect(git.commit(other)).rejects.toThrow(/missing/);
      // Asked for by name, a branch is followed from then on.
      expect(await git.branch('other')).toBe(other);
      expect(await filesOf(git, 'other')).toHaveProperty('other.txt', 'other\n');
    });

    it('fetches what is new and nothing else, and keeps its beginning', async () => {
      const filler = Object.fromEntries(
        Array.from({ length: 20 }, (_, n) => [`fleet/${n}.bin`, randomBytes(10_000)]),
      );
      for (let n = 1; n <= 55; n += 1)
        await remote.push('main', n === 1 ? filler : { 'fleet/n.yaml': `n: ${n}\n` });
      const first = await remote.open();
      await first.close();
      const [path, tip] = [await mirrorPath(), await remote.push('main', { 'fleet/n.yaml': 'n: 56\n' })];
      const before = await listPacks(path);
      const git = await remote.open();
      expect(await git.branch('main')).toBe(tip);
      const [pack, ...others] = (await listPacks(path)).difference(before);
      expect(others).toEqual([]);
      expect((await readFile(join(path, 'objects/pack', `${pack}.pack`))).length).toBeLessThan(10_000);
      expect(await historyOf(git, 'main')).toHaveLength(51);
    });

    it('serves what it has after a restart while the remote is away, and says so', async () => {
      const tip = await remote.push('main', { 'fleet/fleet.yaml': 'kind: Fleet\n' });
      const first = await remote.open();
      expect(first.away()).toBeUndefined();
      await first.close();
      await remote.server.close();

      const git = await remote.open();
      expect(git.away()).toMatch(/^http:\/\/127.* (refuses the connection|has cut)/);
      expect(await git.branch('main')).toBe(tip);
      expect(await filesOf(git, 'main')).toEqual({ 'fleet/fleet.yaml': 'kind: Fleet\n' });
      const to = await commitOn(git, tip, 'later');
      await expect(git.moveBranch({ branch: 'main', from: tip, to })).rejects.toMatchObject({
        name: 'GitRepositoryError',
      });
      expect(await git.branch('main')).toBe(tip);
    });

    it('is not there after a clone that was killed in the middle', async () => {
      const files = Object.fromEntries(
        Array.from({ length: 50 }, (_, n) => [`fleet/${n}.bin`, randomBytes(20_000)]),
      );
      const tip = await remote.push('main', files);
      remote.server.fault = ({ purpose, method }) =>
        purpose === 'fetch' && method === 'POST' ? { kind: 'stall', afterBytes: 300_000 } : undefined;
      const module = (name: string) =>
        JSON.stringify(join(import.meta.dirname, '../../src/fleet-repo', name));
      const script = `
        const { openFleetGit } = await import(${module('open.ts')});
        const folder = ${JSON.stringify(join(remote.root, 'mirrors'))};
        await openFleetGit(${JSON.stringify(remote.url)}, { folder, engine: '${engine}', env: process.env, branch: 'main' });`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
      const isFetching = () => remote.server.requests.some(({ purpose }) => purpose === 'fetch');
      await vi.waitFor(() => expect(isFetching()).toBe(true), { timeout: 20_000 });
      child.kill('SIGKILL');
      await once(child, 'exit');

      remote.server.fault = () => ({ kind: 'cut' });
      await expect(remote.open()).rejects.toMatchObject({ name: 'GitRepositoryError' });
      remote.server.fault = undefined;
      const git = await remote.open();
      expect(await git.branch('main')).toBe(tip);
      expect(Object.keys(await filesOf(git, 'main'))).toHaveLength(50);
      await mirrorPath();
    });

    it('is made anew where it is damaged', async () => {
      await remote.push('main', { 'fleet/fleet.yaml': 'kind: Fleet\n' });
      const first = await remote.open();
      await first.close();
      const path = await mirrorPath();
      for (const pack of await listPacks(path)) await removePack(path, pack);
      expect(await filesOf(await remote.open(), 'main')).toEqual({ 'fleet/fleet.yaml': 'kind: Fleet\n' });
    });

    it('is made anew where a branch of it is torn', async () => {
      const tip = await remote.push('main', { 'fleet/fleet.yaml': 'kind: Fleet\n' });
      await (await remote.open()).close();
      await writeFile(join(await mirrorPath(), 'refs/heads/main'), '');
      expect(await (await remote.open()).branch('main')).toBe(tip);
    });

    it('goes on where one that was killed held locks', async () => {
      await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      await remote.push('outcomes', { 'rollouts/a.yaml': 'a: 1\n' });
      await (await remote.open()).close();
      const path = await mirrorPath();
      await writeFile(join(path, 'refs/heads/main.lock'), '');
      await mkdir(join(path, 'refs/heads/tidegate/rollback'), { recursive: true });
      await writeFile(join(path, 'refs/heads/tidegate/rollback/a.lock'), '');
      const tip = await remote.push('main', { 'fleet/n.yaml': 'n: 2\n' });
      const git = await remote.open();
      expect(git.away()).toBeUndefined();
      expect(await git.branch('main')).toBe(tip);
      const to = await commitOn(git, undefined, 'ours');
      expect(await git.moveBranch({ branch: 'tidegate/rollback/a', from: undefined, to })).toEqual({
        kind: 'moved',
      });
    });

    it('makes one pack of many, while reads go on, and keeps every commit that is needed', async () => {
      await remote.push('outcomes', { 'rollouts/a.yaml': 'a: 1\n' });
      await remote.push('main', { 'fleet/n.yaml': 'n: 0\n' });
      const git = await remote.open({ packsMax: 6, pollMs: 20 });
      const watch = await git.watch(() => {});
      // A commit that nothing reaches yet survives, too.
      const pending = await commitOn(git, await git.branch('outcomes'), 'pending');
      let most = 0;
      for (let n = 1; n <= 14; n += 1) {
        const tip = await remote.push('main', { [`fleet/${n}.yaml`]: `n: ${n}\n` });
        watch.look();
        await vi.waitFor(
          async () => {
            expect(Object.keys(await filesOf(git, 'main')).length).toBeGreaterThan(0);
            expect(await git.branch('main')).toBe(tip);
          },
          { timeout: 10_000 },
        );
        most = Math.max(most, (await listPacks(await mirrorPath())).size);
      }
      await watch.close();
      expect(most).toBeGreaterThanOrEqual(5);
      const quiet = await git.watch(() => {});
      await vi.waitFor(async () => expect((await listPacks(await mirrorPath())).size).toBeLessThan(6), {
        timeout: 10_000,
      });
      await quiet.close();
      expect(Object.keys(await filesOf(git, 'main'))).toHaveLength(15);
      expect(await historyOf(git, 'main')).toHaveLength(15);
      const from = await git.branch('outcomes');
      expect(await git.moveBranch({ branch: 'outcomes', from, to: pending })).toEqual({ kind: 'moved' });
      await git.close();
      const again = await remote.open();
      expect(Object.keys(await filesOf(again, 'main'))).toHaveLength(15);
      expect(await filesOf(again, 'outcomes')).toEqual({ 'rollouts/a.yaml': 'a: 1\n', pending: 'pending\n' });
    });

    it('reads small files beside a large one that nobody asks for', async () => {
      await remote.push('main', {
        'fleet/fleet.yaml': 'kind: Fleet\n',
        'docs/film.bin': randomBytes(12_000_000),
      });
      const git = await remote.open();
      const tip = await git.branch('main');
      const { tree } = await git.commit(tip ?? '');
      const fleet = (await git.tree(tree)).find(({ name }) => name === 'fleet');
      expect(await git.tree(fleet?.oid ?? '')).toHaveLength(1);
      const next = await remote.push('main', { 'fleet/fleet.yaml': 'kind: Fleet\n# more\n' });
      await git.close();
      expect(await (await remote.open()).branch('main')).toBe(next);
    });
  });

  describe('following', () => {
    it('tells a watcher of what people push, and asks nothing but where the branches are while nothing changes', async () => {
      await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      const git = await remote.open({ pollMs: 20 });
      const onChange = vi.fn();
      const watch = await git.watch(onChange);
      remote.server.requests.length = 0;
      await vi.waitFor(() => expect(remote.server.requests.length).toBeGreaterThan(12), { timeout: 20_000 });
      expect(new Set(remote.server.requests.map(({ purpose }) => purpose))).toEqual(new Set(['list']));
      expect(onChange).not.toHaveBeenCalled();

      const tip = await remote.push('main', { 'fleet/n.yaml': 'n: 2\n' });
      await vi.waitFor(() => expect(onChange).toHaveBeenCalled(), { timeout: 10_000 });
      expect(await git.branch('main')).toBe(tip);
      await watch.close();
      await remote.push('main', { 'fleet/n.yaml': 'n: 3\n' });
      // What was under way may end; then nobody asks any more, for many times as long as it took before.
      const goesOn = async () => {
        const asked = remote.server.requests.length;
        await new Promise((resolve) => setTimeout(resolve, 150));
        expect(remote.server.requests.length).toBe(asked);
      };
      await vi.waitFor(goesOn, { timeout: 20_000 });
    });

    it('follows a branch that was forced elsewhere, and one that was deleted', async () => {
      await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      await remote.push('side', { 'side.txt': 'side\n' });
      const git = await remote.open({ pollMs: 20 });
      expect(await git.branch('side')).toBeDefined();
      const watch = await git.watch(() => {});
      const other = await remote.push('other', { 'fleet/m.yaml': 'm: 1\n' });
      await remote.native('update-ref', 'refs/heads/main', other);
      await vi.waitFor(async () => expect(await git.branch('main')).toBe(other), { timeout: 10_000 });
      expect(await filesOf(git, 'main')).toHaveProperty('fleet/m.yaml');
      await remote.native('update-ref', '-d', 'refs/heads/side');
      await vi.waitFor(async () => expect(await git.branch('side')).toBeUndefined(), { timeout: 10_000 });
      // Its name may become a folder.
      await remote.native('update-ref', 'refs/heads/side/by', other);
      expect(await git.branch('side/by')).toBe(other);
      await watch.close();
    });

    it('keeps the record that a rewound outcomes has lost', async () => {
      await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      const first = await remote.push('outcomes', { 'rollouts/a.yaml': 'a: 1\n' });
      const second = await remote.push('outcomes', { 'rollouts/a.yaml': 'a: 2\n' });
      await (await remote.open()).close();
      await remote.native('update-ref', 'refs/heads/outcomes', first);
      await remote.native('reflog', 'expire', '--expire=now', '--all');
      let git = await remote.open();
      expect(await git.branch('outcomes')).toBe(first);
      for (let n = 2; n <= 5; n += 1) {
        await remote.push('main', { 'fleet/n.yaml': `n: ${n}\n` });
        await git.close();
        git = await remote.open({ packsMax: 3, pollMs: 20 });
      }
      // Tidying leaves it alone.
      const watch = await git.watch(() => {});
      await vi.waitFor(async () => expect((await listPacks(await mirrorPath())).size).toBeLessThan(3), {
        timeout: 10_000,
      });
      await watch.close();
      expect(await git.commit(second)).toMatchObject({ oid: second, parents: [first] });
      await remote.native('update-ref', 'refs/heads/outcomes', second);
      await git.close();
      git = await remote.open();
      expect(await git.branch('outcomes')).toBe(second);
    });

    it('looks at once for a hint, at most once a second, and less often while the remote is away', async () => {
      await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      const clock = createVirtualClock(0);
      const sleeps: number[] = [];
      const recording = {
        now: clock.now,
        sleep(durationMs: number, signal?: AbortSignal) {
          if (durationMs > 1000 && durationMs !== 60_000 && durationMs !== 600_000) sleeps.push(durationMs);
          return clock.sleep(durationMs, signal);
        },
      };
      const git = await remote.open({ clock: recording, random: () => 1 });
      const watch = await git.watch(() => {});
      const listings = () => remote.server.requests.filter(({ method }) => method === 'GET').length;
      await vi.waitFor(() => expect(sleeps).toEqual([33_000]));

      clock.advance(5000);
      const before = listings();
      watch.look();
      await vi.waitFor(() => expect(sleeps).toHaveLength(2), { timeout: 10_000 });
      const perLook = listings() - before;
      expect(perLook).toBeGreaterThan(0);
      for (let n = 0; n < 20; n += 1) watch.look();
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(listings() - before).toBe(perLook);
      clock.advance(1000);
      await vi.waitFor(() => expect(sleeps).toHaveLength(3), { timeout: 10_000 });
      expect(listings() - before).toBe(2 * perLook);

      remote.server.fault = () => ({ kind: 'answer', status: 503 });
      for (const expected of [66_000, 132_000, 264_000, 300_000, 300_000]) {
        const asked = sleeps.length;
        clock.advance(sleeps.at(-1) ?? 0);
        await vi.waitFor(() => expect(sleeps).toHaveLength(asked + 1), { timeout: 10_000 });
        expect(sleeps.at(-1)).toBe(expected);
      }
      expect(git.away()).toMatch(/503/);
      remote.server.fault = undefined;
      // No time has passed since the last look, but a hint did not ask for that.
      watch.look();
      await vi.waitFor(() => expect(git.away()).toBeUndefined(), { timeout: 10_000 });
      await vi.waitFor(() => expect(sleeps.at(-1)).toBe(33_000));
      await watch.close();
    });

    it('stops tidying for whatever else is to be done', async () => {
      await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      const real = engine === 'native' ? createNativeEngine() : createIsomorphicEngine();
      let tidied = 0;
      const endless = (_: string, signal: AbortSignal) => {
        tidied += 1;
        return new Promise<void>((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        });
      };
      const problems: string[] = [];
      const git = await remote.open({
        engine: { ...real, repack: endless },
        packsMax: 1,
        pollMs: 20,
        onProblem: (message) => problems.push(message),
      });
      const watch = await git.watch(() => {});
      await vi.waitFor(() => expect(tidied).toBe(1), { timeout: 10_000 });
      const tip = await remote.push('main', { 'fleet/n.yaml': 'n: 2\n' });
      watch.look();
      await vi.waitFor(async () => expect(await git.branch('main')).toBe(tip), { timeout: 10_000 });
      const to = await commitOn(git, tip, 'ours');
      expect(await git.moveBranch({ branch: 'main', from: tip, to })).toEqual({ kind: 'moved' });
      await watch.close();
      expect(problems).toEqual([]);
    });

    it('tells a watcher when the remote goes away and when it is back', async () => {
      const tip = await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      const git = await remote.open({ pollMs: 20 });
      const onChange = vi.fn();
      const watch = await git.watch(onChange);
      remote.server.fault = () => ({ kind: 'cut' });
      await vi.waitFor(() => expect(git.away()).toBeDefined(), { timeout: 10_000 });
      expect(onChange).toHaveBeenCalled();
      expect(await git.branch('main')).toBe(tip);
      onChange.mockClear();
      remote.server.fault = undefined;
      watch.look();
      await vi.waitFor(() => expect(git.away()).toBeUndefined(), { timeout: 10_000 });
      expect(onChange).toHaveBeenCalled();
      await watch.close();
    });
  });

  describe('moving a branch', () => {
    it('lets one of five writers with mirrors of their own win each race, and loses no commit', async () => {
      await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      const writers = await Promise.all([1, 2, 3, 4, 5].map((n) => remote.open({ mirror: `mirror-${n}` })));
      await Promise.all(
        writers.map(async (git, n) => {
          for (let turn = 0; turn < 2; ) {
            const from = await git.branch('outcomes');
            const to = await commitOn(git, from, `${n}.${turn}`);
            const moved = await git.moveBranch({ branch: 'outcomes', from, to });
            expect(moved.kind).not.toBe('refused');
            if (moved.kind === 'moved') turn += 1;
          }
        }),
      );
      const subjects = (await remote.native('log', '--format=%s', 'outcomes')).split('\n');
      expect(new Set(subjects).size).toBe(10);
      await remote.native('fsck', '--strict');
      for (const git of writers.slice(0, 1))
        expect(Object.keys(await filesOf(git, 'outcomes')).length).toBeGreaterThan(0);
    });

    it('says lost, and knows the new tip, when somebody was faster, even at the last moment', async () => {
      const from = await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      const git = await remote.open();
      const theirs = await remote.push('main', { 'fleet/n.yaml': 'n: 2\n' });
      const to = await commitOn(git, from, 'ours');
      expect(await git.moveBranch({ branch: 'main', from, to })).toEqual({ kind: 'lost' });
      expect(await git.branch('main')).toBe(theirs);

      // Between the question where the branch is and the move.
      const again = await commitOn(git, theirs, 'ours');
      let latest: Oid | undefined;
      remote.server.fault = async ({ purpose, method }) => {
        if (purpose === 'push' && method === 'POST' && latest === undefined)
          latest = await remote.push('main', { 'fleet/n.yaml': 'n: 3\n' });
        return undefined;
      };
      expect(await git.moveBranch({ branch: 'main', from: theirs, to: again })).toEqual({ kind: 'lost' });
      expect(await git.branch('main')).toBe(latest);
      expect(await remote.native('rev-parse', 'main')).toBe(latest);
    });

    it('finds out that a push whose answer was lost has moved the branch', async () => {
      const from = await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      const git = await remote.open();
      const to = await commitOn(git, from, 'ours');
      remote.server.fault = ({ purpose, method }) =>
        purpose === 'push' && method === 'POST' ? { kind: 'lose-answer' } : undefined;
      expect(await git.moveBranch({ branch: 'main', from, to })).toEqual({ kind: 'moved' });
      expect(await remote.native('rev-parse', 'main')).toBe(to);
      expect(await git.branch('main')).toBe(to);

      const next = await commitOn(git, to, 'next');
      remote.server.fault = ({ purpose, method }) =>
        purpose === 'push' && method === 'POST' ? { kind: 'cut' } : undefined;
      await expect(git.moveBranch({ branch: 'main', from: to, to: next })).rejects.toThrow(/cut/);
      expect(await git.branch('main')).toBe(to);
      remote.server.fault = undefined;
      expect(await git.moveBranch({ branch: 'main', from: to, to: next })).toEqual({ kind: 'moved' });
    });

    it('is refused by a protected branch, with what it says, and may use a branch aside', async () => {
      const from = await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      const git = await remote.open();
      await mkdir(join(remote.bare, 'hooks'), { recursive: true });
      const hook = join(remote.bare, 'hooks/update');
      await writeFile(
        hook,
        '#!/bin/sh\ntest "$1" != refs/heads/main || { echo "GH006: main is protected"; exit 1; }\n',
      );
      await chmod(hook, 0o755);

      const to = await commitOn(git, from, 'ours');
      const moved = await git.moveBranch({ branch: 'main', from, to });
      expect(moved).toEqual({
        kind: 'refused',
        reason: expect.stringMatching(/main .*hook declined.*GH006.*let our user push/),
      });
      const aside = 'tidegate/rollback/thermostat/1';
      expect(await git.branch(aside)).toBeUndefined();
      expect(await git.moveBranch({ branch: aside, from: undefined, to })).toEqual({ kind: 'moved' });
      // Ours alone: it may go where it did not lead.
      const other = await commitOn(git, from, 'other');
      expect(await git.moveBranch({ branch: aside, from: to, to: other })).toEqual({ kind: 'moved' });
      expect(await remote.native('rev-parse', aside)).toBe(other);
      expect(await remote.native('rev-parse', 'main')).toBe(from);
      expect(await git.moveBranch({ branch: aside, from: to, to: other })).toEqual({ kind: 'lost' });
    });

    it('never takes commits away from a branch', async () => {
      const first = await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
      const second = await remote.push('main', { 'fleet/n.yaml': 'n: 2\n' });
      const git = await remote.open();
      const result = await git.moveBranch({ branch: 'main', from: second, to: first });
      expect(result).toEqual({ kind: 'refused', reason: expect.stringContaining('take commits away') });
      expect(await remote.native('rev-parse', 'main')).toBe(second);
    });
  });

  it('asks a repository where it has moved to on the same host, and never takes its token to another', async () => {
    await remote.push('main', { 'fleet/n.yaml': 'n: 1\n' });
    remote.server.login = { username: 'x-access-token', password: 'secret-token' };
    const credentials = remote.server.login;
    remote.server.fault = ({ url }) =>
      url.startsWith('/old.git')
        ? { kind: 'answer', status: 301, headers: { location: url.replace('/old.git', '/fleet.git') } }
        : undefined;
    const git = await remote.open({ url: `${remote.server.url}/old.git`, credentials });
    const from = await git.branch('main');
    const to = await commitOn(git, from, 'ours');
    expect(await git.moveBranch({ branch: 'main', from, to })).toEqual({ kind: 'moved' });

    const elsewhere = await startGitServer(join(remote.root, 'served'));
    elsewhere.login = remote.server.login;
    remote.server.fault = ({ url }) => ({
      kind: 'answer',
      status: 302,
      headers: { location: elsewhere.url + url },
    });
    const opening = remote.open({ mirror: 'elsewhere', credentials });
    await expect(opening).rejects.toThrow(engine === 'native' ? /credentials/ : /redirects to http:\/\/127/);
    if (engine === 'isomorphic') {
      const secured = elsewhere.url.replace('http:', 'https:');
      remote.server.fault = ({ url }) => ({
        kind: 'answer',
        status: 302,
        headers: { location: secured + url },
      });
      const otherPort = remote.open({ mirror: 'other-port', credentials });
      await expect(otherPort).rejects.toThrow(/redirects to https:\/\/127/);
    }
    expect(elsewhere.requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
    await elsewhere.close();
  });
});
