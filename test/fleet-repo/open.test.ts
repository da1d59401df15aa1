import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openFleetGit } from '../../src/fleet-repo/open.ts';
import { createBareRepository } from '../../src/git/local.ts';
import { hasGitServer } from '../git/git-server.ts';
import { type RemoteFixture, remoteFixture } from '../git/remote-fixture.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidegate-open-'));
});
afterEach(async () => {
  await rm(root, { recursive: true });
});
const options = () => ({ folder: join(root, 'mirrors'), env: {} });

describe('the fleet’s repository', () => {
  it('is a folder, or a file:// URL that names one, by either engine', async () => {
    const path = join(root, 'fleet.git');
    await createBareRepository(path, { defaultBranch: 'main' });
    for (const repo of [path, `file://${path}`]) {
      for (const engine of ['auto', 'isomorphic', 'native'] as const) {
        const git = await openFleetGit(repo, { ...options(), env: process.env, engine });
        const blob = await git.writeBlob(Buffer.from('hello\n'));
        expect(Buffer.from(await git.blob(blob)).toString()).toBe('hello\n');
        expect([git.place, git.away()]).toEqual([path, undefined]);
        await git.close();
      }
    }
  });

  it('needs native git for ssh', async () => {
    const opening = openFleetGit('git@git.example:fleet.git', { ...options(), engine: 'isomorphic' });
    await expect(opening).rejects.toThrow(/isomorphic-git has no ssh; choose native or auto, or an https/);
    await expect(
      openFleetGit('git@git.example:fleet.git', { ...options(), env: { PATH: root } }),
    ).rejects.toThrow(/no git on this machine/);
  });

  it('is never asked for with a token that others could read on the way', async () => {
    const env = { TIDEGATE_GIT_TOKEN: 'secret-token' };
    const opening = openFleetGit('http://git.example/fleet.git', { ...options(), env });
    await expect(opening).rejects.toThrow(/would carry the token where others can read it; use https/);
  });
});

describe.skipIf(!hasGitServer)('the environment', () => {
  let remote: RemoteFixture;
  beforeEach(async () => {
    remote = await remoteFixture('isomorphic');
    await remote.push('main', { 'fleet/a.yaml': 'a: 1\n' });
  });
  afterEach(async () => {
    await remote.close();
  });

  it.each([
    [{ TIDEGATE_GIT_TOKEN: 'secret' }, 'x-access-token'],
    [{ TIDEGATE_GIT_TOKEN: 'secret', TIDEGATE_GIT_USERNAME: 'ada' }, 'ada'],
  ])('has the token: %j', async (env, username) => {
    remote.server.login = { username, password: 'secret' };
    for (const engine of ['auto', 'native'] as const) {
      const folder = join(root, engine);
      const given = engine === 'native' ? { ...process.env, ...env } : env;
      const git = await openFleetGit(remote.url, { folder, engine, env: given, branch: 'main' });
      expect(await git.branch('main')).toBeDefined();
      expect(git.place).toBe(remote.url);
      await git.close();
    }
  });

  it('says what an empty repository lacks of a fleet', async () => {
    await createBareRepository(join(remote.root, 'served/empty.git'), { defaultBranch: 'main' });
    const opening = openFleetGit(`${remote.server.url}/empty.git`, { ...options(), branch: 'main' });
    await expect(opening).rejects.toThrow(/no branch main: commit a fleet\/ folder to it and push/);
  });
});
