/**
 * The program: what a poll needs to know, and nothing per device. It is a pure function of the desired state and
 * the outcomes, so every replica that has read the same commits serves the same answers.
 */

import type { DeviceOverride, InstallWindow, SiteOverride } from './desired.ts';
import type { Flag } from './flag.ts';
import type { ExpressionGate } from './gate.ts';
import type { CommitId, DeviceId, Revision, RolloutName, SnapshotId } from './ids.ts';
import type { Manifest } from './manifest.ts';
import type { Admission } from './outcome.ts';
import type { DurationMs, Instant } from './time.ts';

export interface Program {
  readonly fleet: string;
  /** Highest precedence first. */
  readonly rollouts: readonly ProgramRollout[];
  /** Operators' say-so by device id. */
  readonly devices: Readonly<Record<DeviceId, DeviceOverride>>;
  readonly pollIntervalMs: DurationMs;
  /** IANA time zone of windows and devices that name none. */
  readonly timezone: string;
  /** By the value of the tag `site`. */
  readonly sites: Readonly<Record<string, SiteOverride>>;
  /** In order of name. */
  readonly flags: readonly Flag[];
  /** Every revision that an attempt of any rollout ever had: whatever else a device runs is drift. */
  readonly knownRevisions: readonly Revision[];
  /** Products that some attempt ever was about, in order. What devices know of them must not vanish. */
  readonly knownProducts: readonly string[];
}

export interface ProgramRollout {
  readonly name: RolloutName;
  readonly priority: number;
  /** The target condition in force. */
  readonly condition: string;
  /** Judged for devices on known-good; a stage brings its own. */
  readonly gates: readonly ExpressionGate[];
  /** Outside of it nothing new is offered, but for the return from a rolled-back attempt. */
  readonly installWindow?: InstallWindow;
  /** The unfinished attempt. `offers` is false while it is paused or was stopped: who has it keeps it, nobody else gets it. */
  readonly candidate?: ProgramCandidate;
  /** Attempts given up since known-good without a rollback, newest first: their devices keep what they run. */
  readonly kept: readonly ProgramCandidate[];
  readonly knownGood?: KnownGood;
  /** Earlier ones, newest first, for devices that the ones after them exclude. */
  readonly olderKnownGood?: readonly KnownGood[];
  /** Devices that main excludes now are no newcomers. */
  readonly exclude?: string;
  /** A rolled-back attempt whose devices are on their way back. */
  readonly withdrawn?: ProgramRevision;
}

/** What succeeded here, and for whom. */
export interface KnownGood extends ProgramRevision {
  readonly condition: string;
  /** Devices that match this went back to what they had before. */
  readonly exclude?: string;
}

export interface ProgramRevision {
  readonly attempt: number;
  /** Devices are to tell more than they usually do: something is wrong, and people look for it. */
  readonly telemetry?: 'debug';
  readonly revision: Revision;
  readonly manifest: Manifest;
  readonly snapshot: SnapshotId;
  readonly commit: CommitId;
}

export interface ProgramCandidate extends ProgramRevision {
  readonly offers: boolean;
  /** An emergency does not wait for the install window. */
  readonly emergency?: boolean;
  readonly seed: string;
  readonly excluding?: string;
  /** Devices that match this go back to what they had before. */
  readonly exclude?: string;
  readonly stages: readonly OpenStage[];
  /** What the gates of its open stages look at in reports, beyond each device's own; absent: nothing. */
  readonly watches?: Watches;
}

export interface Watches {
  /** Names of events that are counted. */
  readonly events: readonly string[];
  readonly metrics: readonly {
    readonly signal: string;
    readonly range?: { readonly from: number; readonly to: number };
  }[];
  /** Whether devices of which nothing is heard are counted. */
  readonly silent: boolean;
}

export interface OpenStage {
  readonly name: string;
  readonly condition: string;
  /** A condition that its devices match as well; it names no device ids. */
  readonly where?: string;
  readonly unit: string;
  readonly admits: Admission;
  /** When its ramp began, less the time that it stood still; it stands still since `rampHeldAt`. */
  readonly rampStartedAt: Instant;
  readonly rampHeldAt?: Instant;
  readonly gates: readonly ExpressionGate[];
}
