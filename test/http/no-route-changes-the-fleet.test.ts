/** Every route of the real service, with every credential and body that anybody may send: what the fleet is to run stays. */
import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { openRepository } from '../../src/git/local.ts';
import { createService } from '../../src/service.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { signDeviceToken } from '../../src/trust/device-token.ts';
import { mintEnrolmentToken } from '../../src/trust/enrolment.ts';
import { mintObservationToken } from '../../src/trust/observation-token.ts';
import { type DeviceKey, generateDeviceKey } from '../../src/trust/signing-key.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';
import { createRepositoryFleet } from '../simulation/repository-fleet.ts';

const API_TOKEN = 'api-token-of-operators';
const WEBHOOK_SECRET = 'a secret that only the forge has';
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'QUERY'];

type World = Awaited<ReturnType<typeof createWorld>>;

/** A fleet at rest: one rollout succeeded, another one has opened its first stage. Two devices, `a` and `b`, ask by HTTP. */
async function createWorld() {
  const fleet = await createRepositoryFleet();
  const files = { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') };
  await fleet.commit('Begin', files);
  await fleet.enrol(...identities(4, () => ({ product: 'kiosk' })));
  await fleet.advance(4 * HOUR);
  await fleet.pull();
  const stages = '[{name: canary, size: 1, soak: 100h}, {name: fleet, size: all, approvals: 1}]';
  await fleet.commit('Next', { ...kiosk('1.1.0'), ...rollout('1.1.0', { stages }) });
  const git = await openRepository(fleet.folder.replace(/people$/, 'fleet.git'));
  const { clock, keys } = fleet;
  const store = createMemoryStore({ epoch: 'walk' });
  const service = createService({
    git,
    store,
    keys,
    clock,
    randomHex: () => '7'.repeat(32),
    apiToken: API_TOKEN,
    webhookSecret: WEBHOOK_SECRET,
  });
  const settle = async () => {
    for (let passes = 0; passes < 30; passes += 1) if (!(await service.reconciler.pass()).again) return;
    throw new Error('the reconciler did not come to rest');
  };
  await settle();
  const name = service.reconciler.state().published?.program.fleet ?? '';
  const now = () => clock.now();
  const enrolmentToken = await mintEnrolmentToken(keys, {
    fleet: name,
    tags: { product: 'another' },
    expiresAt: now() + HOUR,
    now: now(),
  });
  const observationToken = await mintObservationToken(keys, {
    id: 'walk',
    metrics: '*',
    units: {},
    fleet: name,
    expiresAt: now() + HOUR,
    now: now(),
  });
  const devices = new Map<string, DeviceKey>();
  for (const id of ['a', 'b']) {
    const key = generateDeviceKey();
    devices.set(id, key);
    const body = JSON.stringify({ id, publicKey: key.publicKey, token: enrolmentToken });
    const answer = await service.app.request('/v1/devices', { method: 'POST', body, headers: JSON_TYPE });
    expect(answer.status).toBe(201);
  }
  await settle();
  const tokenOf = (id: string) =>
    signDeviceToken({
      id: id as DeviceId,
      fleet: name,
      privateKey: (devices.get(id) as DeviceKey).private,
      now: now(),
      lifetimeMs: 5 * MINUTE,
    });
  /** All that decides what any device is to run. */
  const intent = async () => {
    await settle();
    const { published, outcomes, wanted, tip } = service.reconciler.state();
    return {
      program: published,
      outcomes: [...outcomes],
      operations: wanted?.operations,
      tip,
      main: await git.branch('main'),
      branch: await git.branch('outcomes'),
    };
  };
  return { service, store, tokenOf, enrolmentToken, observationToken, intent };
}

const JSON_TYPE = { 'Content-Type': 'application/json' };

/** The paths that the app knows, with `a` for what they leave open. */
function pathsOf({ service }: World): readonly string[] {
  const paths = new Set(service.app.routes.map(({ path }) => path));
  return [...paths]
    .filter((path) => path !== '/*' && path !== '*')
    .map((path) => path.replace(/:[a-z]+(\{[^}]*\})?\??/gi, 'a').replaceAll('*', 'a'))
    .sort();
}

const REPORT = {
  bootId: 'walk',
  seq: 1,
  generation: 1,
  running: `sha256:${'0'.repeat(64)}`,
  signals: { healthy: false },
  exposureHours: 1,
  events: { crash: 9 },
};
const BODIES: readonly (string | undefined)[] = [
  undefined,
  '{}',
  JSON.stringify(REPORT),
  JSON.stringify({
    rollout: 'kiosk',
    attempt: 2,
    stage: 'fleet',
    action: 'approve',
    by: 'a',
    suspend: true,
    state: 'succeeded',
  }),
  JSON.stringify({ observations: [{ metric: 'kiosk', value: 1e15 }] }),
  JSON.stringify({ stage: 'ripple', size: '1', seed: 'mine', list: true }),
  JSON.stringify({ ref: 'refs/heads/main', after: '0'.repeat(40), commits: [] }),
];

test('the methods that could change anything are five: two of devices, one that adds numbers, one that asks to look, one that only answers', async () => {
  const world = await createWorld();
  const changing = world.service.app.routes.filter(
    ({ method }) => !['GET', 'HEAD', 'OPTIONS', 'ALL'].includes(method),
  );
  expect(changing.map(({ method, path }) => `${method} ${path}`).sort()).toEqual([
    'POST /api/rollouts/:name/selection',
    'POST /v1/devices',
    'POST /v1/devices/:id/reports',
    'POST /v1/observations',
    'POST /webhooks/git',
  ]);
});

