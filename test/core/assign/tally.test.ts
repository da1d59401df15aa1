import fc from 'fast-check';
import { expect, test } from 'vitest';
import { standingOf } from '../../../src/core/assign/standing.ts';
import { count, emptyTally, type Tally } from '../../../src/core/assign/tally.ts';
import type { DeviceRecord } from '../../../src/core/model/device.ts';
import { HOUR } from '../../../src/core/model/time.ts';
import { candidate, deviceOf, NOBODY, programOf, reportOf, revisionOf, stageOf } from './program.ts';

const base = {
  name: 'base' as never,
  priority: 5,
  condition: "tags.product = 'kiosk' OR tags.product = 'sign'",
};
const PROGRAMS = [
  programOf({ candidate: candidate(2, [stageOf()]) }, { ...base, candidate: candidate(3, [stageOf()]) }),
  programOf(
    {
      knownGood: { ...revisionOf(1), condition: "tags.ring = 'a'" },
      candidate: candidate(2, [stageOf({ admits: NOBODY }), stageOf()]),
    },
    base,
  ),
  programOf({
    knownGood: { ...revisionOf(1), condition: "tags.product = 'kiosk'" },
    withdrawn: revisionOf(2),
  }),
  programOf({
    candidate: candidate(2, [stageOf()]),
    installWindow: { cron: '0 2 * * *', durationMs: HOUR, timezone: { tag: 'zone' } },
  }),
];

const attempt = fc.constantFrom(1, 2, 3, 9);
const report = fc.oneof(
  fc.constant(undefined),
  fc.record({ running: attempt, healthy: fc.boolean() }).map(reportOf),
  fc.record({ running: attempt, installing: attempt }).map(reportOf),
  fc.record({ running: attempt, failed: attempt }).map(reportOf),
);
const device = fc
  .record({
    id: fc.constantFrom('a', 'b', 'c', 'd'),
    product: fc.constantFrom('kiosk', 'sign', 'other'),
    zone: fc.constantFrom('Europe/Berlin', 'Asia/Tokyo'),
    report,
  })
  .map(
    ({ id, product, zone, report: said }): DeviceRecord => ({
      ...deviceOf(id, said),
      tags: { product, zone },
    }),
  );

/** Without what came and went: an entry of zeros says as much as none. */
function nonZero(value: unknown): unknown {
  if (value instanceof Map) return nonZero(Object.fromEntries(value));
  if (typeof value !== 'object' || value === null) return value === 0 ? undefined : value;
  const entries = Object.entries(value).map(([key, each]) => [key, nonZero(each)]);
  const left = entries.filter(([, each]) => each !== undefined);
  return left.length === 0 ? undefined : Object.fromEntries(left);
}

test('the sum of the changes is the recount of what is left', () => {
  fc.assert(
    fc.property(fc.constantFrom(...PROGRAMS), fc.array(device, { maxLength: 30 }), (program, changes) => {
      const incremental = emptyTally();
      const fleet = new Map<string, DeviceRecord>();
      for (const after of changes) {
        const before = fleet.get(after.id);
        if (before !== undefined) count(incremental, standingOf(program, before, 1), -1);
        count(incremental, standingOf(program, after, 1), 1);
        fleet.set(after.id, after);
      }
      const recounted: Tally = emptyTally();
      for (const each of fleet.values()) count(recounted, standingOf(program, each, 1), 1);
      // The earliest change may have been that of a device which is gone.
      const { until, ...counts } = incremental;
      const { until: later = until, ...recounts } = recounted;
      expect(nonZero(counts)).toEqual(nonZero(recounts));
      expect(until ?? 0).toBeLessThanOrEqual(later ?? 0);
      for (const { target, actual, healthy, unhealthy, unknown } of recounted.rollouts.values()) {
        expect(actual).toBe(healthy + unhealthy + unknown);
        expect(target).toBeGreaterThanOrEqual(actual);
      }
    }),
    { numRuns: 300 },
  );
});
