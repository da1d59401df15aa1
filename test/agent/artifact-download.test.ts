/** Artifacts from mirrors that are dead, slow, cut off or wrong: real servers, and time that passes when a test says so. */
import { spawn } from 'node:child_process';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { serve } from '@hono/node-server';
import fc from 'fast-check';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import {
  type ArtifactDownload,
  type ArtifactDownloadOptions,
  downloadArtifact,
} from '../../src/agent/artifact-download.ts';
import type { Clock } from '../../src/clock.ts';
import { emptyTally } from '../../src/core/assign/tally.ts';
import { SECOND } from '../../src/core/model/time.ts';
import { artifactFiles } from '../../src/http/artifacts.ts';
import { openArtifactFolder } from '../../src/store/artifact-folder.ts';

const CONTENT = Buffer.from(Array.from({ length: 200_000 }, (_, n) => n % 251));
const OTHER = Buffer.from(CONTENT.map((byte) => byte ^ 1));
const ARTIFACT = { sha256: hash('sha256', CONTENT), sizeBytes: CONTENT.byteLength };
const HALF = 100_000;
const IDLE_MS = 30 * SECOND;

let folder: string;
let path: string;
let time: TestTime;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-download-'));
  path = join(folder, 'app.swu');
  time = createTestTime();
  return () => rm(folder, { recursive: true });
});

function download(
  urls: readonly string[],
  over: Partial<ArtifactDownloadOptions> & { readonly artifact?: typeof ARTIFACT } = {},
): Promise<ArtifactDownload> {
  const { artifact = ARTIFACT, ...options } = over;
  return downloadArtifact({ ...artifact, urls }, { path, idleMs: IDLE_MS, fetch, clock: time, ...options });
}

/** Whether the artifact is installed, with nothing beside it. */
async function isInstalled(): Promise<boolean> {
  expect(await readdir(folder)).toEqual(['app.swu']);
  return (await readFile(path)).equals(CONTENT);
}

const partBytes = async () => (await stat(`${path}.part`).catch(() => undefined))?.size ?? 0;

interface TestTime extends Pick<Clock, 'sleep'> {
  /** How many wait now. */
  waiting(): number;
  /** Whoever waits now has waited long enough. */
  elapse(): void;
}

function createTestTime(): TestTime {
  const wakers = new Set<() => void>();
  return {
    sleep(_duration, signal) {
      if (signal?.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const wake = () => {
          wakers.delete(wake);
          resolve();
        };
        wakers.add(wake);
        signal?.addEventListener('abort', wake, { once: true });
      });
    },
    waiting: () => wakers.size,
    elapse() {
      for (const wake of wakers) wake();
    },
  };
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await wait(2);
}

/** What a mirror does. By default it has the artifact, knows ranges, and gives a strong entity tag. */
interface Behaviour {
  readonly content?: Buffer;
  readonly etag?: string;
  /** Also where If-Range says something else. */
  readonly alwaysRange?: boolean;
  /** After so many bytes nothing more comes; then `stopped` says how it ends. */
  readonly bytesMax?: number;
  readonly stopped?: 'breaks' | 'stalls';
  readonly instead?: (response: ServerResponse, request: IncomingMessage) => void;
}

interface Mirror {
  readonly url: string;
  readonly origin: string;
  readonly requests: IncomingHttpHeaders[];
  behaviour: Behaviour;
}

