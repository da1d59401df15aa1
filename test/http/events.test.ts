import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { Clock } from '../../src/clock.ts';
import { SECOND } from '../../src/core/model/time.ts';
import { createEventHub, type EventHub, LISTENERS_MAX } from '../../src/http/events.ts';
import { listen } from '../../src/http/listen.ts';
import type { ReconcileEvent } from '../../src/reconcile/event.ts';
import { createFleet, oid, rolloutOf, START } from './fleet.ts';

/** Waits end when the test lets time pass, or when they are aborted. */
function createFakeClock() {
  let now = START;
  const sleepers = new Set<{ until: number; wake: () => void }>();
  const clock: Clock = {
    now: () => now,
    sleep: (duration, signal) =>
      new Promise((resolve) => {
        const sleeper = { until: now + duration, wake: resolve };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', () => {
          sleepers.delete(sleeper);
          resolve();
        });
      }),
  };
  return {
    ...clock,
    sleeping: () => sleepers.size,
    advance(duration: number): void {
      now += duration;
      for (const sleeper of [...sleepers].filter(({ until }) => until <= now)) {
        sleepers.delete(sleeper);
        sleeper.wake();
      }
    },
  };
}

const clock = createFakeClock();
const hubs: EventHub[] = [];

function hubOf(): EventHub {
  const hub = createEventHub(clock);
  hubs.push(hub);
  return hub;
}

afterEach(() => {
  for (const hub of hubs.splice(0)) hub.close();
});

function failure(message: string): ReconcileEvent {
  return { kind: 'failed', at: START, message };
}

async function open(hub: EventHub, lastEventId?: string): Promise<Stream> {
  const headers = lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId };
  return streamOf(await hub.app.request('/api/events', { headers }));
}

type Stream = ReturnType<typeof streamOf>;

/** Reads message by message, past the greeting. */
function streamOf(response: Response) {
  if (response.body === null) throw new Error('expected a stream');
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  return {
    response,
    async next(): Promise<string> {
      for (;;) {
        const end = text.indexOf('\n\n');
        if (end >= 0) {
          const message = text.slice(0, end);
          text = text.slice(end + 2);
          if (message.startsWith('retry:')) continue;
          return message;
        }
        const { value, done } = await reader.read();
        if (done) return 'END';
        text += decoder.decode(value, { stream: true });
      }
    },
    cancel: () => reader.cancel(),
  };
}

const dataOf = (message: string) =>
  JSON.parse(/^data: (.*)$/m.exec(message)?.[1] ?? 'null') as Record<string, unknown>;
const idOf = (message: string) => /^id: (.*)$/m.exec(message)?.[1] ?? '';

test('a listener hears what is decided, without manifests and device ids', async () => {
  const fleet = createFleet();
  await fleet.enrol('lobby-1');
  fleet.commit('a', [rolloutOf('firmware')]);
  const decisions = await fleet.settle();
  const hub = hubOf();
  const stream = await open(hub);
  expect(stream.response.headers.get('content-type')).toBe('text/event-stream');
  for (const decision of decisions) hub.publish({ kind: 'decision', at: START, decision, commit: oid('c') });
  const messages = [];
  for (const _ of decisions) messages.push(await stream.next());
  expect(messages.map((message) => dataOf(message)['decision'])).toEqual(['create', 'openStage']);
  const opened = messages[1] ?? '';
  expect(opened).toMatch(/^id: \d+-2\nevent: decision\ndata: \{.*\}$/);
  expect(dataOf(opened)).toMatchObject({
    at: '2026-11-21T08:00:00Z',
    rollout: 'firmware',
    attempt: 1,
    stage: 'canary',
    state: 'running',
    commit: oid('c'),
  });
  expect(messages.join()).not.toMatch(/manifest|lobby-1|seed/);
});

test('every kind of event has a name and a time, and problems are shown by their place', async () => {
  const fleet = createFleet();
  fleet.commit('a', [rolloutOf('firmware')]);
  await fleet.settle();
  const { wanted: good, outcomes } = fleet.state();
  const attempt = [...outcomes.values()][0]?.[0];
  if (good === undefined || attempt === undefined) throw new Error('the fleet has no attempt');
  const problem = {
    file: 'fleet/fleet.yaml',
    line: 3,
    column: 1,
    rule: 'schema',
    severity: 'error',
    message: 'no',
  } as const;
  const wanted = { ...good, problems: Array.from({ length: 50 }, () => problem) };
  const hub = hubOf();
  const stream = await open(hub);
  const said = async (event: ReconcileEvent) => {
    hub.publish(event);
    const message = await stream.next();
    expect(message).toContain(`event: ${event.kind}\n`);
    const { at, ...rest } = dataOf(message);
    expect(at).toBe('2026-11-21T08:00:00Z');
    return rest;
  };
  expect(await said({ kind: 'snapshot', at: START, wanted })).toEqual({
    snapshot: oid('a'),
    commit: oid('a'),
    head: oid('a'),
  });
  expect(await said({ kind: 'problems', at: START, wanted })).toEqual({
    head: oid('a'),
    errors: 50,
    warnings: 0,
    problems: Array(20).fill('fleet/fleet.yaml:3:1: no'),
  });
  expect(
    await said({ kind: 'restored', at: START, attempt, commit: oid('d'), subject: 'Revert "x"' }),
  ).toEqual({
    rollout: 'firmware',
    attempt: 1,
    commit: oid('d'),
    subject: 'Revert "x"',
  });
  expect(await said({ kind: 'diverged', at: START, attempt, reason: 'refused' })).toEqual({
    rollout: 'firmware',
    attempt: 1,
    reason: 'refused',
  });
  const pullRequest = 'https://github.com/acme/fleet/pull/7';
  expect(await said({ kind: 'diverged', at: START, attempt, reason: 'refused', pullRequest })).toMatchObject({
    pullRequest,
  });
  expect(await said(failure('git\nis away'))).toEqual({ message: 'git\nis away' });
  expect(await said({ kind: 'pass', at: START })).toEqual({});
});

