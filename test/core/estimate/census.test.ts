import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createCensusTaking } from '../../../src/core/estimate/census.ts';
import type { Census } from '../../../src/core/model/census.ts';

type Tags = Readonly<Record<string, string>>;

function taken(devices: readonly Tags[], limits?: { valuesMax: number; cellsMax: number }): Census {
  const taking = createCensusTaking(limits);
  for (const tags of devices) taking.add(tags);
  return taking.taken({ at: 0, rates: {} });
}

describe('a census', () => {
  test('counts devices by the combination of their tags', () => {
    const b = { product: 'kiosk', hardware: 'b' };
    expect(taken([b, { hardware: 'c', product: 'kiosk' }, b, {}])).toEqual({
      at: 0,
      devices: 4,
      omitted: {},
      rates: {},
      cells: [
        { tags: { hardware: 'b', product: 'kiosk' }, devices: 2 },
        { tags: { hardware: 'c', product: 'kiosk' }, devices: 1 },
        { tags: {}, devices: 1 },
      ],
    });
  });

  test('leaves out what tells devices apart, and says how many values it has', () => {
    const devices = Array.from({ length: 30 }, (_, n) => ({
      serial: `s${n}`,
      region: n % 2 ? 'north' : 'south',
    }));
    const census = taken(devices, { valuesMax: 20, cellsMax: 100 });
    expect(census.omitted).toEqual({ serial: 21 });
    expect(census.cells).toEqual([
      { tags: { region: 'north' }, devices: 15 },
      { tags: { region: 'south' }, devices: 15 },
    ]);
  });

  test('leaves out the tag with the most values until there are few enough combinations', () => {
    const devices = Array.from({ length: 60 }, (_, n) => ({
      site: `s${n % 12}`,
      hardware: `h${n % 5}`,
      region: `r${n % 2}`,
    }));
    const census = taken(devices, { valuesMax: 100, cellsMax: 10 });
    expect(census.omitted).toEqual({ site: 12 });
    expect(census.cells).toHaveLength(10);
  });

  test('loses no device, and is the same in whatever order they come', () => {
    const tags = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('x', 'y', 'z', '1', '2'));
    fc.assert(
      fc.property(
        fc.array(tags, { maxLength: 60 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 9 }),
        (devices, valuesMax, cellsMax) => {
          const census = taken(devices, { valuesMax, cellsMax });
          expect(census.cells.reduce((sum, cell) => sum + cell.devices, 0)).toBe(devices.length);
          expect(census.cells.length).toBeLessThanOrEqual(Math.max(cellsMax, 1));
          const other = taken([...devices].reverse(), { valuesMax, cellsMax });
          if (Object.keys(census.omitted).length === 0) expect(other).toEqual(census);
        },
      ),
    );
  });
});
