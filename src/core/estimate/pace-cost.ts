/** Whether going slowly pays: what a bug costs after a fast rollout, and what it costs together with the delay after a slow one. */

interface PaceCostInput {
  /** Devices that a bug reaches before it is found, 0 or more. */
  readonly affectedFast: number;
  readonly affectedSlow: number;
  /** What one of them costs. All amounts are in one currency, to the hundredth. */
  readonly costPerDevice: number;
  /** What it costs in all that the slow rollout ends later. */
  readonly delayCost: number;
}

export interface PaceCost {
  /** affected devices × cost per device. */
  readonly fastCost: number;
  readonly slowBugCost: number;
  /** What the bug costs after the slow rollout, and the delay. */
  readonly slowCost: number;
  /** The rule: longer where the bug costs more than the slow rollout. Where both cost the same, nothing speaks for waiting. */
  readonly choice: 'longer' | 'shorter';
  /**
   * delay ÷ (fast cost − slow bug cost), 0 to 1. The delay is paid with every release, the bug only with those that have one: in the
   * long run waiting pays where more than this share has such a bug. Undefined where it never does.
   */
  readonly breakEvenRatio: number | undefined;
}

export function paceCost(input: PaceCostInput): PaceCost {
  const fastCost = wholeCents(input.affectedFast * input.costPerDevice);
  const slowBugCost = wholeCents(input.affectedSlow * input.costPerDevice);
  const slowCost = wholeCents(slowBugCost + input.delayCost);
  const isLonger = fastCost > slowCost;
  return {
    fastCost,
    slowBugCost,
    slowCost,
    choice: isLonger ? 'longer' : 'shorter',
    breakEvenRatio: isLonger ? input.delayCost / (fastCost - slowBugCost) : undefined,
  };
}

/** Amounts that are equal must compare as equal: 10 × 1.1 is 11, and not a little more. */
function wholeCents(value: number): number {
  return Math.round(value * 100) / 100;
}
