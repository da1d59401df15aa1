/** Puts an app on a socket, with bounds on what a slow or hostile client can hold. */
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { getRequestListener, RequestError } from '@hono/node-server';
import type { Hono } from 'hono';
import { SECOND } from '../core/model/time.ts';
import type { DirectRoute } from './direct-route.ts';
import { problem } from './problem.ts';

export interface Listener {
  /** `http://127.0.0.1:8080`, with the port that was really taken. */
  readonly url: string;
  /** Stops listening, lets requests under way finish for a moment, and cuts the rest off. */
  close(): Promise<void>;
}

const LIMITS = {
  /** A client has this long to send its headers, and this long for the whole request. */
  headersTimeout: 10 * SECOND,
  requestTimeout: 30 * SECOND,
  /** How often these two are looked at; Node's half a minute would let them pass unnoticed for that long. */
  connectionsCheckingInterval: 2 * SECOND,
  /** Longer than common proxies keep a connection, so that they close it first. */
  keepAliveTimeout: 75 * SECOND,
  maxHeaderSize: 16 * 1024,
};
const CLOSE_GRACE_MS = 2 * SECOND;

/**
 * Port 0 takes a free one. Rejects where the address cannot be listened on. What `direct` takes does not reach the app.
 */
export async function listen(
  app: Pick<Hono, 'fetch'>,
  at: { host: string; port: number },
  direct: DirectRoute = () => false,
): Promise<Listener> {
  const host = at.host.includes(':') ? `[${at.host}]` : at.host;
  // Without a Host header, as HTTP/1.0 allows, a request is for the address that it reached.
  const answer = getRequestListener(app.fetch, { hostname: host, errorHandler });
  // The first answer of a socket that is not at its end, of the app's: what is answered directly is written whole.
  const answers = new WeakMap<Duplex, ServerResponse>();
  const server: Server = createServer(LIMITS, (request, response) => {
    if (direct(request, response)) return;
    if (answers.get(request.socket)?.writableEnded !== false) answers.set(request.socket, response);
    void answer(request, response);
  });
  // An expectation that we do not know may be passed over: RFC 9110 §10.1.1.
  server.on('checkExpectation', answer);
  server.on('clientError', (error, socket) => void refuse(socket, badRequest(error), answers.get(socket)));
  server.listen(at.port, at.host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${host}:${port}`,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeIdleConnections();
      const cut = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
      await closed;
      clearTimeout(cut);
    },
  };
}

/** What came over a socket and never became a request: https://nodejs.org/api/http.html#event-clienterror */
function badRequest({ code }: NodeJS.ErrnoException): Response {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW': {
      const detail = `expected at most ${LIMITS.maxHeaderSize} bytes of path and headers, found more`;
      return problem('headers-too-large', { detail, next: 'send fewer or shorter ones' });
    }
    case 'ERR_HTTP_REQUEST_TIMEOUT': {
      const [headers, whole] = [LIMITS.headersTimeout / SECOND, LIMITS.requestTimeout / SECOND];
      const detail = `expected the headers within ${headers} s and the whole request within ${whole} s`;
      return problem('request-too-slow', { detail, next: 'send it again, faster' });
    }
    default:
      return malformed();
  }
}

function malformed(): Response {
  const detail = 'expected an HTTP/1.1 request for a path of this server, found something else';
  return problem('malformed-request', {
    detail,
    next: 'check the request line, Host and how the body is framed',
  });
}

/** The app answers its own faults: what arrives here is a target or a Host that makes no URL. */
function errorHandler(error: unknown): Response {
  if (error instanceof RequestError) return malformed();
  return problem('internal', { detail: 'the request could not be answered', next: 'try again later' });
}

/** Answers on the socket itself, unless an answer that has begun would take this for its body, and closes it. */
async function refuse(socket: Duplex, response: Response, begun: ServerResponse | undefined): Promise<void> {
  const body = await response.text();
  if (!socket.writable || (begun?.headersSent && !begun.writableEnded)) {
    socket.destroy();
    return;
  }
  const { status, headers } = response;
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    ...Array.from(headers, ([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

/** `HOST:PORT`, `:PORT`, `PORT` or `[::1]:PORT`; undefined where it is none of these. */
export function parseAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:(\[[0-9a-fA-F:]+\]|[^:\s[\]]*):)?([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[2] ?? Number.NaN);
  if (match === null || !(port <= 65535)) return undefined;
  const host = match[1] === undefined || match[1] === '' ? '127.0.0.1' : match[1].replace(/^\[|\]$/g, '');
  return { host, port };
}
