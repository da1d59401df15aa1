/** Polls and reports that take the direct way are answered as the app answers them, whatever a client sends. */
import { once } from 'node:events';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DeviceRecord } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { type Instant, MINUTE, SECOND } from '../../src/core/model/time.ts';
import { createMemoryRepository } from '../../src/git/memory.ts';
import { withChanges } from '../../src/git/tree.ts';
import type { DirectRoute } from '../../src/http/direct-route.ts';
import { type Listener, listen } from '../../src/http/listen.ts';
import { createService, type Service } from '../../src/service.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { signDeviceToken } from '../../src/trust/device-token.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';

const NOW: Instant = Date.UTC(2026, 0, 1);
const IDS = ['lobby-1', 'lobby-2', "odd:@'+id", 'revoked'] as DeviceId[];
const FILES: Readonly<Record<string, string>> = {
  'fleet/fleet.yaml': 'apiVersion: tidegate.dev/v1\nkind: Fleet\nmetadata: {name: hvac}\nspec: {}\n',
  'fleet/devices/all.yaml':
    'apiVersion: tidegate.dev/v1\nkind: DeviceList\nmetadata: {name: all}\nspec:\n' +
    '  devices:\n    - {id: revoked, revoked: true}\n',
  'fleet/distribution-sets/app.yaml':
    'apiVersion: tidegate.dev/v1\nkind: DistributionSet\nmetadata: {name: app@1.0.0}\nspec:\n' +
    '  modules: [{name: app, version: 1.0.0, type: container, image: registry.example/app:1.0.0}]\n',
  'fleet/rollouts/app.yaml':
    'apiVersion: tidegate.dev/v1\nkind: Rollout\nmetadata: {name: app}\nspec:\n  owner: team\n' +
    "  distributionSet: app@1.0.0\n  targetCondition: deviceId = 'lobby-1'\n  priority: 1\n" +
    '  gates: {health: healthy}\n  stages: [{name: fleet, size: all}]\n',
};

/** A server of its own over a store of its own; both are asked the same, so both know the same. */
interface World {
  readonly service: Service;
  readonly listener: Listener;
  /** Requests that did not reach the app. */
  taken(): number;
}

const keys = await generateKeys();
const key = generateDeviceKey();
let direct: World;
let viaApp: World;
let tokens: readonly string[];
let etag: string;

