/**
 * The store in PostgreSQL, for several replicas. What one of them commits, the others hear of through the feed.
 *
 * Devices are locked in order of id, then sums, and the feed last, so replicas wait for each other and never in a circle; where one
 * was faster all the same, the transaction is repeated.
 */
import assert from 'node:assert/strict';
import type { DeviceRecord } from '../core/model/device.ts';
import type { DeviceId } from '../core/model/ids.ts';
import type { Program } from '../core/model/program.ts';
import { StoreError } from './errors.ts';
import { type Connection, type Database, openDatabase } from './postgres-connection.ts';
import { isOvertaken } from './postgres-errors.ts';
import { createFeed, writeChanges } from './postgres-feed.ts';
import { outboxIn } from './postgres-outbox.ts';
import { openPostgresReading } from './postgres-reading.ts';
import { migratePostgres } from './postgres-schema.ts';
import { addIn, forgetSums, readSums } from './postgres-sums.ts';
import { type DeviceChange, type Journal, type NextTuf, type Store, TUF_FILE_KEPT_MS } from './store.ts';
import type { Addition } from './sums.ts';

/** How often a transaction is begun anew because another replica was faster. */
const ATTEMPTS_MAX = 5;

/**
 * Opens the database, bringing it to the newest schema. Throws {@link StoreError} where it cannot be used. A password
 * that is not in `url` is taken from PGPASSWORD or ~/.pgpass.
 */
