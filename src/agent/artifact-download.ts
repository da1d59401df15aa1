/**
 * One artifact, from its mirrors to a file. No mirror has to be believed: the digest that people have signed is held against what
 * is on disk, and only then does the file get its name. What came before a connection broke or the device lost power is kept
 * beside it, and gone on from. Each mirror gets one chance in a call; whether to call again, and when, is the caller's.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../clock.ts';
import { type DurationMs, formatDuration } from '../core/model/time.ts';
import { syncFolder, unlessAbsent } from '../durable-fs.ts';
import type { AcceptedArtifact } from '../verify/assignment.ts';

export interface ArtifactDownloadOptions {
  /**
   * Where the file is to be, in a folder that exists. Until it is whole it is called `<path>.part`, and `<path>.part.json` says
   * where its bytes come from. One call at a time for one path.
   */
  readonly path: string;
  /**
   * A mirror that sends nothing for this long is given up. One that sends a little now and then is not: `signal` is for a limit
   * on the whole.
   */
  readonly idleMs: DurationMs;
  readonly fetch: (url: string, init: RequestInit) => Response | Promise<Response>;
  readonly clock: Pick<Clock, 'sleep'>;
  /** Once it aborts, the download rejects with its reason. What has come is kept. */
  readonly signal?: AbortSignal;
  /**
   * The header `Authorization` for a mirror, undefined where it needs none. It goes to that mirror's own origin and nowhere that
   * a redirect leads to. Without one, a name and password in the mirror's address are sent as such.
   */
  readonly authorization?: (url: URL) => Promise<string | undefined>;
}

export type ArtifactDownload =
  | {
      readonly kind: 'downloaded';
      readonly path: string;
      /** The mirror whose bytes made it whole, without credentials. Absent where nobody had to be asked. */
      readonly from?: string;
      /** How many of its bytes were there before that mirror sent the others. */
      readonly resumedBytes: number;
    }
  | { readonly kind: 'failed'; readonly attempts: readonly FailedAttempt[] };

/** Neither member ever has credentials in it. */
export interface FailedAttempt {
  readonly url: string;
  /** What follows the mirror's name in a sentence: `answers with HTTP 503`. */
  readonly reason: string;
}

type WantedArtifact = Pick<AcceptedArtifact, 'sha256' | 'sizeBytes' | 'urls'>;

/** A server of one's own sends to a mirror, and a mirror to its storage. */
const REDIRECTS_MAX = 2;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];
/** RFC 9110 §8.8.3. A weak one (`W/"…"`) promises nothing about bytes. */
const STRONG_ETAG = /^"[\x21\x23-\x7e\x80-\xff]*"$/;
/** RFC 9110 §14.4; without the first number where the range could not be had. */
const CONTENT_RANGE = /^bytes (?:(\d{1,15})-\d{1,15}|\*)\/(\d{1,15}|\*)$/;

/** Throws what the disk and `signal` throw. What mirrors do wrong is in the result. */
export async function downloadArtifact(
  artifact: WantedArtifact,
  options: ArtifactDownloadOptions,
): Promise<ArtifactDownload> {
  const { path, signal } = options;
  signal?.throwIfAborted();
  const there = await stat(path).catch(unlessAbsent);
  if (there?.size === artifact.sizeBytes && (await sha256Of(path, signal)) === artifact.sha256)
    return { kind: 'downloaded', path, resumedBytes: artifact.sizeBytes };
  const partial = await openPartialFile(artifact, options);
  try {
    if (partial.sizeBytes() === artifact.sizeBytes) {
      // The device stopped between the last byte and the new name.
      if (await partial.isRight()) {
        await partial.finish();
        return { kind: 'downloaded', path, resumedBytes: artifact.sizeBytes };
      }
      await partial.cutTo(0);
    }
    const attempts: FailedAttempt[] = [];
    for (const address of artifact.urls) {
      const url = withoutCredentials(address);
      const attempt = await completeFrom(address, partial, { artifact, options });
      if (attempt.kind === 'given-up') {
        attempts.push({ url, reason: attempt.reason });
        continue;
      }
      await partial.finish();
      return { kind: 'downloaded', path, from: url, resumedBytes: attempt.resumedBytes };
    }
    return { kind: 'failed', attempts };
  } finally {
    await partial.close();
  }
}

interface Wanted {
  readonly artifact: WantedArtifact;
  readonly options: ArtifactDownloadOptions;
}

