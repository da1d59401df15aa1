/**
 * The loop: read → plan → record → act. It is the only writer of the program and of the branch `outcomes`.
 *
 * What opens takes effect once its commit is in the repository; what closes takes effect as soon as it is durable
 * here, and its commit follows. A pass that is cut off anywhere can be repeated: the next one reads the same record
 * and decides the same.
 */
import { setTimeout as wait } from 'node:timers/promises';
import type { Clock, SteadyClock } from '../clock.ts';
import type { Tally } from '../core/assign/tally.ts';
import { emptyTally } from '../core/assign/tally.ts';
import type { DesiredState } from '../core/model/desired.ts';
import type { Attempt, Outcomes } from '../core/model/outcome.ts';
import type { Program } from '../core/model/program.ts';
import { type DurationMs, type Instant, MINUTE, SECOND } from '../core/model/time.ts';
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
import type { Git, Oid, Watcher } from '../fleet-repo/git.ts';
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
  /** Somebody says that the repository has changed: it is looked at now, not at its next time. */
  look(): void;
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
  /** The same in a word, for those who must not see paths and addresses. */
  readonly heldBy?: HeldBy;
  readonly passedAt?: Instant;
  /** The last pass failed; the next one tries again. */
  readonly error?: string;
}

/** `repository`: it is away or cannot be read. `record`: `outcomes` cannot be followed or written. `clock`: it jumped. */
export type HeldBy = 'repository' | 'record' | 'clock';

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
  readonly clock: Clock & Partial<Pick<SteadyClock, 'doubt' | 'timesSet'>>;
  /** 128 random bits in hex. */
  readonly randomHex: () => string;
  readonly cache: DocumentCache;
  readonly onEvent: (event: ReconcileEvent) => void;
  /** Told how far a pass has come. What happens if the process ends right there is tested for every step. */
  readonly onStep?: (step: PassStep, decisions: readonly Decision[]) => void;
}

/**
 * The steps of a pass, in their order; a pass leaves out what it has no reason for. `noted`: what closes is durable
 * here. `closed`: devices are served without it. `written`: the decisions' commits are objects without a branch.
 * `recorded`: `outcomes` has them. `remembered`: so do the notes. `opened`: devices are served what opens. `restored`:
 * main has the restoring commit.
 */
export type PassStep =
  | 'read'
  | 'planned'
  | 'noted'
  | 'closed'
  | 'written'
  | 'recorded'
  | 'remembered'
  | 'opened'
  | 'restored';

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
/** Longer without a pass, and a soak that was under way was not watched: it begins anew. */
const UNWATCHED_MAX_MS = 10 * MINUTE;
/** How exactly the notes know when the last pass was: writing it down each time would cost a commit of the store. */
const WATCHED_STEP_MS = MINUTE;

