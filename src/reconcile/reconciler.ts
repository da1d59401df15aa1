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
import type { Probe, Sample } from '../core/gates/probe.ts';
import type { Census } from '../core/model/census.ts';
import type { DesiredState } from '../core/model/desired.ts';
import type { CommitId } from '../core/model/ids.ts';
import type { Outcomes } from '../core/model/outcome.ts';
import { type DurationMs, type Instant, MINUTE, SECOND } from '../core/model/time.ts';
import {
  type Answer,
  applyDecisions,
  type Decision,
  type Measured,
  type Plan,
  wantKey,
} from '../core/plan/contract.ts';
import { plan } from '../core/plan/plan.ts';
import type { DocumentCache } from '../documents/load.ts';
import type { Problem } from '../documents/problem.ts';
import { OUTCOMES_BRANCH, recordDecisions } from '../fleet-repo/outcomes.ts';
import type { Forge } from '../forge/forge.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Git, Oid, Watcher } from '../git/git.ts';
import type { PublishedProgram, Store } from '../store/store.ts';
import type { Keys } from '../trust/keys.ts';
import { signSsh, sshPublicKey } from '../trust/ssh-signature.ts';
import type { RepositoryState } from '../trust/tuf/repository.ts';
import { createTurns } from '../turns.ts';
import type { Announcer } from './announcer.ts';
import { createCensusKeeper } from './census.ts';
import type { CommitPolicy } from './commit-policy.ts';
import { readWanted, type Wanted } from './desired.ts';
import type { ReconcileEvent } from './event.ts';
import { type Notes, readNotes, writeNotes } from './journal.ts';
import { createMeasuring } from './measuring.ts';
import type { Observer } from './observer.ts';
import { Overtaken } from './overtaken.ts';
import { createPublication } from './publication.ts';
import {
  createRecordReader,
  type HeldBy,
  type Hold,
  lostRecord,
  type Recorded,
  recordedVersions,
} from './record.ts';
import { createRestorer } from './restoration.ts';
import { createTufPublication } from './tuf-publication.ts';
import { createWakeups } from './wakeups.ts';

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
  /** The TUF repository that is published. */
  readonly tuf?: RepositoryState;
  readonly report: Plan['report'];
  /** What the gates over stages say, by rollout. */
  readonly gates: Plan['gates'];
  readonly tally: Tally;
  /** What the last pass judged gates by, and from which store. */
  readonly seen?: { readonly exposures: Measured['exposures']; readonly epoch: string };
  /** Why nothing opens at all, while that is so. */
  readonly held?: string;
  /** The same in a word, for those who must not see paths and addresses. */
  readonly heldBy?: HeldBy;
  /** When the program that is served was last seen to be the one in force, in the store that servers share. */
  readonly confirmedAt?: Instant;
  readonly passedAt?: Instant;
  /** The last pass failed; the next one tries again. */
  readonly error?: string;
}

