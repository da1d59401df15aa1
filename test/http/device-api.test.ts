import fc from 'fast-check';
import { Hono } from 'hono';
import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Clock } from '../../src/clock.ts';
import type { DeviceOverride } from '../../src/core/model/desired.ts';
import type { DeviceRecord } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { revisionOf } from '../../src/core/model/manifest.ts';
import { HOUR, type Instant, MINUTE, SECOND } from '../../src/core/model/time.ts';
import type { AssignedRevision } from '../../src/http/device-answers.ts';
import { deviceApi } from '../../src/http/device-api.ts';
import { createRateLimit } from '../../src/http/rate-limit.ts';
import { StoreError } from '../../src/store/errors.ts';
import { createIntake, type Intake } from '../../src/store/intake.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { PublishedProgram, Store } from '../../src/store/store.ts';
import { renewalSlot, verifyAssignment } from '../../src/trust/assignment.ts';
import { signDeviceToken } from '../../src/trust/device-token.ts';
import { type EnrolmentGrant, mintEnrolmentToken, signKeyChange } from '../../src/trust/enrolment.ts';
import { keySet } from '../../src/trust/jws.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import { type DeviceKey, generateDeviceKey } from '../../src/trust/signing-key.ts';
import { manifest, rolled } from './assigned.ts';

const NOW: Instant = Date.UTC(2026, 0, 1);
const NOW_S = NOW / SECOND;
const FLEET = 'hvac';
const keys = await generateKeys();
const key = generateDeviceKey();
const otherKey = generateDeviceKey();
const tags = { product: 'thermostat' };

let now: Instant;
let store: Store;
let intake: Intake;
let published: PublishedProgram | undefined;
let assigned: AssignedRevision;
let faults: unknown[];
let app: Hono;
const clock: Clock = { now: () => now, sleep: async () => {} };

function publish(version: number, devices: Record<string, DeviceOverride> = {}): PublishedProgram {
  return {
    version,
    flagsVersion: 0,
    program: {
      fleet: FLEET,
      rollouts: [],
      devices,
      pollIntervalMs: MINUTE,
      timezone: 'UTC',
      sites: {},
      flags: [],
      knownRevisions: [],
      knownProducts: [],
    },
  };
}

/** One replica over the store: its own caches, nothing else. */
function replica(over: Partial<Parameters<typeof deviceApi>[0]> = {}): Hono {
  return deviceApi({
    fleet: () => ({ name: FLEET, pollIntervalMs: MINUTE }),
    store,
    intake,
    keys,
    clock,
    program: () => published,
    assign: () => assigned,
    onFault: (error) => faults.push(error),
    ...over,
  });
}

beforeEach(() => {
  now = NOW;
  store = createMemoryStore({ epoch: 'e1' });
  intake = createIntake(store);
  published = publish(5);
  assigned = rolled;
  faults = [];
  app = replica();
});

// What a device sends

type Answer = { status: number; headers: Headers; body: Record<string, unknown>; code: string };

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const isJson = (response.headers.get('content-type') ?? '').includes('json');
  const body = isJson && text !== '' ? (JSON.parse(text) as Record<string, unknown>) : { text };
  return {
    status: response.status,
    headers: response.headers,
    body,
    code: String(body['type']).split('/').at(-1) ?? '',
  };
}

async function request(path: string, init: RequestInit = {}, to = app): Promise<Answer> {
  return answerOf(await to.request(path, init));
}

function post(path: string, body: unknown, headers: Record<string, string> = {}, to = app): Promise<Answer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return request(
    path,
    { method: 'POST', body: text, headers: { 'Content-Type': 'application/json', ...headers } },
    to,
  );
}

const enrolmentToken = (over: Partial<EnrolmentGrant> = {}) =>
  mintEnrolmentToken(keys, { fleet: FLEET, tags, expiresAt: NOW + HOUR, now: NOW, ...over });

async function enrol(id = 'lobby-1', device: DeviceKey = key): Promise<Answer> {
  return post('/v1/devices', { id, publicKey: device.publicKey, token: await enrolmentToken() });
}

async function bearer(id = 'lobby-1', device: DeviceKey = key, at = now): Promise<Record<string, string>> {
  const token = {
    id: id as DeviceId,
    fleet: FLEET,
    privateKey: device.private,
    now: at,
    lifetimeMs: 5 * MINUTE,
  };
  return { Authorization: `Bearer ${await signDeviceToken(token)}` };
}

async function poll(headers: Record<string, string> = {}, to = app): Promise<Answer> {
  return request('/v1/devices/lobby-1/manifest', { headers: { ...(await bearer()), ...headers } }, to);
}

async function send(report: unknown): Promise<Answer> {
  return post('/v1/devices/lobby-1/reports', report, await bearer());
}

const stored = (id = 'lobby-1') => store.device(id as DeviceId);

