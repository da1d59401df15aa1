/**
 * Of which kinds a virtual fleet is: how many devices there are with which tags. A census of a real fleet says so; without one
 * it is guessed from the documents: devices that the rollout is for, in the units and strata that its stages ask for. No ids but
 * those that the documents name.
 */
import type { Cell } from '../core/model/census.ts';
import type { DesiredState, Rollout } from '../core/model/desired.ts';
import type { DeviceId } from '../core/model/ids.ts';
import { compileCondition, type Targeted } from '../core/target/condition.ts';
import type { SimulatedIdentity } from './virtual-device.ts';

export type Guess =
  | { readonly ok: true; readonly cells: readonly Cell[]; readonly declared: readonly SimulatedIdentity[] }
  | { readonly ok: false; readonly message: string };

/** What share of the fleet the values of a stratum have, in their order; of more values the last are equally many. */
const STRATUM_SHARES = [0.6, 0.3, 0.1];
/** A stratum of which no document names a value. */
const STRATUM_VALUES = ['a', 'b', 'c'];
/** Devices that share a unit: thermostats of a house, kiosks of a shop. */
const DEVICES_PER_UNIT = 10;
/** Combinations of values that a condition is tried with. */
const TRIES_MAX = 5000;

/**
 * `wheres`: conditions that faults are bound to, and that some devices are to match. The weights of the cells are parts of the
 * whole, in millionths.
 */
export function guessCells(desired: DesiredState, rollout: Rollout, wheres: readonly string[]): Guess {
  const tags = tagsFor(rollout.condition);
  const declared = declaredDevices(desired, rollout.condition);
  if (tags === undefined && declared.length === 0) {
    const next = 'give the tags of such devices with --census FILE';
    return { ok: false, message: `no tags are found that match ${rollout.condition}; ${next}` };
  }
  const strata = new Map<string, readonly string[]>();
  const named = wheres.flatMap((where) => wantedValues(where));
  for (const tag of [
    ...rollout.stages.flatMap(({ stratifyBy }) => stratifyBy),
    ...named.map(([tag]) => tag),
  ]) {
    if (tags !== undefined && Object.hasOwn(tags, tag)) continue;
    const wanted = named.filter(([other]) => other === tag).map(([, value]) => value);
    const others = STRATUM_VALUES.filter((value) => !wanted.includes(value));
    // What a fault is bound to is the smallest of them: a cohort that a small stage may well not contain.
    strata.set(tag, [...others.slice(0, Math.max(1, STRATUM_VALUES.length - wanted.length)), ...wanted]);
  }
  let cells: readonly Cell[] = [{ tags: tags ?? {}, devices: 1_000_000 }];
  for (const { tag, values } of compileCondition(rollout.condition).needs) {
    if (tag !== undefined && values.length > 1)
      cells = cells.flatMap((cell) => split(cell, tag, values, 'evenly'));
  }
  for (const [tag, values] of strata) cells = cells.flatMap((cell) => split(cell, tag, values));
  return { ok: true, cells: cells.filter(matching(rollout.condition)), declared };
}

/** The fleet: `devices` of them in the cells' proportions, those that documents declare first, and in units where stages ask. */
export function populate(
  cells: readonly Cell[],
  given: {
    readonly devices: number;
    readonly units: readonly string[];
    readonly declared?: readonly SimulatedIdentity[];
  },
): readonly SimulatedIdentity[] {
  const { declared = [], devices, units } = given;
  const fleet: SimulatedIdentity[] = declared.slice(0, devices);
  const missing = units.filter((unit) => cells.some(({ tags }) => !Object.hasOwn(tags, unit)));
  const counts = scaled(cells, devices - fleet.length);
  const dealt = deal(counts);
  /** Devices of a cell and unit share one object: a quarter of a million of them would be most of the memory. */
  const shared = new Map<string, Readonly<Record<string, string>>>();
  for (const [n, index] of dealt.entries()) {
    const { tags } = cells[index] ?? { tags: {} };
    const unit = Math.floor(n / DEVICES_PER_UNIT) + 1;
    const key = missing.length === 0 ? String(index) : `${index}/${unit}`;
    let own = shared.get(key);
    if (own === undefined) {
      own = { ...tags, ...Object.fromEntries(missing.map((tag) => [tag, `${tag}-${padded(unit, 5)}`])) };
      shared.set(key, own);
    }
    fleet.push({ id: `device-${padded(n + 1, 6)}` as DeviceId, tags: own });
  }
  return fleet;
}