async function startMirror(behaviour: Behaviour = {}): Promise<Mirror> {
  const server = createServer((request, response) => {
    mirror.requests.push(request.headers);
    const { instead } = mirror.behaviour;
    if (instead === undefined) void answer(mirror.behaviour, request, response);
    else instead(response, request);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const mirror: Mirror = { url: `${origin}/app.swu`, origin, requests: [], behaviour };
  return mirror;
}

async function answer(behaviour: Behaviour, { headers }: IncomingMessage, response: ServerResponse) {
  const { content = CONTENT, etag = '"v1"', bytesMax, stopped } = behaviour;
  const [, from] = /^bytes=(\d+)-$/.exec(headers.range ?? '') ?? [];
  const isSame = behaviour.alwaysRange === true || (headers['if-range'] ?? etag) === etag;
  const first = isSame ? Number(from ?? 0) : 0;
  if (first >= content.byteLength) {
    response.writeHead(416, { 'Content-Range': `bytes */${content.byteLength}` }).end();
    return;
  }
  const isPart = from !== undefined && isSame;
  response.writeHead(isPart ? 206 : 200, {
    ...(etag === '' ? {} : { ETag: etag }),
    'Content-Length': content.byteLength - first,
    ...(isPart ? { 'Content-Range': `bytes ${first}-${content.byteLength - 1}/${content.byteLength}` } : {}),
  });
  if (bytesMax === undefined) {
    response.end(content.subarray(first));
    return;
  }
  response.write(content.subarray(first, first + bytesMax));
  if (stopped === 'stalls') return;
  // What had arrived and was not read when a connection broke is lost.
  await until(async () => (await partBytes()) === first + bytesMax);
  response.destroy();
}

/** An address where nobody listens. */
async function deadUrl(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `http://127.0.0.1:${port}/app.swu`;
}

const ranges = ({ requests }: Mirror) =>
  requests.map(({ range, 'if-range': ifRange }) => [range, ifRange].filter((each) => each !== undefined));

const reasonsOf = (result: ArtifactDownload) =>
  result.kind === 'failed' ? result.attempts.map(({ reason }) => reason) : [];

test('S1.19 a dead first mirror still installs', async () => {
  const [dead, second] = [await deadUrl(), await startMirror()];
  expect(await download([dead, second.url])).toEqual({
    kind: 'downloaded',
    path,
    from: second.url,
    resumedBytes: 0,
  });
  expect(await isInstalled()).toBe(true);
  expect(second.requests).toHaveLength(1);
});

test('mirrors are asked in order, and none after the first that has it', async () => {
  const [first, second] = [await startMirror(), await startMirror()];
  expect(await download([first.url, second.url])).toMatchObject({ from: first.url });
  expect(second.requests).toEqual([]);
});

const chunked = (content: Buffer) => (response: ServerResponse) => {
  response.writeHead(200);
  response.write(content.subarray(0, HALF));
  response.end(content.subarray(HALF));
};
const redirect = (location: string) => (response: ServerResponse) =>
  void response.writeHead(302, { Location: location }).end();

test.each<[string, Behaviour, RegExp]>([
  ['has an error', { instead: (response) => void response.writeHead(503).end() }, /^answers with HTTP 503$/],
  [
    'does not have it',
    { instead: (response) => void response.writeHead(404).end('no') },
    /^answers with HTTP 404$/,
  ],
  ['hangs up', { instead: (response) => void response.destroy() }, /^does not answer, or not to the end: /],
  ['has other bytes', { content: OTHER }, /^sends other bytes than those with sha256 [0-9a-f]{64}$/],
  [
    'says that it has more',
    { content: Buffer.concat([CONTENT, OTHER]) },
    /^has 400000 bytes, and 200000 are expected$/,
  ],
  ['says that it has fewer', { content: CONTENT.subarray(1) }, /^has 199999 bytes, and 200000 are expected$/],
  [
    'sends more',
    { instead: chunked(Buffer.concat([CONTENT, Buffer.from('x')])) },
    /^sends more than the 200000 bytes that are expected$/,
  ],
  [
    'sends fewer',
    { instead: chunked(CONTENT.subarray(0, -1)) },
    /^ends before the 200000 bytes that are expected; 199999 of 200000 bytes are kept, to go on from$/,
  ],
  [
    'sends a part without being asked',
    { instead: (response) => void response.writeHead(206).end(CONTENT) },
    /HTTP 206/,
  ],
  ['redirects for ever', { instead: redirect('/app.swu') }, /^redirects more often than the 2 times/],
  [
    'redirects to another scheme',
    { instead: redirect('file:///etc/passwd') },
    /^redirects to something other/,
  ],
  [
    'redirects to nowhere',
    { instead: (response) => void response.writeHead(302).end() },
    /^redirects to something other/,
  ],
])('a mirror that %s is given up, and the next one installs', async (_what, behaviour, reason) => {
  const [wrong, right] = [await startMirror(behaviour), await startMirror()];
  const failed = await download([wrong.url]);
  expect(failed).toEqual({
    kind: 'failed',
    attempts: [{ url: wrong.url, reason: expect.stringMatching(reason) }],
  });
  await expect(stat(path)).rejects.toThrow('ENOENT');
  expect(await download([wrong.url, right.url])).toMatchObject({ kind: 'downloaded', from: right.url });
  expect(await isInstalled()).toBe(true);
});

test('nothing is left of a mirror that never ends, nor of one with other bytes', async () => {
  const endless = await startMirror({
    instead(response) {
      const more = () => {
        while (!response.destroyed && response.write(OTHER.subarray(0, 65_536)));
      };
      response.on('drain', more);
      more();
    },
  });
  const other = await startMirror({ content: OTHER });
  expect(reasonsOf(await download([endless.url, other.url]))).toEqual([
    expect.stringMatching(/^sends more/),
    expect.stringMatching(/^sends other bytes/),
  ]);
  expect(await readdir(folder)).toEqual([]);
});

test.each(['ftp://mirror.example/app.swu', 'app.swu', 'http://'])('%s is no mirror', async (url) => {
  const right = await startMirror();
  expect(reasonsOf(await download([url]))).toEqual(['is no address with http:// or https://']);
  expect(await download([url, right.url])).toMatchObject({ kind: 'downloaded' });
});

test('a mirror that does not answer is given up after the idle limit, not before', async () => {
  const [silent, right] = [await startMirror({ instead: () => undefined }), await startMirror()];
  const result = download([silent.url, right.url]);
  await until(() => silent.requests.length === 1);
  expect(right.requests).toEqual([]);
  time.elapse();
  expect(await result).toMatchObject({ kind: 'downloaded', from: right.url });
  expect(time.waiting()).toBe(0);
});

test('where a mirror stalls, the next one goes on', async () => {
  const stalling = await startMirror({ bytesMax: HALF, stopped: 'stalls' });
  const right = await startMirror();
  const result = download([stalling.url, right.url]);
  await until(async () => (await partBytes()) === HALF && time.waiting() === 1);
  time.elapse();
  expect(await result).toEqual({ kind: 'downloaded', path, from: right.url, resumedBytes: HALF });
  // Another mirror's tag says nothing about its own bytes.
  expect(ranges(right)).toEqual([[`bytes=${HALF}-`]]);
  expect(await isInstalled()).toBe(true);
});

test('a mirror that stalls says for how long, and how much there is', async () => {
  const stalling = await startMirror({ bytesMax: HALF, stopped: 'stalls' });
  const result = download([stalling.url]);
  await until(async () => (await partBytes()) === HALF && time.waiting() === 1);
  time.elapse();
  expect(reasonsOf(await result)).toEqual([
    'has sent nothing for 30s; 100000 of 200000 bytes are kept, to go on from',
  ]);
});

test('what came before a connection broke is gone on from, by the entity tag', async () => {
  const mirror = await startMirror({ bytesMax: HALF, stopped: 'breaks' });
  expect(reasonsOf(await download([mirror.url]))).toEqual([
    expect.stringMatching(/^does not answer, or not to the end: .*; 100000 of 200000 bytes are kept/),
  ]);
  mirror.behaviour = { bytesMax: HALF / 2, stopped: 'breaks' };
  expect(await download([mirror.url])).toMatchObject({ kind: 'failed' });
  mirror.behaviour = {};
  expect(await download([mirror.url])).toEqual({
    kind: 'downloaded',
    path,
    from: mirror.url,
    resumedBytes: 150_000,
  });
  expect(ranges(mirror)).toEqual([[], ['bytes=100000-', '"v1"'], ['bytes=150000-', '"v1"']]);
  expect(await isInstalled()).toBe(true);
});

test('a process that is killed in the middle is gone on from by the next', async () => {
  const mirror = await startMirror({ bytesMax: HALF, stopped: 'stalls' });
  const module = (name: string) =>
    JSON.stringify(fileURLToPath(new URL(`../../src/${name}.ts`, import.meta.url)));
  const script = `
    import { downloadArtifact } from ${module('agent/artifact-download')};
    import { systemClock } from ${module('clock')};
    const [artifact, options] = ${JSON.stringify([
      { ...ARTIFACT, urls: [mirror.url] },
      { path, idleMs: 60_000 },
    ])};
    await downloadArtifact(artifact, { ...options, fetch, clock: systemClock });`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'inherit' });
  const exited = once(child, 'exit');
  await until(async () => (await partBytes()) === HALF || child.exitCode !== null);
  child.kill('SIGKILL');
  expect(await exited).toEqual([null, 'SIGKILL']);
  mirror.behaviour = {};
  expect(await download([mirror.url])).toMatchObject({ kind: 'downloaded', resumedBytes: HALF });
  expect(ranges(mirror)).toEqual([[], ['bytes=100000-', '"v1"']]);
  expect(await isInstalled()).toBe(true);
});

