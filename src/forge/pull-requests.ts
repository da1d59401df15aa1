/**
 * The pull requests for restoring commits that main refused. The forge is asked beside the passes: however slow it is, it
 * holds up no decision. What it refused is asked again later, and not often.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.ts';
import { HOUR, type Instant, MINUTE } from '../core/model/time.ts';
import { pullRequestText } from '../fleet-repo/restore.ts';
import type { Git } from '../git/git.ts';
import type { Forge, PullRequestResult } from './forge.ts';

export interface PullRequests {
  /** What became of the pull request for the branch; undefined until the forge has answered, which `onAnswer` tells. */
  of(branch: string): PullRequestResult | undefined;
  /** Asks no more, and does not wait for answers. */
  close(): void;
}

export interface PullRequestsOptions {
  readonly forge: Forge;
  readonly git: Pick<Git, 'branch' | 'commit'>;
  readonly clock: Pick<Clock, 'now'>;
  /** The branch that refused, which is to be merged into. */
  readonly base: string;
  readonly onAnswer: () => void;
}

const RETRY_MS = 5 * MINUTE;
/** However far off a forge puts us. */
const RETRY_MS_MAX = HOUR;
/** Branches whose answer is remembered. Each is of a rollout that waits for people. */
const REMEMBERED = 1000;

export function createPullRequests(options: PullRequestsOptions): PullRequests {
  const { clock, onAnswer } = options;
  const answers = new LRUCache<string, { result: PullRequestResult; retryAt: Instant }>({ max: REMEMBERED });
  const underWay = new Set<string>();
  const closed = new AbortController();

  async function ask(branch: string): Promise<void> {
    underWay.add(branch);
    const result = await openFor(branch, options, closed.signal);
    const now = clock.now();
    const retryAt = result.kind === 'refused' ? (result.retryAt ?? 0) : 0;
    answers.set(branch, { result, retryAt: Math.min(Math.max(retryAt, now + RETRY_MS), now + RETRY_MS_MAX) });
    underWay.delete(branch);
    if (!closed.signal.aborted) onAnswer();
  }

  return {
    of(branch) {
      const known = answers.get(branch);
      const isDue = known === undefined || (known.result.kind === 'refused' && clock.now() >= known.retryAt);
      if (isDue && !underWay.has(branch) && !closed.signal.aborted) void ask(branch);
      return known?.result;
    },
    close: () => closed.abort(),
  };
}

/** The commit on the branch says what the pull request is about. */
async function openFor(
  branch: string,
  { forge, git, base }: PullRequestsOptions,
  signal: AbortSignal,
): Promise<PullRequestResult> {
  try {
    const tip = await git.branch(branch);
    if (tip === undefined) {
      return { kind: 'refused', reason: `the branch ${branch} is gone; set ${base} back by hand` };
    }
    const { message } = await git.commit(tip);
    return await forge.openPullRequest({ branch, base, ...pullRequestText(message) }, signal);
  } catch (error) {
    return { kind: 'refused', reason: error instanceof Error ? error.message : String(error) };
  }
}
