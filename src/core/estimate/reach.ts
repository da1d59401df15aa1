/**
 * How many devices each stage takes in, before anything has been drawn. Counts are those that the draw will have; which devices, and
 * with them how large the units are, only the draw decides, so that devices of units are an expectation and its bounds.
 */
import type { Stage } from '../model/desired.ts';
import { shareFloor, unitsOf } from '../select/size.ts';
import { devicesIn, type Population, type PopulationCell } from './population.ts';

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
  /** Its units cannot be counted: so many there are at the most. */
  readonly isBound?: true;
}

/** Units that a stage draws from. */
interface Units {
  readonly count: number;
  readonly devices: number;
  /** Devices in the `units` largest. */
  largest(units: number): number;
  readonly isBound: boolean;
}

/** One per stage. `cells`: the devices that the rollout gets. */
export function reachOf(
  stages: readonly Stage[],
  cells: readonly PopulationCell[],
  { omitted }: Pick<Population, 'omitted'>,
): readonly StageReach[] {
  const found: StageReach[] = [];
  let [reached, reachedMax] = [0, 0];
  for (const stage of stages) {
    const units = unitsIn(stage.unit, cells, omitted);
    const average = units.count === 0 ? 0 : units.devices / units.count;
    // What earlier stages took in, in units of this one: they draw in the same order, so what they have is the beginning of it.
    const entered = average === 0 ? 0 : Math.min(units.count, Math.round(reached / average));
    const heldBack = shareFloor(stage.holdback, units.count);
    const wanted = unitsOf(stage.size, units.count) - (stage.mode === 'cumulative' ? entered : 0);
    const taken = Math.max(0, Math.min(wanted, units.count - heldBack - entered));
    const isRest = taken > 0 && entered + taken === units.count;
    const devices = isRest ? units.devices - reached : Math.round(taken * average);
    const devicesMax = isRest ? devices : Math.min(units.largest(taken), units.devices - reached);
    reached += devices;
    reachedMax = Math.min(units.devices, reachedMax + devicesMax);
    found.push({
      units: taken,
      unitsInAll: units.count,
      devices,
      devicesMax: Math.max(devices, devicesMax),
      reached,
      reachedMax: Math.max(reached, reachedMax),
      ...(units.isBound ? { isBound: true } : {}),
    });
  }
  return found;
}

function unitsIn(unit: string, cells: readonly PopulationCell[], omitted: Population['omitted']): Units {
  if (unit === 'device') {
    const devices = devicesIn(cells);
    return { count: devices, devices, largest: (units) => units, isBound: false };
  }
  const values = omitted[unit];
  if (values !== undefined) {
    const devices = devicesIn(cells);
    const count = Math.min(values, devices);
    return { count, devices, largest: (units) => Math.round((units * devices) / count), isBound: true };
  }
  const sizes = new Map<string, number>();
  for (const { tags, devices } of cells) {
    // A device without the tag belongs to no unit, and no stage of units takes it in.
    const value = Object.hasOwn(tags, unit) ? tags[unit] : undefined;
    if (value !== undefined) sizes.set(value, (sizes.get(value) ?? 0) + devices);
  }
  const sorted = [...sizes.values()].sort((a, b) => b - a);
  const sumOf = (some: readonly number[]) => some.reduce((sum, size) => sum + size, 0);
  return {
    count: sorted.length,
    devices: sumOf(sorted),
    largest: (units) => sumOf(sorted.slice(0, units)),
    isBound: false,
  };
}
