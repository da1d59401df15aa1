import type { AddressInfo } from 'node:net';
import { serve } from '@hono/node-server';
import { beforeEach, expect, test } from 'vitest';
import {
  createDeviceClient,
  type DeviceClient,
  type DeviceClientOptions,
  type DeviceMemory,
} from '../../src/agent/device-client.ts';
import type { Clock } from '../../src/clock.ts';
import type { Report } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import type { Program } from '../../src/core/model/program.ts';
import { DAY, HOUR, type Instant, MINUTE, SECOND } from '../../src/core/model/time.ts';
import type { AssignedRevision } from '../../src/http/device-answers.ts';
import { deviceApi } from '../../src/http/device-api.ts';
import { createIntake } from '../../src/store/intake.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { PublishedProgram, Store } from '../../src/store/store.ts';
import { renewalSlot } from '../../src/trust/assignment.ts';
import { mintEnrolmentToken } from '../../src/trust/enrolment.ts';
import { generateKeys, type Keys } from '../../src/trust/keys.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';
import { manifest, rolled } from '../http/assigned.ts';

const NOW: Instant = Date.UTC(2026, 0, 1);
const FLEET = 'hvac';
const ID = 'lobby-1' as DeviceId;
const SERVER = 'http://tidegate.test';
const firstKeys = await generateKeys();
const key = generateDeviceKey();

const program: Program = {
  fleet: FLEET,
  rollouts: [],
  devices: {},
  pollIntervalMs: MINUTE,
  timezone: 'UTC',
  sites: {},
  flags: [],
  knownRevisions: [],
  knownProducts: [],
};
const REPORT: Report = { bootId: 'b1', seq: 1, generation: 0, signals: {}, exposureHours: 0.5, events: {} };

let serverTime: Instant;
let deviceTime: Instant;
let keys: Keys;
let store: Store;
let published: PublishedProgram | undefined;
let assigned: AssignedRevision;
let app: ReturnType<typeof deviceApi>;
/** Requests that reached the server, with their headers. */
let requests: { line: string; headers: Headers }[];

const clockOf = (now: () => Instant): Clock => ({ now, sleep: async () => {} });

/** A server over the store that there is, with the keys that there are. */
function startServer(): void {
  app = deviceApi({
    fleet: () => ({ name: FLEET, pollIntervalMs: MINUTE }),
    store,
    intake: createIntake(store),
    keys,
    clock: clockOf(() => serverTime),
    program: () => published,
    assign: () => assigned,
  });
}

const recordingFetch: DeviceClientOptions['fetch'] = (url, init) => {
  const line = `${init.method ?? 'GET'} ${url.slice(SERVER.length)}`;
  requests.push({ line, headers: new Headers(init.headers) });
  return app.request(url, init);
};

async function newClient(over: Partial<DeviceClientOptions> = {}): Promise<DeviceClient> {
  const grant = { fleet: FLEET, tags: {}, expiresAt: NOW + HOUR, now: NOW };
  return createDeviceClient({
    server: SERVER,
    fleet: FLEET,
    key,
    id: ID,
    enrolmentToken: await mintEnrolmentToken(keys, grant),
    clock: clockOf(() => deviceTime),
    fetch: recordingFetch,
    ...over,
  });
}

beforeEach(() => {
  serverTime = NOW;
  deviceTime = NOW;
  keys = firstKeys;
  published = { version: NOW / SECOND, flagsVersion: 0, program };
  assigned = rolled;
  requests = [];
  store = createMemoryStore({ epoch: 'e1' });
  startServer();
});

/** What a device reads back after a restart. */
function remembered(client: DeviceClient): DeviceMemory {
  return JSON.parse(JSON.stringify(client.memory()));
}

const lines = () => requests.map(({ line }) => line);

test('a new device enrols by itself, is assigned a revision, and hears when nothing has changed', async () => {
  const client = await newClient();
  const first = await client.poll();
  expect(first).toMatchObject({
    kind: 'assigned',
    assignment: { assigned: { manifest, rollout: 'thermostat-firmware' }, pollAfterSeconds: 60 },
  });
  const second = await client.poll();
  expect(second).toEqual({ kind: 'unchanged', assignment: client.memory()?.last?.assignment });
  expect(lines()).toEqual([
    'POST /v1/devices',
    'GET /v1/devices/lobby-1/manifest',
    'GET /v1/devices/lobby-1/manifest',
  ]);
  published = { version: NOW / SECOND + 1, flagsVersion: 0, program };
  assigned = { kind: 'nothing' };
  expect(await client.poll()).toMatchObject({ kind: 'nothing', assignment: { pollAfterSeconds: 60 } });
});

