/**
 * Takes what waits in the outbox to its receivers, beside everything else: however slow they are, no decision waits for them, and no
 * receiver for another. Each has a lane of its own, in which one message is under way at a time.
 *
 * A message is lent from the outbox while it is in a lane. What a lane cannot do in that time it lets go of, and the message
 * is due again by itself: so nothing is lost with a process that ends, and what waits takes no memory.
 */
import type { Clock } from '../clock.ts';
import {
  DAY,
  type DurationMs,
  formatDuration,
  HOUR,
  type Instant,
  MINUTE,
  SECOND,
} from '../core/model/time.ts';
import { createWakeups } from '../reconcile/wakeups.ts';
import type { Outbox, WaitingMessage } from '../store/outbox.ts';
import type { SigningKeys } from '../trust/standard-webhooks.ts';
import { post } from './post.ts';
import type { BuiltInReceiver, ResolvedReceiver } from './receivers.ts';

export interface Delivery {
  /** Something was put into the outbox, or the receivers have changed. Cheap; wakes coalesce. */
  wake(): void;
  /** Delivers until `signal` aborts, then lets go of what is under way. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

export interface DeliveryOptions {
  readonly outbox: Outbox;
  readonly clock: Pick<Clock, 'now' | 'sleep'>;
  readonly fetch: typeof fetch;
  /** By the key that messages name; undefined until it is known who is told. */
  readonly receivers: () => ReadonlyMap<string, ResolvedReceiver | BuiltInReceiver> | undefined;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Told in a sentence what a person should know. Of a receiver's address it shows the host alone. */
  readonly onTrouble: (message: string) => void;
  /** What is sent is signed with these. */
  readonly signingKeys?: SigningKeys;
  /** For one try and its answer. */
  readonly timeoutMs?: DurationMs;
}

/** Older messages are given up: what happened three days ago is news to nobody. */
export const GIVE_UP_MS: DurationMs = 3 * DAY;

const TIMEOUT_MS = 10 * SECOND;
const BACKOFF_MS_MIN = SECOND;
const BACKOFF_MS_MAX = 10 * MINUTE;
/** How long a message is lent: for some tries in its lane. What a process that ended had taken waits so long. */
const LENT_MS = MINUTE;
const TAKEN_MAX = 100;
const LANE_MAX = 32;
/** The outbox is looked into at least so often: other processes put into it, too. */
const IDLE_MS = MINUTE;
/** Between two looks, whatever the outbox says. */
const PAUSE_MS = 100;
/** A server that has not read the newest commit does not know a new receiver: another one may. */
const UNKNOWN_MS = 10 * MINUTE;
/** Ids are remembered for much longer than anybody may put them again. */
const REMEMBERED_MS = 30 * DAY;
const FORGET_MS = HOUR;

interface Lent extends WaitingMessage {
  readonly lentUntil: Instant;
}

interface Lane {
  readonly queue: Lent[];
  /** In a row, for reasons of the receiver. */
  failures: number;
  /** Nothing is tried before then. */
  restsUntil: Instant;
  isWorking: boolean;
}

