import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { reachOf } from '../../../src/core/estimate/reach.ts';
import type { Stage } from '../../../src/core/model/desired.ts';

const share = (percent: number) =>
  ({ kind: 'share', share: { numerator: percent, denominator: 100 } }) as const;
const count = (number: number) => ({ kind: 'count', count: number }) as const;
const ALL = { kind: 'all' } as const;

function stage(size: Stage['size'], given: Partial<Stage> = {}): Stage {
  return {
    name: 'stage',
    size,
    unit: 'device',
    mode: size.kind === 'count' ? 'incremental' : 'cumulative',
    soakMs: 0,
    successThreshold: share(95),
    errorThreshold: share(5),
    minExposureHours: 0,
    approvals: 0,
    stuckAfterMs: 0,
    stratifyBy: [],
    gates: [],
    rampMs: 0,
    holdback: { numerator: 0, denominator: 1 },
    ...given,
  };
}

const COUNTED = { omitted: {}, hasIds: false };
const devicesOf = (...args: Parameters<typeof reachOf>) => reachOf(...args).map(({ devices }) => devices);
const FLEET = [
  { tags: { region: 'north', site: 'a' }, devices: 60 },
  { tags: { region: 'north', site: 'b' }, devices: 20 },
  { tags: { region: 'south', site: 'c' }, devices: 20 },
];

describe('what stages take in', () => {
  test('shares contain what came before, and counts do not', () => {
    expect(devicesOf([stage(share(5)), stage(share(20)), stage(ALL)], FLEET, COUNTED)).toEqual([5, 15, 80]);
    expect(devicesOf([stage(count(5)), stage(count(20)), stage(ALL)], FLEET, COUNTED)).toEqual([5, 20, 75]);
    expect(
      devicesOf([stage(count(5)), stage(count(20), { mode: 'cumulative' }), stage(ALL)], FLEET, COUNTED),
    ).toEqual([5, 15, 80]);
  });

  test('a share of few is one device at least, and more than there are is all of them', () => {
    expect(
      devicesOf([stage(share(1)), stage(count(500)), stage(ALL)], [{ tags: {}, devices: 7 }], COUNTED),
    ).toEqual([1, 6, 0]);
  });

  test('of sites it is what a draw is expected to have, and the largest at the most', () => {
    const [canary, rest] = reachOf([stage(count(1), { unit: 'site' }), stage(ALL)], FLEET, COUNTED);
    expect(canary).toMatchObject({
      units: 1,
      unitsInAll: 3,
      devices: 33,
      devicesMax: 60,
      reached: 33,
      reachedMax: 60,
    });
    expect(rest).toMatchObject({ devices: 67, reached: 100 });
  });

  test('devices without the tag of a unit enter only where devices are the units', () => {
    const fleet = [...FLEET, { tags: {}, devices: 50 }];
    const [, sites, all] = reachOf(
      [stage(count(1), { unit: 'site' }), stage(count(3), { unit: 'site' }), stage(ALL)],
      fleet,
      COUNTED,
    );
    expect(sites).toMatchObject({ reached: 100 });
    expect(all).toMatchObject({ devices: 50, reached: 150 });
  });

  test('a stage for some devices only counts those', () => {
    const south = { where: "tags.region = 'south'" };
    const stages = [stage(count(5), south), stage(share(50), south), stage(share(50)), stage(ALL)];
    // The ten of the south that are in count to the half of everyone.
    expect(devicesOf(stages, FLEET, COUNTED)).toEqual([5, 5, 40, 50]);
    expect(devicesOf([stage(ALL, south), stage(ALL)], FLEET, COUNTED)).toEqual([20, 80]);
  });

  test('what a census cannot tell is a bound, and said to be one', () => {
    const omitted = { omitted: { site: 400 }, hasIds: false };
    const fleet = [{ tags: { region: 'north' }, devices: 4000 }];
    expect(reachOf([stage(count(2), { unit: 'site' })], fleet, omitted)).toMatchObject([
      { units: 2, devices: 20, isBound: true },
    ]);
    expect(reachOf([stage(count(2), { where: "deviceId = 'a'" })], fleet, omitted)).toMatchObject([
      { devices: 2, isBound: true },
    ]);
  });

  test('what is held back is reached by nobody', () => {
    const holdback = { numerator: 10, denominator: 100 };
    expect(devicesOf([stage(share(50), { holdback }), stage(ALL, { holdback })], FLEET, COUNTED)).toEqual([
      50, 40,
    ]);
  });

  test('nobody is taken in twice, and never more than there are', () => {
    const size = fc.oneof(
      fc.integer({ min: 1, max: 100 }).map(share),
      fc.integer({ min: 1, max: 300 }).map(count),
      fc.constant(ALL),
    );
    const where = fc.constantFrom(undefined, "tags.region = 'south'", "tags.site = 'a'");
    const anyStage = fc
      .tuple(size, where, fc.constantFrom('cumulative', 'incremental'))
      .map(([of, condition, mode]) =>
        stage(of, { mode, ...(condition === undefined ? {} : { where: condition }) }),
      );
    fc.assert(
      fc.property(fc.array(anyStage, { minLength: 1, maxLength: 6 }), (stages) => {
        const reaches = reachOf(stages, FLEET, COUNTED);
        const reached = reaches.map((each) => each.reached);
        expect([...reached].sort((a, b) => a - b)).toEqual(reached);
        expect(reached.at(-1)).toBeLessThanOrEqual(100);
        expect(reaches.every(({ devices }) => devices >= 0)).toBe(true);
      }),
    );
  });
});