test('a token is signed once and used until it is about to expire', async () => {
  const client = await newClient();
  const tokenAt = async (now: Instant) => {
    deviceTime = serverTime = now;
    expect(await client.poll()).not.toMatchObject({ kind: 'refused' });
    return requests.at(-1)?.headers.get('authorization');
  };
  const first = await tokenAt(NOW);
  expect(await tokenAt(NOW + 9 * MINUTE - 1)).toBe(first);
  const second = await tokenAt(NOW + 9 * MINUTE);
  expect(second).not.toBe(first);
  // Set back, the device's clock gives a token of its own time.
  expect(await tokenAt(NOW + MINUTE)).not.toBe(second);
});

test('a report is accepted, and counts once', async () => {
  const client = await newClient();
  expect(await client.report(REPORT)).toEqual({ kind: 'accepted', effect: 'counted' });
  expect(await client.report(REPORT)).toEqual({ kind: 'accepted', effect: 'duplicate' });
  expect((await store.device(ID))?.report?.exposureHours).toBe(0.5);
});

test("a device with a wrong clock learns the server's time, and is served once its clock is right", async () => {
  const client = await newClient();
  await client.enrol();
  const check = async (wrong: Instant, code: string) => {
    deviceTime = wrong;
    expect(await client.poll()).toMatchObject({ kind: 'refused', by: 'server', code, serverTime: NOW });
    deviceTime = NOW;
    expect(['assigned', 'unchanged']).toContain((await client.poll()).kind);
  };
  await check(NOW - 400 * DAY, 'token-expired');
  await check(NOW + HOUR, 'token-not-yet-valid');
});

test('a server that has lost the device takes it back by its credential, without another token', async () => {
  const client = await newClient();
  await client.poll();
  store = createMemoryStore({ epoch: 'e2' });
  startServer();
  requests = [];
  const restarted = createDeviceClient({
    server: SERVER,
    fleet: FLEET,
    key,
    clock: clockOf(() => deviceTime),
    fetch: recordingFetch,
    memory: remembered(client),
  });
  expect(await restarted.report(REPORT)).toEqual({ kind: 'accepted', effect: 'counted' });
  expect(lines()).toEqual([
    'POST /v1/devices/lobby-1/reports',
    'POST /v1/devices',
    'POST /v1/devices/lobby-1/reports',
  ]);
  expect(await restarted.poll()).toMatchObject({ kind: 'unchanged', assignment: { assigned: { manifest } } });
});

test('a lower generation than the device has seen is refused and changes nothing', async () => {
  const client = await newClient();
  published = { version: NOW / SECOND + 100, flagsVersion: 0, program };
  await client.poll();
  const before = client.memory();
  published = { version: NOW / SECOND + 99, flagsVersion: 0, program };
  assigned = { kind: 'nothing' };
  expect(await client.poll()).toMatchObject({ kind: 'refused', by: 'device', code: 'older-generation' });
  expect(client.memory()).toEqual(before);
  published = { version: NOW / SECOND + 100, flagsVersion: 0, program };
  expect(await client.poll()).toMatchObject({ kind: 'nothing' });
});

test('an assignment that another device was served, or that was changed on the way, is refused', async () => {
  let theirs = '';
  const other = await newClient({
    id: 'lobby-2' as DeviceId,
    key: generateDeviceKey(),
    fetch: async (url, init) => {
      const response = await app.request(url, init);
      theirs = await response.clone().text();
      return response;
    },
  });
  await other.poll();

  const check = async (served: (ours: string) => string, code: string) => {
    const client = await newClient({
      fetch: async (url, init) => {
        const response = await app.request(url, init);
        return url.endsWith('/manifest') ? new Response(served(await response.text()), response) : response;
      },
    });
    expect(await client.poll()).toMatchObject({ kind: 'refused', by: 'device', code });
    expect(client.memory()).toMatchObject({ id: ID, generation: 0 });
    expect(client.memory()?.last).toBeUndefined();
  };
  await check(() => theirs, 'wrong-device');
  await check((ours) => `${ours.slice(0, -4)}AAAA`, 'bad-signature');
  await check((ours) => ours.slice(1), 'malformed');
});