/** What a mirror does wrong. It never leaves this file. */
class MirrorError extends Error {
  override readonly name = 'MirrorError';
}

/**
 * One mirror's chance. Bytes that others sent, or that a power cut may have spoilt, are not held against it: where they are part
 * of a wrong whole, it is asked for all of them once.
 */
async function completeFrom(
  address: string,
  partial: PartialFile,
  { artifact, options }: Wanted,
): Promise<
  | { readonly kind: 'complete'; readonly resumedBytes: number }
  | { readonly kind: 'given-up'; readonly reason: string }
> {
  try {
    const mirror = await readMirror(address, options);
    let resumedBytes: number;
    do {
      resumedBytes = await receive(mirror, partial, { artifact, options });
      if (await partial.isRight()) return { kind: 'complete', resumedBytes };
      await partial.cutTo(0);
    } while (resumedBytes > 0);
    return { kind: 'given-up', reason: `sends other bytes than those with sha256 ${artifact.sha256}` };
  } catch (error) {
    if (!(error instanceof MirrorError)) throw error;
    const bytes = partial.sizeBytes();
    const kept = bytes === 0 ? '' : `; ${bytes} of ${artifact.sizeBytes} bytes are kept, to go on from`;
    return { kind: 'given-up', reason: error.message + kept };
  }
}

interface Mirror {
  /** Without credentials: `fetch` refuses others. */
  readonly url: URL;
  /** As it stands in the manifest, but for credentials. */
  readonly name: string;
  readonly authorization?: string;
}

async function readMirror(address: string, options: ArtifactDownloadOptions): Promise<Mirror> {
  const url = httpUrl(address);
  if (url === undefined) throw new MirrorError('is no address with http:// or https://');
  const { username, password } = url;
  url.username = '';
  url.password = '';
  const given = await authorizationFor(url, options);
  const authorization = given ?? (username === '' && password === '' ? undefined : basic(username, password));
  return {
    url,
    name: withoutCredentials(address),
    ...(authorization === undefined ? {} : { authorization }),
  };
}

async function authorizationFor(
  url: URL,
  { authorization, signal }: ArtifactDownloadOptions,
): Promise<string | undefined> {
  let value: string | undefined;
  try {
    value = await authorization?.(new URL(url));
  } catch (error) {
    signal?.throwIfAborted();
    throw new MirrorError(`is not asked, as its credentials cannot be had: ${causeOf(error)}`);
  }
  try {
    new Headers({ Authorization: value ?? '' });
  } catch {
    // Its own message repeats the value.
    throw new MirrorError('is not asked, as what is given for its header Authorization cannot be sent');
  }
  return value;
}

/** RFC 7617. */
function basic(username: string, password: string): string {
  try {
    const text = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    return `Basic ${Buffer.from(text).toString('base64')}`;
  } catch {
    throw new MirrorError('has a name or password in its address with a % that stands for nothing');
  }
}

/** Brings the partial file to its full size, or throws {@link MirrorError}. Resolves to how much of it was there before. */
async function receive(mirror: Mirror, partial: PartialFile, { artifact, options }: Wanted): Promise<number> {
  const connection = new AbortController();
  const signal =
    options.signal === undefined ? connection.signal : AbortSignal.any([options.signal, connection.signal]);
  const asked = { haveBytes: partial.sizeBytes(), etag: partial.etagOf(mirror.name) };
  try {
    let response = await ask(mirror, rangeHeaders(asked), { options, signal });
    let answer = readAnswer(response, asked, artifact);
    if (answer === 'unusable') {
      leave(response);
      response = await ask(mirror, {}, { options, signal });
      answer = readAnswer(response, { haveBytes: 0, etag: undefined }, artifact);
    }
    const resumedBytes = answer === 'rest' ? asked.haveBytes : 0;
    await partial.cutTo(resumedBytes);
    await partial.note({ url: mirror.name, etag: strongEtag(response) });
    for await (const chunk of chunksOf(response, options)) {
      if (partial.sizeBytes() + chunk.byteLength > artifact.sizeBytes) {
        await partial.cutTo(resumedBytes);
        throw new MirrorError(`sends more than the ${artifact.sizeBytes} bytes that are expected`);
      }
      await partial.append(chunk);
    }
    if (partial.sizeBytes() < artifact.sizeBytes)
      throw new MirrorError(`ends before the ${artifact.sizeBytes} bytes that are expected`);
    return resumedBytes;
  } finally {
    // What still comes is not wanted.
    connection.abort();
  }
}

