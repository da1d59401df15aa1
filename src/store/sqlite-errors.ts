/** What SQLite reports, as sentences with a next step. */
import { StoreError, type StoreErrorCode } from './errors.ts';

/** Runs `work`; what SQLite throws goes on as a {@link StoreError}, everything else unchanged. */
export function reporting<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Error && 'errcode' in error)) throw error;
    // The low byte is the primary code; the rest says more about it.
    const [code, advice] = FAILURES.get(Number(error.errcode) & 0xff) ?? ['store-io', 'check the disk'];
    throw new StoreError(code, `${path}: ${advice} (SQLite: ${error.message})`, error);
  }
}

/** The value of a column that holds JSON. */
export function parseColumn(path: string, json: unknown): unknown {
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
