/**
 * A git repository on another machine. Reading and writing objects happens on a mirror here (mirror.ts); a branch of the
 * mirror is where the remote's branch was when its content was last fetched and looked at. Moving a branch is a push from
 * exactly where it was, and only then a move of the mirror's.
 *
 * A remote is *away* from the first question that it does not answer as it should until the next that it does. Meanwhile
 * what was fetched last can be read. Questions come from the watch, a little irregularly, and less often while it is away.
 */
import { type Clock, systemClock } from '../clock.ts';
import { type DurationMs, MINUTE, SECOND } from '../core/model/time.ts';
import { comesAfter, examineArrival } from './arrival.ts';
import type { Credentials, GitEngine, PushAnswer, Transport } from './engine.ts';
import { GitObjectError, GitRemoteError, GitRepositoryError } from './errors.ts';
import type { Git, MoveResult, Oid, Watcher } from './git.ts';
import { type Mirror, makeMirror, openMirror } from './mirror.ts';
import { newObjects } from './new-objects.ts';
import { DEFAULT_IDENTITY } from './objects.ts';
import { listPacks, objectsIn, removePack } from './packs.ts';
import { branchNameProblem } from './ref-lock.ts';

export interface RemoteOptions {
  /** Where mirrors are kept; one process at a time may use it. */
  readonly folder: string;
  readonly engine: GitEngine;
  readonly credentials?: Credentials;
  /** Must be there when the mirror is made. */
  readonly branch?: string;
  /**
   * Branches to follow as well, where they are there: all of their files, and from further back. Any other is followed from
   * the first time that it is asked for, as `branch` is.
   */
  readonly alsoFollow?: readonly string[];
  /** Folders that must be complete before a branch moves; all of them, if none are named. */
  readonly folders?: readonly string[];
  /** What to do about a repository without a branch, for the message that says so. */
  readonly whenEmpty?: string;
  readonly identity?: string;
  /** Real time, also where the fleet's clock is simulated. */
  readonly clock?: Clock;
  /** From 0 to 1; keeps many servers from asking in step. */
  readonly random?: () => number;
  readonly pollMs?: DurationMs;
  /**
   * Each fetch brings a pack, and reading an object looks through the index of each: from this many on they become one when
   * there is nothing else to do, and at four times as many at once.
   */
  readonly packsMax?: number;
  /** What goes wrong without keeping the repository from being used. */
  readonly onProblem?: (message: string) => void;
}

const POLL_MS = 30 * SECOND;
const BACKOFF_MAX_MS = 5 * MINUTE;
/** Between two looks that hints ask for. They come in bursts: a push is several events. */
const GAP_MS = SECOND;
const JITTER = 0.1;
const DOUBLINGS_MAX = 10;

const EVERYTHING = [''];
/** History that a new mirror begins with, in commits. */
const DEPTH = 50;
const ALSO_DEPTH = 1000;
/** Branches that were asked for by name; the first are forgotten for more. */
const FOLLOWED_MAX = 20;
const PACKS_MAX = 50;
const PACKS_FACTOR_MAX = 4;
/** Branches of ours alone, which may be moved to where they did not lead. */
const ASIDE = 'tidegate/rollback/';

/**
 * Opens the repository at `url`. With a mirror from an earlier time that works while the remote is away; without one it
 * throws {@link GitRepositoryError}, which says what keeps the remote from us.
 */
export async function openRemote(url: string, options: RemoteOptions): Promise<Git> {
  const { folder, engine, credentials, identity = DEFAULT_IDENTITY, clock = systemClock } = options;
  const closing = new AbortController();
  const transport = engine.connect({
    url,
    signal: closing.signal,
    ...(credentials === undefined ? {} : { credentials }),
  });
  const mirrorOptions = { folder, url, engine, identity, clock };
  const existing = await openMirror(mirrorOptions);
  const mirror =
    existing ??
    (await makeMirror(mirrorOptions, (filling) => fill(filling, { url, transport, options })).catch(
      (error) => {
        throw openError(error, url);
      },
    ));
  const remote = follow(mirror, { url, transport, options, closing });
  if (existing !== undefined) await remote.sync();
  return remote.git;
}

