/**
 * What operators see, each figure by one formula (docs/states.md has them in words). Pure: the API, the commands and
 * the tests read the same numbers.
 */

import type { DeviceStatus } from './assign/standing.ts';
import {
  emptyRolloutTally,
  emptyStageTally,
  emptyTally,
  type RolloutTally,
  type Tally,
} from './assign/tally.ts';
import { describeGate } from './gates/describe.ts';
import type { GateReading } from './gates/reading.ts';
import { alphaOf } from './gates/replay.ts';
import type { DesiredState, Rollout, Stage } from './model/desired.ts';
import { isExpression } from './model/gate.ts';
import type { CommitId, Revision, RolloutName, SnapshotId } from './model/ids.ts';
import {
  type Attempt,
  type Breach,
  type Cause,
  type Concern,
  isFinished,
  knownGoodOf,
  type Outcomes,
  type Restored,
  type RolloutState,
  type StageCounts,
  type StageState,
  type StageVerdict,
  type Transition,
} from './model/outcome.ts';
import type { Instant } from './model/time.ts';
import type { Plan, RolloutReport } from './plan/contract.ts';
import { isEmergency } from './plan/emergency.ts';
import { stagesToCome } from './plan/slow.ts';
import { formatSize, formatThreshold } from './select/size.ts';
import { compileSelection } from './target/condition.ts';

/** Every state that a rollout's status may show. */
export const ROLLOUT_STATES: readonly RolloutStatus['state'][] = Object.keys({
  unknown: true,
  waitingForApproval: true,
  ready: true,
  running: true,
  monitoring: true,
  paused: true,
  succeeded: true,
  stopped: true,
  rolledBack: true,
  superseded: true,
} satisfies Record<RolloutStatus['state'], true>) as RolloutStatus['state'][];

export const DEVICE_STATUSES = Object.keys(emptyTally().status) as readonly DeviceStatus[];

export interface RolloutStatus {
  readonly name: RolloutName;
  readonly labels: Readonly<Record<string, string>>;
  readonly owner: string;
  readonly runbook?: string;
  readonly priority: number;
  readonly targetCondition: string;
  readonly distributionSet: string;
  readonly revision: Revision;
  /** The latest attempt's; `unknown` until there is one. */
  readonly state: RolloutState | 'unknown';
  readonly cause?: Cause;
  readonly attempt?: number;
  /** What that attempt installs: after a rollback it is not what main wants. */
  readonly attempted?: string;
  /** Why it does not move, and when time alone will change that. */
  readonly reason: string;
  readonly until?: Instant;
  readonly devices: DeviceCounts;
  readonly stages: readonly StageStatus[];
  readonly knownGood?: KnownGoodStatus;
  readonly restored?: Restored;
  readonly history: readonly Transition[];
  /** The gates of the stage at hand; of none, once the attempt has ended. */
  readonly gates: readonly GateStatus[];
  /** The last breach of the attempt, and what it asks of people. */
  readonly breach?: Breach;
  /** What goes on and is to be looked at. */
  readonly concerns: readonly Concern[];
}

export interface GateStatus {
  readonly name: string;
  readonly stage: string;
  /** The rule in a few words. */
  readonly rule: string;
  /** `missing`: it cannot say that all is well. An expression halts nothing by itself: devices that it fails on count as failed. */
  readonly state: GateReading['state'];
  readonly because: string;
  readonly ratio?: number;
  /** Natural logarithm of the evidence, and from where on it halts. */
  readonly logEvidence?: number;
  readonly logLimit?: number;
}

/** target ⊇ actual = healthy + unhealthy + unknown. */
export interface DeviceCounts {
  readonly target: number;
  readonly actual: number;
  readonly healthy: number;
  readonly unhealthy: number;
  readonly unknown: number;
  /** Actual devices that no open stage contains; 0 once the attempt has ended, for then no stage will. */
  readonly scheduled: number;
}

export interface StageStatus {
  readonly name: string;
  readonly state: StageState;
  /** As declared: `5%`, `10 sites`, `all`. */
  readonly size: string;
  /** Of which devices, in short; absent: of all that the rollout is for. */
  readonly where?: string;
  /** Taken in when it opened; absent before. */
  readonly units?: number;
  readonly devices?: number;
  readonly counts: StageCounts;
  readonly successThreshold: string;
  readonly errorThreshold: string;
  readonly openedAt?: Instant;
  readonly closedAt?: Instant;
  readonly verdict?: StageVerdict;
  /** Failed devices by category, most frequent first. */
  readonly failures: readonly { readonly category: string; readonly devices: number }[];
}

