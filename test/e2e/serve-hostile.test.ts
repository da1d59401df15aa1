/** What strangers, broken devices and slow clients can do to a server over its socket: get an answer that says what is wrong. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { createDeviceClient } from '../../src/agent/device-client.ts';
import { systemClock } from '../../src/clock.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { HOUR, MINUTE, SECOND } from '../../src/core/model/time.ts';
import { LISTENERS_MAX } from '../../src/http/events.ts';
import { signDeviceToken } from '../../src/trust/device-token.ts';
import { kiosk, rollout } from '../simulation/fleet-files.ts';
import {
  bareRepository,
  createDevices,
  type Device,
  eventually,
  FLEET_NAME,
  type Server,
  type Status,
  startServer,
  stepAll,
} from './serving.ts';

const TIMEOUT = { timeout: 120_000 };
const TOKEN = 'operators-only';

test(
  'before its first program a server refuses no device for good: all are told to come back later',
  TIMEOUT,
  async () => {
    const place = await bareRepository();
    const server = await startServer({ ...place, branch: 'not-yet' });
    const [device] = await createDevices(place, { ids: ['early'], url: () => server.url });
    expect(await (device as Device).client.poll()).toEqual({
      kind: 'unreachable',
      message: 'the fleet repository has not been read yet; try again later',
      retryAfterSeconds: 10,
    });
  },
);

test(
  'what is no request, or one for another path, method or size, is answered with a problem document',
  TIMEOUT,
  async () => {
    const { server } = await served();
    const host = 'Host: fleet\r\nConnection: close\r\n';
    const json = `${host}Content-Type: application/json\r\n`;
    const id = '/api/devices/';
    const given: readonly (readonly [sent: string | Buffer, status: number, code: string])[] = [
      ['nonsense\r\n\r\n', 400, 'malformed-request'],
      [`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, 400, 'malformed-request'],
      [`FROB /healthz HTTP/1.1\r\n${host}\r\n`, 400, 'malformed-request'],
      [`GET /healthz HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n`, 400, 'malformed-request'],
      [`GET ftp://x/ HTTP/1.1\r\n${host}\r\n`, 400, 'malformed-request'],
      [`GET http://[/ HTTP/1.1\r\n${host}\r\n`, 400, 'malformed-request'],
      [`GET /api\\devices HTTP/1.1\r\n${host}\r\n`, 400, 'malformed-request'],
      [Buffer.from(`GET ${id}\xff HTTP/1.1\r\n${host}\r\n`, 'latin1'), 400, 'malformed-request'],
      // Two ways to say where the body ends are a way to smuggle a request past a proxy.
      [
        `POST /v1/devices HTTP/1.1\r\n${json}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        400,
        'malformed-request',
      ],
      [
        `POST /v1/devices HTTP/1.1\r\n${json}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef`,
        400,
        'malformed-request',
      ],
      [
        `POST /v1/devices HTTP/1.1\r\n${json}Transfer-Encoding: chunked\r\n\r\nnothex\r\n`,
        400,
        'malformed-request',
      ],
      [`GET /healthz HTTP/1.1\r\n${host}X: ${'x'.repeat(17_000)}\r\n\r\n`, 431, 'headers-too-large'],
      [`GET /${'x'.repeat(17_000)} HTTP/1.1\r\n${host}\r\n`, 431, 'headers-too-large'],
      [`POST /v1/devices HTTP/1.1\r\n${json}Content-Length: 99999999999\r\n\r\n{`, 413, 'body-too-large'],
      [
        `POST /v1/devices HTTP/1.1\r\n${json}Content-Length: 17000\r\n\r\n${'x'.repeat(17_000)}`,
        413,
        'body-too-large',
      ],
      [
        `POST /v1/devices HTTP/1.1\r\n${json}Transfer-Encoding: chunked\r\n\r\n5000\r\n${'x'.repeat(0x5000)}\r\n0\r\n\r\n`,
        413,
        'body-too-large',
      ],
      [`POST /v1/devices HTTP/1.1\r\n${host}Content-Length: 2\r\n\r\n{}`, 415, 'not-json'],
      [
        `POST /v1/devices HTTP/1.1\r\n${json}Content-Length: 2\r\nExpect: cake\r\n\r\n{}`,
        400,
        'invalid-body',
      ],
      [
        `POST /v1/devices HTTP/1.1\r\n${json}Content-Length: 9000\r\n\r\n${'['.repeat(9000)}`,
        400,
        'invalid-json',
      ],
      [`TRACE /healthz HTTP/1.1\r\n${host}\r\n`, 405, 'method-not-allowed'],
      [`OPTIONS /v1/devices HTTP/1.1\r\n${host}\r\n`, 405, 'method-not-allowed'],
      [`DELETE /v1/devices/a/manifest HTTP/1.1\r\n${host}\r\n`, 405, 'method-not-allowed'],
      [`GET /../../etc/passwd HTTP/1.1\r\n${host}\r\n`, 404, 'not-found'],
      [`GET /v1/devices/a/../../../healthz/x HTTP/1.1\r\n${host}\r\n`, 404, 'not-found'],
      [`GET //healthz HTTP/1.1\r\n${host}\r\n`, 404, 'not-found'],
      ...['%2e%2e', '%2e%2e%2fstatus', '%00', '%zz', '%ff%fe', '__proto__', 'x'.repeat(8000)].flatMap(
        (name) => [
          [
            `GET ${id}${name} HTTP/1.1\r\n${host}Authorization: Bearer ${TOKEN}\r\n\r\n`,
            404,
            'not-found',
          ] as const,
          [
            `GET /api/rollouts/${name} HTTP/1.1\r\n${host}Authorization: Bearer ${TOKEN}\r\n\r\n`,
            404,
            'not-found',
          ] as const,
        ],
      ),
      [
        `GET /v1/devices/%00/manifest HTTP/1.1\r\n${host}Authorization: Bearer x.y.z\r\n\r\n`,
        401,
        'token-malformed',
      ],
      [`GET /api/status HTTP/1.1\r\n${host}\r\n`, 401, 'api-token-refused'],
    ];
    for (const [sent, status, code] of given) {
      const what = sent.toString('latin1').slice(0, 80);
      const answer = parseAnswer(await exchange(server, sent));
      expect({ what, status: answer.status, type: answer.headers['content-type'] }).toEqual({
        what,
        status,
        type: 'application/problem+json',
      });
      expect(answer.problem, what).toMatchObject({
        type: `https://tidegate.dev/problems/${code}`,
        status,
        detail: expect.stringMatching(/./),
        next: expect.stringMatching(/./),
      });
    }
    await checkUnharmed(server);
  },
);

test(
  'HEAD has no body, HTTP/1.0 needs no Host, and pipelined requests are answered in order',
  TIMEOUT,
  async () => {
    const { server } = await served();
    const head = await exchange(
      server,
      'HEAD /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    );
    expect(head.split('\r\n\r\n')).toEqual([expect.stringMatching(/^HTTP\/1\.1 200 OK/), '']);
    expect(await exchange(server, 'GET /healthz HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    const paths = Array.from({ length: 200 }, (_, index) =>
      index % 2 === 0 ? '/healthz' : `/nowhere/${index}`,
    );
    const pipeline = paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join('');
    const text = await exchange(
      server,
      `${pipeline}GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    const bodies = Array.from(text.matchAll(/\r\n\r\n(ok\n|\{.*?\})/g), ([, body]) => body);
    expect(bodies).toHaveLength(201);
    for (const [index, path] of paths.entries()) {
      expect(bodies[index]).toContain(path === '/healthz' ? 'ok' : `nothing is served at ${path}`);
    }
  },
);

test(
  'clients that dribble their headers, their body or nothing at all are cut off, and others are served meanwhile',
  TIMEOUT,
  async () => {
    const { server, devices } = await served();
    const slow = ['', 'GET /', 'GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: '].flatMap((start) =>
      Array.from({ length: 30 }, () => dribble(server, start)),
    );
    await stepAll(devices);
    const startedAt = systemClock.now();
    const answers = await Promise.all(slow);
    // Ten seconds for the headers, and two until that is looked at; a busy machine gets as much again.
    expect(systemClock.now() - startedAt).toBeLessThan(24 * SECOND);
    for (const answer of answers) {
      expect(parseAnswer(answer)).toMatchObject({
        status: 408,
        problem: { type: 'https://tidegate.dev/problems/request-too-slow' },
      });
    }
    await stepAll(devices);
    await checkUnharmed(server);
  },
);

test(
  'sixty-four may listen to events and one more may not; when one leaves there is room again',
  TIMEOUT,
  async () => {
    const { server } = await served();
    const headers = { Authorization: `Bearer ${TOKEN}` };
    const controllers = Array.from({ length: LISTENERS_MAX }, () => new AbortController());
    onTestFinished(() => {
      for (const controller of controllers) controller.abort();
    });
    const listen = (signal?: AbortSignal) =>
      fetch(`${server.url}/api/events`, { headers, ...(signal === undefined ? {} : { signal }) });
    for (const { signal } of controllers) expect((await listen(signal)).status).toBe(200);
    const refused = await listen();
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('15');
    expect(await refused.json()).toMatchObject({ type: 'https://tidegate.dev/problems/too-many-listeners' });

    controllers[0]?.abort();
    controllers.push(new AbortController());
    await eventually(
      'there is room again',
      async () => (await listen(controllers.at(-1)?.signal)).status === 200,
    );
    await checkUnharmed(server);
  },
);

test(
  'a token that is forged, of another device or from a wrong clock is refused with the reason, by how much the clock is off too, and a replayed report counts once',
  TIMEOUT,
  async () => {
    const { server, devices } = await served();
    const [own, other] = devices as readonly [Device, Device];
    const now = systemClock.now();
    const sign = (token: {
      id?: DeviceId;
      now?: number;
      lifetimeMs?: number;
      fleet?: string;
      key?: Device['key'];
    }) =>
      signDeviceToken({
        id: token.id ?? own.id,
        fleet: token.fleet ?? FLEET_NAME,
        privateKey: (token.key ?? own.key).private,
        now: token.now ?? now,
        lifetimeMs: token.lifetimeMs ?? 5 * MINUTE,
      });
    const poll = async (token: string) => {
      const answer = await fetch(`${server.url}/v1/devices/${own.id}/manifest`, {
        headers: { Authorization: `Bearer ${token}` },
      });
      const { type, detail } = (await answer.json()) as { type: string; detail: string };
      return { status: answer.status, code: type.split('/').at(-1), detail };
    };
    const [header, claims, signature] = (await sign({})).split('.');
    for (const [token, status, code, detail] of [
      ['x', 401, 'token-malformed', /./],
      ['x'.repeat(10_000), 401, 'token-malformed', /./],
      [`${header}.${claims}.`, 401, 'token-', /./],
      [
        `${header}.${claims}.${signature?.replace(/^./, (first) => (first === 'A' ? 'B' : 'A'))}`,
        401,
        'token-bad-signature',
        /./,
      ],
      [await sign({ key: other.key }), 401, 'token-bad-signature', /./],
      [await sign({ id: other.id, key: other.key }), 403, 'other-device', /device "b"/],
      [await sign({ id: 'nobody' as DeviceId }), 401, 'unknown-device', /"nobody"/],
      [await sign({ fleet: 'elsewhere' }), 401, 'token-wrong-audience', /"elsewhere"/],
      [await sign({ lifetimeMs: HOUR }), 401, 'token-too-long-lived', /10m/],
      [await sign({ now: now - 3 * HOUR }), 401, 'token-expired', /3h.*behind/],
      [await sign({ now: now + 2 * HOUR }), 401, 'token-not-yet-valid', /(2h|1h59m\S*) ahead/],
    ] as const) {
      const answer = await poll(token);
      expect(answer.status, answer.detail).toBe(status);
      expect(answer.code).toContain(code);
      expect(answer.detail).toMatch(detail);
    }

    // What one device may send counts once, however often and by however many connections it is sent.
    const report = {
      bootId: 'replayed',
      seq: 1,
      generation: 1,
      signals: {},
      exposureHours: 24,
      events: { crash: 1 },
    };
    const replays = await Promise.all(Array.from({ length: 50 }, () => own.client.report(report)));
    const effects = replays.map((sent) => (sent.kind === 'accepted' ? sent.effect : sent.kind));
    expect(effects.toSorted()).toEqual(['counted', ...Array.from({ length: 49 }, () => 'duplicate')]);

    // A device that has lost its clock learns the time from the refusal, and is served once it has set it.
    const clock = { ...systemClock, now: () => systemClock.now() - 30 * 24 * HOUR + skewMs };
    let skewMs = 0;
    const memory = own.client.memory();
    const lost = createDeviceClient({
      server: server.url,
      fleet: FLEET_NAME,
      key: own.key,
      ...(memory === undefined ? {} : { memory }),
      fetch,
      clock,
    });
    const refusal = await lost.poll();
    expect(refusal).toMatchObject({ kind: 'refused', code: 'token-expired', serverTime: expect.any(Number) });
    if (refusal.kind === 'refused' && refusal.by === 'server')
      skewMs = (refusal.serverTime ?? 0) - clock.now();
    expect((await lost.poll()).kind).toMatch(/^(assigned|unchanged)$/);
  },
);

test('a hundred rollouts are scraped in full, and names of strangers make no series', TIMEOUT, async () => {
  const { place, server } = await served();
  const names = Array.from({ length: 100 }, (_, index) => `fleet-${index}`);
  await place.commit('Many rollouts', {
    ...kiosk('2.0.0'),
    ...Object.assign({}, ...names.map((name) => rollout('2.0.0', { priority: '1' }, name))),
  });
  await place.git('push', '--quiet');
  const head = await place.git('rev-parse', 'HEAD');
  const headers = { Authorization: `Bearer ${TOKEN}` };
  await eventually('the rollouts are in force', async () => {
    const status = (await (await fetch(`${server.url}/api/status`, { headers })).json()) as Status;
    return status.commit === head;
  });
  for (const path of ['/x', '/y', '/v1/devices/z/manifest']) await (await fetch(server.url + path)).text();
  expect((await fetch(`${server.url}/metrics`)).status).toBe(401);
  const text = await (await fetch(`${server.url}/metrics`, { headers })).text();
  const series = (name: string) => text.split('\n').filter((line) => line.startsWith(`${name}{`));
  // Ten states of each, with the rollout of the first release; one of them holds.
  expect(series('tidegate_rollout_state')).toHaveLength(101 * 10);
  expect(series('tidegate_rollout_state').filter((line) => line.endsWith(' 1'))).toHaveLength(101);
  expect(text).not.toMatch(/"\/[xy]"|devices\/z/);
});

test(
  'what is refused leaves nothing behind: a heap of 64 megabytes takes more than that of it',
  TIMEOUT,
  async () => {
    const { server, devices } = await served({ NODE_OPTIONS: '--max-old-space-size=64' });
    const [{ id, key }] = devices as readonly [Device];
    const now = systemClock.now();
    const token = await signDeviceToken({
      id,
      fleet: FLEET_NAME,
      privateKey: key.private,
      now,
      lifetimeMs: 5 * MINUTE,
    });
    const send = (path: string, authorization: string, body?: unknown) =>
      fetch(server.url + path, {
        headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${authorization}` },
        ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
      });
    for (let round = 0; round < 40; round++) {
      const refused = Array.from({ length: 20 }, (_, index) => [
        send(`/v1/devices/${id}/reports`, token, { [`${round}-${index}`]: 'x'.repeat(60_000) }),
        send('/v1/devices', '', { publicKey: `${round}-${index}-${'x'.repeat(16_000)}` }),
        send(`/v1/devices/${round}-${index}/manifest`, `${round}-${index}-${'x'.repeat(8000)}`),
      ]).flat();
      for (const answer of await Promise.all(refused)) {
        // One device that sends all the time is told to wait.
        expect([400, 401, 429]).toContain(answer.status);
        await answer.arrayBuffer();
      }
    }
    const mayAsk = async () => (await send(`/v1/devices/${id}/manifest`, token)).status === 200;
    await eventually(
      'the device may ask again',
      async () => (await mayAsk()) && (await mayAsk()) && (await mayAsk()),
    );
    await stepAll(devices);
    await checkUnharmed(server);
  },
);

test(
  'listening beyond this machine needs a token for operators, and devices need none of it',
  TIMEOUT,
  async () => {
    const place = await bareRepository();
    const server = await startServer({ ...place, listen: '0.0.0.0:0', env: { TIDEGATE_API_TOKEN: TOKEN } });
    const url = server.url.replace('0.0.0.0', '127.0.0.1');
    const [device] = await createDevices(place, { ids: ['a'], url: () => url });
    await eventually(
      'the device is told something',
      async () => 'assignment' in (await (device as Device).client.poll()),
    );
    for (const path of ['/api/status', '/api/events', '/api/devices', '/metrics']) {
      expect((await fetch(url + path)).status, path).toBe(401);
      expect((await fetch(url + path, { headers: { Authorization: 'Bearer wrong' } })).status, path).toBe(
        401,
      );
    }
    const headers = { Authorization: `Bearer ${TOKEN}` };
    expect((await fetch(`${url}/api/status`, { headers })).status).toBe(200);
    for (const path of ['/healthz', '/readyz', '/openapi.json'])
      expect((await fetch(url + path)).status, path).toBe(200);
  },
);

// ---- The server and its clients -----------------------------------------------------------------------------------

/** A server whose operators' API is protected, and two devices that it has served. */
async function served(env: Readonly<Record<string, string>> = {}) {
  const place = await bareRepository();
  const server = await startServer({ ...place, env: { TIDEGATE_API_TOKEN: TOKEN, ...env } });
  const devices = await createDevices(place, { ids: ['a', 'b'], url: () => server.url });
  await eventually('it is ready', async () => (await fetch(`${server.url}/readyz`)).ok);
  await stepAll(devices);
  return { place, server, devices };
}

