/** Messages reach their receivers over real HTTP; only time is simulated. */
import { createHmac } from 'node:crypto';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { DAY, type DurationMs, HOUR, MINUTE, SECOND } from '../../src/core/model/time.ts';
import { createDelivery } from '../../src/notify/delivery.ts';
import { receiverKey, resolveReceiver } from '../../src/notify/receivers.ts';
import { createVirtualClock, type VirtualClock } from '../../src/simulate/virtual-clock.ts';
import { readSigningKeys, type SigningKeys, webhookHeaders } from '../../src/trust/standard-webhooks.ts';
import { message, startReceiver, type TestReceiver } from './receiver.ts';
import { createWatchedOutbox, type WatchedOutbox } from './watched-outbox.ts';

const START = Date.UTC(2026, 0, 1);

interface Started {
  readonly outbox: WatchedOutbox;
  readonly clock: VirtualClock;
  readonly troubles: readonly string[];
  /** Puts a message and wakes the delivery. */
  put(id: string, env: string): Promise<void>;
  /** Ends this delivery; another one over the same outbox goes on. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Each receiver is known by the variable that holds its URL. */
async function start(
  hooks: Readonly<Record<string, string | TestReceiver>>,
  options: { signingKeys?: SigningKeys; timeoutMs?: DurationMs } = {},
): Promise<Started> {
  const clock = createVirtualClock(START);
  const outbox = createWatchedOutbox();
  const troubles: string[] = [];
  const urls = new Map(
    Object.entries(hooks).map(([name, hook]) => [name, typeof hook === 'string' ? hook : hook.url]),
  );
  const receivers = new Map(
    ['TIDEGATE_HOOK_UNSET', ...urls.keys()].map((env) => {
      const receiver = { format: 'slack', address: { env }, on: [] } as const;
      return [receiverKey(receiver), resolveReceiver(receiver, urls)];
    }),
  );
  const begin = () => {
    const abort = new AbortController();
    const delivery = createDelivery({
      outbox,
      clock,
      fetch,
      receivers: () => receivers,
      random: () => 1,
      onTrouble: (text) => troubles.push(text),
      ...options,
    });
    const running = delivery.run(abort.signal);
    return {
      wake: () => delivery.wake(),
      async stop() {
        abort.abort();
        await running;
      },
    };
  };
  let current = begin();
  onTestFinished(() => current.stop());
  return {
    outbox,
    clock,
    troubles,
    async put(id, env) {
      await outbox.put([message(id, `slack env:${env}`, clock.now())]);
      current.wake();
    },
    async restart() {
      await current.stop();
      current = begin();
    },
    stop: () => current.stop(),
  };
}

/** Lets time pass second by second until `look` does not throw: the work between is real. */
async function passing(clock: VirtualClock, look: () => void, stepMs: DurationMs = SECOND): Promise<void> {
  for (let steps = 0; ; steps++) {
    try {
      return look();
    } catch (error) {
      if (steps > 2000) throw error;
      clock.advance(stepMs);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
  }
}

const A = 'TIDEGATE_HOOK_A';
const B = 'TIDEGATE_HOOK_B';

test('a message is delivered once, under its id, and nothing is asked again', async () => {
  const receiver = await startReceiver();
  const { put, outbox, troubles } = await start({ [A]: receiver });
  await put('one', A);
  await vi.waitFor(() => expect(outbox.settled.get('one')).toMatchObject({ kind: 'delivered' }));
  expect(receiver.received).toHaveLength(1);
  expect(receiver.received[0]).toMatchObject({
    path: '/services/T0/B0/verysecret',
    body: '{"text":"one"}',
    headers: { 'webhook-id': 'one', 'content-type': 'application/json; charset=utf-8' },
  });
  expect(receiver.received[0]?.headers).not.toHaveProperty('webhook-signature');
  expect(troubles).toEqual([]);
});

test('after 500 it is tried again, later each time, under the same id, and once that is over it is said', async () => {
  const receiver = await startReceiver();
  receiver.answer(500);
  const { put, clock, outbox, troubles } = await start({ [A]: receiver });
  await put('one', A);
  const waits: number[] = [];
  for (let tries = 1; tries <= 12; tries++) {
    await passing(clock, () => expect(outbox.waiting()[0]).toMatchObject({ tries }), 250);
    waits.push((outbox.waiting()[0]?.dueAt ?? 0) - clock.now());
    clock.advance(waits.at(-1) ?? 0);
  }
  expect(waits.slice(0, 4).map((wait) => Math.round(wait / SECOND))).toEqual([2, 4, 8, 16]);
  expect(Math.max(...waits)).toBeLessThanOrEqual(10 * MINUTE);
  expect(waits.at(-1)).toBeGreaterThan(9 * MINUTE);
  receiver.answer(204);
  await passing(
    clock,
    () => expect(outbox.settled.get('one')).toMatchObject({ kind: 'delivered' }),
    5 * SECOND,
  );
  expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id']))).toEqual(new Set(['one']));
  expect(troubles).toEqual([
    `${receiver.host} (${A}) answers 500; it is tried again`,
    `${receiver.host} (${A}) takes notices again`,
  ]);
});

test('what was put before a restart is delivered after it, also what was under way', async () => {
  const receiver = await startReceiver();
  receiver.answer('never');
  const { put, restart, outbox, clock } = await start({ [A]: receiver });
  await put('under-way', A);
  await put('waiting', A);
  await vi.waitFor(() => expect(receiver.received).toHaveLength(1));
  receiver.answer(200);
  await restart();
  await passing(clock, () => expect([...outbox.settled.keys()].sort()).toEqual(['under-way', 'waiting']));
});

test('what a process that was killed had taken is delivered by another one, a minute later', async () => {
  const receiver = await startReceiver();
  const { outbox, clock, put, stop, restart } = await start({ [A]: receiver });
  await stop();
  await put('one', A);
  await outbox.take({ now: clock.now(), limit: 1, lentUntil: clock.now() + MINUTE });
  await restart();
  await passing(clock, () => expect(outbox.settled.has('one')).toBe(true));
  expect(clock.now()).toBeGreaterThanOrEqual(START + MINUTE);
});

test('a receiver that is down delays no other', async () => {
  const up = await startReceiver();
  const { put, outbox, troubles, clock } = await start({ [A]: 'http://127.0.0.1:9/secret', [B]: up });
  for (let n = 0; n < 40; n++) await put(`down-${n}`, A);
  for (let n = 0; n < 40; n++) await put(`up-${n}`, B);
  await passing(clock, () => expect(up.received).toHaveLength(40));
  await vi.waitFor(() =>
    expect([...outbox.settled.keys()]).toEqual(expect.arrayContaining(['up-0', 'up-39'])),
  );
  expect(outbox.waiting().every(({ id }) => id.startsWith('down-'))).toBe(true);
  expect(troubles).toHaveLength(1);
  expect(troubles[0]).toMatch(/^127\.0\.0\.1:9 \(TIDEGATE_HOOK_A\) cannot be reached/);
});

test('a receiver that never answers delays no other, and is given up on after the timeout', async () => {
  const [slow, quick] = [await startReceiver(), await startReceiver()];
  slow.answer('never');
  const { put, outbox, troubles } = await start({ [A]: slow, [B]: quick }, { timeoutMs: 300 });
  await put('slow', A);
  await put('quick', B);
  await vi.waitFor(() => expect(outbox.settled.has('quick')).toBe(true));
  expect(slow.received).toHaveLength(1);
  await vi.waitFor(() => expect(outbox.waiting()[0]?.lastError).toBe('does not answer within 300ms'));
  expect(troubles).toEqual([`${slow.host} (${A}) does not answer within 300ms; it is tried again`]);
});

test('410 gives up at once, and says what to do', async () => {
  const receiver = await startReceiver();
  receiver.answer(410);
  const { put, outbox, troubles } = await start({ [A]: receiver });
  await put('one', A);
  await vi.waitFor(() => expect(outbox.settled.get('one')).toMatchObject({ kind: 'givenUp' }));
  expect(receiver.received).toHaveLength(1);
  expect(troubles[0]).toContain('take it out of notifications');
});

test('after three days it is given up', async () => {
  const receiver = await startReceiver();
  receiver.answer(503);
  const { put, outbox, troubles, clock } = await start({ [A]: receiver });
  await put('one', A);
  await passing(
    clock,
    () => expect(outbox.settled.get('one')).toMatchObject({ kind: 'givenUp' }),
    30 * MINUTE,
  );
  expect(clock.now() - START).toBeGreaterThanOrEqual(3 * DAY);
  expect(troubles.at(-1)).toBe(`${receiver.host} (${A}) answers 503; a notice is given up after 3d`);
});

test.each([
  ['seconds', '300', 5 * MINUTE],
  ['a date', new Date(START + 20 * MINUTE).toUTCString(), 20 * MINUTE],
  ['much too long', '999999', HOUR],
  ['nonsense', 'soon', 2 * SECOND],
])('Retry-After is honoured within bounds: %s', async (_what, header, expected) => {
  const receiver = await startReceiver();
  receiver.answer(429, { 'Retry-After': header });
  const { put, outbox } = await start({ [A]: receiver });
  await put('one', A);
  await vi.waitFor(() => expect(outbox.waiting()[0]?.tries).toBe(1));
  expect((outbox.waiting()[0]?.dueAt ?? 0) - START).toBe(expected);
});

test('a redirect is not followed', async () => {
  const [from, to] = [await startReceiver(), await startReceiver()];
  from.answer(307, { Location: to.url });
  const { put, outbox } = await start({ [A]: from });
  await put('one', A);
  await vi.waitFor(() => expect(outbox.waiting()[0]?.lastError).toContain('307, a redirect'));
  expect(to.received).toEqual([]);
});

test('a message that is refused holds up no other for the same receiver', async () => {
  const receiver = await startReceiver();
  receiver.answer(400);
  const { put, outbox, clock } = await start({ [A]: receiver });
  await put('refused', A);
  await vi.waitFor(() => expect(outbox.waiting()[0]?.tries).toBe(1));
  receiver.answer(200);
  await put('fine', A);
  await vi.waitFor(() => expect(outbox.settled.has('fine')).toBe(true));
  expect(outbox.settled.has('refused')).toBe(false);
  await passing(clock, () => expect(outbox.settled.has('refused')).toBe(true));
});

test('a receiver whose variable is not set is named, and what is for it waits', async () => {
  const { put, outbox, troubles } = await start({});
  await put('one', 'TIDEGATE_HOOK_UNSET');
  await vi.waitFor(() => expect(outbox.waiting()[0]?.tries).toBe(1));
  expect(troubles).toEqual([expect.stringContaining('TIDEGATE_HOOK_UNSET is not set in the environment')]);
});

test('what is for a receiver that nobody names any more is given up, after others had time to know it', async () => {
  const { put, outbox, clock } = await start({});
  await put('one', 'TIDEGATE_HOOK_GONE');
  await vi.waitFor(() => expect(outbox.waiting()[0]?.tries).toBe(1));
  await passing(
    clock,
    () => expect(outbox.settled.get('one')).toMatchObject({ kind: 'givenUp' }),
    10 * SECOND,
  );
  expect(clock.now() - START).toBeGreaterThanOrEqual(10 * MINUTE);
});

describe('no part of an address but its host is ever shown', () => {
  test.each([
    ['http://127.0.0.1:9/services/verysecret?token=verysecret'],
    ['http://nowhere.invalid/verysecret'],
    ['https://user:verysecret@hooks.example/'],
    ['ftp://hooks.example/verysecret'],
    ['not a URL: verysecret'],
    ['http://127.0.0.1:1/verysecret\u0000'],
  ])('%s', async (url) => {
    const { put, outbox, troubles } = await start({ [A]: url });
    await put('one', A);
    await vi.waitFor(() => expect(outbox.waiting()[0]?.tries).toBe(1), { timeout: 20_000 });
    expect(troubles).toHaveLength(1);
    expect(JSON.stringify([troubles, outbox.waiting()])).not.toContain('verysecret');
  });
});

describe('the signature', () => {
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  const old = `whsec_${Buffer.alloc(24, 8).toString('base64')}`;

  test('verifies as Standard Webhooks says, one per secret, with the time of the try', async () => {
    const receiver = await startReceiver();
    const read = readSigningKeys(`${secret} ${old}`);
    const { put, outbox } = await start({ [A]: receiver }, { signingKeys: read.ok ? read.keys : [] });
    await put('one', A);
    await vi.waitFor(() => expect(outbox.settled.has('one')).toBe(true));
    const { headers = {}, body } = receiver.received[0] ?? {};
    expect(headers['webhook-timestamp']).toBe(String(START / SECOND));
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
    const expected = [Buffer.alloc(32, 7), Buffer.alloc(24, 8)].map(
      (key) => `v1,${createHmac('sha256', key).update(signed).digest('base64')}`,
    );
    expect(headers['webhook-signature']).toBe(expected.join(' '));
  });

  // libraries/javascript/src/webhook.test.ts of https://github.com/standard-webhooks/standard-webhooks
  test('is that of the reference implementation for its own example', async () => {
    const read = readSigningKeys('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
    const given = {
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      body: '{"test": 2432232314}',
      at: 1614265330 * SECOND,
    };
    expect(webhookHeaders(given, read.ok ? read.keys : [])['webhook-signature']).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    );
  });

  test.each([
    ['', 'plain words', 'whsec_', 'whsec_c2hvcnQ=', `${secret} ${old} ${secret}`, `whsec_${'*'.repeat(44)}`],
  ])('a secret of no use is refused without being shown', (...secrets) => {
    for (const text of secrets) {
      const read = readSigningKeys(text);
      expect(read.ok).toBe(false);
      if (!read.ok && text.length > 10) expect(read.problem).not.toContain(text);
    }
  });
});
