/**
 * Who counts the fleet: a thread of its own that reads the database itself, so that polls go on being answered; or,
 * for a store that only this thread has, this one, page by page.
 */
import { Worker } from 'node:worker_threads';
import type { Tally } from '../core/assign/tally.ts';
import type { Census } from '../core/model/census.ts';
import type { Program } from '../core/model/program.ts';
import type { Instant } from '../core/model/time.ts';
import type { Answer, Want } from '../core/plan/contract.ts';
import type { Store, StorePlace } from '../store/store.ts';
import { answerFrom, type CensusRequest, type CountRequest, countFleet, takeCensus } from './count.ts';
import type { Counted, CountMessage } from './count-worker.ts';
import { type Selection, type SelectionRequest, selectFrom } from './selection.ts';

export interface Counter {
  /** Counts all devices as of one position of the feed, which `begun` is told before the counting begins. */
  count(program: Program, now: Instant, begun: (position: number) => void): Promise<Tally>;
  answer(want: Want, program: Program, now: Instant): Promise<Answer>;
  census(request: Omit<CensusRequest, 'kind'>): Promise<Census>;
  /** What a stage that is not declared yet would take in. */
  select(request: SelectionRequest, program: Program, now: Instant): Promise<Selection>;
  close(): Promise<void>;
}

/** The thread may use this much memory; beyond it, it ends and the pass fails, not the process. */
const THREAD_HEAP_MB = 768;

/** `startWith` may start another thread in place of the one that `start` would. */
export function createCounter(
  store: Pick<Store, 'read' | 'place'>,
  startWith: (start: () => Worker) => Worker = (start) => start(),
): Counter {
  const { place } = store;
  return place === undefined ? countHere(store) : countInThread(() => startWith(() => startThread(place)));
}

function countHere(store: Pick<Store, 'read'>): Counter {
  return {
    async count(program, now, begun) {
      const reading = await store.read();
      begun(reading.position);
      return await countFleet(reading.pages(), program, now).finally(() => reading.close());
    },
    async answer(want, program, now) {
      const reading = await store.read();
      return await answerFrom(reading.pages(), want, program, now).finally(() => reading.close());
    },
    async census(request) {
      const reading = await store.read();
      return await takeCensus(reading.pages(), { kind: 'census', ...request }).finally(() => reading.close());
    },
    async select(request, program, now) {
      const reading = await store.read();
      return await selectFrom(reading, request, program, now).finally(() => reading.close());
    },
    async close() {
      // There is nothing to end.
    },
  };
}

/** Requests are worked off one after another by one thread, which is started by the first and kept. */
function countInThread(start: () => Worker): Counter {
  let thread: Worker | undefined;
  let last: Promise<unknown> = Promise.resolve();
  let closed = false;

  function inTurn<T>(ask: () => Promise<T>): Promise<T> {
    const turn = last.then(ask, ask);
    last = turn.catch(() => undefined);
    return turn;
  }

  function ask(request: CountRequest, begun: (position: number) => void): Promise<Counted> {
    if (closed) return Promise.reject(new Error('the fleet is no longer counted: the server stops'));
    thread ??= start();
    const worker = thread;
    return new Promise<Counted>((resolve, reject) => {
      const onMessage = (message: CountMessage) => {
        if (message.kind === 'begun') return begun(message.position);
        settle();
        if (message.kind === 'failed') reject(new Error(message.message));
        else resolve(message.result);
      };
      const onEnd = (cause: unknown) => {
        settle();
        thread = undefined;
        const why = cause instanceof Error ? cause.message : 'it was ended';
        reject(
          new Error(`the thread that counts the fleet ended (${why}); the next pass starts another`, {
            cause,
          }),
        );
      };
      const settle = () => {
        worker.off('message', onMessage).off('error', onEnd).off('exit', onEnd);
        // Nothing but a request keeps the process alive.
        worker.unref();
      };
      worker.ref();
      worker.on('message', onMessage).on('error', onEnd).on('exit', onEnd);
      worker.postMessage(request);
    });
  }

  const unheard = () => undefined;
  return {
    count: (program, now, begun) =>
      inTurn(() => ask({ kind: 'count', program, now }, begun) as Promise<Tally>),
    answer: (want, program, now) =>
      inTurn(() => ask({ kind: 'answer', want, program, now }, unheard) as Promise<Answer>),
    census: (request) => inTurn(() => ask({ kind: 'census', ...request }, unheard) as Promise<Census>),
    select: (request, program, now) =>
      inTurn(() => ask({ kind: 'select', request, program, now }, unheard) as Promise<Selection>),
    async close() {
      closed = true;
      await thread?.terminate();
      thread = undefined;
    },
  };
}

function startThread(place: StorePlace): Worker {
  return new Worker(new URL('./count-worker.ts', import.meta.url), {
    workerData: place,
    resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB },
  });
}
