/**
 * All devices of a SQLite store as of one moment, over a connection of its own, so that any thread can read them. The
 * write-ahead log keeps what was there when the transaction began; commits go on meanwhile.
 */
import { DatabaseSync } from 'node:sqlite';
import type { DeviceRecord } from '../core/model/device.ts';
import { parseColumn, reporting } from './sqlite-errors.ts';
import type { Reading } from './store.ts';

/** Devices in one page: few enough that none of them survives into the old generation. */
const PAGE = 500;

export function openSqliteReading(path: string): Reading {
  return reporting(path, () => {
    const db = new DatabaseSync(path, { readOnly: true });
    try {
      // A transaction begins with its first statement: it fixes what the second one sees.
      db.exec('BEGIN');
      const position = Number(db.prepare('SELECT position FROM feed').get()?.['position']);
      return {
        position,
        pages: () => pages(db, path),
        async close() {
          db.close();
        },
      };
    } catch (error) {
      db.close();
      throw error;
    }
  });
}

/** In the order in which they lie in the file. */
async function* pages(db: DatabaseSync, path: string): AsyncGenerator<readonly DeviceRecord[]> {
  const rows = db.prepare('SELECT record FROM devices').iterate();
  for (let more = true; more; ) {
    const page: DeviceRecord[] = [];
    more = reporting(path, () => {
      while (page.length < PAGE) {
        const next = rows.next();
        if (next.done === true) return false;
        page.push(parseColumn(path, next.value['record']) as DeviceRecord);
      }
      return true;
    });
    yield page;
  }
}
