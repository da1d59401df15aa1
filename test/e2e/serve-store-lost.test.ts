/** The database goes, or comes back as it was hours ago, in the middle of a rollout. Git remembers what matters. */
import { copyFile, rm } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { git } from '../cli/fixture.ts';
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
  SUCCEEDED,
  startServer,
  stepAll,
  stepUntil,
} from './serving.ts';

const TIMEOUT = { timeout: 120_000 };
const SOAKING = { stages: '[{name: canary, size: 2, soak: 1h}, {name: fleet, size: all}]' };
const OPENED = ['attempt 2 of kiosk@2.0.0 is ready', 'stage canary opens'];

/** Release 1.0.0 is known-good; 2.0.0 soaks in its canary. */
async function soaking(): Promise<{
  place: Place;
  server: Server;
  devices: readonly Device[];
  until: number;
}> {
  const place = await bareRepository();
  let server = await startServer(place);
  const devices = await createDevices(place, { ids: ['a', 'b', 'c', 'd'], url: () => server.url });
  await stepUntil(devices, 'release 1.0.0 succeeds', async () => {
    return (await rolloutOf(server)).state === 'succeeded' && allRun(devices, '1.0.0');
  });
  await push(place, 'Release 2.0.0', release('2.0.0', SOAKING));
  const until = await stepUntil(devices, 'the canary soaks', () => soakEnd(server));
  return {
    place,
    get server() {
      return server;
    },
    set server(next: Server) {
      server = next;
    },
    devices,
    until,
  };
}

test(
  'deleted: devices come back with their credentials, revoked ones do not, the rollout goes on at its stage and soaks anew',
  TIMEOUT,
  async () => {
    const fleet = await soaking();
    const { place, devices, until } = fleet;
    const canary = devices.filter((device) => device.runs()?.version === '2.0.0');
    expect(canary).toHaveLength(2);
    await push(place, 'Revoke d', {
      'fleet/devices/revoked.yaml': `apiVersion: tidegate.dev/v1
kind: DeviceList
metadata: {name: revoked}
spec:
  devices: [{id: ${devices.find((device) => !canary.includes(device))?.id}, revoked: true}]
`,
    });
    const revoked = devices.filter((device) => !canary.includes(device))[0] as Device;
    await eventually(
      'the revocation is in force',
      async () => (await revoked.client.poll()).kind === 'refused',
    );

    await fleet.server.end('SIGTERM');
    for (const suffix of ['', '-wal', '-shm'])
      await rm(`${place.data}/tidegate.db${suffix}`, { force: true });
    fleet.server = await startServer(place);
    const others = devices.filter((device) => device !== revoked);
    const again = await stepUntil(others, 'the canary soaks again', () => soakEnd(fleet.server));

    expect(again).toBeGreaterThan(until);
    expect(await decisions(place)).toEqual([...SUCCEEDED(1, '1.0.0'), ...OPENED]);
    expect(others.filter((device) => device.runs()?.version === '2.0.0')).toEqual(canary);
    expect(others.filter((device) => device.runs()?.version === '1.0.0')).toHaveLength(1);
    expect(await revoked.client.poll()).toMatchObject({ kind: 'refused', code: 'revoked' });
    expect(await revoked.client.enrol()).toMatchObject({ kind: 'refused', code: 'revoked' });
    for (const { id, generations } of devices) {
      expect(generations, `the generations of ${id}`).toEqual(generations.toSorted((a, b) => a - b));
    }
  },
);

test(
  'restored from a backup in which a bad canary was open: nobody is offered it again, and known-good is served',
  TIMEOUT,
  async () => {
    const place = await bareRepository();
    let server = await startServer(place);
    const devices = await createDevices(place, { ids: ['a', 'b', 'c', 'd'], url: () => server.url });
    await stepUntil(devices, 'release 1.0.0 succeeds', async () => {
      return (await rolloutOf(server)).state === 'succeeded' && allRun(devices, '1.0.0');
    });
    await push(place, 'Release 2.0.0-bad', release('2.0.0-bad'));
    await eventually(
      'its canary is open',
      async () => (await decisions(place)).at(-1) === 'stage canary opens',
    );
    await eventually('it is offered', async () => {
      const polled = await Promise.all(devices.map(({ client }) => client.poll()));
      return polled.some((each) => each.kind === 'assigned' && versionOf(each) === '2.0.0-bad');
    });
    const backup = `${place.data}/backup.db`;
    backUp(`${place.data}/tidegate.db`, backup);
    await stepUntil(devices, 'the bad release is reverted', async () => {
      const { restored } = await rolloutOf(server);
      return restored?.main === 'agrees' && restored.completedAt !== undefined;
    });

    await server.end('SIGKILL');
    for (const suffix of ['-wal', '-shm']) await rm(`${place.data}/tidegate.db${suffix}`, { force: true });
    await copyFile(backup, `${place.data}/tidegate.db`);
    server = await startServer(place);
    // From the first answer on, asked without a pause.
    const offered = new Set<string>();
    await eventually(
      'every device was answered',
      async () => {
        const polled = await Promise.all(devices.map(({ client }) => client.poll()));
        for (const each of polled) if (each.kind === 'assigned') offered.add(versionOf(each));
        return polled.every((each) => each.kind === 'assigned' || each.kind === 'unchanged');
      },
      0,
    );
    await stepAll(devices);
    expect([...offered].filter((version) => version !== '1.0.0')).toEqual([]);
    expect(await decisions(place)).toEqual([...SUCCEEDED(1, '1.0.0'), ...FAILED(2, '2.0.0-bad')]);
    expect(allRun(devices, '1.0.0')).toBe(true);
    expect((await git(place.repo, 'log', '-1', '--format=%s', 'main')).trim()).toBe(
      'Revert "Release 2.0.0-bad"',
    );
    for (const { id, generations } of devices) {
      expect(generations, `the generations of ${id}`).toEqual(generations.toSorted((a, b) => a - b));
    }
  },
);

async function push(place: Place, message: string, files: Record<string, string>): Promise<void> {
  await place.git('pull', '--quiet', '--ff-only');
  await place.commit(message, files);
  await place.git('push', '--quiet');
}

/** When the canary's soak will be over; undefined while it does not soak. */
async function soakEnd(server: Server): Promise<number | undefined> {
  const { reason, until } = await rolloutOf(server);
  return reason?.includes('soaking') && until !== undefined ? Date.parse(String(until)) : undefined;
}

/** A copy as a backup tool makes it, while the server works. */
function backUp(database: string, to: string): void {
  const db = new DatabaseSync(database, { readOnly: true });
  db.prepare('VACUUM INTO ?').run(to);
  db.close();
}

function versionOf(polled: {
  readonly assignment: { readonly assigned?: { readonly manifest: { readonly version: string } } };
}): string {
  return polled.assignment.assigned?.manifest.version ?? '';
}
