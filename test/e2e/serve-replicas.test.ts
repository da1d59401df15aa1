/** Two servers with the same keys over one repository: the branch outcomes is the fence between them. */
import { cp, mkdir } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { git } from '../cli/fixture.ts';
import {
  allRun,
  bareRepository,
  createDevices,
  decisions,
  eventually,
  FAILED,
  release,
  rolloutOf,
  type Status,
  SUCCEEDED,
  startServer,
  stepUntil,
} from './serving.ts';

test('two servers decide nothing twice: each commit is of one of them, outcomes is linear, and both serve what it says', {
  timeout: 180_000,
}, async () => {
  const place = await bareRepository();
  const data = `${place.data}-2`;
  const first = await startServer(place);
  await mkdir(data, { mode: 0o700 });
  await cp(`${place.data}/keys`, `${data}/keys`, { recursive: true });
  const second = await startServer({ ...place, data });
  const servers = [first, second] as const;
  for (const server of servers) {
    await eventually(
      'a program is published',
      async () => (await server.get<Status>('/api/status')).programVersion,
    );
  }
  // Half of the devices are served by each, and both hear of all of them.
  const [one, other] = [() => first.url, () => second.url];
  const devices = [
    ...(await createDevices(place, { ids: ['a', 'b'], url: one, reportsAlsoTo: other })),
    ...(await createDevices(place, { ids: ['c', 'd'], url: other, reportsAlsoTo: one })),
  ];
  const both = async (holds: (server: (typeof servers)[number]) => Promise<boolean>) =>
    (await Promise.all(servers.map(holds))).every(Boolean);

  await stepUntil(devices, 'release 1.0.0 succeeds', () =>
    both(async (server) => (await rolloutOf(server)).state === 'succeeded'),
  );
  for (const version of ['1.1.0', '1.2.0']) {
    await place.commit(`Release ${version}`, release(version));
    await place.git('push', '--quiet');
    await stepUntil(devices, `release ${version} succeeds`, () =>
      both(async (server) => (await rolloutOf(server)).state === 'succeeded' && allRun(devices, version)),
    );
  }
  await place.commit('Release 1.3.0-bad', release('1.3.0-bad'));
  await place.git('push', '--quiet');
  await stepUntil(devices, 'the bad release is reverted', () =>
    both(async (server) => {
      const { restored } = await rolloutOf(server);
      return restored?.main === 'agrees' && restored.completedAt !== undefined && allRun(devices, '1.2.0');
    }),
  );

  expect(await decisions(place)).toEqual([
    ...SUCCEEDED(1, '1.0.0'),
    ...SUCCEEDED(2, '1.1.0'),
    ...SUCCEEDED(3, '1.2.0'),
    ...FAILED(4, '1.3.0-bad'),
  ]);
  expect(await git(place.repo, 'rev-list', '--count', '--min-parents=2', 'outcomes')).toBe('0');
  const commits = (await git(place.repo, 'rev-list', '--abbrev-commit', '--abbrev=8', 'outcomes')).split(
    '\n',
  );
  const logged = servers.flatMap((server) =>
    Array.from(server.log().matchAll(/ outcomes ([0-9a-f]{8}) /g), ([, commit]) => commit),
  );
  expect(logged.toSorted()).toEqual(commits.toSorted());
  const reverts = await git(place.repo, 'log', '--format=%s', '--grep=^Revert', 'main');
  expect(reverts).toBe('Revert "Release 1.3.0-bad"');
  for (const server of servers) {
    const status = await server.get<Status>('/api/status');
    expect(status.outcomesTip).toBe(await git(place.repo, 'rev-parse', 'outcomes'));
    expect(await server.end('SIGTERM')).toBe(0);
  }
});
