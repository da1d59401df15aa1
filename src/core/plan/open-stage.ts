/** The next stage's turn: what keeps it from opening, and whom it takes in when it does. */
import type { Operation, Stage } from '../model/desired.ts';
import type { Attempt, Cause, StageOutcome } from '../model/outcome.ts';
import { formatInstant, type Instant } from '../model/time.ts';
import { resolveStage } from '../select/admission.ts';
import { formatSize } from '../select/size.ts';
import { type Want, wantKey } from './contract.ts';
import { enter } from './lifecycle.ts';
import { applied, type Context, decide, decision, operations, type Step } from './step.ts';

export function openNext(context: Context, latest: Attempt): Step {
  const { rollout, input } = context;
  const index = latest.stages.length;
  const stage = rollout.stages[index];
  if (stage === undefined) {
    const reason = 'every declared stage has passed and none takes in all devices; add a stage of size "all"';
    return { kind: 'wait', reason };
  }
  const held = whyHeld(context, latest, stage);
  if (held !== undefined) return held;

  const want: Want = {
    kind: 'population',
    rollout: rollout.name,
    attempt: latest.attempt,
    stage: index,
    condition: rollout.condition,
    ...(latest.excluding === undefined ? {} : { excluding: latest.excluding }),
    seed: latest.seed,
    unit: stage.unit,
    stratifyBy: stage.stratifyBy,
  };
  const answer = input.observed.answers.get(wantKey(want));
  if (answer?.kind !== 'population') {
    return { kind: 'wait', stage: stage.name, reason: 'its devices are being counted', want };
  }
  if (answer.units.length === 0) {
    const what = stage.unit === 'device' ? 'enrolled device' : `value of the tag ${stage.unit}`;
    return { kind: 'wait', stage: stage.name, reason: `no ${what} matches the target condition yet` };
  }
  const resolved = resolveStage(stage, answer.units);
  const opened: StageOutcome = {
    name: stage.name,
    state: 'running',
    openedAt: input.now,
    epoch: input.observed.epoch,
    condition: rollout.condition,
    unit: stage.unit,
    size: formatSize(stage.size),
    ...resolved,
    successThreshold: stage.successThreshold,
    errorThreshold: stage.errorThreshold,
    soakMs: stage.soakMs,
    minExposureHours: stage.minExposureHours,
    stuckAfterMs: stage.stuckAfterMs,
    gates: rollout.gates.filter((gate) => stage.gates.includes(gate.name)),
  };
  const withStage: Attempt = {
    ...applied(approvalsOf(context, latest, stage), latest),
    condition: rollout.condition,
    stages: [...latest.stages, opened],
  };
  const cause: Cause = latest.state === 'waitingForApproval' ? 'approved' : 'started';
  const running =
    latest.state === 'running' ? withStage : enter(withStage, 'running', { cause, at: input.now });
  const made = decision(
    'openStage',
    'opens',
    running,
    `stage ${stage.name} opens for ${describe(resolved, stage)}`,
  );
  return { kind: 'decide', decision: { ...made, stage: stage.name } };
}

/** Why the next stage may not open now, whoever would be in it. */
function whyHeld(context: Context, latest: Attempt, stage: Stage): Step | undefined {
  const { rollout, input } = context;
  const { now, desired, observed } = input;
  const wait = (reason: string, until?: Instant): Step => ({
    kind: 'wait',
    stage: stage.name,
    reason,
    ...(until === undefined ? {} : { until }),
  });
  if (latest.stages.length === 0) {
    if (rollout.start.kind === 'manual') return wait('start is manual; set start: onMerge to begin');
    if (rollout.start.kind === 'at' && now < rollout.start.at) {
      return wait(`starts at ${formatInstant(rollout.start.at)}`, rollout.start.at);
    }
  }
  if (rollout.suspend) return wait('spec.suspend is true; take it away to go on');
  const said = operations(context, latest, ['pause', 'resume']).at(-1);
  if (said?.action === 'pause') return wait(`paused by ${said.by}; resume to go on`);
  const { freeze } = desired.fleet;
  if (freeze !== undefined && now < freeze.until && !freeze.except.includes(rollout.name)) {
    return wait(`the fleet is frozen until ${formatInstant(freeze.until)}`, freeze.until);
  }
  const given = new Set(approvalsOf(context, latest, stage).map((entry) => entry.by)).size;
  if (given < stage.approvals) {
    if (latest.state !== 'waitingForApproval') {
      const asked = enter(latest, 'waitingForApproval', { cause: 'approvalNeeded', at: now });
      return decide(
        'askApproval',
        'records',
        asked,
        `stage ${stage.name} waits for ${stage.approvals} approvals`,
      );
    }
    return wait(`${given} of ${stage.approvals} approvals given`);
  }
  if (observed.held !== undefined) return wait(observed.held);
  return undefined;
}

function approvalsOf(context: Context, latest: Attempt, stage: Stage): readonly Operation[] {
  return operations(context, latest, ['approve']).filter((entry) => entry.stage === stage.name);
}

function describe(resolved: { units: number; devices: number }, stage: Stage): string {
  const devices = `${resolved.devices} ${resolved.devices === 1 ? 'device' : 'devices'}`;
  if (stage.unit === 'device') return devices;
  return `${resolved.units} ${stage.unit}${resolved.units === 1 ? '' : 's'} with ${devices}`;
}
