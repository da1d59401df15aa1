/** A remote that answers wrongly, half or not at all: what is read is never wrong, and what is said helps. */
import { execFile } from 'node:child_process';
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createIsomorphicEngine } from '../../src/git/isomorphic/engine.ts';
import { createBareRepository } from '../../src/git/local.ts';
import { createNativeEngine } from '../../src/git/native/engine.ts';
import { listPacks, removePack } from '../../src/git/packs.ts';
import { type Fault, type GitServer, hasGitServer, localSsh, startGitServer } from './git-server.ts';
import {
  commitOn,
  ENGINE_NAMES,
  filesOf,
  nativeGit,
  type RemoteFixture,
  remoteFixture,
} from './remote-fixture.ts';

const run = promisify(execFile);

describe.skipIf(!hasGitServer).each(ENGINE_NAMES)('a faulty remote, by the engine %s', (engine) => {
  const createEngine = engine === 'native' ? createNativeEngine : createIsomorphicEngine;
  let remote: RemoteFixture;
  beforeEach(async () => {
    remote = await remoteFixture(engine);
  });
  afterEach(async () => {
    await remote.close();
  });

  const opening = (options: Parameters<RemoteFixture['open']>[0]) =>
    remote.open(options).then(
      () => 'opened',
      (error: Error) => `${error.name}: ${error.message}`,
    );

  describe('broken answers', () => {
    const SEED = 20250101;
    const ROUNDS = 20;

    it(`never lead to a wrong reading, and a clean answer heals (seed ${SEED})`, async () => {
      const random = seeded(SEED);
      const wanted: Record<string, string> = { 'fleet/fleet.yaml': 'kind: Fleet\n' };
      await remote.push('main', wanted);
      await (await remote.open()).close();
      const [mirror = ''] = await readdir(join(remote.root, 'mirrors'));
      const path = join(remote.root, 'mirrors', mirror);
      let rejected = 0;
      for (let round = 1; round <= ROUNDS; round += 1) {
        const before = { ...wanted };
        wanted[`fleet/${round}.yaml`] = `n: ${random()}\n`;
        const tip = await remote.push('main', wanted);
        const packs = await listPacks(path);
        // Any answer may be the broken one: the list, what the server can do, the pack.
        const fault = anyFault(random);
        let broken = Math.floor(random() * 4);
        remote.server.fault = () => {
          broken -= 1;
          return broken === -1 ? fault : undefined;
        };
        const context = `round ${round}: ${JSON.stringify(fault)}`;
        const git = await remote.open({ idleMs: 1500 });
        const isNew = (await git.branch('main')) === tip;
        expect(await filesOf(git, 'main'), context).toEqual(isNew ? wanted : before);
        if (!isNew) {
          rejected += 1;
          expect(git.away(), context).toBeDefined();
          // What could not be used is not left lying about.
          expect(await listPacks(path), context).toEqual(packs);
        }
        await git.close();

        remote.server.fault = undefined;
        const healed = await remote.open();
        expect(healed.away(), context).toBeUndefined();
        expect(await filesOf(healed, 'main'), context).toEqual(wanted);
        await healed.close();
      }
      // The faults are real: without the checks most of these rounds would have been taken for good.
      expect(rejected).toBeGreaterThan(ROUNDS / 3);
    });

    it('make no mirror at all while it is cloned', async () => {
      const random = seeded(SEED + 1);
      const wanted = { 'fleet/a.yaml': 'a: 1\n', 'fleet/b/c.yaml': 'c: 1\n', 'ops/x.yaml': 'x: 1\n' };
      await remote.push('main', wanted);
      for (let round = 1; round <= 10; round += 1) {
        const fault = anyFault(random);
        remote.server.fault = ({ purpose, method }) =>
          purpose === 'fetch' && method === 'POST' ? fault : undefined;
        const mirror = `mirror-${round}`;
        const result = await remote.open({ mirror, idleMs: 1500 }).catch((error: Error) => error);
        if (result instanceof Error) {
          expect(result.name, `round ${round}: ${JSON.stringify(fault)}`).toBe('GitRepositoryError');
          expect(await readdir(join(remote.root, mirror))).toEqual([]);
        } else expect(await filesOf(result, 'main')).toEqual(wanted);
        remote.server.fault = undefined;
        if (result instanceof Error)
          expect(await filesOf(await remote.open({ mirror }), 'main')).toEqual(wanted);
      }
    });

    it('do not take a branch away that is there', async () => {
      const tip = await remote.push('main', { 'fleet/a.yaml': 'a: 1\n' });
      const outcomes = await remote.push('outcomes', { 'rollouts/a.yaml': 'a: 1\n' });
      await (await remote.open()).close();
      // One bit of a branch's name, in one list.
      for (let at = 0; at < 30; at += 1) {
        let isFirst = true;
        remote.server.fault = ({ method }) => {
          if (method !== 'POST' || !isFirst) return undefined;
          isFirst = false;
          return { kind: 'flip', at: at / 30 };
        };
        const git = await remote.open();
        expect([await git.branch('main'), await git.branch('outcomes')]).toEqual([tip, outcomes]);
        await git.close();
      }
      // Every list cut short, as if it were whole.
      for (const at of [0.5, 0.8, 0.97]) {
        remote.server.fault = ({ purpose, method }) =>
          purpose === 'list' && method === 'POST' ? { kind: 'truncate', at, politely: true } : undefined;
        const git = await remote.open();
        expect([await git.branch('main'), await git.branch('outcomes')]).toEqual([tip, outcomes]);
        expect(git.away()).toBeDefined();
        await git.close();
      }
    });

    it('are not written down as packs', async () => {
      await remote.push(
        'main',
        Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`fleet/${n}`, `n: ${n}\n`])),
      );
      const commonDir = join(remote.root, 'fetching.git');
      await createBareRepository(commonDir, { defaultBranch: 'main' });
      const { signal } = new AbortController();
      const transport = createEngine().connect({ url: remote.url, signal });
      for (let at = 0.02; at < 1; at += 0.07) {
        remote.server.fault = ({ purpose, method }) =>
          purpose === 'fetch' && method === 'POST' ? { kind: 'flip', at } : undefined;
        await transport.fetch({ commonDir, branch: 'main' }).catch(() => undefined);
        // A bit of what the server says about its progress does no harm.
        for (const pack of await listPacks(commonDir)) {
          await nativeGit(commonDir, 'verify-pack', `objects/pack/${pack}.pack`);
          await removePack(commonDir, pack);
        }
      }
      remote.server.fault = undefined;
      await transport.fetch({ commonDir, branch: 'main' });
      expect((await listPacks(commonDir)).size).toBe(1);
    });
  });

  it('gives up on a remote that has hung, and says so', async () => {
    const tip = await remote.push('main', { 'fleet/a.yaml': 'a: 1\n' });
    await (await remote.open()).close();
    for (const fault of [{ kind: 'hang' }, { kind: 'stall', afterBytes: 10 }] as const) {
      remote.server.fault = () => fault;
      const git = await remote.open({ idleMs: 1000 });
      expect(git.away()).toMatch(/has sent nothing for (1s|too long)/);
      expect(await git.branch('main')).toBe(tip);
      await git.close();
    }
    // Closing ends what hangs.
    remote.server.fault = undefined;
    const git = await remote.open({ pollMs: 20 });
    const watch = await git.watch(() => {});
    remote.server.fault = () => ({ kind: 'hang' });
    const asked = remote.server.requests.length;
    await vi.waitFor(() => expect(remote.server.requests.length).toBeGreaterThan(asked), { timeout: 5000 });
    await watch.close();
    await git.close();
  });

  // Native git has no such limit of its own.
  if (engine === 'isomorphic') {
    it('waits for a server that thinks for longer than five seconds', async () => {
      const tip = await remote.push('main', { 'fleet/a.yaml': 'a: 1\n' });
      let isFirst = true;
      remote.server.fault = ({ purpose, method }) => {
        const isSlow = purpose === 'fetch' && method === 'POST' && isFirst;
        if (isSlow) isFirst = false;
        return isSlow ? { kind: 'delay', ms: 5500 } : undefined;
      };
      expect(await (await remote.open()).branch('main')).toBe(tip);
    });
  }

  describe('what is said', () => {
    beforeEach(async () => {
      await remote.push('main', { 'fleet/a.yaml': 'a: 1\n' });
    });
    const credentials = { username: 'x-access-token', password: 'secret-token' };

    it('of credentials that are missing, wrong or not enough', async () => {
      remote.server.login = credentials;
      expect(await opening({})).toMatch(
        /^GitRepositoryError: http:.* asks for credentials: set TIDEGATE_GIT_TOKEN/,
      );
      const wrong = { ...credentials, password: 'expired-token' };
      const said = await opening({ credentials: wrong });
      expect(said).toMatch(
        /^GitRepositoryError: .*does not accept the credentials: the token has expired.*TIDEGATE_GIT_TOKEN/,
      );
      expect(said).not.toContain('expired-token');
      remote.server.fault = () => ({ kind: 'answer', status: 403 });
      expect(await opening({ credentials })).toMatch(
        /^GitRepositoryError: .*does not let the token read: give it read access/,
      );
    });

    it('of a token that may read and not push, which refuses the move', async () => {
      remote.server.login = credentials;
      const git = await remote.open({ credentials });
      const from = await git.branch('main');
      const to = await commitOn(git, from, 'ours');
      for (const [status, said] of [
        [403, /does not let the token push: give it write access/],
        [401, /does not accept the credentials/],
      ] as const) {
        remote.server.fault = ({ service }) =>
          service === 'git-receive-pack'
            ? { kind: 'answer', status, headers: { 'www-authenticate': 'Basic realm="git"' } }
            : undefined;
        expect(await git.moveBranch({ branch: 'main', from, to })).toEqual({
          kind: 'refused',
          reason: expect.stringMatching(said),
        });
        expect(git.away()).toBeUndefined();
      }
    });

    it('of credentials that expire while the mirror is used', async () => {
      remote.server.login = credentials;
      await (await remote.open({ credentials })).close();
      remote.server.login = { ...credentials, password: 'another' };
      const git = await remote.open({ credentials });
      expect(git.away()).toMatch(/does not accept the credentials/);
      expect(await filesOf(git, 'main')).toEqual({ 'fleet/a.yaml': 'a: 1\n' });
    });

    it('of a URL with nothing there, something else there, or nobody who knows it', async () => {
      expect(await opening({ url: `${remote.server.url}/none.git` })).toMatch(
        /there is no repository at http:.*none\.git, or it is private/,
      );
      remote.server.fault = () => ({ kind: 'answer', status: 200 });
      expect(await opening({})).toMatch(
        /answers with .* and is no git repository: name the URL that `git clone` takes/,
      );
      expect(await opening({ url: 'http://tidegate.invalid/fleet.git' })).toMatch(
        /tidegate\.invalid.* host name/,
      );
      const gone = await startGitServer(join(remote.root, 'served'));
      await gone.close();
      expect(await opening({ url: `${gone.url}/fleet.git` })).toMatch(
        /refuses the connection: see that the server runs/,
      );
      remote.server.fault = () => ({ kind: 'answer', status: 503 });
      expect(await opening({})).toMatch(/503/);
    });

    it('of a certificate that nobody vouches for', async () => {
      const [key, cert] = [join(remote.root, 'key.pem'), join(remote.root, 'cert.pem')];
      const subject = ['-subj', '/CN=localhost', '-days', '2', '-nodes', '-newkey', 'rsa:2048'];
      await run('openssl', ['req', '-x509', ...subject, '-keyout', key, '-out', cert]);
      const tls = { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') };
      const secure = await startGitServer(join(remote.root, 'served'), { tls });
      expect(await opening({ url: `${secure.url}/fleet.git` })).toMatch(
        /no TLS certificate that is trusted here .*NODE_EXTRA_CA_CERTS/,
      );
      await secure.close();
      expect(await opening({ url: remote.url.replace('http:', 'https:') })).toMatch(/TLS|SSL/);
    });

    it('of an empty repository, and of a branch that is not there', async () => {
      expect(await opening({ branch: 'trunk' })).toMatch(
        /has no branch trunk: create it, or name one that is there: main$/,
      );
      await createBareRepository(join(remote.root, 'served/empty.git'), { defaultBranch: 'main' });
      expect(await opening({ url: `${remote.server.url}/empty.git` })).toMatch(
        /empty\.git is empty and has no branch main: push a first commit to it/,
      );
    });
  });

  it('keeps the token out of the mirror, of arguments and of messages', async () => {
    await remote.push('main', { 'fleet/a.yaml': 'a: 1\n' });
    remote.server.login = { username: 'x-access-token', password: 'secret-token' };
    // A git that writes down what other users could read of it.
    const log = join(remote.root, 'arguments');
    const { stdout: path } = await run('sh', ['-c', 'command -v git']);
    await writeFile(join(remote.root, 'git'), `#!/bin/sh\necho "$@" >> ${log}\nexec ${path.trim()} "$@"\n`);
    await chmod(join(remote.root, 'git'), 0o755);
    const env = { ...process.env, PATH: `${remote.root}:${process.env['PATH']}` };
    const chosen = engine === 'native' ? { engine: createNativeEngine({ env }) } : {};
    const git = await remote.open({ credentials: remote.server.login, ...chosen });
    const from = await git.branch('main');
    const to = await commitOn(git, from, 'ours');
    expect(await git.moveBranch({ branch: 'main', from, to })).toEqual({ kind: 'moved' });
    const written = [log, ...(await everyFile(join(remote.root, 'mirrors')))];
    if (engine === 'native') expect(await readFile(log, 'utf8')).toMatch(/push/);
    const encoded = Buffer.from('x-access-token:secret-token').toString('base64');
    for (const file of written) {
      const text = await readFile(file, 'latin1').catch(() => '');
      expect(text.includes('secret-token') || text.includes(encoded), file).toBe(false);
    }
  });
});

