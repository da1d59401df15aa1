/** The main job from the outside: people push with native git, devices follow, outcomes and reverts come back as commits. */
import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { RECONCILER_DEFAULTS } from '../../src/reconcile/reconciler.ts';
import { git } from '../cli/fixture.ts';
import {
  allRun,
  bareRepository,
  createDevices,
  decisions,
  eventually,
  FAILED,
  meanwhile,
  type Place,
  release,
  rolloutOf,
  type Server,
  type Status,
  SUCCEEDED,
  startServer,
  stepUntil,
} from './serving.ts';

const TIMEOUT = { timeout: 180_000 };

test(
  'S5.1 S5.14 S5.26 a push is offered at once, stages follow, and a bad release is reverted on main so that the person only has to pull',
  TIMEOUT,
  async () => {
    const place = await bareRepository();
    const server = await startServer(place);
    const devices = await createDevices(place, { ids: ['a', 'b', 'c', 'd'], url: () => server.url });
    await stepUntil(devices, 'release 1.0.0 succeeds', async () => {
      return (await rolloutOf(server)).state === 'succeeded' && allRun(devices, '1.0.0');
    });

    const pushedAt = systemClock.now();
    await place.commit('Release 1.1.0-bad', release('1.1.0-bad'));
    await place.git('push', '--quiet');
    await stepUntil(devices, 'somebody runs 1.1.0-bad', () =>
      devices.some((device) => device.runs()?.version === '1.1.0-bad'),
    );
    expect(systemClock.now() - pushedAt).toBeLessThan(RECONCILER_DEFAULTS.idleMs);
    await stepUntil(devices, 'everything is as before', async () => isRestored(server));
    expect(allRun(devices, '1.0.0')).toBe(true);

    // What happened is read with native git, and it is whole.
    expect(await decisions(place)).toEqual([...SUCCEEDED(1, '1.0.0'), ...FAILED(2, '1.1.0-bad')]);
    const record = await git(place.repo, 'show', 'outcomes', '--format=', '--name-only');
    expect(record).toMatch(/^rollouts\/kiosk\/2-[0-9a-f]{12}\.yaml$/);
    expect(await git(place.repo, 'show', `outcomes:${record}`)).toMatch(/^ {2}state: rolledBack$/m);
    expect(await git(place.repo, 'fsck', '--strict', '--no-dangling')).toBe('');

    // The clone fast-forwards to the revert, and fleet/ is byte for byte what it was.
    const [bad, good] = [await place.git('rev-parse', 'main'), await place.git('rev-parse', 'main~1')];
    await place.git('pull', '--quiet', '--ff-only');
    expect(await place.git('log', '-1', '--format=%s', 'main')).toBe('Revert "Release 1.1.0-bad"');
    expect(await place.git('log', '-1', '--format=%b', 'main')).toContain(`This reverts commit ${bad}.`);
    expect(await place.git('rev-parse', 'main:fleet')).toBe(await place.git('rev-parse', `${good}:fleet`));
  },
);

test(
  'a push that our revert was faster than is refused by git, and goes on from the revert after a pull',
  TIMEOUT,
  async () => {
    const { place, server, devices } = await atFailedRelease();
    await stepUntil(devices, 'the bad release is reverted', () => isRestored(server));

    await place.commit('Explain', { 'README.md': 'Kiosks.\n' });
    await expect(place.git('push', '--quiet')).rejects.toThrow(/rejected.*(fetch first|non-fast-forward)/);
    await place.git('pull', '--quiet', '--rebase');
    await place.git('push', '--quiet');
    const explained = await place.git('rev-parse', 'HEAD');
    await eventually('the pushed commit is in force', async () => {
      return (await server.get<Status>('/api/status')).commit === explained;
    });
    // Nothing starts over: the bad release is history, and what is wanted is known-good.
    expect(await decisions(place)).toEqual([...SUCCEEDED(1, '1.0.0'), ...FAILED(2, '1.1.0-bad')]);

    await place.commit('Release 1.2.0', release('1.2.0'));
    await place.git('push', '--quiet');
    await stepUntil(devices, 'release 1.2.0 succeeds', async () => {
      return (await rolloutOf(server)).state === 'succeeded' && allRun(devices, '1.2.0');
    });
    expect((await decisions(place)).slice(-6)).toEqual(SUCCEEDED(3, '1.2.0'));
  },
);

test(
  'however pushes and our revert race, no commit of a person is lost and there is one revert',
  TIMEOUT,
  async () => {
    const { place, server, devices } = await atFailedRelease();
    const person = meanwhile((isDone) => pushUntil(place, isDone));
    await stepUntil(devices, 'the bad release is reverted', () => isRestored(server));
    const pushed = await person.end();

    await place.git('fetch', '--quiet');
    const subjects = (await place.git('log', '--format=%s', 'origin/main')).split('\n');
    expect(pushed).toBeGreaterThan(0);
    expect(subjects.filter((subject) => subject.startsWith('Note '))).toHaveLength(pushed);
    expect(subjects.filter((subject) => /^(Revert|Restore) /.test(subject))).toHaveLength(1);
    expect(await place.git('show', 'origin/main:fleet/rollouts/kiosk.yaml')).toContain('kiosk@1.0.0');
    expect(await decisions(place)).toEqual([...SUCCEEDED(1, '1.0.0'), ...FAILED(2, '1.1.0-bad')]);
  },
);

/** All run 1.0.0, and the canary of 1.1.0-bad has just opened. */
async function atFailedRelease() {
  const place = await bareRepository();
  const server = await startServer(place);
  const devices = await createDevices(place, { ids: ['a', 'b', 'c', 'd'], url: () => server.url });
  await stepUntil(
    devices,
    'release 1.0.0 succeeds',
    async () => (await rolloutOf(server)).state === 'succeeded',
  );
  await place.commit('Release 1.1.0-bad', release('1.1.0-bad'));
  await place.git('push', '--quiet');
  await eventually('the canary opens', async () => (await rolloutOf(server)).stages[0]?.state === 'running');
  return { place, server, devices };
}

async function isRestored(server: Server): Promise<boolean> {
  const { restored } = await rolloutOf(server);
  return restored?.main === 'agrees' && restored.completedAt !== undefined;
}

/** Somebody who commits notes and pushes them as fast as git goes, rebasing where another push was first. */
async function pushUntil(place: Place, isDone: () => boolean): Promise<number> {
  let notes = 0;
  while (!isDone()) {
    notes += 1;
    await place.commit(`Note ${notes}`, { 'NOTES.md': `${notes}\n` });
    for (let pushed = false; !pushed; ) {
      await place.git('pull', '--quiet', '--rebase');
      pushed = await place.git('push', '--quiet').then(
        () => true,
        (error) => {
          if (/rejected/.test(String(error))) return false;
          throw error;
        },
      );
    }
  }
  return notes;
}
