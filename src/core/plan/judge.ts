/**
 * The verdict on an open stage. Errors are judged before success, so a stage that meets both halts. Only what was
 * heard counts: silence neither passes nor fails, it runs into `stuckAfter`.
 */
import type { StageTally } from '../assign/tally.ts';
import type { OnFailure } from '../model/desired.ts';
import type { Attempt, StageOutcome, StageVerdict } from '../model/outcome.ts';
import { formatDuration, formatInstant, type Instant } from '../model/time.ts';
import { failuresThatHalt, formatThreshold, successesNeeded } from '../select/size.ts';
import { firstOpen } from '../window/install-window.ts';

export type Judgement =
  | { readonly kind: 'breach'; readonly action: 'pause' | 'rollBack'; readonly because: string }
  | { readonly kind: 'passes'; readonly because: string }
  | { readonly kind: 'stuck'; readonly because: string }
  | { readonly kind: 'waits'; readonly because: string; readonly until?: Instant };

/** From this multiple of the allowed failures on, the ladder rolls back instead of pausing. */
const LADDER_ROLLBACK_RATIO = 10;

/** Too many failures in a stage, open or passed. */
export function judgeFailures(
  stage: StageOutcome,
  tally: StageTally,
  onFailure: OnFailure,
): Extract<Judgement, { kind: 'breach' }> | undefined {
  const failed = tally.counts.failed - (stage.tolerated ?? 0);
  const halts = failuresThatHalt(stage.errorThreshold, stage.devices);
  if (failed < halts) return undefined;
  const ratio = failed / failuresAllowed(stage);
  const action = onFailure === 'rollback' || (onFailure === 'ladder' && ratio >= LADDER_ROLLBACK_RATIO);
  return {
    kind: 'breach',
    action: action ? 'rollBack' : 'pause',
    because:
      `${failed} of ${stage.devices} devices of stage ${stage.name} failed${mainCategory(tally)}; ` +
      `the error threshold ${formatThreshold(stage.errorThreshold)} halts at ${halts}`,
  };
}

/** ` with install.disk-full`, or how many of the failures that is, where there are others. */
function mainCategory(tally: StageTally): string {
  const [top] = [...tally.failures].sort((a, b) => b[1] - a[1]);
  if (top === undefined) return '';
  const [category, devices] = top;
  return devices === tally.counts.failed ? ` with ${category}` : `, ${devices} of them with ${category}`;
}

/** The failures that the threshold stands for, as a divisor: a share of a small stage may be less than one device. */
function failuresAllowed(stage: StageOutcome): number {
  const { errorThreshold: threshold, devices } = stage;
  if (threshold.kind === 'count') return Math.max(1, threshold.count);
  const share = (threshold.share.numerator / threshold.share.denominator) * devices;
  return share > 0 ? share : 1;
}

export interface StageProgress {
  /** When the success threshold was met, if it is met now: soak began then. */
  readonly succeededAt?: Instant;
  /** Since when the attempt has been running without a pause. */
  readonly runningSince: Instant;
  /** When the ramp has taken everybody in; the stage's opening where there is none. */
  readonly rampEndsAt: Instant;
  /** A person skips what is left of soak and exposure. */
  readonly promoted: boolean;
}