test('where the entity tag has changed, the whole is sent and taken', async () => {
  const mirror = await startMirror({ content: OTHER, bytesMax: HALF, stopped: 'breaks' });
  await download([mirror.url]);
  mirror.behaviour = { etag: '"v2"' };
  expect(await download([mirror.url])).toMatchObject({ kind: 'downloaded', resumedBytes: 0 });
  expect(ranges(mirror)).toEqual([[], ['bytes=100000-', '"v1"']]);
  expect(await isInstalled()).toBe(true);
});

test('a weak entity tag is not sent, and neither is one where there is none', async () => {
  for (const etag of ['W/"v1"', '']) {
    const mirror = await startMirror({ etag, bytesMax: HALF, stopped: 'breaks' });
    await download([mirror.url]);
    mirror.behaviour = { etag };
    expect(await download([mirror.url])).toMatchObject({ kind: 'downloaded', resumedBytes: HALF });
    expect(ranges(mirror)).toEqual([[], ['bytes=100000-']]);
    expect(await isInstalled()).toBe(true);
    await rm(path);
  }
});

test('bytes of another mirror that turn out wrong cost one download, not the mirror', async () => {
  const wrong = await startMirror({ content: OTHER, bytesMax: HALF, stopped: 'breaks' });
  const right = await startMirror();
  expect(await download([wrong.url, right.url])).toEqual({
    kind: 'downloaded',
    path,
    from: right.url,
    resumedBytes: 0,
  });
  expect(ranges(right)).toEqual([['bytes=100000-'], []]);
  expect(await isInstalled()).toBe(true);
});

