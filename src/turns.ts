/**
 * Long work in short turns. One thread answers devices and reads repositories; whatever takes longer than a turn lets the
 * others have theirs in between.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { realNow } from './clock.ts';
import type { DurationMs } from './core/model/time.ts';

/** A poll takes less than a millisecond: one that has to wait this long is still answered at once. */
const TURN_MS: DurationMs = 15;

export interface Turns {
  /** Whether the turn has been taken up. */
  isOver(): boolean;
  /** Lets everything else run; the next turn begins when this resolves. */
  next(): Promise<void>;
}

export function createTurns(): Turns {
  let until = realNow() + TURN_MS;
  return {
    isOver: () => realNow() >= until,
    async next() {
      await nextTurn();
      until = realNow() + TURN_MS;
    },
  };
}

/** Work that stops after each step: the one who wants its result decides when it goes on. No step should take a turn. */
export type Stepwise<T> = Generator<void, T, void>;

/** Does the work step by step, in turns. */
export async function inTurns<T>(work: Stepwise<T>, turns: Turns = createTurns()): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    if (turns.isOver()) await turns.next();
  }
}

/** Does the work at once. */
export function atOnce<T>(work: Stepwise<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}