// Enrolment

test('a device enrols with a token and gets its credential and the keys to verify with', async () => {
  const { status, body } = await enrol();
  expect(status).toBe(201);
  expect(body).toEqual({
    id: 'lobby-1',
    credential: expect.any(String),
    assignmentKeys: { keys: [keys.assignment.publicJwk] },
    pollAfterSeconds: 60,
  });
  expect(JSON.stringify(body)).not.toContain('"d"');
  expect(await stored()).toEqual({
    id: 'lobby-1',
    tags,
    publicKey: key.publicKey,
    serial: 1,
    enrolledAt: NOW,
    version: NOW_S,
  });
});

test('enrolling again with the same key changes nothing and answers 200', async () => {
  await enrol();
  const before = await stored();
  now += MINUTE;
  expect(await enrol()).toMatchObject({ status: 200, body: { id: 'lobby-1' } });
  expect(await stored()).toBe(before);
});

test('without an id the key names the device, the same one every time', async () => {
  const body = { publicKey: key.publicKey, token: await enrolmentToken() };
  const first = await post('/v1/devices', body);
  const again = await post('/v1/devices', body);
  expect([first.status, again.status]).toEqual([201, 200]);
  expect(first.body['id']).toMatch(/^device-[A-Za-z0-9_-]{43}$/);
  expect(again.body['id']).toBe(first.body['id']);
});

test('an id that belongs to another key is taken, unless the token names exactly that id', async () => {
  await enrol();
  expect(await enrol('lobby-1', otherKey)).toMatchObject({ status: 409, code: 'id-taken' });
  expect((await stored())?.publicKey).toBe(key.publicKey);

  const token = await enrolmentToken({ id: 'lobby-1' as DeviceId, tags: { ring: '0' } });
  expect(await post('/v1/devices', { publicKey: otherKey.publicKey, token })).toMatchObject({ status: 201 });
  expect(await stored()).toMatchObject({
    publicKey: otherKey.publicKey,
    tags: { ring: '0' },
    serial: 2,
    version: NOW_S + 1,
    enrolledAt: NOW,
  });
  expect(await poll()).toMatchObject({ status: 401, code: 'token-bad-signature' });
});

test('a token that names an id is for that device only', async () => {
  const token = await enrolmentToken({ id: 'lobby-1' as DeviceId });
  const answer = await post('/v1/devices', { id: 'lobby-2', publicKey: key.publicKey, token });
  expect(answer).toMatchObject({ status: 403, code: 'enrolment-refused' });
  expect(answer.body['detail']).toBe('the token is for device "lobby-1", not "lobby-2"');
});

test('a device that the store has lost is registered again by its credential', async () => {
  const { credential } = (await enrol()).body;
  store = createMemoryStore({ epoch: 'e2' });
  intake = createIntake(store);
  app = replica();
  expect(await poll()).toMatchObject({ status: 401, code: 'unknown-device' });

  now += HOUR;
  const again = { credential, publicKey: key.publicKey };
  expect(await post('/v1/devices', again)).toMatchObject({ status: 201, body: { id: 'lobby-1' } });
  expect(await stored()).toMatchObject({ tags, serial: 1, version: NOW_S + 3600 });
  expect(await post('/v1/devices', again)).toMatchObject({ status: 200 });
  expect(await poll()).toMatchObject({ status: 200 });
});

test('of two credentials for one id the one with the newer key wins, in either order', async () => {
  const old = (await enrol()).body['credential'];
  const token = await enrolmentToken({ id: 'lobby-1' as DeviceId });
  const rolledOver = await post('/v1/devices', { publicKey: otherKey.publicKey, token });
  const first = { credential: old, publicKey: key.publicKey };
  const second = { credential: rolledOver.body['credential'], publicKey: otherKey.publicKey };
  expect(await post('/v1/devices', first)).toMatchObject({ status: 409 });

  store = createMemoryStore({ epoch: 'e2' });
  intake = createIntake(store);
  app = replica();
  expect(await post('/v1/devices', first)).toMatchObject({ status: 201 });
  expect(await post('/v1/devices', second)).toMatchObject({ status: 201 });
  expect(await post('/v1/devices', first)).toMatchObject({ status: 409 });
  expect(await stored()).toMatchObject({ publicKey: otherKey.publicKey, serial: 2 });
});

test('a credential is of no use with another key, for another id, or without its signature', async () => {
  const credential = String((await enrol()).body['credential']);
  const check = async (body: object) => {
    expect(await post('/v1/devices', body)).toMatchObject({ status: 403, code: 'enrolment-refused' });
  };
  await check({ credential, publicKey: otherKey.publicKey });
  await check({ credential, publicKey: key.publicKey, id: 'lobby-2' });
  await check({ credential: `${credential.slice(0, -4)}AAAA`, publicKey: key.publicKey });
  await check({ token: credential, publicKey: key.publicKey });
  await check({ credential: await enrolmentToken(), publicKey: key.publicKey });
});