export function createReconciler(
  ports: ReconcilerPorts,
  options: Partial<ReconcilerOptions> = {},
): Reconciler {
  const { git, store, observer, clock, onEvent } = ports;
  const { branch, settleMs, idleMs } = { ...RECONCILER_DEFAULTS, ...options };
  const step = (reached: PassStep, decisions: readonly Decision[] = []) => ports.onStep?.(reached, decisions);
  const outcomeCache: OutcomeCache = new Map();
  let recordRead: { readonly tip: Oid | undefined; readonly outcomes: Outcomes } | undefined;
  let built:
    | { readonly desired: DesiredState; readonly outcomes: Outcomes; readonly program: Program }
    | undefined;
  let notes: Notes | undefined;
  /** The program in the store. What is served is `state.published`, which lacks it until it is known to be the last one. */
  let stored: PublishedProgram | undefined;
  let timesSet = clock.timesSet?.() ?? 0;
  let watcher: Watcher | undefined;
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
    notes ??= await begin(now);
    if (timesSet !== (clock.timesSet?.() ?? 0)) {
      timesSet = clock.timesSet?.() ?? 0;
      notes = { ...notes, soaks: new Map() };
    }
    const { repository, wanted } = await readRepository(notes);
    step('read');
    announce(wanted, now);
    state = { ...state, wanted, outcomes: repository.outcomes, tip: repository.tip };
    if (wanted.desired === undefined) {
      passed(now, { report: [], tally: state.tally });
      return { again: false };
    }

    const pending = notes.closings.filter((closing) => isPending(closing, repository.outcomes));
    const outcomes = applyDecisions(repository.outcomes, pending);
    const made = await decide(wanted.desired, {
      wanted,
      outcomes,
      held: repository.hold?.reason,
      now,
      notes,
    });
    step('planned', made.plan.decisions);

    // What closes holds from here on, whatever becomes of its commit.
    const closings = [...pending, ...made.plan.decisions.filter(({ effect }) => effect === 'closes')];
    notes = await keep(notes, {
      applied: wanted.desired.commit,
      ...(repository.tip === undefined || repository.hold !== undefined ? {} : { tip: repository.tip }),
      soaks: made.plan.soaks,
      closings,
      ...(now - (notes.watchedAt ?? 0) < WATCHED_STEP_MS ? {} : { watchedAt: now }),
    });
    step('noted', made.plan.decisions);
    await publish(wanted.desired, applyDecisions(repository.outcomes, closings), now);
    step('closed', made.plan.decisions);

    const decisions = [...pending, ...made.plan.decisions];
    const recorded = await record(wanted.desired, { repository, decisions, now });
    if (recorded.kind === 'lost') return { again: true };
    const { hold } = recorded;

    // On a broken tip nothing can be restored: what people mend first is looked at first.
    const isWhole = wanted.desired.commit === wanted.head;
    const restored = hold === undefined && isWhole ? await restore(made.plan, wanted.desired, notes) : false;
    passed(now, { report: made.plan.report, tally: made.tally, hold });
    const times = made.plan.report.flatMap(({ until }) =>
      until === undefined || until <= now ? [] : [until],
    );
    const again = recorded.count > 0 || restored;
    return { again, ...(times.length === 0 ? {} : { wakeAt: Math.min(...times) }) };
  }

  /**
   * What the last process left. Its program is served at once, before git is read, which may take long or be away;
   * unless the record says that it was not the last one: an old backup would offer again what was taken back since.
   */
  async function begin(now: Instant): Promise<Notes> {
    const known = await readNotes(store);
    stored = await store.program();
    const recorded = await git
      .branch(OUTCOMES_BRANCH)
      .then((tip) => recordedVersion(git, tip))
      .catch(() => 0);
    if (stored !== undefined && stored.version >= recorded) state = { ...state, published: stored };
    const isUnwatched = known.watchedAt !== undefined && now - known.watchedAt > UNWATCHED_MAX_MS;
    return isUnwatched ? { ...known, soaks: new Map() } : known;
  }

  /**
   * Commits the decisions; what opens takes effect with that. `lost`: somebody else's came first, plan anew. `held`: they
   * could not be written, and the next pass tries again.
   */
  async function record(
    desired: DesiredState,
    made: { repository: Recorded; decisions: readonly Decision[]; now: Instant },
  ): Promise<{ kind: 'lost' } | { kind: 'recorded'; count: number; hold?: Hold }> {
    const { repository, decisions, now } = made;
    if (repository.hold !== undefined) return { kind: 'recorded', count: 0, hold: repository.hold };
    if (decisions.length === 0) return { kind: 'recorded', count: 0 };
    // The version that publishing these decisions will have.
    const epoch = versionAfter(stored?.version ?? 0, now);
    const flagsVersion = stored?.flagsVersion ?? 0;
    const onWritten = () => step('written', decisions);
    const given = { tip: repository.tip, decisions, at: now, epoch, flagsVersion, onWritten };
    const result = await recordDecisions(git, given).catch(refusal);
    if (result.kind === 'lost') return result;
    if (result.kind === 'refused') {
      const reason = `the branch ${OUTCOMES_BRANCH} cannot be written: ${result.reason}`;
      return { kind: 'recorded', count: 0, hold: { by: 'record', reason } };
    }
    step('recorded', decisions);
    const outcomes = applyDecisions(repository.outcomes, decisions);
    state = { ...state, outcomes, tip: result.tip };
    if (notes !== undefined) notes = await keep(notes, { tip: result.tip, closings: [] });
    step('remembered', decisions);
    for (const [index, decision] of decisions.entries()) {
      onEvent({ kind: 'decision', at: now, decision, commit: result.commits[index] ?? result.tip });
    }
    await publish(desired, outcomes, now);
    step('opened', decisions);
    return { kind: 'recorded', count: decisions.length };
  }

  /** Plans until no question is left whose answer would let something move. */
  async function decide(
    desired: DesiredState,
    given: { wanted: Wanted; outcomes: Outcomes; held: string | undefined; now: Instant; notes: Notes },
  ): Promise<{ plan: Plan; tally: Tally }> {
    const { outcomes, now } = given;
    const program = programOf(desired, outcomes);
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
      const next = programOf(desired, applyDecisions(outcomes, made.decisions));
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
      const record = await readRecord(known);
      const wanted = await readWanted(git, {
        branch,
        cache: ports.cache,
        outcomes: record.outcomes,
        before: state.wanted,
        ...(known.applied === undefined ? {} : { applied: known.applied }),
      });
      return { repository: { ...record, hold: record.hold ?? doubts() }, wanted };
    } catch (error) {
      if (state.wanted?.desired === undefined) {
        // Devices keep what they were last told, by whatever program there is.
        state = { ...state, published: stored };
        throw error;
      }
      const reason = `the repository cannot be read: ${error instanceof Error ? error.message : String(error)}`;
      const hold: Hold = { by: 'repository', reason };
      return { repository: { tip: state.tip, outcomes: state.outcomes, hold }, wanted: state.wanted };
    }
  }

  function doubts(): Hold | undefined {
    const away = git.away();
    if (away !== undefined) return { by: 'repository', reason: away };
    const reason = clock.doubt?.();
    return reason === undefined ? undefined : { by: 'clock', reason };
  }

  /** The outcomes to plan from. A branch that lost commits we know of, or is not ours, opens nothing until a person has looked. */
  async function readRecord(known: Notes): Promise<Recorded> {
    const tip = await git.branch(OUTCOMES_BRANCH);
    if (tip === known.tip) return { tip, outcomes: await outcomesAt(tip) };
    if (known.tip !== undefined && !(await contains(git, tip, known.tip))) {
      const reason =
        `the branch ${OUTCOMES_BRANCH} no longer contains ${known.tip}, the last commit read; ` +
        howToSetBack(git.place, known.tip);
      return { tip, outcomes: await outcomesAt(known.tip), hold: { by: 'record', reason } };
    }
    const outcomes = await outcomesAt(tip);
    if (tip !== undefined && !isOurs((await git.commit(tip)).message)) {
      const reason =
        `the branch ${OUTCOMES_BRANCH} ends in ${tip}, which Tidegate did not write: it keeps its record there; ` +
        'rename that branch, or take the commit back';
      return { tip, outcomes: await outcomesAt(known.tip), hold: { by: 'record', reason } };
    }
    return { tip, outcomes };
  }

  async function outcomesAt(tip: Oid | undefined): Promise<Outcomes> {
    if (recordRead === undefined || recordRead.tip !== tip) {
      recordRead = { tip, outcomes: await readOutcomes(git, tip, outcomeCache) };
    }
    return recordRead.outcomes;
  }

  /** The same program for the same reading: whoever compares it sees at once that nothing has changed. */
  function programOf(desired: DesiredState, outcomes: Outcomes): Program {
    if (built?.desired !== desired || built.outcomes !== outcomes) {
      built = { desired, outcomes, program: buildProgram(desired, outcomes) };
    }
    return built.program;
  }

  async function publish(desired: DesiredState, outcomes: Outcomes, now: Instant): Promise<void> {
    const program = programOf(desired, outcomes);
    const recorded = state.published === undefined ? await recordedVersion(git, state.tip) : 0;
    if (stored !== undefined && stored.version >= recorded && isSame(stored.program, program)) {
      stored = { ...stored, program };
      if (state.published?.program !== program) state = { ...state, published: stored };
      return;
    }
    const flagsChanged = !isSame(stored?.program.flags ?? [], program.flags);
    const next = {
      version: versionAfter(Math.max(stored?.version ?? 0, recorded), now),
      flagsVersion: (stored?.flagsVersion ?? 0) + (flagsChanged ? 1 : 0),
      program,
    };
    const swapped = await store.swapProgram(next, stored?.version ?? 0);
    stored = swapped ? next : await store.program();
    state = { ...state, published: stored };
    if (!swapped) throw new Error('another process published a program; planning anew');
  }

  /** Restoring commits that main still lacks. True where main moved, so that the next pass sees it. */
  async function restore(made: Plan, { commit: tip }: DesiredState, known: Notes): Promise<boolean> {
    // Results are kept until the plan has recorded them; then nobody asks for the restoration any more.
    const restorations = new Map<string, RestoreResult>();
    for (const each of made.restores) {
      const at = clock.now();
      const result = await restoreMain(git, { restore: each, branch, tip, at, cache: ports.cache });
      if (result.kind === 'lost') continue;
      step('restored');
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
    seen: { report: Plan['report']; tally: Tally; hold?: Hold | undefined },
  ): void {
    const { held: before, heldBy: _by, error: _error, ...rest } = state;
    const { hold, ...news } = seen;
    const held = hold?.reason;
    state = {
      ...rest,
      ...news,
      ...(hold === undefined ? {} : { held: hold.reason, heldBy: hold.by }),
      passedAt: at,
    };
    if (held !== before) onEvent({ kind: 'held', at, ...(held === undefined ? {} : { reason: held }) });
    onEvent({ kind: 'pass', at });
  }

  return {
    pass,
    state: () => state,
    wake: () => wakeups.wake('soon'),
    look() {
      if (watcher === undefined) wakeups.wake('now');
      else watcher.look();
    },
    async run(signal) {
      watcher = await git.watch(() => wakeups.wake('now'));
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
        // Devices report one after another, and a pass is worth while for many; a commit is somebody waiting.
        else if ((await wakeups.sleep(clock, sleepMs, signal)) === 'soon') {
          await wakeups.sleep(clock, settleMs, signal, 'now');
        }
      }
      await watcher.close();
      watcher = undefined;
    },
  };
}

