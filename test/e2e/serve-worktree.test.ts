/** A person works in the repository while the server writes to it: nobody's files, branches or objects come to harm. */
import { rm, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { runProcess } from '../cli/fixture.ts';
import {
  allRun,
  createDevices,
  decisions,
  eventually,
  FAILED,
  meanwhile,
  release,
  rolloutOf,
  type Status,
  SUCCEEDED,
  sharedRepository,
  startServer,
  stepUntil,
} from './serving.ts';

const TIMEOUT = { timeout: 180_000 };

test(
  'commits, gc, pack-refs and changes of branch in the work tree go on beside outcomes that are written',
  TIMEOUT,
  async () => {
    const place = await sharedRepository();
    const server = await startServer(place);
    const devices = await createDevices(place, { ids: ['a', 'b', 'c', 'd'], url: () => server.url });
    let next: string | undefined;
    const person = meanwhile(async (isDone) => {
      await place.git('branch', 'elsewhere');
      let rounds = 0;
      for (; !isDone(); rounds++) {
        await place.git('switch', '--quiet', 'elsewhere');
        await place.commit(`Note ${rounds}`, { 'NOTES.md': `${rounds}\n` });
        await place.git('switch', '--quiet', 'main');
        if (next !== undefined) await place.commit(`Release ${next}`, release(next));
        next = undefined;
        await place.git('pack-refs', '--all');
        await place.git('gc', '--quiet');
      }
      return rounds;
    });
    const runs = (version: string) =>
      stepUntil(devices, `release ${version} succeeds`, async () => {
        return (await rolloutOf(server)).state === 'succeeded' && allRun(devices, version);
      });
    await runs('1.0.0');
    next = '1.1.0';
    await runs('1.1.0');
    const rounds = await person.end();

    expect(rounds).toBeGreaterThan(0);
    expect(await decisions(place)).toEqual([...SUCCEEDED(1, '1.0.0'), ...SUCCEEDED(2, '1.1.0')]);
    expect(await place.git('status', '--porcelain')).toBe('');
    expect(await place.git('fsck', '--strict', '--no-dangling')).toBe('');
    expect(await place.git('rev-list', '--count', 'elsewhere')).toBe(String(rounds + 1));
    expect(await place.git('log', '--format=%s', 'main')).toBe('Release 1.1.0\nRelease 1.0.0');
  },
);

test(
  'with main checked out the revert waits on a branch of its own, status says which, and after a merge all agree',
  TIMEOUT,
  async () => {
    const place = await sharedRepository();
    const server = await startServer(place);
    const devices = await createDevices(place, { ids: ['a', 'b', 'c', 'd'], url: () => server.url });
    await stepUntil(
      devices,
      'release 1.0.0 succeeds',
      async () => (await rolloutOf(server)).state === 'succeeded',
    );
    const bad = await place.commit('Release 1.1.0-bad', release('1.1.0-bad'));
    await stepUntil(
      devices,
      'the revert waits',
      async () => (await rolloutOf(server)).restored?.main === 'diverged',
    );

    // Devices are back already, and the work tree is untouched.
    await stepUntil(devices, 'devices are back', () => allRun(devices, '1.0.0'));
    expect(await place.git('rev-parse', 'HEAD')).toBe(bad);
    expect(await place.git('status', '--porcelain')).toBe('');
    const branch = 'tidegate/rollback/kiosk/2';
    const { exit, out } = await runProcess(['status', 'kiosk', '--server', server.url]);
    expect(exit).toBe(0);
    expect(out.replaceAll(/\s+/g, ' ')).toContain(
      `main refused the commit that says so; merge the branch ${branch}`,
    );
    expect(await place.git('log', '-1', '--format=%s', branch)).toBe('Revert "Release 1.1.0-bad"');

    await place.git('merge', '--quiet', '--ff-only', branch);
    await stepUntil(
      devices,
      'main agrees',
      async () => (await rolloutOf(server)).restored?.main === 'agrees',
    );
    const merged = await place.git('rev-parse', 'main');
    expect(await server.get<Status>('/api/status')).toMatchObject({ head: merged, commit: merged });
    expect(await place.git('rev-parse', 'main:fleet')).toBe(await place.git('rev-parse', 'main~2:fleet'));
    expect(await decisions(place)).toEqual([...SUCCEEDED(1, '1.0.0'), ...FAILED(2, '1.1.0-bad')]);
  },
);

test(
  'a lock that a killed git left behind holds what opens and names the file, and nothing else has to be done than to delete it',
  TIMEOUT,
  async () => {
    const place = await sharedRepository();
    const lock = `${place.folder}/.git/refs/heads/outcomes.lock`;
    await writeFile(lock, '');
    const server = await startServer(place);
    const held = await eventually('the server says what holds it', async () => {
      return (await server.get<Status>('/api/status')).held;
    });
    expect(held).toContain(`${lock} is`);
    expect(held).toContain('if no git process is at work there, delete that file');
    expect(await place.git('branch', '--list', 'outcomes')).toBe('');

    await rm(lock);
    const devices = await createDevices(place, { ids: ['a', 'b', 'c', 'd'], url: () => server.url });
    await stepUntil(
      devices,
      'release 1.0.0 succeeds',
      async () => (await rolloutOf(server)).state === 'succeeded',
    );
    expect((await server.get<Status>('/api/status')).held).toBeUndefined();
    expect(await decisions(place)).toEqual(SUCCEEDED(1, '1.0.0'));
  },
);
