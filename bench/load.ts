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

/**
 * Keeps `connections` busy for `durationMs`, each sending one request after another. Every answer must have `status`, but
 * for a 200 where 304 is expected: a device whose assignment is renewed meanwhile.
 */
export async function load(given: {
  port: number;
  requests: readonly Buffer[];
  status: string;
  connections: number;
  durationMs: number;
}): Promise<Load> {
  const startedAt = performance.now();
  const until = startedAt + given.durationMs;
  const counts = await Promise.all(
    Array.from({ length: given.connections }, (_, lane) => runLane({ ...given, lane, until })),
  );
  return {
    answers: counts.reduce((sum, count) => sum + count, 0),
    seconds: (performance.now() - startedAt) / 1000,
  };
}

async function runLane(given: {
  port: number;
  requests: readonly Buffer[];
  status: string;
  connections: number;
  lane: number;
  until: number;
}): Promise<number> {
  const socket = connect({ port: given.port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  let answers = 0;
  for (let next = given.lane; performance.now() < given.until; next += given.connections) {
    const request = given.requests[next % given.requests.length];
    if (request === undefined) throw new Error('no requests to send');
    await exchange(socket, request, given.status);
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
        return settle(new Error(`expected ${status} for ${request}, found: ${head}`));
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
