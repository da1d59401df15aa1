/** `tidegate pause`, `resume`, `approve`, `promote`, `cancel` and `retry`: entries in `ops/`. */
import type { Operation, Rollout } from '../core/model/desired.ts';
import type { RolloutName } from '../core/model/ids.ts';
import { type Attempt, isFinished, type RolloutState } from '../core/model/outcome.ts';
import { needsSigners } from '../core/plan/approvals.ts';
import { EMERGENCY_STAGE, emergencyStage } from '../core/plan/emergency.ts';
import { plural } from '../core/words.ts';
import type { OperationEntry } from '../documents/edit.ts';
import { entriesAdded, type FileChange, withFiles } from '../fleet-repo/operations.ts';
import { whyMoot } from '../reconcile/moot-operations.ts';
import { CommandError, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import {
  type Change,
  messageOf,
  type OperationOptions,
  operate,
  problem,
  refused,
  rolloutNamed,
  underWay,
  type View,
} from './operation.ts';

export interface EntryOptions extends OperationOptions {
  readonly action: Operation['action'];
  readonly rollout?: string;
  /** Every rollout that it makes sense for. */
  readonly all?: boolean;
  readonly attempt?: number;
  readonly stage?: string;
  /** With `approve`: the gate of that stage. */
  readonly gate?: string;
  readonly emergency?: boolean;
}

/** An entry, and the rollout whose file it goes into. */
type Entry = OperationEntry & { readonly rollout: RolloutName };

export async function run(options: EntryOptions, io: Io): Promise<ExitCode> {
  const { all = false, rollout, action, stage, emergency = false } = options;
  if (all === (rollout !== undefined)) {
    throw new CommandError(
      `name one rollout${TAKES_ALL.has(action) ? ', or --all of them' : ''}: tidegate ${action} --help`,
    );
  }
  if (action === 'promote' && emergency === (stage !== undefined)) {
    throw new CommandError(
      'name the stage with --stage, or go back with --emergency: tidegate promote --help',
    );
  }
  return await operate(options, io, (view) => changeOf(view, options));
}

const TAKES_ALL: ReadonlySet<Operation['action']> = new Set(['pause', 'resume']);

async function changeOf(view: View, options: EntryOptions): Promise<Change> {
  const { action, rollout, reason } = options;
  const entries = rollout === undefined ? entriesForAll(view, options) : [entryFor(view, rollout, options)];
  const files: FileChange[] = [];
  for (const { rollout: name, ...entry } of entries) {
    const file = await entriesAdded(view.git, view.head.tree, {
      rollout: name,
      entries: [entry],
      applied: view.applied,
      at: view.at,
      cache: view.cache,
    });
    if (typeof file === 'string') throw new CommandError(file);
    files.push(file);
  }
  const [first] = entries;
  const isOne = entries.length === 1;
  const verb = `${action[0]?.toUpperCase()}${action.slice(1)}`;
  const what = first?.emergency
    ? ' in an emergency'
    : first?.stage === undefined
      ? ''
      : `, stage ${first.stage}`;
  const subject = isOne ? `${verb} ${first?.rollout}${what}` : `${verb} ${plural(entries.length, 'rollout')}`;
  const trailers = entries.flatMap((entry) => [
    ['Rollout', entry.rollout] as const,
    ['Attempt', entry.attempt] as const,
    ['Stage', entry.stage] as const,
  ]);
  const signing = signingOf(view, entries);
  return {
    tree: await withFiles(view.git, view.head.tree, files),
    message: messageOf({ subject, body: [reason], trailers }),
    files,
    entries,
    ...signing,
    next: nextOf(view, options, entries),
  };
}

/** The entry, if it would have an effect. Throws what keeps it from having one. */
function entryFor(view: View, written: string, options: EntryOptions): Entry {
  const { action, stage, gate, emergency } = options;
  const { name, rollout, attempts, latest } = rolloutNamed(view, written);
  const number = options.attempt ?? (emergency ? attemptToHurry(latest, rollout) : latest.attempt);
  const intention = {
    rollout: name,
    action,
    attempt: number,
    ...(stage && { stage }),
    ...(gate && { gate }),
    ...(emergency && { emergency }),
  };
  const moot = whyMoot(intention, view);
  if (moot !== undefined) throw refused(moot);
  const attempt = attempts.find((each) => each.attempt === number);
  const pending = view.pending.filter((entry) => entry.rollout === name && entry.attempt === number);
  const done =
    attempt === undefined ? undefined : whyDone(intention, { attempt, pending, rollout, by: view.by });
  if (done !== undefined) throw problem(done);
  return entryOf(intention, view, options.reason);
}

/** The attempt under way, or the next one, where main wants to go back and no attempt has begun. */
function attemptToHurry(latest: Attempt, rollout: Rollout | undefined): number {
  const isComing = isFinished(latest) && rollout !== undefined && rollout.revision !== latest.revision;
  return isComing ? latest.attempt + 1 : latest.attempt;
}

function entryOf(
  intention: Pick<Operation, 'rollout' | 'action' | 'attempt' | 'stage' | 'gate' | 'emergency'>,
  { by }: View,
  reason: string | undefined,
): Entry {
  const { rollout, action, attempt, stage, gate, emergency } = intention;
  return {
    rollout,
    action,
    attempt,
    ...(stage === undefined ? {} : { stage }),
    ...(gate === undefined ? {} : { gate }),
    ...(emergency ? { emergency: true } : {}),
    by,
    ...(reason === undefined ? {} : { reason }),
  };
}

/** States that resuming ends. */
const HELD: ReadonlySet<Attempt['state']> = new Set(['paused', 'monitoring']);

/** Why nobody needs to say it, because it is so already or was said already. */
function whyDone(
  {
    rollout: name,
    action,
    stage,
    gate,
    emergency,
  }: Pick<Operation, 'rollout' | 'action' | 'stage' | 'gate' | 'emergency'>,
  given: {
    readonly attempt: Attempt;
    readonly pending: readonly Operation[];
    readonly rollout: Rollout | undefined;
    readonly by: string;
  },
): string | undefined {
  const { attempt, pending, rollout, by } = given;
  const said = pending.findLast((entry) => entry.action === 'pause' || entry.action === 'resume')?.action;
  const isHeld = said === undefined ? HELD.has(attempt.state) : said === 'pause';
  const isPaused = said === undefined ? attempt.state === 'paused' : said === 'pause';
  const again = (entry: Operation) =>
    entry.action === action && entry.stage === stage && entry.gate === gate && entry.emergency === emergency;
  switch (action) {
    case 'pause':
      return isPaused
        ? `${name} is paused already, in attempt ${attempt.attempt}; tidegate resume ${name} goes on`
        : undefined;
    case 'resume':
      if (!isHeld)
        return `there is nothing to resume: attempt ${attempt.attempt} of ${name} is ${attempt.state}`;
      return rollout?.suspend
        ? `spec.suspend of ${name} is true, and no operation goes past it; take it away in its file`
        : undefined;
    case 'approve':
      return (
        (gate === undefined ? whyNoApproval(given, stage) : undefined) ??
        (pending.some((entry) => again(entry) && entry.by === by && !isSigned(rollout, stage))
          ? `${by} has approved ${gate === undefined ? '' : `gate ${gate} of `}stage ${stage} already; tidegate status ${name} says what it waits for`
          : undefined)
      );
    case 'promote': {
      const state = attempt.stages.find((each) => each.name === (emergency ? EMERGENCY_STAGE : stage))?.state;
      if (emergency ? state !== undefined : state === 'passed')
        return `there is nothing to promote: ${emergency ? 'the emergency is under way' : `stage ${stage} has passed`}`;
      return pending.some(again)
        ? `that was asked for already; tidegate status ${name} says what it waits for`
        : undefined;
    }
    case 'cancel':
    case 'retry':
      return pending.some(again)
        ? `that was asked for already; tidegate status ${name} says what it waits for`
        : undefined;
  }
}

function whyNoApproval(
  {
    attempt,
    pending,
    rollout,
  }: { attempt: Attempt; pending: readonly Operation[]; rollout: Rollout | undefined },
  stage: string | undefined,
): string | undefined {
  if (attempt.stages.some(({ name }) => name === stage)) return `stage ${stage} is open already`;
  if (stage === EMERGENCY_STAGE && !pending.some(({ emergency }) => emergency)) {
    return `nobody has asked for an emergency in attempt ${attempt.attempt}; tidegate promote ${attempt.rollout} --emergency does`;
  }
  return stageOf(rollout, stage)?.approvals === 0 ? `stage ${stage} asks for no approval` : undefined;
}

/** The stage as it would open. */
function stageOf(rollout: Rollout | undefined, stage: string | undefined) {
  if (rollout === undefined) return undefined;
  return stage === EMERGENCY_STAGE
    ? emergencyStage(rollout)
    : rollout.stages.find(({ name }) => name === stage);
}

function isSigned(rollout: Rollout | undefined, stage: string | undefined): boolean {
  const declared = stageOf(rollout, stage);
  return declared !== undefined && needsSigners(declared);
}

/** `--all` stops whatever moves, and goes on only with what people stopped: a breach is looked at one by one. */
function entriesForAll(view: View, { action, reason }: EntryOptions): readonly Entry[] {
  const attempts = underWay(view.outcomes, view.rollouts).filter((attempt) => {
    const pending = view.pending.filter(
      (entry) => entry.rollout === attempt.rollout && entry.attempt === attempt.attempt,
    );
    const rollout = view.rollouts.get(attempt.rollout);
    if (
      whyDone({ rollout: attempt.rollout, action }, { attempt, pending, rollout, by: view.by }) !== undefined
    )
      return false;
    return action === 'pause' || !HELD.has(attempt.state) || attempt.cause === 'operator';
  });
  if (attempts.length === 0) {
    const because =
      action === 'pause' ? 'no rollout is under way that is not paused' : 'no rollout was paused by a person';
    throw problem(`there is nothing to ${action}: ${because}`);
  }
  return attempts.map(({ rollout, attempt }) => entryOf({ rollout, action, attempt }, view, reason));
}

/** Approvals that must be signed are, or it is said loudly that they are not. */
function signingOf(view: View, entries: readonly Entry[]): Pick<Change, 'sign' | 'warnings'> {
  const needs = entries.some(
    ({ rollout, action, stage }) => action === 'approve' && isSigned(view.rollouts.get(rollout), stage),
  );
  if (!needs) return { sign: false, warnings: [] };
  if (view.canSign) return { sign: true, warnings: [] };
  const warning =
    'THIS APPROVAL WILL NOT COUNT: the stage needs approvals of several people, told apart by their signatures, and git is ' +
    'not set up to sign with an SSH key here. Run git config gpg.format ssh and git config user.signingKey ' +
    '~/.ssh/id_ed25519.pub, have that key in trust/allowed_signers, and approve again.';
  return { sign: false, warnings: [warning] };
}

const STATES_OFFERING: ReadonlySet<RolloutState> = new Set(['running', 'waitingForApproval']);

function nextOf(
  view: View,
  { action, emergency }: EntryOptions,
  entries: readonly Entry[],
): readonly string[] {
  const [first, ...more] = entries;
  if (first === undefined) return [];
  const name = more.length === 0 ? first.rollout : undefined;
  const attempt = view.outcomes.get(first.rollout)?.find((each) => each.attempt === first.attempt);
  const watch = `tidegate status${name === undefined ? '' : ` ${name}`} shows when the server has done it.`;
  switch (action) {
    case 'pause':
      return [
        'No further device is offered anything; who has the revision keeps it.',
        `${watch} tidegate resume goes on.`,
      ];
    case 'resume':
      return ['It goes on where it stopped; failures seen by then do not count any more.', watch];
    case 'approve': {
      const stage = stageOf(view.rollouts.get(first.rollout), first.stage);
      const needed =
        stage === undefined ? '' : `${stage.approvals} ${stage.approvals === 1 ? 'approval' : 'approvals'}`;
      return [`The stage opens once it has ${needed} and its turn has come.`, watch];
    }
    case 'promote':
      return emergency
        ? [
            'All devices go back at once, past stages, freeze and windows; approvals and pauses still hold it.',
            watch,
          ]
        : ['What is left of its soak and exposure is skipped; its thresholds still hold.', watch];
    case 'cancel':
      return [
        attempt !== undefined && STATES_OFFERING.has(attempt.state)
          ? 'Offers stop and the attempt ends; who has the revision keeps it. tidegate rollback takes it back.'
          : 'The attempt ends; who has the revision keeps it. tidegate rollback takes it back.',
        watch,
      ];
    case 'retry':
      return ['Another attempt begins with its first stage.', watch];
  }
}
