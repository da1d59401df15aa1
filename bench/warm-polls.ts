/**
 * Polls of a fleet in which nothing changes, against a bare node:http server that answers the same bytes and checks
 * nothing. Each server is a process of its own; both are loaded in turn, several times, and the ratio is taken from
 * the processor time that a server used per answer, so that the load on the other core does not count.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { exchange, load } from './load.ts';

const DEVICES = 20_000;
const POLLING = 1000;
const CONNECTIONS = 16;
const ROUNDS = 4;
const ROUND_MS = 2000;

export async function warmPolls(): Promise<readonly string[]> {
  const tidegate = await startServer(['tidegate', String(DEVICES), String(POLLING)]);
  const polls = tidegate.ready.polls.map(({ path, token }) => ({ path, token }));
  const first = polls[0];
  if (first === undefined) throw new Error('no device enrolled');
  const answer200 = await answerOf(tidegate.ready.port, requestOf(first), '200');
  const etags: string[] = [];
  for (const poll of polls) {
    const answer = await answerOf(tidegate.ready.port, requestOf(poll), '200');
    etags.push(/etag: *(\S+)/i.exec(answer.toString('latin1'))?.[1] ?? '');
  }
  const requests200 = polls.map((poll) => requestOf(poll));
  const requests304 = polls.map((poll, index) => requestOf({ ...poll, etag: etags[index] ?? '' }));
  const [conditional] = requests304;
  if (conditional === undefined) throw new Error('no request');
  const answer304 = await answerOf(tidegate.ready.port, conditional, '304');

  const lines = [`${DEVICES} devices registered, ${POLLING} of them poll over ${CONNECTIONS} connections`];
  for (const [status, requests, answer] of [
    ['200', requests200, answer200],
    ['304', requests304, answer304],
  ] as const) {
    const bare = await startServer(['bare', answer.toString('base64')]);
    const ratios: number[] = [];
    const rates = { tidegate: [] as number[], bare: [] as number[] };
    await measure(tidegate, { status, requests });
    await measure(bare, { status, requests });
    for (let round = 0; round < ROUNDS; round++) {
      const ours = await measure(tidegate, { status, requests });
      const theirs = await measure(bare, { status, requests });
      ratios.push(theirs.cpuMicrosPerAnswer / ours.cpuMicrosPerAnswer);
      rates.tidegate.push(ours.perSecond);
      rates.bare.push(theirs.perSecond);
    }
    await bare.stop();
    lines.push(
      `${status}: ${median(ratios).toFixed(2)} of what a bare node:http server answers per second of processor time ` +
        `(${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}); ` +
        `${Math.round(median(rates.tidegate))} polls/s, the bare server ${Math.round(median(rates.bare))}`,
    );
  }
  lines.push(`peak memory of the server: ${Math.round(await tidegate.peakMebibytes())} MiB`);
  await tidegate.stop();
  return lines;
}

interface Ready {
  readonly port: number;
  readonly polls: readonly { readonly path: string; readonly token: string }[];
}

interface Server {
  readonly ready: Ready;
  cpuMicros(): Promise<number>;
  peakMebibytes(): Promise<number>;
  stop(): Promise<void>;
}

async function startServer(args: readonly string[]): Promise<Server> {
  const child = fork(new URL('./warm-polls-server.ts', import.meta.url), args);
  const [ready] = (await once(child, 'message')) as [Ready];
  const ask = async (question: string): Promise<number> => {
    child.send(question);
    const [answer] = (await once(child, 'message')) as [number];
    return answer;
  };
  return {
    ready,
    cpuMicros: () => ask('cpu'),
    peakMebibytes: () => ask('memory'),
    async stop() {
      child.send('stop');
      await once(child, 'exit');
    },
  };
}

async function measure(
  server: Server,
  given: { status: string; requests: readonly Buffer[] },
): Promise<{ cpuMicrosPerAnswer: number; perSecond: number }> {
  const before = await server.cpuMicros();
  const { answers, seconds } = await load({
    port: server.ready.port,
    connections: CONNECTIONS,
    durationMs: ROUND_MS,
    ...given,
  });
  const used = (await server.cpuMicros()) - before;
  return { cpuMicrosPerAnswer: used / answers, perSecond: answers / seconds };
}

function requestOf(poll: { path: string; token: string; etag?: string }): Buffer {
  const condition = poll.etag === undefined ? '' : `If-None-Match: ${poll.etag}\r\n`;
  return Buffer.from(
    `GET ${poll.path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer ${poll.token}\r\n${condition}\r\n`,
  );
}

async function answerOf(port: number, request: Buffer, status: string): Promise<Buffer> {
  const socket = connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  const answer = await exchange(socket, request, status);
  socket.destroy();
  return answer;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
