/** How many devices have which tags, as the fleet is now: for people who plan a rollout. It names no device. */
import { Hono } from 'hono';
import type { Clock } from '../clock.ts';
import type { Census } from '../core/model/census.ts';
import { type DurationMs, type Instant, MINUTE } from '../core/model/time.ts';
import { encodeCensus } from '../documents/census.ts';
import { problem, RETRY_LATER } from './problem.ts';

export interface CensusApiOptions {
  /** Counts the whole fleet; undefined while there is nothing to count by. */
  readonly census: (now: Instant) => Promise<Census> | undefined;
  readonly clock: Pick<Clock, 'now'>;
}

/** Counting costs what the fleet is large: whoever asks again within this time gets the same answer. */
const KEPT_MS: DurationMs = MINUTE;

export function censusApi({ census, clock }: CensusApiOptions): Hono {
  const app = new Hono();
  let last: { readonly at: Instant; readonly answer: Promise<Census> } | undefined;

  app.get('/api/census', async () => {
    const now = clock.now();
    const isFresh = last !== undefined && now >= last.at && now - last.at < KEPT_MS;
    const answer = isFresh ? last?.answer : census(now);
    if (answer === undefined) {
      const detail = 'no valid snapshot has been read yet, so nothing says what the fleet is';
      return problem('no-program', { detail, next: 'ask again in a few seconds', headers: RETRY_LATER });
    }
    if (!isFresh) {
      const counted = { at: now, answer };
      last = counted;
      // What failed is no answer for the next one.
      answer.catch(() => {
        if (last === counted) last = undefined;
      });
    }
    return new Response(encodeCensus(await answer), {
      headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' },
    });
  });
  return app;
}