test('new assignment keys are not believed until the device asks for them', async () => {
  const client = await newClient();
  await client.poll();
  keys = { ...firstKeys, assignment: (await generateKeys()).assignment };
  startServer();
  expect(await client.poll()).toMatchObject({ kind: 'refused', by: 'device', code: 'unknown-key' });
  expect(await client.enrol()).toMatchObject({ kind: 'enrolled', id: ID });
  expect(await client.poll()).toMatchObject({ kind: 'assigned' });
});

test('a replayed "unchanged" does not keep an expired assignment alive', async () => {
  let replay: Response | undefined;
  const client = await newClient({ fetch: (url, init) => replay?.clone() ?? app.request(url, init) });
  await client.poll();
  replay = new Response(null, { status: 304 });
  deviceTime = renewalSlot(ID, NOW) + DAY - 1;
  expect(await client.poll()).toMatchObject({ kind: 'unchanged' });
  deviceTime += 1;
  expect(await client.poll()).toMatchObject({ kind: 'refused', by: 'device', code: 'expired' });
  replay = undefined;
  serverTime = deviceTime;
  expect(await client.poll()).toMatchObject({ kind: 'assigned' });
});

test('what is no answer is unreachable: no server, a 503, a page of a proxy', async () => {
  const check = async (fetch: DeviceClientOptions['fetch']) => (await newClient({ fetch })).poll();
  expect(await check(() => Promise.reject(new TypeError('fetch failed')))).toEqual({
    kind: 'unreachable',
    message: 'http://tidegate.test does not answer: TypeError: fetch failed',
  });
  expect(await check(() => new Response('<html>', { status: 502 }))).toMatchObject({ kind: 'unreachable' });
  expect(await check(() => new Response('<html>Log in first</html>'))).toMatchObject({
    kind: 'unreachable',
    message: 'the answer to the enrolment (200) makes no sense: <html>Log in first</html>',
  });
  published = undefined;
  expect(await (await newClient()).poll()).toMatchObject({ kind: 'unreachable', retryAfterSeconds: 10 });
});

test("what the server refuses is told with the problem's code", async () => {
  expect(await (await newClient({ enrolmentToken: 'a.b.c' })).poll()).toMatchObject({
    kind: 'refused',
    code: 'enrolment-refused',
  });
  const client = await newClient();
  await client.poll();
  const override = { tags: {}, retired: false, revoked: true };
  published = { version: 1, flagsVersion: 0, program: { ...program, devices: { [ID]: override } } };
  expect(await client.poll()).toMatchObject({ kind: 'refused', by: 'server', code: 'revoked' });
  expect(await client.report(REPORT)).toMatchObject({ kind: 'refused', code: 'revoked' });

  const clock = clockOf(() => NOW);
  const bare = createDeviceClient({ server: SERVER, fleet: FLEET, key, clock, fetch: recordingFetch });
  expect(await bare.poll()).toMatchObject({ kind: 'refused', code: 'not-enrolled' });
});

