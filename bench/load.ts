/**
 * A load over keep-alive connections, light enough that the server is what is measured: requests are prepared bytes,
 * and of an answer only its end is looked for.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface Load {
  readonly answers: number;
  readonly seconds: number;
}

interface LoadOptions {
  readonly port: number;
  /** The nth request; undefined where there are no more. */
  readonly requests: (n: number) => Buffer | undefined;
  /** Every answer must have it, but for a 200 where 304 is expected: a device whose assignment is renewed meanwhile. */
  readonly status: string;
  readonly connections: number;
  readonly durationMs: number;
}

/** Keeps `connections` busy, each sending one request after another. */
export async function load(options: LoadOptions): Promise<Load> {
  const startedAt = performance.now();
  const until = startedAt + options.durationMs;
  let next = 0;
  const nextRequest = () => (performance.now() < until ? options.requests(next++) : undefined);
  const counts = await Promise.all(
    Array.from({ length: options.connections }, () => runLane(options, nextRequest)),
  );
  return {
    answers: counts.reduce((sum, count) => sum + count, 0),
    seconds: (performance.now() - startedAt) / 1000,
  };
}

async function runLane(
  { port, status }: LoadOptions,
  nextRequest: () => Buffer | undefined,
): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  let answers = 0;
  for (let request = nextRequest(); request !== undefined; request = nextRequest()) {
    await exchange(socket, request, status);
    answers += 1;
  }
  socket.destroy();
  return answers;
}

/** Sends one request and resolves with its answer, headers and body. */
export function exchange(socket: Socket, request: Buffer, status: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    const settle = (error?: Error) => {
      socket.off('data', onData);
      socket.off('error', settle);
      if (error === undefined) resolve(received);
      else reject(error);
    };
    const onData = (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const end = received.indexOf('\r\n\r\n');
      if (end === -1) return;
      const head = received.toString('latin1', 0, end);
      const found = /^HTTP\/1\.1 ([0-9]+)/.exec(head)?.[1];
      if (found !== status && !(status === '304' && found === '200')) {
        return settle(new Error(`expected ${status} for ${request}, found: ${received}`));
      }
      const length = /content-length: *([0-9]+)/i.exec(head)?.[1];
      if (found !== '304' && length === undefined) return settle(new Error(`no content-length in: ${head}`));
      if (received.length >= end + 4 + Number(found === '304' ? 0 : length)) settle();
    };
    socket.on('data', onData);
    socket.on('error', settle);
    socket.write(request);
  });
}
