/** What halting a rollout spares, counted in devices. */

export interface Damage {
  /** Devices that have the revision when it is halted. */
  readonly affected: number;
  /** Devices that going on would reach as well. */
  readonly spared: number;
  /** spared ÷ affected: how many times as many more. Infinite where nothing is affected and something spared. */
  readonly ratio: number;
  /** spared ÷ fleet, 0 to 1: the share of the damage that halting prevents. */
  readonly prevented: number;
}

/** `fleet` is all devices that the rollout would reach, at least 1; `reached` those that it has, 0 to `fleet`. */
export function damageOf(given: { readonly fleet: number; readonly reached: number }): Damage {
  const { fleet, reached } = given;
  const spared = fleet - reached;
  return { affected: reached, spared, ratio: spared / reached, prevented: spared / fleet };
}
