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
import { StoreError, type StoreErrorCode } from './errors.ts';
import { migrate } from './migrations.ts';
import type { DeviceChange, Journal, Store } from './store.ts';
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
      migrate(db);
      db.exec('PRAGMA journal_mode = WAL');
      return storeOver(db, path, epochOf(db, options.epoch));
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

function epochOf(db: DatabaseSync, draw: () => string): string {
  return transaction(db, () => {
    const found = db.prepare('SELECT epoch FROM epoch').get();
    if (found !== undefined) return String(found['epoch']);
    const drawn = draw();
    db.prepare('INSERT INTO epoch (epoch) VALUES (?)').run(drawn);
    return drawn;
  });
}

function storeOver(db: DatabaseSync, path: string, epoch: string): Store {
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
  const selectJournal = db.prepare('SELECT journal FROM journal');
  const upsertJournal = db.prepare(`
    INSERT INTO journal (only_row, journal) VALUES (1, ?)
    ON CONFLICT (only_row) DO UPDATE SET journal = excluded.journal`);

  const parse = (json: unknown) => parseJson(path, json);
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
    epoch: () => call(() => epoch),

    device: (id) => call(() => read(id)),

    devices: ({ after, limit }) =>
      call(() => selectDevices.all(after ?? '', limit).map((row) => parse(row['record']) as DeviceRecord)),

    deviceCount: () => call(() => Number(countDevices.get()?.['count'])),

    updateDevices: (ids, update) =>
      call(() =>
        transaction(db, () => {
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
          return changes;
        }),
      ),

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
        return row === undefined ? {} : (parse(row['journal']) as Journal);
      }),

    putJournal: (journal) => call(() => void upsertJournal.run(JSON.stringify(journal))),

    async close() {
      if (db.isOpen) db.close();
    },
  };
}

function parseJson(path: string, json: unknown): unknown {
  try {
    return JSON.parse(String(json));
  } catch (error) {
    throw new StoreError(
      'store-corrupt',
      `${path}: a column that must hold JSON does not; ${REPLACE}`,
      error,
    );
  }
}

const REPLACE =
  'restore it from a backup, or move it away together with its -wal and -shm files and start again: ' +
  'devices register themselves anew, and only telemetry is lost';

/** SQLite's primary result codes (https://sqlite.org/rescode.html): our code, and what to say. */
const FAILURES: ReadonlyMap<number, readonly [StoreErrorCode, string]> = new Map([
  [5, ['store-busy', 'another process is writing to the database; stop it, or give each its own folder']],
  [8, ['store-open', 'the database is read-only; let this user write to the file and to its folder']],
  [11, ['store-corrupt', `the database is damaged; ${REPLACE}`]],
  [13, ['store-full', 'the disk is full; make room, then try again']],
  [14, ['store-open', 'the database cannot be opened; check that this user may write to the file']],
  [26, ['store-foreign', 'expected a SQLite database, found something else; give Tidegate another path']],
]);

/** Runs `work`; what SQLite throws goes on as a {@link StoreError}, everything else unchanged. */
function reporting<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Error && 'errcode' in error)) throw error;
    // The low byte is the primary code; the rest says more about it.
    const [code, advice] = FAILURES.get(Number(error.errcode) & 0xff) ?? ['store-io', 'check the disk'];
    throw new StoreError(code, `${path}: ${advice} (SQLite: ${error.message})`, error);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
