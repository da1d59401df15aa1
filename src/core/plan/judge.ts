/**
 * The verdict on an open stage. Errors are judged before success, so a stage that meets both halts. Only what was
 * heard counts: silence neither passes nor fails, it runs into `stuckAfter`.
 */
import type { StageTally } from '../assign/tally.ts';
import type { GateReading } from '../gates/reading.ts';
import type { Attempt, StageOutcome } from '../model/outcome.ts';
import { type DurationMs, formatDuration, formatInstant, type Instant } from '../model/time.ts';
import { failuresThatHalt, formatThreshold, successesNeeded } from '../select/size.ts';
import { firstOpen } from '../window/install-window.ts';

export type Judgement =
  | { readonly kind: 'passes'; readonly because: string }
  | { readonly kind: 'stuck'; readonly because: string }
  | { readonly kind: 'waits'; readonly because: string; readonly until?: Instant };

/** More failures than the stage may have. */
export interface TooManyFailures {
  readonly because: string;
  /** How many times what is allowed. */
  readonly ratio: number;
}

/** Too many failures in a stage, open or passed. */
export function judgeFailures(stage: StageOutcome, tally: StageTally): TooManyFailures | undefined {
  const failed = tally.counts.failed - (stage.tolerated ?? 0);
  const halts = failuresThatHalt(stage.errorThreshold, stage.devices);
  if (failed < halts) return undefined;
  const because =
    `${failed} of ${stage.devices} devices of stage ${stage.name} failed${mainCategory(tally)}; ` +
    `the error threshold ${formatThreshold(stage.errorThreshold)} halts at ${halts}`;
  return { because, ratio: failed / failuresAllowed(stage) };
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
  /** A person skips what is left of soak and exposure, and gates that say nothing. */
  readonly promoted: boolean;
  /** What the gates over the stage say. */
  readonly readings: readonly GateReading[];
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
  const missing = progress.readings.filter(({ state }) => state === 'missing');
  const [first] = missing;
  if (first !== undefined && stage.devices > 0) {
    const others = missing.length > 1 ? `, and ${missing.length - 1} more` : '';
    const because = `${met}; gate ${first.name} does not say that all is well: ${first.because}${others}`;
    if (now < stuckAt) return { kind: 'waits', because, until: stuckAt };
    return { kind: 'stuck', because: `undecided after ${formatDuration(stage.stuckAfterMs)}: ${because}` };
  }
  const soakMs = soakOf(stage, progress.readings);
  const soakEndsAt = (progress.succeededAt ?? now) + soakMs;
  if (now < soakEndsAt) {
    return {
      kind: 'waits',
      because: `${met}; soaking for ${formatDuration(soakMs)}`,
      until: soakEndsAt,
    };
  }
  return {
    kind: 'passes',
    because: soakMs > 0 ? `${met} and soaked for ${formatDuration(soakMs)}` : met,
  };
}

/** A stage that may soak longer does so until its gates over events are certain; one that has none cannot be. */
function soakOf({ soakMs, soakMaxMs = soakMs }: StageOutcome, readings: readonly GateReading[]): DurationMs {
  const said = readings.filter(({ certified }) => certified !== undefined);
  return said.length > 0 && said.every(({ certified }) => certified === true) ? soakMs : soakMaxMs;
}

/** Whether the stage has met its success threshold, so that its soak runs. */
export function meetsSuccess(stage: StageOutcome, tally: StageTally): boolean {
  return tally.counts.succeeded >= successesNeeded(stage.successThreshold, stage.devices);
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
