/** What merging a commit does to each rollout, by the rules that the planner has for rollouts that nothing is under way in. */
import type { Rollout } from '../model/desired.ts';
import { type Attempt, isFinished, knownGoodOf } from '../model/outcome.ts';
import { canonical } from '../plan/step.ts';
import type { EndState, Obstacle } from './population.ts';

export type MergeEffect =
  /** A new attempt, through all stages. */
  | { readonly kind: 'starts'; readonly attempt: number; readonly supersedes?: number }
  /** The stages again, over the devices that a finished rollout did not have. */
  | { readonly kind: 'widens'; readonly attempt: number; readonly covered: string }
  /** Known-good is wanted again: devices that went ahead return at once. */
  | { readonly kind: 'restores'; readonly knownGood: number; readonly from: number }
  /** The attempt goes on; what changed concerns what has not opened. */
  | { readonly kind: 'goesOn'; readonly attempt: number; readonly opened: number }
  /** What is wanted is what is there. */
  | { readonly kind: 'inForce'; readonly knownGood: number }
  | { readonly kind: 'waits'; readonly cause: Obstacle['kind']; readonly because: string };

export function mergeEffect(
  rollout: Rollout,
  attempts: readonly Attempt[],
  { obstacle }: Pick<EndState, 'obstacle'>,
): MergeEffect {
  const latest = attempts.at(-1);
  const knownGood = knownGoodOf(attempts);
  const underWay = latest !== undefined && !isFinished(latest) ? latest : undefined;
  if (underWay?.revision === rollout.revision)
    return { kind: 'goesOn', attempt: underWay.attempt, opened: underWay.stages.length };
  if (knownGood?.revision === rollout.revision) {
    if (underWay !== undefined && underWay.stages.length > 0)
      return { kind: 'restores', knownGood: knownGood.attempt, from: underWay.attempt };
    if (canonical(knownGood.condition) !== canonical(rollout.condition)) {
      return { kind: 'widens', attempt: (latest?.attempt ?? 0) + 1, covered: knownGood.condition };
    }
    return { kind: 'inForce', knownGood: knownGood.attempt };
  }
  if (obstacle !== undefined) return { kind: 'waits', cause: obstacle.kind, because: obstacle.because };
  return {
    kind: 'starts',
    attempt: (latest?.attempt ?? 0) + 1,
    ...(underWay === undefined ? {} : { supersedes: underWay.attempt }),
  };
}