interface Connected {
  readonly url: string;
  readonly transport: Transport;
  readonly options: RemoteOptions;
}

/** Brings the branches to follow into a new mirror, with as much history as is likely to be needed. */
async function fill(mirror: Mirror, { url, transport, options }: Connected): Promise<void> {
  const names = wanted(options);
  const listed = await transport.listBranches(names);
  if (options.branch !== undefined && !listed.has(options.branch)) {
    throw new GitRepositoryError(
      url,
      absentBranch(url, options, [...(await transport.listBranches()).keys()]),
    );
  }
  for (const branch of names) {
    const tip = listed.get(branch);
    if (tip === undefined) continue;
    const depth = options.alsoFollow?.includes(branch) ? ALSO_DEPTH : DEPTH;
    await bring(mirror, { transport, options }, { branch, from: undefined, to: tip, depth, seen: new Set() });
    await mirror.point(branch, tip);
  }
}

/** Fetches where a branch is now and looks at it. What cannot be used is taken away again. */
async function bring(
  { commonDir, git }: Mirror,
  { transport, options }: Omit<Connected, 'url'>,
  given: { branch: string; from: Oid | undefined; to: Oid; depth?: number; seen: Set<Oid> },
): Promise<void> {
  const { branch, from, to, depth, seen } = given;
  const packs = await listPacks(commonDir);
  const arrived = async () => (await listPacks(commonDir)).difference(packs);
  try {
    await transport.fetch({
      commonDir,
      branch,
      ...(depth === undefined ? {} : { depth }),
      ...(options.branch === undefined ? {} : { near: options.branch }),
    });
    const indexed = await objectsIn(commonDir, await arrived());
    await examineArrival(git, { tip: to, before: from, folders: foldersOf(branch, options), indexed }, seen);
  } catch (error) {
    for (const pack of await arrived()) await removePack(commonDir, pack);
    throw error;
  }
}

function wanted({ branch, alsoFollow = [] }: RemoteOptions): string[] {
  return [...new Set([...(branch === undefined ? [] : [branch]), ...alsoFollow])];
}

function foldersOf(branch: string, { alsoFollow, folders = EVERYTHING }: RemoteOptions): readonly string[] {
  return alsoFollow?.includes(branch) ? EVERYTHING : folders;
}

function absentBranch(url: string, { branch, whenEmpty }: RemoteOptions, others: readonly string[]): string {
  if (others.length === 0) {
    return `${url} is empty and has no branch ${branch}: ${whenEmpty ?? 'push a first commit to it'}`;
  }
  const some = others.slice(0, 10).join(', ');
  const rest = others.length > 10 ? ` and ${others.length - 10} more` : '';
  return `${url} has no branch ${branch}: create it, or name one that is there: ${some}${rest}`;
}

function openError(error: unknown, url: string): unknown {
  const isExpected = error instanceof GitRemoteError || error instanceof GitObjectError;
  return isExpected ? new GitRepositoryError(url, reasonOf(url, error), error) : error;
}

function reasonOf(url: string, error: unknown): string {
  if (error instanceof GitObjectError)
    return `what ${url} sent is incomplete or broken (object ${error.oid}); it is fetched again by itself`;
  return error instanceof Error ? error.message : String(error);
}

