/**
 * Whose approvals they are. Where a stage needs more than one, the commit that brought an entry must be signed by a key of
 * `trust/allowed_signers`, which is read at the same commit as the entries. Nothing is looked up for stages that need fewer.
 */
import type { DesiredState, Operation } from '../core/model/desired.ts';
import type { Outcomes } from '../core/model/outcome.ts';
import { needsSigners } from '../core/plan/approvals.ts';
import { EMERGENCY_STAGE, emergencyStage } from '../core/plan/emergency.ts';
import type { DocumentCache } from '../documents/load.ts';
import type { Problem } from '../documents/problem.ts';
import { findOrigins, type Origin, type Origins } from '../fleet-repo/origins.ts';
import type { Commit, Git } from '../git/git.ts';
import { entryAt } from '../git/tree.ts';
import { type AllowedSigners, parseAllowedSigners } from '../trust/allowed-signers.ts';
import { type CommitSigner, signerOfCommit } from './commit-signer.ts';

export const ALLOWED_SIGNERS = 'trust/allowed_signers';

export interface SignedOperations {
  readonly entries: readonly Operation[];
  readonly origins: Origins | undefined;
  readonly problems: readonly Problem[];
}

const ALLOWED_SIGNERS_BYTES_MAX = 256 * 1024;
/** Each takes a look at history. */
const APPROVALS_MAX = 1000;
const TOO_MANY = `more than ${APPROVALS_MAX} approvals wait, and this one is not looked at; take out those that no longer matter`;

/** `entries`, read at `head`, with a signer (or why there is none) for each approval that must have one. */
export async function withSigners(
  git: Git,
  given: {
    readonly head: Commit;
    readonly entries: readonly Operation[];
    readonly desired: DesiredState | undefined;
    readonly outcomes: Outcomes;
    readonly before: Origins | undefined;
    readonly cache: DocumentCache;
  },
): Promise<SignedOperations> {
  const { head, entries } = given;
  const asking = entries.filter((entry) => mustBeSigned(entry, given));
  const asked = asking.slice(0, APPROVALS_MAX);
  if (asked.length === 0) return { entries, origins: undefined, problems: [] };
  const allowed = await readAllowedSigners(git, head);
  const origins = await findOrigins(git, { ...given, entries: asked.map(({ id }) => id) });
  const signed = new Map<string, Pick<Operation, 'signer' | 'unsigned'>>();
  for (const { id } of asking.slice(APPROVALS_MAX)) signed.set(id, { unsigned: TOO_MANY });
  for (const { id } of asked)
    signed.set(id, await signerOfOrigin(git, origins.byEntry.get(id) ?? [], allowed));
  const problems = allowed.problems.map(
    ({ line, message }): Problem => ({
      file: ALLOWED_SIGNERS,
      line,
      column: 1,
      rule: 'allowed-signers',
      severity: 'warning',
      message,
    }),
  );
  return { entries: entries.map((entry) => ({ ...entry, ...signed.get(entry.id) })), origins, problems };
}

/** Whether the entry approves a stage that needs signers and that the attempt has not opened yet. */
function mustBeSigned(
  { action, rollout: name, attempt: number, stage: stageName, gate, id }: Operation,
  { desired, outcomes }: { desired: DesiredState | undefined; outcomes: Outcomes },
): boolean {
  const rollout = desired?.rollouts.get(name);
  if (action !== 'approve' || rollout === undefined) return false;
  const latest = outcomes.get(name)?.at(-1);
  if (latest !== undefined && (number < latest.attempt || latest.appliedOperations.includes(id)))
    return false;
  if (gate !== undefined) {
    const known = rollout.gates.find((each) => each.name === gate);
    return known?.kind === 'approval' && needsSigners({ approvals: known.count });
  }
  const stage =
    stageName === EMERGENCY_STAGE
      ? emergencyStage(rollout)
      : rollout.stages.find((each) => each.name === stageName);
  return stage !== undefined && needsSigners(stage);
}

async function readAllowedSigners(git: Git, head: Commit): Promise<AllowedSigners> {
  const entry = await entryAt(git, head.tree, ALLOWED_SIGNERS);
  if (entry === undefined || !entry.mode.startsWith('100')) {
    const message =
      'the file is missing, and a stage needs approvals of several people; list their keys in it, one per line: ' +
      'ada@example.org namespaces="git" ssh-ed25519 AAAA…';
    return { signers: [], problems: [{ line: 1, message }] };
  }
  const content = await git.blob(entry.oid);
  if (content.byteLength <= ALLOWED_SIGNERS_BYTES_MAX)
    return parseAllowedSigners(new TextDecoder().decode(content));
  const message = `the file must have at most ${ALLOWED_SIGNERS_BYTES_MAX / 1024} KiB, found ${content.byteLength} bytes; nobody in it counts`;
  return { signers: [], problems: [{ line: 1, message }] };
}

async function signerOfOrigin(
  git: Git,
  origin: Origin,
  allowed: AllowedSigners,
): Promise<Pick<Operation, 'signer' | 'unsigned'>> {
  const refusals: string[] = [];
  for (const oid of origin) {
    const commit = await git.commit(oid);
    const result = signerOfBringer(commit, allowed);
    if ('name' in result) return { signer: result.name };
    refusals.push(`commit ${oid.slice(0, 10)} ${result.refused}`);
  }
  const [refusal = 'the commit that brought it is not in the history that is looked at'] = refusals;
  return {
    unsigned: `${refusal}; approve again with a commit that a key in ${ALLOWED_SIGNERS} signs and that is merged as it is`,
  };
}

/** Who signed the commit, by the list that stands in it; or why that is not known. */
export async function signerAt(git: Git, commit: Commit): Promise<CommitSigner> {
  return signerOfBringer(commit, await readAllowedSigners(git, commit));
}

function signerOfBringer(commit: Commit, allowed: AllowedSigners): CommitSigner {
  const signer = signerOfCommit(commit, allowed, ALLOWED_SIGNERS);
  if ('refused' in signer || hasItsParents(commit)) return signer;
  // In a shallow clone a commit seems to have brought all that its missing parents had.
  return { refused: 'is the oldest that this clone has, so what it brought is not known' };
}

function hasItsParents({ parents, signature }: Commit): boolean {
  const [headers = ''] = new TextDecoder().decode(signature?.payload).split('\n\n', 1);
  const named = [...headers.matchAll(/^parent ([0-9a-f]{40})$/gm)].map(([, oid]) => oid);
  return named.join() === parents.join();
}