/** It runs, answers, and has logged no fault of its own. */
async function checkUnharmed(server: Server): Promise<void> {
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  expect(server.log()).not.toMatch(/request failed|Error|at .*\.ts:/);
}

/** Sends bytes on a connection of its own, and resolves with all that comes back until it is closed. */
async function exchange(server: Server, sent: string | Buffer): Promise<string> {
  return await answerOn(server, (socket) => socket.write(sent));
}

/** Begins a request and goes on with a byte now and then, for ever. */
async function dribble(server: Server, start: string): Promise<string> {
  return await answerOn(server, (socket) => {
    if (start === '') return;
    socket.write(start);
    const timer = setInterval(() => socket.write('x'), SECOND / 2);
    socket.once('close', () => clearInterval(timer));
  });
}

async function answerOn(server: Server, act: (socket: ReturnType<typeof connect>) => void): Promise<string> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => {
    socket.destroy();
  });
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  // What it wrote while the server closed is thrown back at it; what came before that counts.
  socket.on('error', (error: NodeJS.ErrnoException) => expect(error.code).toMatch(/^(ECONNRESET|EPIPE)$/));
  socket.once('connect', () => act(socket));
  await once(socket, 'close');
  return text;
}

function parseAnswer(text: string) {
  const [head = '', body = ''] = text.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '').split('\r\n\r\n', 2);
  const [first = '', ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => [line.split(':', 1)[0]?.toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  ) as Record<string, string>;
  return {
    status: Number(first.split(' ')[1]),
    headers,
    problem: body === '' ? undefined : JSON.parse(body),
  };
}
