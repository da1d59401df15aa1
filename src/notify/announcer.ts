/**
 * Puts decisions and deadlines into the outbox. What is announced follows from the commits of `outcomes` and not from who
 * made them: a process that ends after a commit leaves it to the next pass, whoever runs that. So each is put at least once, and
 * as the commit's id is in the message's, it counts once.
 */
import type { DesiredState } from '../core/model/desired.ts';
import { sha256Hex } from '../core/model/manifest.ts';
import type { Outcomes } from '../core/model/outcome.ts';
import type { Receiver } from '../core/model/receiver.ts';
import type { Instant } from '../core/model/time.ts';
import type { Reminder } from '../core/plan/reminder.ts';
import { attemptAt, readDecisionMessage } from '../fleet-repo/recorded-decision.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Commit, Git, Oid } from '../git/git.ts';
import type { Announced, Announcer } from '../reconcile/announcer.ts';
import type { Message, Outbox } from '../store/outbox.ts';
import { cloudEvent } from './cloud-event.ts';
import { GIVE_UP_MS } from './delivery.ts';
import {
  isKind,
  type Notice,
  noticeOfDecision,
  noticeOfReminder,
  occasionsOf,
  remindedAt,
  reminderId,
} from './notice.ts';
import { messageForForge } from './pull-request-receiver.ts';
import { type Hooks, receiverKey, resolveReceiver } from './receivers.ts';
import { slackMessage } from './slack-message.ts';

export interface AnnouncerOptions {
  readonly git: Git;
  readonly outbox: Pick<Outbox, 'put'>;
  readonly hooks: Hooks;
  /** Whether what became of attempts is told on their pull requests. */
  readonly hasForge: boolean;
  /** Called with each announcement: who is told now, whether or not there was anything to put. */
  readonly onReceivers: (receivers: readonly Receiver[], news: { readonly hasPut: boolean }) => void;
  readonly onTrouble: (message: string) => void;
}

/** Further back nothing is announced: nobody wants a thousand messages at once. */
const COMMITS_MAX = 1000;
/** One list, so that whoever compares sees no news. */
const NOBODY: readonly Receiver[] = [];
/** Messages of so many commits are put together. */
const COMMITS_PER_PUT = 100;

export function createAnnouncer(options: AnnouncerOptions): Announcer {
  const { git, outbox, hooks, hasForge, onReceivers, onTrouble } = options;
  /** Of the reminders in the last plan, those that were put. */
  let reminded: ReadonlySet<string> = new Set();
  let trouble: string | undefined;

  function tell(message: string | undefined): void {
    if (message !== undefined && message !== trouble) onTrouble(message);
    trouble = message;
  }

  /** Whether anything was put. */
  async function announceCommits(commits: readonly Commit[], given: Given): Promise<boolean> {
    let hasPut = false;
    for (let from = 0; from < commits.length; from += COMMITS_PER_PUT) {
      const messages: Message[] = [];
      for (const commit of commits.slice(from, from + COMMITS_PER_PUT)) {
        messages.push(...messagesFor(await noticeOf(git, commit, given), given));
        const onPullRequest = hasForge
          ? messageForForge(commit, given.desired.rollouts, given.now)
          : undefined;
        if (onPullRequest !== undefined) messages.push(onPullRequest);
      }
      if (messages.length === 0) continue;
      await outbox.put(messages);
      hasPut = true;
    }
    return hasPut;
  }

  async function announceReminders(given: Given): Promise<boolean> {
    const { desired, outcomes, reminders, now } = given;
    const { name } = desired.fleet;
    const news = reminders.filter((each) => !reminded.has(reminderId(name, each)));
    const messages = news.flatMap((reminder) => {
      const attempt = outcomes.get(reminder.rollout)?.find((each) => each.attempt === reminder.attempt);
      // The outbox may have forgotten that it had one so old.
      if (attempt === undefined || now - remindedAt(reminder) > GIVE_UP_MS) return [];
      const rollout = desired.rollouts.get(reminder.rollout);
      return messagesFor(noticeOfReminder({ reminder, attempt, fleet: name, rollout }), given);
    });
    if (messages.length > 0) await outbox.put(messages);
    reminded = new Set(reminders.map((each) => reminderId(name, each)));
    return messages.length > 0;
  }

  return {
    async announce(given) {
      const { tip, announced, desired, now } = given;
      const receivers = desired.fleet.notifications ?? NOBODY;
      const told = { ...given, receivers };
      let hasPut = false;
      try {
        if (receivers.length > 0 || hasForge) {
          const isNews = tip !== undefined && announced !== undefined && tip !== announced;
          const commits = isNews ? await commitsSince(git, announced, tip) : [];
          if (commits === undefined) {
            tell(
              `what was decided up to ${tip} is not announced: the last commit that was announced, ${announced}, is not among ` +
                `the ${COMMITS_MAX} before it; read outcomes for what happened`,
            );
          } else {
            // What could not have been delivered any more.
            const recent = commits.filter(({ committedAt }) => now - committedAt <= GIVE_UP_MS);
            hasPut = await announceCommits(recent, told);
          }
          hasPut = (await announceReminders(told)) || hasPut;
          if (commits !== undefined) tell(undefined);
        }
        return tip ?? announced;
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        tell(`decisions cannot be announced: ${reason}; it is tried again`);
        return announced;
      } finally {
        onReceivers(receivers, { hasPut });
      }
    },

    flaws({ notifications = [] }) {
      const troubles = notifications.flatMap((receiver) => {
        const { target } = resolveReceiver(receiver, hooks);
        return 'trouble' in target ? [target.trouble] : [];
      });
      return [...new Set(troubles)];
    },
  };
}

