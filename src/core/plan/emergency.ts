/**
 * The way back in a hurry. `promote` with `emergency: true` opens one stage of all devices at once: past the stages, the
 * freeze, the start and the install window. It only goes back, to what succeeded in this rollout before, because only that is
 * known to work; it takes as many approvals as the most guarded stage; and what a person or `spec.suspend` holds stays held.
 */
import type { Operation, Rollout, Stage } from '../model/desired.ts';
import type { Attempt } from '../model/outcome.ts';
import { type Context, operations } from './step.ts';

/** No declared stage may have this name: an outcome that has it was an emergency. */
export const EMERGENCY_STAGE = 'emergency';

/** The entry that asks for it, where it may be obeyed and has not been. */
export function emergencyOf(context: Context, latest: Attempt): Operation | undefined {
  if (isEmergency(latest) || whyNoEmergency(latest, context.attempts) !== undefined) return undefined;
  return operations(context, latest, ['promote']).find(({ emergency }) => emergency === true);
}

export function isEmergency(attempt: Attempt): boolean {
  return attempt.stages.at(-1)?.name === EMERGENCY_STAGE;
}

/** Why the attempt may not be hurried, or undefined where it may. `attempts` are the rollout's. */
export function whyNoEmergency(
  attempt: Pick<Attempt, 'attempt' | 'revision' | 'manifest' | 'excluding'>,
  attempts: readonly Attempt[],
): string | undefined {
  const { manifest, excluding } = attempt;
  if (excluding !== undefined) {
    return `attempt ${attempt.attempt} brings ${manifest.distributionSet} to devices that never had it`;
  }
  const succeeded = attempts.some(
    (each) =>
      each.attempt < attempt.attempt && each.state === 'succeeded' && each.revision === attempt.revision,
  );
  return succeeded ? undefined : `${manifest.distributionSet} has not succeeded in this rollout before`;
}

/** Judged as the last stage would be, but for what takes time. */
export function emergencyStage(rollout: Rollout): Stage | undefined {
  const last = rollout.stages.at(-1);
  if (last === undefined) return undefined;
  const { where: _where, ...everybody } = last;
  return {
    ...everybody,
    name: EMERGENCY_STAGE,
    size: { kind: 'all' },
    unit: 'device',
    mode: 'cumulative',
    soakMs: 0,
    minExposureHours: 0,
    approvals: Math.max(...rollout.stages.map(({ approvals }) => approvals)),
    stratifyBy: [],
    gates: rollout.gates.map(({ name }) => name),
    rampMs: 0,
    holdback: { numerator: 0, denominator: 1 },
  };
}
