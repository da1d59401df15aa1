/**
 * Entries of `ops/` that have no effect, each with the reason and what to do: an entry that waits in silence looks like one
 * that was obeyed. Warnings only: a typing error must not keep a fleet from being operated.
 */
import type { Operation, Rollout } from '../core/model/desired.ts';
import type { RolloutName } from '../core/model/ids.ts';
import { type Attempt, isFinished, knownGoodOf, type Outcomes } from '../core/model/outcome.ts';
import { EMERGENCY_STAGE, whyNoEmergency } from '../core/plan/emergency.ts';
import { wasGivenUp } from '../core/plan/idle.ts';
import type { Problem } from '../documents/problem.ts';
import { closest } from '../documents/suggest.ts';

export interface Moot {
  readonly rule:
    | 'operation-rollout'
    | 'operation-attempt'
    | 'operation-over'
    | 'operation-stage'
    | 'operation-early'
    | 'operation-emergency';
  /** What was expected and found. */
  readonly what: string;
  /** What to do about an entry that is there. */
  readonly next: string;
}

/** What an entry is about, whether or not it has been written yet. */
export type Intention = Pick<Operation, 'rollout' | 'action' | 'attempt' | 'stage' | 'gate' | 'emergency'>;

export interface Situation {
  readonly rollouts: ReadonlyMap<RolloutName, Rollout>;
  readonly outcomes: Outcomes;
}

/** The entries that no attempt has applied and that none will. */
export function mootOperations(entries: readonly Operation[], situation: Situation): readonly Problem[] {
  return pendingOperations(entries, situation.outcomes).flatMap((entry): Problem[] => {
    const moot = whyMoot(entry, situation);
    if (moot === undefined) return [];
    const message = `${moot.what}; ${moot.next}`;
    return [{ ...entry.place, rule: moot.rule, severity: 'warning', message }];
  });
}

/** The entries that no attempt has applied yet. */
export function pendingOperations(entries: readonly Operation[], outcomes: Outcomes): readonly Operation[] {
  const applied = appliedOperations(outcomes);
  return entries.filter(({ id }) => !applied.has(id));
}

/** The ids of the entries that some attempt has applied. */
export function appliedOperations(outcomes: Outcomes): ReadonlySet<string> {
  return new Set([...outcomes.values()].flat().flatMap((attempt) => attempt.appliedOperations));
}

/** Why the operation has no effect, or undefined where it has one, or will have, or came true without it. */
export function whyMoot(intention: Intention, { rollouts, outcomes }: Situation): Moot | undefined {
  const { rollout: name, attempt: number } = intention;
  const rollout = rollouts.get(name);
  const attempts = outcomes.get(name) ?? [];
  if (rollout === undefined && attempts.length === 0) return unknownRollout(name, { rollouts, outcomes });
  const attempt = attempts.find((each) => each.attempt === number);
  if (attempt === undefined) return whyNotThere(intention, { rollout, attempts });
  if (isFinished(attempt)) return whyOver(intention, attempt, { rollout, attempts });
  return whyNotNow(intention, attempt, { rollout, attempts });
}

export function unknownRollout(name: RolloutName, { rollouts, outcomes }: Situation): Moot {
  const names = [...new Set([...rollouts.keys(), ...outcomes.keys()])].sort();
  return { rule: 'operation-rollout', what: `there is no rollout ${name}`, next: meant(name, names) };
}

interface About {
  readonly rollout: Rollout | undefined;
  readonly attempts: readonly Attempt[];
}

const TAKE_AWAY = 'take the entry away';

/** The next attempt may be hurried in the commit that starts it. Nothing else can be said of what is not there. */
function whyNotThere(
  { rollout: name, attempt: number, emergency }: Intention,
  { rollout, attempts }: About,
): Moot | undefined {
  const latest = attempts.at(-1);
  const isNext = rollout !== undefined && number === (latest?.attempt ?? 0) + 1;
  if (isNext && emergency) {
    const knownGood = knownGoodOf(attempts);
    if (rollout.revision === knownGood?.revision) {
      const { distributionSet } = knownGood.manifest;
      const what = `no emergency is needed: ${distributionSet} is known-good, to which devices return at once`;
      return { rule: 'operation-emergency', what, next: TAKE_AWAY };
    }
    return noEmergency(
      whyNoEmergency({ attempt: number, revision: rollout.revision, manifest: rollout.manifest }, attempts),
    );
  }
  // Main wants something new: the attempt is about to be made.
  if (isNext && rollout.revision !== latest?.revision) return undefined;
  const there = latest === undefined ? 'it has none yet' : `the latest is ${latest.attempt}`;
  const what = `${name} has no attempt ${number}, ${there}`;
  return { rule: 'operation-attempt', what, next: 'write the attempt that it is about' };
}

