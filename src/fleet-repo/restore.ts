/**
 * Makes main want the known-good revision again. The tree is computed, never merged. T1 sets the paths that the
 * commits since known-good changed, as far as they touch this rollout, back to their known-good content; it is taken
 * only if nothing else changes with it. T2 changes one value: the rollout's distribution set. When main refuses our
 * commit it waits on a branch of its own.
 */
import type { DesiredState } from '../core/model/desired.ts';
import type { CommitId, RolloutName, SnapshotId } from '../core/model/ids.ts';
import type { Instant } from '../core/model/time.ts';
import type { Restore, RestoreResult } from '../core/plan/contract.ts';
import { compileCondition } from '../core/target/condition.ts';
import { setDistributionSet } from '../documents/edit.ts';
import { type DocumentCache, loadingDesired } from '../documents/load.ts';
import type { Commit, Git, NewCommit, Oid } from '../git/git.ts';
import { changedPaths, entryAt, firstParentLog, type PathContent, withChanges } from '../git/tree.ts';
import { inTurns } from '../turns.ts';
import { readDocuments } from './snapshot.ts';

/** A known-good commit further back than this is not looked for: T2 does without it. */
const HISTORY_MAX = 1000;

/** Folders whose documents a restoration must not touch. */
const FOREIGN = /^fleet\/(gates|flags|groups|sites|devices)\/|^fleet\/fleet\.ya?ml$/;

export interface Restoration {
  readonly tree: Oid;
  /** What `fleet/` is in it. */
  readonly snapshot: SnapshotId;
  readonly subject: string;
  /** Ends without a newline. */
  readonly why: string;
}

/**
 * Computes the restoring commit on `tip`, the commit of `branch` that was planned from, and moves the branch to it.
 * `lost`: the branch moved meanwhile, perhaps to something else than what failed; the next pass decides again.
 */
export async function restoreMain(
  git: Git,
  given: {
    restore: Restore;
    branch: string;
    tip: Oid;
    at: Instant;
    cache: DocumentCache;
    sign?: NewCommit['sign'];
  },
): Promise<RestoreResult | { readonly kind: 'lost' }> {
  const { restore, branch, tip, at, cache } = given;
  const restoration = await computeRestoration(git, { restore, head: await git.commit(tip), cache });
  if (restoration === undefined) {
    return {
      kind: 'diverged',
      reason:
        `no commit could be computed that brings ${restore.knownGood.manifest.distributionSet} back without changing ` +
        `more; set spec.${restore.attempt.excluding === undefined ? 'distributionSet' : 'targetCondition'} of ` +
        `${restore.rollout} back by hand`,
    };
  }
  const { tree, snapshot } = restoration;
  const commit = await git.writeCommit({
    tree,
    parents: [tip],
    message: messageOf(restore, restoration),
    at,
    ...(given.sign === undefined ? {} : { sign: given.sign }),
  });
  const moved = await git.moveBranch({ branch, from: tip, to: commit });
  switch (moved.kind) {
    case 'moved':
      return { kind: 'pushed', commit: commit as CommitId, snapshot };
    case 'lost':
      return moved;
    case 'refused': {
      const aside = `tidegate/rollback/${restore.rollout}/${restore.attempt.attempt}`;
      const from = await git.branch(aside);
      const set = await git.moveBranch({ branch: aside, from, to: commit });
      return set.kind === 'moved'
        ? {
            kind: 'diverged',
            branch: aside,
            reason: `${moved.reason}; the restoring commit is on branch ${aside}`,
          }
        : { kind: 'diverged', reason: moved.reason };
    }
  }
}

/** What brings `restore.knownGood` back on `head` and changes nothing else; undefined where nothing does. */
export async function computeRestoration(
  git: Git,
  given: { restore: Restore; head: Commit; cache: DocumentCache },
): Promise<Restoration | undefined> {
  const context = { git, ...given };
  const found = (await restorePaths(context)) ?? (await restoreDistributionSet(context));
  if (found === undefined) return undefined;
  const snapshot = ((await entryAt(git, found.tree, 'fleet'))?.oid ?? '') as SnapshotId;
  return { ...found, snapshot };
}

