/** What people know of their fleet and a plan cannot: how often things happen anyway, and what going back costs. No device gets anything of it. */
import type { DurationMs } from './time.ts';

export interface Planning {
  /** Incidents per device-hour when nothing is wrong, by name of the event. */
  readonly rates: Readonly<Record<string, number>>;
  /** From a poll that brings an assignment to running it. */
  readonly installMs: DurationMs;
  /** Until somebody has looked at what a stage brought. */
  readonly analysisMs: DurationMs;
  /** The share of devices on which going back fails, so that somebody has to help: 0 to 1. */
  readonly rollbackFailureRatio: number;
  /** What support takes in a day. */
  readonly ticketsPerDay?: number;
  /** Of a device's link. */
  readonly bitsPerSecond?: number;
  /** How many times the time at the link's rate a download takes: at least 1. */
  readonly transferOverhead: number;
  /** The share of downloads that is begun again, 0 to 1. */
  readonly retryRatio: number;
  /** What a delta has of a full image: what changed, and what comes on top of that. */
  readonly delta?: { readonly changedRatio: number; readonly overheadRatio: number };
  /** Tags whose values a first stage should have all of. */
  readonly coverTags: readonly string[];
}

export const PLANNING_DEFAULTS: Planning = {
  rates: {},
  installMs: 0,
  analysisMs: 0,
  rollbackFailureRatio: 0,
  transferOverhead: 1,
  retryRatio: 0,
  coverTags: ['hardwareRevision', 'region'],
};
