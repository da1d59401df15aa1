/**
 * `tidegate rollback`: makes main want what worked before. To known-good of an attempt that is under way or failed, devices return
 * at once; to an earlier success the stages lead back, unless it is an emergency.
 */
import type { RolloutName } from '../core/model/ids.ts';
import { type Attempt, isFinished, knownGoodOf } from '../core/model/outcome.ts';
import { entriesAdded, type FileChange, withFiles } from '../fleet-repo/operations.ts';
import { computeRestoration, type Restoration } from '../fleet-repo/restore.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Oid } from '../git/git.ts';
import { changedPaths } from '../git/tree.ts';
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
  type View,
} from './operation.ts';
import { cohortChange } from './operation-cohort.ts';

export interface RollbackOptions extends OperationOptions {
  readonly rollout: string;
  /** The number of an attempt that succeeded, or `known-good`. */
  readonly to: string;
  readonly emergency: boolean;
  /** A condition: only devices that match it go back, to what they had before. */
  readonly where?: string;
}

export async function run(options: RollbackOptions, io: Io): Promise<ExitCode> {
  if (!/^(known-good|[1-9]\d*)$/.test(options.to)) {
    throw new CommandError(
      `--to must be known-good or the number of an attempt, found ${JSON.stringify(options.to)}; tidegate status names both`,
    );
  }
  const { where } = options;
  if (where !== undefined && (options.to !== 'known-good' || options.emergency)) {
    throw new CommandError(
      '--where takes some devices back to what they had before, at once; leave out --to and --emergency',
    );
  }
  return await operate(options, io, (view) =>
    where === undefined ? changeOf(view, options) : cohortChange(view, { ...options, where }),
  );
}

async function changeOf(view: View, options: RollbackOptions): Promise<Change> {
  const { git, head } = view;
  const { name, rollout, attempts, latest } = rolloutNamed(view, options.rollout);
  const target = targetOf({ name, attempts, latest }, options.to);
  if (rollout === undefined) {
    throw problem(
      `${name} was removed from main; bring its file back from attempt ${target.attempt}: git checkout ${target.commit} -- fleet/rollouts`,
    );
  }
  const knownGood = knownGoodOf(attempts);
  const isAtOnce = target === knownGood;
  if (rollout.revision === target.revision && latest.excluding === undefined) {
    throw problem(wantedAlready(name, target));
  }
  if (isAtOnce && options.emergency) {
    throw problem(
      `no emergency is needed: to known-good (attempt ${target.attempt}) devices return at once; leave out --emergency`,
    );
  }
  const restoration = await restorationTo(view, { name, latest, target });
  const entries = options.emergency ? [emergencyEntry(view, { name, target, latest }, options)] : [];
  const files = await changedFiles(view, restoration.tree);
  for (const { rollout: _rollout, ...entry } of entries) {
    const file = await entriesAdded(git, head.tree, { ...view, rollout: name, entries: [entry] });
    if (typeof file === 'string') throw new CommandError(file);
    files.push(file);
  }
  const operations = files.filter(({ path }) => path.startsWith('ops/'));
  return {
    tree: operations.length === 0 ? restoration.tree : await withFiles(git, restoration.tree, operations),
    message: rollbackMessage(restoration, { name, latest, target, reason: options.reason }),
    files,
    entries,
    sign: false,
    warnings: [],
    next: nextOf({ name, latest, target, isAtOnce, rollout }, options),
  };
}

/** Known-good of what is under way or failed, or the attempt that was named, which must have succeeded. */
function targetOf(
  { name, attempts, latest }: { name: RolloutName; attempts: readonly Attempt[]; latest: Attempt },
  to: string,
): Attempt {
  const knownGood = knownGoodOf(attempts);
  const succeeded = attempts.filter(({ state }) => state === 'succeeded');
  const listed = succeeded
    .map(({ attempt, manifest }) => `${attempt} (${manifest.distributionSet})`)
    .join(', ');
  if (to !== 'known-good') {
    const named = attempts.find(({ attempt }) => String(attempt) === to);
    if (named?.state === 'succeeded') return named;
    const found = named === undefined ? 'is not there' : `did not succeed (${named.state})`;
    throw problem(
      `attempt ${to} of ${name} ${found}; ${listed === '' ? 'none has succeeded yet' : `these have: ${listed}`}`,
    );
  }
  if (knownGood === undefined) {
    const next = isFinished(latest)
      ? 'change what is installed'
      : `tidegate cancel ${name} stops the attempt`;
    throw problem(`${name} has no known-good yet, because no attempt has succeeded; ${next}`);
  }
  if (knownGood !== latest) return knownGood;
  const earlier =
    succeeded.length > 1
      ? `--to goes back to an earlier one: ${listed}`
      : 'there is no earlier one to go back to';
  throw problem(
    `there is nothing to roll back: attempt ${latest.attempt} succeeded and is known-good; ${earlier}`,
  );
}

