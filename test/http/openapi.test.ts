import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import type { Census } from '../../src/core/model/census.ts';
import { ATTEMPT_STATES } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { createApp } from '../../src/http/app.ts';
import { censusApi } from '../../src/http/census-api.ts';
import { createEventHub } from '../../src/http/events.ts';
import { createMetrics } from '../../src/http/metrics.ts';
import { observationsApi } from '../../src/http/observations-api.ts';
import { openApiDocument } from '../../src/http/openapi.ts';
import { createRateLimit, OBSERVATION_RATE } from '../../src/http/rate-limit.ts';
import { selectionApi } from '../../src/http/selection-api.ts';
import { webhook } from '../../src/http/webhook.ts';
import { signDeviceToken } from '../../src/trust/device-token.ts';
import { mintEnrolmentToken } from '../../src/trust/enrolment.ts';
import { mintObservationToken } from '../../src/trust/observation-token.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';
import { createFleet, deviceApiOf, type Fleet, keys, oid, rolloutOf, START, stageOf } from './fleet.ts';
import { DELIVERIES, SECRET } from './webhook-deliveries.ts';

let fleet: Fleet;
let app: ReturnType<typeof createApp>;

beforeEach(() => {
  fleet = createFleet();
  app = createApp({
    deviceApi: deviceApiOf(fleet),
    state: fleet.state,
    store: fleet.store,
    clock: fleet.clock,
    events: createEventHub(fleet.clock),
    metrics: createMetrics(fleet.state),
    requestId: () => 'id',
    onError: (error) => {
      throw error;
    },
    others: [
      censusApi({ clock: fleet.clock, census: (at) => Promise.resolve(censusAt(at)) }),
      selectionApi({ state: fleet.state, select: fleet.select, clock: fleet.clock }),
      webhook({ secret: SECRET, clock: fleet.clock, onPush: () => undefined }),
      observationsApi({
        fleet: () => ({ name: 'hvac' }),
        program: () => fleet.state().published,
        keys,
        store: fleet.store,
        clock: fleet.clock,
        revoked: new Set(),
        rate: createRateLimit({ ...OBSERVATION_RATE, burst: 2000, perSecond: 0.001 }, 1),
        onCounted: () => undefined,
        fault: (error) => {
          throw error;
        },
      }),
    ],
  });
});

const censusAt = (at: number): Census => ({
  at,
  devices: 3,
  omitted: { serial: 6000 },
  rates: { crash: { incidents: 2, deviceHours: 480.5 } },
  cells: [{ tags: { product: 'kiosk' }, devices: 3 }],
});

// Schemas, with objects closed: a member that is not described is a mistake here, though clients are to ignore it.

const ajv = new Ajv2020({
  strict: true,
  strictRequired: false,
  allowUnionTypes: true,
  validateFormats: false,
});
for (const word of ['openapi', 'info', 'tags', 'paths', 'components']) ajv.addKeyword(word);
ajv.addSchema(closed(openApiDocument) as object, 'openapi');

function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return inner['type'] === 'object' && 'properties' in inner
    ? { additionalProperties: false, ...inner }
    : inner;
}

function validatorAt(...path: readonly string[]): ValidateFunction {
  const pointer = path
    .map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')))
    .join('/');
  const found = ajv.getSchema(`openapi#/${pointer}`);
  if (found === undefined) throw new Error(`the document has no schema at ${pointer}`);
  return found;
}

type Method = 'get' | 'post';

/** Asks the app, and holds the answer against the schema of its status and media type. */
async function check(template: string, path: string, init: RequestInit = {}): Promise<Response> {
  const method = (init.method ?? 'GET').toLowerCase() as Method;
  const response = await app.request(path, init);
  const described = openApiDocument.paths[template]?.[method]?.responses[String(response.status)];
  expect(described, `${method} ${template} ${response.status}`).toBeDefined();
  const media = response.headers.get('content-type')?.split(';')[0] ?? '';
  if (described?.content === undefined) {
    expect(media).toBe('');
    return response;
  }
  expect(Object.keys(described.content)).toEqual([media]);
  if (media === 'text/event-stream') return response;
  const text = await response.clone().text();
  const validate = validatorAt(
    'paths',
    template,
    method,
    'responses',
    String(response.status),
    'content',
    media,
    'schema',
  );
  const valid = validate(media.endsWith('json') ? JSON.parse(text) : text);
  expect(validate.errors ?? [], `${template}: ${text.slice(0, 2000)}`).toEqual([]);
  expect(valid).toBe(true);
  return response;
}

