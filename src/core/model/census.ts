/**
 * A fleet without its devices: how many have which tags. It names no device, so it can lie in git, where people who propose a rollout
 * see with it whom the rollout would reach.
 */
import type { Instant } from './time.ts';

/** Devices whose tags are the same, as far as a census keeps them. */
export interface Cell {
  readonly tags: Readonly<Record<string, string>>;
  readonly devices: number;
}

export interface Census {
  readonly at: Instant;
  /** Devices that are not retired; the sum of the cells. */
  readonly devices: number;
  /** No two have the same tags; in order of their tags, so that equal fleets have equal censuses. */
  readonly cells: readonly Cell[];
  /** Tags with too many values to keep, as serial numbers have, by name; and how many values each has, at least. */
  readonly omitted: Readonly<Record<string, number>>;
  /** How often things happen anyway, by name of the event as reports have it. */
  readonly rates: Readonly<Record<string, BaselineRate>>;
}

export interface BaselineRate {
  readonly incidents: number;
  readonly deviceHours: number;
}
