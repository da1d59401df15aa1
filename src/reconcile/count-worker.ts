/** The thread that counts. It opens the database for each request, so that it holds nothing between them. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Tally } from '../core/assign/tally.ts';
import type { Census } from '../core/model/census.ts';
import type { Answer } from '../core/plan/contract.ts';
import { openReading } from '../store/open.ts';
import type { StorePlace } from '../store/store.ts';
import { answerFrom, type CountRequest, countFleet, takeCensus } from './count.ts';
import { type Selection, selectFrom } from './selection.ts';

/** What the thread says: of each request where in the feed it reads, and then what came of it. */
export type CountMessage =
  | { readonly kind: 'begun'; readonly position: number }
  | { readonly kind: 'done'; readonly result: Counted }
  | { readonly kind: 'failed'; readonly message: string };

/** What comes of a request. */
export type Counted = Tally | Answer | Census | Selection;

const place = workerData as StorePlace;

parentPort?.on('message', async (request: CountRequest) => {
  try {
    say({ kind: 'done', result: await work(request) });
  } catch (error) {
    say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
  }
});

async function work(request: CountRequest): Promise<Counted> {
  const reading = await openReading(place);
  try {
    say({ kind: 'begun', position: reading.position });
    const { program, now } = request;
    switch (request.kind) {
      case 'count':
        return await countFleet(reading.pages(), program, now);
      case 'answer':
        return await answerFrom(reading.pages(), request.want, program, now);
      case 'census':
        return await takeCensus(reading.pages(), request);
      case 'select':
        return await selectFrom(reading, request.request, program, now);
    }
  } finally {
    await reading.close();
  }
}

function say(message: CountMessage): void {
  parentPort?.postMessage(message);
}