export interface KnownGoodStatus {
  readonly attempt: number;
  readonly revision: Revision;
  readonly distributionSet: string;
  readonly snapshot: SnapshotId;
  readonly commit: CommitId;
}

export interface FleetCounts {
  readonly total: number;
  /** What runs, most devices first; what no attempt had is `other`, and of whom nothing was heard `unknown`. */
  readonly versions: readonly VersionCount[];
  readonly status: Readonly<Record<DeviceStatus, number>>;
}

export interface VersionCount {
  /** Of a distribution set, or `other`, or `unknown`. */
  readonly name: string;
  readonly revision?: Revision;
  readonly devices: number;
}

export function fleetCounts(tally: Tally, outcomes: Outcomes): FleetCounts {
  return { total: tally.devices, status: { ...tally.status }, versions: versionsIn(tally, outcomes) };
}

function versionsIn({ versions }: Tally, outcomes: Outcomes): readonly VersionCount[] {
  const names = new Map<string, string>();
  for (const { revision, manifest } of [...outcomes.values()].flat()) {
    if (versions.has(revision)) names.set(revision, manifest.distributionSet);
  }
  return [...versions]
    .map(([runs, devices]): VersionCount => {
      if (runs === 'other' || runs === 'unknown') return { name: runs, devices };
      return { name: names.get(runs) ?? 'other', revision: runs, devices };
    })
    .sort((a, b) => b.devices - a.devices || (a.name < b.name ? -1 : 1));
}

