/**
 * The store in one SQLite file: the default of a single server. Calls run synchronously inside their promise, so
 * two calls of one process never interleave; other processes are kept out by SQLite's locks.
 *
 * A commit waits for the disk (`synchronous = FULL`), because devices are answered only when their report is
 * durable. The intake puts many reports into one commit; that, not a weaker setting, is what makes it fast.
 */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import type { DeviceRecord } from '../core/model/device.ts';
import type { DeviceId } from '../core/model/ids.ts';
import type { Program } from '../core/model/program.ts';
import { StoreError } from './errors.ts';
import { createFollowers } from './followers.ts';
import { parseColumn, reporting } from './sqlite-errors.ts';
import { outboxIn } from './sqlite-outbox.ts';
import { openSqliteReading } from './sqlite-reading.ts';
import { migrateSqlite } from './sqlite-schema.ts';
import { sumsIn } from './sqlite-sums.ts';
import { type DeviceChange, type Journal, type Store, TUF_FILE_KEPT_MS } from './store.ts';
import { transaction } from './transaction.ts';

interface SqliteOptions {
  /** Draws the epoch of a new database. */
  readonly epoch: () => string;
  /** How long a call waits while another process writes; 5 s unless said. This process does nothing else meanwhile. */
  readonly busyTimeoutMs?: number;
}

const BUSY_TIMEOUT_MS_DEFAULT = 5000;
/** Page cache. The upper levels of a million devices' index fit; their rows come from the kernel's cache. */
const CACHE_KIB = 64 * 1024;

/**
 * Opens the database, creating it (mode 0600) or bringing it to the newest schema. Throws {@link StoreError} where
 * the file cannot be used.
 */
export async function openSqliteStore(path: string, options: SqliteOptions): Promise<Store> {
  await createPrivate(path);
  return reporting(path, () => {
    const db = new DatabaseSync(path, { timeout: options.busyTimeoutMs ?? BUSY_TIMEOUT_MS_DEFAULT });
    try {
      // A file that is not ours stays as it is: nothing is written before the schema was looked at.
      db.exec(`PRAGMA synchronous = FULL; PRAGMA cache_size = -${CACHE_KIB}`);
      migrateSqlite(db);
      db.exec('PRAGMA journal_mode = WAL');
      giveEpoch(db, options.epoch);
      return storeOver(db, path);
    } catch (error) {
      db.close();
      throw error;
    }
  });
}

/** Creates the file if it is missing. SQLite gives its `-wal` and `-shm` files the same mode. */
async function createPrivate(path: string): Promise<void> {
  try {
    const file = await open(path, 'a', 0o600);
    await file.close();
  } catch (error) {
    throw new StoreError(
      'store-open',
      `${path}: the database cannot be opened for writing (${messageOf(error)}); ` +
        'check that the folder exists and that this user may write there',
      error,
    );
  }
}

function giveEpoch(db: DatabaseSync, draw: () => string): void {
  transaction(db, () => {
    if (db.prepare('SELECT epoch FROM epoch').get() !== undefined) return;
    db.prepare('INSERT INTO epoch (epoch) VALUES (?)').run(draw());
  });
}

