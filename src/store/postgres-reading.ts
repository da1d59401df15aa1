/** All devices of a PostgreSQL store as of one moment, over a connection of its own, so that any thread can read them. */
import type { DeviceRecord } from '../core/model/device.ts';
import { connectTo, type OwnConnection } from './postgres-connection.ts';
import type { Reading } from './store.ts';

/** Devices that the server sends at a time. */
const PAGE = 1000;

export async function openPostgresReading(url: string): Promise<Reading> {
  const connection = await connectTo(url);
  try {
    // The first statement after BEGIN fixes what all of them see. A snapshot that has position n has every commit up to
    // n, since each waits for the one before it.
    await connection.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const feed = await connection.query<{ position: string }>('SELECT position FROM feed');
    await connection.query('DECLARE fleet NO SCROLL CURSOR FOR SELECT record FROM devices');
    return {
      position: Number(feed.rows[0]?.position),
      pages: () => pages(connection),
      close: () => connection.close(),
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function* pages(connection: OwnConnection): AsyncGenerator<readonly DeviceRecord[]> {
  for (let more = true; more; ) {
    const { rows } = await connection.query<{ record: string }>(`FETCH ${PAGE} FROM fleet`);
    more = rows.length === PAGE;
    yield rows.map(({ record }) => JSON.parse(record) as DeviceRecord);
  }
}
