/** What was seen of a stage, as it goes into the outcome. */
import type { StageTally } from '../assign/tally.ts';
import type { GateReading } from '../gates/reading.ts';
import type { Attempt, StageVerdict } from '../model/outcome.ts';
import assert from './assert.ts';
import { attemptKey } from './contract.ts';
import { gateVerdicts, readingsOf } from './gates.ts';
import { type Context, stageTally } from './step.ts';

/** When a stage ends, or is paused. `readings`: of its gates, where they are at hand. */
export function verdictOn(
  context: Context,
  attempt: Attempt,
  index: number,
  given: Pick<StageVerdict, 'verdict' | 'because'> & {
    readonly silent?: StageVerdict['silent'];
    readonly readings?: readonly GateReading[];
  },
): StageVerdict {
  const stage = attempt.stages[index];
  assert(stage !== undefined, `${attemptKey(attempt)}: stage ${index} is judged without being open`);
  const tally = stageTally(context.tally, index);
  const { verdict, because, silent = [], readings = readingsOf(context, attempt, index) } = given;
  return {
    at: context.input.now,
    ...(context.input.observed.epoch === stage.epoch ? {} : { epoch: context.input.observed.epoch }),
    verdict,
    because,
    silent,
    counts: { ...tally.counts },
    gates: gateVerdicts(stage, tally, { context, attempt, readings }),
    failures: failuresOf(tally),
  };
}

/** Categories of failed devices, most frequent first. */
function failuresOf({ failures }: StageTally): StageVerdict['failures'] {
  return [...failures]
    .filter(([, devices]) => devices > 0)
    .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .map(([category, devices]) => ({ category, devices }));
}
