import { createHmac, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { MINUTE, SECOND } from '../../src/core/model/time.ts';
import { createApp } from '../../src/http/app.ts';
import { createEventHub } from '../../src/http/events.ts';
import { type Listener, listen } from '../../src/http/listen.ts';
import { createMetrics } from '../../src/http/metrics.ts';
import { judgeWebhookSecret, webhook } from '../../src/http/webhook.ts';
import { createFleet, deviceApiOf, type Fleet, START } from './fleet.ts';
import { DELIVERIES, type Delivery, SECRET, SIGNING_TOKEN } from './webhook-deliveries.ts';

let pushes: number;
let fleet: Fleet;

beforeEach(() => {
  pushes = 0;
  fleet = createFleet();
});

function serverOf(secret?: string) {
  const { state, store, clock } = fleet;
  const onPush = () => {
    pushes += 1;
  };
  return createApp({
    deviceApi: deviceApiOf(fleet),
    state,
    store,
    clock,
    events: createEventHub(clock),
    metrics: createMetrics(state),
    requestId: () => 'id',
    onError: (error) => {
      throw error;
    },
    others: secret === undefined ? [] : [webhook({ secret, clock, onPush })],
  });
}

function post(app: ReturnType<typeof serverOf>, { headers, body }: Pick<Delivery, 'headers' | 'body'>) {
  return app.request('/webhooks/git', { method: 'POST', headers, body });
}

const deliveries = Object.entries(DELIVERIES).map(([name, make]) => ({ name, make }));

describe('a push is taken at once', () => {
  test.each(deliveries)('from $name', async ({ make }) => {
    const delivery = make(START);
    const answer = await post(serverOf(delivery.secret), delivery);
    expect([answer.status, await answer.text(), pushes]).toEqual([202, '', 1]);
    expect(answer.headers.get('cache-control')).toBe('no-store');
  });

  test('with another body than JSON in UTF-8, and with none', async () => {
    const app = serverOf(SECRET);
    for (const body of [randomBytes(300_000), Buffer.from('payload=%7B%7D'), Buffer.alloc(0)]) {
      expect((await post(app, { headers: githubHeaders(body), body })).status).toBe(202);
    }
    expect(pushes).toBe(3);
  });

  test('once per delivery: whoever looks takes them together', async () => {
    const app = serverOf(SECRET);
    const delivery = DELIVERIES.GitHub(START);
    await Promise.all([post(app, delivery), post(app, delivery), post(app, delivery)]);
    expect(pushes).toBe(3);
  });
});

test('a ping is answered with 204 and nothing is looked at, but only where its signature holds', async () => {
  const body = Buffer.from('{"zen":"Design for failure.","hook_id":109948940}');
  const app = serverOf(SECRET);
  const headers = githubHeaders(body, 'ping');
  expect((await post(app, { headers, body })).status).toBe(204);
  const tried = { 'X-Event-Key': 'diagnostics:ping', 'X-Hub-Signature': `${headers['X-Hub-Signature-256']}` };
  expect((await post(app, { headers: tried, body })).status).toBe(204);
  expect((await post(app, { headers, body: Buffer.from('{}') })).status).toBe(401);
  expect(pushes).toBe(0);
});

describe('what is not proven is refused', () => {
  const refusal = async (app: ReturnType<typeof serverOf>, delivery: Pick<Delivery, 'headers' | 'body'>) => {
    const answer = await post(app, delivery);
    expect(answer.status).toBe(401);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    return answer.text();
  };

  test('in the same words, whatever is missing, wrong or too old', async () => {
    const { headers, body } = DELIVERIES.GitHub(START);
    const old = DELIVERIES['GitLab, signing token'](START - 5 * MINUTE - SECOND);
    const gitlab = DELIVERIES['GitLab, secret token'](START);
    const app = serverOf(SECRET);
    const words = new Set([
      await refusal(app, { headers: {}, body }),
      await refusal(app, { headers: { ...headers, 'X-Hub-Signature-256': '' }, body }),
      await refusal(app, { headers: { ...headers, 'X-Hub-Signature-256': 'sha256=' }, body }),
      await refusal(app, { headers: { ...headers, 'X-Hub-Signature-256': 'nonsense' }, body }),
      await refusal(app, { headers: { 'X-Hub-Signature': headers['X-Hub-Signature'] as string }, body }),
      await refusal(app, { headers, body: Buffer.concat([body, body]) }),
      await refusal(app, { headers: { ...gitlab.headers, 'X-Gitlab-Token': 'x' }, body }),
      await refusal(app, { headers: { ...gitlab.headers, 'X-Gitlab-Token': '' }, body }),
      await refusal(serverOf('another secret of some length'), { headers, body }),
      await refusal(serverOf(SIGNING_TOKEN), old),
      await refusal(serverOf(SECRET), DELIVERIES['GitLab, signing token'](START)),
    ]);
    expect(words.size).toBe(1);
    expect(JSON.parse([...words][0] as string)).toMatchObject({
      type: 'https://tidegate.dev/problems/webhook-refused',
    });
    expect([...words][0]).not.toContain(SECRET);
    expect(pushes).toBe(0);
  });

  test('whichever byte of the body or of a header that proves it is flipped', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...deliveries),
        fc.nat(),
        // Another case, another bit, anything.
        fc.oneof(
          fc.constant(0x20),
          fc.constantFrom(1, 2, 4, 8, 16, 64, 128),
          fc.integer({ min: 1, max: 255 }),
        ),
        fc.boolean(),
        async ({ make }, at, flip, inBody) => {
          const delivery = make(START);
          const app = serverOf(delivery.secret);
          if (inBody && delivery.signsBody) {
            const body = Buffer.from(delivery.body);
            body[at % body.length] = (body[at % body.length] as number) ^ flip;
            expect((await post(app, { ...delivery, body })).status).toBe(401);
          } else {
            const name = delivery.proofs[at % delivery.proofs.length] as string;
            const value = Buffer.from(delivery.headers[name] as string, 'latin1');
            const place = Math.floor(at / delivery.proofs.length) % value.length;
            value[place] = (value[place] as number) ^ flip;
            const changed = value.toString('latin1');
            // What no header may hold does not even arrive.
            fc.pre(!/[\0\r\n]/.test(changed));
            const headers = { ...delivery.headers, [name]: changed };
            expect([name, changed, (await post(app, { ...delivery, headers })).status]).toEqual([
              name,
              changed,
              401,
            ]);
          }
          expect(pushes).toBe(0);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('where a second proof does not hold beside one that does', async () => {
    const gitea = DELIVERIES.Gitea(START);
    const headers = { ...gitea.headers, 'X-Gitlab-Token': 'something else' };
    expect((await post(serverOf(SECRET), { ...gitea, headers })).status).toBe(401);
  });
});

describe("GitLab's signing token", () => {
  const app = () => serverOf(SIGNING_TOKEN);
  const make = DELIVERIES['GitLab, signing token'];

  test('holds for five minutes either way of our clock', async () => {
    for (const sentAt of [START - 5 * MINUTE, START, START + 5 * MINUTE]) {
      expect((await post(app(), make(sentAt))).status).toBe(202);
    }
    for (const sentAt of [START - 5 * MINUTE - SECOND, START + 5 * MINUTE + SECOND, 0]) {
      expect((await post(app(), make(sentAt))).status).toBe(401);
    }
  });

  test('may be one of several that signed, as while it is changed', async () => {
    const { headers, body } = make(START);
    const signatures = `v1,${'A'.repeat(43)}= v1a,other ${headers['webhook-signature']}`;
    const answer = await post(app(), { headers: { ...headers, 'webhook-signature': signatures }, body });
    expect(answer.status).toBe(202);
  });

  test('signs id and time with the body: neither can be changed or left out', async () => {
    const { headers, body } = make(START);
    const changed = { ...headers, 'webhook-timestamp': String(START / SECOND + 1) };
    expect((await post(app(), { headers: changed, body })).status).toBe(401);
    for (const name of ['webhook-id', 'webhook-timestamp']) {
      const { [name]: _, ...rest } = headers;
      expect((await post(app(), { headers: rest, body })).status).toBe(401);
    }
  });
});

test('without a secret there is no such path', async () => {
  const answer = await post(serverOf(), DELIVERIES.GitHub(START));
  expect(answer.status).toBe(404);
  expect(await answer.json()).toMatchObject({ detail: 'nothing is served at /webhooks/git' });
});

test('other methods are told which one is meant', async () => {
  const answer = await serverOf(SECRET).request('/webhooks/git');
  expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST']);
});

test('the API token is for operators: forges have none, and the API does not take their secret', async () => {
  const { state, store, clock } = fleet;
  const app = createApp({
    ...{ deviceApi: deviceApiOf(fleet), state, store, clock },
    events: createEventHub(clock),
    metrics: createMetrics(state),
    requestId: () => 'id',
    onError: () => undefined,
    apiToken: 'the API token',
    others: [webhook({ secret: SECRET, clock, onPush: () => undefined })],
  });
  const delivery = DELIVERIES['GitLab, secret token'](START);
  expect((await app.request('/webhooks/git', { method: 'POST', ...delivery })).status).toBe(202);
  expect((await app.request('/api/status', { headers: { Authorization: `Bearer ${SECRET}` } })).status).toBe(
    401,
  );
});

test('deliveries are counted by what became of them', async () => {
  const app = serverOf(SECRET);
  await post(app, DELIVERIES.GitHub(START));
  await post(app, { headers: {}, body: Buffer.from('{}') });
  await post(app, { headers: {}, body: Buffer.from('{}') });
  const metrics = await (await app.request('/metrics')).text();
  expect(metrics).toContain('tidegate_http_requests_total{route="/webhooks/git",status="2xx"} 1');
  expect(metrics).toContain('tidegate_http_requests_total{route="/webhooks/git",status="4xx"} 2');
});

describe('over a socket', () => {
  const MEGABYTE = 1024 * 1024;
  const withServer = async (ask: (server: Listener) => Promise<void>) => {
    const server = await listen(serverOf(SECRET), { host: '127.0.0.1', port: 0 });
    await ask(server).finally(() => server.close());
  };
  const send = (
    server: Listener,
    headers: Record<string, string>,
    body: Buffer<ArrayBuffer> | ReadableStream<Uint8Array>,
  ) => fetch(`${server.url}/webhooks/git`, { method: 'POST', headers, body, duplex: 'half' } as RequestInit);

  test('25 MiB are taken in parts, and a byte more is not', async () => {
    await withServer(async (server) => {
      const body = Buffer.alloc(25 * MEGABYTE, 'x');
      expect((await send(server, githubHeaders(body), body)).status).toBe(202);
      const larger = Buffer.alloc(25 * MEGABYTE + 1, 'x');
      const parts = new ReadableStream<Uint8Array>({
        pull(controller) {
          controller.enqueue(larger.subarray(0, MEGABYTE));
        },
      });
      // Declared, and found out on the way.
      const declared = await send(server, githubHeaders(larger), larger).catch(hungUp);
      const found = await send(server, githubHeaders(larger), parts).catch(hungUp);
      expect([declared?.status ?? 413, found?.status ?? 413]).toEqual([413, 413]);
      expect(pushes).toBe(1);
    });
  });

  test('a body that breaks off is no push', async () => {
    await withServer(async (server) => {
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(Buffer.from('{"ref":'));
          controller.error(new Error('cut'));
        },
      });
      await expect(send(server, githubHeaders(Buffer.from('{"ref":')), body)).rejects.toThrow();
    });
    expect(pushes).toBe(0);
  });
});

