/** One SQLite transaction around synchronous work. */
import type { DatabaseSync } from 'node:sqlite';

/**
 * Runs `work` inside a transaction: all of it is on disk when this returns, or nothing is and the error goes on.
 * The write lock is taken at the start. A transaction that reads first and asks for the lock later can find that
 * another process wrote in between, and then fails however long it is willing to wait.
 */
export function transaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    // A full disk makes SQLite roll back by itself.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}
