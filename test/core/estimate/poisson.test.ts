import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chanceOfAtLeast } from '../../../src/core/estimate/poisson.ts';

test('S4.19 forty crashes where ten are expected come by chance less than once in a thousand times', () => {
  const chance = chanceOfAtLeast(40, 10);
  expect(Math.abs(chance - 7.34163631456e-13)).toBeLessThan(1e-18);
  expect(chance).toBeLessThan(0.001);
  // Both summed with 60 digits elsewhere.
  expect(chanceOfAtLeast(60, 25) / 2.112058441122689e-9).toBeCloseTo(1, 12);
});

describe('known values', () => {
  test.each([
    [2, 5, 1 - 6 * Math.exp(-5)],
    [8, 2.5, 0.004_246_695_489],
    [1, 0.25, 1 - Math.exp(-0.25)],
    [1, 0.0625, 1 - Math.exp(-0.0625)],
    [1, 0.000_001, 9.999_995e-7],
    [0, 10, 1],
    [-3, 10, 1],
    [0, 0, 1],
    [1, 0, 0],
  ])('P(X ≥ %d | %d) = %d', (count, mean, expected) => {
    expect(chanceOfAtLeast(count, mean)).toBeCloseTo(expected, 9);
  });

  test('a threshold between two counts is reached at the next one', () => {
    expect(chanceOfAtLeast(7.5, 2.5)).toBe(chanceOfAtLeast(8, 2.5));
  });

  test('means of millions are summed from where they end', () => {
    // P(X ≥ n | n) = ½ + 1/(3·√(2πn)) + O(n^-1.5): Ramanujan's θ.
    for (const n of [1000, 1_000_000]) {
      const expected = 0.5 + 1 / (3 * Math.sqrt(2 * Math.PI * n));
      expect(chanceOfAtLeast(n, n)).toBeCloseTo(expected, 6);
    }
  });

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('no count has the mean %d', (mean) => {
    expect(() => chanceOfAtLeast(1, mean)).toThrow('must be finite and not negative');
  });
});

test('fewer are always at least as likely, and more are expected the likelier they are', () => {
  const means = fc.double({ min: 0, max: 5000, noNaN: true });
  fc.assert(
    fc.property(fc.nat(6000), means, means, (count, one, other) => {
      const [less, more] = [Math.min(one, other), Math.max(one, other)];
      const chance = chanceOfAtLeast(count, less);
      expect(chance).toBeGreaterThanOrEqual(0);
      expect(chance).toBeLessThanOrEqual(1);
      expect(chanceOfAtLeast(count + 1, less)).toBeLessThanOrEqual(chance);
      expect(chanceOfAtLeast(count, more) - chance).toBeGreaterThanOrEqual(-1e-12);
    }),
  );
});
