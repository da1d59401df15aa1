/** The outbox in memory, with a look into it. */
import type { Instant } from '../../src/core/model/time.ts';
import type { Outbox, WaitingMessage } from '../../src/store/outbox.ts';

export interface MemoryOutbox extends Outbox {
  waiting(): readonly WaitingMessage[];
  /** How it ended, by id. */
  readonly settled: ReadonlyMap<string, { readonly kind: 'delivered' | 'givenUp'; readonly error?: string }>;
  /** How often each of the methods was called. */
  readonly calls: { put: number; take: number };
}

export function createMemoryOutbox(): MemoryOutbox {
  const waiting = new Map<string, WaitingMessage>();
  const settled = new Map<string, { kind: 'delivered' | 'givenUp'; at: Instant; error?: string }>();
  const calls = { put: 0, take: 0 };
  return {
    settled,
    calls,
    waiting: () => [...waiting.values()],
    async put(messages) {
      calls.put += 1;
      for (const message of messages) {
        if (waiting.has(message.id) || settled.has(message.id)) continue;
        waiting.set(message.id, { ...message, tries: 0, dueAt: message.createdAt });
      }
    },
    async take({ now, limit, lentUntil }) {
      calls.take += 1;
      const due = [...waiting.values()].filter(({ dueAt }) => dueAt <= now);
      const taken = due.sort((a, b) => a.dueAt - b.dueAt).slice(0, limit);
      for (const message of taken) waiting.set(message.id, { ...message, dueAt: lentUntil });
      return taken;
    },
    async settle(id, outcome) {
      const message = waiting.get(id);
      if (message === undefined) return;
      if (outcome.kind === 'retry') {
        const { dueAt, error } = outcome;
        waiting.set(id, { ...message, dueAt, tries: message.tries + 1, lastError: error });
        return;
      }
      waiting.delete(id);
      settled.set(id, outcome);
    },
    async nextDueAt() {
      const times = [...waiting.values()].map(({ dueAt }) => dueAt);
      return times.length === 0 ? undefined : Math.min(...times);
    },
    async forget(before) {
      for (const [id, { at }] of settled) if (at < before) settled.delete(id);
    },
  };
}
