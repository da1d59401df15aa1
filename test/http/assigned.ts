/** An assignment as the planner makes one, for tests of what happens to it afterwards. */
import type { CommitId, RolloutName, SnapshotId } from '../../src/core/model/ids.ts';
import { type Manifest, revisionOf } from '../../src/core/model/manifest.ts';
import type { AssignedRevision } from '../../src/http/device-answers.ts';

export const manifest: Manifest = {
  distributionSet: 'thermostat@2.6.0',
  product: 'thermostat',
  version: '2.6.0',
  modules: [],
};
export const rolled = {
  kind: 'revision',
  rollout: 'thermostat-firmware' as RolloutName,
  revision: {
    attempt: 1,
    revision: revisionOf(manifest),
    manifest,
    snapshot: 'a'.repeat(40) as SnapshotId,
    commit: 'b'.repeat(40) as CommitId,
  },
} satisfies AssignedRevision;
