import { expect, test } from 'vitest';
import type { Census } from '../../src/core/model/census.ts';
import { MINUTE } from '../../src/core/model/time.ts';
import { decodeCensus } from '../../src/documents/census.ts';
import { censusApi } from '../../src/http/census-api.ts';

const AT = Date.UTC(2026, 10, 21, 8);
const counted = (at: number): Census => ({
  at,
  devices: 2,
  omitted: {},
  rates: {},
  cells: [{ tags: { product: 'kiosk' }, devices: 2 }],
});

test('whoever asks again within a minute gets the census that was counted', async () => {
  let now = AT;
  let counts = 0;
  const app = censusApi({
    clock: { now: () => now },
    census: (at) => {
      counts += 1;
      return Promise.resolve(counted(at));
    },
  });
  const ask = async () => await (await app.request('/api/census')).text();
  const first = await ask();
  expect(decodeCensus(first)).toEqual({ ok: true, census: counted(AT) });
  now += MINUTE - 1;
  expect(await ask()).toBe(first);
  now += 1;
  expect(await ask()).not.toBe(first);
  expect(counts).toBe(2);
});

test('a count that failed is no answer for the next one, and without a snapshot there is none', async () => {
  let answer: (() => Promise<Census>) | undefined;
  const app = censusApi({ clock: { now: () => AT }, census: () => answer?.() });
  expect((await app.request('/api/census')).status).toBe(503);
  answer = () => Promise.reject(new Error('the database is away'));
  expect((await app.request('/api/census')).status).toBe(500);
  answer = () => Promise.resolve(counted(AT));
  expect((await app.request('/api/census')).status).toBe(200);
});
