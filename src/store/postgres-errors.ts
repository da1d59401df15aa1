/** What PostgreSQL and the way to it report, as sentences with a next step. No message contains a password. */
import { DatabaseError } from 'pg';
import { StoreError, type StoreErrorCode } from './errors.ts';

/** The database as messages name it: its address without password and parameters. */
export function nameOf(url: string): string {
  const parsed = parseUrl(url);
  const user = parsed.username === '' ? '' : `${parsed.username}@`;
  return `postgres://${user}${parsed.host === '' ? 'localhost' : parsed.host}${parsed.pathname}`;
}

function parseUrl(url: string): URL {
  const parsed = URL.parse(url);
  if (parsed !== null && isAddress(parsed)) return parsed;
  // What was given is not repeated: it may contain a password, wherever the mistake is.
  throw new StoreError(
    'store-open',
    'the address of the database cannot be read: expected postgres://USER@HOST:PORT/DATABASE; ' +
      'write special characters as %XX, and give the password in PGPASSWORD',
  );
}

/** A password with an @, a / or a # of its own would end early, and the rest of it pass for host and database. */
function isAddress({ protocol, pathname, hash }: URL): boolean {
  return /^postgres(ql)?:$/.test(protocol) && /^(\/[^/@]*)?$/.test(pathname) && hash === '';
}

/** Waits for what the database was asked; a failure of its goes on as a {@link StoreError}. */
export async function reportingPostgres<T>(name: string, asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    const [code, advice] = failureOf(error);
    throw new StoreError(code, `${name}: ${advice} (${saidBy(error)})`, error);
  }
}

/**
 * Whether another transaction was faster, and this one can be begun anew: the key of a new device is taken (23505), or
 * the server chose it to end a deadlock or a conflict (40P01, 40001).
 */
export function isOvertaken(error: unknown): boolean {
  const code = error instanceof StoreError ? codeOf(error.cause) : undefined;
  return code === '23505' || code === '40P01' || code === '40001';
}

type Failure = readonly [StoreErrorCode, string];

function failureOf(error: unknown): Failure {
  const code = codeOf(error) ?? '';
  if (!(error instanceof DatabaseError)) return CONNECTION_FAILURES.get(code) ?? failureByMessage(error);
  // The first two characters are the class; the rest says more about it.
  return FAILURES.get(code) ?? FAILURES.get(code.slice(0, 2)) ?? ['store-io', "look into the server's log"];
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

function saidBy(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof DatabaseError) return `PostgreSQL: ${message}`;
  // Where every address of a name refused, the message is empty.
  return message === '' ? (codeOf(error) ?? 'no reason given') : message;
}

const AWAY: Failure = [
  'store-away',
  'the server does not answer; check that it runs, and that host and port are right',
];
const SHUTTING_DOWN: Failure = ['store-away', 'the server is stopping or starting; it is tried again'];
const REFUSED: Failure = [
  'store-open',
  'the server refuses the user; check its name, the password in PGPASSWORD, and pg_hba.conf',
];
const RIGHTS: Failure = [
  'store-open',
  "the user may not do this; make it the database's owner, or grant it CREATE on the schema",
];
const BUSY: Failure = [
  'store-busy',
  'the server did not get to it in time; look for long transactions and locks in pg_stat_activity',
];

/** SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html), whole or its class. */
const FAILURES: ReadonlyMap<string, Failure> = new Map([
  ['08', AWAY],
  ['28', REFUSED],
  ['3D000', ['store-open', 'there is no such database; create it with createdb, or correct the name']],
  ['3F000', ['store-open', 'there is no such schema; create it, or correct search_path']],
  ['42501', RIGHTS],
  ['23505', BUSY],
  ['25006', ['store-open', 'the database is read-only; name the primary server, not a standby']],
  ['40', BUSY],
  ['53100', ['store-full', "the server's disk is full; make room, then try again"]],
  ['53300', ['store-busy', 'the server has no connection left; raise max_connections, or end other clients']],
  ['53', ['store-busy', "the server lacks memory or other resources; look into the server's log"]],
  ['55P03', BUSY],
  ['57014', BUSY],
  ['57P01', SHUTTING_DOWN],
  ['57P02', SHUTTING_DOWN],
  ['57P03', SHUTTING_DOWN],
  ['57P05', SHUTTING_DOWN],
  ['58030', ['store-io', "the server's disk fails; look into the server's log"]],
  ['XX001', ['store-corrupt', 'the database is damaged; restore it from a backup']],
  ['XX002', ['store-corrupt', 'the database is damaged; restore it from a backup']],
]);

/** Codes of Node's sockets and TLS. */
const CONNECTION_FAILURES: ReadonlyMap<string, Failure> = new Map([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOENT'].map(
    (code): [string, Failure] => [code, AWAY],
  ),
  ['ENOTFOUND', ['store-away', 'the host has no address; correct its name']],
  ['EAI_AGAIN', ['store-away', 'the host has no address at the moment; check the name server']],
  ...[
    'SELF_SIGNED_CERT_IN_CHAIN',
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    'CERT_HAS_EXPIRED',
    'ERR_TLS_CERT_ALTNAME_INVALID',
  ].map((code): [string, Failure] => [
    code,
    ['store-open', "the server's certificate is not trusted; name its authority with sslrootcert=FILE"],
  ]),
]);

/** The driver has no codes for what it finds out itself. */
function failureByMessage(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (message.startsWith('SASL')) return REFUSED;
  if (message.includes('does not support SSL')) {
    return ['store-open', 'the server does not speak TLS; take sslmode out of the address'];
  }
  return message === 'Query read timeout' ? BUSY : AWAY;
}
