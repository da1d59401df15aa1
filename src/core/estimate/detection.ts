/**
 * What a stage's gates can see, before it has begun: how many incidents are to be expected anyway, how many halt, and how much worse a
 * release must be for the stage to find it in most cases. A stage that cannot see what it guards against says so beforehand.
 */
import {
  betAgainstControl,
  betOnRate,
  betOnShare,
  logEvidence,
  noBets,
  ODDS_GRID,
  RATE_GRID,
} from '../gates/e-process.ts';
import { CONTROL_SHARE_MIN } from '../gates/evidence.ts';
import type { EventGate, ShareGate } from '../model/gate.ts';
import { chanceOfAtLeast, lnFactorial } from './poisson.ts';

/** A regression counts as found where a stage with it halts in at least so many cases. */
export const POWER = 0.8;

/** What a stage sees of one kind of incident. Hours are device-hours. */
export interface SeenHours {
  /** Of devices that run the revision, earlier stages included, until the stage passes. */
  readonly treatedHours: number;
  /** Of devices that the rollout has not reached, in the same time. */
  readonly controlHours: number;
  /** Incidents per device-hour as always. */
  readonly ratePerHour: number;
  /** Incidents of a device count so often at most, per stage. */
  readonly incidentsMax: number;
}

export interface EventSight {
  /** Incidents of the treated devices if nothing is wrong. */
  readonly expected: number;
  /** That many halt; undefined where no number that can be counted does. */
  readonly haltsAt?: number;
  /** P(that many or more) if nothing is wrong. */
  readonly falseHaltChance: number;
  /** How many times as many incidents as always are found with a chance of {@link POWER}; undefined where nothing is. */
  readonly smallestRatio?: number;
}

/** `alpha`: of the gate alone, above 0 and below 1. */
export function sightOfEvents(gate: EventGate, seen: SeenHours, alpha: number): EventSight {
  const { treatedHours, ratePerHour, incidentsMax } = seen;
  const expected = treatedHours * ratePerHour;
  const haltsAt = incidentsThatHalt(gate, seen, alpha);
  if (haltsAt === undefined || haltsAt > incidentsMax) return { expected, falseHaltChance: 0 };
  const smallestRatio = ratioFound(haltsAt, expected);
  return {
    expected,
    haltsAt,
    falseHaltChance: chanceOfAtLeast(haltsAt, expected),
    ...(smallestRatio === undefined ? {} : { smallestRatio }),
  };
}

/** The smallest number of incidents with which the gate halts when the stage is over. */
function incidentsThatHalt(gate: EventGate, seen: SeenHours, alpha: number): number | undefined {
  const { treatedHours, ratePerHour, incidentsMax } = seen;
  if (treatedHours <= 0) return undefined;
  if (gate.method.kind === 'threshold') {
    // More than so many times: the next whole number above it.
    return ratePerHour > 0
      ? Math.floor(gate.method.haltRatio * ratePerHour * treatedHours + 1e-9) + 1
      : undefined;
  }
  const limit = -Math.log(alpha);
  const halts = (incidents: number) => logEvidence(betsOn(gate, seen, incidents)) >= limit;
  return halts(incidentsMax) ? firstThat(halts, incidentsMax) : undefined;
}

function betsOn(gate: EventGate, seen: SeenHours, incidents: number) {
  const { treatedHours, controlHours, ratePerHour } = seen;
  const margin = gate.method.kind === 'sequential' ? gate.method.margin : 1;
  const isFrozen = controlHours < CONTROL_SHARE_MIN * (treatedHours + controlHours);
  if (gate.against.kind !== 'control' || isFrozen)
    return betOnRate(noBets(RATE_GRID), { incidents, expected: margin * ratePerHour * treatedHours });
  const treated = { incidents, exposure: treatedHours };
  const control = { incidents: ratePerHour * controlHours, exposure: controlHours };
  return betAgainstControl(noBets(RATE_GRID), { treated, control, margin });
}

/** The smallest whole number for which `holds`, which holds for `high` and for whatever is above one for which it holds. */
function firstThat(holds: (count: number) => boolean, high: number): number {
  let [below, found] = [0, Math.max(1, Math.ceil(high))];
  while (found - below > 1) {
    const middle = Math.floor((below + found) / 2);
    if (holds(middle)) found = middle;
    else below = middle;
  }
  return found;
}

