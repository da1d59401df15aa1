/** The schema of the SQLite store and how it came about. */
import type { DatabaseSync } from 'node:sqlite';
import { acceptSchema } from './migrations.ts';
import { transaction } from './transaction.ts';

export const SQLITE_MIGRATIONS: readonly string[] = [
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
  `
  -- Counts the commits that changed devices.
  CREATE TABLE feed (position INTEGER NOT NULL) STRICT;
  INSERT INTO feed (position) VALUES (0);

  ALTER TABLE journal ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
  `,
  `
  CREATE TABLE tuf (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    version  INTEGER NOT NULL,
    state    TEXT NOT NULL                  -- JSON
  ) STRICT;

  CREATE TABLE tuf_files (
    path       TEXT PRIMARY KEY COLLATE BINARY,
    content    BLOB NOT NULL,
    retired_at INTEGER                      -- milliseconds; since when it is not needed any more
  ) STRICT;
  `,
  `
  -- Who has used which enrolment token.
  CREATE TABLE token_uses (
    token      TEXT NOT NULL,
    holder     TEXT NOT NULL,
    expires_at INTEGER NOT NULL,            -- milliseconds
    PRIMARY KEY (token, holder)
  ) STRICT;
  `,
  `
  -- What reports add up to, per interval.
  CREATE TABLE sums (
    series   TEXT NOT NULL COLLATE BINARY,
    began_at INTEGER NOT NULL,              -- milliseconds
    name     TEXT NOT NULL COLLATE BINARY,
    sum      REAL NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (series, began_at, name)
  ) STRICT, WITHOUT ROWID;

  -- How often a key was counted.
  CREATE TABLE sum_limits (
    series     TEXT NOT NULL COLLATE BINARY,
    limit_key  TEXT NOT NULL COLLATE BINARY,
    used       INTEGER NOT NULL,
    touched_at INTEGER NOT NULL,            -- milliseconds; the newest interval of what was counted
    PRIMARY KEY (series, limit_key)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE outbox (
    id         TEXT PRIMARY KEY COLLATE BINARY,
    receiver   TEXT NOT NULL,
    body       TEXT NOT NULL,               -- JSON; empty once it is settled
    created_at INTEGER NOT NULL,            -- milliseconds, like all of these
    tries      INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL,            -- while it is lent, when the loan ends
    last_error TEXT,
    settled_at INTEGER                      -- when it was delivered or given up
  ) STRICT;
  CREATE INDEX outbox_waiting ON outbox (due_at) WHERE settled_at IS NULL;
  CREATE INDEX outbox_settled ON outbox (settled_at) WHERE settled_at IS NOT NULL;
  `,
];

/**
 * Brings the database to the newest schema, each migration in a transaction of its own. A database that is not ours or
 * newer is refused untouched.
 */
export function migrateSqlite(db: DatabaseSync, migrations: readonly string[] = SQLITE_MIGRATIONS): void {
  const found = schemaVersion(db, migrations.length);
  for (const [index, sql] of migrations.entries()) {
    const version = index + 1;
    if (version <= found) continue;
    transaction(db, () => {
      // Another process may have done it while this one waited for the lock.
      if (schemaVersion(db, migrations.length) >= version) return;
      db.exec(sql);
      db.prepare('INSERT INTO schema_version (version) VALUES (?)').run(version);
    });
  }
}

function schemaVersion(db: DatabaseSync, known: number): number {
  const rows = db.prepare(`SELECT name FROM sqlite_schema WHERE type = 'table'`).all();
  const tables = rows.map((row) => String(row['name']));
  const isOurs = tables.includes('schema_version');
  const row = isOurs ? db.prepare('SELECT max(version) AS version FROM schema_version').get() : undefined;
  const version = row === undefined ? undefined : Number(row['version']);
  return acceptSchema({ name: db.location() ?? 'the database in memory', tables, version }, known);
}
