/**
 * What is announced: plain data, made from a decision as it is recorded or from a deadline. The same decision gives the same
 * notice whoever makes it. No device ids and no secrets are in it: outcomes have none, and nothing else is taken.
 */

import type { Rollout } from '../core/model/desired.ts';
import type { RolloutName } from '../core/model/ids.ts';
import { sha256Hex } from '../core/model/manifest.ts';
import type { Attempt, Restored } from '../core/model/outcome.ts';
import type { Occasion } from '../core/model/receiver.ts';
import { formatInstant, type Instant } from '../core/model/time.ts';
import type { Decision } from '../core/plan/contract.ts';
import type { Reminder } from '../core/plan/reminder.ts';
import type { RecordedDecision } from '../fleet-repo/recorded-decision.ts';

export interface Notice {
  /** Stable, and without characters that anybody has to escape. */
  readonly id: string;
  readonly type: `tidegate.rollout.${Occasion}`;
  /** When it was decided, or when the reminder was due. */
  readonly at: Instant;
  readonly fleet: string;
  readonly rollout: RolloutName;
  readonly attempt: number;
  readonly stage?: string;
  /** What happened, in a line. */
  readonly subject: string;
  readonly because?: string;
  readonly owner?: string;
  readonly runbook?: string;
  readonly deadlineAt?: Instant;
  /** `critical`: devices went back, or stand still, and a person has to look. `warning`: a person is waited for. */
  readonly severity: 'info' | 'warning' | 'critical';
  /** Of `outcomes`. */
  readonly commit?: string;
  readonly snapshot: string;
  readonly distributionSet: string;
  /** Where to go on: the pull request that restores main. */
  readonly url?: string;
}

/** A notice is read on a phone: who wants more follows the commit. */
const BECAUSE_LENGTH_MAX = 2000;
const SUBJECT_LENGTH_MAX = 300;

/**
 * What each kind of decision is announced as; undefined: it is not. `recordRestored` says several things, and the
 * document which of them.
 */
const OCCASIONS_OF: Readonly<Record<Decision['kind'], Occasion | 'restoration' | undefined>> = {
  create: 'created',
  askApproval: 'approvalNeeded',
  openStage: 'stageOpened',
  passStage: 'stagePassed',
  pause: 'paused',
  resume: 'resumed',
  succeed: 'succeeded',
  stop: 'stopped',
  supersede: 'superseded',
  rollBack: 'rolledBack',
  recordRestored: 'restoration',
  recordOperation: undefined,
  recordLearnings: undefined,
  recordEvidence: undefined,
  recordConcern: 'concern',
  recordClusters: undefined,
  exclude: 'cohortReturned',
};

const SEVERITIES: Readonly<Partial<Record<Occasion, Notice['severity']>>> = {
  approvalNeeded: 'warning',
  paused: 'critical',
  rolledBack: 'critical',
  diverged: 'critical',
  cohortReturned: 'warning',
  concern: 'warning',
  stopped: 'warning',
  deadline: 'warning',
};

/** What a decision of this kind may be announced as, before its document is read. */
export function occasionsOf(kind: string): readonly Occasion[] {
  const occasion = isKind(kind) ? OCCASIONS_OF[kind] : undefined;
  if (occasion === undefined) return [];
  return occasion === 'restoration' ? ['diverged', 'restored'] : [occasion];
}

export function isKind(kind: string): kind is Decision['kind'] {
  return Object.hasOwn(OCCASIONS_OF, kind);
}

/** Undefined where the decision is nothing to announce. */
export function noticeOfDecision({
  decision,
  before,
  commit,
  at,
  fleet,
  rollout,
}: {
  readonly decision: RecordedDecision;
  /** The attempt before the decision; needed for `recordRestored` alone. */
  readonly before?: Attempt | undefined;
  readonly commit: string;
  readonly at: Instant;
  readonly fleet: string;
  /** As main has it now; it may have been removed. */
  readonly rollout?: Pick<Rollout, 'owner' | 'runbook'> | undefined;
}): Notice | undefined {
  const { attempt, stage, summary, because, kind } = decision;
  const known = OCCASIONS_OF[kind];
  const occasion = known === 'restoration' ? newsOf(attempt.restored, before?.restored) : known;
  if (occasion === undefined) return undefined;
  const url = occasion === 'diverged' ? attempt.restored?.pullRequest : undefined;
  return {
    id: commit,
    ...about(occasion, attempt, rollout),
    at,
    fleet,
    ...(stage === undefined ? {} : { stage }),
    subject: shortened(summary, SUBJECT_LENGTH_MAX),
    ...(because === undefined ? {} : { because: shortened(because, BECAUSE_LENGTH_MAX) }),
    ...ofBreach(occasion, attempt),
    commit,
    ...(url === undefined ? {} : { url }),
  };
}