test('no endpoint changes the fleet, whoever asks and whatever is sent', async () => {
  const world = await createWorld();
  const { service, store, tokenOf, enrolmentToken, observationToken, intent } = world;
  const before = await intent();
  expect(before.outcomes.length).toBeGreaterThan(0);
  const devices = [await tokenOf('a'), await tokenOf('b')];
  const bearers = [undefined, API_TOKEN, ...devices, enrolmentToken, observationToken];
  const paths = pathsOf(world);
  expect(paths.length).toBeGreaterThan(15);
  let asked = 0;
  for (const path of paths)
    for (const method of METHODS)
      for (const bearer of bearers)
        for (const body of method === 'GET' || method === 'HEAD' ? [undefined] : BODIES) {
          const signature = `sha256=${createHmac('sha256', WEBHOOK_SECRET)
            .update(body ?? '')
            .digest('hex')}`;
          const response = await service.app.request(path, {
            method,
            headers: {
              ...JSON_TYPE,
              'X-GitHub-Event': 'push',
              'X-Hub-Signature-256': signature,
              ...(bearer === undefined ? {} : { Authorization: `Bearer ${bearer}` }),
            },
            ...(body === undefined ? {} : { body }),
          });
          expect(response.status, `${method} ${path}`).not.toBe(500);
          await response.body?.cancel();
          asked += 1;
        }
  expect(asked).toBeGreaterThan(1000);
  expect(await intent()).toEqual(before);
  // It was no walk past closed doors: the number was taken, once for the one token that may bring it.
  expect(await store.sums({ series: 'external' })).toMatchObject([{ name: 'kiosk', count: 1 }]);
});

test('an observation token opens one door, and no other token opens that', async () => {
  const world = await createWorld();
  const { service, store, tokenOf, enrolmentToken, observationToken } = world;
  const ask = async (path: string, bearer: string, body?: object) => {
    const headers = { ...JSON_TYPE, Authorization: `Bearer ${bearer}` };
    const sent = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    return (await service.app.request(path, { headers, ...sent })).status;
  };
  const number = { metric: 'support-tickets', value: 1 };
  const { publicKey } = generateDeviceKey();
  const enrolment = { id: 'c', publicKey };
  const enrolled = await service.app.request('/v1/devices', {
    method: 'POST',
    headers: JSON_TYPE,
    body: JSON.stringify({ ...enrolment, token: enrolmentToken }),
  });
  const { credential } = (await enrolled.json()) as { readonly credential: string };
  for (const other of [await tokenOf('a'), enrolmentToken, credential, API_TOKEN, WEBHOOK_SECRET])
    expect(await ask('/v1/observations', other, number)).toBe(401);
  expect(await store.sums({ series: 'external' })).toEqual([]);

  expect(await ask('/v1/observations', observationToken, number)).toBe(202);
  for (const path of ['/api/status', '/api/devices', '/api/events', '/metrics'])
    expect(await ask(path, observationToken), path).toBe(401);
  for (const path of ['/v1/devices/a/manifest', '/v1/devices/a/flags'])
    expect(await ask(path, observationToken), path).toBe(401);
  expect(await ask('/v1/devices/a/reports', observationToken, REPORT)).toBe(401);
  for (const proof of [{ token: observationToken }, { credential: observationToken }])
    expect(await ask('/v1/devices', observationToken, { id: 'd', publicKey, ...proof })).toBe(403);
  expect(await store.device('d' as DeviceId)).toBeUndefined();
});

describe('a device', () => {
  test('reads nothing of another one, and says nothing for it', async () => {
    const { service, store, tokenOf } = await createWorld();
    const paths = new Set(
      service.app.routes.map(({ path }) => path).filter((path) => path.startsWith('/v1/devices/:id')),
    );
    expect(paths.size).toBeGreaterThanOrEqual(3);
    const before = await store.device('b' as DeviceId);
    for (const path of paths)
      for (const method of ['GET', 'POST', 'PUT', 'DELETE'])
        for (const spelled of ['b', '%62', 'B', 'a/../b', 'a%2f..%2fb', 'b%00', 'a;b']) {
          const response = await service.app.request(path.replace(':id', spelled), {
            method,
            headers: { ...JSON_TYPE, Authorization: `Bearer ${await tokenOf('a')}` },
            ...(method === 'GET' ? {} : { body: JSON.stringify(REPORT) }),
          });
          const text = await response.text();
          expect(response.status, `${method} ${path} as ${spelled}`).toBeGreaterThanOrEqual(400);
          expect(text).not.toMatch(/^eyJ/);
        }
    expect(await store.device('b' as DeviceId)).toEqual(before);
    // The same words, from whom they are about.
    const own = await service.app.request('/v1/devices/b/reports', {
      method: 'POST',
      headers: { ...JSON_TYPE, Authorization: `Bearer ${await tokenOf('b')}` },
      body: JSON.stringify({ ...REPORT, bootId: 'own' }),
    });
    expect(own.status).toBe(202);
    expect(await store.device('b' as DeviceId)).not.toEqual(before);
  });
});
