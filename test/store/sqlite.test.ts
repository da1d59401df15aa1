import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { applyReport } from '../../src/core/model/device.ts';
import type { Revision } from '../../src/core/model/ids.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { migrateSqlite, SQLITE_MIGRATIONS } from '../../src/store/sqlite-schema.ts';
import type { Store } from '../../src/store/store.ts';
import { device, type Engine, published, put, reporting, storeContract } from './contract.ts';
import { outboxContract } from './outbox-contract.ts';
import { sumsContract } from './sums-contract.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-store-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const newPath = () => join(folder, `${randomUUID()}.db`);
const openAt = (path: string) => openSqliteStore(path, { epoch: () => randomUUID() });

/** Opening `path` fails with `code`, and the message names the path and what to do. */
async function checkRefused(path: string, code: string, message: RegExp) {
  const refused = expect(openAt(path)).rejects;
  await refused.toMatchObject({ name: 'StoreError', code, message: expect.stringMatching(message) });
  await expect(openAt(path)).rejects.toThrow(path);
}

describe('the SQLite store', () => {
  const paths = new Map<Store, string>();
  const remember = async (path: string) => {
    const store = await openAt(path);
    paths.set(store, path);
    return store;
  };
  const engine: Engine = {
    create: () => remember(newPath()),
    async reopen(store) {
      await store.close();
      return remember(paths.get(store) ?? expect.unreachable());
    },
  };
  storeContract(engine);
  sumsContract(engine);
  outboxContract(engine);

  test('everything survives close and reopen', async () => {
    const path = newPath();
    const before = await openAt(path);
    await put(before, reporting, device('other'));
    await before.swapProgram(published(7), 0);
    await before.swapJournal({ tip: 'abc' }, 0);
    const epoch = await before.epoch();
    await before.close();

    const after = await openAt(path);
    expect(await after.epoch()).toBe(epoch);
    expect(await after.devices({ limit: 10 })).toEqual([device('other'), reporting]);
    expect(await after.program()).toEqual(published(7));
    expect(await after.journal()).toEqual({ version: 1, journal: { tip: 'abc' } });
    await after.close();
  });

  test('S4.8 a report is stored with the revision that runs and its boot id', async () => {
    const path = newPath();
    const before = await openAt(path);
    await put(before, device('reports'), device('silent'));
    const report = {
      bootId: 'boot-9',
      seq: 3,
      generation: 2,
      running: 'sha256:aa' as Revision,
      signals: { runtime_healthy: true },
      exposureHours: 0.5,
      events: {},
    };
    const [change] = await before.updateDevices([device('reports').id], (record) =>
      record === undefined ? expect.unreachable() : applyReport(record, report, 1_790_000_001_000).record,
    );
    await before.close();

    const after = await openAt(path);
    const stored = await after.device(device('reports').id);
    expect(stored).toEqual(change?.after);
    expect(stored?.report).toMatchObject({ running: 'sha256:aa', boots: [{ bootId: 'boot-9', seq: 3 }] });
    expect((await after.device(device('silent').id))?.report).toBeUndefined();
    await after.close();
  });

  test('a store that was deleted comes back empty, with another epoch', async () => {
    const path = newPath();
    const before = await openAt(path);
    await put(before, device('a'));
    const epoch = await before.epoch();
    await before.close();
    await rm(path);

    const after = await openAt(path);
    expect(await after.epoch()).not.toBe(epoch);
    expect(await after.deviceCount()).toBe(0);
    await after.close();
  });

  test('only its owner may read the file and its log', async () => {
    const path = newPath();
    const store = await openAt(path);
    await put(store, device('a'));
    for (const file of [path, `${path}-wal`, `${path}-shm`]) {
      expect(((await stat(file)).mode & 0o777).toString(8)).toBe('600');
    }
    await store.close();
  });

  test('two processes may hold it: each sees what the other wrote', async () => {
    const path = newPath();
    const [one, two] = [await openAt(path), await openAt(path)];
    expect(await two.epoch()).toBe(await one.epoch());
    await put(one, device('a', 1));
    await put(two, device('a', 2));
    expect(await one.device(device('a').id)).toEqual(device('a', 2));
    expect(await one.swapProgram(published(1), 0)).toBe(true);
    expect(await two.swapProgram(published(2), 0)).toBe(false);
    await one.close();
    await two.close();
  });

  test('a closed store says so, and may be closed again', async () => {
    const path = newPath();
    const store = await openAt(path);
    await store.close();
    await store.close();
    await expect(store.device(device('a').id)).rejects.toMatchObject({ code: 'store-closed' });
    await expect(store.device(device('a').id)).rejects.toThrow(path);
  });
});