beforeAll(async () => {
  direct = await createWorld((service) => service.direct);
  viaApp = await createWorld(() => () => false);
  const sign = (id: DeviceId, at = NOW) =>
    signDeviceToken({ id, fleet: 'hvac', privateKey: key.private, now: at, lifetimeMs: 5 * MINUTE });
  tokens = await Promise.all([
    ...IDS.map((id) => sign(id)),
    sign('nobody' as DeviceId),
    sign('lobby-1' as DeviceId, NOW - 60 * MINUTE),
  ]);
  const first = await exchange(direct, poll({ authorization: `Bearer ${tokens[0]}` }));
  await exchange(viaApp, poll({ authorization: `Bearer ${tokens[0]}` }));
  etag = String(first.headers['etag']);
  expect(etag).toMatch(/^"/);
});

afterAll(async () => {
  for (const world of [direct, viaApp]) {
    await world.listener.close();
    await world.service.close();
  }
});

async function createWorld(route: (service: Service) => DirectRoute): Promise<World> {
  const git = createMemoryRepository();
  const changes = new Map<string, { mode: string; oid: string }>();
  for (const [path, text] of Object.entries(FILES)) {
    changes.set(path, { mode: '100644', oid: await git.writeBlob(new TextEncoder().encode(text)) });
  }
  const tree = await withChanges(git, undefined, changes);
  const commit = await git.writeCommit({ tree, parents: [], message: 'All\n', at: NOW });
  await git.moveBranch({ branch: 'main', from: undefined, to: commit });
  const store = createMemoryStore({ epoch: 'e1' });
  const service = createService({
    git,
    store,
    keys,
    clock: { now: () => NOW, sleep: async () => {} },
    randomHex: () => 'ab'.repeat(16),
  });
  await store.updateDevices(IDS, (_before, index) => enrolled(IDS[index] as DeviceId));
  while ((await service.reconciler.pass()).again);
  let taken = 0;
  const listener = await listen(service.app, { host: '127.0.0.1', port: 0 }, (request, response) => {
    const isTaken = route(service)(request, response);
    taken += isTaken ? 1 : 0;
    return isTaken;
  });
  return { service, listener, taken: () => taken };
}

function enrolled(id: DeviceId): DeviceRecord {
  const { publicKey } = key;
  return { id, tags: {}, publicKey, serial: 1, enrolledAt: NOW, version: NOW / SECOND };
}

// Requests, as bytes

interface Sent {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer | undefined;
  readonly framing: 'length' | 'chunked';
}

function poll({ authorization }: { authorization: string }): Sent {
  const headers = [
    ['Host', 'fleet.example'],
    ['Authorization', authorization],
  ] as const;
  return {
    method: 'GET',
    target: '/v1/devices/lobby-1/manifest',
    headers,
    body: undefined,
    framing: 'length',
  };
}

function report(body: string | Buffer, over: readonly (readonly [string, string])[] = []): Sent {
  const headers = [
    ['Host', 'fleet.example'],
    ['Authorization', `Bearer ${tokens[0]}`],
    ['Content-Type', 'application/json'],
    ...over,
  ] as const;
  const target = '/v1/devices/lobby-1/reports';
  return { method: 'POST', target, headers, body: Buffer.from(body), framing: 'length' };
}

function bytesOf({ method, target, headers, body, framing }: Sent): Buffer {
  const lines = [`${method} ${target} HTTP/1.1`, ...headers.map(([name, value]) => `${name}: ${value}`)];
  lines.push('Connection: close');
  if (body === undefined) return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  if (framing === 'length') {
    const head = Buffer.from(
      `${[...lines, `Content-Length: ${body.length}`].join('\r\n')}\r\n\r\n`,
      'latin1',
    );
    return Buffer.concat([head, body]);
  }
  const head = Buffer.from(`${[...lines, 'Transfer-Encoding: chunked'].join('\r\n')}\r\n\r\n`, 'latin1');
  const chunk =
    body.length === 0 ? [] : [Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n')];
  return Buffer.concat([head, ...chunk, Buffer.from('0\r\n\r\n')]);
}

interface Received {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

async function exchange(world: World, sent: Sent): Promise<Received> {
  const { hostname, port } = new URL(world.listener.url);
  const socket = connect(Number(port), hostname);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  // An answer may come before the body has been sent; what is sent then is thrown back.
  socket.on('error', () => undefined);
  socket.write(bytesOf(sent));
  await once(socket, 'close');
  const text = Buffer.concat(chunks).toString().replace('HTTP/1.1 100 Continue\r\n\r\n', '');
  const end = text.indexOf('\r\n\r\n');
  const [statusLine = '', ...lines] = text.slice(0, end).split('\r\n');
  const headers = lines.map((line) => {
    const colon = line.indexOf(':');
    // How many requests came before is no difference.
    const value = line
      .slice(colon + 1)
      .trim()
      .replace(FRESH_ID, 'fresh');
    return [line.slice(0, colon).toLowerCase(), value] as const;
  });
  // Off a device's paths it is the real time.
  const compared = headers.filter(
    ([name, value]) => name !== 'date' || value === new Date(NOW).toUTCString(),
  );
  return {
    status: Number(statusLine.split(' ')[1]),
    headers: Object.fromEntries(compared),
    body: text.slice(end + 4),
  };
}

const FRESH_ID = /^(ab){16}-[0-9]+$/;

/** Both worlds answer alike; resolves with the answer. */
async function check(sent: Sent): Promise<Received> {
  const [here, there] = await Promise.all([exchange(direct, sent), exchange(viaApp, sent)]);
  expect(here, bytesOf(sent).toString('latin1')).toEqual(there);
  return here;
}

async function isTakenDirectly(sent: Sent): Promise<boolean> {
  const before = direct.taken();
  await check(sent);
  return direct.taken() === before + 1;
}

const REPORT = { bootId: 'b1', seq: 1, generation: 1, signals: { healthy: true } };

// What the two ways have in common

test('polls and reports that are spelled plainly do not reach the app', async () => {
  const authorization = `Bearer ${tokens[0]}`;
  expect(await isTakenDirectly(poll({ authorization }))).toBe(true);
  const plain = poll({ authorization });
  expect(await isTakenDirectly({ ...plain, headers: [...plain.headers, ['If-None-Match', etag]] })).toBe(
    true,
  );
  expect(await isTakenDirectly(report(JSON.stringify({ ...REPORT, seq: 1000 })))).toBe(true);
  expect(await isTakenDirectly({ ...plain, target: `${plain.target}?` })).toBe(false);
});

test('what is spelled otherwise is left to the app, and answered all the same', async () => {
  const plain = poll({ authorization: `Bearer ${tokens[0]}` });
  const body = JSON.stringify({ ...REPORT, seq: 1001 });
  const big = report(body.padEnd(70_000));
  for (const [sent, status] of [
    [{ ...plain, target: '/v1/devices/lobby%2D1/manifest' }, 200],
    [{ ...plain, target: '/v1/devices/./lobby-1/manifest' }, 200],
    [{ ...plain, target: '/v1/devices/lobby-1/manifest#part' }, 200],
    [{ ...plain, target: 'http://fleet.example/v1/devices/lobby-1/manifest' }, 200],
    [{ ...plain, method: 'HEAD' }, 200],
    [{ ...plain, method: 'POST' }, 405],
    [{ ...plain, headers: [...plain.headers, ['authorization', 'Bearer x']] }, 401],
    [{ ...plain, headers: [['Host', 'a b'], ...plain.headers.slice(1)] }, 400],
    [{ ...plain, headers: plain.headers.slice(1) }, 400],
    [{ ...report(body), framing: 'chunked' }, 202],
    [report(body, [['Content-Encoding', 'gzip']]), 415],
    [big, 413],
  ] as const) {
    const before = direct.taken();
    expect((await check(sent)).status, sent.target).toBe(status);
    expect(direct.taken(), sent.target).toBe(before);
  }
});

test('refusals are problem documents on the direct way too, with every header that answers have', async () => {
  const answer = await check(poll({ authorization: 'Bearer nonsense' }));
  expect(answer.status).toBe(401);
  expect(answer.headers).toMatchObject({
    'content-type': 'application/problem+json',
    'www-authenticate': 'Bearer realm="tidegate"',
    'x-content-type-options': 'nosniff',
    'x-request-id': expect.stringMatching(/./),
    date: new Date(NOW).toUTCString(),
  });
  expect(JSON.parse(answer.body)).toMatchObject({ status: 401 });
});

test('a report counts once, and its answer says so', async () => {
  const body = JSON.stringify({ ...REPORT, bootId: 'once', seq: 7 });
  expect(await check(report(body))).toMatchObject({ status: 202, body: '{"effect":"counted"}' });
  expect(await check(report(body))).toMatchObject({ status: 202, body: '{"effect":"duplicate"}' });
});

test('a body that breaks off leaves the server serving', async () => {
  const { hostname, port } = new URL(direct.listener.url);
  const socket = connect(Number(port), hostname);
  const whole = bytesOf(report(JSON.stringify({ ...REPORT, bootId: 'cut', seq: 1 })));
  socket.write(whole.subarray(0, whole.length - 10));
  const before = direct.taken();
  await expect.poll(() => direct.taken()).toBe(before + 1);
  socket.destroy();
  await once(socket, 'close');
  expect(await check(report(JSON.stringify({ ...REPORT, bootId: 'whole', seq: 1 })))).toMatchObject({
    status: 202,
  });
});

test('requests are counted by the same names, whichever way they take', async () => {
  for (const world of [direct, viaApp]) {
    const text = await (await world.service.app.request('/metrics')).text();
    const [manifest, reports] = ['manifest', 'reports'].map((what) =>
      text.includes(`tidegate_http_requests_total{route="/v1/devices/:id/${what}",status="2xx"}`),
    );
    expect([manifest, reports]).toEqual([true, true]);
    expect(text).toContain('tidegate_http_request_duration_seconds_count{route="/v1/devices/:id/manifest"}');
  }
});

// Whatever is sent: a plain poll or report, of which now and then a part is something else

const mostly = <T>(plain: fc.Arbitrary<T>, odd: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 10, arbitrary: plain }, { weight: 1, arbitrary: odd });
const text = (...texts: string[]) => fc.constantFrom(...texts);
const visible = fc.string({ unit: text(...'aZ09-_.,;:="*/ ~\u00e9'), maxLength: 20 });

function anyTarget(what: 'manifest' | 'reports'): fc.Arbitrary<string> {
  const prefix = mostly(
    text('/v1/devices/'),
    text(
      '//v1/devices/',
      '/V1/devices/',
      '/v1//devices/',
      '/v1/devices',
      'http://x.example/v1/devices/',
      '/x/../v1/devices/',
    ),
  );
  const oddId = text(
    '.',
    '..',
    '%2e',
    'lobby%2D1',
    'lobby-1%00',
    '%',
    '%zz',
    'x/..',
    '',
    'LOBBY-1',
    'a%2Fb',
    '__proto__',
  );
  const id = mostly(text(...IDS), fc.oneof(oddId, fc.webSegment()));
  const oddEnds = ['/', '?', '?a=b', '#x', '%20', '/..', 'x'].map((end) => `/${what}${end}`);
  const suffix = mostly(text(`/${what}`), text(...oddEnds, '/Manifest', '/manifest', '/reports', ''));
  return fc.tuple(prefix, id, suffix).map((parts) => parts.join(''));
}

const none = fc.constant<[string, string][]>([]);

/** A header that comes once, or now and then twice or not at all. */
function field(name: string, value: fc.Arbitrary<string>): fc.Arbitrary<[string, string][]> {
  const named = fc.tuple(text(name, name.toLowerCase(), name.toUpperCase()), value);
  return mostly(
    named.map((one) => [one]),
    fc.oneof(none, fc.array(named, { minLength: 2, maxLength: 2 })),
  );
}

function anyHeaders(what: 'manifest' | 'reports'): fc.Arbitrary<[string, string][]> {
  const bearer = text(...tokens.map((token) => `Bearer ${token}`));
  const oddBearer = fc.oneof(
    bearer.map((each) => `${each.replace('Bearer ', 'bearer   ')} `),
    text('Basic eDp5', 'Bearer', '', 'Bearer a.b.c'),
    visible,
  );
  const hosts = text(
    '127.0.0.1:8080',
    'Fleet.Example',
    '[::1]:80',
    'a b',
    '',
    'x:99999',
    'x:080',
    '999.1.1.1:80',
    'x@y',
  );
  const matching = fc.oneof(text(etag, `W/${etag}`, `"x", ${etag}`, '*', ' * ', '"x"', ''), visible);
  const types = text('Application/JSON; charset=utf-8', 'text/plain', '', 'application/json,text/plain');
  const ids = fc.oneof(text('abc-1', 'a b', 'x'.repeat(129)), visible);
  const rarely = (name: string, value: fc.Arbitrary<string>) => mostly(none, field(name, value));
  return fc
    .tuple(
      field('Host', mostly(text('fleet.example'), hosts)),
      field('Authorization', mostly(bearer, oddBearer)),
      field('Content-Type', mostly(text('application/json'), types)),
      what === 'manifest' ? fc.oneof(none, field('If-None-Match', matching)) : none,
      fc.oneof(none, field('X-Request-Id', ids)),
      rarely('Content-Encoding', text('identity', 'gzip')),
      rarely('Expect', text('cake', '100-continue')),
      rarely('Accept', visible),
    )
    .map((fields) => fields.flat());
}

function anyBody(what: 'manifest' | 'reports'): fc.Arbitrary<Buffer | undefined> {
  const counted = fc.record({
    bootId: text('b1', 'b2', 'b3'),
    seq: fc.nat({ max: 90 }),
    generation: fc.nat(),
  });
  const good = counted.map((body) => Buffer.from(JSON.stringify({ ...REPORT, ...body })));
  const odd = fc.oneof(
    fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value))),
    text('', '{', '{"bootId":1}', '\u00e9', ' '.repeat(70_000)).map((each) => Buffer.from(each)),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  );
  return what === 'manifest'
    ? mostly(fc.constant(undefined), odd)
    : mostly(good, fc.option(odd, { nil: undefined }));
}

test('whatever a client sends, both ways give the same answer and leave the same records', {
  timeout: 120_000,
}, async () => {
  const before = direct.taken();
  const sent = fc.constantFrom('manifest' as const, 'reports' as const).chain((what) =>
    fc.record<Sent>({
      method: mostly(
        text(what === 'manifest' ? 'GET' : 'POST'),
        text('GET', 'POST', 'HEAD', 'PUT', 'OPTIONS', 'DELETE'),
      ),
      target: anyTarget(what),
      headers: anyHeaders(what),
      body: anyBody(what),
      framing: mostly(fc.constant('length'), fc.constant('chunked')),
    }),
  );
  await fc.assert(
    fc.asyncProperty(sent, async (each) => void (await check(each))),
    { numRuns: 1500 },
  );
  expect(direct.taken() - before).toBeGreaterThan(300);
  expect(viaApp.taken()).toBe(0);
  const page = { limit: 100 };
  expect(await direct.service.store.devices(page)).toEqual(await viaApp.service.store.devices(page));
});