test('the document describes every route of the app, and no other', async () => {
  const served = app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`);
  const described = Object.entries(openApiDocument.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(described.sort()).toEqual([...new Set(served)].sort());
});

test('it is served as it is written, and every reference and path parameter in it resolves', async () => {
  const response = await app.request('/openapi.json');
  expect(await response.json()).toEqual(JSON.parse(JSON.stringify(openApiDocument)));
  for (const name of Object.keys(openApiDocument.components.schemas))
    validatorAt('components', 'schemas', name);
  const text = JSON.stringify(openApiDocument);
  const used = new Set([...text.matchAll(/#\/components\/schemas\/(\w+)/g)].map(([, name]) => name));
  expect([...used].sort()).toEqual(Object.keys(openApiDocument.components.schemas).sort());
  const operations = Object.entries(openApiDocument.paths).flatMap(([path, item]) =>
    Object.values(item).map((operation) => ({ path, operation })),
  );
  for (const { path, operation } of operations) {
    const inPath = (operation.parameters ?? [])
      .filter((each) => each['in'] === 'path')
      .map((each) => each['name']);
    expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
  }
  expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length);
});

test('answers of an empty server are as described', async () => {
  for (const path of [
    '/api/status',
    '/api/rollouts',
    '/api/snapshots',
    '/api/devices',
    '/api/census',
    '/healthz',
    '/readyz',
    '/metrics',
  ]) {
    await check(path, path);
  }
  await check('/api/devices/{id}', '/api/devices/d1');
});

test('answers of a fleet with attempts that passed, failed and ramp are as described', async () => {
  const first = rolloutOf('firmware', {
    runbook: 'https://wiki.example/hvac',
    labels: { team: 'hvac' },
    stages: [stageOf('fleet', { kind: 'all' }, { soakMs: 0 })],
  });
  for (const id of ['d1', 'd2', 'd3', 'd4']) await fleet.enrol(id);
  fleet.commit('a', [first]);
  await fleet.settle();
  for (const id of ['d1', 'd2', 'd3', 'd4']) {
    await fleet.report(id, {
      running: first.revision,
      signals: { runtime_healthy: true, gap: '3s' },
      exposureHours: 1,
    });
  }
  await fleet.settle();
  const second = rolloutOf('firmware', {
    version: '2.7.0',
    stages: [
      stageOf('canary', { kind: 'count', count: 3 }, { rampMs: HOUR }),
      stageOf('fleet', { kind: 'all' }),
    ],
  });
  fleet.advance(HOUR);
  fleet.commit('b', [second, rolloutOf('manual', { start: { kind: 'manual' }, priority: 1 })]);
  await fleet.settle();
  fleet.advance(2 * HOUR);
  await fleet.settle();
  for (const id of ['d1', 'd2', 'd3', 'd4']) {
    const failed = { revision: second.revision, state: 'failed', category: 'boot', message: 'no' } as const;
    await fleet.report(id, { running: first.revision, attempt: failed });
  }
  await fleet.report('d1', { running: first.revision, signals: { runtime_healthy: true } });

  const select = (body: object) =>
    check('/api/rollouts/{name}/selection', '/api/rollouts/manual/selection', {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json' },
    });
  const ask = async () => {
    for (const body of [
      { stage: 'a', size: '2', list: true },
      { stage: 'a', size: 'all', ids: ['d1', 'nobody'] },
      { stage: 'a', size: '10 sites' },
      { stage: 'a', size: '1', where: 'tags' },
      { stage: 'a' },
    ])
      await select(body);
    for (const path of ['/api/status', '/api/rollouts', '/api/snapshots', '/api/devices', '/readyz'])
      await check(path, path);
    await check('/api/devices', '/api/devices?rollout=firmware&limit=2');
    await check('/api/devices', '/api/devices?limit=x');
    await check('/api/rollouts', '/api/rollouts?state=x');
    await check('/api/rollouts/{name}', '/api/rollouts/firmware');
    await check('/api/rollouts/{name}', '/api/rollouts/manual');
    await check('/api/rollouts/{name}', '/api/rollouts/nope');
    await check('/api/devices/{id}', '/api/devices/d1');
    await check('/api/devices/{id}', '/api/devices/d2');
    await check('/api/devices/{id}', '/api/devices/nope');
    await check('/openapi.json', '/openapi.json');
    await (await check('/api/events', '/api/events')).body?.cancel();
  };
  await ask();
  await fleet.settle();
  // By now the attempt was rolled back.
  expect(await (await app.request('/api/rollouts/firmware')).json()).toMatchObject({ state: 'rolledBack' });
  await ask();
});

test('what a device asks and is answered is as described, from enrolment to report', async () => {
  fleet.commit('a', [rolloutOf('firmware')]);
  await fleet.settle();
  const key = generateDeviceKey();
  const now = fleet.clock.now();
  const token = await mintEnrolmentToken(keys, {
    fleet: 'hvac',
    tags: { product: 'thermostat' },
    expiresAt: now + HOUR,
    now,
  });
  const json = { 'Content-Type': 'application/json' };
  const post = (path: string, template: string, body: unknown, headers: Record<string, string> = {}) =>
    check(template, path, { method: 'POST', body: JSON.stringify(body), headers: { ...json, ...headers } });
  const enrolment = { id: 'lobby-1', publicKey: key.publicKey, token };
  expect((await post('/v1/devices', '/v1/devices', enrolment)).status).toBe(201);
  expect((await post('/v1/devices', '/v1/devices', enrolment)).status).toBe(200);
  expect((await post('/v1/devices', '/v1/devices', { publicKey: 'x' })).status).toBe(400);
  expect((await post('/v1/devices', '/v1/devices', { ...enrolment, token: 'x' })).status).toBe(403);
  expect((await post('/v1/devices', '/v1/devices', {}, { 'Content-Type': 'text/plain' })).status).toBe(415);
  const other = { ...enrolment, publicKey: generateDeviceKey().publicKey };
  expect((await post('/v1/devices', '/v1/devices', other)).status).toBe(409);
  expect((await post('/v1/devices', '/v1/devices', { x: 'x'.repeat(20_000) })).status).toBe(413);

  await fleet.settle();
  const claims = {
    id: 'lobby-1' as DeviceId,
    fleet: 'hvac',
    privateKey: key.private,
    now,
    lifetimeMs: 5 * MINUTE,
  };
  const bearer = { Authorization: `Bearer ${await signDeviceToken(claims)}` };
  const manifest = '/v1/devices/{id}/manifest';
  const first = await check(manifest, '/v1/devices/lobby-1/manifest', { headers: bearer });
  expect(first.status).toBe(200);
  const etag = first.headers.get('etag') ?? '';
  const again = { headers: { ...bearer, 'If-None-Match': etag } };
  expect((await check(manifest, '/v1/devices/lobby-1/manifest', again)).status).toBe(304);
  expect((await check(manifest, '/v1/devices/lobby-1/manifest')).status).toBe(401);
  expect((await check(manifest, '/v1/devices/lobby-2/manifest', { headers: bearer })).status).toBe(403);

  const flags = '/v1/devices/{id}/flags';
  const all = await check(flags, '/v1/devices/lobby-1/flags', { headers: bearer });
  const known = { headers: { ...bearer, 'If-None-Match': all.headers.get('etag') ?? '' } };
  expect([all.status, (await check(flags, '/v1/devices/lobby-1/flags', known)).status]).toEqual([200, 304]);
  expect((await check(flags, '/v1/devices/lobby-1/flags')).status).toBe(401);
  expect((await check(flags, '/v1/devices/lobby-2/flags', { headers: bearer })).status).toBe(403);

  const reports = '/v1/devices/{id}/reports';
  const report = {
    bootId: 'b',
    seq: 1,
    generation: 1,
    signals: { gap: '3.2s', drops: 0, ok: true },
    events: { crash: 0 },
  };
  const validReport = validatorAt('components', 'schemas', 'Report');
  expect(validReport(report)).toBe(true);
  expect((await post('/v1/devices/lobby-1/reports', reports, report, bearer)).status).toBe(202);
  expect((await post('/v1/devices/lobby-1/reports', reports, { seq: -1 }, bearer)).status).toBe(400);
  fleet.set({ published: undefined });
  expect((await check(manifest, '/v1/devices/lobby-1/manifest', { headers: bearer })).status).toBe(503);
});

test('what forges are answered is as described', async () => {
  const { headers, body } = DELIVERIES.GitHub(START);
  const send = (over: { headers?: Record<string, string>; body?: Buffer<ArrayBuffer> }) =>
    check('/webhooks/git', '/webhooks/git', { method: 'POST', headers, body, ...over });
  expect((await send({})).status).toBe(202);
  expect((await send({ headers: { ...headers, 'X-GitHub-Event': 'ping' } })).status).toBe(204);
  expect((await send({ headers: {} })).status).toBe(401);
  expect((await send({ headers: { ...headers, 'Content-Length': '26214401' } })).status).toBe(413);
});

test('what is said to whoever posts numbers is as described, and the document takes what the server takes', async () => {
  const now = fleet.clock.now();
  const token = await mintObservationToken(keys, {
    id: 'support',
    metrics: ['support-tickets'],
    units: { 'support-tickets': 'tickets' },
    fleet: 'hvac',
    expiresAt: now + HOUR,
    now,
  });
  const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` };
  const post = async (body: unknown, over: Record<string, string> = {}) => {
    const init = { method: 'POST', body: JSON.stringify(body), headers: { ...headers, ...over } };
    return (await check('/v1/observations', '/v1/observations', init)).status;
  };
  const one = { metric: 'support-tickets', value: 1 };
  expect(await post(one)).toBe(503);
  fleet.commit('a', []);
  await fleet.settle();
  const described = validatorAt('components', 'schemas', 'Observations');
  for (const [body, status] of [
    [one, 202],
    [{ ...one, id: 'T-1', at: '2026-11-21T08:00:00Z', unit: 'tickets' }, 202],
    [{ observations: [one, { ...one, id: 'T-1' }] }, 202],
    [{ observations: [] }, 400],
    [{ observations: [one], value: 1 }, 400],
    [{ ...one, value: '1' }, 400],
    [{ ...one, value: -1 }, 400],
    [{ ...one, id: '' }, 400],
    [{ ...one, at: 'now' }, 400],
    [{ ...one, more: 1 }, 400],
    [[one], 400],
  ] as const) {
    expect(await post(body), JSON.stringify(body)).toBe(status);
    expect(described(body), JSON.stringify(body)).toBe(status === 202);
  }
  expect(await post({ ...one, metric: 'crashes' })).toBe(403);
  expect(await post(one, { Authorization: 'Bearer x' })).toBe(401);
  expect(await post(one, { 'Content-Type': 'text/plain' })).toBe(415);
  expect(await post({ ...one, id: 'x'.repeat(300_000) })).toBe(413);
  const many = { observations: Array.from({ length: 1000 }, () => one) };
  expect([await post(many), await post(many)]).toEqual([202, 429]);
});

