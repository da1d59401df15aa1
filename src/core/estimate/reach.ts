/**
 * How many devices each stage takes in, before anything has been drawn. Counts are those that the draw will have; which devices, and
 * with them how large the units are, only the draw decides, so that devices of units are an expectation and its bounds.
 */
import type { Stage } from '../model/desired.ts';
import { shareFloor, unitsOf } from '../select/size.ts';
import { devicesIn, matching, type Population, type PopulationCell } from './population.ts';

export interface StageReach {
  /** Units that the stage takes in, and of how many in all. */
  readonly units: number;
  readonly unitsInAll: number;
  /** Devices that are new with it: exact where units are devices, otherwise what is expected of a draw. */
  readonly devices: number;
  /** As many it has at the most: those of the largest units. */
  readonly devicesMax: number;
  /** Devices that are in once it has opened, those of earlier stages included. */
  readonly reached: number;
  readonly reachedMax: number;
  /** Its units, or whom it is for, cannot be counted: so many there are at the most. */
  readonly isBound?: true;
}

/** Units that a stage draws from. */
interface Units {
  /** The devices that belong to one. */
  readonly cells: readonly PopulationCell[];
  readonly count: number;
  readonly devices: number;
  /** Devices in the `units` largest. */
  largest(units: number): number;
  readonly isBound: boolean;
}

/**
 * One per stage. `cells`: the devices that the rollout gets. Of each kind of device a draw is expected to take the share that it has of
 * those who can still enter, so that stages for some devices only are counted, too.
 */
export function reachOf(
  stages: readonly Stage[],
  cells: readonly PopulationCell[],
  population: Pick<Population, 'omitted' | 'hasIds'>,
): readonly StageReach[] {
  const found: StageReach[] = [];
  /** Devices of each kind that are in, as an expectation. */
  const inside = new Map<PopulationCell, number>();
  let [reached, reachedMax] = [0, 0];
  for (const stage of stages) {
    const whose = whoMayEnter(stage, cells, population);
    const units = unitsIn(stage.unit, whose.cells, population.omitted);
    const average = units.count === 0 ? 0 : units.devices / units.count;
    const before = units.cells.reduce((sum, cell) => sum + (inside.get(cell) ?? 0), 0);
    // What earlier stages took in, in units of this one: they draw in the same order, so what they have is the beginning of it.
    const entered = average === 0 ? 0 : Math.min(units.count, Math.round(before / average));
    const heldBack = shareFloor(stage.holdback, units.count);
    const wanted = unitsOf(stage.size, units.count) - (stage.mode === 'cumulative' ? entered : 0);
    const taken = Math.max(0, Math.min(wanted, units.count - heldBack - entered));
    const isRest = taken > 0 && entered + taken === units.count;
    const free = units.devices - before;
    const devices = Math.round(isRest ? free : taken * average);
    const devicesMax = isRest ? devices : Math.min(units.largest(taken), Math.round(free));
    for (const cell of units.cells) {
      const has = inside.get(cell) ?? 0;
      if (free > 0) inside.set(cell, has + (devices * (cell.devices - has)) / free);
    }
    reached += devices;
    reachedMax += Math.max(devices, devicesMax);
    found.push({
      units: taken,
      unitsInAll: units.count,
      devices,
      devicesMax: Math.max(devices, devicesMax),
      reached,
      reachedMax: Math.max(reached, Math.min(devicesIn(cells), reachedMax)),
      ...(units.isBound || whose.isBound ? { isBound: true } : {}),
    });
  }
  return found;
}

/** The devices that a stage is for: of those whom it cannot be told of, all of them at the most. */
function whoMayEnter(
  { where }: Stage,
  cells: readonly PopulationCell[],
  { omitted, hasIds }: Pick<Population, 'omitted' | 'hasIds'>,
): { readonly cells: readonly PopulationCell[]; readonly isBound: boolean } {
  if (where === undefined) return { cells, isBound: false };
  const found = matching({ cells, omitted, hasIds }, where);
  return found.kind === 'known' ? { cells: found.cells, isBound: false } : { cells, isBound: true };
}

function unitsIn(unit: string, cells: readonly PopulationCell[], omitted: Population['omitted']): Units {
  if (unit === 'device') {
    const devices = devicesIn(cells);
    return { cells, count: devices, devices, largest: (units) => units, isBound: false };
  }
  const values = omitted[unit];
  if (values !== undefined) {
    const devices = devicesIn(cells);
    const count = Math.min(values, devices);
    return {
      cells,
      count,
      devices,
      largest: (units) => Math.round((units * devices) / count),
      isBound: true,
    };
  }
  // A device without the tag belongs to no unit, and no stage of units takes it in.
  const tagged = cells.filter(({ tags }) => Object.hasOwn(tags, unit));
  const sizes = new Map<string, number>();
  for (const { tags, devices } of tagged) {
    const value = tags[unit] ?? '';
    sizes.set(value, (sizes.get(value) ?? 0) + devices);
  }
  const sorted = [...sizes.values()].sort((a, b) => b - a);
  const sumOf = (some: readonly number[]) => some.reduce((sum, size) => sum + size, 0);
  return {
    cells: tagged,
    count: sorted.length,
    devices: sumOf(sorted),
    largest: (units) => sumOf(sorted.slice(0, units)),
    isBound: false,
  };
}