test('an enrolment needs a key and either a token or a credential', async () => {
  const token = await enrolmentToken();
  expect((await post('/v1/devices', { token })).body).toMatchObject({
    pointer: '/publicKey',
    found: 'nothing',
  });
  expect((await post('/v1/devices', { token, publicKey: 'AAAA' })).body).toMatchObject({
    pointer: '/publicKey',
    expected: "an Ed25519 public key: base64url of its 32 bytes, a JWK's x",
    found: '"AAAA"',
  });
  for (const proof of [{}, { token, credential: token }]) {
    const answer = await post('/v1/devices', { publicKey: key.publicKey, ...proof });
    expect(answer).toMatchObject({ status: 400, code: 'invalid-body' });
  }
});

test('a token lets in as many devices as it says, each as often as it asks, and no other', async () => {
  const limit = { token: 'batch-7', uses: 2 };
  const token = await enrolmentToken({ tags, limit });
  const third = generateDeviceKey();
  const join = (id: string, { publicKey }: typeof key) => post('/v1/devices', { id, publicKey, token });
  expect(await join('lobby-1', key)).toMatchObject({ status: 201 });
  expect(await join('lobby-1', key)).toMatchObject({ status: 200 });
  expect(await join('lobby-2', otherKey)).toMatchObject({ status: 201 });
  const refused = await join('lobby-3', third);
  expect(refused).toMatchObject({ status: 403, code: 'enrolment-refused' });
  expect(refused.body['detail']).toBe('the token was used by as many devices as may use it');
  expect(await stored('lobby-3')).toBeUndefined();
  // Another replica over the same store, and another token.
  expect(
    await post('/v1/devices', { id: 'lobby-3', publicKey: third.publicKey, token }, {}, replica()),
  ).toMatchObject({ status: 403 });
  const another = await enrolmentToken({ tags, limit: { token: 'batch-8', uses: 1 } });
  expect(
    await post('/v1/devices', { id: 'lobby-3', publicKey: third.publicKey, token: another }),
  ).toMatchObject({ status: 201 });
});

describe('a device that takes another key', () => {
  const change = async (
    over: { publicKey?: string; key?: typeof key; id?: string; fleet?: string; at?: Instant } = {},
  ) =>
    await signKeyChange({
      fleet: over.fleet ?? FLEET,
      id: (over.id ?? 'lobby-1') as DeviceId,
      publicKey: over.publicKey ?? otherKey.publicKey,
      key: (over.key ?? key).private,
      now: over.at ?? now,
    });

  test('is known by it from then on, and by the old one no more, however often it asks', async () => {
    const credential = String((await enrol()).body['credential']);
    const body = { publicKey: otherKey.publicKey, credential, proof: await change() };
    const first = await post('/v1/devices', body);
    expect(first).toMatchObject({ status: 201 });
    expect(await stored()).toMatchObject({ publicKey: otherKey.publicKey, serial: 2, tags });
    expect(await post('/v1/devices', body)).toMatchObject({ status: 200 });
    expect(await poll()).toMatchObject({ status: 401, code: 'token-bad-signature' });
    expect(await poll(await bearer('lobby-1', otherKey))).toMatchObject({ status: 200 });
    // The old key does not get it back.
    const back = { publicKey: key.publicKey, credential, proof: await change({ publicKey: key.publicKey }) };
    expect((await post('/v1/devices', back)).status).toBe(409);
    // After the store is lost, the new credential counts for more than the old one.
    store = createMemoryStore({ epoch: 'e2' });
    intake = createIntake(store);
    app = replica();
    await post('/v1/devices', { publicKey: key.publicKey, credential });
    await post('/v1/devices', { publicKey: otherKey.publicKey, credential: first.body['credential'] });
    expect(await stored()).toMatchObject({ publicKey: otherKey.publicKey, serial: 2 });
  });

  test('proves it with the key that it has: nobody else does, not for long, and for that key alone', async () => {
    const credential = String((await enrol()).body['credential']);
    const stranger = generateDeviceKey();
    const ask = async (proof: string, publicKey = otherKey.publicKey) => {
      const answer = await post('/v1/devices', { publicKey, credential, proof });
      expect(answer).toMatchObject({ status: 403, code: 'enrolment-refused' });
      return String(answer.body['detail']);
    };
    expect(await ask(await change({ key: stranger, publicKey: otherKey.publicKey }))).toMatch(
      /^the proof does not hold/,
    );
    expect(await ask(await change({ key: otherKey }))).toMatch(/^the proof does not hold/);
    expect(await ask(await change(), stranger.publicKey)).toBe('the proof names another public key');
    expect(await ask(await change({ id: 'lobby-2' }))).toMatch(/^the proof is for another device or fleet/);
    expect(await ask(await change({ fleet: 'others' }))).toMatch(/^the proof is for another device or fleet/);
    expect(await ask(await change({ at: now - 11 * MINUTE }))).toMatch(/^the proof has expired/);
    expect(await ask(await change({ at: now + HOUR }))).toMatch(/^the proof has expired, or lasts longer/);
    expect(await stored()).toMatchObject({ publicKey: key.publicKey, serial: 1 });
    published = publish(6, { 'lobby-1': { tags: {}, retired: false, revoked: true } });
    const revoked = await post('/v1/devices', {
      publicKey: otherKey.publicKey,
      credential,
      proof: await change(),
    });
    expect(revoked).toMatchObject({ status: 403, code: 'revoked' });
  });
});

