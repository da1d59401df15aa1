import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Fraction } from '../../../src/core/model/desired.ts';
import {
  failuresThatHalt,
  formatShare,
  formatSize,
  formatThreshold,
  shareCeil,
  shareFloor,
  successesNeeded,
  unitsOf,
} from '../../../src/core/select/size.ts';

const percent = (numerator: number): Fraction => ({ numerator, denominator: 100 });

test.each([
  [{ kind: 'share', share: percent(5) }, 1000, 50],
  [{ kind: 'share', share: percent(5) }, 1001, 51],
  [{ kind: 'share', share: percent(1) }, 3, 1],
  [{ kind: 'share', share: percent(7) }, 100, 7], // 0.07 * 100 is 7.000000000000001 in floating point
  [{ kind: 'count', count: 10 }, 4, 4],
  [{ kind: 'all' }, 12, 12],
  [{ kind: 'share', share: percent(5) }, 0, 0],
] as const)('%j of %i units are %i', (size, total, units) => {
  expect(unitsOf(size, total)).toBe(units);
});

test('S1.8 the success threshold of 80 % of 10 devices needs 8, and of 11 devices 9', () => {
  const threshold = { kind: 'share', share: percent(80) } as const;
  expect(successesNeeded(threshold, 10)).toBe(8);
  expect(successesNeeded(threshold, 11)).toBe(9);
});

test('a threshold is met by the whole stage at most, and an empty stage needs nothing', () => {
  expect(successesNeeded({ kind: 'count', count: 50 }, 10)).toBe(10);
  expect(successesNeeded({ kind: 'share', share: percent(95) }, 0)).toBe(0);
});

test('one failure at least halts, however small the share', () => {
  expect(failuresThatHalt({ kind: 'share', share: percent(0) }, 10)).toBe(1);
  expect(failuresThatHalt({ kind: 'share', share: percent(20) }, 10)).toBe(2);
  expect(failuresThatHalt({ kind: 'share', share: percent(20) }, 11)).toBe(3);
  expect(failuresThatHalt({ kind: 'count', count: 3 }, 10)).toBe(3);
});

test('shares print as people write them', () => {
  expect(formatShare(percent(5))).toBe('5%');
  expect(formatShare({ numerator: 5, denominator: 1000 })).toBe('0.5%');
  expect(formatShare({ numerator: 1, denominator: 3 })).toBe('1/3');
  expect(formatSize({ kind: 'share', share: percent(100) })).toBe('all');
  expect(formatThreshold({ kind: 'count', count: 3 })).toBe('3');
});

test('rounding up and down differ by at most one, exactly where the share is not whole', () => {
  const share = fc.record({
    numerator: fc.integer({ min: 0, max: 1e6 }),
    denominator: fc.integer({ min: 1, max: 1e6 }),
  });
  fc.assert(
    fc.property(share, fc.integer({ min: 0, max: 1e7 }), (each, total) => {
      const whole = (BigInt(each.numerator) * BigInt(total)) % BigInt(each.denominator) === 0n;
      expect(shareCeil(each, total) - shareFloor(each, total)).toBe(whole ? 0 : 1);
    }),
  );
});
