/** Puts an app on a socket, with bounds on what a slow or hostile client can hold. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { SECOND } from '../core/model/time.ts';

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
  /** Longer than common proxies keep a connection, so that they close it first. */
  keepAliveTimeout: 75 * SECOND,
  maxHeaderSize: 16 * 1024,
};
const CLOSE_GRACE_MS = 2 * SECOND;

/** Port 0 takes a free one. Rejects where the address cannot be listened on. */
export async function listen(
  app: Pick<Hono, 'fetch'>,
  at: { host: string; port: number },
): Promise<Listener> {
  const server: Server = createServer(LIMITS, getRequestListener(app.fetch));
  server.listen(at.port, at.host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const host = at.host.includes(':') ? `[${at.host}]` : at.host;
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

/** `HOST:PORT`, `:PORT`, `PORT` or `[::1]:PORT`; undefined where it is none of these. */
export function parseAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:(\[[0-9a-fA-F:]+\]|[^:\s[\]]*):)?([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[2] ?? Number.NaN);
  if (match === null || !(port <= 65535)) return undefined;
  const host = match[1] === undefined || match[1] === '' ? '127.0.0.1' : match[1].replace(/^\[|\]$/g, '');
  return { host, port };
}

/** Whether only this machine can reach the address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host);
}