function storeOver(db: DatabaseSync, path: string): Store {
  const selectDevice = db.prepare('SELECT record FROM devices WHERE id = ?');
  const selectDevices = db.prepare('SELECT record FROM devices WHERE id > ? ORDER BY id LIMIT ?');
  const countDevices = db.prepare('SELECT count(*) AS count FROM devices');
  const deleteDevice = db.prepare('DELETE FROM devices WHERE id = ?');
  const upsertDevice = db.prepare(`
    INSERT INTO devices (id, record) VALUES (?, ?)
    ON CONFLICT (id) DO UPDATE SET record = excluded.record`);
  const selectProgram = db.prepare('SELECT version, flags_version, program FROM program');
  const upsertProgram = db.prepare(`
    INSERT INTO program (only_row, version, flags_version, program)
    SELECT 1, ?, ?, ? WHERE coalesce((SELECT version FROM program), 0) = ?
    ON CONFLICT (only_row) DO UPDATE
    SET version = excluded.version, flags_version = excluded.flags_version, program = excluded.program`);
  const selectProgramVersion = db.prepare('SELECT version FROM program');
  const selectEpoch = db.prepare('SELECT epoch FROM epoch');
  const nextPosition = db.prepare('UPDATE feed SET position = position + 1 RETURNING position');
  const selectJournal = db.prepare('SELECT version, journal FROM journal');
  const upsertJournal = db.prepare(`
    INSERT INTO journal (only_row, version, journal)
    SELECT 1, ? + 1, ? WHERE coalesce((SELECT version FROM journal), 0) = ?
    ON CONFLICT (only_row) DO UPDATE SET version = excluded.version, journal = excluded.journal`);
  const selectTuf = db.prepare('SELECT version, state FROM tuf');
  const upsertTuf = db.prepare(`
    INSERT INTO tuf (only_row, version, state)
    SELECT 1, ?, ? WHERE coalesce((SELECT version FROM tuf), 0) = ?
    ON CONFLICT (only_row) DO UPDATE SET version = excluded.version, state = excluded.state`);
  const forgetTokens = db.prepare('DELETE FROM token_uses WHERE expires_at <= ?');
  const insertTokenUse = db.prepare(`
    INSERT INTO token_uses (token, holder, expires_at)
    SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM token_uses WHERE token = ?1 AND holder <> ?2) < ?4
    ON CONFLICT (token, holder) DO UPDATE SET expires_at = excluded.expires_at`);
  const selectTufFile = db.prepare('SELECT content FROM tuf_files WHERE path = ?');
  const upsertTufFile = db.prepare(`
    INSERT INTO tuf_files (path, content) VALUES (?, ?)
    ON CONFLICT (path) DO UPDATE SET content = excluded.content`);
  const retireTufFiles = db.prepare(`
    UPDATE tuf_files SET retired_at = CASE WHEN path IN (SELECT value FROM json_each(?)) THEN NULL ELSE coalesce(retired_at, ?) END`);
  const deleteTufFiles = db.prepare('DELETE FROM tuf_files WHERE retired_at <= ?');
  const sums = sumsIn(db);
  const followers = createFollowers(Number(db.prepare('SELECT position FROM feed').get()?.['position']));

  const parse = (json: unknown) => parseColumn(path, json);
  const read = (id: DeviceId): DeviceRecord | undefined => {
    const row = selectDevice.get(id);
    return row === undefined ? undefined : (parse(row['record']) as DeviceRecord);
  };
  const write = (id: DeviceId, record: DeviceRecord | undefined) =>
    record === undefined ? deleteDevice.run(id) : upsertDevice.run(id, JSON.stringify(record));

  /** Every call goes through here. It runs at once; what it throws becomes the promise's rejection. */
  const call = async <T>(work: () => T): Promise<T> => {
    if (!db.isOpen) throw new StoreError('store-closed', `${path}: the store was used after it was closed`);
    return reporting(path, work);
  };

  return {
    epoch: () => call(() => String(selectEpoch.get()?.['epoch'])),

    device: (id) => call(() => read(id)),

    devices: ({ after, limit }) =>
      call(() => selectDevices.all(after ?? '', limit).map((row) => parse(row['record']) as DeviceRecord)),

    deviceCount: () => call(() => Number(countDevices.get()?.['count'])),

    updateDevices: (ids, update, additions) =>
      call(() => {
        const committed = transaction(db, () => {
          const changes: DeviceChange[] = [];
          for (const [index, id] of ids.entries()) {
            const before = read(id);
            const after = update(before, index);
            if (after === before) continue;
            assert(
              after === undefined || after.id === id,
              `the update of device ${id} returned device ${after?.id}`,
            );
            write(id, after);
            changes.push({ before, after });
          }
          if (additions !== undefined) sums.add(additions());
          const position = changes.length === 0 ? undefined : Number(nextPosition.get()?.['position']);
          return { changes, position };
        });
        if (committed.position !== undefined) followers.tell(committed.changes, committed.position);
        return committed.changes;
      }),

    addUp: (additions) => call(() => transaction(db, () => sums.add(additions))),

    sums: (given) => call(() => sums.read(given)),

    forgetSums: (given) => call(() => transaction(db, () => sums.forget(given))),

    useToken: ({ token, holder, uses, expiresAt, now }) =>
      call(() =>
        transaction(db, () => {
          forgetTokens.run(now);
          return insertTokenUse.run(token, holder, expiresAt, uses).changes === 1;
        }),
      ),

    outbox: outboxIn(db, call),

    follow: followers.follow,

    read: () => call(() => openSqliteReading(path)),

    place: { kind: 'sqlite', path },

    programVersion: () => call(() => Number(selectProgramVersion.get()?.['version'] ?? 0)),

    program: () =>
      call(() => {
        const row = selectProgram.get();
        if (row === undefined) return undefined;
        return {
          version: Number(row['version']),
          flagsVersion: Number(row['flags_version']),
          program: parse(row['program']) as Program,
        };
      }),

    swapProgram: (next, expected) =>
      call(() => {
        assert(next.version > expected, `program version ${next.version} does not follow ${expected}`);
        const { version, flagsVersion, program } = next;
        return upsertProgram.run(version, flagsVersion, JSON.stringify(program), expected).changes === 1;
      }),

    journal: () =>
      call(() => {
        const row = selectJournal.get();
        if (row === undefined) return { version: 0, journal: {} };
        return { version: Number(row['version']), journal: parse(row['journal']) as Journal };
      }),

    swapJournal: (next, expected) =>
      call(() => upsertJournal.run(expected, JSON.stringify(next), expected).changes === 1),

    tuf: () =>
      call(() => {
        const row = selectTuf.get();
        if (row === undefined) return { version: 0, state: {} };
        return { version: Number(row['version']), state: parse(row['state']) as Journal };
      }),

    tufFile: (tufPath) =>
      call(() => {
        const content = selectTufFile.get(tufPath)?.['content'];
        return content instanceof Uint8Array ? content : undefined;
      }),

    swapTuf: ({ version, state, files, needed, now }, expected) =>
      call(() => {
        assert(version > expected, `TUF version ${version} does not follow ${expected}`);
        return transaction(db, () => {
          if (upsertTuf.run(version, JSON.stringify(state), expected).changes !== 1) return false;
          for (const [tufPath, content] of files) upsertTufFile.run(tufPath, content);
          retireTufFiles.run(JSON.stringify([...needed]), now);
          deleteTufFiles.run(now - TUF_FILE_KEPT_MS);
          return true;
        });
      }),

    async close() {
      if (db.isOpen) db.close();
    },
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