describe('a file that cannot be the store', () => {
  test('that is no database is refused and left as it is', async () => {
    const path = newPath();
    const text = 'These are my notes, and they are longer than the header of a database would be. '.repeat(
      20,
    );
    await writeFile(path, text);
    await checkRefused(path, 'store-foreign', /expected a SQLite database.*another path/);
    expect(await readFile(path, 'utf8')).toBe(text);
  });

  test('that is another program’s database is refused and left as it is', async () => {
    const path = newPath();
    const other = new DatabaseSync(path);
    other.exec('CREATE TABLE invoices (number INTEGER)');
    other.close();
    const bytes = await readFile(path);
    await checkRefused(path, 'store-foreign', /found one with the table invoices/);
    expect(await readFile(path)).toEqual(bytes);
  });

  test('that is damaged is refused, on opening or when the damage is met', async () => {
    const path = newPath();
    const store = await openAt(path);
    await put(store, ...Array.from({ length: 2000 }, (_, n) => device(`device-${n}`)));
    await store.close();
    const whole = await readFile(path);

    await writeFile(path, whole.subarray(0, 8192));
    await checkRefused(path, 'store-corrupt', /damaged.*restore it from a backup/);

    const scribbled = Buffer.from(whole);
    scribbled.fill(0x5a, whole.length / 2);
    await writeFile(path, scribbled);
    const reading = openAt(path).then((opened) =>
      opened.devices({ limit: 5000 }).finally(() => opened.close()),
    );
    await expect(reading).rejects.toMatchObject({ name: 'StoreError', code: 'store-corrupt' });
  });

  test('that holds a row which is no JSON is damaged, too', async () => {
    const path = newPath();
    const store = await openAt(path);
    await put(store, device('a'), device('b'));
    await store.close();
    const db = new DatabaseSync(path);
    db.exec(`UPDATE devices SET record = '{"id":' WHERE id = 'a'`);
    db.close();

    const opened = await openAt(path);
    await expect(opened.device(device('a').id)).rejects.toMatchObject({ code: 'store-corrupt' });
    expect(await opened.device(device('b').id)).toEqual(device('b'));
    await opened.close();
  });

  test('that lies in a missing folder, or is a folder, is refused', async () => {
    await checkRefused(join(folder, 'missing', 'store.db'), 'store-open', /check that the folder exists/);
    await checkRefused(folder, 'store-open', /check that the folder exists/);
  });

  test.skipIf(process.getuid?.() === 0)('that may not be written is refused', async () => {
    const path = newPath();
    await (await openAt(path)).close();
    await chmod(path, 0o400);
    await checkRefused(path, 'store-open', /this user may write/);
  });

  test('that another process keeps locked is busy, and works once it is free', async () => {
    const path = newPath();
    const store = await openSqliteStore(path, { epoch: randomUUID, busyTimeoutMs: 50 });
    const other = new DatabaseSync(path);
    other.exec('BEGIN IMMEDIATE');
    await expect(put(store, device('a'))).rejects.toMatchObject({ code: 'store-busy' });
    expect(await store.deviceCount()).toBe(0);
    other.exec('ROLLBACK');
    other.close();
    await put(store, device('a'));
    expect(await store.deviceCount()).toBe(1);
    await store.close();
  });
});

describe('migrations', () => {
  const versionIn = (db: DatabaseSync) =>
    db.prepare('SELECT max(version) AS version FROM schema_version').get()?.['version'];

  test('those already applied are left alone, and new ones follow', () => {
    const db = new DatabaseSync(':memory:');
    migrateSqlite(db);
    migrateSqlite(db);
    expect(versionIn(db)).toBe(SQLITE_MIGRATIONS.length);
    const more = [...SQLITE_MIGRATIONS, 'CREATE TABLE later (x TEXT) STRICT', 'ALTER TABLE later ADD y TEXT'];
    migrateSqlite(db, more);
    migrateSqlite(db, more);
    expect(versionIn(db)).toBe(SQLITE_MIGRATIONS.length + 2);
    db.close();
  });

  test('one that fails leaves the schema of the one before', () => {
    const db = new DatabaseSync(':memory:');
    expect(() => migrateSqlite(db, [...SQLITE_MIGRATIONS, 'CREATE TABLE half (x); CREATE NONSENSE'])).toThrow(
      'NONSENSE',
    );
    expect(versionIn(db)).toBe(SQLITE_MIGRATIONS.length);
    expect(db.prepare(`SELECT name FROM sqlite_schema WHERE name = 'half'`).get()).toBeUndefined();
    db.close();
  });

  test('a newer schema than the program knows is refused with both versions', async () => {
    const path = newPath();
    await (await openAt(path)).close();
    const db = new DatabaseSync(path);
    db.exec('INSERT INTO schema_version (version) VALUES (99)');
    db.close();
    await checkRefused(
      path,
      'store-newer',
      new RegExp(`up to ${SQLITE_MIGRATIONS.length}, found 99; run the Tidegate`),
    );
  });
});
