/** Small attempts, for tests that look at one rule. */
import type { CommitId, RolloutName, SnapshotId } from '../../../src/core/model/ids.ts';
import { revisionOf } from '../../../src/core/model/manifest.ts';
import type { Attempt, StageOutcome } from '../../../src/core/model/outcome.ts';
import { DAY } from '../../../src/core/model/time.ts';
import { HIGHEST_SCORE } from '../../../src/core/select/score.ts';

export const CONDITION = "tags.product = 'kiosk'";

export function attemptOf(change: Partial<Attempt> = {}): Attempt {
  const number = change.attempt ?? 1;
  const manifest = {
    distributionSet: `kiosk@${number}`,
    product: 'kiosk',
    version: String(number),
    modules: [],
  };
  return {
    rollout: 'kiosk' as RolloutName,
    attempt: number,
    revision: revisionOf(manifest),
    manifest,
    snapshot: 'f'.repeat(40) as SnapshotId,
    commit: 'c'.repeat(40) as CommitId,
    condition: CONDITION,
    seed: 'seed',
    createdAt: 0,
    state: 'running',
    cause: 'started',
    stages: [],
    history: [{ at: 0, state: 'ready', cause: 'created' }],
    appliedOperations: [],
    learnings: '',
    ...change,
  };
}

export function stageOutcome(change: Partial<StageOutcome> = {}): StageOutcome {
  return {
    name: 'canary',
    state: 'running',
    openedAt: 0,
    epoch: 'epoch',
    condition: CONDITION,
    unit: 'device',
    size: '10',
    admits: { kind: 'upTo', score: HIGHEST_SCORE },
    units: 10,
    devices: 10,
    successThreshold: { kind: 'share', share: { numerator: 80, denominator: 100 } },
    errorThreshold: { kind: 'share', share: { numerator: 20, denominator: 100 } },
    soakMs: 0,
    minExposureHours: 0,
    stuckAfterMs: 3 * DAY,
    gates: [],
    alpha: 0.05,
    ...change,
  };
}
