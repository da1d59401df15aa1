/**
 * Which rollouts may match a device: those that need nothing that it lacks. A poll's work grows with them, not with all
 * the rollouts that there are for other products.
 */
import type { Program, ProgramRollout } from '../model/program.ts';
import { compileCondition, type Targeted } from '../target/condition.ts';
import type { Need } from '../target/needs.ts';

/** In the program's order. Whether one of them does match is for its condition to say. */
export function rolloutsFor(program: Program, device: Targeted): readonly Placed[] {
  let index = indexes.get(program);
  if (index === undefined) {
    index = indexOf(program.rollouts);
    indexes.set(program, index);
  }
  let found = index.anybody;
  for (const [tag, byValue] of index.byTag) {
    const value =
      tag === undefined ? device.id : Object.hasOwn(device.tags, tag) ? device.tags[tag] : undefined;
    const more = value === undefined ? undefined : byValue.get(value);
    if (more !== undefined) found = found.length === 0 ? more : index.merged(found, more);
  }
  return found;
}

/** One program is one object. */
const indexes = new WeakMap<Program, Index>();

interface Placed {
  /** Its place in the program. */
  readonly at: number;
  readonly rollout: ProgramRollout;
}

interface Index {
  /** Those that may match any device. */
  readonly anybody: readonly Placed[];
  /** Each of the others under one of its needs. */
  readonly byTag: ReadonlyMap<string | undefined, ReadonlyMap<string, readonly Placed[]>>;
  /** Both lists in one, in the program's order. */
  merged(a: readonly Placed[], b: readonly Placed[]): readonly Placed[];
}

function indexOf(rollouts: readonly ProgramRollout[]): Index {
  const anybody: Placed[] = [];
  const byTag = new Map<string | undefined, Map<string, Placed[]>>();
  const shared = howOften(rollouts);
  for (const [at, rollout] of rollouts.entries()) {
    const needs = compileCondition(rollout.condition).needs;
    const [need] = [...needs].sort((a, b) => shared(a) - shared(b));
    if (need === undefined) anybody.push({ at, rollout });
    for (const value of need?.values ?? []) {
      const byValue = byTag.get(need?.tag) ?? new Map<string, Placed[]>();
      byTag.set(need?.tag, byValue);
      const placed = byValue.get(value) ?? [];
      byValue.set(value, placed);
      placed.push({ at, rollout });
    }
  }
  return { anybody, byTag, merged: rememberMerged() };
}

/** How many rollouts share the value that most of them share, of those that the need is about. */
function howOften(rollouts: readonly ProgramRollout[]): (need: Need) => number {
  const counts = new Map<string | undefined, Map<string, number>>();
  for (const { condition } of rollouts) {
    for (const { tag, values } of compileCondition(condition).needs) {
      const byValue = counts.get(tag) ?? new Map<string, number>();
      counts.set(tag, byValue);
      for (const value of values) byValue.set(value, (byValue.get(value) ?? 0) + 1);
    }
  }
  return ({ tag, values }) => Math.max(0, ...values.map((value) => counts.get(tag)?.get(value) ?? 0));
}

/** Devices of one kind have the same lists; there may be as many kinds as there are values of all tags together. */
const MERGED_MAX = 10_000;

function rememberMerged(): Index['merged'] {
  const known = new Map<readonly Placed[], Map<readonly Placed[], readonly Placed[]>>();
  let count = 0;
  return (a, b) => {
    const before = known.get(a)?.get(b);
    if (before !== undefined) return before;
    const merged = [...a, ...b].sort((one, other) => one.at - other.at);
    if (count === MERGED_MAX) {
      known.clear();
      count = 0;
    }
    const withA = known.get(a) ?? new Map<readonly Placed[], readonly Placed[]>();
    known.set(a, withA.set(b, merged));
    count += 1;
    return merged;
  };
}
