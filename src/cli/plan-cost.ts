/** `tidegate plan cost`: whether a slow rollout pays, and why. */
import { type PaceCost, paceCost } from '../core/estimate/pace-cost.ts';
import { type DurationMs, formatDuration } from '../core/model/time.ts';
import { formatPercent, plural } from '../core/words.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { type Output, table, wrap } from './output.ts';

export interface PlanCostOptions {
  readonly fast: DurationMs;
  readonly slow: DurationMs;
  readonly affectedFast: number;
  readonly affectedSlow: number;
  readonly costPerDevice: number;
  readonly delayCost: number;
  readonly format: 'text' | 'json';
}

export async function run(options: PlanCostOptions, io: Io): Promise<ExitCode> {
  const { fast, slow, format, ...input } = options;
  if (slow <= fast)
    throw new CommandError(
      `--slow must be longer than --fast, ${formatDuration(fast)}; found ${formatDuration(slow)}`,
    );
  const cost = paceCost(input);
  if (format === 'json') {
    const report = { fastMs: fast, slowMs: slow, delayMs: slow - fast, ...input, ...cost };
    io.out.write(`${JSON.stringify({ ...report, breakEvenRatio: cost.breakEvenRatio ?? null }, null, 2)}\n`);
  } else io.out.lines(costLines(options, cost, io.out));
  return EXIT.fine;
}

/** The choice and its reason first, then what it was worked out from. */
function costLines(options: PlanCostOptions, cost: PaceCost, out: Output): string[] {
  const { fast, slow, affectedFast, affectedSlow, costPerDevice, delayCost } = options;
  const { fastCost, slowBugCost, slowCost, choice, breakEvenRatio } = cost;
  const compared = choice === 'longer' ? 'more than' : 'no more than';
  const why = `${choice}: after a fast rollout a bug costs ${dollars(fastCost)}, ${compared} the ${dollars(slowCost)} of the slow one`;
  const bug = (devices: number) => `${plural(devices, 'device')} × ${dollars(costPerDevice)}`;
  const rows = [
    ['fast', formatDuration(fast), bug(affectedFast), `= ${dollars(fastCost)}`],
    [
      'slow',
      formatDuration(slow),
      `${bug(affectedSlow)} + ${dollars(delayCost)} for ${formatDuration(slow - fast)} of delay`,
      `= ${dollars(slowBugCost)} + ${dollars(delayCost)} = ${dollars(slowCost)}`,
    ],
  ];
  const share =
    breakEvenRatio === undefined
      ? []
      : wrap(
          `The delay is paid whether there is a bug or not: in the long run it pays if more than ${formatPercent(breakEvenRatio)} of the releases have such a bug.`,
          out,
        );
  return [
    ...wrap(why, out).map((line) => out.paint('bold', line)),
    '',
    ...table(rows, out, '  '),
    ...(share.length === 0 ? [] : ['', ...share]),
  ];
}

/** `$2,000,000`, and cents only where there are some. */
function dollars(value: number): string {
  const digits = Number.isInteger(value) ? 0 : 2;
  return `$${value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}
