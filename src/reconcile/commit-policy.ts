/**
 * Which commits of main count, where the operator of the server says so: those that an allowed key has signed. What is signed is a
 * whole tree, so that the commit at the tip speaks for all before it. Tidegate's own key counts for what Tidegate itself commits
 * there: bringing known-good back, and entries in `ops/`; whoever steals it can do no more than that.
 */
import type { CommitId } from '../core/model/ids.ts';
import { knownGoodOf, type Outcomes } from '../core/model/outcome.ts';
import type { DocumentCache } from '../documents/load.ts';
import { computeRestoration } from '../fleet-repo/restore.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Commit, Git, Oid } from '../git/git.ts';
import { changedPaths, isAncestor } from '../git/tree.ts';
import type { AllowedSigners } from '../trust/allowed-signers.ts';
import { signerOfCommit } from './commit-signer.ts';

export interface CommitPolicy {
  /** Whose signatures count. */
  readonly allowed: AllowedSigners;
  /** Where that is written, for messages. */
  readonly place: string;
  /** Tidegate's own public key, as SSH encodes it, in base64. */
  readonly ownKey: string;
}

/** Commits looked at for one that counts. */
const LOOK_BACK_MAX = 50;

export interface PolicyQuestion {
  readonly policy: CommitPolicy;
  readonly head: Oid;
  /** What was in force before; absent on the very first start. */
  readonly applied: Oid | undefined;
  readonly outcomes: Outcomes;
  readonly cache: DocumentCache;
}

/** The newest commit of main that counts, if one does, and why the tip does not, if it does not. */
export async function acceptedCommit(
  git: Git,
  question: PolicyQuestion,
): Promise<{ readonly accepted?: Commit; readonly refused?: string }> {
  const { head, applied, policy } = question;
  let refused: string | undefined;
  const read = (oid: Oid) => git.commit(oid).catch(unlessUnreadable);
  let commit = await read(head);
  if (commit === undefined) {
    // What no git would make: the last one that counts stays.
    refused = `commit ${short(head)} cannot be read; push one on ${applied === undefined ? 'the one before' : short(applied)} instead`;
    commit = applied === undefined ? undefined : await read(applied);
  }
  for (let looked = 0; commit !== undefined; looked += 1) {
    const why = commit.oid === applied ? undefined : await refusalOf(git, commit, question);
    if (why === undefined) {
      if (applied === undefined || (await isAncestor(git, applied, commit.oid)))
        return { accepted: commit, ...(refused === undefined ? {} : { refused }) };
      // An old signature is as good as a new one: only what follows on what was in force is new.
      const rewritten = `commit ${short(commit.oid)} is signed and does not follow on ${short(applied)}, which was in force; to go back, commit a revert`;
      return { refused: refused ?? rewritten };
    }
    refused ??= `commit ${short(commit.oid)} ${why}; sign it with a key that ${policy.place} allows (git commit --amend -S), and push again`;
    const [parent]: readonly Oid[] = commit.parents;
    commit = parent === undefined || looked >= LOOK_BACK_MAX ? undefined : await read(parent);
  }
  return refused === undefined ? {} : { refused };
}

/** Why the commit does not count, in a sentence's end; undefined where it does. */
async function refusalOf(git: Git, commit: Commit, question: PolicyQuestion): Promise<string | undefined> {
  const { policy } = question;
  const signer = signerOfCommit(commit, policy.allowed, policy.place);
  if ('name' in signer) return undefined;
  if (signer.key !== policy.ownKey) return signer.refused;
  const [parentId, ...others] = commit.parents;
  if (parentId === undefined || others.length > 0) return 'is signed by Tidegate, which makes no such commit';
  const parent = await git.commit(parentId);
  const unacceptable = parentId === question.applied ? undefined : await refusalOf(git, parent, question);
  if (unacceptable !== undefined) return `follows on ${short(parentId)}, which ${unacceptable}`;
  if (await isOwnWork(git, { commit, parent, question })) return undefined;
  return 'is signed by Tidegate, and is neither a restoration that Tidegate would make nor an entry in ops/';
}

async function isOwnWork(
  git: Git,
  { commit, parent, question }: { commit: Commit; parent: Commit; question: PolicyQuestion },
): Promise<boolean> {
  const changed = await changedPaths(git, parent.tree, commit.tree);
  if (changed.length > 0 && changed.every(({ path }) => path.startsWith('ops/'))) return true;
  const rollout = /^Rollout: (\S+)$/m.exec(commit.message)?.[1];
  const number = Number(/^Attempt: (\d+)$/m.exec(commit.message)?.[1]);
  const attempts = [...question.outcomes].find(([name]) => name === rollout)?.[1] ?? [];
  // What was undone long ago is not undone again.
  const attempt = attempts.at(-1)?.attempt === number ? attempts.at(-1) : undefined;
  const knownGood = knownGoodOf(attempts.filter((each) => each.attempt < number));
  if (attempt?.restored === undefined || knownGood === undefined) return false;
  const restore = { rollout: attempt.rollout, attempt, knownGood };
  const made = await computeRestoration(git, { restore, head: parent, cache: question.cache });
  return made?.tree === commit.tree;
}

function unlessUnreadable(error: unknown): undefined {
  if (!(error instanceof GitObjectError)) throw error;
}

function short(oid: Oid | CommitId): string {
  return oid.slice(0, 10);
}
