/** Trust that servers make for themselves, one after another and beside each other. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DAY } from '../../../src/core/model/time.ts';
import { openKeys } from '../../../src/trust/keys.ts';

const NOW = Date.UTC(2026, 0, 1);
const nothing = async () => undefined;

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidegate-trust-'));
});
afterEach(() => rm(root, { recursive: true }));

const trustOf = async (
  folder: string,
  now = NOW,
  published: (version: number) => Promise<Uint8Array | undefined> = nothing,
) => await (await openKeys(join(root, folder))).tuf.developmentTrust({ now, published });

test('the root is made once, is the same after a restart, and is renewed at half of its life', async () => {
  const first = await trustOf('a');
  expect((await trustOf('a', NOW + 180 * DAY)).roots).toEqual(first.roots);
  const later = await trustOf('a', NOW + 183 * DAY);
  expect(later.roots.map(({ envelope }) => envelope.signed.version)).toEqual([1, 2]);
  expect(later.roots[0]?.bytes).toEqual(first.roots[0]?.bytes);
  expect(later.roots[1]?.envelope.signed.expires).toBe('2027-07-03T00:00:00Z');
  expect((await readdir(join(root, 'a'))).filter((name) => name.endsWith('.json'))).toEqual([
    '1.root.json',
    '2.root.json',
  ]);
});

test('another key of an online role is taken into the next root; another root key is refused', async () => {
  await trustOf('a');
  await rm(join(root, 'a', 'snapshot.pem'));
  const { roots } = await trustOf('a');
  expect(roots).toHaveLength(2);
  await rm(join(root, 'a', 'root.pem'));
  await rm(join(root, 'a', 'timestamp.pem'));
  await expect(trustOf('a')).rejects.toThrow(
    /^the key root\.pem is not the one that signed 2\.root\.json: restore it/,
  );
});

test('servers that share keys take over what one of them has published; servers that do not are told', async () => {
  await trustOf('a');
  const { roots } = await trustOf('a', NOW + 200 * DAY);
  const published = async (version: number) => roots[version - 1]?.bytes;
  // A copy of the keys as they were at first.
  await openKeys(join(root, 'b'));
  for (const name of await readdir(join(root, 'a'))) {
    if (name === '2.root.json') continue;
    await rm(join(root, 'b', name), { force: true });
    await writeFile(join(root, 'b', name), await readFile(join(root, 'a', name)), { mode: 0o600 });
  }
  expect((await trustOf('b', NOW + 200 * DAY, published)).roots).toHaveLength(2);
  expect(await readFile(join(root, 'b', '2.root.json'))).toEqual(
    await readFile(join(root, 'a', '2.root.json')),
  );

  await trustOf('c');
  await expect(trustOf('c', NOW + DAY, published)).rejects.toThrow(/copy the folder keys\/ of the first one/);
  await expect(trustOf('d', NOW + DAY, published)).rejects.toThrow(
    /the key root\.pem is not the one that signed/,
  );
});

test('root metadata that was changed is refused by name', async () => {
  await trustOf('a');
  const path = join(root, 'a', '1.root.json');
  const text = await readFile(path, 'utf8');
  for (const [changed, message] of [
    [text.replace('2027', '2037'), /^1\.root\.json must be signed by 1 of its 1 keys, found 0$/],
    [text.slice(0, -10), /^1\.root\.json is no JSON$/],
    [text.replace('"version": 1', '"version": 2'), /^1\.root\.json must have version 1, found 2$/],
    [
      text.replace('"consistent_snapshot": true', '"consistent_snapshot": false'),
      /consistent_snapshot must be true/,
    ],
    [text.replace('"threshold": 1', '"threshold": 2'), /threshold must not be more than its keys/],
  ] as const) {
    await rm(path);
    await writeFile(path, changed, { mode: 0o600 });
    await expect(trustOf('a')).rejects.toThrow(message);
  }
});
