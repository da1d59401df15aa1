/** The outbox of the store in memory, with a look into it. */
import { createMemoryOutbox } from '../../src/store/memory-outbox.ts';
import type { Outbox, WaitingMessage } from '../../src/store/outbox.ts';

export interface WatchedOutbox extends Outbox {
  /** In the order in which they were put. */
  waiting(): readonly WaitingMessage[];
  /** How it ended, by id. */
  readonly settled: ReadonlyMap<string, { readonly kind: 'delivered' | 'givenUp' }>;
  /** How often messages were put. */
  timesPut(): number;
}

export function createWatchedOutbox(): WatchedOutbox {
  const outbox = createMemoryOutbox();
  const waiting = new Map<string, WaitingMessage>();
  const settled = new Map<string, { readonly kind: 'delivered' | 'givenUp' }>();
  let timesPut = 0;
  return {
    ...outbox,
    settled,
    waiting: () => [...waiting.values()],
    timesPut: () => timesPut,
    async put(messages) {
      await outbox.put(messages);
      timesPut += 1;
      for (const message of messages) {
        if (waiting.has(message.id) || settled.has(message.id)) continue;
        waiting.set(message.id, { ...message, tries: 0, dueAt: message.createdAt });
      }
    },
    async settle(id, outcome) {
      await outbox.settle(id, outcome);
      const message = waiting.get(id);
      if (message === undefined) return;
      if (outcome.kind === 'retry') {
        const { dueAt, error } = outcome;
        waiting.set(id, { ...message, dueAt, tries: message.tries + 1, lastError: error });
      } else {
        waiting.delete(id);
        settled.set(id, outcome);
      }
    },
  };
}