function wantedAlready(name: RolloutName, { manifest }: Attempt): string {
  return `main wants ${manifest.distributionSet} already; tidegate status ${name} shows how far the way back is`;
}

async function restorationTo(
  { git, head, cache }: View,
  { name, latest, target }: { name: RolloutName; latest: Attempt; target: Attempt },
): Promise<Restoration> {
  const restore = { rollout: name, attempt: latest, knownGood: target };
  const found = await computeRestoration(git, { restore, head, cache }).catch((error: unknown) => {
    if (!(error instanceof GitObjectError)) throw error;
    throw new CommandError(
      `the snapshot of attempt ${target.attempt} is not in this clone (${error.message}); git fetch --unshallow brings it, or use a full clone`,
    );
  });
  if (found?.tree === head.tree) throw problem(wantedAlready(name, target));
  if (found !== undefined) return found;
  throw problem(
    `no commit could be computed that brings ${target.manifest.distributionSet} back and changes nothing else; set spec.distributionSet of ${name} back by hand`,
  );
}

function emergencyEntry(
  view: View,
  { name, target, latest }: { name: RolloutName; target: Attempt; latest: Attempt },
  { reason }: RollbackOptions,
): Change['entries'][number] {
  const attempt = latest.attempt + 1;
  const intention = { rollout: name, action: 'promote', attempt, emergency: true } as const;
  const wanted = view.rollouts.get(name);
  // Judged by what main wants after this commit.
  const rollouts = new Map(view.rollouts);
  if (wanted !== undefined)
    rollouts.set(name, { ...wanted, revision: target.revision, manifest: target.manifest });
  const moot = whyMoot(intention, { rollouts, outcomes: view.outcomes });
  if (moot !== undefined) throw refused(moot);
  return { ...intention, by: view.by, ...(reason === undefined ? {} : { reason }) };
}

/** The files that the restoration changes, as texts. A file that it removes becomes an empty one here, for showing only. */
async function changedFiles({ git, head }: View, tree: Oid): Promise<FileChange[]> {
  const text = async (oid: Oid | undefined) =>
    oid === undefined ? undefined : new TextDecoder('utf-8', { ignoreBOM: true }).decode(await git.blob(oid));
  const files: FileChange[] = [];
  for (const { path, before, after } of await changedPaths(git, head.tree, tree)) {
    files.push({ path, before: await text(before?.oid), after: (await text(after?.oid)) ?? '' });
  }
  return files;
}

function rollbackMessage(
  restoration: Restoration,
  given: { name: RolloutName; latest: Attempt; target: Attempt; reason: string | undefined },
): string {
  const { name, latest, target, reason } = given;
  const { snapshot } = restoration;
  const proof =
    snapshot === target.snapshot
      ? `fleet/ is the snapshot ${snapshot} of attempt ${target.attempt} again.`
      : `fleet/ is now snapshot ${snapshot}: ${name} as in attempt ${target.attempt}, with what others committed since.`;
  return messageOf({
    subject: restoration.subject,
    body: [restoration.why, reason, proof],
    trailers: [
      ['Snapshot', snapshot],
      ['Rollout', name],
      ['Attempt', latest.attempt],
      ['Revision', target.revision],
    ],
  });
}

function nextOf(
  given: {
    name: RolloutName;
    latest: Attempt;
    target: Attempt;
    isAtOnce: boolean;
    rollout: { readonly stages: readonly { readonly approvals: number }[] };
  },
  { emergency }: RollbackOptions,
): readonly string[] {
  const { name, latest, target, isAtOnce, rollout } = given;
  const watch = `tidegate status ${name} shows how far it is.`;
  if (isAtOnce)
    return [`Devices return to ${target.manifest.distributionSet} at once, without stages. ${watch}`];
  const number = latest.attempt + 1;
  if (!emergency)
    return [`Attempt ${number} begins and leads back stage by stage; --emergency would skip them. ${watch}`];
  const approvals = Math.max(...rollout.stages.map((stage) => stage.approvals));
  const opens = `Attempt ${number} opens for all devices at once, past freeze and windows`;
  if (approvals === 0) return [`${opens}. ${watch}`];
  return [
    `${opens}, after ${approvals} ${approvals === 1 ? 'approval' : 'approvals'}: tidegate approve ${name} --stage emergency. ${watch}`,
  ];
}
