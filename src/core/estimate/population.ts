/**
 * A fleet as a plan sees it, and who gets what of it in the end. Devices are counted by their tags; where a condition looks at something
 * that was not counted, it cannot be told whom it matches, and that is said instead of guessed.
 */
import type { Cell } from '../model/census.ts';
import type { DesiredState, Rollout } from '../model/desired.ts';
import type { RolloutName } from '../model/ids.ts';
import type { Manifest } from '../model/manifest.ts';
import { type Attempt, knownGoodOf, type Outcomes } from '../model/outcome.ts';
import { wasGivenUp } from '../plan/idle.ts';
import { byPrecedence } from '../plan/program.ts';
import { whyQuarantined } from '../plan/quarantine.ts';
import { compileSelection } from '../target/condition.ts';

/** Devices with one set of tags; with its id where devices are counted one by one. */
export interface PopulationCell extends Cell {
  readonly id?: string;
}

export interface Population {
  readonly cells: readonly PopulationCell[];
  /** Tags that were not counted, by name, and how many values each has, at least. */
  readonly omitted: Readonly<Record<string, number>>;
  /** Whether devices were counted one by one, with their ids. */
  readonly hasIds: boolean;
}

export type Matching =
  | { readonly kind: 'known'; readonly cells: readonly PopulationCell[] }
  /** `because`: a sentence that begins with a small letter. */
  | { readonly kind: 'unknown'; readonly because: string };

/** The cells that a condition matches. */
export function matching({ cells, omitted, hasIds }: Population, source: string): Matching {
  const condition = compileSelection(source);
  for (const tag of condition.reads) {
    if (tag === undefined && !hasIds)
      return { kind: 'unknown', because: 'it looks at device ids, and a census has none' };
    if (tag !== undefined && Object.hasOwn(omitted, tag)) {
      return { kind: 'unknown', because: `it looks at tags.${tag}, which has too many values for a census` };
    }
  }
  return {
    kind: 'known',
    cells: cells.filter(({ id = '', tags }) => condition.matches({ id, tags })),
  };
}

export function devicesIn(cells: readonly Cell[]): number {
  return cells.reduce((sum, { devices }) => sum + devices, 0);
}

/** What a rollout gives its devices once it has come to rest, if all goes well. */
export interface EndState {
  readonly rollout: RolloutName;
  /** Undefined: nothing, and the next rollout that matches has the device. */
  readonly manifest: Manifest | undefined;
  readonly revision: Rollout['revision'] | undefined;
  /** Why it is not what the document asks for. */
  readonly obstacle?: Obstacle;
}

/** What keeps a rollout from what its document asks for, as long as nobody does anything further. */
export interface Obstacle {
  readonly kind: 'suspended' | 'cancelled' | 'quarantined';
  /** A sentence that begins with a small letter. */
  readonly because: string;
}

/** Devices by the rollout that they end with; without one they keep what they run. */
export interface Allotment {
  /** In order of precedence. */
  readonly rollouts: readonly {
    readonly rollout: Rollout;
    readonly attempts: readonly Attempt[];
    readonly end: EndState;
    readonly matches: Matching;
    /** Of those that match, the ones that it gets: nothing of higher precedence takes them. */
    readonly own: readonly PopulationCell[];
    /** Who takes the others, the weightiest first. */
    readonly takenBy: readonly { readonly rollout: RolloutName; readonly devices: number }[];
  }[];
  /** By cell. */
  readonly owners: ReadonlyMap<PopulationCell, EndState>;
}

export function allot(desired: DesiredState, outcomes: Outcomes, population: Population): Allotment {
  const owners = new Map<PopulationCell, EndState>();
  const rollouts = byPrecedence(desired, outcomes).map(({ rollout, attempts }) => {
    const end = endOf(rollout, attempts, outcomes);
    const found = matching(population, rollout.condition);
    const excluded = rollout.exclude === undefined ? undefined : matching(population, rollout.exclude);
    const matches: Matching = excluded?.kind === 'unknown' ? excluded : found;
    const outside = new Set(excluded?.kind === 'known' ? excluded.cells : []);
    const cells = matches.kind === 'known' ? matches.cells.filter((cell) => !outside.has(cell)) : [];
    const own: PopulationCell[] = [];
    const taken = new Map<RolloutName, number>();
    for (const cell of cells) {
      const owner = owners.get(cell);
      if (owner !== undefined) taken.set(owner.rollout, (taken.get(owner.rollout) ?? 0) + cell.devices);
      else {
        own.push(cell);
        if (end.revision !== undefined) owners.set(cell, end);
      }
    }
    const takenBy = [...taken].map(([name, devices]) => ({ rollout: name, devices }));
    takenBy.sort((a, b) => b.devices - a.devices);
    return { rollout, attempts, end, matches, own, takenBy };
  });
  return { rollouts, owners };
}

function endOf(rollout: Rollout, attempts: readonly Attempt[], outcomes: Outcomes): EndState {
  const { name, manifest, revision } = rollout;
  const obstacle = obstacleTo(rollout, attempts, outcomes);
  if (obstacle === undefined) return { rollout: name, manifest, revision };
  const knownGood = knownGoodOf(attempts);
  return { rollout: name, manifest: knownGood?.manifest, revision: knownGood?.revision, obstacle };
}

function obstacleTo(
  { name, revision, manifest, suspend }: Rollout,
  attempts: readonly Attempt[],
  outcomes: Outcomes,
): Obstacle | undefined {
  if (knownGoodOf(attempts)?.revision === revision) return undefined;
  if (suspend) return { kind: 'suspended', because: 'it is suspended' };
  const tried = attempts.findLast((attempt) => attempt.revision === revision);
  if (tried === undefined) {
    const because = whyQuarantined(manifest, name, outcomes);
    return because === undefined ? undefined : { kind: 'quarantined', because };
  }
  if (!wasGivenUp(tried)) return undefined;
  if (tried.cause === 'operator') {
    const because = `attempt ${tried.attempt} of this revision was cancelled; tidegate retry asks for it again`;
    return { kind: 'cancelled', because };
  }
  const because = `this revision is quarantined since attempt ${tried.attempt} failed; change what is installed, or ask for a retry`;
  return { kind: 'quarantined', because };
}
