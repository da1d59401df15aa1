/** The fleet that a proposal is held against, from whichever source there is; and what is known of how often things happen in it. */
import { createCensusTaking } from '../core/estimate/census.ts';
import type { Population, PopulationCell } from '../core/estimate/population.ts';
import type { BaselineRate, Census } from '../core/model/census.ts';
import type { DesiredState, DeviceOverride } from '../core/model/desired.ts';
import type { DeviceId } from '../core/model/ids.ts';
import { PLANNING_DEFAULTS } from '../core/model/planning.ts';
import type { Instant } from '../core/model/time.ts';
import { compileSelection } from '../core/target/condition.ts';
import type { ListedDevice } from './device-list.ts';

/** Where the counts come from. */
export type FleetSource =
  | { readonly kind: 'census'; readonly from: string; readonly at: Instant }
  | { readonly kind: 'devices'; readonly from: string }
  /** The devices that `fleet/devices/*.yaml` names: all there are of a small fleet, and the exceptions of a large one. */
  | { readonly kind: 'declared' }
  | { readonly kind: 'none' };

export interface KnownFleet {
  readonly source: FleetSource;
  readonly population: Population;
  readonly rates: Readonly<Record<string, BaselineRate>>;
}

export function fleetOfCensus(census: Census, from: string): KnownFleet {
  const { cells, omitted, rates, at } = census;
  return { source: { kind: 'census', from, at }, population: { cells, omitted, hasIds: false }, rates };
}

/** Devices one by one where a condition of the states asks for ids, otherwise counted by their tags. */
export function fleetOfDevices(
  devices: readonly ListedDevice[],
  source: FleetSource,
  states: readonly DesiredState[],
): KnownFleet {
  const head = states.at(-1);
  const present = devices.flatMap(({ id, tags }) => {
    const said = head?.devices.get(id as DeviceId);
    if (said?.retired === true || said?.revoked === true) return [];
    return [{ id, tags: said === undefined ? tags : overlaid(tags, said) }];
  });
  const asked = askedOf(states);
  if (asked.has(undefined)) {
    const cells = present.map(({ id, tags }) => ({ id, tags, devices: 1 }));
    return { source, population: { cells, omitted: {}, hasIds: true }, rates: {} };
  }
  // A list is here anyway: as many kinds of devices as anybody asks about are kept, and no tag that nobody does.
  const names = [...asked].filter((name) => name !== undefined);
  const taking = createCensusTaking({
    valuesMax: Number.POSITIVE_INFINITY,
    cellsMax: Number.POSITIVE_INFINITY,
  });
  for (const { tags } of present) taking.add(only(names, tags));
  const { cells, omitted } = taking.taken({ at: 0, rates: {} });
  return { source, population: { cells, omitted, hasIds: false }, rates: {} };
}

function only(
  names: readonly string[],
  tags: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const kept: Record<string, string> = {};
  for (const name of names) {
    const value = Object.hasOwn(tags, name) ? tags[name] : undefined;
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

/** Undefined where the devices that are declared are exceptions of a fleet that is elsewhere: no rollout matches any of them. */
function declaredFleet(states: readonly DesiredState[]): KnownFleet | undefined {
  const head = states.at(-1);
  const declared = [...(head?.devices.keys() ?? [])].map((id) => ({ id, tags: {} }));
  const fleet = fleetOfDevices(declared, { kind: 'declared' }, states);
  const conditions = [...(head?.rollouts.values() ?? [])].map(({ condition }) => compileSelection(condition));
  const isFleet = fleet.population.cells.some(({ tags, id = '' }: PopulationCell) =>
    conditions.some((condition) => condition.matches({ id, tags })),
  );
  return isFleet ? fleet : undefined;
}

/** What the documents themselves know of the fleet. */
export function fleetOfDocuments(states: readonly DesiredState[]): KnownFleet {
  const none = { cells: [], omitted: {}, hasIds: false };
  return declaredFleet(states) ?? { source: { kind: 'none' }, population: none, rates: {} };
}

function overlaid(
  tags: Readonly<Record<string, string>>,
  { tags: over }: Pick<DeviceOverride, 'tags'>,
): Readonly<Record<string, string>> {
  const own = Object.fromEntries(
    Object.entries(over).flatMap(([name, value]) => (value === null ? [] : [[name, value]])),
  );
  const kept = Object.entries(tags).filter(([name]) => !Object.hasOwn(over, name));
  return { ...Object.fromEntries(kept), ...own };
}

/** What plans of these states look at: tags, and undefined for the ids of devices. */
function askedOf(states: readonly DesiredState[]): ReadonlySet<string | undefined> {
  const asked = new Set<string | undefined>();
  for (const { fleet, rollouts } of states) {
    for (const tag of (fleet.planning ?? PLANNING_DEFAULTS).coverTags) asked.add(tag);
    for (const { condition, exclude, stages } of rollouts.values()) {
      for (const text of [condition, exclude, ...stages.map(({ where }) => where)]) {
        if (text !== undefined) for (const tag of compileSelection(text).reads) asked.add(tag);
      }
      for (const { unit, stratifyBy } of stages) {
        for (const tag of [unit, ...stratifyBy]) if (tag !== 'device') asked.add(tag);
      }
    }
  }
  return asked;
}
