/** The outbox in SQLite. */
import type { DatabaseSync } from 'node:sqlite';
import { checkMessage, keptError, messageIn, type Outbox } from './outbox.ts';
import { transaction } from './transaction.ts';

/** `call` runs what a method of the store does. */
export function outboxIn(db: DatabaseSync, call: <T>(work: () => T) => Promise<T>): Outbox {
  const insert = db.prepare(`
    INSERT INTO outbox (id, receiver, body, created_at, due_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO NOTHING`);
  const selectDue = db.prepare(`
    SELECT id, receiver, body, created_at, tries, due_at, last_error FROM outbox
    WHERE settled_at IS NULL AND due_at <= ? ORDER BY created_at, id LIMIT ?`);
  const lend = db.prepare('UPDATE outbox SET due_at = ? WHERE id = ?');
  const retry = db.prepare(`
    UPDATE outbox SET tries = tries + 1, due_at = ?, last_error = ? WHERE id = ? AND settled_at IS NULL`);
  const settle = db.prepare(`
    UPDATE outbox SET settled_at = ?, last_error = ?, receiver = '', body = '' WHERE id = ? AND settled_at IS NULL`);
  const selectNext = db.prepare('SELECT min(due_at) AS due_at FROM outbox WHERE settled_at IS NULL');
  const forget = db.prepare('DELETE FROM outbox WHERE settled_at < ?');

  return {
    put: (messages) =>
      call(() =>
        transaction(db, () => {
          for (const message of messages) {
            checkMessage(message);
            const { id, receiver, body, createdAt } = message;
            insert.run(id, receiver, body, createdAt, createdAt);
          }
        }),
      ),

    take: ({ now, limit, lentUntil }) =>
      call(() =>
        transaction(db, () =>
          selectDue.all(now, limit).map((row) => {
            lend.run(lentUntil, String(row['id']));
            return messageIn({
              id: String(row['id']),
              receiver: String(row['receiver']),
              body: String(row['body']),
              createdAt: Number(row['created_at']),
              tries: Number(row['tries']),
              dueAt: Number(row['due_at']),
              lastError: row['last_error'] === null ? null : String(row['last_error']),
            });
          }),
        ),
      ),

    settle: (id, outcome) =>
      call(() => {
        if (outcome.kind === 'retry') retry.run(outcome.dueAt, keptError(outcome.error), id);
        else settle.run(outcome.at, outcome.kind === 'givenUp' ? keptError(outcome.error) : null, id);
      }),

    nextDueAt: () =>
      call(() => {
        const dueAt = selectNext.get()?.['due_at'];
        return typeof dueAt === 'number' ? dueAt : undefined;
      }),

    forget: (before) => call(() => void forget.run(before)),
  };
}