function whyOver(
  { action, stage }: Intention,
  attempt: Attempt,
  { rollout, attempts }: About,
): Moot | undefined {
  const { attempt: number, state } = attempt;
  const latest = attempts.at(-1);
  if (action === 'retry') {
    const what = whyNoRetry(attempt, { rollout, attempts });
    return what === undefined ? undefined : { rule: 'operation-over', what, next: TAKE_AWAY };
  }
  // Said too late, and come true all the same.
  if (action === 'approve' && attempt.stages.some(({ name }) => name === stage)) return undefined;
  return {
    rule: 'operation-over',
    what: `${action} has no effect: attempt ${number} is over (${state})`,
    next:
      latest === undefined || latest === attempt
        ? TAKE_AWAY
        : `write attempt: ${latest.attempt} if you mean that one`,
  };
}

/** A retry is for what failed or was cancelled and is still wanted; it names that attempt, or the latest one. */
function whyNoRetry(attempt: Attempt, { rollout, attempts }: About): string | undefined {
  const { attempt: number, state } = attempt;
  if (rollout === undefined) return 'there is nothing to retry: the rollout was removed';
  const isLatest = attempt === attempts.at(-1);
  if (state === 'succeeded' && isLatest) return `there is nothing to retry: attempt ${number} succeeded`;
  const givenUp = attempts.filter((each) => wasGivenUp(each) && each.revision === rollout.revision);
  if (givenUp.includes(attempt) || (isLatest && givenUp.length > 0)) return undefined;
  return `there is nothing to retry in attempt ${number}: main wants ${rollout.manifest.distributionSet}, which did not fail there`;
}

function whyNotNow(
  { action, stage, gate, emergency }: Intention,
  attempt: Attempt,
  { rollout, attempts }: About,
): Moot | undefined {
  const { attempt: number, state } = attempt;
  if (action === 'retry') {
    const what = `attempt ${number} is ${state}, and as soon as it fails a retry begins another one`;
    return { rule: 'operation-early', what, next: `${TAKE_AWAY} if that is not meant` };
  }
  if (emergency) return noEmergency(whyNoEmergency(attempt, attempts));
  if (stage === undefined || (action === 'approve' && stage === EMERGENCY_STAGE)) return undefined;
  const opened = attempt.stages.map(({ name }) => name);
  const declared = rollout?.stages.map(({ name }) => name) ?? [];
  const names = [...new Set([...opened, ...declared])];
  if (!names.includes(stage)) {
    return {
      rule: 'operation-stage',
      what: `attempt ${number} has no stage ${stage}`,
      next: meant(stage, names),
    };
  }
  if (gate !== undefined) {
    const judging = attempt.stages.find(({ name }) => name === stage)?.gates ?? rollout?.gates ?? [];
    const people = judging.filter(({ kind }) => kind === 'approval').map(({ name }) => name);
    if (action === 'approve' && people.includes(gate)) return undefined;
    const what = `stage ${stage} has no gate ${gate} that people approve`;
    return { rule: 'operation-stage', what, next: people.length === 0 ? TAKE_AWAY : meant(gate, people) };
  }
  if (action === 'approve' && !opened.includes(stage) && approvalsOf(rollout, stage) === 0) {
    const what = `stage ${stage} asks for no approval`;
    return { rule: 'operation-early', what, next: `${TAKE_AWAY}, or give the stage approvals first` };
  }
  if (action === 'promote' && !opened.includes(stage)) {
    const what = `stage ${stage} is not open, and once it opens a promotion skips its soak and exposure`;
    return { rule: 'operation-early', what, next: `${TAKE_AWAY} if that is not meant` };
  }
  return undefined;
}

function approvalsOf(rollout: Rollout | undefined, stage: string): number | undefined {
  return rollout?.stages.find(({ name }) => name === stage)?.approvals;
}

function noEmergency(because: string | undefined): Moot | undefined {
  if (because === undefined) return undefined;
  return {
    rule: 'operation-emergency',
    what: `an emergency has no effect here: ${because}, and an emergency only goes back`,
    next: 'let the stages decide, or promote them one by one',
  };
}

const LISTED_MAX = 10;

function meant(typed: string, names: readonly string[]): string {
  const close = closest(typed, names);
  if (close !== undefined) return `did you mean ${close}?`;
  const more = names.length - LISTED_MAX;
  const listed = names.slice(0, LISTED_MAX).join(', ') || 'none yet';
  return `there are ${listed}${more > 0 ? ` and ${more} more` : ''}`;
}
