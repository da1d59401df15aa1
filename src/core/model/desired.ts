/**
 * Desired state: the documents of one snapshot, resolved and normalised. Shorthands are expanded, references
 * followed, defaults filled in, so that the planner never asks what was meant.
 */
import type { Flag } from './flag.ts';
import type { Gate } from './gate.ts';
import type { CommitId, DeviceId, Revision, RolloutName, SnapshotId } from './ids.ts';
import type { Manifest } from './manifest.ts';
import type { Planning } from './planning.ts';
import type { Receiver } from './receiver.ts';
import type { DurationMs, Instant } from './time.ts';

export interface DesiredState {
  readonly snapshot: SnapshotId;
  /** The commit of `main` that this snapshot was read from. */
  readonly commit: CommitId;
  readonly fleet: Fleet;
  readonly rollouts: ReadonlyMap<RolloutName, Rollout>;
  /** Every distribution set's revision by name, used or not: an outcome that names one makes it immutable. */
  readonly distributionSets: ReadonlyMap<string, Revision>;
  /** Operators' say-so from `devices/*.yaml`, by device. */
  readonly devices: ReadonlyMap<DeviceId, DeviceOverride>;
  /** By key. */
  readonly flags: ReadonlyMap<string, Flag>;
  /** What sites have differently, by the value of the tag `site`. */
  readonly sites: ReadonlyMap<string, SiteOverride>;
}

export interface Fleet {
  readonly name: string;
  readonly pollIntervalMs: DurationMs;
  /** IANA time zone of windows and devices that name none. */
  readonly timezone: string;
  /** Kinds of evidence that a distribution set needs before a rollout of it starts. */
  readonly require: readonly string[];
  /** While it lasts, nothing opens except the rollouts in `except`. */
  readonly freeze?: { readonly until: Instant; readonly except: readonly RolloutName[] };
  /** Who is told of decisions and deadlines. */
  readonly notifications?: readonly Receiver[];
  /** What plans reckon with. */
  readonly planning?: Planning;
}

export interface DeviceOverride {
  /** Laid over the tags that came with enrolment; `null` takes a tag away. */
  readonly tags: Readonly<Record<string, string | null>>;
  /** A retired device matches no rollout and keeps what it runs. */
  readonly retired: boolean;
  /** A revoked device is refused. */
  readonly revoked: boolean;
}

/** The few settings that a site may change. */
export interface SiteOverride {
  readonly pollIntervalMs?: DurationMs;
  /** Instead of every rollout's own. */
  readonly installWindow?: InstallWindow;
}

/** When devices may begin to install: for `durationMs` from each instant that `cron` names in the time zone. */
export interface InstallWindow {
  /** Five fields: minute, hour, day of month, month, day of week. */
  readonly cron: string;
  readonly durationMs: DurationMs;
  /** An IANA zone, or the tag that holds each device's; absent: the fleet's. */
  readonly timezone?: { readonly zone: string } | { readonly tag: string };
}

export interface Rollout {
  readonly name: RolloutName;
  readonly labels: Readonly<Record<string, string>>;
  readonly owner: string;
  readonly runbook?: string;
  readonly manifest: Manifest;
  readonly revision: Revision;
  /** What speaks for the distribution set, by kind: `hil` and where its report is. */
  readonly evidence: Readonly<Record<string, string>>;
  /** The target condition as written. */
  readonly condition: string;
  /** A condition: devices that match it go back to what they had before this attempt, and stay there. */
  readonly exclude?: string;
  /** Positive; the larger one wins. */
  readonly priority: number;
  readonly start: Start;
  readonly suspend: boolean;
  readonly gates: readonly Gate[];
  /** In at most this share of healthy attempts the gates that bet, all together, halt for no reason. Above 0, below 1. */
  readonly alpha: number;
  readonly stages: readonly Stage[];
  readonly onFailure: OnFailure;
  readonly installWindow?: InstallWindow;
  /** Selection seed; absent: random bits are drawn with the first attempt and recorded. */
  readonly seed?: string;
}

export type Start =
  | { readonly kind: 'onMerge' }
  | { readonly kind: 'manual' }
  | { readonly kind: 'at'; readonly at: Instant };

/** What a breach of the error threshold does. `ladder` lets the extent of the breach choose (docs/writing-rollouts.md). */
export type OnFailure = 'pause' | 'rollback' | 'ladder';

export interface Fraction {
  readonly numerator: number;
  readonly denominator: number;
}

/** Devices or units: how many, what share of those that match, or all of them. */
export type Size =
  | { readonly kind: 'count'; readonly count: number }
  | { readonly kind: 'share'; readonly share: Fraction }
  | { readonly kind: 'all' };

export type Threshold =
  | { readonly kind: 'count'; readonly count: number }
  | { readonly kind: 'share'; readonly share: Fraction };

export interface Stage {
  readonly name: string;
  readonly size: Size;
  /** A condition: only devices that match it as well enter by this stage, and its size counts those. It may list many device ids. */
  readonly where?: string;
  /** `device`, or the tag whose values enter whole: `site` for `10 sites`. */
  readonly unit: string;
  /** Whether `size` includes the units that earlier stages took in. Shares do and counts do not, unless said. */
  readonly mode: 'cumulative' | 'incremental';
  readonly soakMs: DurationMs;
  /** It soaks for so long, unless before that, and after `soakMs`, its gates over events are certain. */
  readonly soakMaxMs?: DurationMs;
  readonly successThreshold: Threshold;
  readonly errorThreshold: Threshold;
  /** Device-hours that the stage's devices must have run the revision before it can pass. */
  readonly minExposureHours: number;
  /** Distinct approvals needed before the stage opens. */
  readonly approvals: number;
  readonly stuckAfterMs: DurationMs;
  /** Tags whose combinations each get a unit before ring order fills the rest. */
  readonly stratifyBy: readonly string[];
  /** Names of the rollout's gates that this stage judges by. */
  readonly gates: readonly string[];
  /** Over this time the stage takes its units in, evenly. 0: at once. */
  readonly rampMs: DurationMs;
  /** Share of the matching units kept on what they run until the attempt ends, as control. */
  readonly holdback: Fraction;
}

/** An entry of `ops/<rollout>.yaml`. Bound to an attempt, so that it can never act on a later one. */
export interface Operation {
  /** Stable identity of the entry: an outcome that has applied it names it. */
  readonly id: string;
  readonly rollout: RolloutName;
  readonly action: 'pause' | 'resume' | 'approve' | 'promote' | 'cancel' | 'retry';
  readonly attempt: number;
  readonly stage?: string;
  /** With `approve`: the gate that is approved. */
  readonly gate?: string;
  readonly by: string;
  /** When it was asked for, as it was written: it tells otherwise equal entries apart. */
  readonly at?: string;
  readonly reason?: string;
  /** With `promote`: all stages at once, outside windows and in spite of a freeze, back to a revision that succeeded here before. */
  readonly emergency?: boolean;
  /** Where it was written. */
  readonly place: { readonly file: string; readonly line: number; readonly column: number };
  /** Whose signature is on the commit that brought the entry, as `trust/allowed_signers` knows the key. */
  readonly signer?: string;
  /** Why no signer is known, in a sentence with the next step. */
  readonly unsigned?: string;
}

export interface Operations {
  readonly entries: readonly Operation[];
  /** What people wrote down afterwards, by rollout and attempt (`<rollout>/<attempt>`). */
  readonly learnings: ReadonlyMap<string, string>;
}