interface Asked {
  /** From here on; 0 is all of it. */
  readonly haveBytes: number;
  /** What they are known by at this mirror. */
  readonly etag: string | undefined;
}

/** RFC 9110 §13.1.5. Without If-Range, bytes of another content may be added to those that are here; the digest finds that out. */
function rangeHeaders({ haveBytes, etag }: Asked): Record<string, string> {
  if (haveBytes === 0) return {};
  return { Range: `bytes=${haveBytes}-`, ...(etag === undefined ? {} : { 'If-Range': etag }) };
}

/** The first answer that is no redirect. */
async function ask(
  { url: home, authorization }: Mirror,
  range: Record<string, string>,
  { options, signal }: { readonly options: ArtifactDownloadOptions; readonly signal: AbortSignal },
): Promise<Response> {
  let url = home;
  let isHome = true;
  for (let redirects = 0; ; redirects += 1) {
    const headers = {
      // A range of something compressed is of no use, and what was compressed on the way has another size.
      'Accept-Encoding': 'identity',
      ...range,
      ...(isHome && authorization !== undefined ? { Authorization: authorization } : {}),
    };
    const send = async () => options.fetch(url.href, { headers, redirect: 'manual', signal });
    const response = await unlessSilent(send(), options);
    if (!REDIRECTS.includes(response.status)) return response;
    leave(response);
    if (redirects === REDIRECTS_MAX)
      throw new MirrorError(`redirects more often than the ${REDIRECTS_MAX} times that are followed`);
    const next = httpUrl(response.headers.get('location') ?? '', url);
    if (next === undefined)
      throw new MirrorError('redirects to something other than an address with http:// or https://');
    next.username = '';
    next.password = '';
    url = next;
    // Who was sent away does not come back with credentials: somebody else chose what is asked for.
    isHome = isHome && url.origin === home.origin;
  }
}

/** What an answer holds; `unusable`: something other than what was asked for, and the whole may do. Throws {@link MirrorError}. */
function readAnswer(
  response: Response,
  { haveBytes, etag }: Asked,
  { sizeBytes }: WantedArtifact,
): 'whole' | 'rest' | 'unusable' {
  const { status, headers } = response;
  const isEncoded = (headers.get('content-encoding') ?? 'identity') !== 'identity';
  if (status === 200) {
    const length = headers.get('content-length');
    // Of what is decoded on arrival it is the length before.
    if (length !== null && !isEncoded) requireSize(Number(length), sizeBytes);
    return 'whole';
  }
  if (haveBytes === 0 || (status !== 206 && status !== 416))
    throw new MirrorError(`answers with HTTP ${status}`);
  const [, first, total = '*'] = CONTENT_RANGE.exec(headers.get('content-range') ?? '') ?? [];
  if (total !== '*') requireSize(Number(total), sizeBytes);
  const found = strongEtag(response);
  const isSame = etag === undefined || found === undefined || found === etag;
  return status === 206 && !isEncoded && isSame && Number(first) === haveBytes ? 'rest' : 'unusable';
}

function requireSize(found: number, sizeBytes: number): void {
  if (found === sizeBytes) return;
  throw new MirrorError(`has ${found} bytes, and ${sizeBytes} are expected`);
}

function strongEtag({ headers }: Response): string | undefined {
  const etag = headers.get('etag') ?? '';
  return STRONG_ETAG.test(etag) ? etag : undefined;
}

async function* chunksOf(response: Response, options: ArtifactDownloadOptions): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const { done, value } = await unlessSilent(reader.read(), options);
      if (done) return;
      yield value;
    }
  } finally {
    // Nobody waits for it: it may hang as what came before did, or be broken already.
    void reader.cancel().catch(() => undefined);
  }
}

function leave(response: Response): void {
  // As above.
  void response.body?.cancel().catch(() => undefined);
}

/** What comes over the network, or {@link MirrorError}. Only waiting for it counts: a slow disk is no silent mirror. */
async function unlessSilent<T>(
  work: Promise<T>,
  { clock, idleMs, signal }: ArtifactDownloadOptions,
): Promise<T> {
  const over = new AbortController();
  if (signal?.aborted) over.abort();
  signal?.addEventListener('abort', () => over.abort(), { signal: over.signal });
  const silence = clock.sleep(idleMs, over.signal).then((): never => {
    throw new MirrorError(`has sent nothing for ${formatDuration(idleMs)}`);
  });
  try {
    return await Promise.race([work, silence]);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof MirrorError) throw error;
    throw new MirrorError(`does not answer, or not to the end: ${causeOf(error)}`);
  } finally {
    over.abort();
  }
}

