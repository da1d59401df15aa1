/**
 * The feed of device changes in PostgreSQL. Every commit writes what it changed under the next position, as the last
 * thing it does: the row lock on the position is held until it has committed, so positions have no gaps, and who sees
 * one sees all before it.
 *
 * Replicas are woken by a notification and look once a second anyway, for a notification may be lost with its
 * connection. Entries are kept for two minutes; a replica that was away for longer is told that it missed some.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { MINUTE, SECOND } from '../core/model/time.ts';
import { createFollowers, type Followers } from './followers.ts';
import { type Connection, connectTo, type Database, type OwnConnection } from './postgres-connection.ts';
import type { DeviceChange, Follow } from './store.ts';

const CHANNEL = 'tidegate_device_changes';
const LOOK_MS = SECOND;
const PRUNE_MS = MINUTE;
const KEPT = '2 minutes';
/** Commits read at a time. One holds up to as many changes as the intake commits at once. */
const BATCH = 4;

/** Writes the changes of the transaction that `connection` is in. Nothing but COMMIT may follow. */
export async function writeChanges(connection: Connection, changes: readonly DeviceChange[]): Promise<void> {
  await connection.query(
    `WITH next AS (UPDATE feed SET position = position + 1 RETURNING position),
          written AS (INSERT INTO device_changes (position, changes) SELECT position, $1 FROM next)
     SELECT pg_notify($2, '')`,
    [JSON.stringify(changes), CHANNEL],
  );
}

export interface Feed {
  readonly follow: Follow;
  close(): Promise<void>;
}

/** Nothing is read until somebody follows. */
export function createFeed(database: Database, url: string): Feed {
  const stop = new AbortController();
  const wakeup = createWakeup();
  let reading: Promise<{ followers: Followers; ended: Promise<unknown> }> | undefined;

  async function start() {
    const followers = createFollowers(await positionOf(database));
    const ended = Promise.all([readOn(followers), prune()]);
    return { followers, ended };
  }

  async function readOn(followers: Followers): Promise<void> {
    let connection: OwnConnection | undefined;
    while (!stop.signal.aborted) {
      let more = false;
      try {
        connection ??= await listen(url, wakeup.wake);
        more = await readBatch(connection, followers);
      } catch {
        // The database is away. Who writes to it hears of that; what is committed meanwhile is read when it is back.
        await connection?.close();
        connection = undefined;
      }
      if (!more) await wakeup.sleep(LOOK_MS, stop.signal);
    }
    await connection?.close();
  }

  /** Every replica does it: entries that another one has removed are gone. */
  async function prune(): Promise<void> {
    const old = `DELETE FROM device_changes WHERE written_at < now() - interval '${KEPT}'`;
    do {
      // What was not removed now is removed the next time.
      await database.query(old).catch(() => undefined);
    } while (await slept(PRUNE_MS, stop.signal));
  }

  return {
    async follow(see, missed) {
      reading ??= start();
      const { followers } = await reading.catch((error) => {
        reading = undefined;
        throw error;
      });
      // The feed may be a little behind: what was committed before now is not told.
      const now = await positionOf(database);
      return await followers.follow((changes, position) => {
        if (position > now) see(changes, position);
      }, missed);
    },

    async close() {
      stop.abort();
      const started = await reading?.catch(() => undefined);
      await started?.ended;
    },
  };
}

async function listen(url: string, wake: () => void): Promise<OwnConnection> {
  const connection = await connectTo(url);
  connection.onNotification(wake);
  await connection.query(`LISTEN ${CHANNEL}`);
  return connection;
}

/** Tells the next few commits. True where there may be more. */
async function readBatch(connection: Connection, followers: Followers): Promise<boolean> {
  const { rows } = await connection.query<{ newest: string; position: string | null; changes: string }>(
    `SELECT feed.position AS newest, entry.position, entry.changes
     FROM feed LEFT JOIN LATERAL (
       SELECT position, changes FROM device_changes WHERE position > $1 ORDER BY position LIMIT ${BATCH}
     ) AS entry ON true
     ORDER BY entry.position`,
    [followers.position()],
  );
  for (const { newest, position, changes } of rows) {
    if (position !== null) followers.tell(changesIn(changes), Number(position));
    else if (Number(newest) !== followers.position()) followers.skip(Number(newest));
  }
  return rows.length === BATCH;
}

function changesIn(json: string): readonly DeviceChange[] {
  const changes = JSON.parse(json) as Partial<DeviceChange>[];
  return changes.map(({ before, after }) => ({ before, after }));
}

async function positionOf(connection: Connection): Promise<number> {
  const { rows } = await connection.query<{ position: string }>('SELECT position FROM feed');
  return Number(rows[0]?.position);
}

/** A sleep that a wake ends, also one that came before it. */
function createWakeup() {
  let woken = false;
  let interrupt: AbortController | undefined;
  return {
    wake() {
      woken = true;
      interrupt?.abort();
    },
    async sleep(durationMs: number, signal: AbortSignal): Promise<void> {
      interrupt = new AbortController();
      if (!woken) await slept(durationMs, AbortSignal.any([signal, interrupt.signal]));
      interrupt = undefined;
      woken = false;
    },
  };
}

/** True after `durationMs`; false as soon as `signal` aborts. */
async function slept(durationMs: number, signal: AbortSignal): Promise<boolean> {
  return await wait(durationMs, true, { signal }).catch(() => false);
}