/** Devices of each cell, by the largest remainder: they add up to `devices`. */
function scaled(cells: readonly Cell[], devices: number): number[] {
  const all = cells.reduce((sum, cell) => sum + cell.devices, 0);
  if (all === 0) return cells.map(() => 0);
  const exact = cells.map((cell) => (cell.devices / all) * devices);
  const counts = exact.map(Math.floor);
  const order = exact
    .map((value, index) => ({ index, rest: value - Math.floor(value) }))
    .sort((a, b) => b.rest - a.rest || a.index - b.index);
  const left = devices - counts.reduce((sum, count) => sum + count, 0);
  for (const { index } of order.slice(0, left)) counts[index] = (counts[index] ?? 0) + 1;
  return counts;
}

/** The cells' indexes, each as often as it has devices and evenly mixed, so that every unit has some of each. */
function deal(counts: readonly number[]): readonly number[] {
  const places = counts.flatMap((count, cell) =>
    Array.from({ length: count }, (_, nth) => ({ cell, at: (nth + 0.5) / count })),
  );
  return places.sort((a, b) => a.at - b.at || a.cell - b.cell).map(({ cell }) => cell);
}

function padded(n: number, digits: number): string {
  return String(n).padStart(digits, '0');
}

/** What the cell's devices are, with each of the tag's values. */
function split(cell: Cell, tag: string, values: readonly string[], how?: 'evenly'): readonly Cell[] {
  const weights = values.map((_, index) =>
    how === 'evenly' ? 1 : (STRATUM_SHARES[index] ?? STRATUM_SHARES.at(-1) ?? 1),
  );
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  return values.map((value, index) => ({
    tags: { ...cell.tags, [tag]: value },
    devices: (cell.devices * (weights[index] ?? 0)) / all,
  }));
}

function matching(condition: string): (cell: Cell) => boolean {
  const { matches } = compileCondition(condition);
  return ({ tags }) => matches({ id: SOMEBODY, tags });
}

/** No condition names it. */
const SOMEBODY = 'device-000000';

/** Devices that the documents declare and the rollout is for. */
function declaredDevices(desired: DesiredState, condition: string): readonly SimulatedIdentity[] {
  const { matches } = compileCondition(condition);
  return [...desired.devices].flatMap(([id, { tags, retired, revoked }]) => {
    const own = Object.entries(tags).filter((entry): entry is [string, string] => entry[1] !== null);
    const device: Targeted = { id, tags: Object.fromEntries(own) };
    return !retired && !revoked && matches(device) ? [{ id, tags: device.tags }] : [];
  });
}

/** Tags with which a device matches, the fewest there are; undefined where none were found. */
function tagsFor(condition: string): Readonly<Record<string, string>> | undefined {
  const { matches, needs } = compileCondition(condition);
  const needed = Object.fromEntries(
    needs.flatMap(({ tag, values: [value] }) =>
      tag === undefined || value === undefined ? [] : [[tag, value]],
    ),
  );
  const isMatch = (tags: Readonly<Record<string, string>>) => matches({ id: SOMEBODY, tags });
  if (isMatch(needed)) return needed;
  // What needs.ts leaves open (a prefix, an alternative over other tags) is tried: a tag that the condition names, with a value
  // that it compares with, or one that it does not know.
  const tries = [...wantedValues(condition), ...namedTags(condition).map((tag) => [tag, 'other'] as const)];
  let left = TRIES_MAX;
  function more(tags: Readonly<Record<string, string>>, from: number): typeof tags | undefined {
    for (let at = from; at < tries.length && left-- > 0; at++) {
      const [tag, value] = tries[at] ?? ['', ''];
      const next = { ...tags, [tag]: value };
      const found = isMatch(next) ? next : more(next, at + 1);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  return more(needed, 0);
}

/** `tags.a = 'x'`, `tags.a IN ['x', 'y']`, `STARTSWITH(tags.a, 'x')`: each value that the condition compares a tag with. */
function wantedValues(condition: string): readonly (readonly [tag: string, value: string])[] {
  const { canonical } = compileCondition(condition);
  const clause = /tags\.([\w.-]+)[,\s]*(?:=|IN|STARTSWITH|)\s*(\[[^\]]*\]|'(?:[^']|'')*')/g;
  return [...canonical.matchAll(clause)].flatMap(([, tag = '', list = '']) =>
    [...list.matchAll(/'((?:[^']|'')*)'/g)].map(
      ([, value = '']) => [tag, value.replaceAll("''", "'")] as const,
    ),
  );
}

function namedTags(condition: string): readonly string[] {
  return [...new Set([...condition.matchAll(/tags\.([\w.-]+)/g)].map(([, tag = '']) => tag))];
}