/** `fetch` itself says no more than that it failed. */
function causeOf(error: unknown): string {
  let cause = error;
  while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause;
  // Of a name with several addresses, each failed in its own way.
  if (cause instanceof AggregateError) return cause.errors.map(causeOf).join(', ');
  return cause instanceof Error ? cause.message : String(cause);
}

/** Undefined where it is none, or of another scheme. */
function httpUrl(text: string, base?: URL): URL | undefined {
  if (text === '') return undefined;
  const url = URL.parse(text, base?.href);
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url : undefined;
}

function withoutCredentials(address: string): string {
  const url = URL.parse(address);
  // Whatever stands before an @ may be some.
  if (url === null) return address.replace(/^.*@/s, '');
  if (url.username === '' && url.password === '') return address;
  url.username = '';
  url.password = '';
  return url.href;
}

/** What has come so far, open for more. */
interface PartialFile {
  sizeBytes(): number;
  /** Where the mirror sent the last bytes: the strong entity tag that it gave them. */
  etagOf(mirror: string): string | undefined;
  /** Who sends the bytes that are appended next; also after a restart. */
  note(source: { readonly url: string; readonly etag: string | undefined }): Promise<void>;
  append(chunk: Uint8Array): Promise<void>;
  cutTo(sizeBytes: number): Promise<void>;
  /** Whether what is on disk is the whole artifact. */
  isRight(): Promise<boolean>;
  /** Gives it its name, for good. */
  finish(): Promise<void>;
  /** Leaves nothing where nothing has come. */
  close(): Promise<void>;
}

/** `<path>.part.json`. A wrong one costs a download, no more, so that it need not be durable. */
interface Note {
  /** Of the artifact that the bytes are to become. */
  readonly sha256: string;
  readonly url: string;
  readonly etag?: string;
}

async function openPartialFile(
  { sha256, sizeBytes }: WantedArtifact,
  { path, signal }: ArtifactDownloadOptions,
): Promise<PartialFile> {
  const partPath = `${path}.part`;
  const notePath = `${partPath}.json`;
  const file = await open(partPath, 'a');
  let have = 0;
  let note: Note | undefined;
  let isFinished = false;

  const partial: PartialFile = {
    sizeBytes: () => have,
    etagOf: (mirror) => (note?.url === mirror ? note.etag : undefined),
    async note({ url, etag }) {
      note = { sha256, url, ...(etag === undefined ? {} : { etag }) };
      await writeFile(notePath, JSON.stringify(note));
    },
    async append(chunk) {
      await file.appendFile(chunk);
      have += chunk.byteLength;
    },
    async cutTo(bytes) {
      await file.truncate(bytes);
      have = bytes;
    },
    async isRight() {
      return have === sizeBytes && (await sha256Of(partPath, signal)) === sha256;
    },
    async finish() {
      await file.sync();
      await rename(partPath, path);
      isFinished = true;
      await syncFolder(dirname(path));
    },
    async close() {
      await file.close();
      if (have === 0 && !isFinished) await rm(partPath, { force: true });
      if (have === 0 || isFinished) await rm(notePath, { force: true });
    },
  };

  try {
    have = (await file.stat()).size;
    note = readNote(await readFile(notePath, 'utf8').catch(unlessAbsent));
    // Without a note the bytes may be right all the same.
    const isOfAnother = note !== undefined && note.sha256 !== sha256;
    if (have > sizeBytes || isOfAnother) await partial.cutTo(0);
    return partial;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function readNote(text: string | undefined): Note | undefined {
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // Cut off while it was written.
  }
  const { sha256, url, etag } = (value ?? {}) as Record<string, unknown>;
  if (typeof sha256 !== 'string' || typeof url !== 'string') return undefined;
  return { sha256, url, ...(typeof etag === 'string' && STRONG_ETAG.test(etag) ? { etag } : {}) };
}

async function sha256Of(path: string, signal: AbortSignal | undefined): Promise<string> {
  const digest = createHash('sha256');
  for await (const chunk of createReadStream(path)) {
    signal?.throwIfAborted();
    digest.update(chunk);
  }
  return digest.digest('hex');
}
