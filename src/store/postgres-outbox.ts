/** The outbox in PostgreSQL, which several servers empty at once. */
import { byAge, checkMessage, keptError, messageIn, type Outbox } from './outbox.ts';
import type { Connection } from './postgres-connection.ts';
import { compareText } from './text.ts';

export function outboxIn(connection: Connection): Outbox {
  return {
    async put(messages) {
      for (const message of messages) checkMessage(message);
      if (messages.length === 0) return;
      // In order of id: servers that put in the same messages wait for each other at the first of them.
      const sorted = [...messages].sort((a, b) => compareText(a.id, b.id));
      await connection.query(
        `INSERT INTO outbox (id, receiver, body, created_at, due_at)
         SELECT id, receiver, body, created_at, created_at
         FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS given (id, receiver, body, created_at)
         ON CONFLICT (id) DO NOTHING`,
        [
          sorted.map(({ id }) => id),
          sorted.map(({ receiver }) => receiver),
          sorted.map(({ body }) => body),
          sorted.map(({ createdAt }) => createdAt),
        ],
      );
    },

    async take({ now, limit, lentUntil }) {
      // What another server is taking at this moment is passed over instead of waited for.
      const { rows } = await connection.query<DueRow>(
        `WITH due AS MATERIALIZED (
           SELECT id, due_at FROM outbox
           WHERE settled_at IS NULL AND due_at <= $1 ORDER BY created_at, id LIMIT $2
           FOR UPDATE SKIP LOCKED)
         UPDATE outbox SET due_at = $3 FROM due WHERE outbox.id = due.id
         RETURNING outbox.id, receiver, body, created_at, tries, due.due_at AS was_due_at, last_error`,
        [now, limit, lentUntil],
      );
      const messages = rows.map(({ id, receiver, body, created_at, tries, was_due_at, last_error }) =>
        messageIn({
          id,
          receiver,
          body,
          createdAt: Number(created_at),
          tries,
          dueAt: Number(was_due_at),
          lastError: last_error,
        }),
      );
      return messages.sort(byAge);
    },

    async settle(id, outcome) {
      if (outcome.kind === 'retry') {
        await connection.query(
          `UPDATE outbox SET tries = tries + 1, due_at = $2, last_error = $3 WHERE id = $1 AND settled_at IS NULL`,
          [id, outcome.dueAt, keptError(outcome.error)],
        );
      } else {
        await connection.query(
          `UPDATE outbox SET settled_at = $2, last_error = $3, receiver = '', body = ''
           WHERE id = $1 AND settled_at IS NULL`,
          [id, outcome.at, outcome.kind === 'givenUp' ? keptError(outcome.error) : null],
        );
      }
    },

    async nextDueAt() {
      const { rows } = await connection.query<{ due_at: string | null }>(
        'SELECT min(due_at) AS due_at FROM outbox WHERE settled_at IS NULL',
      );
      const dueAt = rows[0]?.due_at ?? null;
      return dueAt === null ? undefined : Number(dueAt);
    },

    async forget(before) {
      await connection.query('DELETE FROM outbox WHERE settled_at < $1', [before]);
    },
  };
}

interface DueRow {
  readonly id: string;
  readonly receiver: string;
  readonly body: string;
  readonly created_at: string;
  readonly tries: number;
  readonly was_due_at: string;
  readonly last_error: string | null;
}
