/**
 * The planner: from what is wanted, what has happened and what is seen, the decisions that follow now. It is
 * synchronous and pure, and whatever does not move has a reason in the report. A decision carries the whole outcome
 * document that it leads to, so recording it needs no further choice and may happen twice.
 */
import type { Plan, PlanInput } from './contract.ts';
import { planRollout } from './rollout.ts';

export function plan(input: PlanInput): Plan {
  const names = new Set([...input.desired.rollouts.keys(), ...input.outcomes.keys()]);
  const plans = [...names].sort().map((name) => planRollout(input, name));
  return {
    decisions: plans.flatMap((each) => each.decisions),
    wants: plans.flatMap((each) => each.wants),
    restores: plans.flatMap((each) => each.restores),
    soaks: new Map(plans.flatMap((each) => each.soaks)),
    report: plans.flatMap((each) => (each.report === undefined ? [] : [each.report])),
    probes: plans.flatMap((each) => each.probes),
    reminders: plans.flatMap((each) => each.reminders),
    gates: new Map(plans.flatMap((each) => (each.gates === undefined ? [] : [each.gates]))),
  };
}
