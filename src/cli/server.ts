/**
 * Asks a running server over its read-only operators' API. A server that is away or refuses ends the command with a
 * sentence that says what to do; an answer is data.
 */
import { CommandError } from './errors.ts';
import type { Io } from './io.ts';
import { printable } from './output.ts';

export interface Answer {
  /** As the server sent it, for `--format json`. */
  readonly text: string;
  /** Parsed, without characters that could steer a terminal. */
  readonly body: unknown;
}

const SERVER_DEFAULT = 'http://127.0.0.1:8080';
const ANSWER_MS_MAX = 10_000;

/** The `--server` option, else TIDEGATE_SERVER, else this machine. Throws {@link CommandError} where it is no URL. */
export function serverUrl(option: string | undefined, io: Pick<Io, 'env'>): URL {
  const written = option ?? (io.env['TIDEGATE_SERVER'] || SERVER_DEFAULT);
  const url = URL.parse(written.endsWith('/') ? written : `${written}/`);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new CommandError(
      `the server must be an http or https address such as ${SERVER_DEFAULT}, found "${written}"`,
    );
  }
  return url;
}

/** Undefined where the server has nothing at `path`. Throws {@link CommandError} where it does not answer as it should. */
export async function getJson(io: Io, server: URL, path: string): Promise<Answer | undefined> {
  const signal = AbortSignal.timeout(ANSWER_MS_MAX);
  return await answerOf(io, server, path, send(io, server, path, { signal }));
}

/** The whole fleet is looked at several times. */
const LONG_ANSWER_MS_MAX = 120_000;

/** A question that is too long for an address, otherwise as {@link getJson}. */
export async function askJson(
  io: Io,
  server: URL,
  path: string,
  question: object,
): Promise<Answer | undefined> {
  const signal = AbortSignal.timeout(LONG_ANSWER_MS_MAX);
  return await answerOf(io, server, path, send(io, server, path, { signal, question }));
}

async function answerOf(
  io: Io,
  server: URL,
  path: string,
  sending: Promise<Response>,
): Promise<Answer | undefined> {
  const response = await sending;
  const text = await response.text().catch((error: unknown) => {
    throw unreachable(server, error);
  });
  const body = parse(text);
  if (response.status === 404 && isProblem(body)) return undefined;
  if (response.status === 401 || response.status === 403) {
    const found = io.env['TIDEGATE_API_TOKEN'] ? 'refuses the token in TIDEGATE_API_TOKEN' : 'wants a token';
    throw new CommandError(
      `the server at ${server.origin} ${found}; set TIDEGATE_API_TOKEN to the one it was started with`,
    );
  }
  if (!response.ok) {
    const said = isProblem(body)
      ? [body.detail, body.next].filter(Boolean).join('; ')
      : `status ${response.status}`;
    throw new CommandError(`the server at ${server.origin} did not answer ${path}: ${said}`);
  }
  if (typeof body !== 'object' || body === null) {
    throw new CommandError(`what answers at ${server.origin} is no Tidegate server; check --server`);
  }
  return { text, body };
}

/**
 * Calls `onEvent` with each server-sent event, until the stream ends or `signal` aborts. Returns quietly where there is
 * no stream to be had: whoever follows the server asks it now and then anyway.
 */
export async function followEvents(
  io: Io,
  server: URL,
  signal: AbortSignal,
  onEvent: () => void,
): Promise<void> {
  try {
    const response = await send(io, server, 'api/events', { signal, accept: 'text/event-stream' });
    if (!response.ok || response.body === null) return;
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      // Comments (`:`) keep the connection alive and tell nothing.
      if (/^(event|data):/m.test(chunk)) onEvent();
    }
  } catch (error) {
    if (!signal.aborted && !isNetworkError(error)) throw error;
  }
}

async function send(
  io: Io,
  server: URL,
  path: string,
  given: { readonly signal: AbortSignal; readonly accept?: string; readonly question?: object },
) {
  const { signal, accept = 'application/json', question } = given;
  const token = io.env['TIDEGATE_API_TOKEN'];
  const headers = { Accept: accept, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const posted =
    question === undefined
      ? { headers }
      : {
          method: 'POST',
          body: JSON.stringify(question),
          headers: { ...headers, 'Content-Type': 'application/json' },
        };
  try {
    return await io.fetch(new URL(path, server), { ...posted, signal });
  } catch (error) {
    if (!isNetworkError(error)) throw error;
    throw unreachable(server, error);
  }
}

/** What is said of a server that does not answer. */
export function unreachable(server: URL, cause: unknown): CommandError {
  const next = 'start it (tidegate serve), or name another with --server or TIDEGATE_SERVER';
  return new CommandError(`no server answers at ${server.origin}; ${next}`, undefined, cause);
}

/** `fetch` rejects with a TypeError where the connection fails and with a DOMException where its signal aborts. */
function isNetworkError(error: unknown): boolean {
  return error instanceof TypeError || error instanceof DOMException || error instanceof CommandError;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text, (_key, value: unknown) => (typeof value === 'string' ? printable(value) : value));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isProblem(body: unknown): body is { readonly detail?: string; readonly next?: string } {
  return typeof body === 'object' && body !== null && 'title' in body && 'status' in body;
}
