/**
 * The store port: what must survive a restart and is not in git. Losing it costs telemetry, nothing else.
 * Every engine passes test/store/contract.ts.
 */
import type { DeviceRecord } from '../core/model/device.ts';
import type { DeviceId } from '../core/model/ids.ts';
import type { Program } from '../core/model/program.ts';

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
   * nothing changes. If it throws, nothing is written.
   */
  updateDevices(
    ids: readonly DeviceId[],
    update: (before: DeviceRecord | undefined, index: number) => DeviceRecord | undefined,
  ): Promise<readonly DeviceChange[]>;

  program(): Promise<PublishedProgram | undefined>;
  /**
   * Publishes the program if the one in force still has version `expected` (0: none). False where another writer was
   * faster: read again and plan again.
   */
  swapProgram(next: PublishedProgram, expected: number): Promise<boolean>;

  /** The reconciler's own durable notes; the empty journal where nothing was written yet. */
  journal(): Promise<Journal>;
  putJournal(journal: Journal): Promise<void>;

  close(): Promise<void>;
}

/** One entry per entry of `ids` that changed. */
export interface DeviceChange {
  readonly before: DeviceRecord | undefined;
  readonly after: DeviceRecord | undefined;
}

export interface PublishedProgram {
  /** Never goes back, not even with an empty store: max(last + 1, Unix seconds). */
  readonly version: number;
  /** Counts the changes of flags. */
  readonly flagsVersion: number;
  readonly program: Program;
}

/** JSON that the reconciler writes and reads back; the store does not look inside. */
export type Journal = Readonly<Record<string, unknown>>;
