/** Receivers of notices: real HTTP on this machine, as a test wants them to behave. */
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Instant } from '../../src/core/model/time.ts';
import type { Message } from '../../src/store/outbox.ts';

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface TestReceiver {
  readonly url: string;
  readonly host: string;
  /** Everything that was sent, whatever it was answered. */
  readonly received: readonly Received[];
  /** From now on: a status, with these headers; `never`: no answer at all. */
  answer(status: number | 'never', headers?: Readonly<Record<string, string>>): void;
}

export async function startReceiver(path = '/services/T0/B0/verysecret'): Promise<TestReceiver> {
  const received: Received[] = [];
  let answer: { status: number | 'never'; headers: Readonly<Record<string, string>> } = {
    status: 200,
    headers: {},
  };
  const server = createServer(async (request, response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk);
    received.push({
      path: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
    });
    if (answer.status === 'never') return;
    response.writeHead(answer.status, answer.headers).end('an answer');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host,
    url: `http://${host}${path}`,
    received,
    answer: (status, headers = {}) => {
      answer = { status, headers };
    },
  };
}

export function message(id: string, receiver: string, createdAt: Instant): Message {
  return { id, receiver, body: JSON.stringify({ text: id }), createdAt };
}
