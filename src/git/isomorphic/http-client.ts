/**
 * How isomorphic-git talks HTTP. It believes what it is given: a cut answer is an end to it, so that branches are missing
 * from a list and a pack is half. So an answer is handed over only once it is whole, and everything else is an error in a
 * sentence.
 */
import type { GitHttpRequest, GitHttpResponse, HttpClient } from 'isomorphic-git';
import type { Clock } from '../../clock.ts';
import type { DurationMs } from '../../core/model/time.ts';
import type { Remote } from '../engine.ts';
import { GitRemoteError } from '../errors.ts';
import { cutShort, httpTrouble, networkTrouble, notGit } from '../remote-trouble.ts';

export interface HttpLimits {
  /** Real time. */
  readonly clock: Clock;
  /** A server that sends nothing for this long has hung. */
  readonly idleMs: DurationMs;
  readonly responseBytesMax: number;
}

const REDIRECTS_MAX = 5;
/** Some servers answer as git servers only to what calls itself git. */
const USER_AGENT = 'git/tidegate';

/** One client per remote: a redirect that was followed once is followed by what comes after it. */
export function createHttpClient(remote: Remote, limits: HttpLimits): HttpClient {
  // Where the repository is, if the server sent us on: git servers answer reads and writes in one place.
  let base = remote.url;

  async function request(asked: GitHttpRequest): Promise<GitHttpResponse> {
    const method = asked.method ?? 'GET';
    const body = asked.body === undefined ? undefined : await collect(asked.body);
    const path = asked.url.slice(remote.url.length);
    for (let redirects = 0; ; redirects += 1) {
      const url = `${base}${path}`;
      const answer = await exchange(url, {
        method,
        headers: { ...asked.headers, 'user-agent': USER_AGENT, ...authorization(remote) },
        ...(body === undefined ? {} : { body }),
      });
      const { response, content } = answer;
      if (response.status >= 300 && response.status < 400) {
        if (redirects === REDIRECTS_MAX) throw notGit(remote, 'redirects without end');
        base = redirectedBase(remote, { url, path, location: response.headers.get('location') ?? '' });
        continue;
      }
      const isPush = path.includes('git-receive-pack');
      if (response.status !== 200) throw httpTrouble(remote, { status: response.status, isPush, content });
      const contentType = response.headers.get('content-type') ?? '';
      if (!contentType.startsWith('application/x-git-'))
        throw notGit(remote, `answers with ${contentType || 'something else'}`);
      if (!endsWithFlush(content)) throw cutShort(remote);
      return {
        url,
        method,
        statusCode: response.status,
        statusMessage: response.statusText,
        headers: Object.fromEntries(response.headers),
        body: only(content),
      };
    }
  }

  /** The whole answer. */
  async function exchange(
    url: string,
    init: { method: string; headers: Record<string, string>; body?: Uint8Array<ArrayBuffer> },
  ): Promise<{ response: Response; content: Buffer }> {
    const idle = idleLimit(limits);
    try {
      const signal = AbortSignal.any([idle.signal, remote.signal]);
      const response = await fetch(url, { ...init, redirect: 'manual', signal });
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      for await (const chunk of response.body ?? []) {
        idle.touch();
        bytes += chunk.byteLength;
        if (bytes > limits.responseBytesMax) throw tooLarge(remote, limits);
        chunks.push(chunk);
      }
      return { response, content: Buffer.concat(chunks) };
    } catch (error) {
      if (error instanceof GitRemoteError) throw error;
      throw networkTrouble(remote, idle.signal.aborted ? { idleMs: limits.idleMs } : { error });
    } finally {
      idle.end();
    }
  }

  return { request };
}

async function collect(
  body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Uint8Array.from(Buffer.concat(chunks));
}

async function* only(content: Uint8Array): AsyncIterableIterator<Uint8Array> {
  yield content;
}

/** Sent at once, and to the repository's own host alone. */
function authorization({ credentials }: Remote): Record<string, string> {
  if (credentials === undefined) return {};
  const { username, password } = credentials;
  return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
}

/**
 * The repository's new URL. Only the same server is followed (another path, or https for http): whatever another host or port
 * is, nobody has said that it may have the token or answer for the fleet.
 */
function redirectedBase(
  remote: Remote,
  { url, path, location }: { url: string; path: string; location: string },
): string {
  const from = new URL(url);
  const to = URL.parse(location, url);
  const secured = from.protocol === 'http:' ? `https://${from.hostname}` : from.origin;
  const isSame = to?.origin === from.origin || to?.origin === secured;
  const next = to?.href.endsWith(path) === true ? to.href.slice(0, -path.length) : undefined;
  if (isSame && next !== undefined) return next;
  throw notGit(remote, `redirects to ${next ?? to?.origin ?? 'nowhere'}`);
}

/** Every answer of git's smart protocol ends with a flush packet, `0000`. */
function endsWithFlush(content: Buffer): boolean {
  return content.subarray(-4).toString('latin1') === '0000';
}

function tooLarge({ url }: Remote, { responseBytesMax }: HttpLimits): GitRemoteError {
  const mebibytes = Math.floor(responseBytesMax / 2 ** 20);
  return new GitRemoteError(
    'unreachable',
    `${url} sends more than ${mebibytes} MiB at once, too much for the engine isomorphic: install git and choose the engine native`,
  );
}

interface IdleLimit {
  readonly signal: AbortSignal;
  touch(): void;
  end(): void;
}

/** Aborts when nothing has happened for a while. */
function idleLimit({ clock, idleMs }: HttpLimits): IdleLimit {
  const limit = new AbortController();
  const ended = new AbortController();
  let touchedAt = clock.now();
  const watch = async () => {
    while (!ended.signal.aborted) {
      const leftMs = touchedAt + idleMs - clock.now();
      if (leftMs <= 0) {
        limit.abort();
        return;
      }
      await clock.sleep(leftMs, ended.signal);
    }
  };
  void watch();
  return {
    signal: limit.signal,
    touch() {
      touchedAt = clock.now();
    },
    end: () => ended.abort(),
  };
}
