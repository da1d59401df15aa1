/** `tidegate plan traffic`: whether deltas pay, in bytes and in money. */
import { type DeltaSavings, deltaSavings, type Traffic } from '../core/estimate/delta-savings.ts';
import { formatCount, formatPercent, plural } from '../core/words.ts';
import { EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { type Output, table, wrap } from './output.ts';

export interface PlanTrafficOptions {
  readonly devices: number;
  /** In kilobytes. */
  readonly size: number;
  /** Ratios are 0 to 1. */
  readonly changed: number;
  readonly overhead: number;
  readonly retries: number;
  readonly updatesPerYear: number;
  readonly costPerMb: number;
  readonly tooling: number;
  readonly worthBelow: number;
  readonly format: 'text' | 'json';
}

export async function run(options: PlanTrafficOptions, io: Io): Promise<ExitCode> {
  const { format, size, changed, overhead, retries, tooling, worthBelow, ...input } = options;
  const given = {
    ...input,
    sizeKb: size,
    changedRatio: changed,
    overheadRatio: overhead,
    retryRatio: retries,
    toolingPerYear: tooling,
    worthBelowRatio: worthBelow,
  };
  const savings = deltaSavings(given);
  if (format === 'json') {
    const report = { ...given, ...savings, breakEvenDevices: savings.breakEvenDevices ?? null };
    io.out.write(`${JSON.stringify(report, null, 2)}\n`);
  } else io.out.lines(savingsLines(options, savings, io.out));
  return EXIT.fine;
}

function savingsLines(options: PlanTrafficOptions, savings: DeltaSavings, out: Output): string[] {
  const { changedKb, overheadKb, deltaKb, sizeRatio, savedRatio } = savings;
  const rows = [
    ['', 'a device', 'with retries', 'an update', 'a year', 'cost'],
    ['full', ...trafficCells(savings.full)],
    ['delta', ...trafficCells(savings.delta)],
  ];
  const made = `A delta is ${changedKb} KB + ${overheadKb} KB = ${deltaKb} KB, ${formatPercent(sizeRatio)} of ${formatCount(options.size)} KB: it saves ${formatPercent(savedRatio)} of a download.`;
  return [
    ...wrap(verdict(options, savings), out).map((line) => out.paint('bold', line)),
    '',
    ...table(rows, out, '  '),
    '',
    ...wrap(made, out),
    ...moneyTexts(options, savings).flatMap((text) => wrap(text, out)),
  ];
}

function verdict({ worthBelow, devices }: PlanTrafficOptions, savings: DeltaSavings): string {
  switch (savings.because) {
    case 'size':
      return `full: a delta of ${formatPercent(savings.sizeRatio)} of the image is hardly smaller; deltas are for less than ${formatPercent(worthBelow)}`;
    case 'cost':
      return `full: with ${plural(devices, 'device')} deltas save less than they cost to make`;
    case 'saves':
      if (savings.full.costPerYear === 0)
        return `delta: it saves ${formatPercent(savings.savedRatio)} of every download`;
      return `delta: it saves ${dollars(savings.saved)} a year, ${formatPercent(savings.savedCostRatio)} of what full images cost`;
  }
}

function moneyTexts({ tooling }: PlanTrafficOptions, savings: DeltaSavings): readonly string[] {
  const { delta, deltaCost, returnRatio, breakEvenDevices } = savings;
  if (deltaCost === 0) return [];
  const cost = `A year of deltas costs ${dollars(delta.costPerYear)} + ${dollars(tooling)} = ${dollars(deltaCost)}, and returns ${formatPercent(returnRatio)} of that.`;
  if (tooling === 0 || breakEvenDevices === undefined) return [cost];
  return [cost, `Below ${plural(breakEvenDevices, 'device')} making them costs more than they save.`];
}

function trafficCells({
  mbPerDevice,
  mbWithRetries,
  mbPerUpdate,
  mbPerYear,
  costPerYear,
}: Traffic): string[] {
  return [
    ...[mbPerDevice, mbWithRetries, mbPerUpdate, mbPerYear].map((mb) => `${formatCount(mb)} MB`),
    dollars(costPerYear),
  ];
}

function dollars(value: number): string {
  const digits = Number.isInteger(value) ? 0 : 2;
  const text = Math.abs(value).toLocaleString('en-US', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return `${value < 0 ? '-' : ''}$${text}`;
}