export interface ReconcilerPorts {
  readonly git: Git;
  readonly store: Store;
  readonly observer: Observer;
  readonly keys: Pick<Keys, 'assignment' | 'commits' | 'tuf'>;
  readonly clock: Clock & Partial<Pick<SteadyClock, 'doubt' | 'timesSet'>>;
  /** 128 random bits in hex. */
  readonly randomHex: () => string;
  readonly cache: DocumentCache;
  readonly onEvent: (event: ReconcileEvent) => void;
  /** Whose commits count; absent: everybody's who can push. */
  readonly allowedSigners?: Pick<CommitPolicy, 'allowed' | 'place'>;
  /** Asks others on behalf of gates; absent: nobody is asked, and such gates say that something is missing. */
  readonly prober?: {
    follow(probes: readonly Probe[]): void;
    samples(): ReadonlyMap<string, readonly Sample[]>;
  };
  /** Where people are asked to merge what main refuses; absent: they find the branch by themselves. */
  readonly forge?: Forge;
  /** Tells people what was decided; absent: they read it. */
  readonly announcer?: Announcer;
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

const NO_SAMPLES: ReadonlyMap<string, readonly Sample[]> = new Map();

/** Where receivers are named. */
const FLEET_FILE = 'fleet/fleet.yaml';
const BACKOFF_MAX_MS = 60 * SECOND;
/** Another server has read commits that have not arrived here. */
const BEHIND_MS = SECOND;
/** A remote that answers has had its time to bring them. */
const BEHIND_MAX_MS = MINUTE;
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
  const sign = (content: Uint8Array) => signSsh(content, ports.keys.commits);
  const policy: CommitPolicy | undefined = ports.allowedSigners && {
    ...ports.allowedSigners,
    ownKey: sshPublicKey(ports.keys.commits),
  };
  const readRecord = createRecordReader(git, policy);
  const tuf = createTufPublication({ store, keys: ports.keys });
  const publication = createPublication({ git, store, tuf });
  let notes: Notes | undefined;
  let hasBegun = false;
  let timesSet = clock.timesSet?.() ?? 0;
  let behindSince: Instant | undefined;
  let watcher: Watcher | undefined;
  let lastRead: Wanted | undefined;
  let state: ReconcilerState = {
    wanted: undefined,
    outcomes: new Map(),
    tip: undefined,
    published: undefined,
    report: [],
    gates: new Map(),
    tally: emptyTally(),
  };
  const census = createCensusKeeper(git, observer);
  const measuring = createMeasuring(store, () => ports.prober?.samples() ?? NO_SAMPLES);
  const wakeups = createWakeups(clock);
  const restorer = createRestorer({
    git,
    clock,
    branch,
    cache: ports.cache,
    sign,
    forge: ports.forge,
    onEvent,
    onRestored: () => step('restored'),
    onAnswer: () => wakeups.wake('now'),
  });

  async function pass(): Promise<{ again: boolean; wakeAt?: Instant }> {
    try {
      return await passOnce();
    } catch (error) {
      if (!(error instanceof Overtaken)) throw error;
      notes = undefined;
      return { again: true };
    } finally {
      served();
    }
  }

  /** Devices install nothing that metadata does not list. */
  function unsigned(): Hold | undefined {
    const trouble = tuf.trouble();
    if (trouble === undefined) return undefined;
    return { by: 'trust', reason: `metadata cannot be signed: ${trouble}` };
  }

  /**
   * What is wrong in `trust/` blocks no snapshot: what is published stays in force. Neither does a receiver of notices that
   * cannot be told anything.
   */
  function withFlaws(wanted: Wanted): Wanted {
    const ofTrust = tuf.flaws().map((flaw) => ({ ...flaw, rule: 'trust' as const }));
    const { fleet } = wanted.desired ?? {};
    const unreachable = fleet === undefined ? [] : (ports.announcer?.flaws(fleet) ?? []);
    const ofReceivers = unreachable.map((message) => ({
      file: FLEET_FILE,
      message,
      rule: 'notifications' as const,
    }));
    const flaws = [...ofTrust, ...ofReceivers].map(
      ({ file, message, rule }): Problem => ({
        file,
        line: 1,
        column: 1,
        rule,
        severity: 'warning',
        message,
      }),
    );
    if (flaws.length === 0) return wanted;
    const problems = [...wanted.problems, ...flaws];
    // No news: whoever compares sees the same problems.
    const before = state.wanted?.problems;
    const isSame = JSON.stringify(problems) === JSON.stringify(before);
    return { ...wanted, problems: isSame && before !== undefined ? before : problems };
  }

  /** What devices are answered by. */
  function served(): void {
    const [published, repository] = [publication.served(), tuf.state()];
    if (state.published === published && state.tuf === repository) return;
    state = { ...state, published, ...(repository === undefined ? {} : { tuf: repository }) };
  }

