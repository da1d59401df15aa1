/** Small programs and devices, for tests that look at one rule. Attempt n has the revision that {@link revision} gives. */
import type { DeviceRecord, ReportedState } from '../../../src/core/model/device.ts';
import type {
  CommitId,
  DeviceId,
  Revision,
  RolloutName,
  Score,
  SnapshotId,
} from '../../../src/core/model/ids.ts';
import type {
  OpenStage,
  Program,
  ProgramCandidate,
  ProgramRevision,
  ProgramRollout,
} from '../../../src/core/model/program.ts';
import { HIGHEST_SCORE } from '../../../src/core/select/score.ts';

export const CONDITION = "tags.product = 'kiosk'";

export function revision(attempt: number): Revision {
  return `sha256:${String(attempt).repeat(64)}` as Revision;
}

export function revisionOf(attempt: number): ProgramRevision {
  return {
    attempt,
    revision: revision(attempt),
    manifest: {
      distributionSet: `kiosk@${attempt}`,
      product: 'kiosk',
      version: String(attempt),
      modules: [],
    },
    snapshot: 'f'.repeat(40) as SnapshotId,
    commit: 'c'.repeat(40) as CommitId,
  };
}

/** A stage that has been open since 0 and takes everybody in. */
export function stageOf(change: Partial<OpenStage> = {}): OpenStage {
  return {
    name: 'canary',
    condition: CONDITION,
    unit: 'device',
    admits: { kind: 'upTo', score: HIGHEST_SCORE },
    rampStartedAt: 0,
    gates: [{ name: 'health', kind: 'expression', expression: 'healthy' }],
    ...change,
  };
}

export const NOBODY = { kind: 'list', scores: [] as readonly Score[] } as const;

export function candidate(
  attempt: number,
  stages: readonly OpenStage[],
  change: Partial<ProgramCandidate> = {},
): ProgramCandidate {
  return { ...revisionOf(attempt), offers: true, seed: 'seed', stages, ...change };
}

export function rolloutOf(change: Partial<ProgramRollout> = {}, name = 'kiosk'): ProgramRollout {
  return { name: name as RolloutName, priority: 10, condition: CONDITION, gates: [], kept: [], ...change };
}

export function programOf(...rollouts: readonly Partial<ProgramRollout>[]): Program {
  return {
    fleet: 'test',
    rollouts: rollouts.map((each) => rolloutOf(each)),
    devices: {},
    pollIntervalMs: 60_000,
    timezone: 'UTC',
    sites: {},
    flags: [],
    knownRevisions: [1, 2, 3].map(revision),
    knownProducts: [],
  };
}

export function reportOf(said: {
  running?: number;
  installing?: number;
  failed?: number;
  healthy?: boolean;
}): ReportedState {
  const { running, installing, failed, healthy = true } = said;
  const attempt =
    installing !== undefined
      ? { revision: revision(installing), state: 'installing' as const }
      : failed !== undefined
        ? { revision: revision(failed), state: 'failed' as const }
        : undefined;
  return {
    receivedAt: 0,
    generation: 1,
    ...(running === undefined ? {} : { running: revision(running) }),
    ...(attempt === undefined ? {} : { attempt }),
    signals: { healthy },
    boots: [],
    exposureHours: running === undefined ? 0 : 1,
  };
}

export function deviceOf(id: string, report?: ReportedState): DeviceRecord {
  return {
    id: id as DeviceId,
    tags: { product: 'kiosk' },
    publicKey: '',
    serial: 1,
    enrolledAt: 0,
    version: 1,
    ...(report === undefined ? {} : { report }),
  };
}
