/**
 * The fleet's repository is on another server, with a protected main, and people push there. Its polls are an hour apart:
 * whatever happens sooner is the webhook's doing.
 */
import { chmod, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { git } from '../cli/fixture.ts';
import { type GithubServer, startGithub, TOKEN } from '../forge/github-server.ts';
import { type GitServer, hasGitServer, startGitServer } from '../git/git-server.ts';
import { DELIVERIES, SECRET } from '../http/webhook-deliveries.ts';
import {
  allRun,
  bareRepository,
  createDevices,
  type Device,
  decisions,
  eventually,
  FAILED,
  type Place,
  release,
  rolloutOf,
  type Server,
  type Status,
  SUCCEEDED,
  startServer,
  stepAll,
  stepUntil,
} from './serving.ts';

const TIMEOUT = { timeout: 180_000 };
const BRANCH = 'tidegate/rollback/kiosk/2';
const LOGIN = { username: 'x-access-token', password: 'a token for the repository' };

interface RemotePlace extends Place {
  readonly url: string;
  readonly remote: GitServer;
  readonly github: GithubServer;
}

/** The first release on a server that wants credentials, and a person who pushes past it, as an administrator may. */
async function remoteRepository(): Promise<RemotePlace> {
  const place = await bareRepository();
  const root = dirname(place.repo);
  const remote = await startRemote(root);
  const repository = `${basename(root)}/fleet`;
  const hasBranch = async (branch: string) =>
    (await git(place.repo, 'branch', '--list', '--format=%(refname:short)', branch)) === branch;
  const github = await startGithub({ repository, hasBranch });
  return { ...place, remote, github, url: `${remote.url}/${repository}.git` };
}

async function startRemote(root: string, port = 0): Promise<GitServer> {
  const remote = await startGitServer(dirname(root), { port });
  remote.login = LOGIN;
  onTestFinished(() => remote.close());
  return remote;
}

/** Whoever comes over HTTP may push other branches only. */
async function protectMain({ repo }: Place): Promise<void> {
  const hook = `${repo}/hooks/update`;
  const words = 'main is protected: changes must be made through a pull request';
  await writeFile(
    hook,
    `#!/bin/sh\nif [ "$1" = refs/heads/main ] && [ "$REMOTE_ADDR" ]; then echo "${words}"; exit 1; fi\n`,
  );
  await chmod(hook, 0o755);
}

function serve({ url, data, github }: RemotePlace): Promise<Server> {
  const env = {
    TIDEGATE_GIT_TOKEN: LOGIN.password,
    TIDEGATE_WEBHOOK_SECRET: SECRET,
    TIDEGATE_GITHUB_TOKEN: TOKEN,
    TIDEGATE_GITHUB_API_URL: github.apiUrl,
  };
  return startServer({ repo: url, data, env, args: ['--poll', '1h'] });
}

/** What the forge sends after a push. */
async function deliver(server: Server, change: Readonly<Record<string, string>> = {}): Promise<number> {
  const { headers, body } = DELIVERIES.GitHub(0);
  const init = { method: 'POST', headers: { ...headers, ...change }, body };
  return (await fetch(`${server.url}/webhooks/git`, init)).status;
}

async function push(place: Place, server: Server): Promise<void> {
  await place.git('push', '--quiet');
  expect(await deliver(server)).toBe(202);
}

const heldOf = async (server: Server) => (await server.get<Status>('/api/status')).held;

/** All kiosks run 1.0.0, which is known-good. */
async function atFirstRelease(): Promise<{
  readonly place: RemotePlace;
  readonly server: Server;
  readonly devices: readonly Device[];
}> {
  const place = await remoteRepository();
  const server = await serve(place);
  const devices = await createDevices(place, { ids: ['a', 'b', 'c', 'd'], url: () => server.url });
  await stepUntil(
    devices,
    'release 1.0.0 succeeds',
    async () => (await rolloutOf(server)).state === 'succeeded',
  );
  return { place, server, devices };
}

describe.skipIf(!hasGitServer)('with the repository on another server', () => {
  test(
    'a webhook brings a push to the devices, and what was decided is there when they have it',
    TIMEOUT,
    async () => {
      const { place, server, devices } = await atFirstRelease();
      await place.commit('Release 1.1.0', release('1.1.0'));
      await place.git('push', '--quiet');
      const lists = () => place.remote.requests.filter(({ purpose }) => purpose === 'list').length;
      const before = lists();
      expect(await deliver(server, { 'X-Hub-Signature-256': `sha256=${'0'.repeat(64)}` })).toBe(401);
      expect(await deliver(server, { 'X-GitHub-Event': 'ping' })).toBe(204);
      expect(lists()).toBe(before);

      expect(await deliver(server)).toBe(202);
      await eventually('the canary opens', async () => (await rolloutOf(server)).attempt === 2);
      await stepUntil(devices, 'release 1.1.0 succeeds', async () => {
        return (await rolloutOf(server)).state === 'succeeded' && allRun(devices, '1.1.0');
      });
      expect(await decisions(place)).toEqual([...SUCCEEDED(1, '1.0.0'), ...SUCCEEDED(2, '1.1.0')]);
      expect(await git(place.repo, 'fsck', '--strict', '--no-dangling')).toBe('');
    },
  );

  test(
    'where main is protected a pull request asks for the restoring commit, and merging it makes all agree',
    TIMEOUT,
    async () => {
      const { place, server, devices } = await atFirstRelease();
      await protectMain(place);
      const bad = await place.commit('Release 1.1.0-bad', release('1.1.0-bad'));
      await push(place, server);
      await stepUntil(devices, 'the status names a pull request', async () => {
        return (await rolloutOf(server)).reason.includes('/pull/1');
      });
      await stepUntil(devices, 'devices are back', () => allRun(devices, '1.0.0'));

      const pullRequest = place.github.pulls[0]?.html_url;
      expect(place.github.pulls).toMatchObject([
        { head: BRANCH, base: 'main', title: 'Revert "Release 1.1.0-bad"', state: 'open' },
      ]);
      expect(await rolloutOf(server)).toMatchObject({
        state: 'rolledBack',
        restored: { main: 'diverged', branch: BRANCH, pullRequest },
        reason: `rolled back; main still wants the failed revision: merge ${pullRequest}`,
      });
      expect(server.log()).toContain('main is protected: changes must be made through a pull request');
      expect(server.log()).toContain(`a pull request asks to restore main: ${pullRequest}`);
      expect(await git(place.repo, 'rev-parse', 'main')).toBe(bad);
      expect(await git(place.repo, 'log', '-1', '--format=%s', BRANCH)).toBe('Revert "Release 1.1.0-bad"');

      // What the button does.
      await place.git('fetch', '--quiet');
      await place.git(
        'merge',
        '--quiet',
        '--no-ff',
        '--message',
        'Merge pull request #1',
        `origin/${BRANCH}`,
      );
      await push(place, server);
      await eventually('main agrees', async () => (await rolloutOf(server)).restored?.main === 'agrees');
      expect(await place.git('rev-parse', 'main:fleet')).toBe(await place.git('rev-parse', `${bad}~1:fleet`));
      const decided = (await decisions(place)).filter((subject) => !/pull request/.test(subject));
      expect(decided).toEqual([...SUCCEEDED(1, '1.0.0'), ...FAILED(2, '1.1.0-bad')]);
      expect(place.github.pulls).toHaveLength(1);
      expect(server.log()).not.toContain(TOKEN);
      expect(server.log()).not.toContain(LOGIN.password);
    },
  );

  test(
    'what became of a merged pull request is said on it once, also by a server that is killed while it says so',
    TIMEOUT,
    async () => {
      const place = await remoteRepository();
      const { github } = place;
      let server = await serve(place);
      const devices = await createDevices(place, { ids: ['a', 'b', 'c', 'd'], url: () => server.url });
      const succeeds = (attempt: number) =>
        stepUntil(devices, `attempt ${attempt} succeeds`, async () => {
          const rollout = await rolloutOf(server);
          return rollout.attempt === attempt && rollout.state === 'succeeded';
        });
      await succeeds(1);
      expect(github.comments).toEqual([]);
      // GitHub makes the comment, and the server never hears of it.
      github.keepAnswersOf('POST');
      const merge = await place.commit('Merge pull request #7', release('1.1.0'));
      github.merged({ number: 7, base: 'main', commits: [merge] });
      await push(place, server);
      await eventually('the comment is made', () => github.comments.length > 0);
      await server.end('SIGKILL');
      const killed = server.log();

      github.keepAnswersOf(undefined);
      server = await serve(place);
      await succeeds(2);
      await eventually('the comment says so', () => github.comments[0]?.body.includes('has succeeded'));
      expect(github.comments).toMatchObject([{ issue: 7, author: 'tidegate-acme' }]);
      expect(killed + server.log()).not.toContain(TOKEN);
      expect(server.log()).not.toContain('notifications:');
    },
  );

  test(
    'while the remote is away devices are served, also by a server that starts then, and nothing opens',
    TIMEOUT,
    async () => {
      const first = await atFirstRelease();
      const { place, devices } = first;
      let { server } = first;
      const url = () => server.url;
      const { port } = new URL(place.remote.url);
      await place.remote.close();
      await place.commit('Release 1.1.0', release('1.1.0'));
      await push(place, server);
      expect(await eventually('the server says what holds it', () => heldOf(server))).toContain(place.url);
      await isServing(server, devices);

      await server.end('SIGTERM');
      server = await serve(place);
      const [device] = await createDevices(place, { ids: ['e'], url });
      expect(await eventually('the new server says so, too', () => heldOf(server))).toContain(place.url);
      expect(await stepAll([device as Device])).toMatchObject([{ kind: 'ok' }]);
      expect((await rolloutOf(server)).attempt).toBe(1);

      await startRemote(dirname(place.repo), Number(port));
      expect(await deliver(server)).toBe(202);
      await eventually('the canary opens', async () => (await rolloutOf(server)).attempt === 2);
      await eventually('nothing holds it', async () => (await heldOf(server)) === undefined);
    },
  );

  test(
    'credentials that expired are named with the next step, serving goes on, and new ones end it',
    TIMEOUT,
    async () => {
      const { place, server, devices } = await atFirstRelease();
      place.remote.login = { ...LOGIN, password: 'renewed' };
      await place.commit('Release 1.1.0', release('1.1.0'));
      await push(place, server);
      const held = await eventually('the server says what holds it', () => heldOf(server));
      expect(held).toContain(`${place.url} does not accept the credentials: the token has expired`);
      expect(held).toContain('set TIDEGATE_GIT_TOKEN to a new one');
      expect(held).not.toContain(LOGIN.password);
      await isServing(server, devices);
      expect((await rolloutOf(server)).attempt).toBe(1);

      place.remote.login = LOGIN;
      expect(await deliver(server)).toBe(202);
      await eventually('the canary opens', async () => (await rolloutOf(server)).attempt === 2);
      await eventually('there is no warning', async () => {
        return (await server.get<{ warnings: readonly string[] }>('/readyz')).warnings.length === 0;
      });
    },
  );
});

/** Ready, with a warning that does not name the repository to everybody; devices get answers. */
async function isServing(server: Server, devices: readonly Device[]): Promise<void> {
  const ready = await server.get<{ status: string; warnings: readonly string[] }>('/readyz');
  expect(ready).toMatchObject({ status: 'ready', warnings: [expect.stringMatching(/^nothing opens: /)] });
  expect(await stepAll(devices)).toEqual(devices.map(() => expect.objectContaining({ kind: 'ok' })));
}
