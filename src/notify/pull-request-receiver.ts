/**
 * The forge, as one more receiver: what became of an attempt is said on the pull request that asked for it, in one comment that is
 * changed as things go on. A message says only which commit of `outcomes` is news; the comment says how the attempt stands when it is
 * delivered, so that one that comes late says nothing old, and of many that waited one is enough.
 */
import { LRUCache } from 'lru-cache';
import { type DurationMs, type Instant, MINUTE, SECOND } from '../core/model/time.ts';
import type { Decision } from '../core/plan/contract.ts';
import { createDocumentCache } from '../documents/read.ts';
import { commitThatAsked } from '../fleet-repo/asked-by.ts';
import { OUTCOMES_BRANCH } from '../fleet-repo/outcomes.ts';
import { attemptAt, type DecisionMessage, readDecisionMessage } from '../fleet-repo/recorded-decision.ts';
import type { BroughtBy, Forge, Refused } from '../forge/forge.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Commit, Git, Oid } from '../git/git.ts';
import type { Message } from '../store/outbox.ts';
import { attemptComment, attemptMarker } from './attempt-comment.ts';
import type { Posted } from './post.ts';
import type { BuiltInReceiver } from './receivers.ts';

/** No Fleet document names it: receivers of those have a form and an address. */
export const FORGE_RECEIVER = 'forge';

/** What changes nothing that the comment says is not told. */
const IS_TOLD: Readonly<Record<Decision['kind'], boolean>> = {
  create: true,
  askApproval: true,
  openStage: true,
  passStage: true,
  pause: true,
  resume: true,
  succeed: true,
  stop: true,
  supersede: true,
  rollBack: true,
  recordRestored: true,
  recordOperation: false,
  recordLearnings: false,
  recordEvidence: false,
  recordConcern: true,
  recordClusters: true,
  exclude: true,
};

interface News extends Pick<DecisionMessage, 'rollout' | 'attempt' | 'revision'> {
  readonly commit: Oid;
  readonly owner?: string;
  readonly runbook?: string;
}

/** Undefined where the commit is nothing to tell. The commit's id is in the message's: it is put once, whoever puts it. */
export function messageForForge(
  commit: Commit,
  rollouts: ReadonlyMap<string, { readonly owner: string; readonly runbook?: string }>,
  createdAt: Instant,
): Message | undefined {
  const decision = readDecisionMessage(commit.message);
  if (decision === undefined || !isTold(decision.kind)) return undefined;
  const { rollout, attempt, revision } = decision;
  const { owner, runbook } = rollouts.get(rollout) ?? {};
  const news: News = {
    commit: commit.oid,
    rollout,
    attempt,
    revision,
    ...(owner === undefined ? {} : { owner }),
    ...(runbook === undefined ? {} : { runbook }),
  };
  return {
    id: `${commit.oid}-${FORGE_RECEIVER}`,
    receiver: FORGE_RECEIVER,
    body: JSON.stringify(news),
    createdAt,
  };
}

function isTold(kind: string): boolean {
  return Object.hasOwn(IS_TOLD, kind) && IS_TOLD[kind as Decision['kind']];
}

export interface PullRequestReceiverOptions {
  readonly forge: Forge;
  readonly git: Git;
  /** Into which pull requests are merged. */
  readonly base: string;
}

/** For all that has to be asked for one comment. */
const TIMEOUT_MS: DurationMs = 40 * SECOND;
/** A forge may need a moment to know whose commit it is. */
const SETTLED_MS = 5 * MINUTE;
/** Attempts of which it is remembered what was said, and where. Forgotten, it is asked again. */
const REMEMBERED = 1000;

export function createPullRequestReceiver(options: PullRequestReceiverOptions): BuiltInReceiver {
  const { forge, git, base } = options;
  const cache = createDocumentCache();
  const brought = new LRUCache<string, BroughtBy>({ max: REMEMBERED });
  const said = new LRUCache<string, string>({ max: REMEMBERED });

  return {
    name: 'the forge',
    timeoutMs: TIMEOUT_MS,
    async tell({ body }, { signal, now }) {
      const news = JSON.parse(body) as News;
      const stand = await standOf(git, news);
      // Another server has put it, and its commit is still to be fetched here.
      if (stand === undefined) return failed(`cannot be told: ${news.commit} of outcomes is not here yet`);
      if (stand === 'gone') return { kind: 'delivered' };
      const { attempt, commit } = stand;
      const marker = attemptMarker(attempt);
      const within = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);

      let by: BroughtBy | Refused | undefined = brought.get(marker);
      if (by === undefined) {
        const asking = await commitThatAsked(git, attempt, cache);
        by = await forge.pullRequestOf({ commit: asking, base }, within);
        if (by.kind === 'refused') return refused(by, now);
        if (by.kind === 'pullRequest' || now - attempt.createdAt > SETTLED_MS) brought.set(marker, by);
      }
      if (by.kind !== 'pullRequest') return { kind: 'delivered' };

      const { owner, runbook } = news;
      const text = attemptComment({ attempt, commit, branch: base, owner, runbook });
      if (said.get(marker) === text) return { kind: 'delivered' };
      const kept = await forge.keepComment({ pullRequest: by.number, marker, body: text }, within);
      switch (kept.kind) {
        case 'kept':
          said.set(marker, text);
          return { kind: 'delivered' };
        case 'gone':
          // Said once: the rest of the attempt is not told, either.
          brought.set(marker, { kind: 'none' });
          return {
            kind: 'gone',
            error: kept.reason,
            words: `is not told of ${news.rollout}, attempt ${news.attempt}: ${kept.reason}`,
          };
        case 'refused':
          return refused(kept, now);
      }
    },
  };
}

function failed(error: string): Posted {
  return { kind: 'failed', error, isDown: false };
}

function refused({ reason, retryAt }: Refused, now: Instant): Posted {
  const retryAfterMs = retryAt === undefined ? {} : { retryAfterMs: Math.max(0, retryAt - now) };
  return {
    kind: 'failed',
    error: `cannot be told: ${reason}`,
    isDown: true,
    saysNext: true,
    ...retryAfterMs,
  };
}

/** Further back nothing waits that long. */
const COMMITS_MAX = 2000;

/**
 * The attempt as the record has it now, and the last commit about it. Undefined while the commit that is news is not in the record
 * that was read here; `gone` where the record has no such attempt any more.
 */
async function standOf(git: Git, news: News) {
  const tip = await git.branch(OUTCOMES_BRANCH);
  let last: Oid | undefined;
  let next = tip;
  for (let seen = 0; next !== undefined && seen < COMMITS_MAX; seen++) {
    const commit: Commit | undefined = await git.commit(next).catch(unlessGone);
    if (commit === undefined) return undefined;
    const about = readDecisionMessage(commit.message);
    if (about?.rollout === news.rollout && about.attempt === news.attempt) last ??= commit.oid;
    if (commit.oid === news.commit) {
      const attempt = tip === undefined ? undefined : await attemptAt(git, tip, news);
      return attempt === undefined ? 'gone' : { attempt, commit: last ?? commit.oid };
    }
    next = commit.parents[0];
  }
  return undefined;
}

function unlessGone(error: unknown): undefined {
  if (!(error instanceof GitObjectError)) throw error;
}
