/**
 * What is remembered of devices between their requests, so that most of them need not look into the store: which key a
 * device has, and the answer to its last poll, by the Authorization header that it was given to (whoever sends the same
 * bytes again is the same device, and its token was verified).
 *
 * The store tells of every change, in this process or another, and what it makes untrue is forgotten. Whether an answer
 * still holds otherwise (time, the program, whose path it is) is for whoever recalls it to judge.
 */
import { LRUCache } from 'lru-cache';
import type { DeviceRecord } from '../core/model/device.ts';
import type { DeviceId } from '../core/model/ids.ts';
import type { DeviceChange, Follow, Following } from '../store/store.ts';

export interface DeviceMemory<Answer extends Sized> {
  key(device: DeviceId): KeyOfDevice | undefined;
  answer(authorization: string): Answer | undefined;
  /** Called before the store is asked: what changes from here on makes what it says a thing of yesterday. */
  begin(device: DeviceId): Begun;
  /** Keeps the key, unless the device may have changed since `begun`. */
  keepKey(begun: Begun, key: KeyOfDevice): void;
  /** Keeps the answer, in place of the device's last one, unless the device may have changed since `begun`. */
  keepAnswer(begun: Begun, authorization: string, answer: Answer): void;
  /** Follows the store no longer, and remembers nothing. */
  close(): Promise<void>;
}

export type KeyOfDevice = Pick<DeviceRecord, 'id' | 'publicKey'>;

interface Sized {
  /** Without the Authorization header, roughly. */
  readonly sizeBytes: number;
}

interface Begun {
  readonly device: DeviceId;
  /** Changes told by then, of this device and those that share its counter; undefined while none are told. */
  readonly changes: number | undefined;
}

/** Some 40,000 devices that poll with one token again and again. */
const ANSWERS_BYTES = 64 * 1024 * 1024;
/** Of an answer: two maps' entries, the object, and what the allocator rounds up to. */
const OVERHEAD_BYTES = 400;
/** At some 200 bytes each. */
const KEYS_MAX = 100_000;
/** Devices share counters of changes: what is being read is then not kept for a neighbour's sake, which costs little. */
const COUNTERS = 4096;

export function createDeviceMemory<Answer extends Sized>(follow: Follow): DeviceMemory<Answer> {
  const keys = new LRUCache<DeviceId, KeyOfDevice>({ max: KEYS_MAX });
  const headers = new Map<DeviceId, string>();
  const answers = new LRUCache<string, { readonly device: DeviceId; readonly answer: Answer }>({
    maxSize: ANSWERS_BYTES,
    sizeCalculation: ({ answer }, authorization) => answer.sizeBytes + authorization.length + OVERHEAD_BYTES,
    dispose({ device }, authorization) {
      if (headers.get(device) === authorization) headers.delete(device);
    },
  });
  const changes = new Uint32Array(COUNTERS);
  let following: Promise<Following | undefined> | undefined;
  let isFollowing = false;

  /** Nothing is kept until the store tells of changes. Where it cannot be followed now, the next request tries again. */
  function followStore(): void {
    following ??= follow(see, missed).then(
      (followed) => {
        isFollowing = true;
        return followed;
      },
      () => {
        following = undefined;
        return undefined;
      },
    );
  }

  function see(told: readonly DeviceChange[]): void {
    for (const { before, after } of told) {
      const device = (after ?? before)?.id;
      if (device === undefined) continue;
      countChange(counterOf(device));
      forgetAnswer(device);
      if (after?.publicKey !== before?.publicKey) keys.delete(device);
    }
  }

  function missed(): void {
    for (const counter of changes.keys()) countChange(counter);
    forgetAll();
  }

  function countChange(counter: number): void {
    changes[counter] = (changes[counter] ?? 0) + 1;
  }

  function isUnchanged({ device, changes: before }: Begun): boolean {
    return changes[counterOf(device)] === before;
  }

  function forgetAnswer(device: DeviceId): void {
    const authorization = headers.get(device);
    if (authorization !== undefined) answers.delete(authorization);
  }

  function forgetAll(): void {
    answers.clear();
    keys.clear();
  }

  return {
    key: (device) => keys.get(device),

    answer: (authorization) => answers.get(authorization)?.answer,

    begin(device) {
      followStore();
      return { device, changes: isFollowing ? changes[counterOf(device)] : undefined };
    },

    keepKey(begun, { id, publicKey }) {
      if (isUnchanged(begun)) keys.set(id, { id, publicKey });
    },

    keepAnswer(begun, authorization, answer) {
      if (!isUnchanged(begun)) return;
      const { device } = begun;
      forgetAnswer(device);
      answers.set(authorization, { device, answer });
      // An answer larger than the whole cache is not taken.
      if (answers.has(authorization)) headers.set(device, authorization);
    },

    async close() {
      await (await following)?.close();
      isFollowing = false;
      forgetAll();
    },
  };
}

/** FNV-1a, of which the low bits are enough. */
function counterOf(device: DeviceId): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < device.length; at++) hash = Math.imul(hash ^ device.charCodeAt(at), 0x01000193);
  return (hash >>> 0) % COUNTERS;
}
