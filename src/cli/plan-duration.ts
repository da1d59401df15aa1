/** `tidegate plan duration`: how long a stage must last for a bug to show in it, and what speaks for less or more. */
import {
  type AdaptiveDuration,
  adaptiveDuration,
  type StageKind,
} from '../core/estimate/adaptive-duration.ts';
import { ALL_CIRCUMSTANCES, type Circumstance, paceOf, thatMakeIt } from '../core/estimate/circumstances.ts';
import { type Damage, damageOf } from '../core/estimate/damage.ts';
import { BUG_CLASSES, type BugClass, type StageDuration, stageDuration } from '../core/estimate/duration.ts';
import type { DurationMs } from '../core/model/time.ts';
import { formatCount } from '../core/words.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { estimateLines } from './plan-duration-text.ts';

/** With a member for each circumstance that holds. Rates and the confidence are ratios, 0 to 1. */
export interface PlanDurationOptions extends Partial<Readonly<Record<Circumstance, true>>> {
  readonly devices: number;
  readonly failureRate: number;
  readonly mttf: DurationMs;
  readonly confidence: number;
  readonly stage: StageKind;
  readonly bugClass?: BugClass;
  readonly rareBugRate: number;
  readonly fleetSize?: number;
  readonly format: 'text' | 'json';
}

/** What was asked, and everything that was worked out from it. */
export interface DurationEstimate {
  readonly options: PlanDurationOptions;
  readonly duration: StageDuration;
  readonly adaptive: AdaptiveDuration;
  /** Those that hold. */
  readonly circumstances: readonly Circumstance[];
  /** Undefined where the size of the fleet was not said. */
  readonly damage: Damage | undefined;
}

export async function run(options: PlanDurationOptions, io: Io): Promise<ExitCode> {
  const estimate = estimateFor(checked(options));
  if (options.format === 'json') io.out.write(`${JSON.stringify(reportOf(estimate), null, 2)}\n`);
  else io.out.lines(estimateLines(estimate, io.out));
  return EXIT.fine;
}

function checked(options: PlanDurationOptions): PlanDurationOptions {
  const { devices, fleetSize, confidence } = options;
  if (confidence === 1)
    throw new CommandError(
      '--confidence must be below 100%: no stage is long enough for every failure to show',
    );
  if (fleetSize !== undefined && fleetSize < devices)
    throw new CommandError(
      `--fleet-size must be at least the ${formatCount(devices)} --devices of the stage, found ${formatCount(fleetSize)}`,
    );
  return options;
}

function estimateFor(options: PlanDurationOptions): DurationEstimate {
  const { devices, failureRate, mttf, confidence, bugClass, stage, rareBugRate, fleetSize } = options;
  return {
    options,
    duration: stageDuration({
      devices,
      failureRatio: failureRate,
      mttfMs: mttf,
      confidence,
      ...(bugClass === undefined ? {} : { bugClass }),
    }),
    adaptive: adaptiveDuration({
      kind: stage,
      devices,
      rareBugRatio: rareBugRate,
      isSafetyCritical: options.safetyCritical === true,
    }),
    circumstances: ALL_CIRCUMSTANCES.filter((each) => options[each] === true),
    damage: fleetSize === undefined ? undefined : damageOf({ fleet: fleetSize, reached: devices }),
  };
}

function reportOf({ options, duration, adaptive, circumstances, damage }: DurationEstimate): object {
  const { devices, failureRate, mttf, confidence, bugClass, stage } = options;
  const bug = bugClass === undefined ? undefined : BUG_CLASSES[bugClass];
  return {
    devices,
    failureRatio: failureRate,
    mttfMs: mttf,
    confidence,
    ...duration,
    bugClass: bug === undefined ? null : { class: bugClass, minMs: bug.minMs, maxMs: bug.maxMs ?? null },
    adaptive: { stage, ...adaptive },
    pace: paceOf(circumstances) ?? null,
    shorter: thatMakeIt('shorter', circumstances),
    longer: thatMakeIt('longer', circumstances),
    damage: damage ?? null,
  };
}
