import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import definitions from '../../schemas/definitions.schema.json' with { type: 'json' };
import { parseDuration } from '../../src/core/model/time.ts';
import { parseInstant, parseShare, parseSize, parseThreshold } from '../../src/documents/quantity.ts';

const share = (numerator: number, denominator: number) => ({
  kind: 'share',
  share: { numerator, denominator },
});
const count = (count: number) => ({ kind: 'count', count });

describe('sizes', () => {
  test.each([
    ['5%', share(5, 100), 'device'],
    ['0.5 %', share(5, 1000), 'device'],
    ['12.25%', share(1225, 10_000), 'device'],
    ['5% of sites', share(5, 100), 'site'],
    ['250', count(250), 'device'],
    [250, count(250), 'device'],
    ['250 devices', count(250), 'device'],
    ['1 device', count(1), 'device'],
    ['10 sites', count(10), 'site'],
    ['1 site', count(1), 'site'],
    ['2 floors', count(2), 'floor'],
    ['1 address', count(1), 'address'],
    ['all', { kind: 'all' }, 'device'],
  ])('%s', (text, size, unit) => {
    expect(parseSize(text)).toEqual({ size, unit });
  });

  test.each(['0', '0%', '0.0 %', '101%', '-1', '1.5', '', ' 5%', '5% sites of', 'some', '5 %%', '0.00001%'])(
    '%j is none',
    (text) => {
      expect(parseSize(text)).toBeUndefined();
    },
  );
});

test('thresholds are shares or positive whole numbers', () => {
  expect(parseThreshold('95%')).toEqual(share(95, 100));
  expect(parseThreshold('99.9%')).toEqual(share(999, 1000));
  expect(parseThreshold(3)).toEqual(count(3));
  for (const none of ['0%', '101%', '3', 'all', 0, -1, 1.5]) expect(parseThreshold(none)).toBeUndefined();
});

test('shares may be nothing', () => {
  expect(parseShare('0%')).toEqual({ numerator: 0, denominator: 100 });
  expect(parseShare('100.00 %')).toEqual({ numerator: 10_000, denominator: 10_000 });
  expect(parseShare('100.01%')).toBeUndefined();
});

test('instants are read with their time zone, and days that do not exist are not', () => {
  expect(parseInstant('2026-12-24T18:00:00Z')).toBe(Date.UTC(2026, 11, 24, 18));
  expect(parseInstant('2026-12-24T18:00+02:00')).toBe(Date.UTC(2026, 11, 24, 16));
  expect(parseInstant('2028-02-29T00:00:00Z')).toBe(Date.UTC(2028, 1, 29));
  expect(parseInstant('2026-02-29T00:00:00Z')).toBeUndefined();
  expect(parseInstant('2026-04-31T23:59:59-01:00')).toBeUndefined();
});

/** The schema's word on a value: what editors show, and what is accepted before the parser sees it. */
function accepts(
  schema: { pattern: string; minimum?: number; maxLength?: number },
  value: string | number,
): boolean {
  if (typeof value === 'number')
    return Number.isInteger(value) && value >= (schema.minimum ?? Number.POSITIVE_INFINITY);
  return (
    new RegExp(schema.pattern).test(value) && value.length <= (schema.maxLength ?? Number.POSITIVE_INFINITY)
  );
}

const { size, threshold, duration, share: shareSchema } = definitions.$defs;
const digits = fc.stringMatching(/^[0-9]{1,7}$/);
const written = fc.oneof(
  fc.integer({ min: -3, max: 1000 }),
  fc
    .tuple(
      digits,
      fc.constantFrom('', '.5', '.00', '.1234', '.12345'),
      fc.constantFrom('', '%', ' %', ' devices', ' sites', '% of sites', ' % of ss'),
    )
    .map((parts) => parts.join('')),
  fc
    .array(
      fc.tuple(
        digits,
        fc.constantFrom('', '.5', '.1234'),
        fc.constantFrom('ms', 's', 'm', 'h', 'd', 'w', 'y'),
      ),
      { maxLength: 5 },
    )
    .map((parts) => parts.flat().join('')),
  fc.constantFrom('all', 'ALL', '', '%', 'all sites'),
);

test('whatever a schema accepts can be read, and sizes, thresholds and shares that it refuses cannot', () => {
  fc.assert(
    fc.property(written, (value) => {
      expect(parseSize(value) !== undefined).toBe(accepts(size, value));
      expect(parseThreshold(value) !== undefined).toBe(accepts(threshold, value));
      if (typeof value === 'number') return;
      expect(parseShare(value) !== undefined).toBe(accepts(shareSchema, value));
      if (accepts(duration, value)) expect(parseDuration(value)).toBeTypeOf('number');
    }),
    { numRuns: 5000 },
  );
});

test('a percentage is exact: the fraction times the denominator is what was written', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 99 }), fc.stringMatching(/^[0-9]{1,4}$/), (whole, decimals) => {
      const fraction = parseShare(`${whole}.${decimals}%`);
      expect(fraction).toEqual({
        numerator: whole * 10 ** decimals.length + Number(decimals),
        denominator: 100 * 10 ** decimals.length,
      });
    }),
  );
});