interface Context {
  readonly git: Git;
  readonly head: Commit;
  readonly restore: Restore;
  readonly cache: DocumentCache;
}

interface Loaded {
  readonly desired: DesiredState;
  readonly paths: ReadonlyMap<RolloutName, readonly string[]>;
}

/** T1. Undefined where it does not apply, does not validate or would change more than this rollout. */
async function restorePaths(context: Context): Promise<Omit<Restoration, 'snapshot'> | undefined> {
  const { git, head, restore } = context;
  const { knownGood, rollout } = restore;
  const since = await firstParentLog(git, head.oid, (commit) => commit.oid === knownGood.commit, HISTORY_MAX);
  if (since.at(-1)?.parents[0] !== knownGood.commit) return undefined;
  const base = await knownGoodTree(context);
  const [before, now] = [await load(context, base), await load(context, head.tree)];
  if (before === undefined || now === undefined) return undefined;

  const own = new Set([...(before.paths.get(rollout) ?? []), ...(now.paths.get(rollout) ?? [])]);
  const touching: Commit[] = [];
  const paths = new Set<string>();
  for (const [index, commit] of since.entries()) {
    const changed = await changedPaths(git, since[index + 1]?.tree ?? base, commit.tree, 'fleet');
    if (!changed.some(({ path }) => own.has(path))) continue;
    touching.push(commit);
    for (const { path } of changed) paths.add(path);
  }
  const changes = new Map<string, PathContent | null>();
  for (const path of paths) changes.set(path, (await entryAt(git, base, path)) ?? null);
  if (changes.size === 0) return undefined;

  const tree = await withChanges(git, head.tree, changes);
  if (!(await restoresOnlyThis(context, { tree, now }))) return undefined;
  return { tree, ...explain(restore, touching) };
}

/** T2. Undefined where even the one value cannot be set back. */
async function restoreDistributionSet(context: Context): Promise<Omit<Restoration, 'snapshot'> | undefined> {
  const { git, head, restore } = context;
  const { knownGood, rollout } = restore;
  const now = await load(context, head.tree);
  if (now === undefined) return undefined;
  const name = knownGood.manifest.distributionSet;
  for (const path of now.paths.get(rollout) ?? []) {
    const file = await entryAt(git, head.tree, path);
    if (file === undefined || !path.startsWith('fleet/rollouts/')) continue;
    const text = setDistributionSet(new TextDecoder().decode(await git.blob(file.oid)), name);
    if (text === undefined) continue;
    const oid = await git.writeBlob(new TextEncoder().encode(text));
    const changes = new Map<string, PathContent | null>([[path, { mode: file.mode, oid }]]);
    if (!now.desired.distributionSets.has(name)) await bringBack(context, changes);
    const tree = await withChanges(git, head.tree, changes);
    if (await restoresOnlyThis(context, { tree, now })) return { tree, ...explain(restore, []) };
  }
  return undefined;
}

/** The known-good distribution set's file, where it was deleted since. */
async function bringBack(context: Context, changes: Map<string, PathContent | null>): Promise<void> {
  const { git, restore } = context;
  const base = await knownGoodTree(context);
  const before = await load(context, base);
  for (const path of before?.paths.get(restore.rollout) ?? []) {
    const file = await entryAt(git, base, path);
    if (file !== undefined && path.startsWith('fleet/distribution-sets/')) changes.set(path, file);
  }
}

/** A tree with the known-good snapshot as its `fleet/`. `outcomes` links the snapshot, so it is there whatever became of main. */
function knownGoodTree({ git, restore }: Context): Promise<Oid> {
  return git.writeTree([{ name: 'fleet', mode: '040000', oid: restore.knownGood.snapshot }]);
}

