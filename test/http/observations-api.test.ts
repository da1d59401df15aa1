import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import definitions from '../../schemas/definitions.schema.json' with { type: 'json' };
import { METRIC_PATTERN } from '../../src/core/gates/outside.ts';
import { DAY, HOUR, MINUTE, SECOND } from '../../src/core/model/time.ts';
import { type ObservationsOptions, observationsApi } from '../../src/http/observations-api.ts';
import { problem } from '../../src/http/problem.ts';
import { createRateLimit, OBSERVATION_RATE } from '../../src/http/rate-limit.ts';
import { StoreError } from '../../src/store/errors.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { EXTERNAL_SERIES } from '../../src/store/sums.ts';
import { mintObservationToken, type ObservationGrant } from '../../src/trust/observation-token.ts';
import { createFleet, type Fleet, keys, rolloutOf, START } from './fleet.ts';

/** Not at the start of a minute. */
const NOW = START + 90 * SECOND;
const AT_MINUTE = START + MINUTE;

let fleet: Fleet;
let store: Store;
let counted: number;

beforeEach(async () => {
  fleet = createFleet();
  fleet.commit('a', [rolloutOf('firmware')]);
  await fleet.settle();
  fleet.advance(90 * SECOND);
  store = createMemoryStore({ epoch: 'e' });
  counted = 0;
});

const mint = (grant: Partial<ObservationGrant> = {}) =>
  mintObservationToken(keys, {
    id: 'one',
    metrics: ['support-tickets', 'heating-time'],
    units: { 'heating-time': 'h' },
    ...grant,
    fleet: 'hvac',
    expiresAt: NOW + DAY,
    now: NOW,
  });
const token = await mint();

function appOf(over: Partial<ObservationsOptions> = {}) {
  return observationsApi({
    fleet: () => ({ name: 'hvac' }),
    program: () => fleet.state().published,
    keys,
    store,
    clock: fleet.clock,
    revoked: new Set(),
    onCounted: () => {
      counted += 1;
    },
    fault: (error) => problem('store-unavailable', { detail: String(error), next: 'wait' }),
    ...over,
  });
}

interface Answer {
  readonly status: number;
  readonly body: { readonly [key: string]: unknown };
  readonly headers: Headers;
}

async function send(text: string, { app = appOf(), bearer = token } = {}): Promise<Answer> {
  const response = await app.request('/v1/observations', {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(bearer === '' ? {} : { Authorization: `Bearer ${bearer}` }),
    },
    body: text,
  });
  return {
    status: response.status,
    body: (await response.json()) as Answer['body'],
    headers: response.headers,
  };
}
const post = (body: unknown, options?: Parameters<typeof send>[1]) => send(JSON.stringify(body), options);
const sums = async () => (await store.sums({})).map(({ series, name, at, sum }) => [series, name, at, sum]);

describe('what is posted', () => {
  test('one number is added to the minute that it is of', async () => {
    const answer = await post({ metric: 'support-tickets', value: 3 });
    expect([answer.status, answer.body]).toEqual([202, { effects: ['counted'] }]);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    await post({ metric: 'support-tickets', value: 0.5, at: '2026-11-21T09:01:59.999+01:00' });
    expect(await sums()).toEqual([[EXTERNAL_SERIES, 'support-tickets', AT_MINUTE, 3.5]]);
    expect(counted).toBe(2);
  });

  test('several come in a list, and each has its answer', async () => {
    const ticket = { metric: 'support-tickets', value: 1, id: 'T-1' };
    const { body } = await post({
      observations: [ticket, { metric: 'heating-time', value: 7, unit: 'h', id: 'T-1' }, ticket],
    });
    expect(body).toEqual({ effects: ['counted', 'counted', 'duplicate'] });
    expect(await sums()).toEqual([
      [EXTERNAL_SERIES, 'heating-time', AT_MINUTE, 7],
      [EXTERNAL_SERIES, 'support-tickets', AT_MINUTE, 1],
    ]);
  });

  test('an id counts once, whatever is said under it later, and wakes nobody then', async () => {
    await post({ metric: 'support-tickets', value: 1, id: 'T-1' });
    fleet.advance(3 * HOUR);
    expect((await post({ metric: 'support-tickets', value: 9, id: 'T-1' })).body).toEqual({
      effects: ['duplicate'],
    });
    expect([await sums(), counted]).toEqual([[[EXTERNAL_SERIES, 'support-tickets', AT_MINUTE, 1]], 1]);
  });

  test('0 is a number: it says that somebody looked', async () => {
    expect((await post({ metric: 'support-tickets', value: 0 })).status).toBe(202);
    expect(await sums()).toEqual([[EXTERNAL_SERIES, 'support-tickets', AT_MINUTE, 0]]);
  });

  test('it may be a day late and five minutes early', async () => {
    const at = (instant: number) => new Date(instant).toISOString();
    const value = { metric: 'support-tickets', value: 1 };
    for (const [instant, status] of [
      [NOW - DAY, 202],
      [NOW - DAY - 1, 400],
      [NOW + 5 * MINUTE, 202],
      [NOW + 5 * MINUTE + 1, 400],
    ] as const)
      expect((await post({ ...value, at: at(instant) })).status, at(instant)).toBe(status);
    expect((await sums()).map(([, , minute]) => minute)).toEqual([AT_MINUTE - DAY, AT_MINUTE + 5 * MINUTE]);
  });
});

