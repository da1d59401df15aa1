import type { Hono } from 'hono';
import { beforeEach, expect, test } from 'vitest';
import { WHOLE_PPM } from '../../src/core/flags/evaluate.ts';
import type { DeviceOverride } from '../../src/core/model/desired.ts';
import type { Flag } from '../../src/core/model/flag.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { HOUR, type Instant, MINUTE, SECOND } from '../../src/core/model/time.ts';
import { deviceApi } from '../../src/http/device-api.ts';
import { createIntake } from '../../src/store/intake.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { PublishedProgram, Store } from '../../src/store/store.ts';
import { renewalSlot } from '../../src/trust/assignment.ts';
import { signDeviceToken } from '../../src/trust/device-token.ts';
import { verifyFlags } from '../../src/trust/flags.ts';
import { keySet } from '../../src/trust/jws.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';

const NOW: Instant = Date.UTC(2026, 0, 1);
const FLEET = 'hvac';
const ID = 'lobby-1' as DeviceId;
const PATH = `/v1/devices/${ID}/flags`;
const keys = await generateKeys();
const key = generateDeviceKey();

let now: Instant;
let fleetName: string;
let signatures: number;
let published: PublishedProgram | undefined;
let store: Store;
let app: Hono;

function flagOf(name: string, condition: string): Flag {
  const split = [{ variant: 'on', upToPpm: WHOLE_PPM }];
  const values = { on: true, off: false };
  return {
    name,
    enabled: true,
    values,
    default: 'off',
    rules: [{ condition, ppm: WHOLE_PPM, split }],
    seed: name,
  };
}

function publish(over: { flagsVersion?: number; flags?: readonly Flag[]; device?: DeviceOverride } = {}) {
  const flags = [flagOf('by-id', `deviceId = '${ID}'`), flagOf('by-site', "tags.site = 'berlin'")];
  const { flagsVersion = 7, device } = over;
  published = {
    version: 1000,
    flagsVersion,
    program: {
      fleet: fleetName,
      rollouts: [],
      devices: device === undefined ? {} : { [ID]: device },
      pollIntervalMs: MINUTE,
      timezone: 'UTC',
      sites: {},
      flags: over.flags ?? flags,
      knownRevisions: [],
      knownProducts: [],
    },
  };
}

/** Keys that count how often something is signed with them. */
const countingKeys = {
  ...keys,
  assignment: {
    ...keys.assignment,
    get private() {
      signatures += 1;
      return keys.assignment.private;
    },
  },
};

beforeEach(async () => {
  now = NOW;
  fleetName = FLEET;
  signatures = 0;
  store = createMemoryStore({ epoch: 'e1' });
  const record = {
    id: ID,
    tags: { site: 'paris' },
    publicKey: key.publicKey,
    serial: 1,
    enrolledAt: NOW,
    version: NOW / SECOND,
  };
  await store.updateDevices([ID], () => record);
  publish();
  app = replica();
});

/** One server over the store, with nothing remembered. */
function replica(): Hono {
  return deviceApi({
    fleet: () => ({ name: fleetName, pollIntervalMs: MINUTE }),
    store,
    intake: createIntake(store),
    keys: countingKeys,
    clock: { now: () => now },
    program: () => published,
    assign: () => ({ kind: 'nothing' }),
  });
}

async function request(headers: Record<string, string> = {}, init: RequestInit = {}, path = PATH) {
  const token = await signDeviceToken({
    id: ID,
    fleet: fleetName,
    privateKey: key.private,
    now,
    lifetimeMs: 5 * MINUTE,
  });
  return app.request(path, { ...init, headers: { Authorization: `Bearer ${token}`, ...headers } });
}

async function flags(): Promise<unknown> {
  return (await (await request()).json()) as unknown;
}

async function codeOf(response: Response): Promise<string> {
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  const { type } = (await response.json()) as { type: string };
  return `${response.status} ${type.slice(type.lastIndexOf('/') + 1)}`;
}