export function createDelivery(options: DeliveryOptions): Delivery {
  const { outbox, clock, receivers, random, onTrouble, signingKeys = [], timeoutMs = TIMEOUT_MS } = options;
  const wakeups = createWakeups(clock);
  const lanes = new Map<string, Lane>();
  const underWay = new Set<Promise<void>>();
  let forgotAt: Instant | undefined;
  let outboxTrouble: string | undefined;

  /** When to look again. */
  async function look(signal: AbortSignal): Promise<Instant> {
    const now = clock.now();
    if (receivers() === undefined) return now + IDLE_MS;
    if (forgotAt === undefined || now - forgotAt >= FORGET_MS) {
      await outbox.forget(now - REMEMBERED_MS);
      forgotAt = now;
    }
    const lentUntil = now + LENT_MS;
    const taken = await outbox.take({ now, limit: TAKEN_MAX, lentUntil });
    for (const message of taken) enqueue({ ...message, lentUntil }, signal);
    if (taken.length === TAKEN_MAX) return now;
    return Math.min(now + IDLE_MS, (await outbox.nextDueAt()) ?? Infinity);
  }

  function enqueue(message: Lent, signal: AbortSignal): void {
    const { receiver } = message;
    const lane: Lane = lanes.get(receiver) ?? { queue: [], failures: 0, restsUntil: 0, isWorking: false };
    lanes.set(receiver, lane);
    if (lane.queue.length >= LANE_MAX) return;
    lane.queue.push(message);
    if (lane.isWorking) return;
    lane.isWorking = true;
    const working = work(lane, signal).finally(() => underWay.delete(working));
    underWay.add(working);
  }

  async function work(lane: Lane, signal: AbortSignal): Promise<void> {
    for (let message = lane.queue.shift(); message !== undefined; message = lane.queue.shift()) {
      const startAt = Math.max(clock.now(), lane.restsUntil);
      // Somebody else may have it before its answer is there.
      if (startAt + timeoutOf(message) > message.lentUntil) continue;
      try {
        if (lane.restsUntil > clock.now()) await clock.sleep(lane.restsUntil - clock.now(), signal);
        await deliver(message, lane, signal);
      } catch (error) {
        outboxFailed(error);
      }
    }
    lane.isWorking = false;
  }

  function timeoutOf({ receiver: key }: Lent): DurationMs {
    const receiver = receivers()?.get(key);
    return receiver !== undefined && 'tell' in receiver ? receiver.timeoutMs : timeoutMs;
  }

  async function deliver(message: Lent, lane: Lane, signal: AbortSignal): Promise<void> {
    const { id, createdAt } = message;
    const now = clock.now();
    // Whoever goes on may have it at once.
    const giveBack = () =>
      outbox.settle(id, { kind: 'retry', dueAt: clock.now(), error: 'the server was stopped' });
    if (signal.aborted) return await giveBack();
    const receiver = receivers()?.get(message.receiver);
    if (receiver === undefined) {
      lanes.delete(message.receiver);
      const error = 'the Fleet document names no such receiver';
      const isOver = now - createdAt >= UNKNOWN_MS;
      return await outbox.settle(
        id,
        isOver ? { kind: 'givenUp', at: now, error } : { kind: 'retry', dueAt: now + MINUTE, error },
      );
    }
    const posted =
      'tell' in receiver
        ? await receiver.tell(message, { signal, now })
        : await post(message, receiver, { ...options, signal, timeoutMs, signingKeys, now });
    const at = clock.now();
    switch (posted.kind) {
      case 'delivered':
        if (lane.failures > 0) onTrouble(`${receiver.name} takes notices again`);
        lane.failures = 0;
        return await outbox.settle(id, { kind: 'delivered', at });
      case 'gone':
        onTrouble(`${receiver.name} ${posted.words}`);
        return await outbox.settle(id, { kind: 'givenUp', at, error: posted.error });
      case 'failed': {
        if (signal.aborted) return await giveBack();
        const { error, isDown, retryAfterMs = 0, saysNext = false } = posted;
        const isNews = isDown ? lane.failures === 0 : message.lastError !== error;
        if (isDown) {
          lane.restsUntil = at + Math.max(retryAfterMs, backoff(lane.failures));
          lane.failures += 1;
        }
        if (at - createdAt >= GIVE_UP_MS) {
          onTrouble(`${receiver.name} ${error}; a notice is given up after ${formatDuration(GIVE_UP_MS)}`);
          return await outbox.settle(id, { kind: 'givenUp', at, error });
        }
        if (isNews) onTrouble(`${receiver.name} ${error}${saysNext ? '' : '; it is tried again'}`);
        const dueAt = at + Math.max(retryAfterMs, backoff(message.tries));
        return await outbox.settle(id, { kind: 'retry', dueAt, error });
      }
    }
  }

  /** Twice as long each time; between half of that and all of it, so that not everybody comes at once. */
  function backoff(failures: number): DurationMs {
    const fullMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures + 1, 30));
    return Math.round((fullMs * (1 + random())) / 2);
  }

  function outboxFailed(error: unknown): void {
    const message = `notices cannot be delivered: ${error instanceof Error ? error.message : String(error)}; it is tried again`;
    if (message !== outboxTrouble) onTrouble(message);
    outboxTrouble = message;
  }

  return {
    wake: () => wakeups.wake('now'),
    async run(signal) {
      while (!signal.aborted) {
        let lookAt: Instant;
        try {
          lookAt = await look(signal);
          outboxTrouble = undefined;
        } catch (error) {
          outboxFailed(error);
          lookAt = clock.now() + 10 * SECOND;
        }
        await wakeups.sleep(Math.max(PAUSE_MS, lookAt - clock.now()), { signal });
      }
      await Promise.all(underWay);
    },
  };
}