  async function passOnce(): Promise<{ again: boolean; wakeAt?: Instant }> {
    const now = clock.now();
    const known = await recall(now);
    const lag = await lagBehind(known, now);
    if (lag !== undefined) {
      watcher?.look();
      passed(now, { report: state.report, gates: state.gates, tally: state.tally, hold: lag });
      return { again: false, wakeAt: now + BEHIND_MS };
    }
    state = { ...state, confirmedAt: now };
    const { published } = state;
    if (published !== undefined) await tuf.renew(published.program, now);
    const read = await readRepository(known);
    await tuf.follow(read.wanted.trust?.folder, now);
    const wanted = withFlaws(read.wanted);
    const repository = { ...read.repository, hold: read.repository.hold ?? unsigned() };
    step('read');
    announce(wanted, now);
    state = { ...state, wanted, outcomes: repository.outcomes, tip: repository.tip };
    if (wanted.desired === undefined) {
      passed(now, { report: [], gates: new Map(), tally: state.tally });
      return { again: false };
    }

    const pending = known.closings.filter((closing) => isPending(closing, repository.outcomes));
    const outcomes = applyDecisions(repository.outcomes, pending);
    const made = await decide(wanted.desired, {
      wanted,
      outcomes,
      held: repository.hold?.reason,
      now,
      notes: known,
    });
    step('planned', made.plan.decisions);

    // What closes holds from here on, whatever becomes of its commit.
    const closings = [...pending, ...made.plan.decisions.filter(({ effect }) => effect === 'closes')];
    notes = await keep(known, {
      applied: wanted.desired.commit,
      ...(repository.tip === undefined || repository.hold !== undefined ? {} : { tip: repository.tip }),
      soaks: made.plan.soaks,
      closings,
      ...(now - (known.watchedAt ?? 0) < WATCHED_STEP_MS ? {} : { watchedAt: now }),
      ...announcingFrom(known, repository),
    });
    step('noted', made.plan.decisions);
    await publish(wanted.desired, applyDecisions(repository.outcomes, closings), now);
    step('closed', made.plan.decisions);

    const decisions = [...pending, ...made.plan.decisions];
    const recorded = await record(wanted.desired, { repository, decisions, now });
    if (recorded.kind === 'lost') return { again: true };
    const { hold } = recorded;
    notes = await announceRecord(notes, { desired: wanted.desired, plan: made.plan, now });

    // On a broken tip nothing can be restored: what people mend first is looked at first.
    const isWhole = wanted.desired.commit === wanted.head;
    const restored = hold === undefined && isWhole ? await restore(made.plan, wanted.desired, notes) : false;
    ports.prober?.follow(made.plan.probes);
    passed(now, { report: made.plan.report, gates: made.plan.gates, tally: made.tally, hold });
    const times = made.plan.report.flatMap(({ until }) =>
      until === undefined || until <= now ? [] : [until],
    );
    // What waited for metadata goes on.
    const isSignedAgain = repository.hold?.by === 'trust' && tuf.trouble() === undefined;
    const again = recorded.count > 0 || restored || isSignedAgain;
    return { again, ...(times.length === 0 ? {} : { wakeAt: Math.min(...times) }) };
  }

  /** What is noted, as of now: of an earlier process, of another server, or by this one's last pass. */
  async function recall(now: Instant): Promise<Notes> {
    const isNews = hasBegun ? await publication.refresh() : await publication.begin();
    hasBegun = true;
    served();
    if (notes === undefined || isNews) notes = await readNotes(store);
    const isUnwatched = notes.watchedAt !== undefined && now - notes.watchedAt > UNWATCHED_MAX_MS;
    const wasSet = timesSet !== (clock.timesSet?.() ?? 0);
    timesSet = clock.timesSet?.() ?? 0;
    return isUnwatched || wasSet ? { ...notes, soaks: new Map() } : notes;
  }

