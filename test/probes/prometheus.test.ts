import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { Answer } from '../../src/core/gates/probe.ts';
import { askPrometheus } from '../../src/probes/prometheus.ts';
import { HOSTILE, json, type Reply, startAnswering, text } from './answering-server.ts';

const TOKEN = 'glsa_0123456789secret';
const never = new AbortController().signal;
const scalar = (value: unknown) => success('scalar', [1_795_248_000.123, value]);
const vector = (...values: readonly unknown[]) =>
  success(
    'vector',
    values.map((value, index) => ({ metric: { site: `s${index}` }, value: [1_795_248_000.123, value] })),
  );

function success(resultType: string, result: unknown) {
  return { status: 'success', data: { resultType, result } };
}

function failure(errorType: string, error: unknown, status: number) {
  return json({ status: 'error', errorType, error }, status);
}

/** What `reply` is taken for; the server's address is left out. */
async function answerTo(
  reply: Reply,
  { timeoutMs, token }: { timeoutMs?: number; token?: string } = {},
): Promise<Answer> {
  const server = await startAnswering(reply);
  const options = {
    server: { baseUrl: `http://${server.host}`, ...(token === undefined ? {} : { token }) },
    fetch,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
  const answer = await askPrometheus('errors', never, options);
  if (answer.kind !== 'trouble') return answer;
  return { kind: 'trouble', because: answer.because.replaceAll(server.host, 'HOST') };
}

async function troubleOf(...args: Parameters<typeof answerTo>): Promise<string> {
  const answer = await answerTo(...args);
  if (answer.kind !== 'trouble') throw new Error(`expected trouble, found ${JSON.stringify(answer)}`);
  return answer.because;
}

test('Prometheus is asked as it wants to be, below the path of its address, with its token', async () => {
  const server = await startAnswering(scalar('1'));
  const query = 'sum(rate(errors{site="a b"}[5m])) / 100 + 1';
  await askPrometheus(query, never, {
    server: { baseUrl: `http://${server.host}/prom`, token: TOKEN },
    fetch,
  });
  expect(server.requests).toMatchObject([
    {
      method: 'POST',
      path: '/prom/api/v1/query',
      headers: {
        authorization: `Bearer ${TOKEN}`,
        'content-type': 'application/x-www-form-urlencoded',
        'user-agent': 'tidegate',
      },
    },
  ]);
  expect(Object.fromEntries(new URLSearchParams(server.requests[0]?.body))).toEqual({ query, timeout: '9s' });
});

test('without a token none is sent', async () => {
  const server = await startAnswering(scalar('1'));
  await askPrometheus('1', never, { server: { baseUrl: `http://${server.host}` }, fetch });
  expect(server.requests[0]?.headers).not.toHaveProperty('authorization');
});

test.each([
  ['a scalar', scalar('0.25'), 0.25],
  ['a vector of one sample', vector('1e+06'), 1_000_000],
  ['one below 0', vector('-3'), -3],
  ['the smallest that there is', scalar('5e-324'), 5e-324],
  ['the largest that there is', scalar('1.7976931348623157e+308'), Number.MAX_VALUE],
])('%s is a value', async (_, reply, value) => {
  expect(await answerTo(reply)).toEqual({ kind: 'value', value });
});

describe('what is not one number is trouble', () => {
  test.each([
    [
      'no sample',
      vector(),
      'the query found nothing where one number is expected: no series has that name and those labels now; ' +
        'correct it, or add "or vector(0)" where nothing means 0',
    ],
    [
      'several samples',
      vector('1', '2', '3'),
      'the query found 3 samples where one is expected; aggregate it, as with sum() or max()',
    ],
    [
      'samples over time',
      success('matrix', [{ metric: {}, values: [[1, '2']] }]),
      'the query found samples over time where one number is expected; take one of them, as with rate() or avg_over_time()',
    ],
    [
      'a text',
      success('string', [1, 'x']),
      'the query found a text where one number is expected; correct it',
    ],
    [
      'a histogram',
      success('vector', [{ metric: {}, histogram: [1, { count: '1', sum: '2' }] }]),
      'the query found a histogram where a number is expected; take one of it, as with histogram_quantile()',
    ],
  ])('%s', async (_, reply, because) => {
    expect(await troubleOf(reply)).toBe(because);
  });

  test.each([
    'NaN',
    '+Inf',
    '-Inf',
    '1e999',
    '-1e999',
    '0x10',
    '',
    ' 1',
    '1 ',
    '1_000',
    'Infinity',
    '9'.repeat(400),
  ])('the number "%s"', async (value) => {
    expect(await troubleOf(scalar(value))).toMatch(
      /^the query gave ".*", which is no finite number; see that it divides by nothing that can be 0$/,
    );
  });

  test.each([
    ['a number that is no text', scalar(5)],
    ['no value', success('vector', [{ metric: {} }])],
    ['null in place of a sample', success('vector', [null])],
    ['an object in place of samples', success('vector', { length: 1, 0: { value: [1, '5'] } })],
    ['a type that is none', success('tensor', [1, '5'])],
    ['no data', { status: 'success' }],
  ])('%s', async (_, reply) => {
    expect(await troubleOf(reply)).toMatch(
      /^Prometheus at HOST answered a (value|result) that Prometheus does not have; /,
    );
  });

  test('a value that may be of a part of the data', async () => {
    const reply = { ...scalar('1'), warnings: ['No StoreAPIs matched for this query'] };
    expect(await troubleOf(reply)).toBe(
      'Prometheus at HOST warns: No StoreAPIs matched for this query; ' +
        'the number may be of a part of the data, see why it warns',
    );
  });
});

describe('what is no answer says what to do', () => {
  test.each([
    [
      'a query that is wrong',
      failure('bad_data', 'invalid parameter "query": 1:4: parse error:\nunexpected "}"', 400),
      'Prometheus at HOST cannot answer the query: invalid parameter "query": 1:4: parse error: unexpected "}"; correct it',
    ],
    [
      'a query that is wrong, with status 200',
      failure('execution', 'many-to-many matching not allowed', 200),
      'Prometheus at HOST cannot answer the query: many-to-many matching not allowed; correct it',
    ],
    [
      'a query that takes too long',
      failure('timeout', 'query timed out in expression evaluation', 503),
      'Prometheus at HOST cannot answer the query: query timed out in expression evaluation; make it cheaper, or look at the log there',
    ],
    [
      'an error without words',
      failure('bad_data', { nested: true }, 400),
      'Prometheus at HOST cannot answer the query: it does not say why; correct it',
    ],
    [
      'a token that is missing',
      text('Unauthorized', 401),
      'Prometheus at HOST answered 401; set TIDEGATE_PROMETHEUS_TOKEN to a token that may query',
    ],
    [
      'another path',
      text('404 page not found', 404),
      'Prometheus at HOST answered 404; give --prometheus-url the address that has /api/v1/query below it',
    ],
    ['a proxy', text('<html>', 502), 'Prometheus at HOST answered 502; look at the log there'],
    [
      'a page',
      text('<html>Hello</html>'),
      'Prometheus at HOST answered what Prometheus does not; see that --prometheus-url names it and not a page',
    ],
    [
      'JSON of something else',
      json([1, 2]),
      'Prometheus at HOST answered what Prometheus does not; see that --prometheus-url names it and not a page',
    ],
    [
      'members that only a prototype has',
      text('{"__proto__": {"status": "success", "data": {"resultType": "scalar", "result": [1, "5"]}}}'),
      'Prometheus at HOST answered what Prometheus does not; see that --prometheus-url names it and not a page',
    ],
    [
      'a redirect',
      text('', 302, { Location: 'https://user:secret@sso.example.org/login?state=secret' }),
      'Prometheus at HOST answered 302, which leads to https://sso.example.org and is not followed; give --prometheus-url the address behind it',
    ],
    [
      'a redirect to nowhere',
      text('', 307, { Location: 'javascript:alert(1)' }),
      'Prometheus at HOST answered 307, which leads elsewhere and is not followed; give --prometheus-url the address behind it',
    ],
  ])('%s', async (_, reply, because) => {
    expect(await troubleOf(reply)).toBe(because);
  });

  test('a server that is away', async () => {
    const server = await startAnswering({});
    await server.close();
    const answer = await askPrometheus('1', never, { server: { baseUrl: `http://${server.host}` }, fetch });
    expect(answer).toEqual({
      kind: 'trouble',
      because: `Prometheus at ${server.host} cannot be asked: connect ECONNREFUSED ${server.host}; see that it runs and that --prometheus-url names it`,
    });
  });
});

describe('whoever wants to be waited for is not', () => {
  const beginning = '{"status": "success", "data": {"resultType": "scalar", "result": [1, "5"]}';
  const late =
    'Prometheus at HOST cannot be asked: no whole answer within 0.3 s; see that it runs and that --prometheus-url names it';
  test.each([
    ['silence', late],
    ['a slow drip', late],
    [
      'an endless body',
      'Prometheus at HOST answered more than 256 KiB where one number is expected; aggregate it, as with sum() or max()',
    ],
    [
      'a connection that is cut',
      'Prometheus at HOST cannot be asked: other side closed; see that it runs and that --prometheus-url names it',
    ],
  ])('%s', async (name, because) => {
    const reply = HOSTILE[name]?.(beginning) ?? {};
    expect(
      await troubleOf(reply, name === 'silence' || name === 'a slow drip' ? { timeoutMs: 300 } : {}),
    ).toBe(because);
  });

  test('what is small until it is unpacked', async () => {
    const packed = gzipSync(Buffer.alloc(64 * 1024 * 1024, ' '));
    expect(packed.length).toBeLessThan(100_000);
    const reply = text(packed, 200, { 'Content-Encoding': 'gzip', 'Content-Type': 'application/json' });
    expect(await troubleOf(reply)).toMatch(/answered more than 256 KiB/);
  });

  test('JSON within JSON', async () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    expect(await troubleOf(text(`{"status": "success", "data": ${deep}}`))).toMatch(
      /a result that Prometheus/,
    );
    expect(await troubleOf(text('['.repeat(200_000)))).toMatch(/answered what Prometheus does not/);
  });

  test('a server that is asked no more lets go of the connection', async () => {
    const server = await startAnswering(HOSTILE['silence']?.('') ?? {});
    const stop = new AbortController();
    const asked = askPrometheus('1', stop.signal, { server: { baseUrl: `http://${server.host}` }, fetch });
    await expect.poll(() => server.requests.length).toBe(1);
    stop.abort();
    expect(await asked).toMatchObject({ kind: 'trouble' });
    await expect.poll(() => server.connections()).toBe(0);
  });
});