export async function openPostgresStore(
  url: string,
  /** Draws the epoch of a new database. */
  options: { readonly epoch: () => string },
): Promise<Store> {
  const database = openDatabase(url);
  try {
    await refuseOtherEncodings(database);
    await migratePostgres(database);
    await database.query(
      'INSERT INTO epoch (epoch) SELECT $1 WHERE NOT EXISTS (SELECT FROM epoch) ON CONFLICT DO NOTHING',
      [options.epoch()],
    );
    return storeOver(database, url);
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Elsewhere ids would come back as other characters, or not at all. */
async function refuseOtherEncodings(database: Database): Promise<void> {
  const { rows } = await database.query<{ server_encoding: string }>('SHOW server_encoding');
  const encoding = rows[0]?.server_encoding;
  if (encoding === 'UTF8') return;
  throw new StoreError(
    'store-open',
    `${database.name}: expected a database with the encoding UTF8, found ${encoding}; ` +
      'create one with createdb --encoding=UTF8 --template=template0',
  );
}

function storeOver(database: Database, url: string): Store {
  const feed = createFeed(database, url);
  const parse = (json: string) => parseColumn(database.name, json);

  async function devicesWhere(rest: string, values: readonly unknown[]): Promise<readonly DeviceRecord[]> {
    const { rows } = await database.query<{ record: string }>(`SELECT record FROM devices ${rest}`, values);
    return rows.map(({ record }) => parse(record) as DeviceRecord);
  }

  /** A transaction that is begun anew where another replica was faster. */
  async function repeated<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await database.transaction(work);
      } catch (error) {
        if (!isOvertaken(error) || attempt === ATTEMPTS_MAX) throw error;
      }
    }
  }

  return {
    async epoch() {
      const { rows } = await database.query<{ epoch: string }>('SELECT epoch FROM epoch');
      return rows[0]?.epoch ?? '';
    },

    async device(id) {
      const [found] = await devicesWhere('WHERE id = $1', [id]);
      return found;
    },

    devices: ({ after, limit }) => devicesWhere('WHERE id > $1 ORDER BY id LIMIT $2', [after ?? '', limit]),

    async deviceCount() {
      const { rows } = await database.query<{ count: string }>('SELECT count(*) FROM devices');
      return Number(rows[0]?.count);
    },

    async updateDevices(ids, update, additions) {
      if (ids.length === 0 && additions === undefined) return [];
      return await repeated((connection) => updateIn(connection, { ids, update, additions, parse }));
    },

    addUp: (additions) => repeated((connection) => addIn(connection, additions)),

    sums: (given) => readSums(database, given),

    forgetSums: (given) => forgetSums(database, given),

    outbox: outboxIn(database),

    follow: feed.follow,

    read: () => openPostgresReading(url),

    place: { kind: 'postgres', url },

    async program() {
      const { rows } = await database.query<{ version: string; flags_version: string; program: string }>(
        'SELECT version, flags_version, program FROM program',
      );
      const [row] = rows;
      if (row === undefined) return undefined;
      return {
        version: Number(row.version),
        flagsVersion: Number(row.flags_version),
        program: parse(row.program) as Program,
      };
    },

    async programVersion() {
      const { rows } = await database.query<{ version: string }>('SELECT version FROM program');
      return Number(rows[0]?.version ?? 0);
    },

    async swapProgram(next, expected) {
      assert(next.version > expected, `program version ${next.version} does not follow ${expected}`);
      const { version, flagsVersion, program } = next;
      const { count } = await database.query(
        `INSERT INTO program (version, flags_version, program)
         SELECT $1, $2, $3 WHERE coalesce((SELECT version FROM program), 0) = $4
         ON CONFLICT (only_row) DO UPDATE
         SET version = excluded.version, flags_version = excluded.flags_version, program = excluded.program
         WHERE program.version = $4`,
        [version, flagsVersion, JSON.stringify(program), expected],
      );
      return count === 1;
    },

    async journal() {
      const { rows } = await database.query<{ version: string; journal: string }>(
        'SELECT version, journal FROM journal',
      );
      const [row] = rows;
      if (row === undefined) return { version: 0, journal: {} };
      return { version: Number(row.version), journal: parse(row.journal) as Journal };
    },

    async swapJournal(next, expected) {
      const { count } = await database.query(
        `INSERT INTO journal (version, journal)
         SELECT $1 + 1, $2 WHERE coalesce((SELECT version FROM journal), 0) = $1
         ON CONFLICT (only_row) DO UPDATE SET version = excluded.version, journal = excluded.journal
         WHERE journal.version = $1`,
        [expected, JSON.stringify(next)],
      );
      return count === 1;
    },

    async useToken({ token, holder, uses, expiresAt, now }) {
      return await database.transaction(async (connection) => {
        // Two who come at once are told one after the other.
        await connection.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [token]);
        await connection.query('DELETE FROM token_uses WHERE expires_at <= $1', [now]);
        const { count } = await connection.query(
          `INSERT INTO token_uses (token, holder, expires_at)
           SELECT $1, $2, $3
           WHERE (SELECT count(*) FROM token_uses WHERE token = $1 AND holder <> $2) < $4
           ON CONFLICT (token, holder) DO UPDATE SET expires_at = excluded.expires_at`,
          [token, holder, expiresAt, uses],
        );
        return count === 1;
      });
    },

    async tuf() {
      const { rows } = await database.query<{ version: string; state: string }>(
        'SELECT version, state FROM tuf',
      );
      const [row] = rows;
      if (row === undefined) return { version: 0, state: {} };
      return { version: Number(row.version), state: parse(row.state) as Journal };
    },

    async tufFile(path) {
      const { rows } = await database.query<{ content: Buffer }>(
        'SELECT content FROM tuf_files WHERE path = $1',
        [path],
      );
      return rows[0]?.content;
    },

    async swapTuf(next, expected) {
      assert(next.version > expected, `TUF version ${next.version} does not follow ${expected}`);
      return await database.transaction((connection) => swapTufIn(connection, next, expected));
    },

    async close() {
      await feed.close();
      await database.close();
    },
  };
}

