/** The outbox in memory. */
import type { Instant } from '../core/model/time.ts';
import { byAge, checkMessage, keptError, type Outbox, type WaitingMessage } from './outbox.ts';

export function createMemoryOutbox(): Outbox {
  const waiting = new Map<string, WaitingMessage>();
  /** When what no longer waits was delivered or given up. */
  const settled = new Map<string, Instant>();

  return {
    async put(messages) {
      for (const message of messages) checkMessage(message);
      for (const message of messages) {
        if (waiting.has(message.id) || settled.has(message.id)) continue;
        waiting.set(message.id, { ...message, tries: 0, dueAt: message.createdAt });
      }
    },

    async take({ now, limit, lentUntil }) {
      const due = [...waiting.values()]
        .filter(({ dueAt }) => dueAt <= now)
        .sort(byAge)
        .slice(0, limit);
      for (const message of due) waiting.set(message.id, { ...message, dueAt: lentUntil });
      return due;
    },

    async settle(id, outcome) {
      const message = waiting.get(id);
      if (message === undefined) return;
      if (outcome.kind === 'retry') {
        const { dueAt, error } = outcome;
        waiting.set(id, { ...message, tries: message.tries + 1, dueAt, lastError: keptError(error) });
      } else {
        waiting.delete(id);
        settled.set(id, outcome.at);
      }
    },

    async nextDueAt() {
      let next: Instant | undefined;
      for (const { dueAt } of waiting.values()) next = Math.min(dueAt, next ?? dueAt);
      return next;
    },

    async forget(before) {
      for (const [id, at] of settled) if (at < before) settled.delete(id);
    },
  };
}
