/**
 * One question over HTTP to a server of somebody else, bounded in time and size. Whoever answers may be slow, broken or hostile: what
 * comes back is a value in every case, and nothing of it is believed here.
 */
import { type DurationMs, SECOND } from './core/model/time.ts';

export interface RequestOptions {
  readonly fetch: typeof fetch;
  /** For one request and its whole answer. */
  readonly timeoutMs?: DurationMs;
  /** Of an answer, unpacked. */
  readonly answerBytesMax?: number;
}

export interface RequestMessage {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export type Reply =
  | {
      readonly kind: 'replied';
      readonly status: number;
      readonly headers: Headers;
      readonly body: ReplyBody;
    }
  /** It leads elsewhere, and is not followed. `to` is the origin, where that can be said. */
  | { readonly kind: 'redirect'; readonly status: number; readonly to: string | undefined }
  /** `cause` is in words. */
  | { readonly kind: 'none'; readonly cause: string };

type ReplyBody =
  | { readonly kind: 'json'; readonly value: unknown }
  | { readonly kind: 'other' }
  | { readonly kind: 'too-large' };

const TIMEOUT_MS = 10 * SECOND;
/** Some thousand times what an answer takes. */
const ANSWER_BYTES_MAX = 256 * 1024;

/** Never rejects. `url` has no credentials, and `headers` only what a header can carry: fetch would show them in its words. */
export async function request(
  url: URL,
  { method, headers, body }: RequestMessage,
  signal: AbortSignal,
  { fetch, timeoutMs = TIMEOUT_MS, answerBytesMax = ANSWER_BYTES_MAX }: RequestOptions,
): Promise<Reply> {
  try {
    const response = await fetch(url, {
      method,
      headers: { Accept: 'application/json', 'User-Agent': 'tidegate', ...headers },
      ...(body === undefined ? {} : { body }),
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    const { status } = response;
    if (status >= 300 && status < 400) {
      await response.body?.cancel();
      return { kind: 'redirect', status, to: originOf(response.headers.get('location'), url) };
    }
    const answer = await readJson(response, answerBytesMax);
    return { kind: 'replied', status, headers: response.headers, body: answer };
  } catch (error) {
    return { kind: 'none', cause: causeOf(error, timeoutMs) };
  }
}

async function readJson(response: Response, bytesMax: number): Promise<ReplyBody> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  // What is counted has been unpacked already.
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.length;
    if (sizeBytes > bytesMax) return { kind: 'too-large' }; // Leaving the loop cancels the stream.
    chunks.push(chunk);
  }
  try {
    return { kind: 'json', value: JSON.parse(Buffer.concat(chunks).toString()) };
  } catch (error) {
    if (error instanceof SyntaxError) return { kind: 'other' };
    throw error;
  }
}

/** Without path and query: those of a login are good for logging in. */
function originOf(location: string | null, base: URL): string | undefined {
  if (location === null || !URL.canParse(location, base.href)) return undefined;
  const { protocol, origin } = new URL(location, base);
  return /^https?:$/.test(protocol) ? excerpt(origin) : undefined;
}

function causeOf(error: unknown, timeoutMs: DurationMs): string {
  if (!(error instanceof Error)) return excerpt(String(error));
  if (error.name === 'TimeoutError') return `no whole answer within ${timeoutMs / SECOND} s`;
  // fetch says only that it failed, and why in the cause. Where several addresses were tried, that has a code alone.
  const { cause } = error;
  if (!(cause instanceof Error)) return excerpt(error.message);
  return excerpt(cause.message || String((cause as NodeJS.ErrnoException).code ?? error.message));
}

/** Foreign text as one line that steers no terminal, of at most `lengthMax` characters. */
export function excerpt(text: string, lengthMax = 200): string {
  // More is not looked at: what is taken away is a small part of any honest text.
  const line = text
    .slice(0, 4 * lengthMax)
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .replaceAll(/\p{Bidi_Control}+/gu, '')
    .trim();
  const characters = [...line];
  return characters.length <= lengthMax ? line : `${characters.slice(0, lengthMax - 1).join('')}…`;
}

/** A member of a parsed JSON object that is the object's own. */
export function memberOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Readonly<Record<string, unknown>>)[key]
    : undefined;
}

/** Whether fetch can send it in a header: of anything else it throws with a message that shows it. */
export function isHeaderToken(token: string): boolean {
  return /^[\x21-\x7e]+$/.test(token);
}
