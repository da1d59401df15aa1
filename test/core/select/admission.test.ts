import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Stage } from '../../../src/core/model/desired.ts';
import type { Score } from '../../../src/core/model/ids.ts';
import { DAY, HOUR } from '../../../src/core/model/time.ts';
import {
  admits,
  type Resolved,
  resolveStage,
  type Unit,
  willAdmit,
} from '../../../src/core/select/admission.ts';
import { HIGHEST_SCORE, scoreOf } from '../../../src/core/select/score.ts';

const STAGE: Stage = {
  name: 'stage',
  size: { kind: 'all' },
  unit: 'device',
  mode: 'cumulative',
  soakMs: 0,
  successThreshold: { kind: 'share', share: { numerator: 95, denominator: 100 } },
  errorThreshold: { kind: 'share', share: { numerator: 5, denominator: 100 } },
  minExposureHours: 0,
  approvals: 0,
  stuckAfterMs: DAY,
  stratifyBy: [],
  gates: [],
  rampMs: 0,
  holdback: { numerator: 0, denominator: 1 },
};
const share = (numerator: number, denominator = 100) =>
  ({ kind: 'share', share: { numerator, denominator } }) as const;
const countOf = (count: number) => ({ kind: 'count', count }) as const;

/** `count` units in ring order, each of `devices` devices. */
function units(count: number, devices = 1, stratumOf: (n: number) => string = () => ''): Unit[] {
  return Array.from({ length: count }, (_, n) => ({
    score: scoreOf('seed', `unit-${n}`),
    devices,
    stratum: stratumOf(n),
  })).sort((a, b) => (a.score < b.score ? -1 : 1));
}

/** The units once the stage has taken its own in. */
function enter(all: readonly Unit[], { admits: admission }: Resolved): Unit[] {
  const stage = { admits: admission, rampStartedAt: 0 };
  return all.map((unit) => (willAdmit(stage, unit.score) ? { ...unit, devices: 0 } : unit));
}

/** Opens the stages one after another; the newly taken units of each. */
function open(stages: readonly Partial<Stage>[], fleet: readonly Unit[]): number[] {
  let all = [...fleet];
  return stages.map((stage) => {
    const before = all.filter((unit) => unit.devices === 0).length;
    const resolved = resolveStage({ ...STAGE, ...stage }, all);
    all = enter(all, resolved);
    expect(all.filter((unit) => unit.devices === 0).length - before).toBe(resolved.units);
    return resolved.units;
  });
}

const split = (groups: number): Partial<Stage>[] =>
  Array.from({ length: groups }, (_, n) => (n + 1 === groups ? {} : { size: share(n + 1, groups) }));

test('S1.6 a hundred targets split into five groups of twenty; 103 differ by one at most', () => {
  expect(open(split(5), units(100))).toEqual([20, 20, 20, 20, 20]);
  const uneven = open(split(5), units(103));
  expect(uneven.reduce((sum, size) => sum + size)).toBe(103);
  expect(Math.max(...uneven) - Math.min(...uneven)).toBeLessThanOrEqual(1);
});

test('S5.8 S5.9 S5.10 of 25 sites the canary takes 1, the batch 10 and the fleet the other 14; of 8 sites 1, 7 and 0', () => {
  const stages = [
    { size: countOf(1), mode: 'incremental' as const },
    { size: countOf(10), mode: 'incremental' as const },
    { size: { kind: 'all' as const } },
  ];
  expect(open(stages, units(25, 4))).toEqual([1, 10, 14]);
  expect(open(stages, units(8, 4))).toEqual([1, 7, 0]);
});

test('shares include those already in and counts are additional, unless the mode says otherwise', () => {
  const fleet = units(1000);
  expect(open([{ size: countOf(10), mode: 'incremental' }, { size: share(5) }, {}], fleet)).toEqual([
    10, 40, 950,
  ]);
  expect(open([{ size: countOf(10) }, { size: share(5), mode: 'incremental' }, {}], fleet)).toEqual([
    10, 50, 940,
  ]);
  expect(open([{ size: countOf(10) }, { size: countOf(30), mode: 'cumulative' }], fleet)).toEqual([10, 20]);
});

