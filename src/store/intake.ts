/**
 * Group commit in front of the store. A commit that waits for the disk takes about as long for a thousand devices
 * as for one, so whatever arrives while one is under way goes into the next. It judges nothing: what a report
 * changes is said by whoever submits it.
 */
import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DeviceRecord } from '../core/model/device.ts';
import type { DeviceId } from '../core/model/ids.ts';
import { IntakeFullError } from './errors.ts';
import type { Store } from './store.ts';
import { type Addition, checkAddition } from './sums.ts';

export interface Intake {
  /**
   * Changes one device and adds up, as {@link Store.updateDevices} does, and resolves with `result` once that is
   * durable. Rejects with what `update` throws or because no store can keep one of `additions` (others are not
   * affected), with the store's error (nothing of that commit was written), or with {@link IntakeFullError}. Changes
   * are applied in the order in which they were submitted.
   */
  submit<T>(
    id: DeviceId,
    update: (before: DeviceRecord | undefined) => {
      readonly after: DeviceRecord | undefined;
      readonly result: T;
      readonly additions?: readonly Addition[];
    },
  ): Promise<T>;
  /** Resolves when nothing waits any more: every promise given out before is settled. */
  drain(): Promise<void>;
}

interface IntakeOptions {
  /** Changes in one commit, 1,000 unless said. It bounds how long a commit keeps the process from doing anything else. */
  readonly maxBatch?: number;
  /** Changes that may wait, 10,000 unless said; beyond it they are refused. */
  readonly maxQueued?: number;
}

const MAX_BATCH_DEFAULT = 1000;
const MAX_QUEUED_DEFAULT = 10_000;

export function createIntake(store: Pick<Store, 'updateDevices'>, options: IntakeOptions = {}): Intake {
  const { maxBatch = MAX_BATCH_DEFAULT, maxQueued = MAX_QUEUED_DEFAULT } = options;
  const queue: Submission[] = [];
  /** The loop that empties the queue, while there is one. */
  let working: Promise<void> | undefined;

  async function work(): Promise<void> {
    while (queue.length > 0) {
      // An embedded store commits without giving up the thread, so nothing can arrive meanwhile. Letting the event
      // loop turn first takes in every request that has reached the process by now.
      await nextTurn();
      await commit(queue.splice(0, maxBatch));
    }
    working = undefined;
  }

  async function commit(batch: readonly Submission[]): Promise<void> {
    const settle: (() => void)[] = [];
    // One entry per submission: where the store asks again, what was said before is replaced.
    const additions: (readonly Addition[])[] = batch.map(() => []);
    try {
      await store.updateDevices(
        batch.map((submission) => submission.id),
        (before, index) => {
          const submission = batch[index];
          assert(submission !== undefined, `the store updated entry ${index} of ${batch.length}`);
          try {
            const applied = submission.apply(before);
            settle[index] = applied.resolve;
            additions[index] = applied.additions;
            return applied.after;
          } catch (error) {
            settle[index] = () => submission.reject(error);
            additions[index] = [];
            return before;
          }
        },
        () => additions.flat(),
      );
    } catch (error) {
      for (const submission of batch) submission.reject(error);
      return;
    }
    for (const settleOne of settle) settleOne();
  }

  return {
    async submit(id, update) {
      if (queue.length >= maxQueued) throw new IntakeFullError(queue.length);
      return new Promise((resolve, reject) => {
        const apply = (before: DeviceRecord | undefined) => {
          const { after, result, additions = [] } = update(before);
          for (const addition of additions) checkAddition(addition);
          return { after, additions, resolve: () => resolve(result) };
        };
        queue.push({ id, apply, reject });
        working ??= work();
      });
    },

    async drain() {
      await working;
    },
  };
}

interface Submission {
  readonly id: DeviceId;
  apply(before: DeviceRecord | undefined): {
    readonly after: DeviceRecord | undefined;
    readonly additions: readonly Addition[];
    readonly resolve: () => void;
  };
  reject(error: unknown): void;
}