test('a device is told its flags and their version, signed', async () => {
  const response = await request();
  expect(response.status).toBe(200);
  expect(Object.fromEntries(response.headers)).toEqual({
    'cache-control': 'private, no-cache',
    'content-type': 'application/json',
    date: new Date(NOW).toUTCString(),
    etag: expect.stringMatching(/^"[A-Za-z0-9_-]{43}"$/),
    'tidegate-signature': expect.stringMatching(/^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+$/),
  });
  const body = await response.text();
  expect(JSON.parse(body)).toEqual({
    device_id: ID,
    flags: { 'by-id': true, 'by-site': false },
    version: 7,
  });
  const signature = response.headers.get('tidegate-signature') ?? '';
  const expected = { keys: keySet(keys.assignment), device: ID, fleet: FLEET, now, lastVersion: 7 };
  expect(verifyFlags({ body, signature }, expected)).toMatchObject({ kind: 'ok' });
});

test('operators’ overrides lie over the tags that rules look at', async () => {
  publish({ device: { tags: { site: 'berlin' }, retired: false, revoked: false } });
  expect(await flags()).toMatchObject({ flags: { 'by-site': true } });
});

test('a retired device keeps its flags: a kill switch must reach whatever still runs', async () => {
  publish({ device: { tags: {}, retired: true, revoked: false } });
  expect(await flags()).toMatchObject({ flags: { 'by-id': true } });
});

test('a fleet without flags says so', async () => {
  publish({ flags: [], flagsVersion: 0 });
  expect(await flags()).toEqual({ device_id: ID, flags: {}, version: 0 });
});

test('a device that has its flags is told so, without a signature', async () => {
  const first = await request();
  const etag = first.headers.get('etag') ?? '';
  expect(signatures).toBe(1);
  for (const known of [etag, `"x", ${etag}`, `W/${etag}`, '*']) {
    const again = await request({ 'If-None-Match': known });
    expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag]);
    expect(again.headers.get('cache-control')).toBe('private, no-cache');
  }
  expect((await request({ 'If-None-Match': '"x"' })).status).toBe(200);
  expect(signatures).toBe(1);
});

test('another replica knows the flags that the device has, without a signature either', async () => {
  const etag = (await request()).headers.get('etag') ?? '';
  app = replica();
  signatures = 0;
  expect((await request({ 'If-None-Match': etag })).status).toBe(304);
  expect(signatures).toBe(0);
});

test('the entity tag changes with the version, with the values, and when the signature is renewed', async () => {
  const tag = async () => (await request()).headers.get('etag');
  const seen = [await tag()];
  publish({ flagsVersion: 8 });
  seen.push(await tag());
  publish({ flagsVersion: 8, device: { tags: { site: 'berlin' }, retired: false, revoked: false } });
  seen.push(await tag());
  now = renewalSlot(ID, now) + 12 * HOUR;
  seen.push(await tag());
  expect(new Set(seen).size).toBe(4);
  now += 12 * HOUR - 1;
  expect(await tag()).toBe(seen.at(-1));
});

test('a fleet that is renamed signs under its new name', async () => {
  await request();
  fleetName = 'homes';
  publish();
  const response = await request();
  const signed = { body: await response.text(), signature: response.headers.get('tidegate-signature') ?? '' };
  const expected = { keys: keySet(keys.assignment), device: ID, fleet: 'homes', now, lastVersion: 0 };
  expect(verifyFlags(signed, expected)).toMatchObject({ kind: 'ok' });
});

test('HEAD tells the headers alone, and other methods are not taken', async () => {
  const head = await request({}, { method: 'HEAD' });
  const get = await request();
  expect([head.status, await head.text()]).toEqual([200, '']);
  for (const name of ['etag', 'tidegate-signature', 'cache-control', 'content-type']) {
    expect(head.headers.get(name)).toBe(get.headers.get(name));
  }
  const post = await request({}, { method: 'POST' });
  expect(post.headers.get('allow')).toBe('GET, HEAD');
  expect(await codeOf(post)).toBe('405 method-not-allowed');
});

test('who may not poll may not ask for flags', async () => {
  expect(await codeOf(await app.request(PATH))).toBe('401 token-missing');
  expect(await codeOf(await request({ Authorization: 'Bearer x' }))).toBe('401 token-malformed');
  expect(await codeOf(await request({}, {}, '/v1/devices/lobby-2/flags'))).toBe('403 other-device');
  const etag = (await request()).headers.get('etag') ?? '';
  publish({ device: { tags: {}, retired: false, revoked: true } });
  expect(await codeOf(await request())).toBe('403 revoked');
  expect(await codeOf(await request({ 'If-None-Match': etag }))).toBe('403 revoked');
  published = undefined;
  const early = await request();
  expect(early.headers.get('retry-after')).toBe('10');
  expect(await codeOf(early)).toBe('503 no-program');
});
