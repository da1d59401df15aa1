/** `tidegate simulate`: plays a rollout of a working folder over a virtual fleet, and says when a fault in it would be found. */
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SignalValue } from '../core/model/device.ts';
import { type DurationMs, formatDuration, type Instant, MINUTE } from '../core/model/time.ts';
import { formatCount } from '../core/words.ts';
import { readFolder } from '../documents/folder.ts';
import type { SourceFile } from '../documents/load.ts';
import { errorCode, isAbsent } from '../durable-fs.ts';
import { ProposalError } from '../proposal/errors.ts';
import { readSurroundings, type Surroundings } from '../proposal/surroundings.ts';
import { runChart } from '../simulate/chart.ts';
import { type Experiment, playExperiment, prepareExperiment } from '../simulate/experiment.ts';
import { type Fault, faultText } from '../simulate/fault.ts';
import type { Run } from '../simulate/run.ts';
import { summarise } from '../simulate/summary.ts';
import { readCensusFile } from './census-file.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { problemLines } from './problem-text.ts';
import { createProgress } from './progress.ts';
import { experimentLines, runLines, summaryLines } from './simulate-text.ts';

export interface SimulateOptions {
  /** The root of a fleet repository's working folder. */
  readonly path: string;
  readonly rollout: string;
  /** A commit whose documents the fleet runs before. */
  readonly base?: string;
  readonly census?: string;
  readonly devices: number;
  readonly seed: string;
  readonly seeds: number;
  readonly fault: readonly Fault[];
  readonly signal: readonly (readonly [string, SignalValue])[];
  /** Per device-hour. */
  readonly rate: readonly (readonly [string, number])[];
  readonly start?: Instant;
  readonly approveAfter?: DurationMs;
  readonly duration?: DurationMs;
  readonly chart?: string;
  readonly format: 'text' | 'json';
}

/** What a virtual fleet of this machine's memory may have. */
const DEVICES_MAX = 250_000;

export async function run(options: SimulateOptions, io: Io): Promise<ExitCode> {
  const { path, devices, seeds, chart } = options;
  if (devices > DEVICES_MAX) {
    throw new CommandError(
      `--devices may be up to ${formatCount(DEVICES_MAX)}, found ${formatCount(devices)}`,
    );
  }
  if (chart !== undefined && seeds > 1) {
    throw new CommandError(
      '--chart draws one run; leave out --seeds, and name the seed of that run with --seed',
    );
  }
  const files = await documentsIn(path);
  const { base, record } = await around(path, options.base);
  const census = options.census === undefined ? record.census : await readCensusFile(options.census);
  const prepared = prepareExperiment({
    files,
    ...(options.base === undefined || base === undefined ? {} : { base: base.files }),
    rollout: options.rollout,
    devices,
    ...(census === undefined ? {} : { cells: census.cells }),
    faults: options.fault,
    signals: Object.fromEntries(options.signal),
    rates: new Map(options.rate),
    ...(options.start === undefined ? {} : { startAt: options.start }),
    ...(options.approveAfter === undefined ? {} : { approveAfterMs: options.approveAfter }),
  });
  if (prepared.kind === 'refused') throw new CommandError(prepared.message);
  if (prepared.kind === 'invalid') {
    const errors = prepared.problems.filter(({ severity }) => severity === 'error');
    io.err.lines(problemLines(errors, prepared.of === 'files' ? path : `${options.base}:`, io.err));
    throw new CommandError('documents that are not valid cannot be played; mend them first', EXIT.problems);
  }
  const runs = await play(prepared.experiment, options, io);
  if (chart !== undefined && runs[0] !== undefined) {
    await writeChart(chart, runChart(prepared.experiment, runs[0]));
  }
  if (options.format === 'json')
    io.out.write(`${JSON.stringify(jsonOf(prepared.experiment, runs), null, 2)}\n`);
  else {
    const [first] = runs;
    const told =
      seeds === 1 && first !== undefined
        ? runLines(prepared.experiment, first, io.out)
        : summaryLines(prepared.experiment, summarise(runs), io.out);
    io.out.lines([...told, '', ...experimentLines(prepared.experiment, runs, io.out)]);
  }
  return EXIT.fine;
}

/** What polling and installing adds to a stage, roughly: for the bar alone. */
const INSTALLING_MS: DurationMs = 30 * MINUTE;

/** One run per seed. With several, each ends when its fault is found: what comes after that is told of one run only. */
async function play(experiment: Experiment, options: SimulateOptions, io: Io): Promise<readonly Run[]> {
  const signal = io.interrupted();
  const progress = createProgress(io.err, io.env);
  const { seeds, duration } = options;
  const plannedMs = experiment.rollout.stages.reduce(
    (sum, { soakMs, rampMs }) => sum + soakMs + rampMs + INSTALLING_MS,
    0,
  );
  const runs: Run[] = [];
  try {
    for (let n = 1; n <= seeds; n++) {
      const played = await playExperiment(experiment, {
        seed: seeds === 1 ? options.seed : `${options.seed}-${n}`,
        until: seeds === 1 ? 'end' : 'found',
        signal,
        ...(duration === undefined ? {} : { durationMs: duration }),
        onStep(passedMs) {
          const ofRun = Math.min(0.99, passedMs / plannedMs);
          const which = seeds === 1 ? '' : `run ${n} of ${seeds}, `;
          progress.update((n - 1 + ofRun) / seeds, `${which}${formatDuration(passedMs)} played`);
        },
      });
      if (played.isInterrupted) throw new CommandError(`interrupted after ${runs.length} of ${seeds} runs`);
      runs.push(played);
    }
  } finally {
    progress.close();
  }
  return runs;
}

/** The timeline is long, and is for drawing one run. */
function jsonOf({ input, rollout, notes }: Experiment, runs: readonly Run[]): object {
  const told = runs.length === 1 ? runs : runs.map(({ timeline: _timeline, ...rest }) => rest);
  return {
    rollout: rollout.name,
    distributionSet: rollout.manifest.distributionSet,
    devices: input.devices,
    faults: input.faults.map(faultText),
    assumptions: notes,
    summary: summarise(runs),
    runs: told,
  };
}

async function documentsIn(path: string): Promise<readonly SourceFile[]> {
  const folder = await stat(join(path, 'fleet')).catch((error: unknown) => {
    if (isAbsent(error)) return undefined;
    throw error;
  });
  if (folder?.isDirectory() === true) return await readFolder(path);
  const next = 'name the root of a fleet repository, or make one with tidegate init';
  throw new CommandError(`${path} has no folder fleet/; ${next}`);
}

/** What the fleet runs before, where that is said; and what the record knows of the fleet. */
async function around(path: string, base: string | undefined): Promise<Surroundings> {
  try {
    const found = await readSurroundings({ path, base, branch: undefined });
    if (base !== undefined && found.base === undefined)
      throw new CommandError(`commit "${base}" has no folder fleet/; name a commit of the fleet's branch`);
    return found;
  } catch (error) {
    if (error instanceof ProposalError) throw new CommandError(error.message);
    throw error;
  }
}

async function writeChart(file: string, svg: string): Promise<void> {
  try {
    await writeFile(file, svg);
  } catch (error) {
    throw new CommandError(
      `${file} cannot be written: ${errorCode(error) ?? String(error)}; name another file`,
    );
  }
}
