/** What one use of an enrolment token lets in. */

import type { Hono } from 'hono';
import { beforeEach, expect, test } from 'vitest';
import type { Clock } from '../../src/clock.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { deviceApi } from '../../src/http/device-api.ts';
import { createRateLimit, REFUSED_RATE } from '../../src/http/rate-limit.ts';
import { createIntake } from '../../src/store/intake.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { mintEnrolmentToken } from '../../src/trust/enrolment.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';
import { rolled } from '../http/assigned.ts';

const NOW = Date.UTC(2026, 0, 1);
const keys = await generateKeys();
let store: Store;
let app: Hono;
const now = NOW;
const clock: Clock = { now: () => now, sleep: async () => {} };
const program = {
  version: 1,
  flagsVersion: 0,
  program: {
    fleet: 'hvac',
    rollouts: [],
    devices: {},
    pollIntervalMs: MINUTE,
    timezone: 'UTC',
    sites: {},
    flags: [],
    knownRevisions: [],
    knownProducts: [],
  },
};
const refusedRate = createRateLimit(REFUSED_RATE, 7);

beforeEach(() => {
  store = createMemoryStore({ epoch: 'e1' });
  app = deviceApi({
    fleet: () => ({ name: 'hvac', pollIntervalMs: MINUTE }),
    store,
    intake: createIntake(store),
    keys,
    clock,
    program: () => program,
    assign: () => rolled,
    refusedRate,
  });
});

const token = (uses: number) =>
  mintEnrolmentToken(keys, {
    fleet: 'hvac',
    tags: { product: 't' },
    limit: { token: 'one', uses },
    expiresAt: NOW + HOUR,
    now: NOW,
  });
const post = async (body: object) =>
  await app.request('/v1/devices', {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json' },
  });

test('a token for one device lets in one device, however many ids one key asks for', async () => {
  const { publicKey } = generateDeviceKey();
  const statuses = [];
  for (const id of ['a', 'b', 'c'])
    statuses.push((await post({ id, publicKey, token: await token(1) })).status);
  expect(statuses).toEqual([201, 403, 403]);
  expect(await store.device('c' as DeviceId)).toBeUndefined();
});

test('an id that is taken uses up nothing', async () => {
  const [one, two, three] = [generateDeviceKey(), generateDeviceKey(), generateDeviceKey()];
  await post({ id: 'a', publicKey: one.publicKey, token: await token(2) });
  expect((await post({ id: 'a', publicKey: two.publicKey, token: await token(2) })).status).toBe(409);
  expect((await post({ id: 'b', publicKey: three.publicKey, token: await token(2) })).status).toBe(201);
});

test('five hundred wrong guesses at once are no way around the limit', async () => {
  const { publicKey } = generateDeviceKey();
  const guess = async () => (await post({ id: 'g', publicKey, token: 'e30.e30.e30' })).status;
  await Promise.all(Array.from({ length: 500 }, guess));
  expect(await guess()).toBe(429);
});