test('a mirror whose own bytes are wrong is asked for all of them once, and leaves nothing to the next', async () => {
  const broken = await startMirror({ bytesMax: HALF, stopped: 'breaks' });
  const wrong = await startMirror({ content: OTHER });
  const right = await startMirror();
  expect(await download([broken.url, wrong.url, right.url])).toMatchObject({
    from: right.url,
    resumedBytes: 0,
  });
  expect([ranges(wrong), ranges(right)]).toEqual([[['bytes=100000-'], []], [[]]]);
  expect(await isInstalled()).toBe(true);
});

test('bytes that a power cut spoilt are downloaded again, also where one mirror sent them all', async () => {
  const mirror = await startMirror({ bytesMax: HALF, stopped: 'breaks' });
  await download([mirror.url]);
  await writeFile(`${path}.part`, Buffer.alloc(HALF));
  mirror.behaviour = {};
  expect(await download([mirror.url])).toMatchObject({ kind: 'downloaded', resumedBytes: 0 });
  expect(ranges(mirror)).toEqual([[], ['bytes=100000-', '"v1"'], []]);
  expect(await isInstalled()).toBe(true);
});

const instead =
  (status: number, headers: Record<string, string>, body: Buffer = CONTENT.subarray(HALF)) =>
  (response: ServerResponse, { headers: { range } }: IncomingMessage) =>
    void (range === undefined
      ? response.writeHead(200).end(CONTENT)
      : response.writeHead(status, headers).end(body));

