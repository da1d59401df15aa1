/** The TUF repository as caches and clients see it over HTTP. */
import { beforeEach, expect, test } from 'vitest';
import { tufFiles } from '../../src/http/tuf.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';

let store: Store;
beforeEach(async () => {
  store = createMemoryStore({ epoch: 'epoch' });
  await publish(1, {
    'metadata/timestamp.json': '{"t":1}',
    'metadata/1.root.json': '{"r":1}',
    'targets/a/ff.b c.json': '{}',
  });
});

async function publish(version: number, files: Record<string, string>): Promise<void> {
  const contents = Object.entries(files).map(([path, text]) => [path, Buffer.from(text)] as const);
  const needed = new Set(Object.keys(files));
  await store.swapTuf({ version, state: {}, files: new Map(contents), needed, now: 0 }, version - 1);
}

const get = (path: string, headers: Record<string, string> = {}) =>
  tufFiles({ store }).request(path, { headers });

test('what has its version or digest in its name is for ever, the timestamp for half a minute', async () => {
  const root = await get('/tuf/metadata/1.root.json');
  expect([root.status, await root.text()]).toEqual([200, '{"r":1}']);
  expect(root.headers.get('cache-control')).toBe('public, max-age=31536000, immutable, no-transform');
  const target = await get('/tuf/targets/a/ff.b%20c.json');
  expect([target.status, target.headers.get('content-length')]).toEqual([200, '2']);
  const timestamp = await get('/tuf/metadata/timestamp.json');
  expect(timestamp.headers.get('cache-control')).toBe('public, max-age=30, must-revalidate');
  expect(timestamp.headers.get('content-type')).toBe('application/json');
});

test('a client that has the timestamp already is told so, until it is another', async () => {
  const app = tufFiles({ store });
  const first = await app.request('/tuf/metadata/timestamp.json');
  const headers = { 'If-None-Match': first.headers.get('etag') ?? '' };
  expect((await app.request('/tuf/metadata/timestamp.json', { headers })).status).toBe(304);
  await publish(2, { 'metadata/timestamp.json': '{"t":2}' });
  const next = await app.request('/tuf/metadata/timestamp.json', { headers });
  expect([next.status, await next.text()]).toEqual([200, '{"t":2}']);
});

test.each([
  '/tuf/metadata/2.root.json',
  '/tuf/metadata/%2e%2e%2fmetadata%2ftimestamp.json',
  '/tuf/metadata/%ff',
  '/tuf/targets/metadata/timestamp.json',
  `/tuf/targets/${'a'.repeat(2000)}`,
])('%s is not there, and caches may say so for a minute', async (path) => {
  const response = await get(path);
  expect([response.status, response.headers.get('cache-control')]).toEqual([404, 'public, max-age=60']);
});