describe('rates', () => {
  test('a device that asks all the time is told to wait, alone, and may go on after that', async () => {
    const rate = createRateLimit({ burst: 3, perSecond: 1, cells: 1024 }, 7);
    app = replica({ rate });
    await enrol();
    await enrol('lobby-2', otherKey);
    const send = async (seq: number, id = 'lobby-1', by = key) =>
      await post(`/v1/devices/${id}/reports`, { bootId: 'b1', seq, generation: 0 }, await bearer(id, by));
    for (let seq = 1; seq <= 3; seq += 1) expect((await send(seq)).status).toBe(202);
    const refused = await send(4);
    expect(refused).toMatchObject({ status: 429, code: 'too-many-requests' });
    expect(refused.headers.get('retry-after')).toBe('1');
    expect((await poll()).status).toBe(429);
    expect((await send(1, 'lobby-2', otherKey)).status).toBe(202);
    now += 1000;
    expect((await send(4)).status).toBe(202);
    now += 3000;
    expect((await poll()).status).toBe(200);
    // A look-up costs nothing and is not counted.
    const held = await bearer('lobby-1', key);
    for (let n = 0; n < 10; n += 1)
      expect((await request('/v1/devices/lobby-1/manifest', { headers: held })).status).toBe(200);
  });

  test('who guesses tokens is told to wait, and devices that have joined go on', async () => {
    app = replica({ refusedRate: createRateLimit({ burst: 2, perSecond: 1, cells: 1 }, 7) });
    await enrol();
    const guess = () => post('/v1/devices', { publicKey: otherKey.publicKey, token: 'a.b.c' });
    expect([(await guess()).status, (await guess()).status, (await guess()).status]).toEqual([403, 403, 429]);
    expect((await enrol('lobby-2', otherKey)).status).toBe(429);
    expect((await poll()).status).toBe(200);
    now += 1000;
    expect((await enrol('lobby-2', otherKey)).status).toBe(201);
  });

  test('a clock that is set back keeps nobody out', () => {
    const rate = createRateLimit({ burst: 2, perSecond: 1, cells: 4 }, 1);
    rate.count('a', NOW + HOUR);
    rate.count('a', NOW + HOUR);
    expect(rate.wait('a', NOW + HOUR)).toBe(1);
    expect(rate.wait('a', NOW)).toBeUndefined();
  });
});

// Polling

test('a poll is answered with the assignment, signed for the device', async () => {
  await enrol();
  const { status, headers, body } = await poll();
  expect(status).toBe(200);
  expect(headers.get('content-type')).toBe('application/jose');
  expect(headers.get('cache-control')).toBe('private, no-cache');
  expect(headers.get('etag')).toMatch(/^"[^"]+"$/);
  // The device's version is its enrolment in Unix seconds, far above this program's.
  expect(headers.get('tidegate-generation')).toBe(String(NOW_S));
  const expected = {
    keys: keySet(keys.assignment),
    device: 'lobby-1' as DeviceId,
    fleet: FLEET,
    now,
    lastGeneration: 0,
  };
  expect(await verifyAssignment(String(body['text']), expected)).toMatchObject({
    kind: 'ok',
    assignment: {
      generation: NOW_S,
      pollAfterSeconds: 60,
      assigned: { manifest, rollout: 'thermostat-firmware' },
    },
  });
});

test('S3.5 every device that is targeted gets a manifest of its own', async () => {
  const check = async (count: number) => {
    for (let i = 0; i < count; i += 1) {
      const id = `room-${count}-${i}`;
      const device = generateDeviceKey();
      await enrol(id, device);
      const answer = await request(`/v1/devices/${id}/manifest`, { headers: await bearer(id, device) });
      expect(decodeJwt(String(answer.body['text']))).toMatchObject({
        sub: id,
        revision: revisionOf(manifest),
      });
    }
  };
  await check(3);
  await check(5);
});

