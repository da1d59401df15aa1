/** What a command may use of the world around it. Commands touch neither `process` nor a global. */
import { text } from 'node:stream/consumers';
import { type Clock, systemClock } from '../clock.ts';
import { createOutput, type Output } from './output.ts';

export interface Io {
  /** Results. */
  readonly out: Output;
  /** What went wrong, and what is said by the way. */
  readonly err: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly fetch: typeof fetch;
  /** All that is piped in. */
  readonly input: () => Promise<string>;
  /** Aborts at Ctrl-C. Whoever calls this ends by itself; all others are ended by the signal. */
  interrupted(): AbortSignal;
}

export function processIo(): Io {
  return {
    out: createOutput(process.stdout, process.env),
    err: createOutput(process.stderr, process.env),
    env: process.env,
    clock: systemClock,
    fetch,
    input: () => text(process.stdin),
    interrupted() {
      const controller = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());
      return controller.signal;
    },
  };
}
