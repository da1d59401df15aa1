/**
 * Artifacts at their places in the TUF repository: `targets/artifacts/<product>/<sha256>.<name>`. Those that this server keeps are
 * streamed, in parts where a device asks for parts; for the others it names a mirror. Whoever downloads one checks it against
 * what is signed: nothing here has to be believed.
 */
import { Readable } from 'node:stream';
import type { Context } from 'hono';
import { Hono } from 'hono';
import type { Program } from '../core/model/program.ts';
import type { ReconcilerState } from '../reconcile/reconciler.ts';
import type { ArtifactFolder, StoredArtifact } from '../store/artifact-folder.ts';
import { revisionsIn } from '../trust/tuf/content.ts';
import { matchesEtag } from './etag.ts';
import { problem } from './problem.ts';

export interface ArtifactOptions {
  readonly state: () => ReconcilerState;
  /** Absent: this server keeps none. */
  readonly artifacts?: ArtifactFolder;
}

const PLACE = /^\/tuf\/targets\/artifacts\/[^/]+\/([0-9a-f]{64})\.[^/]+$/;
const FOR_EVER = 'public, max-age=31536000, immutable, no-transform';
/** A mirror may move. */
const BRIEFLY = 'public, max-age=60';

export function artifactFiles({ state, artifacts }: ArtifactOptions): Hono {
  const app = new Hono();
  app.get('/tuf/targets/artifacts/*', async (c, next) => {
    const [, sha256] = PLACE.exec(new URL(c.req.url).pathname) ?? [];
    if (sha256 === undefined) return next();
    const stored = await artifacts?.find(sha256);
    if (stored !== undefined) return answer(c, stored, sha256);
    const { published } = state();
    const mirror = published === undefined ? undefined : mirrorsOf(published.program).get(sha256);
    if (mirror === undefined) return next();
    return new Response(null, { status: 307, headers: { Location: mirror, 'Cache-Control': BRIEFLY } });
  });
  return app;
}

function answer(c: Context, stored: StoredArtifact, sha256: string): Response {
  const etag = `"${sha256}"`;
  const { sizeBytes } = stored;
  const headers = { ETag: etag, 'Cache-Control': FOR_EVER, 'Accept-Ranges': 'bytes' };
  if (matchesEtag(c.req.header('If-None-Match'), etag)) return new Response(null, { status: 304, headers });
  const ifRange = c.req.header('If-Range');
  const range =
    ifRange === undefined || ifRange === etag ? rangeOf(c.req.header('Range'), sizeBytes) : undefined;
  if (range === 'unsatisfiable') {
    return problem('range-not-satisfiable', {
      detail: `the artifact has ${sizeBytes} bytes`,
      next: 'ask for bytes that it has',
      headers: { 'Content-Range': `bytes */${sizeBytes}` },
    });
  }
  const { first, last } = range ?? { first: 0, last: sizeBytes - 1 };
  const content = {
    ...headers,
    'Content-Type': 'application/octet-stream',
    'Content-Length': String(last - first + 1),
    ...(range === undefined ? {} : { 'Content-Range': `bytes ${first}-${last}/${sizeBytes}` }),
  };
  const status = range === undefined ? 200 : 206;
  if (c.req.method === 'HEAD' || sizeBytes === 0) return new Response(null, { status, headers: content });
  const body = Readable.toWeb(Readable.from(stored.read({ first, last }))) as ReadableStream;
  return new Response(body, { status, headers: content });
}

/**
 * RFC 9110 §14.2: one range of bytes. Undefined where the whole is to be sent: what cannot be read is passed over, and so are
 * several ranges at once.
 */
function rangeOf(
  header: string | undefined,
  sizeBytes: number,
): { readonly first: number; readonly last: number } | 'unsatisfiable' | undefined {
  const [, from = '', to = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (from === '' && to === '') return undefined;
  if (from === '') {
    const count = Math.min(Number(to), sizeBytes);
    return count === 0 ? 'unsatisfiable' : { first: sizeBytes - count, last: sizeBytes - 1 };
  }
  const first = Number(from);
  const last = to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  if (to !== '' && Number(to) < first) return undefined;
  return first >= sizeBytes ? 'unsatisfiable' : { first, last };
}

/** The first mirror of each artifact that the program may give. */
function mirrorsOf(program: Program): ReadonlyMap<string, string> {
  let mirrors = known.get(program);
  if (mirrors === undefined) {
    mirrors = new Map(
      revisionsIn(program)
        .flatMap(({ manifest }) => manifest.modules.flatMap((module) => module.artifacts ?? []))
        .flatMap(({ sha256, urls: [url] }) => (url === undefined ? [] : [[sha256, url] as const])),
    );
    known.set(program, mirrors);
  }
  return mirrors;
}

/** One program is one object. */
const known = new WeakMap<Program, ReadonlyMap<string, string>>();