test('the generation is the higher one of the program and the device, and does not change the entity tag', async () => {
  await enrol();
  const etag = (await poll()).headers.get('etag');
  published = publish(NOW_S + 10);
  const { headers, body } = await poll();
  expect(headers.get('tidegate-generation')).toBe(String(NOW_S + 10));
  expect(decodeJwt(String(body['text']))['generation']).toBe(NOW_S + 10);
  expect(headers.get('etag')).toBe(etag);
});

test('what the device has already is answered 304, in every form that HTTP has for it', async () => {
  await enrol();
  const etag = String((await poll()).headers.get('etag'));
  for (const header of [etag, `W/${etag}`, `"other", ${etag}`, `"a,b",W/"c" , W/${etag}`, '*']) {
    const { status, headers, body } = await poll({ 'If-None-Match': header });
    expect([header, status, body['text']]).toEqual([header, 304, '']);
    expect(headers.get('etag')).toBe(etag);
    expect(headers.get('tidegate-generation')).toBe(String(NOW_S));
  }
  for (const header of ['"other"', etag.replaceAll('"', ''), 'W/"other", ""', '']) {
    expect(await poll({ 'If-None-Match': header })).toMatchObject({ status: 200 });
  }
  published = publish(6);
  assigned = { kind: 'nothing' };
  expect(await poll({ 'If-None-Match': etag })).toMatchObject({ status: 200 });
});

test('an unchanged assignment is renewed when half of its life is over', async () => {
  await enrol();
  const etag = String((await poll()).headers.get('etag'));
  const next = renewalSlot('lobby-1' as DeviceId, NOW) + 12 * HOUR;
  now = next - 1;
  expect(await poll({ 'If-None-Match': etag })).toMatchObject({ status: 304 });
  now = next;
  expect(await poll({ 'If-None-Match': etag })).toMatchObject({ status: 200 });
});

test('S1.18 replicas over one store serve identical bytes', async () => {
  const other = replica();
  const check = async () => {
    const [here, there] = [await poll(), await poll({}, other)];
    expect(here.status).toBe(200);
    expect(there.body['text']).toBe(here.body['text']);
    expect(there.headers.get('etag')).toBe(here.headers.get('etag'));
    return here.body['text'];
  };
  await enrol();
  const first = await check();
  published = publish(NOW_S + 1);
  assigned = { kind: 'nothing' };
  expect(await check()).not.toBe(first);
});

test('a device reads its own documents only', async () => {
  await enrol();
  await enrol('lobby-2', otherKey);
  const answer = await request('/v1/devices/lobby-2/manifest', { headers: await bearer('lobby-1') });
  expect(answer).toMatchObject({ status: 403, code: 'other-device' });
  expect(await post('/v1/devices/lobby-2/reports', {}, await bearer('lobby-1'))).toMatchObject({
    status: 403,
  });
});

test('revocation takes effect on the next use, though the token was verified before', async () => {
  await enrol();
  const headers = await bearer();
  const ask = () => request('/v1/devices/lobby-1/manifest', { headers });
  expect(await ask()).toMatchObject({ status: 200 });
  published = publish(6, { 'lobby-1': { tags: {}, retired: false, revoked: true } });
  expect(await ask()).toMatchObject({ status: 403, code: 'revoked' });
  expect(await send({ bootId: 'b', seq: 1, generation: 0 })).toMatchObject({ status: 403, code: 'revoked' });
  expect(await enrol()).toMatchObject({ status: 403, code: 'revoked' });
  published = publish(7, { 'lobby-1': { tags: {}, retired: true, revoked: false } });
  expect(await ask()).toMatchObject({ status: 200 });
});

test('an id that every object inherits is an id like any other', async () => {
  for (const id of ['constructor', 'toString', 'hasOwnProperty']) {
    expect(await enrol(id)).toMatchObject({ status: 201 });
    const answer = await request(`/v1/devices/${id}/manifest`, { headers: await bearer(id) });
    expect(answer).toMatchObject({ status: 200 });
  }
});

test('before the first program nothing is assigned, and revocations are not known: come back later', async () => {
  await enrol();
  published = undefined;
  for (const answer of [await poll(), await send({ bootId: 'b', seq: 1, generation: 0 })]) {
    expect(answer).toMatchObject({ status: 503, code: 'no-program' });
    expect(answer.headers.get('retry-after')).toBe('10');
  }
});

test('who does not say who it is, or cannot prove it, gets 401 with the next step', async () => {
  await enrol();
  const check = async (headers: Record<string, string>, code: string) => {
    const answer = await request('/v1/devices/lobby-1/manifest', { headers });
    expect(answer).toMatchObject({ status: 401, code });
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(answer.body['next']).toEqual(expect.any(String));
  };
  await check({}, 'token-missing');
  await check({ Authorization: 'Basic YTpi' }, 'token-missing');
  await check({ Authorization: 'Bearer nonsense' }, 'token-malformed');
  await check(await bearer('lobby-9'), 'unknown-device');
  await check(await bearer('lobby-1', otherKey), 'token-bad-signature');
});