test.each<[string, Behaviour]>([
  ['sends a part in spite of a changed tag', { etag: '"v2"', alwaysRange: true }],
  ['refuses the range', { instead: instead(416, {}) }],
  ['sends another part', { instead: instead(206, { 'Content-Range': 'bytes 5-199999/200000' }) }],
  ['does not say which part', { instead: instead(206, { 'Content-Type': 'multipart/byteranges' }) }],
  [
    'compresses the part',
    {
      instead: instead(
        206,
        { 'Content-Range': 'bytes 100000-199999/200000', 'Content-Encoding': 'gzip' },
        gzipSync(CONTENT),
      ),
    },
  ],
])('a mirror that %s is asked for the whole', async (_what, behaviour) => {
  const mirror = await startMirror({ bytesMax: HALF, stopped: 'breaks' });
  await download([mirror.url]);
  mirror.behaviour = behaviour;
  expect(await download([mirror.url])).toMatchObject({ kind: 'downloaded', resumedBytes: 0 });
  expect(mirror.requests).toHaveLength(3);
  expect(await isInstalled()).toBe(true);
});

test('a mirror that knows no ranges sends all of it', async () => {
  const broken = await startMirror({ bytesMax: HALF, stopped: 'breaks' });
  const plain = await startMirror({ instead: (response) => void response.writeHead(200).end(CONTENT) });
  expect(await download([broken.url, plain.url])).toMatchObject({ from: plain.url, resumedBytes: 0 });
  expect(plain.requests).toHaveLength(1);
  expect(await isInstalled()).toBe(true);
});

test('what has come is kept where a mirror has something of another size', async () => {
  const broken = await startMirror({ bytesMax: HALF, stopped: 'breaks' });
  const longer = await startMirror({ content: Buffer.concat([CONTENT, CONTENT]) });
  const shorter = await startMirror({ content: CONTENT.subarray(0, 10) });
  const right = await startMirror();
  expect(await download([broken.url, longer.url, shorter.url, right.url])).toMatchObject({
    from: right.url,
    resumedBytes: HALF,
  });
  expect([longer, shorter].map(({ requests }) => requests.length)).toEqual([1, 1]);
});

test('a part that is longer than was asked for is not written', async () => {
  const broken = await startMirror({ bytesMax: HALF, stopped: 'breaks' });
  const headers = { 'Content-Range': 'bytes 100000-199999/200000' };
  const longer = await startMirror({ instead: instead(206, headers, CONTENT) });
  expect(reasonsOf(await download([broken.url, longer.url]))).toEqual([
    expect.anything(),
    'sends more than the 200000 bytes that are expected; 100000 of 200000 bytes are kept, to go on from',
  ]);
});

test('what was compressed on the way is taken as it is decoded', async () => {
  const zipping = await startMirror({
    instead: (response) =>
      void response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(gzipSync(CONTENT)),
  });
  expect(await download([zipping.url])).toMatchObject({ kind: 'downloaded' });
  expect(zipping.requests[0]?.['accept-encoding']).toBe('identity');
  expect(await isInstalled()).toBe(true);
});

test('a file that is there already costs no request', async () => {
  await writeFile(path, CONTENT);
  const there = { kind: 'downloaded', path, resumedBytes: CONTENT.byteLength };
  expect(await download([await deadUrl()])).toEqual(there);
  expect(await isInstalled()).toBe(true);
});