  /**
   * Servers that share a store may read a remote at different times; who is late must not take back what is published. A
   * commit of main that does not arrive while the remote answers is no longer there: history was rewritten, or this copy of
   * it begins later. A record is never given up: nothing says then what was decided.
   */
  async function lagBehind({ applied, tip }: Notes, now: Instant): Promise<Hold | undefined> {
    if (store.place?.kind !== 'postgres') return undefined;
    const lacksTip = tip !== undefined && !(await isThere(git, tip));
    const lacksApplied = applied !== undefined && !(await isThere(git, applied));
    if (!lacksTip && !lacksApplied) behindSince = undefined;
    else if (behindSince === undefined || git.away() !== undefined) behindSince = now;
    if (behindSince === undefined) return undefined;
    if (now - behindSince < BEHIND_MAX_MS) {
      const reason = 'another server has read commits that have not arrived here; they are fetched';
      return { by: 'repository', reason };
    }
    return lacksTip ? { by: 'record', reason: lostRecord(git.place, tip) } : undefined;
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
    const taken = await censusFor(desired, made);
    if (decisions.length === 0 && taken === undefined) return { kind: 'recorded', count: 0 };
    // The version that publishing these decisions will have.
    const epoch = publication.nextVersion(now);
    const flagsVersion = publication.flagsVersion();
    const onWritten = () => step('written', decisions);
    const given = {
      tip: repository.tip,
      decisions,
      at: now,
      epoch,
      flagsVersion,
      inForce: desired.commit,
      census: taken && { census: taken, snapshot: desired.snapshot, commit: desired.commit },
      sign,
      onWritten,
    };
    const result = await recordDecisions(git, given).catch(refusal);
    if (result.kind === 'lost') return result;
    if (result.kind === 'refused') {
      const reason = `the branch ${OUTCOMES_BRANCH} cannot be written: ${result.reason}`;
      return { kind: 'recorded', count: 0, hold: { by: 'record', reason } };
    }
    step('recorded', decisions);
    if (taken !== undefined) census.recorded(taken);
    const outcomes = applyDecisions(repository.outcomes, decisions);
    state = { ...state, outcomes, tip: result.tip };
    for (const [index, decision] of decisions.entries()) {
      onEvent({ kind: 'decision', at: now, decision, commit: result.commits[index] ?? result.tip });
    }
    if (notes !== undefined) notes = await keep(notes, { tip: result.tip, closings: [] });
    step('remembered', decisions);
    await publish(desired, outcomes, now);
    step('opened', decisions);
    return { kind: 'recorded', count: decisions.length };
  }

  /** It is for people who plan: what is decided does not wait for it where it cannot be taken. */
  async function censusFor(
    desired: DesiredState,
    { repository, decisions, now }: { repository: Recorded; decisions: readonly Decision[]; now: Instant },
  ): Promise<Census | undefined> {
    const { tip, outcomes } = repository;
    const exposures = state.seen?.exposures ?? new Map();
    const program = () => publication.programOf(desired, outcomes);
    try {
      return await census.due({ tip, decisions, program, outcomes, exposures, now });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      onEvent({ kind: 'failed', at: now, message: `no census could be taken: ${message}` });
      return undefined;
    }
  }

  /** From when on decisions are announced: not those that were there before anybody was to be told. */
  function announcingFrom({ announced }: Notes, { tip, hold }: Recorded): Partial<Notes> {
    const isBegun = ports.announcer === undefined || announced !== undefined || hold !== undefined;
    return isBegun ? {} : { announced: tip ?? null };
  }

  /** Also what another process has recorded, and one that ended before it could say so. */
  async function announceRecord(
    known: Notes,
    { desired, plan: made, now }: { desired: DesiredState; plan: Plan; now: Instant },
  ): Promise<Notes> {
    if (ports.announcer === undefined) return known;
    const { tip, announced } = known;
    const { outcomes } = state;
    const reminders = made.reminders ?? [];
    const reached = await ports.announcer.announce({ tip, announced, desired, outcomes, reminders, now });
    return reached === undefined || reached === announced ? known : await keep(known, { announced: reached });
  }

  /** Plans until no question is left whose answer would let something move. */
  async function decide(
    desired: DesiredState,
    given: { wanted: Wanted; outcomes: Outcomes; held: string | undefined; now: Instant; notes: Notes },
  ): Promise<{ plan: Plan; tally: Tally }> {
    const { outcomes, now } = given;
    // What is done for every rollout here is done at once, each time for all of them.
    const turns = createTurns();
    const program = publication.programOf(desired, outcomes);
    if (turns.isOver()) await turns.next();
    const tally = await observer.tallyUnder(program, now);
    const measured = await measuring.measured(outcomes, now);
    const answers = new Map<string, Answer>();
    const epoch = await store.epoch();
    state = { ...state, seen: { exposures: measured.exposures, epoch } };
    const observed = {
      epoch,
      tally,
      soaks: given.notes.soaks,
      answers,
      restorations: given.notes.restorations,
      measured,
      randomHex: ports.randomHex(),
      ...(given.held === undefined ? {} : { held: given.held }),
      heldRollouts: tuf.unlistable(desired.rollouts),
    };
    for (;;) {
      const made = plan({ desired, outcomes, operations: given.wanted.operations, observed, now });
      if (turns.isOver()) await turns.next();
      if (made.wants.length === 0) return { plan: made, tally };
      // One question at a time, by precedence, and under the program that the decisions so far lead to: a stage that
      // opens here takes its devices from the rollouts below.
      const next = publication.programOf(desired, applyDecisions(outcomes, made.decisions));
      const wanting = new Map(made.wants.map((want) => [want.rollout, want]));
      if (turns.isOver()) await turns.next();
      const first = next.rollouts.find(({ name }) => wanting.has(name));
      const want = first === undefined ? made.wants[0] : wanting.get(first.name);
      if (want !== undefined) answers.set(wantKey(want), await observer.answer(want, next, now));
    }
  }