/** A client that still sends may miss the answer that came early: the connection is closed under it. */
function hungUp(error: unknown): undefined {
  expect(error).toBeInstanceOf(TypeError);
}

test.each([
  ['0123456789abcdef', undefined],
  [SECRET, undefined],
  [SIGNING_TOKEN, undefined],
  ['0123456789abcde', 'expected at least 16 characters, found 15'],
  ['', 'expected at least 16 characters, found 0'],
  [`${SECRET}\n`, 'begins or ends with white space'],
  [`whsec_${'A'.repeat(20)}`, 'expected 24 to 64 bytes in base64 after whsec_'],
  [`whsec_${'!'.repeat(44)}`, 'expected 24 to 64 bytes in base64 after whsec_'],
])('the secret %j is judged: %s', (secret, expected) => {
  const found = judgeWebhookSecret(secret);
  if (expected === undefined) expect(found).toBeUndefined();
  else expect(found).toContain(expected);
  if (secret !== '') expect(found ?? '').not.toContain(secret);
});

function githubHeaders(body: Uint8Array, event = 'push'): Record<string, string> {
  const digest = createHmac('sha256', SECRET).update(body).digest('hex');
  return { 'X-GitHub-Event': event, 'X-Hub-Signature-256': `sha256=${digest}` };
}