test('a file that stopped short of its name costs none either', async () => {
  await writeFile(`${path}.part`, CONTENT);
  expect(await download([])).toMatchObject({ kind: 'downloaded', resumedBytes: CONTENT.byteLength });
  expect(await isInstalled()).toBe(true);
});

test('an artifact of no bytes costs none', async () => {
  const artifact = { sha256: hash('sha256', ''), sizeBytes: 0 };
  expect(await download([], { artifact })).toEqual({ kind: 'downloaded', path, resumedBytes: 0 });
  expect((await readFile(path)).byteLength).toBe(0);
});

test('another file of the same name stays until the artifact is whole', async () => {
  await writeFile(path, OTHER);
  const mirror = await startMirror({ bytesMax: HALF, stopped: 'breaks' });
  await download([mirror.url]);
  expect((await readFile(path)).equals(OTHER)).toBe(true);
  mirror.behaviour = {};
  await download([mirror.url]);
  expect(await isInstalled()).toBe(true);
});

test.each<[string, Buffer, string | undefined]>([
  ['of another artifact', CONTENT.subarray(0, HALF), JSON.stringify({ sha256: 'f'.repeat(64), url: 'x' })],
  ['that is too long', Buffer.concat([CONTENT, CONTENT]), undefined],
  ['of the right size and wrong', OTHER, undefined],
])('a partial file %s is thrown away', async (_what, part, note) => {
  await writeFile(`${path}.part`, part);
  if (note !== undefined) await writeFile(`${path}.part.json`, note);
  const mirror = await startMirror();
  expect(await download([mirror.url])).toMatchObject({ kind: 'downloaded', resumedBytes: 0 });
  expect(ranges(mirror)).toEqual([[]]);
  expect(await isInstalled()).toBe(true);
});

test.each(['', '{"sha2', 'null', '[]', '{"sha256":1}'])(
  'a partial file with the note %j is gone on from',
  async (note) => {
    await writeFile(`${path}.part`, CONTENT.subarray(0, HALF));
    await writeFile(`${path}.part.json`, note);
    const mirror = await startMirror();
    expect(await download([mirror.url])).toMatchObject({ resumedBytes: HALF });
    expect(await isInstalled()).toBe(true);
  },
);

test('a download that is aborted ends with the reason, and keeps what has come', async () => {
  const mirror = await startMirror({ bytesMax: HALF, stopped: 'stalls' });
  const controller = new AbortController();
  const result = download([mirror.url, mirror.url], { signal: controller.signal });
  await until(async () => (await partBytes()) === HALF);
  controller.abort(new Error('the device shuts down'));
  await expect(result).rejects.toThrow('the device shuts down');
  expect(await partBytes()).toBe(HALF);
  expect(time.waiting()).toBe(0);
  await expect(download([mirror.url], { signal: controller.signal })).rejects.toThrow('shuts down');
  expect(mirror.requests).toHaveLength(1);
});

test('a download is aborted also where fetch does not know how', async () => {
  const controller = new AbortController();
  const deaf = () => {
    controller.abort(new Error('enough'));
    return new Promise<never>(() => undefined);
  };
  await expect(
    download(['http://mirror.example'], { signal: controller.signal, fetch: deaf }),
  ).rejects.toThrow('enough');
});

test('what the disk refuses is an exception', async () => {
  await expect(download([], { path: join(folder, 'nowhere/app.swu') })).rejects.toThrow('ENOENT');
});

test("a mirror's credentials go to its own origin, and nowhere that it redirects to", async () => {
  const storage = await startMirror();
  const [first, second] = [
    await startMirror({ instead: redirect(storage.url) }),
    await startMirror({
      instead(response, { url }) {
        if (url === '/app.swu') redirect('/elsewhere/app.swu')(response);
        else response.writeHead(503).end();
      },
    }),
  ];
  const asked: string[] = [];
  const authorization = async (url: URL) => {
    asked.push(url.href);
    return url.origin === second.origin ? 'Bearer two' : 'Bearer one';
  };
  expect(await download([second.url, first.url], { authorization })).toMatchObject({ from: first.url });
  expect(asked).toEqual([second.url, first.url]);
  const seen = [first, second, storage].map(({ requests }) => requests.map((each) => each.authorization));
  expect(seen).toEqual([['Bearer one'], ['Bearer two', 'Bearer two'], [undefined]]);
});

