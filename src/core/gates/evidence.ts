/**
 * From hours to evidence, for one gate: the same arithmetic on every pass, in `gate replay`, in the simulation and in the bench.
 */

import {
  type Bets,
  betAgainstControl,
  betOnMean,
  betOnRate,
  logEvidence,
  noBets,
  RATE_GRID,
  SAFE_GRID,
  STAKE_GRID,
} from './e-process.ts';
import type { MeasuredGate, Row } from './exposure.ts';

/** Up to here a regression is none: what `certified` has ruled out. The lowest rung of the severity ladder. */
export const SAFE_BELOW = 2;

/** With the control arm below this share of the exposure it says too little: its rate so far is kept. */
export const CONTROL_SHARE_MIN = 0.1;

/** What a gate is held against, resolved: `previous` has become a number by now, or is missing. */
export type Against = { readonly kind: 'known'; readonly value: number } | { readonly kind: 'control' };

export interface Evidence {
  /** Bets that it is worse than it may be. */
  readonly bets: Bets;
  /** Bets that it is less than {@link SAFE_BELOW} times as bad: for counts only. */
  readonly safe: Bets;
  /** Incidents and device-hours, or a metric's sum and number, so far. */
  readonly treated: readonly [number, number];
  readonly control: readonly [number, number];
  /** The control arm was too small in the last hour: the rate that it had until then is used. */
  readonly frozen: boolean;
  /** The farthest that the arms were apart, and in how many hours they were compared: the scale of the next bet on a mean. */
  readonly scale: number;
  readonly pairs: number;
}

export function noEvidence(gate: MeasuredGate): Evidence {
  return {
    bets: noBets(gate.kind === 'events' ? RATE_GRID : STAKE_GRID),
    safe: noBets(SAFE_GRID),
    treated: [0, 0],
    control: [0, 0],
    frozen: false,
    scale: 0,
    pairs: 0,
  };
}

/** The evidence after one more hour. */
export function withRow(gate: MeasuredGate, against: Against, before: Evidence, row: Row): Evidence {
  const counted =
    gate.kind === 'events' ? betOnCounts(gate, against, before, row) : betOnPair(gate, against, before, row);
  const [, treated, treatedOver, control, controlOver] = row;
  return {
    ...counted,
    treated: [before.treated[0] + treated, before.treated[1] + treatedOver],
    control: [before.control[0] + control, before.control[1] + controlOver],
    // What the next hour is held against is settled before it begins.
    frozen:
      treatedOver + controlOver > 0
        ? controlOver < CONTROL_SHARE_MIN * (treatedOver + controlOver)
        : before.frozen,
  };
}

export function evidenceOf(gate: MeasuredGate, against: Against, rows: readonly Row[]): Evidence {
  return rows.reduce((evidence, row) => withRow(gate, against, evidence, row), noEvidence(gate));
}

/** The control arm's rate so far, one incident added: a rate of zero would make every incident proof. */
export function frozenRate({ control }: Pick<Evidence, 'control'>): number | undefined {
  const [incidents, hours] = control;
  return hours > 0 ? (incidents + 1) / hours : undefined;
}

function betOnCounts(gate: MeasuredGate, against: Against, before: Evidence, row: Row): Evidence {
  const margin = marginOf(gate);
  const [, incidents, hours, controlIncidents, controlHours] = row;
  const rate = against.kind === 'known' ? against.value : before.frozen ? frozenRate(before) : undefined;
  if (rate !== undefined) {
    return {
      ...before,
      bets: betOnRate(before.bets, { incidents, expected: margin * rate * hours }),
      safe: betOnRate(before.safe, { incidents, expected: SAFE_BELOW * rate * hours }, SAFE_GRID),
    };
  }
  if (against.kind === 'known' || before.frozen) return before;
  const arms = {
    treated: { incidents, exposure: hours },
    control: { incidents: controlIncidents, exposure: controlHours },
  };
  return {
    ...before,
    bets: betAgainstControl(before.bets, { ...arms, margin }),
    safe: betAgainstControl(before.safe, { ...arms, margin: SAFE_BELOW }, SAFE_GRID),
  };
}

/**
 * One bet per hour in which there is something on both sides; the first one only shows how far apart they may be. The scale is the
 * farthest so far, not the usual distance: that would cut rare hours off, and where those are the good ones, the rest looks worse
 * than it is.
 */
function betOnPair(gate: MeasuredGate, against: Against, before: Evidence, row: Row): Evidence {
  const [, sum, count, controlSum, controlCount] = row;
  const base =
    against.kind === 'known' ? against.value : controlCount > 0 ? controlSum / controlCount : undefined;
  if (count === 0 || base === undefined || gate.kind !== 'metric') return before;
  const margin = marginOf(gate);
  const mean = sum / count;
  // Of what is below zero a margin would allow less instead of more: it is taken of the distance from zero.
  const slack = Math.abs(base) * (gate.worse === 'higher' ? margin - 1 : 1 - 1 / margin);
  const worse = gate.worse === 'higher' ? mean - (base + slack) : base - slack - mean;
  const { range } = gate;
  const scale = before.pairs > 0 ? before.scale : range === undefined ? 0 : range.to - range.from;
  return {
    ...before,
    bets: scale > 0 ? betOnMean(before.bets, worse / scale) : before.bets,
    scale: Math.max(before.scale, Math.abs(worse)),
    pairs: before.pairs + 1,
  };
}

function marginOf({ method }: MeasuredGate): number {
  return method.kind === 'sequential' ? method.margin : 1;
}

/**
 * How many times the baseline was seen: incidents per device-hour, or means; undefined while there is nothing to divide. Where lower is worse
 * it is how many times less, and of a mean that has come down to zero or below infinitely many.
 */
export function ratioOf(
  gate: MeasuredGate,
  against: Against,
  seen: Pick<Evidence, 'treated' | 'control'>,
): number | undefined {
  const [amount, over] = seen.treated;
  const [other, otherOver] = seen.control;
  if (over <= 0) return undefined;
  const base = against.kind === 'known' ? against.value : otherOver > 0 ? other / otherOver : undefined;
  if (base === undefined) return undefined;
  const own = amount / over;
  if (gate.kind === 'metric' && gate.worse === 'lower' && base > 0)
    return own > 0 ? base / own : Number.POSITIVE_INFINITY;
  if (base > 0)
    return against.kind === 'known' ? amount / (against.value * over) : (amount * otherOver) / (other * over);
  if (gate.kind === 'metric' || otherOver <= 0) return undefined;
  // Not one incident among the untouched: with one it would be this much.
  return own === 0 ? 0 : (amount * otherOver) / over;
}

/** Whether it is certain, at α, that it is less than {@link SAFE_BELOW} times as bad as the baseline. */
export function isCertified({ safe }: Evidence, alpha: number): boolean {
  return logEvidence(safe) >= -Math.log(alpha);
}
