/** A server on a free port of this machine that answers what a test says. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** JSON with status 200, or whatever a function does with the response. */
export type Reply = object | ((response: ServerResponse) => void);

export interface AnsweringServer {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly port: number;
  readonly requests: readonly Asked[];
  reply: Reply;
  /** How many connections are open. */
  connections(): Promise<number>;
  close(): Promise<void>;
}

/** As {@link startAnsweringServer}, and closed after the test. */
export async function startAnswering(reply: Reply): Promise<AnsweringServer> {
  const server = await startAnsweringServer(reply);
  onTestFinished(() => server.close());
  return server;
}

export async function startAnsweringServer(reply: Reply): Promise<AnsweringServer> {
  const requests: Asked[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = '', url: path = '', headers } = request;
    requests.push({ method, path, headers, body: Buffer.concat(chunks).toString() });
    if (typeof answering.reply === 'function') answering.reply(response);
    else json(answering.reply)(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const answering: AnsweringServer = {
    host: `127.0.0.1:${port}`,
    port,
    requests,
    reply,
    connections: () =>
      new Promise((resolve, reject) =>
        server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
    async close() {
      if (!server.listening) return;
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return answering;
}

export function json(value: unknown, status = 200): (response: ServerResponse) => void {
  return text(JSON.stringify(value), status, { 'Content-Type': 'application/json' });
}

export function text(
  body: string | Buffer,
  status = 200,
  headers: Record<string, string> = {},
): (response: ServerResponse) => void {
  return (response) => {
    response.writeHead(status, headers);
    response.end(body);
  };
}

/** Answers of somebody who wants to be waited for, or to fill the memory. `beginning` is what they begin with. */
export const HOSTILE: Readonly<Record<string, (beginning: string) => (response: ServerResponse) => void>> = {
  silence: () => () => undefined,
  'a slow drip': (beginning) => (response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.write(beginning);
    const drip = setInterval(() => response.write(' '), 20);
    response.on('close', () => clearInterval(drip));
  },
  'an endless body': (beginning) => (response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.write(beginning);
    const more = () => {
      while (response.write(' '.repeat(65_536)));
    };
    response.on('drain', more);
    more();
  },
  'a connection that is cut': (beginning) => (response) => {
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '1000' });
    response.write(beginning, () => response.destroy());
  },
};