test('who was sent away does not come back with credentials', async () => {
  const home = await startMirror();
  const away = await startMirror({ instead: redirect(`${home.origin}/chosen`) });
  home.behaviour = {
    instead: (response, { url }) =>
      url === '/chosen' ? void response.writeHead(200).end(CONTENT) : redirect(away.url)(response),
  };
  expect(await download([home.url], { authorization: async () => 'Bearer one' })).toMatchObject({
    kind: 'downloaded',
  });
  expect(home.requests.map((each) => each.authorization)).toEqual(['Bearer one', undefined]);
});

test('a name and password in an address are sent as such, and shown nowhere', async () => {
  const mirror = await startMirror({ bytesMax: HALF, stopped: 'breaks' });
  const secret = (url: string) => url.replace('//', '//ada:s%C3%A9cret@');
  const failed = await download([secret(mirror.url), secret(await deadUrl()), 'http:/ada:sécret@:x']);
  expect(failed).toMatchObject({ attempts: [{ url: mirror.url }, {}, {}] });
  const note = await readFile(`${path}.part.json`, 'utf8');
  mirror.behaviour = {};
  const done = await download([secret(mirror.url)]);
  expect(done).toMatchObject({ from: mirror.url, resumedBytes: HALF });
  expect(JSON.stringify([failed, note, done])).not.toMatch(/ada|cret/);
  const basic = `Basic ${Buffer.from('ada:sécret').toString('base64')}`;
  expect(mirror.requests.map((each) => each.authorization)).toEqual([basic, basic]);
});

test('credentials that cannot be had or sent cost the mirror alone, and are not shown', async () => {
  const [first, second] = [await startMirror(), await startMirror()];
  const failing = async (url: URL) => {
    if (url.origin === first.origin) throw new Error('the key store is locked');
    return 'Bearer s3cret\nX: y';
  };
  expect(reasonsOf(await download([first.url, second.url], { authorization: failing }))).toEqual([
    'is not asked, as its credentials cannot be had: the key store is locked',
    'is not asked, as what is given for its header Authorization cannot be sent',
  ]);
  expect([first, second].map(({ requests }) => requests)).toEqual([[], []]);
});

