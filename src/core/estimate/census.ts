/**
 * Takes a census: devices by combination of their tags. What tells nearly every device apart, as a serial number does, is left out, so
 * that the census stays small however large the fleet is.
 */
import type { BaselineRate, Cell, Census } from '../model/census.ts';
import type { Instant } from '../model/time.ts';

export interface CensusTaking {
  /** Counts `devices` devices with these tags. */
  add(tags: Readonly<Record<string, string>>, devices?: number): void;
  taken(given: { readonly at: Instant; readonly rates: Readonly<Record<string, BaselineRate>> }): Census;
}

/** A tag with more values than this says who a device is rather than of what kind. Sites of a large fleet are below it. */
export const TAG_VALUES_MAX = 5_000;
/** As many combinations are a file of about a megabyte. */
export const CELLS_MAX = 10_000;

export function createCensusTaking(
  limits: { readonly valuesMax: number; readonly cellsMax: number } = {
    valuesMax: TAG_VALUES_MAX,
    cellsMax: CELLS_MAX,
  },
): CensusTaking {
  const values = new Map<string, Set<string>>();
  const omitted = new Map<string, number>();
  let cells = new Map<string, { readonly tags: Readonly<Record<string, string>>; devices: number }>();

  function count(tags: Readonly<Record<string, string>>, devices: number): void {
    const names = Object.keys(tags)
      .filter((name) => !omitted.has(name))
      .sort();
    const key = JSON.stringify(names.flatMap((name) => [name, tags[name]]));
    const known = cells.get(key);
    if (known !== undefined) known.devices += devices;
    else cells.set(key, { tags: Object.fromEntries(names.map((name) => [name, tags[name] ?? ''])), devices });
  }

  function omit(name: string): void {
    omitted.set(name, values.get(name)?.size ?? 0);
    values.delete(name);
    const before = cells;
    cells = new Map();
    for (const { tags, devices } of before.values()) count(tags, devices);
  }

  /** The tag with the most values makes the most combinations. */
  function omitLargest(): void {
    const [largest] = [...values].sort(([a, ofA], [b, ofB]) => ofB.size - ofA.size || (a < b ? -1 : 1));
    if (largest !== undefined) omit(largest[0]);
  }

  return {
    add(tags, devices = 1) {
      for (const [name, value] of Object.entries(tags)) {
        if (omitted.has(name)) continue;
        const known = values.get(name) ?? new Set<string>();
        values.set(name, known);
        known.add(value);
        if (known.size > limits.valuesMax) omit(name);
      }
      count(tags, devices);
      // Four times the limit on the way: what is left out at the end is judged by the whole fleet.
      while (cells.size > 4 * limits.cellsMax) omitLargest();
    },
    taken({ at, rates }) {
      while (cells.size > limits.cellsMax) omitLargest();
      const sorted = [...cells].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, cell]): Cell => cell);
      return {
        at,
        devices: sorted.reduce((sum, { devices }) => sum + devices, 0),
        cells: sorted,
        omitted: Object.fromEntries([...omitted].sort(([a], [b]) => (a < b ? -1 : 1))),
        rates,
      };
    },
  };
}
