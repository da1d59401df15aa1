/** Distribution sets that differ from what was installed under their name: an error, where the record is at hand to say so. */
import type { DesiredState } from '../core/model/desired.ts';
import type { Outcomes } from '../core/model/outcome.ts';
import { changedDistributionSets } from '../core/plan/immutability.ts';
import type { LoadedState } from '../documents/load.ts';
import type { Problem } from '../documents/problem.ts';

export function changedSets(
  {
    desired,
    distributionSetFiles,
  }: { readonly desired: DesiredState } & Pick<LoadedState, 'distributionSetFiles'>,
  outcomes: Outcomes,
): readonly Problem[] {
  return changedDistributionSets(desired, outcomes).map(
    ({ name, attempt }): Problem => ({
      file: distributionSetFiles.get(name) ?? 'fleet/distribution-sets',
      line: 1,
      column: 1,
      rule: 'immutable-distribution-set',
      severity: 'error',
      message:
        `distribution set ${name} differs from the one that attempt ${attempt.attempt} of ${attempt.rollout} installed; ` +
        'give what you changed a new version, or restore the file',
    }),
  );
}
