/** What can go wrong between Tidegate and its store. */

/**
 * `open`: the database cannot be opened or created. `away`: the server does not answer, or went away. `foreign`: it is
 * no database, or another program's. `newer`: a newer Tidegate wrote it. `corrupt`: it is damaged. `busy`: others keep
 * it from answering in time. `full`: the disk is. `closed`: it was used after `close`. `io`: anything else that the
 * engine reports.
 */
export type StoreErrorCode =
  | 'store-open'
  | 'store-away'
  | 'store-foreign'
  | 'store-newer'
  | 'store-corrupt'
  | 'store-busy'
  | 'store-full'
  | 'store-closed'
  | 'store-io';

/** The store cannot do what was asked of it; the message says where, what and what to do next. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: StoreErrorCode;
  constructor(code: StoreErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** More changes wait to be committed than the intake keeps. Nothing was written: try again later. */
export class IntakeFullError extends Error {
  override readonly name = 'IntakeFullError';
  readonly code = 'intake-full';
  readonly queued: number;
  constructor(queued: number) {
    super(
      `${queued} changes wait for the store, which is as many as the intake keeps; try again in a few seconds`,
    );
    this.queued = queued;
  }
}