export function noticeOfReminder({
  reminder,
  attempt,
  fleet,
  rollout,
}: {
  readonly reminder: Reminder;
  readonly attempt: Attempt;
  readonly fleet: string;
  readonly rollout?: Pick<Rollout, 'owner' | 'runbook'> | undefined;
}): Notice {
  const { deadlineAt, remainingMs, stage, consequence } = reminder;
  const what = stage === undefined ? `attempt ${attempt.attempt}` : `stage ${stage}`;
  const has = remainingMs > 0 ? 'has a deadline at' : 'has passed its deadline of';
  return {
    id: reminderId(fleet, reminder),
    ...about('deadline', attempt, rollout),
    severity: remainingMs > 0 ? 'warning' : 'critical',
    at: remindedAt(reminder),
    fleet,
    ...(stage === undefined ? {} : { stage }),
    subject: shortened(`${attempt.rollout}: ${what} ${has} ${formatInstant(deadlineAt)}`, SUBJECT_LENGTH_MAX),
    because: shortened(consequence, BECAUSE_LENGTH_MAX),
    deadlineAt,
  };
}

/** How bad the breach is that a halt follows from, and by when somebody has to have decided. */
function ofBreach(
  occasion: Occasion,
  { breach, cause, concerns }: Attempt,
): Partial<Pick<Notice, 'severity' | 'deadlineAt'>> {
  if (occasion === 'concern') {
    const last = concerns?.at(-1);
    return last === undefined ? {} : { deadlineAt: last.reviewBy };
  }
  const isOfBreach = cause === 'gate' || cause === 'errorThreshold' || cause === 'deadline';
  if (breach === undefined || !isOfBreach || (occasion !== 'paused' && occasion !== 'rolledBack')) return {};
  const isUrgent = occasion === 'rolledBack' || breach.severity === 'high' || breach.severity === 'critical';
  return {
    severity: isUrgent ? 'critical' : 'warning',
    ...(breach.decideBy === undefined ? {} : { deadlineAt: breach.decideBy }),
  };
}

/** The same for every pass that returns the reminder, in every process. */
export function reminderId(fleet: string, reminder: Reminder): string {
  const { rollout, attempt, stage = '', deadlineAt, remainingMs } = reminder;
  const text = JSON.stringify([fleet, rollout, attempt, stage, deadlineAt, remainingMs]);
  return `deadline-${sha256Hex(text).slice(0, 32)}`;
}

/** When people were to be reminded. */
export function remindedAt({ deadlineAt, remainingMs }: Reminder): Instant {
  return deadlineAt - Math.max(0, remainingMs);
}

function about(
  occasion: Occasion,
  { rollout: name, attempt, snapshot, manifest }: Attempt,
  rollout: Pick<Rollout, 'owner' | 'runbook'> | undefined,
) {
  return {
    type: `tidegate.rollout.${occasion}`,
    rollout: name,
    attempt,
    severity: SEVERITIES[occasion] ?? 'info',
    snapshot,
    distributionSet: manifest.distributionSet,
    ...(rollout === undefined ? {} : { owner: rollout.owner }),
    ...(rollout?.runbook === undefined ? {} : { runbook: rollout.runbook }),
  } as const;
}

/** What the record of a restoration says that it did not say before. A pull request that was opened is worth a second word. */
function newsOf(after: Restored | undefined, before: Restored | undefined): Occasion | undefined {
  if (after === undefined) return undefined;
  const isStuck = after.main === 'diverged';
  if (isStuck && (before?.main !== 'diverged' || before.pullRequest !== after.pullRequest)) return 'diverged';
  const isBack = after.main === 'agrees' && before?.main !== 'agrees';
  return isBack || after.completedAt !== before?.completedAt ? 'restored' : undefined;
}

function shortened(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