describe('what a stage takes in', () => {
  test('a stage of up to a thousand stays exactly those, also when others enrol', () => {
    const resolved = resolveStage({ ...STAGE, size: countOf(3), mode: 'incremental' }, units(50));
    expect(resolved.admits.kind).toBe('list');
    expect(admits({ admits: resolved.admits, rampStartedAt: 0 }, '0000000000000000' as Score, 0)).toBe(false);
  });

  test('devices that people named are listed, however many; those of a tag are a threshold', () => {
    const fleet = units(30_000);
    const named = { ...STAGE, where: "deviceId <> 'x'" };
    for (const size of [share(10), { kind: 'all' as const }]) {
      const { admits: admission, units: taken } = resolveStage({ ...named, size }, fleet);
      expect(admission.kind === 'list' && admission.scores).toHaveLength(taken);
    }
    const tagged = { ...STAGE, where: "tags.ring = 'beta'" };
    expect(resolveStage(tagged, fleet).admits).toEqual({ kind: 'upTo', score: HIGHEST_SCORE });
  });

  test('a larger one is a threshold, so that it keeps its share as the fleet grows', () => {
    const fleet = units(30_000);
    const { admits: admission, units: taken } = resolveStage({ ...STAGE, size: share(10) }, fleet);
    expect(taken).toBe(3000);
    expect(admission).toEqual({ kind: 'upTo', score: fleet[2999]?.score });
  });

  test('a stage of everyone takes in whoever enrols later', () => {
    const { admits: admission } = resolveStage(STAGE, units(5));
    expect(admission).toEqual({ kind: 'upTo', score: HIGHEST_SCORE });
  });

  test('holdback keeps the highest scores out, also of a stage of everyone', () => {
    const fleet = units(200);
    const resolved = resolveStage({ ...STAGE, holdback: { numerator: 1, denominator: 100 } }, fleet);
    expect(resolved.units).toBe(198);
    const stage = { admits: resolved.admits, rampStartedAt: 0 };
    expect(fleet.filter(({ score }) => !admits(stage, score, 0))).toEqual(fleet.slice(-2));
  });

  test('devices count once, however many units they come in', () => {
    expect(resolveStage({ ...STAGE, size: countOf(2), mode: 'incremental' }, units(9, 7)).devices).toBe(14);
  });

  test('every stratum is in before ring order goes on', () => {
    const rare = units(1000, 1, (n) => (n === 0 ? 'rare' : 'common'));
    const resolved = resolveStage({ ...STAGE, size: countOf(2), mode: 'incremental' }, rare);
    const stage = { admits: resolved.admits, rampStartedAt: 0 };
    expect(
      rare
        .filter(({ score }) => admits(stage, score, 0))
        .map(({ stratum }) => stratum)
        .sort(),
    ).toEqual(['common', 'rare']);
  });

  test('a large stage takes in a stratum that lies beyond its threshold', () => {
    const fleet = units(20_000);
    const last = fleet.at(-1);
    const strata = fleet.map((unit) => ({ ...unit, stratum: unit === last ? 'rare' : 'common' }));
    const resolved = resolveStage({ ...STAGE, size: share(10) }, strata);
    expect(resolved.units).toBe(2000);
    const stage = { admits: resolved.admits, rampStartedAt: 0 };
    const taken = strata.filter(({ score }) => admits(stage, score, 0));
    expect(taken).toHaveLength(2000);
    expect(taken.at(-1)).toBe(strata.at(-1));
  });
});

describe('a ramp', () => {
  test('lets units in evenly, in ring order, and ends with all of them', () => {
    for (const size of [countOf(800), { kind: 'all' } as const]) {
      const fleet = units(800);
      const resolved = resolveStage({ ...STAGE, size, mode: 'incremental', rampMs: 10 * HOUR }, fleet);
      const stage = { admits: resolved.admits, rampStartedAt: 1000 };
      const inAt = (hours: number) =>
        fleet.filter(({ score }) => admits(stage, score, 1000 + hours * HOUR)).length;
      expect(inAt(0)).toBeLessThanOrEqual(1);
      expect(inAt(5) / 800).toBeCloseTo(0.5, 1);
      expect(inAt(10)).toBe(800);
      expect(inAt(-3)).toBeLessThanOrEqual(1);
    }
  });
});

test('a ramp that is held takes nobody in until it goes on', () => {
  const fleet = units(100);
  const { admits: admission } = resolveStage({ ...STAGE, rampMs: 10 * HOUR }, fleet);
  const inAt = (hours: number, stage: { rampStartedAt: number; rampHeldAt?: number }) =>
    fleet.filter(({ score }) => admits({ admits: admission, ...stage }, score, hours * HOUR)).length;
  const held = { rampStartedAt: 0, rampHeldAt: 2 * HOUR };
  expect(inAt(9, held)).toBe(inAt(2, { rampStartedAt: 0 }));
  // Resumed after seven hours: the ramp goes on where it stood.
  expect(inAt(9, { rampStartedAt: 7 * HOUR })).toBe(inAt(2, held));
});

test('stages nest, never take more than they say, and take all of it where enough match', () => {
  const stage = fc.record({
    size: fc.oneof(
      fc.integer({ min: 1, max: 60 }).map(countOf),
      fc.integer({ min: 1, max: 100 }).map((p) => share(p)),
    ),
    mode: fc.constantFrom('cumulative' as const, 'incremental' as const),
    stratifyBy: fc.constant([]),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 80 }),
      fc.array(fc.nat(3), { minLength: 80, maxLength: 80 }),
      fc.array(stage, { minLength: 1, maxLength: 5 }),
      (count, strata, stages) => {
        let all = units(count, 1, (n) => String(strata[n]));
        for (const each of stages) {
          const entered = all.filter((unit) => unit.devices === 0).length;
          const resolved = resolveStage({ ...STAGE, ...each }, all);
          const after = enter(all, resolved);
          const total = after.filter((unit) => unit.devices === 0).length;
          const asked =
            each.size.kind === 'count'
              ? each.size.count
              : Math.max(1, Math.ceil((each.size.share.numerator * count) / 100));
          const limit = Math.min(
            count,
            each.mode === 'cumulative' ? Math.max(asked, entered) : entered + asked,
          );
          expect(total).toBe(limit);
          all = after;
        }
      },
    ),
  );
});
