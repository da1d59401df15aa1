/**
 * Counts the fleet under the program in force. A change of one device moves the counts by that device's old and new
 * standing; another program counts everything again, elsewhere, while changes go on moving the old counts.
 */
import { isDeepStrictEqual } from 'node:util';
import { standingOf } from '../core/assign/standing.ts';
import { add, count, emptyTally, type Tally } from '../core/assign/tally.ts';
import type { Census } from '../core/model/census.ts';
import type { Program } from '../core/model/program.ts';
import { type DurationMs, type Instant, MINUTE } from '../core/model/time.ts';
import type { Answer, Want } from '../core/plan/contract.ts';
import { rampDone } from '../core/select/admission.ts';
import type { DeviceChange, Following, Store } from '../store/store.ts';
import { createTurns } from '../turns.ts';
import type { CensusRequest } from './count.ts';
import { createCounter } from './counter.ts';
import type { Selection, SelectionRequest } from './selection.ts';

export interface Observer {
  /** Counts under `program`, as of `now`; counts again only where the program or, with ramps and install windows, the time has changed. */
  tallyUnder(program: Program, now: Instant): Promise<Tally>;
  /** Looks the answer up in the whole fleet. */
  answer(want: Want, program: Program, now: Instant): Promise<Answer>;
  /** How many devices have which tags. */
  census(request: Omit<CensusRequest, 'kind'>): Promise<Census>;
  /** What a stage that is not declared yet would take in. */
  select(request: SelectionRequest, program: Program, now: Instant): Promise<Selection>;
  close(): Promise<void>;
}

/** Counts that follow the store. */
interface Count {
  readonly program: Program;
  readonly asOf: Instant;
  /** Until the count has begun it is only the changes since then. */
  readonly tally: Tally;
  /** Everything up to here is, or will be, in what was counted; unknown until the count has begun. */
  position?: number;
  /** Changes that came before the position was known. */
  early: { readonly changes: readonly DeviceChange[]; readonly position: number }[];
  /** Some changes were not told: it can never be right again. */
  isStale: boolean;
}

/** Commits that a count keeps while it waits for its position; with more the fleet is counted again. */
const EARLY_MAX = 10_000;

/**
 * Windows that open or close give devices another status, and nothing that a plan looks at: with as many windows as
 * sites the fleet is not counted at each of them.
 */
const WINDOWS_RECOUNT_MS: DurationMs = 5 * MINUTE;

/** `onChange` is called when devices have changed, or may have, in this process or another. */
export function createObserver(store: Store, onChange: () => void = () => undefined): Observer {
  const counter = createCounter(store);
  let counted: Count | undefined;
  /** What moves with changes: the last counts, and those under way. */
  const live = new Set<Count>();
  let following: Promise<Following> | undefined;

  function see(changes: readonly DeviceChange[], position: number): void {
    for (const each of live) take(each, changes, position);
    onChange();
  }

  function missed(): void {
    for (const each of live) each.isStale = true;
    onChange();
  }

  /** Follows the store, also if it could not be followed before. */
  async function follow(): Promise<void> {
    following ??= store.follow(see, missed);
    try {
      await following;
    } catch (error) {
      following = undefined;
      throw error;
    }
  }

  async function recount(program: Program, asOf: Instant): Promise<Tally> {
    const current: Count = { program, asOf, tally: emptyTally(), early: [], isStale: false };
    live.add(current);
    try {
      add(current.tally, await counter.count(program, asOf, (position) => begin(current, position)));
    } catch (error) {
      live.delete(current);
      throw error;
    }
    if (counted !== undefined) live.delete(counted);
    counted = current;
    return current.tally;
  }

  return {
    async tallyUnder(program, now) {
      await follow();
      if (counted === undefined || counted.isStale) return await recount(program, now);
      const turns = createTurns();
      const isOld = !countsAlike(counted.program, program) || hasTimeMoved(counted, now);
      if (turns.isOver()) await turns.next();
      if (isOld || counted.isStale) return await recount(program, now);
      return counted.tally;
    },

    answer: (want, program, now) => counter.answer(want, program, now),
    census: (request) => counter.census(request),

    select: (request, program, now) => counter.select(request, program, now),

    async close() {
      await counter.close();
      const followed = await following?.catch(() => undefined);
      await followed?.close();
    },
  };
}

/** The count knows its position now: what came after it until then is added. */
function begin(count: Count, position: number): void {
  count.position = position;
  for (const each of count.early.splice(0)) take(count, each.changes, each.position);
}

function take(at: Count, changes: readonly DeviceChange[], position: number): void {
  if (at.position === undefined) {
    at.early.push({ changes, position });
    at.isStale ||= at.early.length > EARLY_MAX;
    if (at.isStale) at.early = [];
    return;
  }
  if (position <= at.position) return;
  for (const { before, after } of changes) {
    if (before !== undefined) count(at.tally, standingOf(at.program, before, at.asOf), -1);
    if (after !== undefined) count(at.tally, standingOf(at.program, after, at.asOf), 1);
  }
}

/**
 * Whether counts under one program are counts under the other. Every pass may build a new one, from parts that are
 * mostly the same objects as before, which are not compared again.
 */
function countsAlike(a: Program, b: Program): boolean {
  return a === b || isDeepStrictEqual(partsCounted(a), partsCounted(b));
}

/** What no device's standing depends on is left out. */
function partsCounted({ fleet, pollIntervalMs, flags, ...counted }: Program): object {
  return counted;
}

/** Whether time alone has changed the counts: a ramp runs, or a window has opened or closed. */
function hasTimeMoved({ program, asOf, tally }: Count, now: Instant): boolean {
  if (isRamping(program, asOf)) return true;
  return tally.until !== undefined && tally.until <= now && asOf + WINDOWS_RECOUNT_MS <= now;
}

function isRamping(program: Program, asOf: Instant): boolean {
  return program.rollouts.some((rollout) =>
    rollout.candidate?.stages.some((stage) => stage.rampHeldAt === undefined && rampDone(stage, asOf) < 1),
  );
}
