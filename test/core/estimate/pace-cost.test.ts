import { expect, test } from 'vitest';
import { paceCost } from '../../../src/core/estimate/pace-cost.ts';

const EXAMPLE = { affectedFast: 10_000, affectedSlow: 1000, costPerDevice: 200, delayCost: 80_000 };

test('S4.90 a bug that costs $2,000,000 is worth a slow rollout of $280,000', () => {
  expect(paceCost(EXAMPLE)).toEqual({
    fastCost: 2_000_000,
    slowBugCost: 200_000,
    slowCost: 280_000,
    choice: 'longer',
    breakEvenRatio: 80_000 / 1_800_000,
  });
});

test('S4.90 a bug that costs $20,000 is not worth a slow rollout of $82,000', () => {
  expect(paceCost({ ...EXAMPLE, costPerDevice: 2 })).toEqual({
    fastCost: 20_000,
    slowBugCost: 2000,
    slowCost: 82_000,
    choice: 'shorter',
    breakEvenRatio: undefined,
  });
});

test('S4.90 where both cost the same nothing speaks for waiting', () => {
  const even = { ...EXAMPLE, delayCost: 1_800_000 };
  expect(paceCost(even)).toMatchObject({ fastCost: 2_000_000, slowCost: 2_000_000, choice: 'shorter' });
  expect(paceCost({ ...even, delayCost: 1_799_999 }).choice).toBe('longer');
});

test('cents are exact', () => {
  const cents = { affectedFast: 3, affectedSlow: 1, costPerDevice: 0.1, delayCost: 0.2 };
  expect(paceCost(cents)).toMatchObject({
    fastCost: 0.3,
    slowBugCost: 0.1,
    slowCost: 0.3,
    choice: 'shorter',
  });
});