test("a device with a wrong clock is told so, with the server's time in the Date header", async () => {
  await enrol();
  const ask = async (at: Instant) =>
    request('/v1/devices/lobby-1/manifest', { headers: await bearer('lobby-1', key, at) });
  const behind = await ask(0);
  expect(behind).toMatchObject({ status: 401, code: 'token-expired' });
  expect(behind.headers.get('date')).toBe('Thu, 01 Jan 2026 00:00:00 GMT');
  expect(await ask(NOW + HOUR)).toMatchObject({ status: 401, code: 'token-not-yet-valid' });
});

// Reports

const REPORT = {
  bootId: 'b1',
  seq: 17,
  generation: 4,
  running: `sha256:${'0'.repeat(64)}`,
  attempt: {
    revision: `sha256:${'1'.repeat(64)}`,
    state: 'failed',
    category: 'install.disk-full',
    message: 'no space left',
  },
  signals: { runtime_healthy: true, gap: '3.2s', drops: 0 },
  exposureHours: 0.25,
  events: { crash: 0 },
};

test('S4.8 a report is stored with the version that runs and the boot id', async () => {
  await enrol();
  const check = async (report: typeof REPORT) => {
    expect(await send(report)).toMatchObject({ status: 202, body: { effect: 'counted' } });
    const state = (await stored())?.report;
    expect(state).toMatchObject({
      running: report.running,
      attempt: report.attempt,
      signals: report.signals,
    });
    expect(state?.boots[0]).toMatchObject({ bootId: report.bootId, seq: report.seq });
    expect(state?.receivedAt).toBe(now);
  };
  await check(REPORT);
  now += MINUTE;
  await check({ ...REPORT, bootId: 'b2', seq: 1, running: `sha256:${'2'.repeat(64)}` });
});

test('a report counts once however often it is sent', async () => {
  await enrol();
  await send(REPORT);
  expect(await send(REPORT)).toMatchObject({ status: 202, body: { effect: 'duplicate' } });
  expect(await send({ ...REPORT, seq: 16 })).toMatchObject({ status: 202, body: { effect: 'late' } });
  expect((await stored())?.report?.exposureHours).toBe(0.5);
});

test('S5.12 a failure without a category is stored as uncategorised', async () => {
  await enrol();
  const check = async (seq: number, attempt: Record<string, unknown>, category: string | undefined) => {
    await send({ bootId: 'b', seq, generation: 0, attempt: { revision: REPORT.running, ...attempt } });
    expect((await stored())?.report?.attempt?.category).toBe(category);
  };
  await check(1, { state: 'failed' }, 'uncategorised');
  await check(2, { state: 'rolledBack', message: 'boot loop' }, 'uncategorised');
  await check(3, { state: 'failed', category: 'install.disk-full' }, 'install.disk-full');
  await check(4, { state: 'succeeded' }, undefined);
});

test('the smallest report says which boot, which number and which generation', async () => {
  await enrol();
  expect(await send({ bootId: 'b', seq: 0, generation: 0 })).toMatchObject({ status: 202 });
  expect((await stored())?.report).toMatchObject({ signals: {}, exposureHours: 0 });
});

const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`s${i}`, 1]));