describe('what is refused', () => {
  const ok = { metric: 'support-tickets', value: 1 };
  test.each<[string, unknown, string]>([
    ['a negative number', { ...ok, value: -1 }, '/value'],
    ['a text', { ...ok, value: '3' }, '/value'],
    ['no number', { metric: 'support-tickets' }, '/value'],
    ['null', { ...ok, value: null }, '/value'],
    ['no metric', { value: 1 }, '/metric'],
    ['a name that no gate can have', { ...ok, metric: 'a:b' }, '/metric'],
    ['another key', { ...ok, rollout: 'kiosk' }, '/rollout'],
    ['a key of the other form', { ...ok, observations: [ok] }, '/metric'],
    ['a list of nothing', { observations: [] }, '/observations'],
    ['a list that is too long', { observations: Array(1001).fill(ok) }, '/observations'],
    ['no list', { observations: ok }, '/observations'],
    ['an entry that is none', { observations: [ok, 7] }, '/observations/1'],
    ['an entry', { observations: [ok, ok, { ...ok, value: -2 }] }, '/observations/2/value'],
    ['an id that is too long', { ...ok, id: 'x'.repeat(129) }, '/id'],
    ['an id of nothing', { ...ok, id: '' }, '/id'],
    ['an id that steers terminals', { ...ok, id: '\u001b[2J' }, '/id'],
    ['a day', { ...ok, at: '2026-11-21' }, '/at'],
    ['an instant of nowhere', { ...ok, at: '2026-11-21T08:00:00' }, '/at'],
    ['a number of seconds', { ...ok, at: 1795248000 }, '/at'],
    ['next year', { observations: [{ ...ok, at: '2027-11-21T08:00:00Z' }] }, '/observations/0/at'],
    ['the 31st of November', { ...ok, at: '2026-11-31T08:00:00Z' }, '/at'],
    ['another unit', { metric: 'heating-time', value: 1, unit: 'min' }, '/unit'],
    ['a unit where the token names none', { ...ok, unit: 'tickets' }, '/unit'],
  ])('%s, by a pointer to it', async (_what, body, pointer) => {
    const answer = await post(body);
    expect(answer).toMatchObject({ status: 400, body: { pointer, next: expect.any(String) } });
    expect([await sums(), counted]).toEqual([[], 0]);
  });

  test.each(['1e400', '-1e400', 'NaN', 'Infinity', '1e16'])('%s', async (number) => {
    const answer = await send(`{"metric": "support-tickets", "value": ${number}}`);
    expect(answer.status).toBe(400);
    expect(await sums()).toEqual([]);
  });

  test('everything, where one entry is wrong or of another metric', async () => {
    const list = { observations: [ok, { metric: 'crashes', value: 1 }] };
    expect(await post(list)).toMatchObject({
      status: 403,
      body: { type: 'https://tidegate.dev/problems/other-metric', pointer: '/observations/1/metric' },
    });
    expect((await post({ observations: [ok, { ...ok, at: '2020-01-01T00:00:00Z' }] })).status).toBe(400);
    expect([await sums(), counted]).toEqual([[], 0]);
  });

  test('a body of more than 256 KiB, one that is no JSON, and methods that are not POST', async () => {
    expect((await send(JSON.stringify({ ...ok, id: 'x'.repeat(257 * 1024) }))).status).toBe(413);
    expect((await send('{')).status).toBe(400);
    const app = appOf();
    const headers = { Authorization: `Bearer ${token}` };
    expect((await app.request('/v1/observations', { headers })).status).toBe(405);
    const plain = { method: 'POST', body: JSON.stringify(ok), headers };
    expect((await app.request('/v1/observations', plain)).status).toBe(415);
  });
});

