/** The next stage's turn: what keeps it from opening, and whom it takes in when it does. */
import type { Operation, Stage } from '../model/desired.ts';
import { sha256Hex } from '../model/manifest.ts';
import type { Attempt, Cause, StageOutcome } from '../model/outcome.ts';
import { formatInstant, type Instant } from '../model/time.ts';
import { takingOf } from '../select/admission.ts';
import { formatSize } from '../select/size.ts';
import { compileSelection } from '../target/condition.ts';
import { approvalsOf } from './approvals.ts';
import { type Want, wantKey } from './contract.ts';
import { emergencyOf, emergencyStage } from './emergency.ts';
import { enter, enterStage } from './lifecycle.ts';
import { nextStage } from './slow.ts';
import { applied, type Context, decide, decision, operations, type Step } from './step.ts';
import { verdictOn } from './verdict.ts';

export function openNext(context: Context, latest: Attempt): Step {
  const { rollout, input } = context;
  const index = latest.stages.length;
  const emergency = emergencyOf(context, latest);
  const next = emergency === undefined ? nextStage(rollout, latest) : undefined;
  const stage = emergency === undefined ? next?.stage : emergencyStage(rollout);
  if (stage === undefined) {
    const reason = 'every declared stage has passed and none takes in all devices; add a stage of size "all"';
    return { kind: 'wait', reason };
  }
  const held = whyHeld(context, latest, { stage, emergency });
  if (held !== undefined) return held;

  const want: Want = {
    kind: 'population',
    rollout: rollout.name,
    attempt: latest.attempt,
    stage: index,
    condition: rollout.condition,
    ...(latest.excluding === undefined ? {} : { excluding: latest.excluding }),
    ...(latest.exclude === undefined ? {} : { exclude: latest.exclude }),
    seed: latest.seed,
    takes: takingOf(stage),
  };
  const answer = input.observed.answers.get(wantKey(want));
  if (answer?.kind !== 'population') {
    return { kind: 'wait', stage: stage.name, reason: 'its devices are being counted', want };
  }
  if (answer.units === 0) {
    const what = stage.unit === 'device' ? 'enrolled device' : `value of the tag ${stage.unit}`;
    const which = stage.where === undefined ? '' : " and the stage's where";
    const reason = `no ${what} matches the target condition${which} yet`;
    return { kind: 'wait', stage: stage.name, reason };
  }
  const { resolved } = answer;
  const opened: StageOutcome = {
    name: stage.name,
    state: 'running',
    openedAt: input.now,
    epoch: input.observed.epoch,
    condition: rollout.condition,
    ...whereOf(stage),
    unit: stage.unit,
    size: formatSize(stage.size),
    ...resolved,
    successThreshold: stage.successThreshold,
    errorThreshold: stage.errorThreshold,
    soakMs: stage.soakMs,
    ...(stage.soakMaxMs === undefined ? {} : { soakMaxMs: stage.soakMaxMs }),
    minExposureHours: stage.minExposureHours,
    stuckAfterMs: stage.stuckAfterMs,
    gates: rollout.gates.filter((gate) => stage.gates.includes(gate.name)),
    alpha: rollout.alpha,
    ...(next?.slow === undefined ? {} : { slow: next.slow }),
  };
  const obeyed = [
    ...approvalsOf(context, latest, stage).entries,
    ...(emergency === undefined ? [] : [emergency]),
  ];
  const before = emergency === undefined ? latest : cutShort(context, latest, emergency);
  const withStage: Attempt = {
    ...applied(obeyed, before),
    condition: rollout.condition,
    stages: [...before.stages, opened],
  };
  // One that was put before the stage that waits needs no approval itself.
  const isApproved = latest.state === 'waitingForApproval' && stage.approvals > 0;
  const cause: Cause = isApproved ? 'approved' : 'started';
  const running =
    latest.state === 'running' ? withStage : enter(withStage, 'running', { cause, at: input.now });
  const made = decision(
    'openStage',
    'opens',
    running,
    `stage ${stage.name} opens for ${describe(resolved, stage)}`,
    emergency?.reason,
  );
  return { kind: 'decide', decision: { ...made, stage: stage.name } };
}