test.each<[object, string, RegExp, RegExp]>([
  [{ bootId: undefined }, '/bootId', /^1 to 64 letters/, /^nothing$/],
  [{ bootId: '' }, '/bootId', /^1 to 64 letters/, /^""$/],
  [{ seq: -1 }, '/seq', /^a whole number from 0/, /^-1$/],
  [{ seq: 1.5 }, '/seq', /^a whole number/, /^1.5$/],
  [{ seq: 2 ** 53 }, '/seq', /^a whole number/, /^9007199254740992$/],
  [{ seq: '1' }, '/seq', /^a whole number/, /^"1"$/],
  [{ running: 'sha256:12' }, '/running', /^sha256: and 64/, /^"sha256:12"$/],
  [{ attempt: { state: 'failed' } }, '/attempt/revision', /^sha256/, /^nothing$/],
  [{ attempt: { ...REPORT.attempt, state: 'done' } }, '/attempt/state', /^one of downloading, /, /^"done"$/],
  [{ attempt: { ...REPORT.attempt, message: 'x'.repeat(2049) } }, '/attempt/message', /2,048/, /^"x+…$/],
  [{ attempt: { ...REPORT.attempt, category: 'a b' } }, '/attempt/category', /^a name/, /^"a b"$/],
  [{ attempt: [] }, '/attempt', /^an object$/, /^an array of 0$/],
  [{ signals: { 'no spaces': 1 } }, '/signals/no spaces', /^a name/, /^"no spaces"$/],
  [{ signals: { ['x/'.repeat(2)]: 1 } }, '/signals/x~1x~1', /^a name/, /^"x\/x\/"$/],
  [{ signals: { a: null } }, '/signals/a', /^true, false, a finite number/, /^null$/],
  [{ signals: { a: { b: 1 } } }, '/signals/a', /^true, false/, /^an object of 1$/],
  [{ signals: { a: 'x\u0000' } }, '/signals/a', /without NUL/, /^"x\\u0000"$/],
  [{ signals: { a: '\ud800' } }, '/signals/a', /without NUL/, /^"\\ud800"$/],
  [{ signals: many(65) }, '/signals', /at most 64 signals/, /^an object of 65$/],
  [{ events: many(65) }, '/events', /at most 64 counts/, /^an object of 65$/],
  [{ events: { crash: -1 } }, '/events/crash', /^a whole number/, /^-1$/],
  [{ exposureHours: 24.1 }, '/exposureHours', /^hours, from 0 to 24$/, /^24.1$/],
  [{ deviceId: 'x' }, '/deviceId', /^no keys but bootId, seq/, /^another key$/],
])('a report of the wrong shape is refused where it is wrong: %j', async (over, pointer, expected, found) => {
  await enrol();
  const answer = await send({ ...REPORT, ...over });
  expect(answer).toMatchObject({ status: 400, code: 'invalid-body', body: { pointer } });
  expect(answer.body['expected']).toMatch(expected);
  expect(answer.body['found']).toMatch(found);
  expect(answer.body['detail']).toBe(
    `${pointer}: expected ${answer.body['expected']}, found ${answer.body['found']}`,
  );
  expect((await stored())?.report).toBeUndefined();
});

test('a number beyond the range of doubles is no number', async () => {
  await enrol();
  const text = JSON.stringify(REPORT).replace('"drops":0', '"drops":1e999');
  expect((await send(text)).body).toMatchObject({ pointer: '/signals/drops', found: 'Infinity' });
  expect(await send({ ...REPORT, signals: many(64) })).toMatchObject({ status: 202 });
});

test('a key named __proto__ stays data', async () => {
  await enrol();
  const text = JSON.stringify(REPORT).replace('"drops":0', '"__proto__":{"polluted":true}');
  expect(await send(text)).toMatchObject({ status: 400, code: 'invalid-body' });
  expect(await send('{"__proto__":{},"bootId":"b","seq":1,"generation":0}')).toMatchObject({ status: 400 });
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});

// Limits and faults

test('bodies are bounded, whether they declare their length or not', async () => {
  await enrol();
  const headers = { 'Content-Type': 'application/json', ...(await bearer()) };
  const path = '/v1/devices/lobby-1/reports';
  const padded = (size: number) =>
    JSON.stringify({ ...REPORT, pad: '' })
      .replace('"pad":""', '')
      .replace(/,}$/, `}${' '.repeat(size)}`);
  const fits = padded(64 * 1024 - padded(0).length);
  expect(fits.length).toBe(64 * 1024);
  expect(await request(path, { method: 'POST', headers, body: fits })).toMatchObject({ status: 202 });
  expect(await request(path, { method: 'POST', headers, body: `${fits} ` })).toMatchObject({ status: 413 });

  let pulled = 0;
  const endless = new ReadableStream({
    pull(controller) {
      pulled += 1;
      controller.enqueue(new Uint8Array(8192).fill(32));
    },
  });
  const init = { method: 'POST', headers, body: endless, duplex: 'half' } as RequestInit;
  expect(await request(path, init)).toMatchObject({ status: 413, code: 'body-too-large' });
  expect(pulled).toBeLessThan(12);
  expect(await post('/v1/devices', ' '.repeat(16 * 1024 + 1))).toMatchObject({ status: 413 });
});

test('a stranger is turned away before its body is looked at', async () => {
  expect(await post('/v1/devices/lobby-1/reports', 'x'.repeat(100_000))).toMatchObject({ status: 401 });
});

test('only plain JSON in UTF-8 is read', async () => {
  await enrol();
  const text = JSON.stringify(REPORT);
  const sendAs = async (body: NonNullable<RequestInit['body']>, headers: Record<string, string>) =>
    request('/v1/devices/lobby-1/reports', {
      method: 'POST',
      body,
      headers: { ...(await bearer()), ...headers },
    });
  expect(await sendAs(text, { 'Content-Type': 'text/plain' })).toMatchObject({
    status: 415,
    code: 'not-json',
  });
  expect(await sendAs(new TextEncoder().encode(text), {})).toMatchObject({ status: 415 });
  const json = { 'Content-Type': 'Application/JSON; charset=utf-8' };
  expect(await sendAs(text, { ...json, 'Content-Encoding': 'gzip' })).toMatchObject({ status: 415 });
  expect(await sendAs('{"bootId":', json)).toMatchObject({ status: 400, code: 'invalid-json' });
  expect(await sendAs('', json)).toMatchObject({ status: 400, code: 'invalid-json' });
  expect(await sendAs(Buffer.from('{"bootId":"\xff"}', 'latin1'), json)).toMatchObject({
    status: 400,
    body: { detail: 'expected JSON in UTF-8, found bytes that are not UTF-8' },
  });
  expect(await sendAs(text, json)).toMatchObject({ status: 202 });
});

