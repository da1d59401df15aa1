/**
 * The store port: what must survive a restart and is not in git. Losing it costs telemetry, nothing else.
 * Every engine passes test/store/contract.ts.
 *
 * Commits of devices are numbered: the *position* rises by one with each that changed something, whichever process
 * made it. A {@link Reading} is as of one position and {@link Store.follow} tells what came after it, so that whoever
 * counts what is read and then adds what is told has seen each change exactly once.
 */
import type { DeviceRecord } from '../core/model/device.ts';
import type { DeviceId } from '../core/model/ids.ts';
import type { Program } from '../core/model/program.ts';
import { DAY, type DurationMs, type Instant } from '../core/model/time.ts';
import type { Outbox } from './outbox.ts';
import type { Addition, Sum } from './sums.ts';

export interface Store {
  /** Random, drawn when the store was created: tells this store from one that was lost. */
  epoch(): Promise<string>;

  /** The device, or undefined where none has this id. */
  device(id: DeviceId): Promise<DeviceRecord | undefined>;
  /** Up to `limit` devices with an id above `after`, in ascending (bytewise) order of id. */
  devices(page: { after?: DeviceId; limit: number }): Promise<readonly DeviceRecord[]>;
  deviceCount(): Promise<number>;
  /**
   * Reads the devices, lets `update` say what each becomes, and writes them, all as one durable transaction: either
   * every change is on disk when this resolves, or none is. `update` runs synchronously, once per entry of `ids` in
   * order (an id may occur twice: the second call sees the first one's result), and returns its argument where
   * nothing changes. If it throws, nothing is written. Where another process changed one of the devices meanwhile it
   * runs again from the first entry on, and what it said before is forgotten.
   *
   * `additions` runs after it, every time, and what it returns is added up in the same transaction, also where no device
   * changed: both are on disk, or neither. An addition whose limits are full is left out.
   */
  updateDevices(
    ids: readonly DeviceId[],
    update: (before: DeviceRecord | undefined, index: number) => DeviceRecord | undefined,
    additions?: () => readonly Addition[],
  ): Promise<readonly DeviceChange[]>;

  /**
   * Adds up, as one durable transaction and in order. Per addition whether it was counted: false where a limit was full.
   */
  addUp(additions: readonly Addition[]): Promise<readonly boolean[]>;
  /** Those of intervals that began at `since` or later, in (bytewise) order of series, interval and name. */
  sums(given: { readonly series?: string; readonly since?: Instant }): Promise<readonly Sum[]>;
  /**
   * Forgets every series that `keep` refuses, with its limits. Of what is posted to us ({@link EXTERNAL_SERIES}) it
   * forgets the intervals that began before `before`, and the limits that nothing was counted against since.
   */
  forgetSums(given: { readonly keep: (series: string) => boolean; readonly before: Instant }): Promise<void>;

  /**
   * Notes that a token is used: true where its holder has used it before, or fewer others than it may have. What has expired is
   * forgotten.
   */
  useToken(use: TokenUse): Promise<boolean>;

  /** Messages to deliver at least once. */
  readonly outbox: Outbox;

  readonly follow: Follow;
  /** All devices as of one moment. Close it soon: what it sees cannot be cleaned up while it is open. */
  read(): Promise<Reading>;
  /** Where another thread can open the devices for reading; absent where they are nowhere but in this one. */
  readonly place?: StorePlace;

  program(): Promise<PublishedProgram | undefined>;
  /** The version of the program in force, at less cost than the program; 0 where there is none. */
  programVersion(): Promise<number>;
  /**
   * Publishes the program if the one in force still has version `expected` (0: none). False where another writer was
   * faster: read again and plan again.
   */
  swapProgram(next: PublishedProgram, expected: number): Promise<boolean>;

  /** The reconciler's own durable notes; version 0 and empty where nothing was written yet. */
  journal(): Promise<VersionedJournal>;
  /**
   * Writes the notes if the journal still has version `expected`; it then has `expected` + 1. False where another
   * reconciler was faster: its notes are to be read before anything is added to them.
   */
  swapJournal(next: Journal, expected: number): Promise<boolean>;

  /** The TUF repository as published last; version 0 and empty where none was. */
  tuf(): Promise<PublishedTuf>;
  /** One of its files, by its path below `/tuf`: also one that was replaced less than a day ago. */
  tufFile(path: string): Promise<Uint8Array | undefined>;
  /**
   * Publishes if what is published still has version `expected`: all of it, or (false) nothing, because another writer was
   * faster.
   */
  swapTuf(next: NextTuf, expected: number): Promise<boolean>;

  close(): Promise<void>;
}

export interface TokenUse {
  /** The token's own id. */
  readonly token: string;
  /** Who uses it: again and again it counts once. */
  readonly holder: string;
  /** How many may. */
  readonly uses: number;
  readonly expiresAt: Instant;
  readonly now: Instant;
}

/** One entry per entry of `ids` that changed. */
export interface DeviceChange {
  readonly before: DeviceRecord | undefined;
  readonly after: DeviceRecord | undefined;
}

/**
 * Tells every commit of devices from now on, in order, from whichever process, with its position. `missed` is called
 * where changes cannot be told any more (the database was away for longer than it keeps them, or another process wrote
 * to an embedded one): whoever follows has to read everything again. Neither may throw.
 */
export type Follow = (
  see: (changes: readonly DeviceChange[], position: number) => void,
  missed?: () => void,
) => Promise<Following>;

export interface Following {
  close(): Promise<void>;
}

/** All devices as of one moment, whatever is committed meanwhile. */
export interface Reading {
  /** Of the last commit that it contains. */
  readonly position: number;
  /** Every device once, in any order. The thread is given free between pages where requests share it. */
  pages(): AsyncIterable<readonly DeviceRecord[]>;
  close(): Promise<void>;
}

/** `url` may contain a password: it is for opening, never for messages. */
export type StorePlace =
  | { readonly kind: 'sqlite'; readonly path: string }
  | { readonly kind: 'postgres'; readonly url: string };

export interface PublishedProgram {
  /** Never goes back, not even with an empty store: max(last + 1, Unix seconds). */
  readonly version: number;
  /** Counts the changes of flags. */
  readonly flagsVersion: number;
  readonly program: Program;
}

export interface PublishedTuf {
  /** Of the timestamp: never goes back. */
  readonly version: number;
  readonly state: Journal;
}

export interface NextTuf extends PublishedTuf {
  /** What to write, by path. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Paths that are still served. Others go a day after they were needed last: who has begun to read may end. */
  readonly needed: ReadonlySet<string>;
  readonly now: Instant;
}

export const TUF_FILE_KEPT_MS: DurationMs = DAY;

/** JSON that the reconciler writes and reads back; the store does not look inside. */
export type Journal = Readonly<Record<string, unknown>>;

export interface VersionedJournal {
  /** Counts the writes. */
  readonly version: number;
  readonly journal: Journal;
}
