/** What a server has decided or acknowledged outlives it, however it ends. */
import { randomInt } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { Report } from '../../src/core/model/device.ts';
import {
  allRun,
  bareRepository,
  createDevices,
  type Device,
  decisions,
  eventually,
  FAILED,
  meanwhile,
  type Place,
  release,
  rolloutOf,
  type Status,
  SUCCEEDED,
  startServer,
  stepAll,
  stepUntil,
} from './serving.ts';

const TIMEOUT = { timeout: 180_000 };
const IDS = ['a', 'b', 'c', 'd'];

test(
  'killed again and again, it loses no decision and makes none twice, keeps what it acknowledged, and goes back nowhere',
  TIMEOUT,
  async () => {
    const place = await bareRepository();
    let server = await startServer(place);
    const devices = await createDevices(place, { ids: IDS, url: () => server.url });
    let programVersion = 0;
    const versionOf = async () => (await server.get<Status>('/api/status')).programVersion;

    async function killAndRestart(moment: () => Promise<void>): Promise<void> {
      const fleet = meanwhile(async (isDone) => {
        while (!isDone()) await stepAll(devices);
      });
      await moment();
      await server.end('SIGKILL');
      await fleet.end();
      await removeLocks(place);
      server = await startServer(place);
      const after = await eventually('a program is published', versionOf);
      expect(after).toBeGreaterThanOrEqual(programVersion);
      programVersion = after;
      await checkAcknowledged(devices);
    }

    const expected: string[] = [];
    // While a decision is being written; as soon as it is there; and whenever chance has it.
    const moments = [() => written(place), () => moved(place), chance];
    for (const [index, moment] of [...moments, ...moments].entries()) {
      const version = `1.${index}.0`;
      if (index > 0) await push(place, version);
      await killAndRestart(moment);
      await stepUntil(devices, `release ${version} succeeds`, async () => {
        programVersion = Math.max(programVersion, (await versionOf()) ?? 0);
        return (await rolloutOf(server)).state === 'succeeded' && allRun(devices, version);
      });
      expected.push(...SUCCEEDED(index + 1, version));
      expect(await decisions(place)).toEqual(expected);
    }

    await push(place, '2.0.0-bad');
    await stepUntil(devices, 'the canary runs it', () =>
      devices.some((each) => each.runs()?.version === '2.0.0-bad'),
    );
    await killAndRestart(() => moved(place));
    await stepUntil(devices, 'the bad release is reverted', async () => {
      const { restored } = await rolloutOf(server);
      return restored?.main === 'agrees' && restored.completedAt !== undefined;
    });
    expect(await decisions(place)).toEqual([...expected, ...FAILED(7, '2.0.0-bad')]);
    expect(allRun(devices, '1.5.0')).toBe(true);
    await place.git('pull', '--quiet', '--ff-only');
    expect(await place.git('log', '-2', '--format=%s')).toBe('Revert "Release 2.0.0-bad"\nRelease 2.0.0-bad');

    for (const { id, generations } of devices) {
      expect(generations, `the generations of ${id}`).toEqual(generations.toSorted((a, b) => a - b));
    }
  },
);

test(
  'told to stop amid a burst of reports, it answers what it has begun, ends with 0, and all it acknowledged is there afterwards',
  TIMEOUT,
  async () => {
    const place = await bareRepository();
    let server = await startServer(place);
    const devices = await createDevices(place, { ids: IDS, url: () => server.url });
    await stepUntil(
      devices,
      'release 1.0.0 succeeds',
      async () => (await rolloutOf(server)).state === 'succeeded',
    );

    // A listener of events would stay for ever.
    const listening = await fetch(`${server.url}/api/events`);
    const ended = listening.text();
    const burst = devices.flatMap((device) => reports(device, 25).map((report) => ({ device, report })));
    const answers = burst.map(({ device, report }) => device.client.report(report));
    await Promise.race(answers);
    expect(await server.end('SIGTERM')).toBe(0);
    expect(await ended).toContain('retry: 3000');
    const kinds = (await Promise.all(answers)).map(({ kind }) => kind);
    expect(new Set(kinds).difference(new Set(['accepted', 'unreachable']))).toEqual(new Set());

    server = await startServer(place);
    await eventually(
      'a program is published',
      async () => (await server.get<Status>('/api/status')).programVersion,
    );
    const acknowledged = burst.filter((_, index) => kinds[index] === 'accepted');
    expect(acknowledged.length).toBeGreaterThan(0);
    for (const { device, report } of acknowledged) {
      expect(await device.client.report(report)).toEqual({ kind: 'accepted', effect: 'duplicate' });
    }
  },
);

async function push(place: Place, version: string): Promise<void> {
  await place.git('pull', '--quiet', '--ff-only');
  await place.commit(`Release ${version}`, release(version));
  await place.git('push', '--quiet');
}

/** A report counts once: what was acknowledged and is sent again must be known. */
async function checkAcknowledged(devices: readonly Device[]): Promise<void> {
  for (const { id, client, acknowledged } of devices) {
    const last = acknowledged.at(-1);
    if (last === undefined) continue;
    expect(await client.report(last), `report ${last.seq} of ${id}`).toEqual({
      kind: 'accepted',
      effect: 'duplicate',
    });
  }
}

/** Reports of a new boot, all different. */
function reports(device: Device, count: number): readonly Report[] {
  const running = device.running();
  return Array.from({ length: count }, (_, index) => ({
    bootId: 'burst',
    seq: index + 1,
    generation: device.generations.at(-1) ?? 0,
    ...(running === undefined ? {} : { running }),
    signals: { healthy: true },
    exposureHours: 0,
    events: {},
  }));
}

// ---- Moments: looked for without a pause, to be there in time ----------------------------------------------------

const heads = (place: Place) => `${place.repo}/refs/heads`;

/** The lock is there, or was: it may have come and gone between two looks, as the branch then shows. */
async function written(place: Place): Promise<void> {
  const before = await tip(place);
  const look = async () =>
    (await readdir(heads(place))).includes('outcomes.lock') || (await tip(place)) !== before;
  await eventually('a decision is being written', look, 0);
}

async function moved(place: Place): Promise<void> {
  const before = await tip(place);
  await eventually('a decision is written', async () => (await tip(place)) !== before, 0);
}

function chance(): Promise<void> {
  return systemClock.sleep(randomInt(1500));
}

async function tip(place: Place): Promise<string> {
  return await readFile(`${heads(place)}/outcomes`, 'utf8').catch(() => 'none');
}

/** What a person is told to do about the lock of a process that was killed: no git process is at work here. */
async function removeLocks(place: Place): Promise<void> {
  for (const name of await readdir(heads(place))) {
    if (name.endsWith('.lock')) await rm(`${heads(place)}/${name}`);
  }
}
