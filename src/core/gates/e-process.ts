/**
 * Evidence that may be looked at at any time. An e-process starts at 1 and, as long as nothing is worse than it may be, is
 * expected never to grow; by Ville's inequality it then ever reaches 1/α with a probability of at most α, however often somebody
 * looks, and whenever they stop. Halting there keeps the rate of false halts at α over a whole stage.
 *
 * Each form here is a mixture: the mean of several bets, each on one alternative of a grid (Robbins; Howard, Ramdas et al. 2021).
 * Bets multiply, so their logarithms are added, and the state is one number per bet.
 */

/** Logarithms of the bets, in the order of the grid. Plain data: recorded, it goes on where it was. */
export type Bets = readonly number[];

/** How many times the allowed rate incidents may come: what a stage is watched for. */
export const RATE_GRID: readonly number[] = [1.5, 2, 4, 10];
/** How many times the allowed odds failures may have. */
export const ODDS_GRID: readonly number[] = [1.25, 1.5, 2, 4];
/** The share of the stake that a bet on a mean puts in. */
export const STAKE_GRID: readonly number[] = [0.05, 0.1, 0.2, 0.4, 0.8];
/** Shares of a rate that is called unsafe: reaching 1/α here says that the rate is below it. */
export const SAFE_GRID: readonly number[] = [0.75, 0.5, 0.25];

export function noBets(grid: readonly number[]): Bets {
  return grid.map(() => 0);
}

/** The natural logarithm of the e-value: of the mean of the bets. It overflows nowhere. */
export function logEvidence(bets: Bets): number {
  const most = Math.max(...bets);
  if (most === Number.NEGATIVE_INFINITY) return most;
  const sum = bets.reduce((total, bet) => total + Math.exp(bet - most), 0);
  return most + Math.log(sum / bets.length);
}

/** Whether the evidence halts at `alpha` (0 to 1): that often, at the most, it does so for no reason. */
export function reaches(bets: Bets, alpha: number): boolean {
  return logEvidence(bets) >= -Math.log(alpha);
}

/**
 * Incidents where the rate that is allowed is known: `expected` of them, which is margin · rate · device-hours.
 * Under a Poisson count with that mean each factor r^X e^(−(r−1)μ) has the mean 1.
 */
export function betOnRate(
  bets: Bets,
  { incidents, expected }: { readonly incidents: number; readonly expected: number },
  grid: readonly number[] = RATE_GRID,
): Bets {
  return bets.map((bet, at) => {
    const ratio = grid[at] ?? 1;
    return bet + incidents * Math.log(ratio) - (ratio - 1) * expected;
  });
}

/** What one arm has seen in an interval. */
export interface Arm {
  readonly incidents: number;
  /** Device-hours, or trials. */
  readonly exposure: number;
}

/**
 * Incidents against those of untouched devices in the same interval. Of all that happened, each fell into the treated arm with the
 * probability m·e₁/(m·e₁+e₀) if it is no worse than m times the control; whatever shifts both arms alike cancels.
 */
export function betAgainstControl(
  bets: Bets,
  { treated, control, margin }: { readonly treated: Arm; readonly control: Arm; readonly margin: number },
  grid: readonly number[] = RATE_GRID,
): Bets {
  const own = margin * treated.exposure;
  // Where one arm was not there nothing can be compared.
  if (own <= 0 || control.exposure <= 0) return bets;
  const all = treated.incidents + control.incidents;
  return bets.map((bet, at) => {
    const ratio = grid[at] ?? 1;
    const share = Math.log((ratio * own + control.exposure) / (own + control.exposure));
    return bet + treated.incidents * Math.log(ratio) - all * share;
  });
}

/** Failures among trials where the share that is allowed is known: `allowed`, above 0 and below 1. */
export function betOnShare(
  bets: Bets,
  given: { readonly failures: number; readonly trials: number; readonly allowed: number },
  grid: readonly number[] = ODDS_GRID,
): Bets {
  const { failures, trials, allowed } = given;
  return bets.map((bet, at) => {
    const odds = grid[at] ?? 1;
    const worse = (odds * allowed) / (1 - allowed + odds * allowed);
    const ofFailure = Math.log(worse / allowed);
    const ofSuccess = Math.log((1 - worse) / (1 - allowed));
    return bet + failures * ofFailure + (trials - failures) * ofSuccess;
  });
}

/**
 * A metric that may not rise: `gain` is what one pair of measurements says for it (above 0: worse), as a share of the most that
 * one pair may say. Beyond ±1 it is cut off, so that no single measurement decides.
 */
export function betOnMean(bets: Bets, gain: number, grid: readonly number[] = STAKE_GRID): Bets {
  const cut = Math.max(-1, Math.min(1, gain));
  return bets.map((bet, at) => bet + Math.log1p((grid[at] ?? 0) * cut));
}