/** Whether the tree validates, has known-good for this rollout, and leaves everything else as main has it now. */
async function restoresOnlyThis(context: Context, given: { tree: Oid; now: Loaded }): Promise<boolean> {
  const { git, head, restore } = context;
  const after = await load(context, given.tree);
  if (after === undefined) return false;
  const { attempt, knownGood } = restore;
  const wanted = after.desired.rollouts.get(restore.rollout);
  if (wanted?.revision !== knownGood.revision) return false;
  // What failed may have been not the revision but the devices that were to have it, too.
  if (attempt.excluding !== undefined && !isSameCondition(wanted.condition, knownGood.condition))
    return false;
  const changed = await changedPaths(git, head.tree, given.tree, 'fleet');
  if (changed.some(({ path }) => FOREIGN.test(path))) return false;
  return others(after.desired, restore.rollout) === others(given.now.desired, restore.rollout);
}

function isSameCondition(a: string, b: string): boolean {
  return compileCondition(a).canonical === compileCondition(b).canonical;
}

/** Every rollout but one, as text: one loader wrote both sides, so equal rollouts have equal text. */
function others(desired: DesiredState, rollout: RolloutName): string {
  const rest = [...desired.rollouts.values()].filter(({ name }) => name !== rollout);
  return JSON.stringify(rest.sort((a, b) => (a.name < b.name ? -1 : 1)));
}

async function load(context: Context, tree: Oid): Promise<Loaded | undefined> {
  const files = await readDocuments(context.git, { tree, folder: 'fleet', cache: context.cache });
  const at = { snapshot: '' as SnapshotId, commit: '' as CommitId };
  const { desired, paths } = await inTurns(loadingDesired(files, at));
  return desired === undefined ? undefined : { desired, paths };
}

function explain(restore: Restore, undone: readonly Commit[]): Pick<Restoration, 'subject' | 'why'> {
  const [only, ...more] = undone;
  if (only !== undefined && more.length === 0) {
    const [parent] = only.parents;
    const reverts =
      only.parents.length > 1
        ? `This reverts commit ${only.oid}, reversing\nchanges made to ${parent}.`
        : `This reverts commit ${only.oid}.`;
    return { subject: `Revert "${only.message.split('\n')[0]}"`, why: reverts };
  }
  const set = restore.knownGood.manifest.distributionSet;
  const why =
    undone.length === 0
      ? `Only the distribution set of ${restore.rollout} is set back: what else was committed since stays.`
      : `These commits are undone:\n\n${undone.map((commit) => `- ${commit.oid} ${commit.message.split('\n')[0]}`).join('\n')}`;
  return { subject: `Restore ${restore.rollout} to ${set}`, why };
}

/** What asks people to merge a restoring commit that main refused, by the commit's message. */
export function pullRequestText(message: string): { readonly title: string; readonly body: string } {
  const [title = '', ...rest] = message.split('\n');
  const what =
    'Devices have their known-good revision again; the branch still wants the one that failed, and refused this commit. ' +
    'Merge it, by merge commit, rebase or squash: what counts is what `fleet/` holds then. ' +
    'Or change what is installed instead, and close this.';
  return { title, body: `${what}\n\n${rest.join('\n').trim()}\n` };
}

function messageOf(restore: Restore, restoration: Restoration): string {
  const { attempt, knownGood, rollout } = restore;
  const { snapshot } = restoration;
  const failed = attempt.stages.findLast((stage) => stage.state === 'failed');
  const proof =
    snapshot === knownGood.snapshot
      ? `fleet/ is the known-good snapshot ${snapshot} again.`
      : `fleet/ is now snapshot ${snapshot}: known-good for ${rollout}, with what others committed since.`;
  const paragraphs = [
    restoration.subject,
    restoration.why,
    `${rollout}, attempt ${attempt.attempt}: ${failed?.verdict?.because ?? 'the attempt was rolled back'}.`,
    proof,
    `Merging the same change again does nothing in git, and its revision is quarantined. Change what is\ninstalled, or revert this commit and ask for a retry of attempt ${attempt.attempt}.`,
    [
      `Snapshot: ${snapshot}`,
      `Rollout: ${rollout}`,
      `Attempt: ${attempt.attempt}`,
      `Revision: ${knownGood.revision}`,
    ].join('\n'),
  ];
  return `${paragraphs.join('\n\n')}\n`;
}