/** Whether the stage at hand passes. Failures have been judged before. */
export function judgeProgress(
  stage: StageOutcome,
  tally: StageTally,
  progress: StageProgress,
  now: Instant,
): Judgement {
  const { counts } = tally;
  const needed = successesNeeded(stage.successThreshold, stage.devices);
  const { rampEndsAt } = progress;
  const offeredAt = lastOffer(tally, Math.max(rampEndsAt, progress.runningSince));
  const stuckAt = offeredAt + stage.stuckAfterMs;
  if (counts.succeeded < needed) {
    const because =
      `${counts.succeeded} of ${stage.devices} devices succeeded, ${needed} ${needed === 1 ? 'is' : 'are'} needed ` +
      `(${formatThreshold(stage.successThreshold)}); ${describeRest(tally)}` +
      (offeredAt > now && offeredAt > rampEndsAt
        ? `; the last install window opens at ${formatInstant(offeredAt)}`
        : '');
    if (now >= stuckAt) {
      return { kind: 'stuck', because: `undecided after ${formatDuration(stage.stuckAfterMs)}: ${because}` };
    }
    return { kind: 'waits', because, until: stuckAt };
  }
  if (now < rampEndsAt)
    return { kind: 'waits', because: 'the ramp is still taking devices in', until: rampEndsAt };
  const met = `${counts.succeeded} of ${stage.devices} devices succeeded, ${needed} ${needed === 1 ? 'was' : 'were'} needed`;
  if (progress.promoted) return { kind: 'passes', because: `${met}; promoted` };
  // A stage that took nobody in has nothing to see.
  if (stage.devices > 0 && tally.exposureHours < stage.minExposureHours) {
    const because = `${met}; ${round(tally.exposureHours)} of ${round(stage.minExposureHours)} device-hours were seen`;
    if (now < stuckAt) return { kind: 'waits', because, until: stuckAt };
    return { kind: 'stuck', because: `undecided after ${formatDuration(stage.stuckAfterMs)}: ${because}` };
  }
  const soakEndsAt = (progress.succeededAt ?? now) + stage.soakMs;
  if (now < soakEndsAt) {
    return {
      kind: 'waits',
      because: `${met}; soaking for ${formatDuration(stage.soakMs)}`,
      until: soakEndsAt,
    };
  }
  return {
    kind: 'passes',
    because: stage.soakMs > 0 ? `${met} and soaked for ${formatDuration(stage.soakMs)}` : met,
  };
}

/** Whether the stage has met its success threshold, so that its soak runs. */
export function meetsSuccess(stage: StageOutcome, tally: StageTally): boolean {
  return tally.counts.succeeded >= successesNeeded(stage.successThreshold, stage.devices);
}

/** What goes into the outcome when a stage ends or is paused. */
export function verdictOf(
  stage: StageOutcome,
  tally: StageTally,
  given: Pick<StageVerdict, 'at' | 'verdict' | 'because' | 'silent'>,
): StageVerdict {
  return {
    ...given,
    counts: { ...tally.counts },
    gates: stage.gates.map((gate) => {
      const seen = tally.gates.get(gate.name);
      return {
        name: gate.name,
        expression: gate.expression,
        holds: seen?.holds ?? 0,
        fails: seen?.fails ?? 0,
        missing: seen?.missing ?? 0,
      };
    }),
    failures: [...tally.failures]
      .filter(([, devices]) => devices > 0)
      .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
      .map(([category, devices]) => ({ category, devices })),
  };
}

/** The last moment at which the attempt began to run, after its start or after a pause. */
export function runningSince(attempt: Attempt, stage: StageOutcome): Instant {
  const resumed = attempt.history.findLast((entry) => entry.state === 'running')?.at ?? stage.openedAt;
  return Math.max(resumed, stage.openedAt);
}

/**
 * When the last of the devices that have not succeeded had its first chance to begin, or has it, from `since` on: outside
 * its install window a device is offered nothing, and its silence until then says nothing.
 */
function lastOffer({ windows }: StageTally, since: Instant): Instant {
  let latest = since;
  for (const { window, devices } of windows.values()) {
    if (devices > 0) latest = Math.max(latest, firstOpen(window, since));
  }
  return latest;
}

function describeRest(tally: StageTally): string {
  const { pending, installing, verifying, failed } = tally.counts;
  const parts = [
    [pending, 'not heard of since the offer'],
    [installing, 'installing'],
    [verifying, 'without all signals'],
    [failed, 'failed'],
  ] as const;
  const said = parts.filter(([devices]) => devices > 0).map(([devices, what]) => `${devices} ${what}`);
  return said.length === 0 ? 'no device of the stage is left to hear from' : said.join(', ');
}

function round(hours: number): number {
  return Math.round(hours * 100) / 100;
}
