import { expect, test } from 'vitest';
import { damageOf } from '../../../src/core/estimate/damage.ts';

test('S4.21 halting at 1,250 of 25,000 leaves 1,250 affected, and going on reaches 23,750 more, 19 times as many', () => {
  expect(damageOf({ fleet: 25_000, reached: 1250 })).toMatchObject({
    affected: 1250,
    spared: 23_750,
    ratio: 19,
  });
  expect(damageOf({ fleet: 10_000, reached: 2500 })).toMatchObject({
    affected: 2500,
    spared: 7500,
    ratio: 3,
  });
});

test('S4.22 halting at 1,250 of 25,000 prevents 95 % of the damage', () => {
  expect(damageOf({ fleet: 25_000, reached: 1250 }).prevented).toBe(0.95);
  expect(damageOf({ fleet: 10_000, reached: 2500 }).prevented).toBe(0.75);
});

test('halting before the first device prevents all of it, halting after the last nothing', () => {
  expect(damageOf({ fleet: 10, reached: 0 })).toMatchObject({ spared: 10, prevented: 1 });
  expect(damageOf({ fleet: 10, reached: 10 })).toMatchObject({ spared: 0, ratio: 0, prevented: 0 });
});