interface Given {
  readonly desired: DesiredState;
  readonly outcomes: Outcomes;
  readonly reminders: readonly Reminder[];
  readonly receivers: readonly Receiver[];
  readonly now: Instant;
}

/**
 * The commits after `announced`, oldest first; undefined where it is not behind `tip`: commits were taken away from the branch,
 * there are too many, or this copy of it begins later.
 */
async function commitsSince(
  git: Git,
  announced: Announced,
  tip: Oid,
): Promise<readonly Commit[] | undefined> {
  const commits: Commit[] = [];
  let next: Oid | undefined = tip;
  while (next !== undefined && next !== announced) {
    if (commits.length === COMMITS_MAX) return undefined;
    const commit: Commit | undefined = await git.commit(next).catch(unlessGone);
    if (commit === undefined) return undefined;
    commits.push(commit);
    next = commit.parents[0];
  }
  return next === undefined && announced !== null ? undefined : commits.reverse();
}

function unlessGone(error: unknown): undefined {
  if (!(error instanceof GitObjectError)) throw error;
}

/** What the commit is announced as; its document is read only if somebody wants to know. */
async function noticeOf(git: Git, commit: Commit, given: Given): Promise<Notice | undefined> {
  const message = readDecisionMessage(commit.message);
  if (message === undefined || !isKind(message.kind)) return undefined;
  const occasions = occasionsOf(message.kind);
  if (!given.receivers.some(({ on }) => occasions.some((occasion) => on.includes(occasion))))
    return undefined;
  const attempt = await attemptAt(git, commit, message);
  if (attempt === undefined) return undefined;
  const [parent] = commit.parents;
  const comparesWith = message.kind === 'recordRestored' ? parent : undefined;
  const before = comparesWith === undefined ? undefined : await attemptAt(git, comparesWith, message);
  const { desired } = given;
  return noticeOfDecision({
    decision: { ...message, kind: message.kind, attempt },
    before,
    commit: commit.oid,
    at: commit.committedAt,
    fleet: desired.fleet.name,
    rollout: desired.rollouts.get(message.rollout),
  });
}

/** One for each receiver that wants to know, in its format. */
function messagesFor(
  notice: Notice | undefined,
  { receivers, now }: Pick<Given, 'receivers' | 'now'>,
): readonly Message[] {
  if (notice === undefined) return [];
  const wanting = receivers.filter(({ on }) =>
    on.some((occasion) => notice.type === `tidegate.rollout.${occasion}`),
  );
  return wanting.map((receiver) => {
    const key = receiverKey(receiver);
    return {
      // Standard Webhooks signs it between dots: it has none itself.
      id: `${notice.id}-${sha256Hex(key).slice(0, 12)}`,
      receiver: key,
      body: receiver.format === 'slack' ? slackMessage(notice) : cloudEvent(notice),
      createdAt: now,
    };
  });
}