test('other methods and other paths are problems too, HEAD is a GET without its body', async () => {
  await enrol();
  const wrong = await request('/v1/devices/lobby-1/manifest', { method: 'DELETE' });
  expect(wrong).toMatchObject({ status: 405, code: 'method-not-allowed' });
  expect(wrong.headers.get('allow')).toBe('GET, HEAD');
  expect((await request('/v1/devices')).headers.get('allow')).toBe('POST');
  expect(await request('/v1/devices/lobby-1/reports', { method: 'PUT' })).toMatchObject({ status: 405 });
  expect(await request('/v1/nothing')).toMatchObject({ status: 404, code: 'not-found' });

  const head = await request('/v1/devices/lobby-1/manifest', { method: 'HEAD', headers: await bearer() });
  expect([head.status, head.body['text']]).toEqual([200, '']);
  expect(head.headers.get('etag')).toBe((await poll()).headers.get('etag'));
  expect(await request('/v1/devices', { method: 'HEAD' })).toMatchObject({ status: 405, body: {} });
});

test('a report that cannot be made durable is not acknowledged: 503, come back later', async () => {
  await enrol();
  app = replica({ intake: createIntake(store, { maxQueued: 0 }) });
  const full = await send(REPORT);
  expect(full).toMatchObject({ status: 503, code: 'intake-full' });
  expect(full.headers.get('retry-after')).toBe('10');
  expect(faults).toEqual([]);

  const broken = new StoreError('store-full', 'tidegate.db: the disk is full; make room');
  const failing: Store = { ...store, updateDevices: () => Promise.reject(broken) };
  app = replica({ intake: createIntake(failing) });
  expect(await send(REPORT)).toMatchObject({ status: 503, code: 'store-unavailable' });
  expect(faults).toEqual([broken]);
});

test('a fault of our own is told to the operator, not to the device', async () => {
  await enrol();
  const secret = new Error('secret detail');
  app = replica({
    assign: () => {
      throw secret;
    },
  });
  const answer = await poll();
  expect(answer).toMatchObject({ status: 500, code: 'internal' });
  expect(JSON.stringify(answer.body)).not.toContain('secret');
  expect(faults).toEqual([secret]);
});

test('mounted under another app it answers as it does alone', async () => {
  await enrol();
  const whole = new Hono().get('/healthz', (c) => c.text('ok')).route('/', app);
  expect(await poll({}, whole)).toMatchObject({ status: 200 });
  expect(await request('/v1/devices', {}, whole)).toMatchObject({ status: 405 });
  expect((await request('/healthz', {}, whole)).headers.get('date')).toBeNull();
});

test('whatever a body holds, the answer is a 4xx problem or a success, never a fault', async () => {
  await enrol();
  const before = (await stored()) as DeviceRecord;
  const token = await enrolmentToken();
  const bytes = fc.oneof(
    fc.json().map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
    fc.constantFrom('[', '{"a":').map((part) => Buffer.from(part.repeat(10_000))),
    fc
      .tuple(fc.constantFrom(...Object.keys(REPORT), 'x', '__proto__'), fc.jsonValue())
      .map(([name, value]) => Buffer.from(JSON.stringify({ ...REPORT, [name]: value }))),
    fc
      .record({
        publicKey: fc.oneof(fc.string(), fc.constant(key.publicKey)),
        id: fc.string(),
        token: fc.constantFrom(token, '', 'a.b.c'),
      })
      .map((body) => Buffer.from(JSON.stringify(body))),
    fc.jsonValue().map((value) => Buffer.from(JSON.stringify({ ...REPORT, signals: { deep: value } }))),
  );
  const path = fc.constantFrom(
    '/v1/devices',
    '/v1/devices/lobby-1/reports',
    '/v1/devices/%00/reports',
    '/v1/devices/%/reports',
  );
  await fc.assert(
    fc.asyncProperty(path, bytes, async (to, body) => {
      const headers = { 'Content-Type': 'application/json', ...(await bearer()) };
      const answer = await request(to, { method: 'POST', headers, body });
      expect(answer.status).toBeLessThan(500);
      if (answer.status < 300) return;
      expect(answer.headers.get('content-type')).toBe('application/problem+json');
      expect(answer.body).toMatchObject({
        status: answer.status,
        title: expect.any(String),
        next: expect.any(String),
      });
    }),
    { numRuns: 400 },
  );
  expect(faults).toEqual([]);
  expect(await stored()).toMatchObject({ publicKey: before.publicKey, tags: before.tags, serial: 1 });
});
