/**
 * Reads the record, the branch `outcomes`, and judges whether it may be continued. A branch that lost commits we know
 * of, or that somebody else wrote, opens nothing until a person has looked; what was read last stands.
 */
import type { Outcomes } from '../core/model/outcome.ts';
import { OUTCOMES_BRANCH, type OutcomeCache, readOutcomes } from '../fleet-repo/outcomes.ts';
import type { Commit, Git, Oid } from '../git/git.ts';
import type { CommitPolicy } from './commit-policy.ts';
import { signerOfCommit } from './commit-signer.ts';

/** What `outcomes` says, and why nothing may be added to it now. */
export interface Recorded {
  readonly tip: Oid | undefined;
  readonly outcomes: Outcomes;
  readonly hold?: Hold | undefined;
}

/** Why nothing opens. */
export interface Hold {
  readonly by: HeldBy;
  /** A sentence with the next step. */
  readonly reason: string;
}

/**
 * `repository`: it is away or cannot be read. `record`: `outcomes` cannot be followed or written. `clock`: it jumped. `trust`:
 * metadata cannot be signed, without which no device installs anything.
 */
export const HOLDERS = ['repository', 'record', 'clock', 'trust'] as const;
export type HeldBy = (typeof HOLDERS)[number];

/**
 * `known` is the last tip that was read, if one was. Equal readings are one object. With a policy the tip must be signed, by
 * Tidegate or somebody allowed: its signature covers everything that is read.
 */
export function createRecordReader(
  git: Git,
  policy?: CommitPolicy,
): (known: Oid | undefined) => Promise<Recorded> {
  const cache: OutcomeCache = new Map();
  let read: { readonly tip: Oid | undefined; readonly outcomes: Outcomes } | undefined;

  async function outcomesAt(tip: Oid | undefined): Promise<Outcomes> {
    if (read === undefined || read.tip !== tip) read = { tip, outcomes: await readOutcomes(git, tip, cache) };
    return read.outcomes;
  }

  return async (known) => {
    const tip = await git.branch(OUTCOMES_BRANCH);
    if (tip === known) return { tip, outcomes: await outcomesAt(tip) };
    if (known !== undefined && !(await contains(git, tip, known))) {
      const hold: Hold = { by: 'record', reason: lostRecord(git.place, known) };
      return { tip, outcomes: await outcomesAt(known), hold };
    }
    if (tip === undefined) return { tip, outcomes: await outcomesAt(tip) };
    const commit = await git.commit(tip);
    const refused = policy === undefined ? undefined : whyNobodys(commit, policy);
    if (refused === undefined) {
      // A document that cannot be read says more than who wrote it.
      const outcomes = await outcomesAt(tip);
      if (EPOCH.test(commit.message)) return { tip, outcomes };
    }
    const reason =
      `the branch ${OUTCOMES_BRANCH} ends in ${tip}, which Tidegate did not write${refused === undefined ? '' : ` (it ${refused})`}: ` +
      'it keeps its record there; rename that branch, or take the commit back';
    return { tip, outcomes: await outcomesAt(known), hold: { by: 'record', reason } };
  };
}

function whyNobodys(commit: Commit, { allowed, place, ownKey }: CommitPolicy): string | undefined {
  const signer = signerOfCommit(commit, allowed, place);
  return 'name' in signer || signer.key === ownKey ? undefined : signer.refused;
}

/** What the store had reached when the last decision was recorded: devices refuse to go back behind it. */
export interface RecordedVersions {
  /** Of the program; 0 where nothing is recorded. */
  readonly program: number;
  readonly flags: number;
  /** The commit of main that was in force. */
  readonly commit?: Oid;
}

export async function recordedVersions(git: Git, tip: Oid | undefined): Promise<RecordedVersions> {
  if (tip === undefined) return { program: 0, flags: 0 };
  const { message } = await git.commit(tip);
  const commit = (IN_FORCE_COMMIT.exec(message) ?? DESIRED_COMMIT.exec(message))?.[1];
  return {
    program: Number(EPOCH.exec(message)?.[1] ?? 0),
    flags: Number(FLAGS_VERSION.exec(message)?.[1] ?? 0),
    ...(commit === undefined ? {} : { commit }),
  };
}

/** Every commit of ours has these trailers: see src/fleet-repo/outcomes.ts. */
const EPOCH = /^Epoch: ([0-9]+)$/m;
const FLAGS_VERSION = /^Flags-Version: ([0-9]+)$/m;
const IN_FORCE_COMMIT = /^In-Force-Commit: ([0-9a-f]{40})$/m;
const DESIRED_COMMIT = /^Desired-Commit: ([0-9a-f]{40})$/m;

/** Whether `tip` is `ancestor` or comes after it. `outcomes` is linear, so first parents tell. */
async function contains(git: Git, tip: Oid | undefined, ancestor: Oid): Promise<boolean> {
  let at = tip;
  while (at !== undefined && at !== ancestor) at = (await git.commit(at)).parents[0];
  return at === ancestor;
}

/** Why nothing opens after commits were taken away from `outcomes`, and the command that brings them back. */
export function lostRecord(place: string, known: Oid): string {
  const lost = `the branch ${OUTCOMES_BRANCH} no longer contains ${known}, the last commit read`;
  return `${lost}; ${howToSetBack(place, known)}`;
}

function howToSetBack(place: string, tip: Oid): string {
  const isRemote = /^[a-z+]+:\/\/|^[^/]+@[^/]+:/.test(place);
  return isRemote
    ? `from a clone that has it (the mirror in the server's data folder does) run git push --force ${place} ${tip}:refs/heads/${OUTCOMES_BRANCH}`
    : `run git -C ${place} update-ref refs/heads/${OUTCOMES_BRANCH} ${tip}`;
}