describe.skipIf(!hasGitServer)('ssh', () => {
  let remote: RemoteFixture;
  let server: GitServer;
  beforeEach(async () => {
    remote = await remoteFixture('native');
    server = remote.server;
    await remote.push('main', { 'fleet/a.yaml': 'a: 1\n' });
  });
  afterEach(async () => {
    await remote.close();
  });
  const over = (command: string) => createNativeEngine({ env: { ...process.env, GIT_SSH_COMMAND: command } });

  it('is spoken as people write it: host:path', async () => {
    const git = await remote.open({
      url: `git@fleet.example:${remote.bare}`,
      engine: over(await localSsh(remote.root)),
    });
    expect(await filesOf(git, 'main')).toEqual({ 'fleet/a.yaml': 'a: 1\n' });
    expect(server.requests).toEqual([]);
  });

  it('is told none of our secrets', async () => {
    const seen = join(remote.root, 'environment');
    const ssh = join(remote.root, 'noting-ssh');
    await writeFile(ssh, `#!/bin/sh\nenv > ${seen}\nfor last; do :; done\nexec sh -c "$last"\n`);
    await chmod(ssh, 0o755);
    const env = { ...process.env, GIT_SSH_COMMAND: ssh, TIDEGATE_GITHUB_TOKEN: 'secret-token' };
    const url = `git@fleet.example:${remote.bare}`;
    await remote.open({ url, engine: createNativeEngine({ env }) });
    expect(await readFile(seen, 'utf8')).toContain('GIT_SSH_COMMAND');
    expect(await readFile(seen, 'utf8')).not.toContain('secret-token');
  });

  it.each([
    ['git@fleet.example: Permission denied (publickey).', /does not accept our ssh key: add the public key/],
    ['Host key verification failed.', /host's ssh key is not known here, or has changed/],
    [
      'ssh: Could not resolve hostname fleet.example: Name or service not known',
      /host name that nobody knows/,
    ],
    ['ssh: connect to host fleet.example port 22: Connection refused', /refuses the connection/],
  ])('says what to do about %j', async (said, expected) => {
    const ssh = join(remote.root, 'failing-ssh');
    await writeFile(ssh, `#!/bin/sh\necho '${said}' >&2\nexit 255\n`);
    await chmod(ssh, 0o755);
    await expect(remote.open({ url: `git@fleet.example:${remote.bare}`, engine: over(ssh) })).rejects.toThrow(
      expected,
    );
  });

  it('needs git, and says so where there is none', async () => {
    const engine = createNativeEngine({ env: { PATH: remote.root } });
    await expect(remote.open({ url: `git@fleet.example:${remote.bare}`, engine })).rejects.toThrow(
      /no git on this machine: install git/,
    );
  });
});

function anyFault(random: () => number): Fault {
  const at = random();
  const kinds: readonly Fault[] = [
    { kind: 'flip', at },
    { kind: 'flip', at },
    { kind: 'truncate', at, politely: true },
    { kind: 'truncate', at, politely: false },
  ];
  return kinds[Math.floor(random() * kinds.length)] ?? { kind: 'cut' };
}

/** Mulberry32: small, and the same everywhere. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function everyFile(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