/** One attempt at {@link Store.updateDevices}. */
async function updateIn(
  connection: Connection,
  given: {
    readonly ids: readonly DeviceId[];
    readonly update: Parameters<Store['updateDevices']>[1];
    readonly additions: (() => readonly Addition[]) | undefined;
    readonly parse: (json: string) => unknown;
  },
): Promise<readonly DeviceChange[]> {
  const { ids, update, additions, parse } = given;
  const { rows } = await connection.query<{ id: DeviceId; record: string }>(
    'SELECT id, record FROM devices WHERE id = ANY($1) ORDER BY id FOR UPDATE',
    [[...new Set(ids)]],
  );
  const stored = new Map(rows.map(({ id, record }) => [id, parse(record) as DeviceRecord]));
  const pending = new Map<DeviceId, DeviceRecord | undefined>();
  const changes: DeviceChange[] = [];
  for (const [index, id] of ids.entries()) {
    const before = pending.has(id) ? pending.get(id) : stored.get(id);
    const after = update(before, index);
    if (after === before) continue;
    assert(after === undefined || after.id === id, `the update of device ${id} returned device ${after?.id}`);
    pending.set(id, after);
    changes.push({ before, after });
  }
  const added = additions?.() ?? [];
  if (changes.length > 0) await write(connection, stored, pending);
  await addIn(connection, added);
  if (changes.length > 0) await writeChanges(connection, changes);
  return changes;
}

async function write(
  connection: Connection,
  stored: ReadonlyMap<DeviceId, DeviceRecord>,
  pending: ReadonlyMap<DeviceId, DeviceRecord | undefined>,
): Promise<void> {
  // In order of id, like the locks: two replicas that enrol the same devices wait for each other at the first of them.
  const ids = [...pending.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const removed = ids.filter((id) => stored.has(id) && pending.get(id) === undefined);
  const changed = ids.filter((id) => stored.has(id) && pending.get(id) !== undefined);
  const added = ids.filter((id) => !stored.has(id) && pending.get(id) !== undefined);
  const columns = (of: readonly DeviceId[]) => [of, of.map((id) => JSON.stringify(pending.get(id)))];

  if (removed.length > 0) await connection.query('DELETE FROM devices WHERE id = ANY($1)', [removed]);
  if (changed.length > 0) {
    await connection.query(
      `UPDATE devices SET record = given.record
       FROM unnest($1::text[], $2::text[]) AS given (id, record) WHERE devices.id = given.id`,
      columns(changed),
    );
  }
  // A device that was not there cannot be locked: if another replica has added it since, the key is taken.
  if (added.length > 0) {
    await connection.query(
      'INSERT INTO devices (id, record) SELECT id, record FROM unnest($1::text[], $2::text[]) AS given (id, record)',
      columns(added),
    );
  }
}

async function swapTufIn(
  connection: Connection,
  { version, state, files, needed, now }: NextTuf,
  expected: number,
): Promise<boolean> {
  // The row is the lock: whoever comes second sees the version of whoever came first.
  const { count } = await connection.query(
    `INSERT INTO tuf (version, state)
     SELECT $1, $2 WHERE coalesce((SELECT version FROM tuf), 0) = $3
     ON CONFLICT (only_row) DO UPDATE SET version = excluded.version, state = excluded.state
     WHERE tuf.version = $3`,
    [version, JSON.stringify(state), expected],
  );
  if (count !== 1) return false;
  await connection.query(
    `INSERT INTO tuf_files (path, content)
     SELECT path, content FROM unnest($1::text[], $2::bytea[]) AS given (path, content)
     ON CONFLICT (path) DO UPDATE SET content = excluded.content`,
    [[...files.keys()], [...files.values()].map((content) => Buffer.from(content))],
  );
  await connection.query(
    'UPDATE tuf_files SET retired_at = CASE WHEN path = ANY($1) THEN NULL ELSE coalesce(retired_at, $2) END',
    [[...needed], now],
  );
  await connection.query('DELETE FROM tuf_files WHERE retired_at <= $1', [now - TUF_FILE_KEPT_MS]);
  return true;
}

function parseColumn(name: string, json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new StoreError(
      'store-corrupt',
      `${name}: a column that must hold JSON does not; restore the database from a backup`,
      error,
    );
  }
}
