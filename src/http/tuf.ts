/**
 * The TUF repository (specification 1.0.34) as files: public, and made for caches. Everything but the timestamp has its version
 * or digest in its name and never changes; what is not there yet may be there soon.
 */
import { hash } from 'node:crypto';
import { type Context, Hono } from 'hono';
import { LRUCache } from 'lru-cache';
import type { Store } from '../store/store.ts';
import { matchesEtag } from './etag.ts';
import { problem } from './problem.ts';

export interface TufFilesOptions {
  readonly store: Pick<Store, 'tufFile'>;
}

const TIMESTAMP = 'metadata/timestamp.json';
const REMEMBERED_BYTES = 32 * 1024 * 1024;
const PATH_LENGTH_MAX = 512;

const FOR_EVER = 'public, max-age=31536000, immutable, no-transform';
const SOON_STALE = 'public, max-age=30, must-revalidate';
/** Every refresh asks for a root that is not there: caches may answer that, and not for long. */
const ABSENT = 'public, max-age=60';

export function tufFiles({ store }: TufFilesOptions): Hono {
  const app = new Hono();
  const remembered = new LRUCache<string, Uint8Array<ArrayBuffer>>({
    maxSize: REMEMBERED_BYTES,
    sizeCalculation: (content) => content.byteLength + PATH_LENGTH_MAX,
  });

  async function file(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (path.length > PATH_LENGTH_MAX) return undefined;
    const known = remembered.get(path);
    if (known !== undefined) return known;
    const found = await store.tufFile(path);
    if (found === undefined) return undefined;
    const content = Uint8Array.from(found);
    if (path !== TIMESTAMP) remembered.set(path, content);
    return content;
  }

  async function answer(c: Context): Promise<Response> {
    const path = decodePath(new URL(c.req.url).pathname);
    const content = path === undefined ? undefined : await file(path);
    if (content === undefined) {
      return problem('not-found', {
        detail: 'no such file is published',
        next: 'begin with metadata/timestamp.json',
        headers: { 'Cache-Control': ABSENT },
      });
    }
    const etag = etagOf(content);
    const headers = {
      ETag: etag,
      'Cache-Control': path === TIMESTAMP ? SOON_STALE : FOR_EVER,
    };
    if (matchesEtag(c.req.header('If-None-Match'), etag)) return new Response(null, { status: 304, headers });
    return new Response(content, {
      headers: {
        ...headers,
        'Content-Type': path?.endsWith('.json') ? 'application/json' : 'application/octet-stream',
        'Content-Length': String(content.byteLength),
      },
    });
  }

  app.get('/tuf/metadata/:file', answer);
  app.get('/tuf/targets/*', answer);
  return app;
}

/** Below `/tuf/`; undefined where it is no text. */
function decodePath(pathname: string): string | undefined {
  try {
    return decodeURIComponent(pathname.slice('/tuf/'.length));
  } catch {
    return undefined;
  }
}

function etagOf(content: Uint8Array): string {
  return `"${hash('sha256', content, 'base64url')}"`;
}