/** An emergency does not wait for the stage at hand: it ends undecided, and its devices are judged on. */
function cutShort(context: Context, latest: Attempt, { by }: Operation): Attempt {
  const index = latest.stages.length - 1;
  const stage = latest.stages[index];
  if (stage?.state !== 'running') return latest;
  const at = context.input.now;
  const because = `cut short by an emergency that ${by} asked for`;
  const verdict = verdictOn(context, latest, index, { verdict: 'undecided', because });
  return enterStage(latest, index, 'passed', { verdict, closedAt: at });
}

/** Why the next stage may not open now, whoever would be in it. An emergency waits for people only. */
function whyHeld(
  context: Context,
  latest: Attempt,
  { stage, emergency }: { stage: Stage; emergency: Operation | undefined },
): Step | undefined {
  const { rollout, input } = context;
  const { now, desired, observed } = input;
  const wait = (reason: string, until?: Instant): Step => ({
    kind: 'wait',
    stage: stage.name,
    reason,
    ...(until === undefined ? {} : { until }),
  });
  if (latest.stages.length === 0 && emergency === undefined) {
    if (rollout.start.kind === 'manual') return wait('start is manual; set start: onMerge to begin');
    if (rollout.start.kind === 'at' && now < rollout.start.at) {
      return wait(`starts at ${formatInstant(rollout.start.at)}`, rollout.start.at);
    }
  }
  if (rollout.suspend) return wait('spec.suspend is true; take it away to go on');
  const said = operations(context, latest, ['pause', 'resume']).at(-1);
  if (said?.action === 'pause') return wait(`paused by ${said.by}; resume to go on`);
  const { freeze } = desired.fleet;
  const isFrozen = freeze !== undefined && now < freeze.until && !freeze.except.includes(rollout.name);
  if (isFrozen && emergency === undefined) {
    return wait(`the fleet is frozen until ${formatInstant(freeze.until)}`, freeze.until);
  }
  const lacking = desired.fleet.require.filter((kind) => !Object.hasOwn(rollout.evidence, kind));
  if (lacking.length > 0 && latest.stages.length === 0 && emergency === undefined) {
    const set = rollout.manifest.distributionSet;
    return wait(
      `the fleet requires evidence of ${lacking.join(', ')} for ${set}; add it to the set's spec.evidence`,
    );
  }
  const { missing } = approvalsOf(context, latest, stage);
  if (missing !== undefined) {
    if (latest.state !== 'waitingForApproval') {
      const asked = enter(latest, 'waitingForApproval', { cause: 'approvalNeeded', at: now });
      return decide(
        'askApproval',
        'records',
        asked,
        `stage ${stage.name} waits for ${stage.approvals} approvals`,
      );
    }
    return wait(missing);
  }
  const held = observed.held ?? observed.heldRollouts?.get(rollout.name);
  if (held !== undefined) return wait(held);
  return undefined;
}

/** What the outcome says of the stage's own condition: as it is, or, for its device ids, so that it is known again. */
export function whereOf({ where }: Pick<Stage, 'where'>): Pick<StageOutcome, 'where' | 'whereDigest'> {
  if (where === undefined) return {};
  const { canonical, namesDevices } = compileSelection(where);
  return namesDevices ? { whereDigest: `sha256:${sha256Hex(canonical)}` } : { where };
}

function describe(resolved: { units: number; devices: number }, stage: Stage): string {
  const devices = `${resolved.devices} ${resolved.devices === 1 ? 'device' : 'devices'}`;
  if (stage.unit === 'device') return devices;
  return `${resolved.units} ${stage.unit}${resolved.units === 1 ? '' : 's'} with ${devices}`;
}
