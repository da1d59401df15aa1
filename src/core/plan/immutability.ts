/** A distribution set that an outcome names never changes: what was tested is what a rollback brings back. */
import type { DesiredState } from '../model/desired.ts';
import type { Attempt, Outcomes } from '../model/outcome.ts';

/** The distribution sets whose content is not what an attempt recorded under their name. */
export function changedDistributionSets(
  desired: DesiredState,
  outcomes: Outcomes,
): readonly { readonly name: string; readonly attempt: Attempt }[] {
  const recorded = new Map<string, Attempt>();
  for (const attempt of [...outcomes.values()].flat()) {
    // An attempt that never opened a stage installed nothing: its set may still be put right.
    if (attempt.stages.length > 0) recorded.set(attempt.manifest.distributionSet, attempt);
  }
  return [...desired.distributionSets].flatMap(([name, revision]) => {
    const attempt = recorded.get(name);
    return attempt === undefined || attempt.revision === revision ? [] : [{ name, attempt }];
  });
}
