import { Hono } from 'hono';
import { beforeEach, expect, test } from 'vitest';
import { type AppParts, createApp } from '../../src/http/app.ts';
import { createEventHub } from '../../src/http/events.ts';
import { createMetrics } from '../../src/http/metrics.ts';
import { createFleet, deviceApiOf, type Fleet, rolloutOf } from './fleet.ts';

let fleet: Fleet;
let errors: { error: Error; path: string; id: string }[];

beforeEach(async () => {
  fleet = createFleet();
  errors = [];
  await fleet.enrol('d1');
  fleet.commit('a', [rolloutOf('firmware')]);
  await fleet.settle();
});

function serverOf(over: Partial<AppParts> = {}) {
  return createApp({
    deviceApi: deviceApiOf(fleet),
    state: fleet.state,
    store: fleet.store,
    clock: fleet.clock,
    events: createEventHub(fleet.clock),
    metrics: createMetrics(fleet.state),
    requestId: () => 'fresh-id',
    onError: (error, { path, id }) => errors.push({ error, path, id }),
    ...over,
  });
}

test('every part answers, each on its own path', async () => {
  const app = serverOf();
  for (const path of ['/api/status', '/api/devices/d1', '/metrics', '/healthz', '/readyz', '/openapi.json']) {
    expect([path, (await app.request(path)).status]).toEqual([path, 200]);
  }
  expect((await app.request('/v1/devices/d1/manifest')).status).toBe(401);
});

test("nothing of the operators' API takes anything but GET and HEAD", async () => {
  const app = serverOf();
  const routes = app.routes.filter(({ method, path }) => method !== 'ALL' && !path.startsWith('/v1/'));
  expect(routes.length).toBeGreaterThan(9);
  expect(new Set(routes.map(({ method }) => method))).toEqual(new Set(['GET']));
  for (const { path } of routes) {
    const at = path.replace(/:\w+/, 'd1');
    expect((await app.request(at, { method: 'HEAD' })).status).toBeLessThan(500);
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
      const response = await app.request(at, { method });
      expect([at, method, response.status, response.headers.get('allow')]).toEqual([
        at,
        method,
        405,
        'GET, HEAD',
      ]);
      expect(response.headers.get('content-type')).toBe('application/problem+json');
    }
  }
});

test("devices' paths name the methods that they take", async () => {
  const app = serverOf();
  const allow = async (path: string, method: string) => {
    const response = await app.request(path, { method });
    expect(response.status).toBe(405);
    return response.headers.get('allow');
  };
  expect(await allow('/v1/devices', 'GET')).toBe('POST');
  expect(await allow('/v1/devices/d1/manifest', 'PUT')).toBe('GET, HEAD');
});

test('a path that is not there is a problem document, not a page', async () => {
  const response = await serverOf().request('/api/rollout');
  expect(response.status).toBe(404);
  expect(await response.json()).toMatchObject({
    type: 'https://tidegate.dev/problems/not-found',
    detail: 'nothing is served at /api/rollout',
  });
});

test('every answer carries the security headers and a request id, its own or the one it came with', async () => {
  const app = serverOf();
  for (const path of ['/healthz', '/nope', '/v1/devices/d1/manifest']) {
    const { headers } = await app.request(path);
    expect(headers.get('x-request-id')).toBe('fresh-id');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'");
  }
  const idFor = async (given: string) =>
    (await app.request('/healthz', { headers: { 'X-Request-Id': given } })).headers.get('x-request-id');
  expect(await idFor('trace-1.2=')).toBe('trace-1.2=');
  expect(await idFor('a b')).toBe('fresh-id');
  expect(await idFor('x'.repeat(129))).toBe('fresh-id');
});

test('another part may be added, and keeps the headers that it sets', async () => {
  const page = new Hono();
  page.get('/', (c) => c.html('<p>fleet</p>', 200, { 'Content-Security-Policy': "default-src 'self'" }));
  const response = await serverOf({ others: [page] }).request('/');
  expect(await response.text()).toBe('<p>fleet</p>');
  expect(response.headers.get('content-security-policy')).toBe("default-src 'self'");
  expect(response.headers.get('x-content-type-options')).toBe('nosniff');
});

test('an unexpected error is a 500 that says nothing of it, and is handed on', async () => {
  const store = {
    ...fleet.store,
    device: async (): Promise<never> => {
      throw new Error('password=hunter2');
    },
  };
  const response = await serverOf({ store }).request('/api/devices/d1');
  const text = await response.text();
  expect(response.status).toBe(500);
  expect(JSON.parse(text)).toMatchObject({ title: 'Tidegate failed', requestId: 'fresh-id' });
  expect(text).not.toContain('hunter2');
  expect(response.headers.get('x-request-id')).toBe('fresh-id');
  expect(errors).toEqual([
    {
      error: expect.objectContaining({ message: 'password=hunter2' }),
      path: '/api/devices/d1',
      id: 'fresh-id',
    },
  ]);
});

test("with an API token, the operators' API and the metrics want it and nothing else does", async () => {
  const app = serverOf({ apiToken: 'secret' });
  const status = async (path: string, authorization?: string) =>
    (
      await app.request(
        path,
        authorization === undefined ? {} : { headers: { Authorization: authorization } },
      )
    ).status;
  const guarded = [
    '/api/status',
    '/api/rollouts',
    '/api/devices/d1',
    '/api/events',
    '/api/nope',
    '/%61pi/status',
    '/metrics',
  ];
  for (const path of guarded) {
    expect([path, await status(path)]).toEqual([path, 401]);
    expect([path, await status(path, 'Bearer secre')]).toEqual([path, 401]);
    expect([path, await status(path, 'Bearer secrets')]).toEqual([path, 401]);
    expect([path, await status(path, 'Basic secret')]).toEqual([path, 401]);
    expect([path, await status(path, 'Bearer secret')]).toEqual([path, path === '/api/nope' ? 404 : 200]);
  }
  for (const path of ['/healthz', '/readyz', '/openapi.json']) expect(await status(path)).toBe(200);
  const refused = await app.request('/api/status', { headers: { Authorization: 'Bearer another' } });
  expect(refused.headers.get('www-authenticate')).toBe('Bearer realm="tidegate"');
});

test('requests are measured by the pattern of their route, also where they were refused', async () => {
  const app = serverOf({ apiToken: 'secret' });
  await app.request('/api/devices/d1');
  await app.request('/v1/devices/d1/manifest');
  await app.request('/v1/devices/d1/manifest', { method: 'PUT' });
  await app.request('/api/status', { method: 'PUT', headers: { Authorization: 'Bearer secret' } });
  await app.request('/nope');
  const response = await app.request('/metrics', { headers: { Authorization: 'Bearer secret' } });
  const lines = (await response.text())
    .split('\n')
    .filter((line) => line.startsWith('tidegate_http_requests_total{'));
  expect(lines.sort()).toEqual([
    'tidegate_http_requests_total{route="/api/*",status="4xx"} 1',
    'tidegate_http_requests_total{route="/api/devices/:id",status="4xx"} 1',
    'tidegate_http_requests_total{route="/v1/devices/:id/manifest",status="4xx"} 2',
    'tidegate_http_requests_total{route="unmatched",status="4xx"} 1',
  ]);
});