test('the same client works over real HTTP', async () => {
  const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 });
  try {
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const id = "op's:lobby+1@hvac" as DeviceId;
    const client = await newClient({ id, server: `http://127.0.0.1:${port}`, fetch });
    expect(await client.poll()).toMatchObject({ kind: 'assigned', assignment: { assigned: { manifest } } });
    expect(await client.poll()).toMatchObject({ kind: 'unchanged' });
    expect(await client.report(REPORT)).toEqual({ kind: 'accepted', effect: 'counted' });
    deviceTime = NOW - DAY;
    expect(await client.poll()).toMatchObject({ code: 'token-expired', serverTime: NOW });
    const large = {
      ...REPORT,
      attempt: { revision: rolled.revision.revision, state: 'failed', message: 'x'.repeat(70_000) },
    } as const;
    deviceTime = NOW;
    expect(await client.report(large)).toMatchObject({ kind: 'refused', code: 'body-too-large' });
    expect(await client.poll()).toMatchObject({ kind: 'unchanged' });
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

// Flags

/** What the server has in force from here on. */
function publishFlag(flagsVersion: number, value: boolean): void {
  const values = { on: true, off: false };
  const mesh = {
    name: 'mesh',
    enabled: true,
    values,
    default: value ? 'on' : 'off',
    rules: [],
    seed: 'mesh',
  };
  published = { version: NOW / SECOND, flagsVersion, program: { ...program, flags: [mesh] } };
}

test('a device asks for its flags, and hears when nothing has changed', async () => {
  publishFlag(3, true);
  const client = await newClient();
  const first = await client.flags();
  expect(first).toEqual({
    kind: 'flags',
    flags: { values: { mesh: true }, version: 3, expiresAt: renewalSlot(ID, NOW) + DAY },
  });
  expect(await client.flags()).toEqual({ ...first, kind: 'unchanged' });
  publishFlag(4, false);
  expect(await client.flags()).toMatchObject({
    kind: 'flags',
    flags: { values: { mesh: false }, version: 4 },
  });
  expect(lines()).toEqual(['POST /v1/devices', ...new Array(3).fill('GET /v1/devices/lobby-1/flags')]);
});

test('flags outlive a restart, and do not get in the way of assignments', async () => {
  publishFlag(3, true);
  const before = await newClient();
  await before.poll();
  await before.flags();
  const after = await newClient({ memory: remembered(before) });
  expect(await after.flags()).toMatchObject({ kind: 'unchanged', flags: { values: { mesh: true } } });
  expect(await after.poll()).toMatchObject({ kind: 'unchanged' });
  expect(after.memory()).toEqual(before.memory());
});

test('a device never goes back to older flags, and keeps those that it has', async () => {
  publishFlag(4, false);
  const client = await newClient();
  await client.flags();
  publishFlag(3, true);
  expect(await client.flags()).toMatchObject({ kind: 'refused', by: 'device', code: 'older-version' });
  expect(client.memory()?.flags?.verified).toMatchObject({ values: { mesh: false }, version: 4 });
  publishFlag(4, false);
  expect(await client.flags()).toMatchObject({ kind: 'unchanged' });
});

test('flags without their signature, or with another one, are not taken', async () => {
  publishFlag(3, true);
  let signature: string | undefined;
  const meddling: DeviceClientOptions['fetch'] = async (url, init) => {
    const response = await recordingFetch(url, init);
    const headers = new Headers(response.headers);
    headers.delete('tidegate-signature');
    if (signature !== undefined) headers.set('tidegate-signature', signature);
    return new Response(await response.text(), { status: response.status, headers });
  };
  const client = await newClient({ fetch: meddling });
  const refused = await client.flags();
  expect(refused).toMatchObject({ kind: 'refused', by: 'device', code: 'malformed' });
  expect(refused).toMatchObject({ message: expect.stringContaining('a proxy may have removed it') });
  signature = 'a..b';
  expect(await client.flags()).toMatchObject({ kind: 'refused', by: 'device', code: 'malformed' });
  expect(client.memory()?.flags).toBeUndefined();
});

test('flags that are called unchanged after they expired are asked for anew, and stay in force meanwhile', async () => {
  publishFlag(3, true);
  const client = await newClient();
  await client.flags();
  deviceTime = renewalSlot(ID, NOW) + DAY;
  const replayed = await newClient({
    memory: remembered(client),
    fetch: async () => new Response(null, { status: 304 }),
  });
  expect(await replayed.flags()).toMatchObject({ kind: 'refused', by: 'device', code: 'expired' });
  expect(replayed.memory()?.flags).toEqual({ verified: client.memory()?.flags?.verified });
  serverTime = deviceTime;
  const mended = await newClient({ memory: remembered(replayed) });
  expect(await mended.flags()).toMatchObject({ kind: 'flags', flags: { version: 3 } });
});

test('an answer that nothing changed, to a device that has no flags, makes no sense', async () => {
  const client = await newClient({
    fetch: async (url, init) =>
      url.endsWith('/flags') ? new Response(null, { status: 304 }) : recordingFetch(url, init),
  });
  expect(await client.flags()).toMatchObject({
    kind: 'unreachable',
    message: expect.stringContaining('the answer to the request for flags (304) makes no sense'),
  });
});