/** A write that failed holds what opens like one that was refused; the next pass tries again. */
function refusal(error: unknown): { kind: 'refused'; reason: string } {
  return { kind: 'refused', reason: error instanceof Error ? error.message : String(error) };
}

function isSame(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

function howToSetBack(place: string, tip: Oid): string {
  const isRemote = /^[a-z+]+:\/\/|^[^/]+@[^/]+:/.test(place);
  return isRemote
    ? `from a clone that has it run git push --force ${place} ${tip}:refs/heads/${OUTCOMES_BRANCH}`
    : `run git -C ${place} update-ref refs/heads/${OUTCOMES_BRANCH} ${tip}`;
}

/** Every commit of ours says which version its decisions were published with. */
const EPOCH = /^Epoch: ([0-9]+)$/m;

function isOurs(message: string): boolean {
  return EPOCH.test(message);
}

/** Versions rise with every publication and, so that an empty store starts above what was, with the time. */
function versionAfter(last: number, now: Instant): number {
  return Math.max(last + 1, Math.floor(now / SECOND));
}

/** The version that a lost store had reached, as its decisions say: devices refuse to go back. 0 where there are none. */
async function recordedVersion(git: Git, tip: Oid | undefined): Promise<number> {
  if (tip === undefined) return 0;
  const { message } = await git.commit(tip);
  return Number(EPOCH.exec(message)?.[1] ?? 0);
}

/** What `outcomes` says, and why nothing may be added to it now. */
interface Recorded {
  readonly tip: Oid | undefined;
  readonly outcomes: Outcomes;
  readonly hold?: Hold | undefined;
}

interface Hold {
  readonly by: HeldBy;
  readonly reason: string;
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

/** How soon somebody waits for the next pass. */
type Urgency = 'soon' | 'now';

/** A sleep that a wake ends, also one that came just before it. */
function createWakeups() {
  let woken: Urgency | undefined;
  let sleeper: { readonly abort: AbortController; readonly least: Urgency } | undefined;
  const isEnough = (wake: Urgency | undefined, least: Urgency) =>
    wake === 'now' || (wake === 'soon' && least === 'soon');
  return {
    wake(urgency: Urgency) {
      if (woken !== 'now') woken = urgency;
      if (sleeper !== undefined && isEnough(urgency, sleeper.least)) sleeper.abort.abort();
    },
    /** Sleeps; how urgent the wake was that ended it, if one did. Only wakes that are at least `least` end it. */
    async sleep(
      clock: Clock,
      durationMs: DurationMs,
      signal: AbortSignal,
      least: Urgency = 'soon',
    ): Promise<Urgency | undefined> {
      const abort = new AbortController();
      sleeper = { abort, least };
      if (!isEnough(woken, least)) await clock.sleep(durationMs, AbortSignal.any([signal, abort.signal]));
      sleeper = undefined;
      const was = woken;
      woken = undefined;
      return was;
    },
  };
}
