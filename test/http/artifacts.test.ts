/** Artifacts over HTTP: whole, in parts, or from a mirror. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { emptyTally } from '../../src/core/assign/tally.ts';
import type { Program } from '../../src/core/model/program.ts';
import { artifactFiles } from '../../src/http/artifacts.ts';
import { type ArtifactFolder, openArtifactFolder } from '../../src/store/artifact-folder.ts';

const CONTENT = Buffer.from(Array.from({ length: 200_000 }, (_, n) => n % 251));

let folder: string;
let artifacts: ArtifactFolder;
let place: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-artifacts-'));
  artifacts = openArtifactFolder(folder);
  const { sha256 } = await artifacts.add(
    Readable.from([CONTENT.subarray(0, 70_000), CONTENT.subarray(70_000)]),
  );
  place = `/tuf/targets/artifacts/kiosk/${sha256}.${sha256.slice(0, 12)}-app.swu`;
});
afterEach(() => rm(folder, { recursive: true }));

const MIRRORED = 'e'.repeat(64);

function get(path: string, headers: Record<string, string> = {}, method = 'GET') {
  const manifest = {
    modules: [
      { artifacts: [{ sha256: MIRRORED, urls: ['https://cdn.example/a', 'https://other.example/a'] }] },
    ],
  };
  const program = { rollouts: [{ kept: [], knownGood: { manifest } }] } as unknown as Program;
  const state = () => ({
    wanted: undefined,
    outcomes: new Map(),
    tip: undefined,
    published: { version: 1, flagsVersion: 0, program },
    report: [],
    gates: new Map(),
    tally: emptyTally(),
  });
  return artifactFiles({ state, artifacts }).request(path, { headers, method });
}

test('one that the server keeps is sent whole, for ever, and not again to who has it', async () => {
  const response = await get(place);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-length')).toBe('200000');
  expect(response.headers.get('accept-ranges')).toBe('bytes');
  expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable, no-transform');
  expect(Buffer.from(await response.arrayBuffer()).equals(CONTENT)).toBe(true);
  const etag = response.headers.get('etag') ?? '';
  expect((await get(place, { 'If-None-Match': etag })).status).toBe(304);
  const head = await get(place, {}, 'HEAD');
  expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '200000', '']);
});

test.each([
  ['bytes=0-0', 0, 0],
  ['bytes=100-199999', 100, 199_999],
  ['bytes=199999-', 199_999, 199_999],
  ['bytes=-5', 199_995, 199_999],
  ['bytes=-999999', 0, 199_999],
  ['bytes=150000-999999999', 150_000, 199_999],
])('%s is that part', async (range, first, last) => {
  const response = await get(place, { Range: range });
  expect(response.status).toBe(206);
  expect(response.headers.get('content-range')).toBe(`bytes ${first}-${last}/200000`);
  expect(Buffer.from(await response.arrayBuffer()).equals(CONTENT.subarray(first, last + 1))).toBe(true);
});

test.each(['bytes=200000-', 'bytes=-0', 'bytes=999999-9999999'])(
  '%s is refused with how much there is',
  async (range) => {
    const response = await get(place, { Range: range });
    expect([response.status, response.headers.get('content-range')]).toEqual([416, 'bytes */200000']);
  },
);

test.each(['bytes=5-2', 'bytes=0-1,3-4', 'items=0-1', 'bytes=-', 'bytes=x-y'])(
  '%s is passed over',
  async (range) => {
    expect((await get(place, { Range: range })).status).toBe(200);
  },
);

test('a part of what has changed meanwhile is not sent', async () => {
  expect((await get(place, { Range: 'bytes=0-9', 'If-Range': '"another"' })).status).toBe(200);
  const etag = (await get(place)).headers.get('etag') ?? '';
  expect((await get(place, { Range: 'bytes=0-9', 'If-Range': etag })).status).toBe(206);
});

test('another is where its first mirror is, and what nobody knows is nowhere', async () => {
  const elsewhere = await get(`/tuf/targets/artifacts/kiosk/${MIRRORED}.app.swu`);
  expect([elsewhere.status, elsewhere.headers.get('location')]).toEqual([307, 'https://cdn.example/a']);
  expect((await get(`/tuf/targets/artifacts/kiosk/${'f'.repeat(64)}.app.swu`)).status).toBe(404);
  expect((await get('/tuf/targets/artifacts/kiosk/app.swu')).status).toBe(404);
  expect((await get(`/tuf/targets/artifacts/../${'f'.repeat(64)}.x`)).status).toBe(404);
});

test('a file that was cut off while it came in is not there, and leaves nothing', async () => {
  const before = await readdir(folder);
  const broken = async function* () {
    yield Buffer.alloc(1000);
    throw new Error('cut off');
  };
  await expect(artifacts.add(broken())).rejects.toThrow('cut off');
  expect(await readdir(folder)).toEqual(before);
  const empty = await artifacts.add(Readable.from([]));
  expect(empty).toEqual({
    sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    sha1: 'da39a3ee5e6b4b0d3255bfef95601890afd80709',
    md5: 'd41d8cd98f00b204e9800998ecf8427e',
    sizeBytes: 0,
  });
  expect((await get(`/tuf/targets/artifacts/kiosk/${empty.sha256}.empty`)).status).toBe(200);
});
