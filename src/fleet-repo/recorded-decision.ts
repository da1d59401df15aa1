/**
 * Decisions read back from the commits of `outcomes`: what messageOf in outcomes.ts writes. A commit is read as it stands, so that
 * whoever comes later, another process perhaps, says of it what the one would have said that made it.
 */
import type { Revision, RolloutName } from '../core/model/ids.ts';
import type { Attempt } from '../core/model/outcome.ts';
import type { Decision } from '../core/plan/contract.ts';
import { decodeOutcome, outcomePath } from '../documents/outcome.ts';
import type { Commit, Git, Oid } from '../git/git.ts';
import { entryAt } from '../git/tree.ts';

/** What the commit's message says; the outcome document says the rest. */
export interface DecisionMessage {
  /** As written: perhaps by a version that knows other kinds. */
  readonly kind: string;
  readonly rollout: RolloutName;
  readonly attempt: number;
  readonly revision: Revision;
  readonly summary: string;
  readonly because?: string;
  readonly stage?: string;
}

/** A decision as its commit has it: everything but what it did to devices. */
export type RecordedDecision = Pick<Decision, 'kind' | 'attempt' | 'summary' | 'because' | 'stage'>;

/** Undefined for a commit that records no decision. */
export function readDecisionMessage(message: string): DecisionMessage | undefined {
  // A reason that people gave may look like anything; the last paragraph is always ours.
  const paragraphs = message.trimEnd().split('\n\n');
  if (paragraphs.length < 2) return undefined;
  const trailers = new Map(
    (paragraphs.at(-1) ?? '').split('\n').map((line) => {
      const [, name = '', value = ''] = /^([A-Za-z-]+): (.*)$/.exec(line) ?? [];
      return [name, value];
    }),
  );
  const [kind, rollout, attempt, revision] = ['Decision', 'Rollout', 'Attempt', 'Revision'].map((name) =>
    trailers.get(name),
  );
  const isWhole =
    kind !== undefined &&
    /^[a-z0-9][-a-z0-9.]*$/.test(rollout ?? '') &&
    /^[1-9][0-9]{0,9}$/.test(attempt ?? '') &&
    /^sha256:[0-9a-f]{64}$/.test(revision ?? '');
  if (!isWhole) return undefined;
  const because = paragraphs.slice(1, -1).join('\n\n');
  const stage = trailers.get('Stage');
  return {
    kind,
    rollout: rollout as RolloutName,
    attempt: Number(attempt),
    revision: revision as Revision,
    summary: paragraphs[0] ?? '',
    ...(because === '' ? {} : { because }),
    ...(stage === undefined ? {} : { stage }),
  };
}

/** The attempt as it stood at the commit; undefined where it was not there yet, or cannot be read. */
export async function attemptAt(
  git: Git,
  commit: Commit | Oid,
  message: Pick<DecisionMessage, 'rollout' | 'attempt' | 'revision'>,
): Promise<Attempt | undefined> {
  const { tree } = typeof commit === 'string' ? await git.commit(commit) : commit;
  const file = await entryAt(git, tree, outcomePath(message));
  if (file === undefined) return undefined;
  const decoded = decodeOutcome(new TextDecoder().decode(await git.blob(file.oid)));
  return decoded.ok ? decoded.attempt : undefined;
}
