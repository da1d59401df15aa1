import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Answer } from '../../src/core/gates/probe.ts';
import { parseHost } from '../../src/probes/hosts.ts';
import { askWebhook } from '../../src/probes/webhook.ts';
import { HOSTILE, json, type Reply, startAnswering, text } from './answering-server.ts';

const never = new AbortController().signal;
const clock = { now: () => Date.UTC(2026, 10, 21, 8, 0, 0, 700) };
const about = {
  rollout: 'thermostat-firmware',
  attempt: 3,
  revision: 'sha256:abc',
  stage: 'canary',
  gate: 'error-budget',
};

interface Access {
  /** What the server was started with; the host that is asked, unless given. */
  readonly hosts?: readonly string[];
  readonly key?: Uint8Array;
  readonly timeoutMs?: number;
}

function ask(url: string, { hosts = [], key, timeoutMs }: Access = {}): Promise<Answer> {
  return askWebhook({ kind: 'webhook', url, about }, never, {
    access: { hosts: hosts.map((host) => parseHost(host, 'test')), ...(key === undefined ? {} : { key }) },
    fetch,
    clock,
    randomHex: () => '00ff',
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
}

async function answerTo(reply: Reply, access: Access = {}): Promise<Answer> {
  const server = await startAnswering(reply);
  const answer = await ask(`http://${server.host}/gate?key=secret`, { hosts: [server.host], ...access });
  return answer.kind === 'trouble'
    ? { ...answer, because: answer.because.replaceAll(server.host, 'HOST') }
    : answer;
}

async function troubleOf(reply: Reply, access: Access = {}): Promise<string> {
  const answer = await answerTo(reply, access);
  if (answer.kind !== 'trouble') throw new Error(`expected trouble, found ${JSON.stringify(answer)}`);
  return answer.because;
}

describe('the question', () => {
  test('says what it is about, unsigned where no secret is set', async () => {
    const server = await startAnswering({ verdict: 'pass' });
    await ask(`http://${server.host}/gate?key=secret`, { hosts: [server.host] });
    const [asked] = server.requests;
    expect(asked).toMatchObject({
      method: 'POST',
      path: '/gate?key=secret',
      headers: { 'content-type': 'application/json', 'user-agent': 'tidegate' },
    });
    expect(JSON.parse(asked?.body ?? '')).toEqual(about);
    expect(Object.keys(asked?.headers ?? {}).filter((name) => name.startsWith('webhook-'))).toEqual([]);
  });

  test('is signed as Standard Webhooks are', async () => {
    const key = Buffer.from('tidegate signs with thirty-two b');
    const server = await startAnswering({ verdict: 'pass' });
    await ask(`http://${server.host}/`, { hosts: [server.host], key });
    const [asked] = server.requests;
    const signed = `msg_00ff.1795248000.${asked?.body}`;
    expect(asked?.headers).toMatchObject({
      'webhook-id': 'msg_00ff',
      'webhook-timestamp': '1795248000',
      'webhook-signature': `v1,${createHmac('sha256', key).update(signed).digest('base64')}`,
    });
  });
});

describe('a verdict', () => {
  test.each(['pass', 'halt', 'wait'] as const)('%s is taken with its reason', async (verdict) => {
    expect(await answerTo({ verdict, because: 'errors are 0.1 %', seen: [1, 2] })).toEqual({
      kind: 'verdict',
      verdict,
      because: 'errors are 0.1 %',
    });
  });

  test.each([
    ['none', undefined, 'it does not say why'],
    ['an empty one', '', 'it does not say why'],
    ['no text', { deep: [1] }, 'it does not say why'],
    ['nothing but control characters', '\u0000\u001b\n', 'it does not say why'],
    ['several lines and colours', 'a\u001b[31m\r\nb\u2028c\u202e', 'a [31m b c'],
    ['a long text', 'é'.repeat(501), `${'é'.repeat(499)}…`],
    ['500 characters', '😀'.repeat(500), '😀'.repeat(500)],
    ['a very long text', '😀'.repeat(20_000), `${'😀'.repeat(499)}…`],
  ])('counts whatever its reason is: %s', async (_, because, expected) => {
    expect(await answerTo({ verdict: 'halt', because })).toEqual({
      kind: 'verdict',
      verdict: 'halt',
      because: expected,
    });
  });
});

describe('what is no verdict is trouble', () => {
  const have = 'have it answer {"verdict": "pass"}, "halt" or "wait"';
  test.each([
    ['another word', { verdict: 'PASS' }, `answered the verdict "PASS"; ${have}`],
    ['a number', { verdict: 1 }, `answered JSON without a verdict; ${have}`],
    ['a list', json(['pass']), `answered JSON without a verdict; ${have}`],
    ['null', json(null), `answered JSON without a verdict; ${have}`],
    ['a text', json('pass'), `answered JSON without a verdict; ${have}`],
    ['a prototype', text('{"__proto__": {"verdict": "pass"}}'), `answered JSON without a verdict; ${have}`],
    ['no JSON', text('pass'), `answered what is no JSON; ${have}`],
    ['nothing', text(''), `answered what is no JSON; ${have}`],
    [
      'another status',
      json({ verdict: 'pass' }, 202),
      'answered 202 where 200 is expected; look at the log there',
    ],
    ['an error', json({ verdict: 'pass' }, 500), 'answered 500 where 200 is expected; look at the log there'],
    [
      'a refusal',
      text('', 401),
      'answered 401 where 200 is expected; see that TIDEGATE_GATE_WEBHOOK_SECRET is what it checks signatures with',
    ],
    ['another path', text('', 404), 'answered 404 where 200 is expected; correct the URL'],
    [
      'a redirect',
      text('', 308, { Location: 'https://other.example/x?token=secret' }),
      'answered 308, which leads to https://other.example and is not followed; write the URL behind it',
    ],
    [
      'JSON within JSON',
      text(`${'{"verdict":'.repeat(20_000)}1${'}'.repeat(20_000)}`),
      `answered JSON without a verdict; ${have}`,
    ],
  ])('%s', async (_, reply, because) => {
    expect(await troubleOf(reply)).toBe(`the webhook at HOST ${because}`);
  });

  test.each([
    ['silence', 'cannot be asked: no whole answer within 0.3 s; see that it runs and that the URL is right'],
    [
      'a slow drip',
      'cannot be asked: no whole answer within 0.3 s; see that it runs and that the URL is right',
    ],
    ['an endless body', 'answered more than 256 KiB where a verdict is expected; see what it sends'],
    [
      'a connection that is cut',
      'cannot be asked: other side closed; see that it runs and that the URL is right',
    ],
  ])('%s', async (name, because) => {
    const reply = HOSTILE[name]?.('{"verdict": "pass"}') ?? {};
    const isWaitedFor = name === 'silence' || name === 'a slow drip';
    expect(await troubleOf(reply, isWaitedFor ? { timeoutMs: 300 } : {})).toBe(
      `the webhook at HOST ${because}`,
    );
  });
});

describe('who may be asked', () => {
  test('nobody whom the server was not started with: no connection is made', async () => {
    const server = await startAnswering({ verdict: 'pass' });
    for (const hosts of [[], ['127.0.0.1'], ['127.0.0.1:1'], ['localhost'], [`localhost:${server.port}`]]) {
      expect(await ask(`http://${server.host}/gate`, { hosts })).toEqual({
        kind: 'trouble',
        because:
          `gates may not ask ${server.host}: the server was not started with --gate-webhook-host ${server.host}; ` +
          'have it added there, or correct the URL',
      });
    }
    expect(server.requests).toEqual([]);
    expect(await server.connections()).toBe(0);
  });

  test('nobody to whom a host that may be asked redirects', async () => {
    const elsewhere = await startAnswering({ verdict: 'pass' });
    const because = await troubleOf(text('', 307, { Location: `http://${elsewhere.host}/` }));
    expect(because).toContain('is not followed');
    expect(elsewhere.requests).toEqual([]);
  });

  test('without TLS nobody who is listed without a port', async () => {
    expect(await ask('http://checks.example.org/gate', { hosts: ['checks.example.org'] })).toEqual({
      kind: 'trouble',
      because:
        'gates may not ask checks.example.org:80: the server was not started with --gate-webhook-host checks.example.org:80; ' +
        'have it added there, or correct the URL',
    });
  });

  test.each([
    ['file:///etc/passwd', 'the URL of the webhook is none that starts with https://; correct it'],
    ['checks.example.org/gate', 'the URL of the webhook is none that starts with https://; correct it'],
    ['', 'the URL of the webhook is none that starts with https://; correct it'],
    [
      'https://ada:hunter2@checks.example.org/gate',
      'the URL of the webhook at checks.example.org has credentials in it, which everybody reads who reads the repository; ' +
        'take them away, and set TIDEGATE_GATE_WEBHOOK_SECRET, by which it can tell who asks',
    ],
    [
      'https://checks.example.org@evil.example/',
      'the URL of the webhook at evil.example has credentials in it, which everybody reads who reads the repository; ' +
        'take them away, and set TIDEGATE_GATE_WEBHOOK_SECRET, by which it can tell who asks',
    ],
  ])('not %s', async (url, because) => {
    expect(await ask(url, { hosts: ['checks.example.org'] })).toEqual({ kind: 'trouble', because });
  });
});
