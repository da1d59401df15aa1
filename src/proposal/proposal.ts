/**
 * What a change to the fleet's documents would do if it were merged now: for whom what changes, how each rollout would go, and what its
 * gates would see. A pure function of what was read; its value is what `tidegate plan --format json` prints, and what is said in text
 * and in pull requests is made of nothing else.
 */
import { type Forecast, forecast } from '../core/estimate/forecast.ts';
import { type MergeEffect, mergeEffect } from '../core/estimate/merge.ts';
import {
  type Allotment,
  allot,
  devicesIn,
  type EndState,
  matching,
  type Population,
  type PopulationCell,
} from '../core/estimate/population.ts';
import type { BaselineRate } from '../core/model/census.ts';
import type { DesiredState } from '../core/model/desired.ts';
import type { RolloutName } from '../core/model/ids.ts';
import { knownGoodOf, type Outcomes } from '../core/model/outcome.ts';
import type { Instant } from '../core/model/time.ts';
import { type FlagChange, flagChanges } from './flag-changes.ts';
import { fleetChanges, type RolloutChange, rolloutChanges } from './rollout-changes.ts';

export interface Proposal {
  /** Undefined: nothing to compare with, so everything is new. */
  readonly changes: Changes | undefined;
  readonly devices: number;
  /** Devices by what they have in the end without the change and with it; only those for which it differs, the most first. */
  readonly moves: readonly Move[];
  /** In order of precedence: those that change; where none does, all. */
  readonly rollouts: readonly RolloutProposal[];
}

export interface Changes {
  readonly fleet: readonly string[];
  readonly rollouts: readonly RolloutChange[];
  readonly flags: readonly FlagChange[];
}

export interface Move {
  readonly from: Holding | null;
  /** Null: no rollout gives them anything any more, and they keep what they run. */
  readonly to: Holding | null;
  readonly devices: number;
}

export interface Holding {
  readonly rollout: RolloutName;
  readonly distributionSet: string;
}

export interface RolloutProposal {
  readonly rollout: RolloutName;
  readonly owner: string;
  readonly distributionSet: string;
  /** What its devices have before: known-good. */
  readonly before: string | undefined;
  readonly effect: MergeEffect;
  /** Devices that its condition matches; undefined where that cannot be told, with the reason. */
  readonly matching: number | undefined;
  readonly unknown?: string;
  readonly takenBy: Allotment['rollouts'][number]['takenBy'];
  /** Undefined where nothing begins, or where it cannot be told whom it reaches. */
  readonly forecast: Forecast | undefined;
}

export interface ProposalInput {
  readonly base: DesiredState | undefined;
  readonly head: DesiredState;
  readonly outcomes: Outcomes;
  readonly population: Population;
  readonly rates: Readonly<Record<string, BaselineRate>>;
  readonly now: Instant;
}

export interface Proposed {
  readonly proposal: Proposal;
  /** Every rollout, changed or not. */
  readonly all: readonly RolloutProposal[];
  readonly allotment: Allotment;
}

export function propose(input: ProposalInput): Proposed {
  const { base, head, outcomes, population } = input;
  const after = allot(head, outcomes, population);
  const before = base && allot(base, outcomes, population);
  const changes = base && {
    fleet: fleetChanges(base, head),
    rollouts: rolloutChanges(base, head),
    flags: flagChanges(base, head),
  };
  const changed = new Set(changes?.rollouts.map(({ rollout }) => rollout));
  const all = after.rollouts.map((each) => proposalOf(each, input));
  return {
    all,
    allotment: after,
    proposal: {
      changes,
      devices: devicesIn(population.cells),
      moves: before === undefined ? [] : movesBetween(before, after, population.cells),
      rollouts: changed.size === 0 ? all : all.filter(({ rollout }) => changed.has(rollout)),
    },
  };
}

function proposalOf(
  { rollout, attempts, end, matches, own, takenBy }: Allotment['rollouts'][number],
  { base, head, outcomes, population, rates, now }: ProposalInput,
): RolloutProposal {
  const effect = mergeEffect(rollout, attempts, end);
  // Where nothing is recorded at all, what devices run can only be what was wanted until now.
  const wanted = outcomes.size === 0 ? base?.rollouts.get(rollout.name) : undefined;
  const before = knownGoodOf(attempts)?.manifest ?? wanted?.manifest;
  const cells = reachedBy(effect, own, population);
  const isKnown = matches.kind === 'known';
  return {
    rollout: rollout.name,
    owner: rollout.owner,
    distributionSet: rollout.manifest.distributionSet,
    before: before?.distributionSet,
    effect,
    matching: isKnown ? devicesIn(matches.cells) : undefined,
    ...(isKnown ? {} : { unknown: matches.because }),
    takenBy,
    forecast:
      !isKnown || cells === undefined
        ? undefined
        : forecast({ rollout, cells, population, fleet: head.fleet, before, rates, now }),
  };
}

/** The devices that the stages go over; undefined where none begin. */
function reachedBy(
  effect: MergeEffect,
  own: readonly PopulationCell[],
  population: Population,
): readonly PopulationCell[] | undefined {
  switch (effect.kind) {
    case 'starts':
    case 'goesOn':
      return own;
    case 'widens': {
      const covered = matching(population, effect.covered);
      const known = new Set(covered.kind === 'known' ? covered.cells : []);
      return own.filter((cell) => !known.has(cell));
    }
    default:
      return undefined;
  }
}

function movesBetween(
  before: Allotment,
  after: Allotment,
  cells: readonly PopulationCell[],
): readonly Move[] {
  const moves = new Map<string, Move>();
  for (const cell of cells) {
    const [from, to] = [holdingOf(before.owners.get(cell)), holdingOf(after.owners.get(cell))];
    const isSame = from?.distributionSet === to?.distributionSet && from?.rollout === to?.rollout;
    if (isSame) continue;
    const key = JSON.stringify([from, to]);
    const devices = (moves.get(key)?.devices ?? 0) + cell.devices;
    moves.set(key, { from, to, devices });
  }
  return [...moves.values()].sort((a, b) => b.devices - a.devices);
}

function holdingOf(end: EndState | undefined): Holding | null {
  if (end?.manifest === undefined) return null;
  return { rollout: end.rollout, distributionSet: end.manifest.distributionSet };
}
