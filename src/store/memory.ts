/** The store in memory, for tests and the simulator. Nothing survives the process. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import type { DeviceRecord } from '../core/model/device.ts';
import type { DeviceId } from '../core/model/ids.ts';
import type { Instant } from '../core/model/time.ts';
import { createFollowers } from './followers.ts';
import { createMemoryOutbox } from './memory-outbox.ts';
import { createMemorySums } from './memory-sums.ts';
import {
  type DeviceChange,
  type Journal,
  type PublishedProgram,
  type PublishedTuf,
  type Store,
  TUF_FILE_KEPT_MS,
} from './store.ts';

/** Devices between two turns of the event loop. */
const PAGE = 500;

/** Epochs are the given name, then that name with a number: whoever needs random ones gives a random name. */
export function createMemoryStore(options: { readonly epoch: string }): Store {
  const devices = new Map<DeviceId, DeviceRecord>();
  const followers = createFollowers(0);
  const sums = createMemorySums();
  let position = 0;
  let program: PublishedProgram | undefined;
  let journal: Journal = {};
  let journalVersion = 0;
  let tuf: PublishedTuf = { version: 0, state: {} };
  const tokens = new Map<string, { holders: Set<string>; expiresAt: Instant }>();
  const tufFiles = new Map<string, { content: Uint8Array; retiredAt?: Instant }>();
  /** Every id in order; undefined since an id came or went. Reports change no ids, so a page rarely has to sort. */
  let ordered: readonly DeviceId[] | undefined;

  return {
    epoch: async () => options.epoch,

    device: async (id) => devices.get(id),

    async devices({ after, limit }) {
      // Text compares by UTF-16 units, which is the order of the UTF-8 bytes for every id that may enrol.
      ordered ??= [...devices.keys()].sort();
      const start = after === undefined ? 0 : indexAbove(ordered, after);
      return ordered.slice(start, start + limit).flatMap((id) => devices.get(id) ?? []);
    },

    deviceCount: async () => devices.size,

    async updateDevices(ids, update, additions) {
      // What is said is kept apart until everybody has spoken, so that a throw leaves nothing behind.
      const pending = new Map<DeviceId, DeviceRecord | undefined>();
      const changes: DeviceChange[] = [];
      for (const [index, id] of ids.entries()) {
        // Mostly every id occurs once, and many come together.
        const before = pending.get(id) ?? (pending.has(id) ? undefined : devices.get(id));
        const after = update(before, index);
        if (after === before) continue;
        // The message is put together only where it is needed: devices are many.
        if (after !== undefined && after.id !== id) {
          assert.fail(`the update of device ${id} returned device ${after.id}`);
        }
        pending.set(id, after);
        changes.push({ before, after });
      }
      if (additions !== undefined) sums.write(sums.weigh(additions()));
      for (const [id, record] of pending) {
        if (record === undefined) devices.delete(id);
        else devices.set(id, record);
      }
      const isOther = ({ before, after }: DeviceChange) => (before === undefined) !== (after === undefined);
      if (changes.some(isOther)) ordered = undefined;
      if (changes.length > 0) {
        position += 1;
        followers.tell(changes, position);
      }
      return changes;
    },

    async addUp(additions) {
      const added = sums.weigh(additions);
      sums.write(added);
      return added.counted;
    },

    sums: sums.sums,

    forgetSums: sums.forgetSums,

    async useToken({ token, holder, uses, expiresAt, now }) {
      for (const [id, known] of tokens) if (known.expiresAt <= now) tokens.delete(id);
      const { holders } = tokens.get(token) ?? { holders: new Set<string>() };
      if (!holders.has(holder) && holders.size >= uses) return false;
      tokens.set(token, { holders: holders.add(holder), expiresAt });
      return true;
    },

    outbox: createMemoryOutbox(),

    follow: followers.follow,

    async read() {
      // Records never change once they are stored: a list of them is the fleet as it is now.
      const records = [...devices.values()];
      return {
        position,
        async *pages() {
          for (let from = 0; from < records.length; from += PAGE) {
            yield records.slice(from, from + PAGE);
            await setImmediate();
          }
        },
        async close() {
          // Nothing is held but memory.
        },
      };
    },

    program: async () => program,

    programVersion: async () => program?.version ?? 0,

    async swapProgram(next, expected) {
      assert(next.version > expected, `program version ${next.version} does not follow ${expected}`);
      if ((program?.version ?? 0) !== expected) return false;
      program = next;
      return true;
    },

    journal: async () => ({ version: journalVersion, journal }),

    async swapJournal(next, expected) {
      if (journalVersion !== expected) return false;
      journal = next;
      journalVersion += 1;
      return true;
    },

    tuf: async () => tuf,

    tufFile: async (path) => tufFiles.get(path)?.content,

    async swapTuf({ version, state, files, needed, now }, expected) {
      assert(version > expected, `TUF version ${version} does not follow ${expected}`);
      if (tuf.version !== expected) return false;
      tuf = { version, state };
      for (const [path, content] of files) tufFiles.set(path, { content });
      for (const [path, file] of tufFiles) {
        if (needed.has(path)) delete file.retiredAt;
        else if (file.retiredAt === undefined) file.retiredAt = now;
        else if (file.retiredAt <= now - TUF_FILE_KEPT_MS) tufFiles.delete(path);
      }
      return true;
    },

    async close() {
      // Memory needs no closing.
    },
  };
}

/** The first index in ascending `ids` whose id is above `after`. */
function indexAbove(ids: readonly DeviceId[], after: DeviceId): number {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const id = ids[middle];
    if (id !== undefined && id <= after) low = middle + 1;
    else high = middle;
  }
  return low;
}