  /**
   * What the repository wants and remembers. While it cannot be read, what was read last stands and nothing opens:
   * open stages go on, and a breach still stops them.
   */
  async function readRepository(known: Notes): Promise<{ repository: Recorded; wanted: Wanted }> {
    try {
      const record = await readRecord(known.tip);
      const wanted = await readWanted(git, {
        branch,
        cache: ports.cache,
        outcomes: record.outcomes,
        before: lastRead,
        policy,
        // A store that was lost does not know; the record does.
        applied: known.applied ?? ((await recordedVersions(git, record.tip)).commit as CommitId | undefined),
      });
      lastRead = wanted;
      return { repository: { ...record, hold: record.hold ?? doubts() }, wanted };
    } catch (error) {
      if (state.wanted?.desired === undefined) {
        // Devices keep what they were last told, by whatever program there is.
        publication.serveStored();
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

  async function publish(desired: DesiredState, outcomes: Outcomes, now: Instant): Promise<void> {
    const program = publication.programOf(desired, outcomes);
    await publication.publish(program, { commit: desired.commit, tip: state.tip, now });
    served();
  }

  /** Restoring commits that main still lacks. True where something came of it, so that the next pass sees it. */
  async function restore(made: Plan, { commit: tip }: DesiredState, known: Notes): Promise<boolean> {
    const { restorations, isNews } = await restorer.restore(made.restores, {
      tip,
      known: known.restorations,
    });
    notes = await keep(known, { restorations });
    return isNews;
  }

  async function keep(known: Notes, change: Partial<Notes>): Promise<Notes> {
    const next = { ...known, ...change };
    if (JSON.stringify(noteText(next)) === JSON.stringify(noteText(known))) return next;
    const written = await writeNotes(store, next);
    if (written !== undefined) return written;
    throw new Overtaken('another process wrote its notes');
  }

  function announce(wanted: Wanted, at: Instant): void {
    const isNews = wanted.problems !== state.wanted?.problems;
    if (isNews && wanted.problems.length > 0) onEvent({ kind: 'problems', at, wanted });
    if (wanted.desired !== undefined && wanted.desired.commit !== state.wanted?.desired?.commit) {
      onEvent({ kind: 'snapshot', at, wanted });
    }
  }

  function passed(
    at: Instant,
    seen: { report: Plan['report']; gates: Plan['gates']; tally: Tally; hold?: Hold | undefined },
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
        else if ((await wakeups.sleep(sleepMs, { signal })) === 'soon') {
          await wakeups.sleep(settleMs, { signal, least: 'now' });
        }
      }
      restorer.close();
      await watcher.close();
      watcher = undefined;
    },
  };
}

/** A write that failed holds what opens like one that was refused; the next pass tries again. */
function refusal(error: unknown): { kind: 'refused'; reason: string } {
  return { kind: 'refused', reason: error instanceof Error ? error.message : String(error) };
}

/** Whether the closing still has to be recorded: nothing newer is known of its attempt. */
function isPending(closing: Decision, outcomes: Outcomes): boolean {
  const known = outcomes
    .get(closing.attempt.rollout)
    ?.find((each) => each.attempt === closing.attempt.attempt);
  return known !== undefined && known.history.length < closing.attempt.history.length;
}

async function isThere(git: Git, oid: Oid): Promise<boolean> {
  try {
    await git.commit(oid);
    return true;
  } catch (error) {
    if (error instanceof GitObjectError) return false;
    throw error;
  }
}

function noteText(notes: Notes): unknown {
  return { ...notes, soaks: [...notes.soaks], restorations: [...notes.restorations] };
}