test("a server's own artifacts are gone on from where they broke off", async () => {
  const kept = join(folder, 'kept');
  const artifacts = openArtifactFolder(kept);
  await artifacts.add(Readable.from([CONTENT]));
  const state = () => ({
    wanted: undefined,
    outcomes: new Map(),
    tip: undefined,
    published: undefined,
    report: [],
    gates: new Map(),
    tally: emptyTally(),
  });
  const { fetch: handle } = artifactFiles({ state, artifacts });
  const server = serve({ fetch: handle, hostname: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}/tuf/targets/artifacts/kiosk/${ARTIFACT.sha256}.app.swu`;

  const statuses: number[] = [];
  const breaking: ArtifactDownloadOptions['fetch'] = async (address, init) => {
    const response = await fetch(address, init);
    statuses.push(response.status);
    return new Response(brokenAfter(HALF, response), response);
  };
  expect(await download([url], { fetch: breaking })).toMatchObject({ kind: 'failed' });
  expect(await download([url], { fetch: breaking })).toEqual({
    kind: 'downloaded',
    path,
    from: url,
    resumedBytes: HALF,
  });
  expect(statuses).toEqual([200, 206]);
  await rm(kept, { recursive: true });
  expect(await isInstalled()).toBe(true);
});

/** The body of a 200 breaks after so many bytes. */
function brokenAfter(bytesMax: number, { body, status }: Response): ReadableStream<Uint8Array> | null {
  if (body === null || status !== 200) return body;
  let leftBytes = bytesMax;
  return ReadableStream.from(
    (async function* () {
      for await (const chunk of body) {
        if (leftBytes === 0) throw new Error('cut off');
        const part = chunk.subarray(0, leftBytes);
        leftBytes -= part.byteLength;
        yield part;
      }
    })(),
  );
}

/** What a mirror may do within one request, without a server: many of them in little time. */
interface Whim {
  readonly isWrong: boolean;
  readonly knowsRanges: boolean;
  readonly etag: string | undefined;
  readonly breaksAfter: number | undefined;
  readonly status: number;
}

const SMALL = CONTENT.subarray(0, 40);
const whim: fc.Arbitrary<Whim> = fc.record({
  isWrong: fc.boolean(),
  knowsRanges: fc.boolean(),
  etag: fc.constantFrom('"a"', '"b"', 'W/"c"', undefined),
  breaksAfter: fc.option(fc.nat(40), { nil: undefined }),
  status: fc.constantFrom(200, 200, 200, 404),
});

function respond(
  { isWrong, knowsRanges, etag, breaksAfter, status }: Whim,
  { headers }: RequestInit,
): Response {
  if (status !== 200) return new Response('no', { status });
  const asked = new Headers(headers);
  const first = Number(/^bytes=(\d+)-$/.exec(asked.get('range') ?? '')?.[1] ?? 0);
  const isPart = first > 0 && knowsRanges && (asked.get('if-range') ?? etag) === etag;
  const content = (isWrong ? OTHER : CONTENT).subarray(isPart ? first : 0, SMALL.byteLength);
  const body = (async function* () {
    // One at a time: what is queued when a stream breaks is lost.
    for (const [at, byte] of content.entries()) {
      if (at === breaksAfter) throw new Error('cut off');
      yield Uint8Array.of(byte);
    }
  })();
  return new Response(ReadableStream.from(body), {
    status: isPart ? 206 : 200,
    headers: {
      ...(etag === undefined ? {} : { ETag: etag }),
      ...(isPart ? { 'Content-Range': `bytes ${first}-${SMALL.byteLength - 1}/${SMALL.byteLength}` } : {}),
    },
  });
}

test('whatever mirrors do, a file is right or not there, and a right mirror installs it', async () => {
  const artifact = { sha256: hash('sha256', SMALL), sizeBytes: SMALL.byteLength };
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(whim, { maxLength: 4 }), { maxLength: 4 }), async (calls) => {
      await rm(folder, { recursive: true });
      folder = await mkdtemp(join(tmpdir(), 'tidegate-download-'));
      path = join(folder, 'app.swu');
      for (const whims of calls) {
        const fetch: ArtifactDownloadOptions['fetch'] = (url, init) =>
          respond(whims[Number(new URL(url).port) - 1] as Whim, init);
        const urls = whims.map((_, at) => `http://mirror.example:${at + 1}/`);
        const { kind } = await download(urls, { artifact, fetch });
        const found = await readFile(path).catch(() => undefined);
        expect(found?.equals(SMALL)).toBe(kind === 'downloaded' ? true : undefined);
        expect(await partBytes()).toBeLessThanOrEqual(SMALL.byteLength);
        const hasRight = whims.some(
          (each) => !each.isWrong && each.breaksAfter === undefined && each.status === 200,
        );
        if (hasRight) expect(kind).toBe('downloaded');
      }
      const right = {
        isWrong: false,
        knowsRanges: true,
        etag: undefined,
        breaksAfter: undefined,
        status: 200,
      };
      const last = await download(['http://mirror.example'], {
        artifact,
        fetch: (_, init) => respond(right, init),
      });
      expect(last.kind).toBe('downloaded');
      expect(await readdir(folder)).toEqual(['app.swu']);
    }),
    { numRuns: 100 },
  );
});
