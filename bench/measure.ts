/**
 * Two servers under the same load, in turn, several times. Each is a process of its own, and the ratio is taken from the
 * processor time that it used per answer, kernel included, so that the load on the other core does not count.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { exchange, type Load, load } from './load.ts';

export interface Ready {
  readonly port: number;
  /** Of all devices, in PEM, where it has any. */
  readonly privateKey?: string;
}

export interface Server {
  readonly ready: Ready;
  cpuMicros(): Promise<number>;
  peakMebibytes(): Promise<number>;
  stop(): Promise<void>;
}

/** `args` as bench/server.ts takes them. */
export async function startServer(...args: readonly string[]): Promise<Server> {
  const child = fork(new URL('./server.ts', import.meta.url), args);
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

/** What a server spends on one answer, and how many it gives. */
export interface Cost {
  readonly cpuMicros: number;
  readonly perSecond: number;
}

export async function costOf(server: Server, given: Omit<Parameters<typeof load>[0], 'port'>): Promise<Cost> {
  const before = await server.cpuMicros();
  const { answers, seconds }: Load = await load({ port: server.ready.port, ...given });
  const used = (await server.cpuMicros()) - before;
  return { cpuMicros: used / answers, perSecond: answers / seconds };
}

/** Sends one request on a connection of its own. */
export async function answerOf(server: Server, request: Buffer, status: string): Promise<Buffer> {
  const socket = connect({ port: server.ready.port, host: '127.0.0.1' });
  await once(socket, 'connect');
  const answer = await exchange(socket, request, status);
  socket.destroy();
  return answer;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** `0.81 (0.78–0.84)` */
export function spread(ratios: readonly number[]): string {
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)];
  return `${median(ratios).toFixed(2)} (${least.toFixed(2)}–${most.toFixed(2)})`;
}
