/** `gate replay GATE --outcome REF`: what is recorded of a gate, judged again, and whether it comes to the same. */
import { describeGate } from '../core/gates/describe.ts';
import { isMeasured } from '../core/gates/exposure.ts';
import { type Difference, KEPT_MAX, replayVerdict, type VerdictReplay } from '../core/gates/replay.ts';
import { type ExpressionGate, isExpression, type StageGate } from '../core/model/gate.ts';
import type { Attempt, StageOutcome } from '../core/model/outcome.ts';
import { formatInstant } from '../core/model/time.ts';
import { formatCount } from '../core/words.ts';
import { didYouMean } from '../documents/suggest.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { GateReplayOptions } from './gate-replay.ts';
import { heardLines, hoursLines, jsonOfReplay, numberOrNull, verdictLines } from './gate-replay-text.ts';
import type { Io } from './io.ts';
import { hanging, type Output, printable, wrap } from './output.ts';
import { findAttempt } from './recorded-attempt.ts';

type Options = GateReplayOptions & { readonly outcome: string };

interface Judged extends VerdictReplay {
  readonly attempt: Attempt;
  readonly stage: StageOutcome;
  readonly gate: StageGate;
}

export async function replayOutcome(options: Options, io: Io): Promise<ExitCode> {
  const { attempt, stage } = await findAttempt(options, io);
  const judged = judgeAgain(attempt, { ...options, decidedIn: stage });
  if (options.format === 'json') io.out.write(`${JSON.stringify(jsonOf(judged), null, 2)}\n`);
  else io.out.lines(linesOf(judged, io.out));
  return judged.differences.length === 0 ? EXIT.fine : EXIT.problems;
}

/** `decidedIn`: the stage that the named commit is about; without it, and without --stage, it is the last one that judged by the gate. */
function judgeAgain(
  attempt: Attempt,
  options: { readonly gate: string; readonly stage?: string; readonly decidedIn: string | undefined },
): Judged {
  const { gate: name, stage: wanted, decidedIn } = options;
  const named = `${attempt.rollout}/${attempt.attempt}`;
  const names = attempt.stages.map((stage) => stage.name);
  if (wanted !== undefined && !names.includes(wanted)) {
    throw new CommandError(`${named} has opened no stage "${wanted}"; ${didYouMean(wanted, names)}`);
  }
  const stages = attempt.stages.filter((stage) => wanted === undefined || stage.name === wanted);
  const gates = stages.flatMap((stage) => stage.gates);
  const known = [...new Set(gates.map((gate) => gate.name))];
  const where = wanted === undefined ? named : `stage ${wanted} of ${named}`;
  if (!known.includes(name))
    throw new CommandError(`${where} has no gate "${name}"; ${didYouMean(name, known)}`);
  const ordered = stages.toSorted((a, b) => Number(a.name === decidedIn) - Number(b.name === decidedIn));
  for (const stage of ordered.reverse()) {
    const gate = stage.gates.find((each) => each.name === name);
    if (gate === undefined || stage.verdict === undefined) continue;
    if (isExpression(gate)) throw judgedByDevice(gate, stage);
    const again = replayVerdict(attempt, stage, name);
    if (again !== undefined) return { ...again, attempt, stage, gate };
  }
  throw new CommandError(
    `nothing is recorded of gate ${name} in ${where} yet; tidegate gate explain ${attempt.rollout} ${name} asks the server what it says now`,
  );
}

function judgedByDevice(gate: ExpressionGate, { verdict }: StageOutcome): CommandError {
  const counts = verdict?.gates.find((each) => each.name === gate.name && 'expression' in each);
  const { holds = 0, fails = 0, missing = 0 } = counts !== undefined && 'expression' in counts ? counts : {};
  return new CommandError(
    `gate ${gate.name} is an expression, which each device is judged by where it stands: it held on ${formatCount(holds)}, failed on ${formatCount(fails)}, and ${formatCount(missing)} had not said what it needs; there is nothing to add up again`,
  );
}

function jsonOf({ attempt, stage, gate, replay, recorded, at, differences, isWhole }: Judged) {
  const { rollout, attempt: number } = attempt;
  const { counts, observations, samples } = recorded;
  return {
    gate: gate.name,
    rule: describeGate(gate),
    rollout,
    attempt: number,
    stage: stage.name,
    recordedAt: formatInstant(at),
    ...jsonOfReplay(gate, replay),
    ...(counts === undefined ? {} : { counts }),
    ...(observations === undefined
      ? {}
      : { observations: observations.map(([minute, sum]) => ({ at: formatInstant(minute), sum })) }),
    ...(samples === undefined
      ? {}
      : { samples: samples.map((each) => ({ ...each, at: formatInstant(each.at) })) }),
    recorded: {
      state: recorded.state,
      because: recorded.because,
      logEvidence: numberOrNull(recorded.logEvidence),
      ratio: numberOrNull(recorded.ratio),
    },
    same: differences.length === 0,
    differences: differences.map(({ what, recorded: was, replayed }) => ({
      what,
      recorded: was ?? null,
      replayed: replayed ?? null,
    })),
    whole: isWhole,
  };
}

function linesOf(judged: Judged, out: Output): string[] {
  const { attempt, stage, gate, replay, recorded } = judged;
  const title = `gate ${gate.name} of ${attempt.rollout}, attempt ${attempt.attempt}, stage ${stage.name}`;
  const what = isMeasured(gate) ? hoursLines(gate, replay, out) : heardLines(gate, recorded, out);
  return [
    ...wrap(printable(title), out).map((line) => out.paint('bold', line)),
    ...hanging('rule', printable(describeGate(gate)), 'rule'.length, out),
    '',
    ...what,
    ...(what.length === 0 ? [] : ['']),
    ...verdictLines(replay.reading, out),
    ...comparisonLines(judged, out),
  ];
}

function comparisonLines({ gate, recorded, at, differences, isWhole }: Judged, out: Output): string[] {
  const when = formatInstant(at);
  const cut = isWhole
    ? []
    : wrap(
        `The outcome keeps the last ${KEPT_MAX} of what the gate had heard: what was before is not in it, and may be what is missing here.`,
        out,
        '  ',
      );
  if (differences.length === 0) {
    const same =
      gate.kind === 'approval'
        ? `as recorded at ${when}; who approved is in the commits of main, and is not counted again`
        : `as recorded at ${when}, to the last digit`;
    return wrap(`= ${same}`, out).map((line) => out.paint('green', line));
  }
  const title = `≠ the outcome of ${when} says something else: it, or what it was judged by, is not as the server wrote it`;
  const width = Math.max(...differences.map(({ what }) => WHAT[what].length));
  return [
    ...wrap(title, out).map((line) => out.paint('red', line)),
    ...differences.flatMap((each) => hanging(WHAT[each.what], differenceText(each), width, out)),
    ...hanging('because', printable(recorded.because), width, out),
    ...cut,
  ];
}

const WHAT: Readonly<Record<Difference['what'], string>> = {
  state: 'state',
  ratio: 'ratio',
  logEvidence: 'ln evidence',
};

function differenceText({ recorded, replayed }: Difference): string {
  return `recorded ${recorded ?? 'nothing'}, again ${replayed ?? 'nothing'}`;
}
