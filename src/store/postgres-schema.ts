/** The schema of the PostgreSQL store and how it came about. */
import { acceptSchema } from './migrations.ts';
import type { Connection, Database } from './postgres-connection.ts';

export const POSTGRES_MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE schema_version (version integer PRIMARY KEY);

  -- One row each at most.
  CREATE TABLE epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    text NOT NULL
  );
  CREATE TABLE program (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version       bigint NOT NULL,
    flags_version bigint NOT NULL,
    program       text NOT NULL               -- JSON
  );
  CREATE TABLE journal (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint NOT NULL,
    journal  text NOT NULL                    -- JSON
  );

  -- A record is always read and written whole, and only its id is searched for: text costs less than jsonb.
  CREATE TABLE devices (
    id     text COLLATE "C" PRIMARY KEY,
    record text NOT NULL                      -- JSON: DeviceRecord
  );

  -- The number of commits that changed devices. Its row is the lock that puts them in order.
  CREATE TABLE feed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL
  );
  INSERT INTO feed (position) VALUES (0);

  -- What each of them changed, for a few minutes.
  CREATE TABLE device_changes (
    position   bigint PRIMARY KEY,
    written_at timestamptz NOT NULL DEFAULT now(),
    changes    text NOT NULL                  -- JSON: DeviceChange[]
  );
  `,
  `
  CREATE TABLE tuf (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint NOT NULL,
    state    text NOT NULL                    -- JSON
  );
  CREATE TABLE tuf_files (
    path       text COLLATE "C" PRIMARY KEY,
    content    bytea NOT NULL,
    retired_at bigint                         -- milliseconds; since when it is not needed any more
  );
  `,
  `
  -- Who has used which enrolment token.
  CREATE TABLE token_uses (
    token      text NOT NULL,
    holder     text NOT NULL,
    expires_at bigint NOT NULL,               -- milliseconds
    PRIMARY KEY (token, holder)
  );
  `,
  `
  -- What reports add up to, per interval.
  CREATE TABLE sums (
    series   text COLLATE "C" NOT NULL,
    began_at bigint NOT NULL,                 -- milliseconds
    name     text COLLATE "C" NOT NULL,
    sum      double precision NOT NULL,
    count    bigint NOT NULL,
    PRIMARY KEY (series, began_at, name)
  );

  -- How often a key was counted.
  CREATE TABLE sum_limits (
    series     text COLLATE "C" NOT NULL,
    limit_key  text COLLATE "C" NOT NULL,
    used       bigint NOT NULL,
    touched_at bigint NOT NULL,               -- milliseconds; the newest interval of what was counted
    PRIMARY KEY (series, limit_key)
  );
  `,
  `
  CREATE TABLE outbox (
    id         text COLLATE "C" PRIMARY KEY,
    receiver   text NOT NULL,
    body       text NOT NULL,                 -- JSON; empty once it is settled
    created_at bigint NOT NULL,               -- milliseconds, like all of these
    tries      integer NOT NULL DEFAULT 0,
    due_at     bigint NOT NULL,               -- while it is lent, when the loan ends
    last_error text,
    settled_at bigint                         -- when it was delivered or given up
  );
  CREATE INDEX outbox_waiting ON outbox (due_at) WHERE settled_at IS NULL;
  CREATE INDEX outbox_settled ON outbox (settled_at) WHERE settled_at IS NOT NULL;
  `,
];

/** Whoever migrates holds this advisory lock, so that replicas that start together take turns. */
const MIGRATION_LOCK = 0x7469_6465;

/**
 * Brings the database to the newest schema, each migration in a transaction of its own. A database that is not ours or
 * newer is refused untouched.
 */
export async function migratePostgres(
  database: Database,
  migrations: readonly string[] = POSTGRES_MIGRATIONS,
): Promise<void> {
  const versionSeenBy = (connection: Connection) =>
    schemaVersion(connection, { name: database.name, known: migrations.length });
  const found = await versionSeenBy(database);
  for (const [index, sql] of migrations.entries()) {
    const version = index + 1;
    if (version <= found) continue;
    await database.transaction(async (connection) => {
      await connection.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
      // Another replica may have done it while this one waited for the lock.
      if ((await versionSeenBy(connection)) >= version) return;
      await connection.query(sql);
      await connection.query('INSERT INTO schema_version (version) VALUES ($1)', [version]);
    });
  }
}

async function schemaVersion(
  connection: Connection,
  { name, known }: { name: string; known: number },
): Promise<number> {
  const found = await connection.query<{ tablename: string }>(
    'SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename',
  );
  const tables = found.rows.map((row) => row.tablename);
  if (!tables.includes('schema_version')) return acceptSchema({ name, tables, version: undefined }, known);
  const applied = await connection.query<{ version: number | null }>(
    'SELECT max(version) AS version FROM schema_version',
  );
  return acceptSchema({ name, tables, version: applied.rows[0]?.version ?? 0 }, known);
}
