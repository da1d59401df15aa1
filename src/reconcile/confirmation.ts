/**
 * Servers that share a database: each serves the program that it saw there last. One that cannot look any more may be
 * serving what another has since taken back, so after a while it makes no new offers: who has something keeps it.
 */
import type { Clock } from '../clock.ts';
import { type DurationMs, SECOND } from '../core/model/time.ts';
import { withoutOffers } from '../core/plan/program.ts';
import type { PublishedProgram } from '../store/store.ts';
import type { ReconcilerState } from './reconciler.ts';

const UNCONFIRMED_MAX_MS: DurationMs = 30 * SECOND;

/** The program to answer devices by. The same object as long as nothing about it changes. */
export function confirmedProgram(
  state: () => Pick<ReconcilerState, 'published' | 'confirmedAt'>,
  clock: Pick<Clock, 'now'>,
): () => PublishedProgram | undefined {
  let stopped: { readonly from: PublishedProgram; readonly served: PublishedProgram } | undefined;
  return () => {
    const { published, confirmedAt = 0 } = state();
    if (published === undefined || clock.now() - confirmedAt <= UNCONFIRMED_MAX_MS) return published;
    if (stopped?.from !== published) {
      stopped = { from: published, served: { ...published, program: withoutOffers(published.program) } };
    }
    return stopped.served;
  };
}
