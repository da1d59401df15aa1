import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DAY, formatDuration, HOUR, MINUTE, parseDuration, SECOND } from '../../../src/core/model/time.ts';

describe('durations', () => {
  test.each([
    ['0s', 0],
    ['250ms', 250],
    ['90s', 90 * SECOND],
    ['1.5h', 90 * MINUTE],
    ['1h30m', 90 * MINUTE],
    ['30m1h', 90 * MINUTE],
    ['1m5ms', MINUTE + 5],
    ['2w1d', 15 * DAY],
    ['0.0005s', 1],
    ['0.0004s', 0],
  ])('%s is %i ms', (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });

  test.each([
    '',
    '5',
    'h',
    '-1h',
    '1 h',
    ' 1h',
    '1h ',
    '1H',
    '1e3s',
    '.5h',
    '1.h',
    '1y',
    '1h-',
    '1h\n',
    '99999999999w',
  ])('%j is none', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test.each([
    [0, '0s'],
    [6 * HOUR, '6h'],
    [90 * MINUTE, '1h30m'],
    [14 * DAY, '14d'],
    [DAY + 5 * MINUTE, '1d5m'],
    [2 * HOUR + 3 * MINUTE + 4 * SECOND, '2h3m'],
    [999, '999ms'],
    [-90 * SECOND, '-1m30s'],
  ])('%i ms is written %s', (duration, expected) => {
    expect(formatDuration(duration)).toBe(expected);
  });

  test('what is written in at most two units reads back as it was', () => {
    const unit = fc.constantFrom(DAY, HOUR, MINUTE, SECOND, 1);
    // Below 24, an amount of one unit never makes up another.
    const amount = fc.integer({ min: 1, max: 23 });
    fc.assert(
      fc.property(unit, amount, unit, amount, (unitA, amountA, unitB, amountB) => {
        const duration = unitA * amountA + (unitA === unitB ? 0 : unitB * amountB);
        expect(parseDuration(formatDuration(duration))).toBe(duration);
      }),
    );
  });

  test('any duration reads back less than one of its last written unit short', () => {
    fc.assert(
      fc.property(fc.nat({ max: 1000 * DAY }), (duration) => {
        const written = formatDuration(duration);
        const unit = parseDuration(`1${/[a-z]+$/.exec(written)?.[0]}`) ?? Number.NaN;
        const readBack = parseDuration(written) ?? Number.NaN;
        expect(readBack).toBeLessThanOrEqual(duration);
        expect(duration - readBack).toBeLessThan(unit);
        expect(formatDuration(readBack)).toBe(written);
      }),
    );
  });
});