describe('the token', () => {
  test('is in no message, wherever a server repeats it', async () => {
    const long = 'x'.repeat(190);
    const replies = [
      failure('bad_data', `bad header Bearer ${TOKEN}`, 400),
      // Where a message is cut, no part of it is left.
      failure('bad_data', `${long}${TOKEN}`, 400),
      scalar(TOKEN),
      { ...scalar('1'), warnings: [`seen: ${TOKEN}`] },
      text('', 302, { Location: `https://x.example/${TOKEN}` }),
      text(TOKEN, 500),
    ];
    for (const reply of replies) {
      const because = await troubleOf(reply, { token: TOKEN });
      expect(because).not.toContain(TOKEN.slice(0, 6));
    }
  });

  test('follows no redirect', async () => {
    const elsewhere = await startAnswering(scalar('1'));
    await answerTo(text('', 307, { Location: `http://${elsewhere.host}/api/v1/query` }), { token: TOKEN });
    expect(elsewhere.requests).toEqual([]);
  });
});

test('foreign words are one line that steers no terminal', async () => {
  const error = `a\u001b[31mb\r\nc\u202ed${'\ud800'} ${'e'.repeat(1000)}`;
  const because = await troubleOf(failure('bad_data', error, 400));
  expect(because).toMatch(/^Prometheus at HOST cannot answer the query: a \[31mb cd\ufffd e+…; correct it$/);
  expect(because.length).toBeLessThan(300);
});
