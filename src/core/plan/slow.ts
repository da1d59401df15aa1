/**
 * Going on slowly. Where nobody decided, and what was seen gave no reason to go back, the next stage is preceded by one that takes in a fifth
 * of it: 2 % where 10 % would come. It is put in once; what comes after it is as declared.
 */
import type { Rollout, Size, Stage } from '../model/desired.ts';
import type { Attempt } from '../model/outcome.ts';

/** The stage whose turn it is; undefined where every declared one has opened. */
export function nextStage(
  rollout: Rollout,
  attempt: Attempt,
): { readonly stage: Stage; readonly slow?: true } | undefined {
  const [stage] = stagesToCome(rollout, attempt);
  if (stage === undefined || !isSlow(attempt)) return stage && { stage };
  const before = attempt.stages.filter(({ slow }) => slow === true).length;
  return { slow: true, stage: slowly(stage, before + 1) };
}

/**
 * The declared stages that have yet to open, in order. One that has opened never opens again, also where a stage was put before it
 * just then: that one came too late.
 */
export function stagesToCome(rollout: Rollout, attempt: Attempt): readonly Stage[] {
  const opened = attempt.stages.filter(({ slow }) => slow !== true).map(({ name }) => name);
  return rollout.stages.slice(opened.length).filter(({ name }) => !opened.includes(name));
}

/** Whether it was the deadline that let it go on, and no stage has opened since. */
function isSlow({ history, stages }: Attempt): boolean {
  const resumed = history.findLast(({ state }) => state === 'running');
  if (resumed?.cause !== 'deadline') return false;
  return !stages.some(({ openedAt }) => openedAt >= resumed.at);
}

const PARTS = 5;

function slowly(stage: Stage, number: number): Stage {
  return {
    ...stage,
    name: `${stage.name}-slow-${number}`,
    size: fifthOf(stage.size),
    mode: 'incremental',
    rampMs: 0,
  };
}

function fifthOf(size: Size): Size {
  switch (size.kind) {
    case 'count':
      return { kind: 'count', count: Math.ceil(size.count / PARTS) };
    case 'share':
      return { kind: 'share', share: { ...size.share, denominator: size.share.denominator * PARTS } };
    case 'all':
      return { kind: 'share', share: { numerator: 1, denominator: PARTS } };
  }
}