describe('the token', () => {
  const body = { metric: 'support-tickets', value: 1 };

  test('is needed, holds until it is taken back, and one for everything takes everything', async () => {
    expect(await post(body, { bearer: '' })).toMatchObject({
      status: 401,
      body: { type: 'https://tidegate.dev/problems/observation-token-refused' },
    });
    expect((await post(body, { bearer: `${token}x` })).status).toBe(401);
    expect((await post(body, { app: appOf({ revoked: new Set(['one']) }) })).status).toBe(401);
    expect((await post(body, { app: appOf({ fleet: () => ({ name: 'homes' }) }) })).status).toBe(401);
    expect(await sums()).toEqual([]);
    const all = await mint({ metrics: '*', units: {} });
    expect((await post({ metric: 'constructor', value: 1 }, { bearer: all })).status).toBe(202);
    fleet.advance(DAY);
    expect((await post(body)).status).toBe(401);
  });

  test('is judged before anything of the body is read', async () => {
    const request = new Request('http://x/v1/observations', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: 'Bearer e30.e30.e30' },
      body: JSON.stringify(body),
    });
    expect((await appOf().request(request)).status).toBe(401);
    expect(request.bodyUsed).toBe(false);
  });

  test('is not refused for good while the fleet is not known', async () => {
    const answer = await post(body, { app: appOf({ program: () => undefined }) });
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '10']);
  });
});

test('a store that takes nothing is no success, and wakes nobody', async () => {
  const broken = { addUp: () => Promise.reject(new StoreError('store-full', 'the disk is full')) };
  const answer = await post({ metric: 'support-tickets', value: 1 }, { app: appOf({ store: broken }) });
  expect([answer.status, counted]).toEqual([503, 0]);
});

test('numbers are counted by token, also those of requests that came to nothing', async () => {
  const rate = createRateLimit({ ...OBSERVATION_RATE, burst: 10, perSecond: 1 }, 7);
  const app = appOf({ rate });
  const list = (length: number) => ({
    observations: Array.from({ length }, () => ({ metric: 'support-tickets', value: 1 })),
  });
  expect((await post(list(8), { app })).status).toBe(202);
  const refused = await post(list(4), { app });
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '2']);
  expect((await send('{', { app })).status).toBe(400);
  expect((await send('{', { app })).status).toBe(429);
  const other = await mint({ id: 'two' });
  expect((await post(list(8), { app, bearer: other })).status).toBe(202);
  fleet.advance(4 * SECOND);
  expect((await post(list(4), { app })).status).toBe(202);
  expect((await sums()).map(([, , , sum]) => sum)).toEqual([20]);
});

test('metrics are called as gates call them', () => {
  const { pattern } = definitions.$defs.gateRule.properties.observations;
  expect(METRIC_PATTERN.source).toBe(pattern);
});

test('whatever is sent is stored whole and once, or refused and not at all', async () => {
  const instant = fc.constantFrom(
    '2026-11-21T08:00:00Z',
    '2026-11-20T08:01:00Z',
    '2020-01-01T00:00:00Z',
    'x',
  );
  const right = fc.record(
    {
      metric: fc.constantFrom('support-tickets', 'heating-time'),
      value: fc.oneof(fc.nat({ max: 1000 }), fc.double({ min: 0, max: 1e15, noNaN: true })),
      at: fc.constantFrom('2026-11-21T08:00:00Z', '2026-11-20T08:02:00Z'),
      id: fc.constantFrom('a', 'b', 'T-1 x'),
    },
    { requiredKeys: ['metric', 'value'] },
  );
  const wrong = fc.record(
    {
      metric: fc.oneof(fc.string(), fc.constantFrom('crashes', 'support-tickets')),
      value: fc.oneof(fc.double(), fc.string(), fc.constant(null), fc.nat()),
      at: fc.oneof(fc.string(), instant),
      id: fc.oneof(fc.string({ unit: 'binary' }), fc.nat()),
      unit: fc.oneof(fc.string(), fc.constant('h')),
      more: fc.anything(),
    },
    { requiredKeys: [] },
  );
  const entries = fc.array(fc.oneof({ weight: 5, arbitrary: right }, wrong), { maxLength: 5 });
  const bodies = fc.oneof(
    entries.map((observations) => ({ observations })),
    right,
    wrong,
    fc.jsonValue(),
  );
  await fc.assert(
    fc.asyncProperty(bodies, async (given) => {
      store = createMemoryStore({ epoch: 'e' });
      const answer = await post(given);
      const stored = await store.sums({});
      if (answer.status !== 202) {
        expect([400, 403]).toContain(answer.status);
        expect(answer.body).toMatchObject({ detail: expect.any(String), next: expect.any(String) });
        expect(stored).toEqual([]);
        return;
      }
      const list = (JSON.parse(JSON.stringify(given)).observations ?? [given]) as {
        id?: string;
        metric: string;
      }[];
      const seen = new Set<string>();
      const expected = list.map(({ id, metric }) => {
        const key = `${metric} ${id}`;
        if (id !== undefined && seen.has(key)) return 'duplicate';
        seen.add(key);
        return 'counted';
      });
      expect(answer.body).toEqual({ effects: expected });
      expect(stored.reduce((total, { count }) => total + count, 0)).toBe(
        expected.filter((effect) => effect === 'counted').length,
      );
      expect((await post(given)).status).toBe(202);
    }),
    { numRuns: 400 },
  );
});
