/** In sentences: why a device has what it has. Every device has a reason, and it is the rule that applied. */
import type { DeviceOverride } from '../model/desired.ts';
import type { Program, ProgramRollout } from '../model/program.ts';
import { formatInstant } from '../model/time.ts';
import type { RolloutReport } from '../plan/contract.ts';
import { takes } from './assign.ts';
import type { Progress, RolloutStanding, Standing } from './standing.ts';

export interface Explanation {
  /** What the device is told, in a sentence. */
  readonly summary: string;
  /** One per rollout whose target condition the device matches, highest precedence first. */
  readonly rollouts: readonly { readonly rollout: string; readonly reason: string }[];
}

/** `override` is what operators say of this device, if anything. */
export function explain(
  program: Program,
  standing: Standing,
  report: readonly RolloutReport[],
  override?: DeviceOverride,
): Explanation {
  const rollouts = standing.rollouts.map((each) => {
    const rollout = program.rollouts.find(({ name }) => name === each.rollout);
    const { assignment } = standing;
    const gives = assignment.kind === 'revision' && assignment.rollout === each.rollout;
    return { rollout: each.rollout, reason: reasonOf(each, { rollout, report, gives }) };
  });
  return { summary: summaryOf(standing, override), rollouts };
}

function summaryOf(standing: Standing, override: DeviceOverride | undefined): string {
  const { assignment } = standing;
  if (override?.revoked) return "is revoked in the fleet's repository: whatever it asks for is refused";
  if (override?.retired) {
    return "gets nothing and keeps what it runs: it is retired in the fleet's repository";
  }
  if (assignment.kind === 'revision') {
    const { rollout, revision } = assignment;
    return `gets ${revision.manifest.distributionSet} from ${rollout}, attempt ${revision.attempt}`;
  }
  const why =
    standing.rollouts.length === 0
      ? 'no rollout matches it'
      : standing.rollouts.some(({ placement }) => takes(placement))
        ? 'its install window is closed'
        : 'no rollout that matches it has anything for it yet';
  return `gets nothing and keeps what it runs: ${why}`;
}

function reasonOf(
  standing: RolloutStanding,
  at: { rollout: ProgramRollout | undefined; report: readonly RolloutReport[]; gives: boolean },
): string {
  const { placement, shadowedBy } = standing;
  const { rollout, report, gives } = at;
  if (shadowedBy !== undefined && !gives) return `${shadowedBy} has precedence and took the device`;
  const waits = report.find((each) => each.rollout === standing.rollout);
  const because = waits === undefined ? '' : ` (${waits.reason})`;
  switch (placement.kind) {
    case 'candidate': {
      const stage = placement.revision.stages[placement.stage]?.name;
      return `stage ${stage} of attempt ${placement.revision.attempt} contains it: ${progressText(standing.progress)}`;
    }
    case 'keeps':
      return placement.because === 'superseded'
        ? `it has attempt ${placement.revision.attempt}, which was given up; it keeps it until a stage takes it in${failureText(standing)}`
        : `it already has attempt ${placement.revision.attempt} and keeps it${failureText(standing)}${because}`;
    case 'knownGood':
      if (placement.returns) {
        return `known-good of attempt ${placement.revision.attempt}, in place of one that was rolled back${failureText(standing)}${because}`;
      }
      return `known-good of attempt ${placement.revision.attempt}; ${waitingText(standing, rollout)}${failureText(standing)}${because}`;
    case 'nothing':
      return `${waitingText(standing, rollout)}${because}`;
    case 'notMatching':
      return 'its target condition does not match';
  }
}

function waitingText(standing: RolloutStanding, rollout: ProgramRollout | undefined): string {
  const { placement } = standing;
  if (!('waiting' in placement)) return '';
  const attempt = rollout?.candidate?.attempt;
  switch (placement.waiting) {
    case 'noCandidate':
      return 'no other revision is being rolled out';
    case 'offersStopped':
      return `attempt ${attempt} makes no offers`;
    case 'excluded':
      return `attempt ${attempt} excludes it: it goes back to, or keeps, what it had before`;
    case 'notInOpenStage':
      return `no open stage of attempt ${attempt} contains it yet`;
    case 'outsideWindow':
      return placement.until === undefined
        ? 'it waits for its install window'
        : `it waits for its install window, which opens at ${formatInstant(placement.until)}`;
    case 'inRamp':
      return `the ramp of attempt ${attempt} has not reached it yet`;
    case 'noUnit': {
      const stage = rollout?.candidate?.stages.find((each) => each.unit !== 'device');
      return `it has no tag ${stage?.unit}, by which the open stage of attempt ${attempt} selects`;
    }
  }
}

/** Outside a stage only a failure is news. */
function failureText({ progress }: RolloutStanding): string {
  return progress?.state === 'failed' ? `; ${progressText(progress)}` : '';
}

function progressText(progress: Progress | undefined): string {
  if (progress === undefined) return 'not heard of';
  switch (progress.state) {
    case 'pending':
      return 'it has not reported on this revision yet';
    case 'installing':
      return 'it is installing';
    case 'succeeded':
      return 'it runs the revision and every gate holds';
    case 'failed':
      return `it failed with ${progress.category}${progress.message === undefined ? '' : `: ${progress.message}`}`;
    case 'verifying': {
      const open = progress.gates.filter(({ result }) => result.kind !== 'holds');
      const missing = open.map(({ name, result }) =>
        result.kind === 'missing' ? `${name} lacks ${result.signals.join(', ')}` : `${name} cannot be judged`,
      );
      return `it runs the revision, but ${missing.join('; ')}`;
    }
  }
}
