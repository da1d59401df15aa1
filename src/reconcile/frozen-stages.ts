/**
 * Edits that come too late: a stage is frozen when it opens, so what main says of it since then has no effect. That is no
 * error (the rest of the commit is right), but nobody should believe that a threshold was tightened.
 */
import type { Rollout, Stage } from '../core/model/desired.ts';
import type { Gate } from '../core/model/gate.ts';
import { isFinished, type Outcomes, type StageOutcome } from '../core/model/outcome.ts';
import { isEmergency } from '../core/plan/emergency.ts';
import { whereOf } from '../core/plan/open-stage.ts';
import { formatSize } from '../core/select/size.ts';
import { compileCondition } from '../core/target/condition.ts';
import type { LoadedState } from '../documents/load.ts';
import type { Problem } from '../documents/problem.ts';
import { isSameValue } from './same-value.ts';

export function frozenStages(
  { desired, paths }: Pick<LoadedState, 'desired' | 'paths'>,
  outcomes: Outcomes,
): Problem[] {
  return [...(desired?.rollouts.values() ?? [])].flatMap((rollout): Problem[] => {
    const latest = outcomes.get(rollout.name)?.at(-1);
    // Another revision is another attempt, whose stages have yet to open.
    if (latest === undefined || isFinished(latest) || latest.revision !== rollout.revision) return [];
    // What was put in without being declared is nobody's edit.
    const stages = latest.stages.filter(({ slow }) => slow !== true);
    const opened = isEmergency(latest) ? stages.slice(0, -1) : stages;
    const edited = opened.filter((stage, index) => !isSame(stage, rollout.stages[index], rollout));
    if (edited.length === 0) return [];
    const names = edited.map(({ name }) => name).join(', ');
    const stay =
      edited.length === 1
        ? `stage ${names} is open in attempt ${latest.attempt} and stays as it was when it opened`
        : `stages ${names} are open in attempt ${latest.attempt} and stay as they were when they opened`;
    const message = `${stay}; this edit counts from the next attempt on, which begins when what is installed changes`;
    const file = paths.get(rollout.name)?.[0] ?? 'fleet/rollouts';
    return [{ file, line: 1, column: 1, rule: 'frozen-stage', severity: 'warning', message }];
  });
}

/** Whether the stage would open today as it did. */
function isSame(opened: StageOutcome, declared: Stage | undefined, { gates }: Rollout): boolean {
  if (declared === undefined) return false;
  return isSameValue(asOpened(opened), asDeclared(declared, gates));
}

type Frozen = Pick<
  StageOutcome,
  | 'name'
  | 'size'
  | 'where'
  | 'whereDigest'
  | 'unit'
  | 'successThreshold'
  | 'errorThreshold'
  | 'soakMs'
  | 'soakMaxMs'
  | 'minExposureHours'
  | 'stuckAfterMs'
> & { readonly gates: readonly Gate[] };

function asOpened(stage: StageOutcome): Frozen {
  const {
    name,
    size,
    where,
    whereDigest,
    unit,
    successThreshold,
    errorThreshold,
    soakMs,
    soakMaxMs,
    minExposureHours,
    stuckAfterMs,
  } = stage;
  const { gates } = stage;
  return {
    name,
    size,
    ...(where === undefined ? {} : { where: compileCondition(where).canonical }),
    ...(whereDigest === undefined ? {} : { whereDigest }),
    unit,
    successThreshold,
    errorThreshold,
    soakMs,
    ...(soakMaxMs === undefined ? {} : { soakMaxMs }),
    minExposureHours,
    stuckAfterMs,
    gates,
  };
}

function asDeclared(stage: Stage, gates: readonly Gate[]): Frozen {
  const { name, unit, successThreshold, errorThreshold, soakMs, soakMaxMs, minExposureHours, stuckAfterMs } =
    stage;
  const own = gates.filter((gate) => stage.gates.includes(gate.name));
  const size = formatSize(stage.size);
  const { where, whereDigest } = whereOf(stage);
  return {
    name,
    size,
    ...(where === undefined ? {} : { where: compileCondition(where).canonical }),
    ...(whereDigest === undefined ? {} : { whereDigest }),
    unit,
    successThreshold,
    errorThreshold,
    soakMs,
    ...(soakMaxMs === undefined ? {} : { soakMaxMs }),
    minExposureHours,
    stuckAfterMs,
    gates: own,
  };
}
