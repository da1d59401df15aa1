/**
 * The loop: read → plan → record → act. It is the only writer of the program and of the branch `outcomes`.
 *
 * What opens takes effect once its commit is in the repository; what closes takes effect as soon as it is durable
 * here, and its commit follows. A pass that is cut off anywhere can be repeated: the next one reads the same record
 * and decides the same.
 */
import { setTimeout as wait } from 'node:timers/promises';
import type { Clock } from '../clock.ts';
import type { Tally } from '../core/assign/tally.ts';
import { emptyTally } from '../core/assign/tally.ts';
import type { DesiredState } from '../core/model/desired.ts';
import type { Attempt, Outcomes } from '../core/model/outcome.ts';
import { type DurationMs, type Instant, SECOND } from '../core/model/time.ts';
import {
  type Answer,
  applyDecisions,
  attemptKey,
  type Decision,
  type Plan,
  type RestoreResult,
  type Want,
  wantKey,
} from '../core/plan/contract.ts';
import { plan } from '../core/plan/plan.ts';
import { buildProgram } from '../core/plan/program.ts';
import type { DocumentCache } from '../documents/load.ts';
import type { Git, Oid } from '../fleet-repo/git.ts';
import { OUTCOMES_BRANCH, type OutcomeCache, readOutcomes, recordDecisions } from '../fleet-repo/outcomes.ts';
import { restoreMain } from '../fleet-repo/restore.ts';
import type { PublishedProgram, Store } from '../store/store.ts';
import { readWanted, type Wanted } from './desired.ts';
import { type Notes, readNotes, writeNotes } from './journal.ts';
import type { Observer } from './observer.ts';

export interface Reconciler {
  /** One pass. `again` says that something was decided, so that the next one should follow at once. */
  pass(): Promise<{ readonly again: boolean; readonly wakeAt?: Instant }>;
  /** What the last pass saw and decided. */
  state(): ReconcilerState;
  /** Something may have changed: a branch, a device. Cheap; wakes coalesce. */
  wake(): void;
  /** Passes until `signal` aborts: on every wake, when time alone changes something, and every idle interval. */
  run(signal: AbortSignal): Promise<void>;
}

export interface ReconcilerState {
  readonly wanted: Wanted | undefined;
  readonly outcomes: Outcomes;
  readonly tip: Oid | undefined;
  readonly published: PublishedProgram | undefined;
  readonly report: Plan['report'];
  readonly tally: Tally;
  /** Why nothing opens at all, while that is so. */
  readonly held?: string;
  readonly passedAt?: Instant;
  /** The last pass failed; the next one tries again. */
  readonly error?: string;
}

export type ReconcileEvent =
  | { readonly kind: 'snapshot'; readonly at: Instant; readonly wanted: Wanted }
  | { readonly kind: 'problems'; readonly at: Instant; readonly wanted: Wanted }
  | { readonly kind: 'decision'; readonly at: Instant; readonly decision: Decision; readonly commit: Oid }
  | {
      readonly kind: 'restored';
      readonly at: Instant;
      readonly attempt: Attempt;
      readonly commit: Oid;
      readonly subject: string;
    }
  | { readonly kind: 'diverged'; readonly at: Instant; readonly attempt: Attempt; readonly reason: string }
  /** Nothing opens from now on, or again (`reason` absent). */
  | { readonly kind: 'held'; readonly at: Instant; readonly reason?: string }
  | { readonly kind: 'failed'; readonly at: Instant; readonly message: string }
  | { readonly kind: 'pass'; readonly at: Instant };

export interface ReconcilerPorts {
  readonly git: Git;
  readonly store: Store;
  readonly observer: Observer;
  readonly clock: Clock;
  /** 128 random bits in hex. */
  readonly randomHex: () => string;
  readonly cache: DocumentCache;
  readonly onEvent: (event: ReconcileEvent) => void;
}

export interface ReconcilerOptions {
  readonly branch: string;
  /** Wakes that come closer together than this share a pass. */
  readonly settleMs: DurationMs;
  /** The longest time between two passes. */
  readonly idleMs: DurationMs;
}

export const RECONCILER_DEFAULTS: ReconcilerOptions = {
  branch: 'main',
  settleMs: SECOND,
  idleMs: 30 * SECOND,
};

const BACKOFF_MAX_MS = 60 * SECOND;

