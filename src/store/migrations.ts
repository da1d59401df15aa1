/**
 * The schema of the SQLite store and how it came about. A migration that was released is never edited: the next one
 * mends it.
 */
import type { DatabaseSync } from 'node:sqlite';
import { StoreError } from './errors.ts';
import { transaction } from './transaction.ts';

/** Migration n is at index n − 1. They are text in the program, so that a bundle has them too. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE schema_version (version INTEGER PRIMARY KEY) STRICT;

  CREATE TABLE epoch (epoch TEXT NOT NULL) STRICT;

  -- A record is always read and written whole, and only its id is searched for.
  CREATE TABLE devices (
    id     TEXT PRIMARY KEY COLLATE BINARY,
    record TEXT NOT NULL                    -- JSON: DeviceRecord
  ) STRICT;

  -- One row each at most.
  CREATE TABLE program (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    version  INTEGER NOT NULL,
    program  TEXT NOT NULL                  -- JSON
  ) STRICT;
  CREATE TABLE journal (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    journal  TEXT NOT NULL                  -- JSON
  ) STRICT;
  `,
  `ALTER TABLE program ADD COLUMN flags_version INTEGER NOT NULL DEFAULT 0;`,
];

/**
 * Brings the database to the newest schema, each migration in a transaction of its own. A schema that is newer than
 * `migrations`, and a database with tables that are not ours, are refused untouched.
 */
export function migrate(db: DatabaseSync, migrations: readonly string[] = MIGRATIONS): void {
  const found = schemaVersion(db);
  if (found > migrations.length) {
    throw new StoreError(
      'store-newer',
      `${db.location()}: this Tidegate knows schema versions up to ${migrations.length}, found ${found}; ` +
        'run the Tidegate that wrote it or a newer one, or give this one another data folder',
    );
  }
  for (const [index, sql] of migrations.entries()) {
    const version = index + 1;
    if (version <= found) continue;
    transaction(db, () => {
      // Another process may have done it while this one waited for the lock.
      if (schemaVersion(db) >= version) return;
      db.exec(sql);
      db.prepare('INSERT INTO schema_version (version) VALUES (?)').run(version);
    });
  }
}

/** The last migration that was applied; 0 in an empty database. */
function schemaVersion(db: DatabaseSync): number {
  const tables = db.prepare(`SELECT name FROM sqlite_schema WHERE type = 'table'`).all();
  if (tables.length === 0) return 0;
  if (!tables.some((table) => table['name'] === 'schema_version')) {
    throw new StoreError(
      'store-foreign',
      `${db.location()}: expected Tidegate's database, found one with the table ${tables[0]?.['name']}; ` +
        'it was left as it is; give Tidegate another path',
    );
  }
  return Number(db.prepare('SELECT max(version) AS version FROM schema_version').get()?.['version']);
}
