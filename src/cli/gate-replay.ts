/**
 * `tidegate gate replay`: judges again what an outcome recorded, or for once what somebody else has seen. The arithmetic is the
 * server's; nothing is asked of it.
 */
import { CommandError, type ExitCode } from './errors.ts';
import { replayObservations } from './gate-replay-observations.ts';
import { replayOutcome } from './gate-replay-outcome.ts';
import type { Io } from './io.ts';

export interface GateReplayOptions {
  readonly gate: string;
  /** `ROLLOUT`, `ROLLOUT/ATTEMPT` or a commit of outcomes. */
  readonly outcome?: string;
  /** A file. */
  readonly observations?: string;
  readonly stage?: string;
  readonly repo: string;
  readonly branch: string;
  readonly format: 'text' | 'json';
}

export async function run(options: GateReplayOptions, io: Io): Promise<ExitCode> {
  const { outcome, observations, stage } = options;
  if ((outcome === undefined) === (observations === undefined)) {
    const found = outcome === undefined ? 'neither' : 'both';
    throw new CommandError(
      `what is replayed is either --outcome (ROLLOUT, ROLLOUT/ATTEMPT or a commit) or --observations FILE, found ${found}; give one of them`,
    );
  }
  if (outcome !== undefined) return await replayOutcome({ ...options, outcome }, io);
  if (stage !== undefined) {
    throw new CommandError('--stage belongs to --outcome: observations are of no stage; leave it out');
  }
  return await replayObservations({ ...options, observations: observations ?? '' }, io);
}