export function createReconciler(
  ports: ReconcilerPorts,
  options: Partial<ReconcilerOptions> = {},
): Reconciler {
  const { git, store, observer, clock, onEvent } = ports;
  const { branch, settleMs, idleMs } = { ...RECONCILER_DEFAULTS, ...options };
  const outcomeCache: OutcomeCache = new Map();
  let notes: Notes | undefined;
  let state: ReconcilerState = {
    wanted: undefined,
    outcomes: new Map(),
    tip: undefined,
    published: undefined,
    report: [],
    tally: emptyTally(),
  };
  const wakeups = createWakeups();

  async function pass(): Promise<{ again: boolean; wakeAt?: Instant }> {
    const now = clock.now();
    notes ??= await readNotes(store);
    // After a restart devices are served again before git is asked, which may be away.
    if (state.published === undefined) state = { ...state, published: await store.program() };

    const { repository, wanted } = await readRepository(notes);
    announce(wanted, now);
    state = { ...state, wanted, outcomes: repository.outcomes, tip: repository.tip };
    if (wanted.desired === undefined) {
      passed(now, { report: [], tally: state.tally });
      return { again: false };
    }

    const pending = notes.closings.filter((closing) => isPending(closing, repository.outcomes));
    const outcomes = applyDecisions(repository.outcomes, pending);
    const made = await decide(wanted.desired, { wanted, outcomes, held: repository.held, now, notes });

    // What closes holds from here on, whatever becomes of its commit.
    const closings = [...pending, ...made.plan.decisions.filter(({ effect }) => effect === 'closes')];
    notes = await keep(notes, {
      applied: wanted.desired.commit,
      ...(repository.tip === undefined || repository.held !== undefined ? {} : { tip: repository.tip }),
      soaks: made.plan.soaks,
      closings,
    });
    await publish(wanted.desired, applyDecisions(repository.outcomes, closings), now);

    const decisions = [...pending, ...made.plan.decisions];
    const recorded = await record(wanted.desired, { repository, decisions, now });
    if (recorded.kind === 'lost') return { again: true };
    const { held } = recorded;

    // On a broken tip nothing can be restored: what people mend first is looked at first.
    const isWhole = wanted.desired.commit === wanted.head;
    const restored = held === undefined && isWhole ? await restore(made.plan, wanted.desired, notes) : false;
    passed(now, { report: made.plan.report, tally: made.tally, held });
    const times = made.plan.report.flatMap(({ until }) =>
      until === undefined || until <= now ? [] : [until],
    );
    const again = recorded.count > 0 || restored;
    return { again, ...(times.length === 0 ? {} : { wakeAt: Math.min(...times) }) };
  }

  /**
   * Commits the decisions; what opens takes effect with that. `lost`: somebody else's came first, plan anew. `held`: they
   * could not be written, and the next pass tries again.
   */
  async function record(
    desired: DesiredState,
    given: { repository: Recorded; decisions: readonly Decision[]; now: Instant },
  ): Promise<{ kind: 'lost' } | { kind: 'recorded'; count: number; held?: string }> {
    const { repository, decisions, now } = given;
    if (repository.held !== undefined) return { kind: 'recorded', count: 0, held: repository.held };
    if (decisions.length === 0) return { kind: 'recorded', count: 0 };
    // The version that publishing these decisions will have.
    const epoch = versionAfter(state.published?.version ?? 0, now);
    const writing = recordDecisions(git, { tip: repository.tip, decisions, at: now, epoch });
    const result = await writing.catch(refusal);
    if (result.kind === 'lost') return result;
    if (result.kind === 'refused') {
      const held = `the branch ${OUTCOMES_BRANCH} cannot be written: ${result.reason}`;
      return { kind: 'recorded', count: 0, held };
    }
    const outcomes = applyDecisions(repository.outcomes, decisions);
    state = { ...state, outcomes, tip: result.tip };
    if (notes !== undefined) notes = await keep(notes, { tip: result.tip, closings: [] });
    for (const [index, decision] of decisions.entries()) {
      onEvent({ kind: 'decision', at: now, decision, commit: result.commits[index] ?? result.tip });
    }
    await publish(desired, outcomes, now);
    return { kind: 'recorded', count: decisions.length };
  }

  /** Plans until no question is left whose answer would let something move. */
  async function decide(
    desired: DesiredState,
    given: { wanted: Wanted; outcomes: Outcomes; held: string | undefined; now: Instant; notes: Notes },
  ): Promise<{ plan: Plan; tally: Tally }> {
    const { outcomes, now } = given;
    const program = buildProgram(desired, outcomes);
    const tally = await observer.tallyUnder(program, now);
    const answers = new Map<string, Answer>();
    const observed = {
      epoch: await store.epoch(),
      tally,
      soaks: given.notes.soaks,
      answers,
      restorations: given.notes.restorations,
      randomHex: ports.randomHex(),
      ...(given.held === undefined ? {} : { held: given.held }),
    };
    for (;;) {
      const made = plan({ desired, outcomes, operations: given.wanted.operations, observed, now });
      if (made.wants.length === 0) return { plan: made, tally };
      // One question at a time, by precedence, and under the program that the decisions so far lead to: a stage that
      // opens here takes its devices from the rollouts below.
      const next = buildProgram(desired, applyDecisions(outcomes, made.decisions));
      const precedence = (want: Want) => next.rollouts.findIndex(({ name }) => name === want.rollout);
      const [want] = made.wants.toSorted((a, b) => precedence(a) - precedence(b));
      if (want !== undefined) answers.set(wantKey(want), await observer.answer(want, next, now));
    }
  }

  /**
   * What the repository wants and remembers. While it cannot be read, what was read last stands and nothing opens:
   * open stages go on, and a breach still stops them.
   */
  async function readRepository(known: Notes): Promise<{ repository: Recorded; wanted: Wanted }> {
    try {
      const repository = await readRecord(known);
      const wanted = await readWanted(git, {
        branch,
        cache: ports.cache,
        outcomes: repository.outcomes,
        before: state.wanted,
        ...(known.applied === undefined ? {} : { applied: known.applied }),
      });
      return { repository, wanted };
    } catch (error) {
      if (state.wanted?.desired === undefined) throw error;
      const held = `the repository cannot be read: ${error instanceof Error ? error.message : String(error)}`;
      return { repository: { tip: state.tip, outcomes: state.outcomes, held }, wanted: state.wanted };
    }
  }

  /** The outcomes to plan from. A branch that lost commits we know of opens nothing until a person has looked. */
  async function readRecord(known: Notes): Promise<Recorded> {
    const tip = await git.branch(OUTCOMES_BRANCH);
    const lost = known.tip !== undefined && tip !== known.tip && !(await contains(git, tip, known.tip));
    if (!lost) return { tip, outcomes: await readOutcomes(git, tip, outcomeCache) };
    const held =
      `the branch ${OUTCOMES_BRANCH} no longer contains ${known.tip}, the last commit read; ` +
      `in the repository run git update-ref refs/heads/${OUTCOMES_BRANCH} ${known.tip}`;
    return { tip, outcomes: await readOutcomes(git, known.tip, outcomeCache), held };
  }

  async function publish(desired: DesiredState, outcomes: Outcomes, now: Instant): Promise<void> {
    const program = buildProgram(desired, outcomes);
    const last = state.published;
    if (last !== undefined && JSON.stringify(last.program) === JSON.stringify(program)) return;
    const highest = last?.version ?? (await recordedVersion(git, state.tip));
    const flagsChanged = JSON.stringify(last?.program.flags ?? []) !== JSON.stringify(program.flags);
    const flagsVersion = (last?.flagsVersion ?? 0) + (flagsChanged ? 1 : 0);
    const next = { version: versionAfter(highest, now), flagsVersion, program };
    if (!(await store.swapProgram(next, last?.version ?? 0))) {
      state = { ...state, published: await store.program() };
      throw new Error('another process published a program; planning anew');
    }
    state = { ...state, published: next };
  }

  /** Restoring commits that main still lacks. True where main moved, so that the next pass sees it. */
  async function restore(made: Plan, { commit: tip }: DesiredState, known: Notes): Promise<boolean> {
    // Results are kept until the plan has recorded them; then nobody asks for the restoration any more.
    const restorations = new Map<string, RestoreResult>();
    for (const each of made.restores) {
      const at = clock.now();
      const result = await restoreMain(git, { restore: each, branch, tip, at, cache: ports.cache });
      if (result.kind === 'lost') continue;
      restorations.set(attemptKey(each.attempt), result);
      if (result.kind === 'pushed') {
        const subject = (await git.commit(result.commit)).message.split('\n')[0] ?? '';
        onEvent({ kind: 'restored', at, attempt: each.attempt, commit: result.commit, subject });
      } else onEvent({ kind: 'diverged', at, attempt: each.attempt, reason: result.reason });
    }
    notes = await keep(known, { restorations });
    return made.restores.length > 0;
  }

  async function keep(known: Notes, change: Partial<Notes>): Promise<Notes> {
    const next = { ...known, ...change };
    if (JSON.stringify(noteText(next)) !== JSON.stringify(noteText(known))) await writeNotes(store, next);
    return next;
  }

  function announce(wanted: Wanted, at: Instant): void {
    if (wanted === state.wanted) return;
    if (wanted.problems.length > 0) onEvent({ kind: 'problems', at, wanted });
    if (wanted.desired !== undefined && wanted.desired.commit !== state.wanted?.desired?.commit) {
      onEvent({ kind: 'snapshot', at, wanted });
    }
  }

  function passed(
    at: Instant,
    seen: { report: Plan['report']; tally: Tally; held?: string | undefined },
  ): void {
    const { held: before, error: _error, ...rest } = state;
    const { held, ...news } = seen;
    state = { ...rest, ...news, ...(held === undefined ? {} : { held }), passedAt: at };
    if (held !== before) onEvent({ kind: 'held', at, ...(held === undefined ? {} : { reason: held }) });
    onEvent({ kind: 'pass', at });
  }

  return {
    pass,
    state: () => state,
    wake: wakeups.wake,
    async run(signal) {
      const watcher = await git.watch(wakeups.wake);
      let failures = 0;
      while (!signal.aborted) {
        let sleepMs = idleMs;
        try {
          const { again, wakeAt } = await pass();
          failures = 0;
          if (again) sleepMs = 0;
          else if (wakeAt !== undefined) sleepMs = Math.min(idleMs, Math.max(0, wakeAt - clock.now()));
        } catch (error) {
          // Serving goes on with the program in force; the next pass reads everything again.
          const message = error instanceof Error ? error.message : String(error);
          failures += 1;
          sleepMs = Math.min(BACKOFF_MAX_MS, SECOND * 2 ** Math.min(failures, 6));
          state = { ...state, error: message };
          onEvent({ kind: 'failed', at: clock.now(), message });
        }
        if (sleepMs === 0) await wait(0);
        else if (await wakeups.sleep(clock, sleepMs, signal)) await clock.sleep(settleMs, signal);
      }
      await watcher.close();
    },
  };
}

