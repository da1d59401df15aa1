/**
 * What goes wrong in practice and can only be seen with the fleet or the record at hand: a canary that lacks a part of the fleet, a stage
 * that cannot see what it guards against, a rollout that another one shadows. Each finding is at the line that would have to change.
 */
import type { Forecast, GateForecast, StageForecast } from '../core/estimate/forecast.ts';
import { WORTH_FINDING } from '../core/estimate/forecast.ts';
import { type Allotment, devicesIn, type PopulationCell } from '../core/estimate/population.ts';
import type { DesiredState, Rollout } from '../core/model/desired.ts';
import { knownGoodOf } from '../core/model/outcome.ts';
import { PLANNING_DEFAULTS } from '../core/model/planning.ts';
import { DAY, formatDuration, HOUR } from '../core/model/time.ts';
import { formatCount, formatPercent, plural } from '../core/words.ts';
import type { RuleId } from '../documents/rules.ts';
import type { Move, Proposal, RolloutProposal } from './proposal.ts';

/** A finding about a rollout; where it lies in the file is looked up by whoever has the documents. */
export interface FleetLint {
  readonly rollout: string;
  readonly rule: LintRule;
  /** Of the Rollout document, from its root: what would have to change. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export const LINT_RULES = [
  'weak-canary',
  'underpowered-stage',
  'empty-stage',
  'stage-order',
  'ring-size',
  'shadowed',
  'matches-nothing',
  'left-with-nothing',
  'no-fallback',
  'quarantined-revision',
] as const satisfies readonly RuleId[];
export type LintRule = (typeof LINT_RULES)[number];

export interface LintInput {
  readonly head: DesiredState;
  readonly proposal: Proposal;
  readonly allotment: Allotment;
}

export function lint({ head, proposal, allotment }: LintInput): readonly FleetLint[] {
  // Where nobody knows the fleet, nothing can be said of whom it lacks.
  const isKnown = proposal.devices > 0;
  const ofRollouts = proposal.rollouts.flatMap((proposed) => {
    const rollout = head.rollouts.get(proposed.rollout);
    const part = allotment.rollouts.find((each) => each.rollout === rollout);
    if (rollout === undefined || part === undefined) return [];
    const isChanged = proposal.changes?.rollouts.some((each) => each.rollout === rollout.name) ?? false;
    const of = { rollout, proposed, part, head, allotment, isChanged };
    return [...quarantined(of), ...(isKnown ? ofFleet(of) : [])];
  });
  return [...ofRollouts, ...proposal.moves.flatMap(leftAlone)];
}

/** Devices that a rollout had, and that no rollout has with the change. */
function leftAlone({ from, to, devices }: Move): readonly FleetLint[] {
  if (from === null || to !== null) return [];
  const message = `${plural(devices, 'device')} that had ${from.distributionSet} by ${from.rollout} match no rollout any more: they keep what they run, and nothing that is wrong with it is ever taken back; let a rollout of lower priority match them, or leave them in`;
  return [{ rollout: from.rollout, rule: 'left-with-nothing', path: CONDITION, message }];
}

interface Of {
  readonly rollout: Rollout;
  readonly proposed: RolloutProposal;
  readonly part: Allotment['rollouts'][number];
  readonly head: DesiredState;
  readonly allotment: Allotment;
  readonly isChanged: boolean;
}

function ofFleet(of: Of): readonly FleetLint[] {
  const { forecast } = of.proposed;
  return [
    ...matchesNothing(of),
    ...shadowed(of),
    ...noFallback(of),
    ...(forecast === undefined || forecast.devices === 0
      ? []
      : [...weakCanary(of), ...sizes(of, forecast), ...underpowered(of, forecast)]),
  ];
}

const STAGES = ['spec', 'stages'];
const CONDITION = ['spec', 'targetCondition'];

function found(of: Of, rule: LintRule, path: FleetLint['path'], message: string): FleetLint {
  return { rollout: of.rollout.name, rule, path, message };
}

function quarantined(of: Of): readonly FleetLint[] {
  const { effect } = of.proposed;
  // Suspending is what somebody wants; the others are what nobody may have thought of.
  if (effect.kind !== 'waits' || effect.cause === 'suspended') return [];
  const message = `${of.proposed.distributionSet} would not be offered: ${effect.because}`;
  return [found(of, 'quarantined-revision', ['spec', 'distributionSet'], message)];
}

function matchesNothing(of: Of): readonly FleetLint[] {
  if (of.proposed.matching !== 0) return [];
  const message =
    'no device of the fleet matches; check the names and values of the tags, or expect devices that have yet to come';
  return [found(of, 'matches-nothing', CONDITION, message)];
}

/** A rollout that stands back behind others is mostly meant to; one that is changed is meant to reach somebody. */
function shadowed(of: Of): readonly FleetLint[] {
  const { matching, takenBy } = of.proposed;
  if (!of.isChanged) return [];
  if (matching === undefined || matching === 0 || takenBy.length === 0) return [];
  const taken = takenBy.reduce((sum, { devices }) => sum + devices, 0);
  const who = takenBy.map(({ rollout, devices }) => `${rollout} has ${formatCount(devices)}`).join(', ');
  const all = taken === matching ? 'all' : formatCount(taken);
  const message = `${all} of the ${plural(matching, 'device')} that match get something else, by a rollout of higher precedence (${who}); raise spec.priority above theirs, or narrow one of the conditions`;
  return [found(of, 'shadowed', ['spec', 'priority'], message)];
}

/** What its devices would have if a first attempt were taken back: what the next rollout that matches them gives. */
function noFallback(of: Of): readonly FleetLint[] {
  const { part, allotment, proposed } = of;
  if (proposed.effect.kind !== 'starts' || knownGoodOf(part.attempts) !== undefined) return [];
  const place = allotment.rollouts.indexOf(part);
  const lower = allotment.rollouts.slice(place + 1);
  const fallbacks = new Set(
    lower.flatMap(({ matches, end }) =>
      matches.kind === 'known' && end.revision !== undefined ? matches.cells : [],
    ),
  );
  const without = devicesIn(part.own.filter((cell) => !fallbacks.has(cell)));
  if (without === 0 || proposed.before !== undefined) return [];
  const message = `it has no known-good yet, and no rollout of lower priority matches ${formatCount(without)} of its devices: taking it back would leave them with what they run; add one that does, with a distribution set that is known to work`;
  return [found(of, 'no-fallback', ['spec', 'priority'], message)];
}

/** In fewer cases than this a part of the fleet is not in the first stage. */
const ABSENT_MAX = 0.05;
const NAMED_MAX = 3;

function weakCanary(of: Of): readonly FleetLint[] {
  const { rollout, part, head, proposed } = of;
  const [first] = rollout.stages;
  const reach = proposed.forecast?.stages[0]?.reach;
  if (first === undefined || reach === undefined || rollout.stages.length < 2) return [];
  const { coverTags } = head.fleet.planning ?? PLANNING_DEFAULTS;
  return coverTags.flatMap((tag) => {
    const parts = partsBy(tag, first.unit, part.own);
    if (parts.size < 2) return [];
    // Each stratum gives one before the rest is drawn, as far as the stage has room.
    const isStratified = first.stratifyBy.includes(tag) && reach.units >= parts.size;
    if (isStratified) return [];
    const absent = [...parts]
      .map(([value, units]) => ({
        value,
        chance: chanceOfNone({ units, all: reach.unitsInAll, drawn: reach.units }),
        devices: devicesIn(part.own.filter(({ tags }) => tags[tag] === value)),
      }))
      .filter(({ chance }) => chance > ABSENT_MAX)
      .sort((a, b) => b.chance - a.chance);
    if (absent.length === 0) return [];
    const named = absent
      .slice(0, NAMED_MAX)
      .map(
        ({ value, chance, devices }) =>
          `${value} (${plural(devices, 'device')}, missing in ${formatPercent(chance)} of draws)`,
      );
    const more = absent.length > NAMED_MAX ? ` and ${absent.length - NAMED_MAX} more` : '';
    const next =
      reach.units < parts.size
        ? `take in at least ${parts.size} and add stratifyBy: [${tag}]`
        : `add stratifyBy: [${tag}] to it, or make it larger`;
    const message = `the first stage, ${first.name}, may lack ${tag} ${named.join(', ')}${more}: what fails only there is found when a later stage has many of them; ${next}`;
    return [found(of, 'weak-canary', stagePath(0), message)];
  });
}

/** Units by value of the tag: how many of them have a device with it. */
function partsBy(tag: string, unit: string, cells: readonly PopulationCell[]): ReadonlyMap<string, number> {
  const parts = new Map<string, { devices: number; units: Set<string> }>();
  for (const { tags, devices } of cells) {
    const value = Object.hasOwn(tags, tag) ? tags[tag] : undefined;
    if (value === undefined) continue;
    const known = parts.get(value) ?? { devices: 0, units: new Set<string>() };
    parts.set(value, known);
    known.devices += devices;
    if (unit !== 'device' && tags[unit] !== undefined) known.units.add(tags[unit]);
  }
  return new Map(
    [...parts].map(([value, { devices, units }]) => [
      value,
      unit === 'device' ? devices : Math.max(1, units.size),
    ]),
  );
}

/** P(none of `units` among `drawn` of `all`), drawn without putting back: Π (all − units − i) ÷ (all − i). */
function chanceOfNone({ units, all, drawn }: { units: number; all: number; drawn: number }): number {
  if (units + drawn > all) return 0;
  const [few, many] = units < drawn ? [units, drawn] : [drawn, units];
  let chance = 1;
  for (let i = 0; i < few && chance > 1e-12; i++) chance *= (all - many - i) / (all - i);
  return chance;
}

function sizes(of: Of, { stages, timelines }: Forecast): readonly FleetLint[] {
  return stages.flatMap((stage, index): readonly FleetLint[] => [
    ...emptyStage(of, stage, index),
    ...stageOrder(of, stages, index),
    ...ringSize(of, stage, index, timelines.least.stages[index]?.soakMs ?? 0),
  ]);
}

function emptyStage(of: Of, { name, reach }: StageForecast, index: number): readonly FleetLint[] {
  if (reach.devices > 0) return [];
  const message = `the stage ${name} takes in nobody new: the ones before it have all ${formatCount(reach.reached)} devices that its size asks for; leave it out, or make it larger`;
  return [found(of, 'empty-stage', stagePath(index), message)];
}

/** The last two may be what is left over. */
function stageOrder(of: Of, stages: readonly StageForecast[], index: number): readonly FleetLint[] {
  const [stage, next] = stages.slice(index);
  if (stage === undefined || next === undefined || index >= stages.length - 2) return [];
  const [own, after] = [stage.reach.devices, next.reach.devices];
  if (after === 0 || own <= after) return [];
  const message = `the stage ${stage.name} takes in ${plural(own, 'device')}, more than the ${formatCount(after)} of ${next.name} after it; a rollout starts narrow and widens`;
  return [found(of, 'stage-order', stagePath(index), message)];
}

/** What large software companies call rings: devices, and how long each lasts. */
const RINGS: Readonly<
  Record<string, { readonly from: number; readonly to: number; readonly soakMinMs: number }>
> = {
  insiders: { from: 1, to: 10, soakMinMs: DAY },
  alpha: { from: 10, to: 100, soakMinMs: 3 * DAY },
  beta: { from: 100, to: 1000, soakMinMs: 7 * DAY },
};

function ringSize(of: Of, stage: StageForecast, index: number, soakMs: number): readonly FleetLint[] {
  const isRings = of.rollout.stages.some(({ name }) => name === 'insiders') && of.rollout.stages.length === 4;
  const ring = isRings && Object.hasOwn(RINGS, stage.name) ? RINGS[stage.name] : undefined;
  if (ring === undefined) return [];
  const { reached } = stage.reach;
  const outside =
    reached < ring.from || reached > ring.to
      ? [
          `has ${plural(reached, 'device')}, and such a ring ${formatCount(ring.from)} to ${formatCount(ring.to)}`,
        ]
      : [];
  const short =
    soakMs < ring.soakMinMs
      ? [`lasts ${formatDuration(soakMs)}, and such a ring at least ${formatDuration(ring.soakMinMs)}`]
      : [];
  return [...outside, ...short].map((what) =>
    found(
      of,
      'ring-size',
      stagePath(index),
      `the ring ${stage.name} ${what}; change it, or give the stage another name`,
    ),
  );
}

function underpowered(of: Of, { stages }: Forecast): readonly FleetLint[] {
  return stages.flatMap((stage, index): readonly FleetLint[] => {
    // The last stage guards nobody after it.
    if (index === stages.length - 1 || stage.reach.devices === 0) return [];
    const sights = stage.gates.flatMap((gate) =>
      gate.events === undefined ? [] : [{ ...gate, events: gate.events }],
    );
    const blind = sights.filter(({ events }) => !sees(events));
    const hasty = sights.filter(({ events }) => isHasty(events));
    const all = blind.length === sights.length ? blind : [];
    return [
      ...all.map((gate) => found(of, 'underpowered-stage', stagePath(index), blindText(stage, gate))),
      ...hasty.map((gate) => found(of, 'underpowered-stage', stagePath(index), hastyText(stage, gate))),
    ];
  });
}

type Sighted = GateForecast & { readonly events: NonNullable<GateForecast['events']> };

function sees({ smallestRatio }: Sighted['events']): boolean {
  return smallestRatio !== undefined && smallestRatio <= WORTH_FINDING;
}

/** One incident is beyond the limit, and one is what happens anyway. */
function isHasty({ own, haltsAt }: Sighted['events']): boolean {
  return haltsAt === 1 && (own.falseHaltChance ?? 0) > 0.05;
}

function blindText({ name, reach, deviceHours }: StageForecast, { name: gate, events }: Sighted): string {
  const { growthToFind, expected, smallestRatio } = events;
  const sees =
    smallestRatio === undefined
      ? 'no regression at all'
      : `only what makes it at least ${ratio(smallestRatio)} times as frequent`;
  const hours = deviceHours / Math.max(1, reach.devices);
  const next =
    growthToFind === undefined
      ? 'rely on other gates, or on a later stage'
      : `for ${WORTH_FINDING} times it would take ${plural(Math.ceil(reach.devices * growthToFind), 'device')} for ${formatDuration(hours * HOUR)}, or these for ${formatDuration(Math.ceil(hours * growthToFind) * HOUR)}`;
  return `the gate ${gate} expects ${rounded(expected)} incidents in stage ${name} and would find ${sees}; ${next}`;
}

function hastyText({ name }: StageForecast, { name: gate, events }: Sighted): string {
  const { own, ownPerDay } = events;
  return `in stage ${name} a single incident is beyond the limit of gate ${gate} (${rounded(own.incidents)} are expected in its own time and ${rounded(own.limit ?? 0)} allowed; in a whole day ${rounded(ownPerDay.incidents)} and ${rounded(ownPerDay.limit ?? 0)}): a release with nothing wrong has one with a chance of ${formatPercent(own.falseHaltChance ?? 0)} (${formatPercent(ownPerDay.falseHaltChance ?? 0)} in a day); use method: sequential, or a larger stage`;
}

function stagePath(index: number): FleetLint['path'] {
  return [...STAGES, index];
}

function ratio(value: number): string {
  return value >= 10 ? formatCount(Math.round(value)) : value.toFixed(1);
}

function rounded(value: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: 3 });
}