const RATIO_MAX = 1000;

/** How many times `expected` it takes for `count` incidents or more with a chance of {@link POWER}; at least once. */
function ratioFound(count: number, expected: number): number | undefined {
  if (expected <= 0) return undefined;
  const isFound = (ratio: number) => chanceOfAtLeast(count, ratio * expected) >= POWER;
  if (!isFound(RATIO_MAX)) return undefined;
  let [low, high] = [1, RATIO_MAX];
  if (isFound(low)) return low;
  // To a thousandth: nobody reads more.
  while (high - low > 0.0005 * high) {
    const middle = (low + high) / 2;
    if (isFound(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/**
 * How many times as many device-hours, in both arms, it takes to find incidents that are `ratio` times as frequent; 1 where the stage
 * finds them as it is, undefined where no stage does.
 */
export function growthToFind(
  gate: EventGate,
  seen: SeenHours,
  given: { readonly ratio: number; readonly alpha: number },
): number | undefined {
  const finds = (factor: number) => {
    const { treatedHours, controlHours, incidentsMax } = seen;
    const longer = {
      ...seen,
      treatedHours: treatedHours * factor,
      controlHours: controlHours * factor,
      incidentsMax: incidentsMax * factor,
    };
    const { smallestRatio } = sightOfEvents(gate, longer, given.alpha);
    return smallestRatio !== undefined && smallestRatio <= given.ratio;
  };
  let high = 1;
  while (!finds(high)) {
    high *= 2;
    if (high > 1e6) return undefined;
  }
  let low = high / 2;
  if (high === 1) return 1;
  while (high - low > 0.005 * high) {
    const middle = (low + high) / 2;
    if (finds(middle)) high = middle;
    else low = middle;
  }
  return high;
}

export interface ShareSight {
  /** That many of the devices halt. */
  readonly haltsAt: number;
  readonly devices: number;
  /** The smallest share of devices that is found with a chance of {@link POWER}. */
  readonly smallestShare?: number;
}

/** Failures that halt a stage of `devices`, and the share that would be found; undefined where the gate compares with others. */
export function sightOfShares(gate: ShareGate, devices: number, alpha: number): ShareSight | undefined {
  const { limit } = gate;
  if (limit.kind === 'drop' || devices === 0) return undefined;
  if (limit.kind === 'above') return sightOfCount(Math.floor(limit.share * devices + 1e-9) + 1, devices);
  const halts = (failures: number) =>
    logEvidence(betOnShare(noBets(ODDS_GRID), { failures, trials: devices, allowed: limit.share })) >=
    -Math.log(alpha);
  return halts(devices)
    ? sightOfCount(firstThat(halts, devices), devices)
    : { haltsAt: devices + 1, devices };
}

/** Of `devices` of which each fails alike, so many failures are the limit. */
export function sightOfCount(haltsAt: number, devices: number): ShareSight {
  if (haltsAt > devices) return { haltsAt, devices };
  const isFound = (share: number) => chanceOfFailures(haltsAt, devices, share) >= POWER;
  let [low, high] = [0, 1];
  while (high - low > 1e-6) {
    const middle = (low + high) / 2;
    if (isFound(middle)) high = middle;
    else low = middle;
  }
  return { haltsAt, devices, smallestShare: high };
}

/** P(X ≥ count) of `trials` that each fail with `share`. Terms are added by their logarithms: the smallest are below every number. */
function chanceOfFailures(count: number, trials: number, share: number): number {
  if (share >= 1) return 1;
  if (share <= 0) return 0;
  const [ofFailure, ofSuccess] = [Math.log(share), Math.log1p(-share)];
  const lnTrials = lnFactorial(trials);
  // Twelve deviations below the mean there is nothing that a double would show.
  const mean = trials * share;
  const least = Math.max(0, Math.floor(mean - 12 * Math.sqrt(mean * (1 - share)) - 12));
  let below = 0;
  for (let k = least; k < count; k++) {
    const lnWays = lnTrials - lnFactorial(k) - lnFactorial(trials - k);
    below += Math.exp(lnWays + k * ofFailure + (trials - k) * ofSuccess);
  }
  return Math.max(0, 1 - below);
}