test('the document takes exactly the reports that the server takes', async () => {
  fleet.commit('a', []);
  await fleet.settle();
  const key = generateDeviceKey();
  await fleet.enrol('d1');
  await fleet.store.updateDevices(['d1' as DeviceId], (before) =>
    before === undefined ? undefined : { ...before, publicKey: key.publicKey },
  );
  const now = fleet.clock.now();
  const claims = {
    id: 'd1' as DeviceId,
    fleet: 'hvac',
    privateKey: key.private,
    now,
    lifetimeMs: 5 * MINUTE,
  };
  const headers = {
    Authorization: `Bearer ${await signDeviceToken(claims)}`,
    'Content-Type': 'application/json',
  };
  const described = validatorAt('components', 'schemas', 'Report');

  const revision = fc.constantFrom(`sha256:${'0'.repeat(64)}`, `sha256:${'0'.repeat(63)}`, oid('0'), 5);
  const name = fc.constantFrom('gap', 'a.b-c_d', '9', '', 'x'.repeat(64), 'x'.repeat(65));
  const count = fc.constantFrom<unknown>(0, 1, 2 ** 53 - 1, 2 ** 53, -1, 0.5, '1', null);
  const text = fc.constantFrom('', 'plain', 'a\u0000b', 'x'.repeat(256), 'x'.repeat(257), 'x'.repeat(2049));
  const report = fc.record(
    {
      bootId: fc.constantFrom('b', '', 'a b', 'x'.repeat(64), 'x'.repeat(65)),
      seq: count,
      generation: count,
      running: revision,
      attempt: fc.record(
        {
          revision,
          state: fc.constantFrom<unknown>(...ATTEMPT_STATES, 'fine'),
          category: name,
          message: text,
          more: count,
        },
        { requiredKeys: [] },
      ),
      signals: fc.dictionary(
        name,
        fc.oneof(text, fc.boolean(), fc.double({ noNaN: true }), fc.constant(null)),
        {
          maxKeys: 3,
        },
      ),
      exposureHours: fc.constantFrom<unknown>(0, 0.25, 24, 24.5, -1, '1'),
      events: fc.dictionary(name, count, { maxKeys: 3 }),
      more: fc.constant(1),
    },
    { requiredKeys: [] },
  );
  // Most reports go wrong somewhere: start from one that is right and change one member.
  const right = { bootId: 'b', seq: 1, generation: 1 };
  const nearly = fc
    .tuple(
      report,
      fc.constantFrom(
        'bootId',
        'seq',
        'generation',
        'running',
        'attempt',
        'signals',
        'exposureHours',
        'events',
        'more',
      ),
    )
    .map(([values, member]) => ({
      ...right,
      ...(member in values ? { [member]: values[member as 'seq'] } : {}),
    }));
  await fc.assert(
    fc.asyncProperty(fc.oneof(nearly, report), async (given) => {
      const body = JSON.stringify(given);
      const { status } = await app.request('/v1/devices/d1/reports', { method: 'POST', headers, body });
      expect([202, 400]).toContain(status);
      expect(described(JSON.parse(body))).toBe(status === 202);
    }),
    { numRuns: 500 },
  );
});
