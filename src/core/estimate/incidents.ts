/** How many incidents devices have anyway, and how many times as many were seen. */
import { type DurationMs, HOUR } from '../model/time.ts';

/**
 * devices × rate × hours: the incidents to expect of `devices` that are watched for `durationMs`.
 *
 * `ratePerDeviceHour` is incidents per device and hour; a rate per device and day is 24 times as much.
 */
export function expectedIncidents(given: {
  readonly devices: number;
  readonly ratePerDeviceHour: number;
  readonly durationMs: DurationMs;
}): number {
  return given.devices * given.ratePerDeviceHour * (given.durationMs / HOUR);
}

/**
 * observed ÷ expected: 1 is as always, 2 is twice as many. Where nothing is expected, nothing is as always (1) and anything
 * is infinitely more.
 */
export function incidentRatio(given: { readonly observed: number; readonly expected: number }): number {
  if (given.expected === 0) return given.observed === 0 ? 1 : Number.POSITIVE_INFINITY;
  return given.observed / given.expected;
}
