/**
 * Who has approved a stage. One approval is anybody's word who can commit. More than one is worth something only if they
 * are different people's, and `by` is what anybody writes: then the signature of the commit that brought the entry
 * counts, once per signer.
 */
import type { Operation, Stage } from '../model/desired.ts';
import type { Attempt } from '../model/outcome.ts';
import { type Context, operations } from './step.ts';

/** From this many on, approvals are counted by verified signer. */
const SIGNED_FROM = 2;

export interface Approvals {
  /** All entries about the stage, those that do not count included: opening it applies them. */
  readonly entries: readonly Operation[];
  readonly given: number;
  /** What is missing, in a sentence; undefined where nothing is. */
  readonly missing?: string;
}

/** Whether approvals of this stage, or of a gate, must be signed. */
export function needsSigners({ approvals }: Pick<Stage, 'approvals'>): boolean {
  return approvals >= SIGNED_FROM;
}

export function approvalsOf(context: Context, latest: Attempt, stage: Stage): Approvals {
  const entries = operations(context, latest, ['approve']).filter(
    (entry) => entry.stage === stage.name && entry.gate === undefined,
  );
  const isSigned = needsSigners(stage);
  const voices = new Set<string>();
  const uncounted: string[] = [];
  for (const { by, signer, unsigned } of entries) {
    const voice = isSigned ? signer : by;
    if (voice === undefined)
      uncounted.push(`the one by ${by} does not count: ${unsigned ?? 'its signature was not looked for'}`);
    else if (voices.has(voice)) uncounted.push(`the one by ${by} is ${voice}'s second`);
    else voices.add(voice);
  }
  const given = voices.size;
  if (given >= stage.approvals) return { entries, given };
  const counted = `${given} of ${stage.approvals} approvals given`;
  return { entries, given, missing: [counted, ...uncounted.slice(0, SAID_MAX)].join('; ') };
}

/** A reason is a sentence: of many approvals that do not count it names a few. */
const SAID_MAX = 3;
