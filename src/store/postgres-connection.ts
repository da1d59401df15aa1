/**
 * Connections to PostgreSQL: bounded in number and in time, with failures in our words. Which statements are sent is
 * not decided here.
 */
import { Client, type ClientBase, type ClientConfig, Pool, type QueryResultRow } from 'pg';
import { MINUTE, SECOND } from '../core/model/time.ts';
import { StoreError } from './errors.ts';
import { nameOf, reportingPostgres } from './postgres-errors.ts';

/** Connections of one process for devices' requests; the feed and a count have their own. */
const POOL_SIZE = 8;
/** Waiting for a connection, be it a new one or one in use. */
const CONNECT_MS = 5 * SECOND;
const STATEMENT_MS = 30 * SECOND;
const LOCK_MS = 10 * SECOND;
/** A transaction that says nothing for so long belongs to a process that hangs; its locks are given back. */
const IDLE_IN_TRANSACTION_MS = MINUTE;

export interface Answer<Row> {
  readonly rows: readonly Row[];
  /** Rows written or read. */
  readonly count: number;
}

/** Statements that the server answers one after another. */
export interface Connection {
  query<Row extends QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<Answer<Row>>;
}

export interface Database extends Connection {
  /** As messages name it. */
  readonly name: string;
  /** Runs `work` in a transaction: all of it is durable when this resolves, or nothing is and the error goes on. */
  transaction<T>(work: (connection: Connection) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** A connection for one purpose, outside the pool. */
export interface OwnConnection extends Connection {
  /** Calls `then` at each notification on a channel that was listened to. */
  onNotification(then: () => void): void;
  close(): Promise<void>;
}

/** A pool: connections are made when they are needed, and anew after the server was away. */
export function openDatabase(url: string): Database {
  const name = nameOf(url);
  const pool = new Pool({ ...configOf(url), max: POOL_SIZE });
  // The statement that a lost connection hits rejects; an idle one is replaced. Neither may end the process.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => void client.on('error', () => undefined));

  async function connect() {
    if (pool.ending) throw new StoreError('store-closed', `${name}: the store was used after it was closed`);
    return await reportingPostgres(name, pool.connect());
  }

  return {
    name,

    async query(sql, values) {
      const client = await connect();
      try {
        return await connectionOver(client, name).query(sql, values);
      } finally {
        client.release();
      }
    },

    async transaction(work) {
      const client = await connect();
      const connection = connectionOver(client, name);
      try {
        await connection.query('BEGIN');
        const result = await work(connection);
        await connection.query('COMMIT');
        client.release();
        return result;
      } catch (error) {
        // The server takes back by itself what a connection that broke has left.
        await client.query('ROLLBACK').then(
          () => client.release(),
          () => client.release(true),
        );
        throw error;
      }
    },

    async close() {
      if (!pool.ending) await pool.end();
    },
  };
}

export async function connectTo(url: string): Promise<OwnConnection> {
  const name = nameOf(url);
  const client = new Client(configOf(url));
  client.on('error', () => undefined);
  await reportingPostgres(name, client.connect());
  return {
    ...connectionOver(client, name),
    onNotification: (then) => void client.on('notification', then),
    // One that broke is closed already.
    close: () => client.end().catch(() => undefined),
  };
}

function connectionOver(client: ClientBase, name: string): Connection {
  return {
    async query<Row extends QueryResultRow>(sql: string, values: readonly unknown[] = []) {
      const { rows, rowCount } = await reportingPostgres(name, client.query<Row>(sql, [...values]));
      return { rows, count: rowCount ?? 0 };
    },
  };
}

/** What the address itself says has precedence. */
function configOf(connectionString: string): ClientConfig {
  return {
    connectionString,
    application_name: 'tidegate',
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: STATEMENT_MS,
    // A server that went silent does not say that it gave up either.
    query_timeout: STATEMENT_MS + CONNECT_MS,
    lock_timeout: LOCK_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    keepAlive: true,
  };
}