/** The status of every rollout that is wanted, in ascending order of name. */
export function rolloutStatuses(given: {
  desired: DesiredState;
  outcomes: Outcomes;
  tally: Tally;
  report: readonly RolloutReport[];
  gates: Plan['gates'];
}): readonly RolloutStatus[] {
  const { desired, outcomes, tally, report } = given;
  return [...desired.rollouts.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((rollout) => {
      const attempts = outcomes.get(rollout.name) ?? [];
      const latest = attempts.at(-1);
      const knownGood = knownGoodOf(attempts);
      const said = report.find((each) => each.rollout === rollout.name);
      const counted = tally.rollouts.get(rollout.name) ?? emptyRolloutTally();
      const { target, actual, healthy, unhealthy, unknown } = counted;
      const scheduled = latest !== undefined && isFinished(latest) ? 0 : counted.scheduled;
      return {
        name: rollout.name,
        labels: rollout.labels,
        owner: rollout.owner,
        ...(rollout.runbook === undefined ? {} : { runbook: rollout.runbook }),
        priority: rollout.priority,
        targetCondition: rollout.condition,
        distributionSet: rollout.manifest.distributionSet,
        revision: rollout.revision,
        state: latest?.state ?? 'unknown',
        ...(latest === undefined
          ? {}
          : { cause: latest.cause, attempt: latest.attempt, attempted: latest.manifest.distributionSet }),
        reason: said?.reason ?? 'not planned yet',
        ...(said?.until === undefined ? {} : { until: said.until }),
        devices: { target, actual, healthy, unhealthy, unknown, scheduled },
        stages: stageStatuses(rollout, latest, counted.stages),
        ...(knownGood === undefined ? {} : { knownGood: knownGoodStatus(knownGood) }),
        ...(latest?.restored === undefined ? {} : { restored: latest.restored }),
        history: latest?.history ?? [],
        gates: gateStatuses(latest, counted, given.gates.get(rollout.name) ?? []),
        ...(latest?.breach === undefined ? {} : { breach: latest.breach }),
        concerns: latest?.concerns ?? [],
      };
    });
}

function knownGoodStatus(attempt: Attempt): KnownGoodStatus {
  const { attempt: number, revision, manifest, snapshot, commit } = attempt;
  return { attempt: number, revision, distributionSet: manifest.distributionSet, snapshot, commit };
}

function gateStatuses(
  latest: Attempt | undefined,
  tally: RolloutTally,
  readings: readonly GateReading[],
): readonly GateStatus[] {
  const stage = latest?.stages.at(-1);
  if (latest === undefined || stage === undefined || isFinished(latest)) return [];
  const counts = tally.stages[latest.stages.length - 1]?.gates;
  return stage.gates.map((gate): GateStatus => {
    const common = { name: gate.name, stage: stage.name, rule: describeGate(gate) };
    if (isExpression(gate)) {
      const { holds = 0, fails = 0, missing = 0 } = counts?.get(gate.name) ?? {};
      const state = holds > 0 && missing === 0 ? 'holds' : 'missing';
      const because = `it holds on ${holds} devices, fails on ${fails}, and ${missing} have not said what it needs`;
      return { ...common, state, because };
    }
    const { state, because, ratio, logEvidence } = readings.find(({ name }) => name === gate.name) ?? UNREAD;
    return {
      ...common,
      state,
      because,
      ...(ratio === undefined || !Number.isFinite(ratio) ? {} : { ratio }),
      ...(logEvidence === undefined || !Number.isFinite(logEvidence)
        ? {}
        : { logEvidence, logLimit: -Math.log(alphaOf(stage)) }),
    };
  });
}

const UNREAD: GateReading = { name: '', state: 'missing', because: 'it has not been looked at yet' };

/** Opened stages as recorded, then the declared ones to come. A finished attempt's counts are those of its verdicts. */
function stageStatuses(
  rollout: Rollout,
  latest: Attempt | undefined,
  tallies: Parameters<typeof openStatus>[1][],
): readonly StageStatus[] {
  const isLatest = latest?.revision === rollout.revision;
  const opened = latest?.stages ?? [];
  // An emergency takes everybody in: no declared stage opens after it.
  const mayGoOn = latest === undefined || (isLatest && !isEmergency(latest));
  const toCome = latest === undefined ? rollout.stages : mayGoOn ? stagesToCome(rollout, latest) : [];
  return [
    ...opened.map((stage, index) => openStatus(stage, tallies[index] ?? emptyStageTally())),
    ...toCome.map(scheduledStatus),
  ];
}

function openStatus(
  stage: Attempt['stages'][number],
  tally: ReturnType<typeof emptyStageTally>,
): StageStatus {
  const seen = Object.values(tally.counts).some((devices) => devices > 0);
  return {
    name: stage.name,
    state: stage.state,
    size: sizeText(stage.size, stage.unit),
    ...openWhere(stage),
    units: stage.units,
    devices: stage.devices,
    counts: seen ? { ...tally.counts } : (stage.verdict?.counts ?? { ...tally.counts }),
    successThreshold: formatThreshold(stage.successThreshold),
    errorThreshold: formatThreshold(stage.errorThreshold),
    openedAt: stage.openedAt,
    ...(stage.closedAt === undefined ? {} : { closedAt: stage.closedAt }),
    ...(stage.verdict === undefined ? {} : { verdict: stage.verdict }),
    failures: seen
      ? [...tally.failures]
          .filter(([, devices]) => devices > 0)
          .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
          .map(([category, devices]) => ({ category, devices }))
      : (stage.verdict?.failures ?? []),
  };
}

function scheduledStatus(stage: Stage): StageStatus {
  return {
    name: stage.name,
    state: 'scheduled',
    size: sizeText(formatSize(stage.size), stage.unit),
    ...(stage.where === undefined ? {} : { where: compileSelection(stage.where).summary }),
    counts: { ...emptyStageTally().counts },
    successThreshold: formatThreshold(stage.successThreshold),
    errorThreshold: formatThreshold(stage.errorThreshold),
    failures: [],
  };
}

/** What stands for a condition that lists devices. */
export const CHOSEN_BY_ID = 'chosen by device id';

/** An outcome does not say which device ids were named. */
function openWhere({ where, whereDigest }: Attempt['stages'][number]): Pick<StageStatus, 'where'> {
  if (whereDigest !== undefined) return { where: CHOSEN_BY_ID };
  return where === undefined ? {} : { where };
}

/** `10 sites`, `5% of sites`, `25 devices`, `5%`, `all`. */
function sizeText(size: string, unit: string): string {
  if (size === 'all') return size;
  const isShare = !/^[0-9]+$/.test(size);
  if (unit === 'device') return isShare ? size : `${size} ${size === '1' ? 'device' : 'devices'}`;
  if (isShare) return `${size} of ${unit}s`;
  return `${size} ${unit}${size === '1' ? '' : 's'}`;
}