test('a listener that comes back hears exactly what it missed', async () => {
  const hub = hubOf();
  const first = await open(hub);
  for (const message of ['1', '2', '3']) hub.publish(failure(message));
  const heard = await first.next();
  await first.cancel();
  hub.publish({ kind: 'pass', at: START });
  const second = await open(hub, idOf(heard));
  expect(dataOf(await second.next())).toMatchObject({ message: '2' });
  expect(dataOf(await second.next())).toMatchObject({ message: '3' });
  hub.publish(failure('4'));
  expect(dataOf(await second.next())).toMatchObject({ message: '4' });
});

test('who missed more than is kept, or knew another process, is told to read everything again', async () => {
  const hub = hubOf();
  const first = await open(hub);
  hub.publish(failure('0'));
  const id = idOf(await first.next());
  for (let n = 1; n <= 256; n++) hub.publish(failure(String(n)));
  // Everything since is still there: the 256 that are kept.
  expect(dataOf(await (await open(hub, id)).next())).toMatchObject({ message: '1' });
  hub.publish(failure('257'));
  for (const last of [id, `1-${id.split('-')[1]}`, `${id.split('-')[0]}-9999`, 'nonsense', '']) {
    const late = await open(hub, last);
    expect(await late.next()).toBe('event: reset\ndata: {}');
    expect(dataOf(await late.next())).toMatchObject({ message: '2' });
  }
});

test('a heartbeat comes every 15 seconds, and stops with the last listener', async () => {
  const hub = hubOf();
  expect(clock.sleeping()).toBe(0);
  const [first, second] = [await open(hub), await open(hub)];
  expect(clock.sleeping()).toBe(1);
  for (let beat = 0; beat < 2; beat++) {
    clock.advance(15 * SECOND);
    expect(await first.next()).toBe(': still here');
    expect(await second.next()).toBe(': still here');
  }
  await first.cancel();
  expect(clock.sleeping()).toBe(1);
  await second.cancel();
  expect(clock.sleeping()).toBe(0);
  const again = await open(hub);
  clock.advance(15 * SECOND);
  expect(await again.next()).toBe(': still here');
});

test(`the listener after the ${LISTENERS_MAX}th is turned away until one leaves`, async () => {
  const hub = hubOf();
  const streams = [];
  for (let n = 0; n < LISTENERS_MAX; n++) streams.push(await open(hub));
  const refused = await hub.app.request('/api/events');
  expect(refused.status).toBe(503);
  expect(refused.headers.get('retry-after')).toBe('15');
  await streams[7]?.cancel();
  expect((await hub.app.request('/api/events')).status).toBe(200);
});

test('a HEAD request is answered and listens to nothing', async () => {
  const hub = hubOf();
  for (let n = 0; n < LISTENERS_MAX + 1; n++) {
    const response = await hub.app.request('/api/events', { method: 'HEAD' });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
  }
  expect((await hub.app.request('/api/events')).status).toBe(200);
});

test('a listener that reads nothing is let go, and the others hear everything', async () => {
  const hub = hubOf();
  const slow = await hub.app.request('/api/events');
  const quick = await open(hub);
  for (let n = 0; n < 600; n++) {
    hub.publish(failure(String(n)));
    expect(dataOf(await quick.next())).toMatchObject({ message: String(n) });
  }
  await expect(slow.text()).rejects.toThrow('unread');
});

test('over a socket: streams arrive at once, a lost client makes room, and one that does not read is cut off', async () => {
  const hub = hubOf();
  const server = await listen(hub.app, { host: '127.0.0.1', port: 0 });
  const { port } = new URL(server.url);
  try {
    const abort = new AbortController();
    const stream = streamOf(await fetch(`${server.url}/api/events`, { signal: abort.signal }));
    hub.publish(failure('over the wire'));
    expect(dataOf(await stream.next())).toMatchObject({ message: 'over the wire' });

    const stalled = connect(Number(port), '127.0.0.1');
    await once(stalled, 'connect');
    stalled.pause();
    stalled.write('GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n');
    let published = 0;
    const closed = once(stalled, 'close').then(() => true);
    const long = 'x'.repeat(64 * 1024);
    await wait(50);
    while (published < 700) {
      hub.publish(failure(long));
      published += 1;
      await stream.next();
    }
    // The server has ended it: reading what was sent meets the end.
    stalled.resume();
    stalled.on('error', () => stalled.destroy());
    expect(await Promise.race([closed, wait(10_000, false)])).toBe(true);

    abort.abort();
    await wait(50);
    expect(clock.sleeping()).toBe(0);
  } finally {
    hub.close();
    await server.close();
  }
});