/** The repository as its mirror and its remote together make it. */
function follow(
  mirror: Mirror,
  { url, transport, options, closing }: Connected & { closing: AbortController },
): { git: Git; sync(): Promise<void> } {
  const { clock = systemClock, random = Math.random, pollMs = POLL_MS, packsMax = PACKS_MAX } = options;
  const gapMs = Math.min(GAP_MS, pollMs);
  const followed = new Set(wanted(options));
  const listeners = new Set<() => void>();
  const seen = new Set<Oid>();
  let awayBecause: string | undefined;
  /** Whether the last look found that a branch had moved. */
  let hasNews = false;

  function changed(): void {
    for (const listener of [...listeners]) listener();
  }

  function setAway(reason: string | undefined): void {
    if (awayBecause === reason) return;
    awayBecause = reason;
    changed();
  }

  // One thing at a time: pushes and fetches would take each other's packs for their own.
  let last: Promise<unknown> = Promise.resolve();
  function exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = last.then(work);
    // Whoever asked for the work hears of its failure; the next one only waits for its end.
    last = result.catch(() => undefined);
    return result;
  }

  /** Brings the branches to where the remote has them. What is wrong with one keeps none of the others from moving. */
  async function update(names: readonly string[]): Promise<void> {
    const listed = await confirmedList(names);
    const before = await mirror.branches();
    const failures: unknown[] = [];
    let moves = 0;
    for (const branch of names.toSorted((a, b) => Number(listed.has(a)) - Number(listed.has(b)))) {
      const [from, to] = [before.get(branch), listed.get(branch)];
      if (from === to) continue;
      try {
        if (to !== undefined) await bring(mirror, { transport, options }, { branch, from, to, seen });
        await mirror.point(branch, to);
        moves += 1;
      } catch (error) {
        failures.push(error);
      }
    }
    if (moves > 0) changed();
    if (failures.length > 0) throw failures[0];
    hasNews = moves > 0;
    if (hasNews) await tidy(PACKS_FACTOR_MAX * packsMax, closing.signal);
  }

  /** A list has no checksum: that a branch is gone is believed when two say so. */
  async function confirmedList(names: readonly string[]): Promise<ReadonlyMap<string, Oid>> {
    const listed = await transport.listBranches(names);
    const before = await mirror.branches();
    if (!names.some((name) => before.has(name) && !listed.has(name))) return listed;
    return new Map([...listed, ...(await transport.listBranches(names))]);
  }

  async function tidy(fromPacks: number, signal: AbortSignal): Promise<void> {
    const { commonDir } = mirror;
    try {
      if ((await listPacks(commonDir)).size < fromPacks || signal.aborted) return;
      await options.engine.repack(commonDir, signal);
    } catch (error) {
      if (signal.aborted) return;
      options.onProblem?.(
        `the copy ${commonDir} cannot be tidied: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  let tidying = new AbortController();

  /** What somebody waits for. Tidying makes way for it. */
  function urgently<T>(work: () => Promise<T>): Promise<T> {
    tidying.abort();
    return exclusive(work);
  }

  function tidyMeanwhile(): void {
    const meanwhile = new AbortController();
    void exclusive(() => tidy(packsMax, AbortSignal.any([meanwhile.signal, closing.signal])));
    tidying = meanwhile;
  }

  /** Updates, and remembers whether the remote is away. */
  async function attempt(names: readonly string[]): Promise<void> {
    try {
      await update(names);
      setAway(undefined);
    } catch (error) {
      if (closing.signal.aborted) return;
      setAway(reasonOf(url, error));
    }
  }

  let syncing: Promise<void> | undefined;
  function sync(): Promise<void> {
    syncing ??= exclusive(async () => {
      // Whoever asks from here on may know of something that this does not see.
      syncing = undefined;
      await attempt([...followed]);
    });
    return syncing;
  }

  async function startFollowing(branch: string): Promise<void> {
    if (followed.has(branch) || branchNameProblem(branch) !== undefined) return;
    const [first] = [...followed].filter((name) => !wanted(options).includes(name));
    if (followed.size >= FOLLOWED_MAX && first !== undefined) followed.delete(first);
    followed.add(branch);
    await attempt([branch]);
  }

  async function push(move: { branch: string; from: Oid | undefined; to: Oid }): Promise<MoveResult> {
    const { branch, from, to } = move;
    await mirror.git.commit(to);
    const problem = branchNameProblem(branch);
    if (problem !== undefined) return { kind: 'refused', reason: problem };
    if ((await mirror.branches()).get(branch) !== from) return { kind: 'lost' };
    const isForward = from === undefined || (await comesAfter(mirror.git, to, from));
    if (!isForward && !branch.startsWith(ASIDE)) {
      const reason = `moving ${branch} from ${from} to ${to} would take commits away from it, which is never done at a remote`;
      return { kind: 'refused', reason };
    }

    let answer: PushAnswer | GitRemoteError;
    try {
      const objects = async () => newObjects(mirror.git, to, [...(await mirror.branches()).values()]);
      answer = await transport.push({ commonDir: mirror.commonDir, ...move, objects });
    } catch (error) {
      if (!(error instanceof GitRemoteError)) throw error;
      if (error.trouble === 'unauthorized' || error.trouble === 'forbidden')
        return { kind: 'refused', reason: error.message };
      answer = error;
    }
    // Only an acceptance says it all. The rest is decided by where the branch is: an answer that was lost may have been
    // an acceptance, and a refusal that came because somebody else was faster is a lost race.
    const now =
      'kind' in answer && answer.kind === 'accepted'
        ? to
        : (await transport.listBranches([branch])).get(branch);
    if (now === to) {
      await mirror.point(branch, to);
      setAway(undefined);
      changed();
      return { kind: 'moved' };
    }
    if (now !== from) {
      await attempt([branch]);
      return { kind: 'lost' };
    }
    if (answer instanceof GitRemoteError) throw answer;
    const reason = answer.kind === 'rejected' ? answer.reason : '';
    return { kind: 'refused', reason: refusal(url, branch, reason) };
  }

  async function moveBranch(move: { branch: string; from: Oid | undefined; to: Oid }): Promise<MoveResult> {
    try {
      return await urgently(() => push(move));
    } catch (error) {
      if (!(error instanceof GitRemoteError)) throw error;
      setAway(error.message);
      throw new GitRepositoryError(url, error.message, error);
    }
  }

  async function watch(onChange: () => void): Promise<Watcher> {
    const ending = new AbortController();
    const stop = AbortSignal.any([ending.signal, closing.signal]);
    const stopped = new Promise<void>((resolve) => stop.addEventListener('abort', () => resolve()));
    const listener = () => onChange();
    let look = new AbortController();
    let hintedAt = Number.NEGATIVE_INFINITY;
    let failures = 0;

    async function loop(): Promise<void> {
      while (!stop.aborted) {
        await clock.sleep(delayMs(failures), AbortSignal.any([look.signal, stop]));
        if (look.signal.aborted) {
          const restMs = Math.min(gapMs, hintedAt + gapMs - clock.now());
          if (restMs > 0) await clock.sleep(restMs, stop);
          hintedAt = clock.now();
        }
        if (stop.aborted) return;
        // Hints from here on may be of something that this question does not see.
        look = new AbortController();
        // What is under way when the watch ends goes on without it.
        await Promise.race([sync(), stopped]);
        failures = awayBecause === undefined ? 0 : failures + 1;
        if (!hasNews && failures === 0) tidyMeanwhile();
      }
    }

    listeners.add(listener);
    const looping = loop();
    return {
      look() {
        tidying.abort();
        look.abort();
      },
      async close() {
        listeners.delete(listener);
        ending.abort();
        await looping;
      },
    };
  }

  function delayMs(failures: number): DurationMs {
    const jittered = pollMs * (1 + JITTER * (2 * random() - 1));
    if (failures === 0) return jittered;
    return Math.min(Math.max(pollMs, BACKOFF_MAX_MS), jittered * 2 ** Math.min(failures, DOUBLINGS_MAX));
  }

  const { git } = mirror;
  return {
    sync,
    git: {
      place: url,
      away: () => awayBecause,
      async branch(branch) {
        if (branchNameProblem(branch) !== undefined) return undefined;
        if (!followed.has(branch)) await urgently(() => startFollowing(branch));
        return await git.branch(branch);
      },
      commit: git.commit,
      tree: git.tree,
      blob: git.blob,
      writeBlob: git.writeBlob,
      writeTree: git.writeTree,
      writeCommit: git.writeCommit,
      moveBranch,
      watch,
      async close() {
        closing.abort();
        await last;
        await git.close();
      },
    },
  };
}

function refusal(url: string, branch: string, reason: string): string {
  return `${url} does not let branch ${branch} be moved (${reason}): let our user push to it, or lift what protects it`;
}