/** A write that failed holds what opens like one that was refused; the next pass tries again. */
function refusal(error: unknown): { kind: 'refused'; reason: string } {
  return { kind: 'refused', reason: error instanceof Error ? error.message : String(error) };
}

/** Versions rise with every publication and, so that an empty store starts above what was, with the time. */
function versionAfter(last: number, now: Instant): number {
  return Math.max(last + 1, Math.floor(now / SECOND));
}

/** The version that a lost store had reached, as its decisions say: devices refuse to go back. 0 where there are none. */
async function recordedVersion(git: Git, tip: Oid | undefined): Promise<number> {
  if (tip === undefined) return 0;
  const { message } = await git.commit(tip);
  return Number(/^Epoch: ([0-9]+)$/m.exec(message)?.[1] ?? 0);
}

/** What `outcomes` says, and why nothing may be added to it now. */
interface Recorded {
  readonly tip: Oid | undefined;
  readonly outcomes: Outcomes;
  readonly held?: string;
}

/** Whether the closing still has to be recorded: nothing newer is known of its attempt. */
function isPending(closing: Decision, outcomes: Outcomes): boolean {
  const known = outcomes
    .get(closing.attempt.rollout)
    ?.find((each) => each.attempt === closing.attempt.attempt);
  return known !== undefined && known.history.length < closing.attempt.history.length;
}

/** Whether `tip` is `ancestor` or comes after it. `outcomes` is linear, so first parents tell. */
async function contains(git: Git, tip: Oid | undefined, ancestor: Oid): Promise<boolean> {
  let at = tip;
  while (at !== undefined && at !== ancestor) at = (await git.commit(at)).parents[0];
  return at === ancestor;
}

function noteText(notes: Notes): unknown {
  return { ...notes, soaks: [...notes.soaks], restorations: [...notes.restorations] };
}

/** A sleep that a wake ends, also one that came just before it. */
function createWakeups() {
  let woken = false;
  let interrupt: AbortController | undefined;
  return {
    wake() {
      woken = true;
      interrupt?.abort();
    },
    /** Sleeps; true where a wake ended it. */
    async sleep(clock: Clock, durationMs: DurationMs, signal: AbortSignal): Promise<boolean> {
      interrupt = new AbortController();
      if (!woken) await clock.sleep(durationMs, AbortSignal.any([signal, interrupt.signal]));
      interrupt = undefined;
      const was = woken;
      woken = false;
      return was;
    },
  };
}
