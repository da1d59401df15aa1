import { describe, expect, test } from 'vitest';
import {
  adaptiveDuration,
  STAGE_BASES,
  type StageKind,
} from '../../../src/core/estimate/adaptive-duration.ts';
import { HOUR } from '../../../src/core/model/time.ts';

type Row = readonly [
  kind: StageKind,
  devices: number,
  rareBugRatio: number,
  isSafetyCritical: boolean,
  hours: number,
];

const check = ([kind, devices, rareBugRatio, isSafetyCritical, hours]: Row) =>
  expect(adaptiveDuration({ kind, devices, rareBugRatio, isSafetyCritical }).durationMs).toBe(hours * HOUR);

describe('S4.89 a stage lasts by its kind, rare bugs, safety and size', () => {
  test.each<Row>([
    ['canary', 1250, 0.05, false, 6],
    ['canary', 1250, 0.2, true, 18],
    ['alpha', 50, 0.05, false, 12],
    ['alpha', 50, 0.2, true, 36],
    ['full', 173_750, 0.05, true, 252],
    ['early', 100, 0.1, false, 24],
  ])('%s, %d devices, rare bugs %d, safety-critical %s: %d h', (...row) => check(row));

  test.each<Row>([
    ['beta', 100, 0, false, 72],
    ['beta', 99, 0.11, false, 72],
    ['regional', 5000, 0.3, false, 144],
    ['regional', 5000, 0.1, true, 108],
    ['full', 99, 1, true, 252],
    ['early', 99, 0, false, 12],
  ])('%s, %d devices, rare bugs %d, safety-critical %s: %d h', (...row) => check(row));

  test('the bases', () => {
    expect(Object.entries(STAGE_BASES).map(([kind, ms]) => `${kind} ${ms / HOUR}`)).toEqual([
      'alpha 24',
      'beta 72',
      'canary 6',
      'early 24',
      'regional 72',
      'full 168',
    ]);
  });

  test('what it was multiplied by is said', () => {
    expect(
      adaptiveDuration({ kind: 'alpha', devices: 50, rareBugRatio: 0.2, isSafetyCritical: true }).factors,
    ).toEqual([
      { factor: 2, reason: 'rare bugs' },
      { factor: 1.5, reason: 'safety-critical' },
      { factor: 0.5, reason: 'small stage' },
    ]);
    expect(
      adaptiveDuration({ kind: 'full', devices: 100, rareBugRatio: 0.1, isSafetyCritical: false }).factors,
    ).toEqual([]);
  });
});
