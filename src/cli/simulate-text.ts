/** What `tidegate simulate` says to people. */
import type { BreachAction } from '../core/model/gate.ts';
import type { RolloutState } from '../core/model/outcome.ts';
import { type DurationMs, formatDuration } from '../core/model/time.ts';
import { formatCount, formatPercent, plural } from '../core/words.ts';
import type { Sampled } from '../simulate/crowd.ts';
import type { Experiment } from '../simulate/experiment.ts';
import { faultText } from '../simulate/fault.ts';
import type { Found, FoundBy, Run } from '../simulate/run.ts';
import type { Spread, Summary } from '../simulate/summary.ts';
import { hanging, type Output, printable, table, wrap } from './output.ts';

const FACT_WIDTH = 'never found'.length;

/** One run: what was found, how the stages went, and what was decided. */
export function runLines(experiment: Experiment, run: Run, out: Output): string[] {
  const facts: [string, string][] =
    run.found === undefined
      ? [
          ['found', 'nothing'],
          ['reached', plural(run.reached, 'device')],
        ]
      : foundFacts(experiment, run.found);
  const all: [string, string][] = [
    ...facts,
    ['end', `${STATES[run.state]} after ${timeOf(run.lastedMs)}: ${printable(run.reason)}`],
  ];
  return [
    ...titleLines(experiment, out),
    '',
    ...all.flatMap(([name, text]) => hanging(name, text, FACT_WIDTH, out)),
    ...(run.stages.length === 0 ? [] : ['', ...stageLines(run, out)]),
    ...(run.moments.length === 0 ? [] : ['', ...momentLines(run, out)]),
  ];
}

/** Many runs: how often, where, and by when. */
export function summaryLines(experiment: Experiment, summary: Summary, out: Output): string[] {
  const { runs, found, neverFound, afterMs, reached, hit, where, ends } = summary;
  const facts: [string, string][] = [['found', `in ${formatCount(found)} of ${plural(runs, 'run')}`]];
  if (afterMs !== undefined) facts.push(['after', spreadText(afterMs, timeOf)]);
  if (reached !== undefined) facts.push(['reached', `${spreadText(reached, formatCount)} devices`]);
  if (hit !== undefined && hit.p90 > 0) facts.push(['hit', `${spreadText(hit, formatCount)} devices`]);
  if (found > 0) facts.push(['never found', formatPercent(neverFound)]);
  const rows = where.map(({ stage, by, runs: times }) => [stage, byText(by), formatCount(times)]);
  return [
    ...titleLines(experiment, out),
    '',
    ...facts.flatMap(([name, text]) => hanging(name, text, FACT_WIDTH, out)),
    ...(rows.length === 0
      ? []
      : ['', ...table([headings(['stage', 'found by', 'runs']), ...rows], out, '  ')]),
    ...(found === runs
      ? []
      : [
          '',
          ...wrap(`Otherwise: ${ends.map((end) => `${STATES[end.state]} (${end.runs})`).join(', ')}.`, out),
        ]),
  ];
}

/** What was assumed, and what was sampled: without it the figures say little. */
export function experimentLines({ notes }: Experiment, runs: readonly Run[], out: Output): string[] {
  const sampled = [
    ...sampledText('that run the release', smallest(runs.map((run) => run.sampled.treated))),
    ...sampledText('that it had not reached', smallest(runs.map((run) => run.sampled.control))),
  ];
  const all = [...notes, ...sampled, 'nobody decides anything while it is played but approvals'];
  return all.flatMap((note) => {
    const [first = '', ...rest] = wrap(printable(note), out, '  ');
    return [out.paint('dim', `- ${first.trimStart()}`), ...rest.map((line) => out.paint('dim', line))];
  });
}

function titleLines({ rollout, input }: Experiment, out: Output): string[] {
  const faults = input.faults.map(faultText);
  const what = faults.length === 0 ? 'with nothing wrong' : `with ${faults.join(' and ')}`;
  const title = `${rollout.name}: ${rollout.manifest.distributionSet} for ${plural(input.devices, 'device')}, ${what}`;
  return wrap(printable(title), out).map((line) => out.paint('bold', line));
}

function foundFacts({ input }: Experiment, found: Found): [string, string][] {
  const share = found.reached / input.devices;
  const hit = found.hit > 0 ? `, ${formatCount(found.hit)} of them with the fault` : '';
  return [
    [
      'found',
      `after ${timeOf(found.afterMs)}: in stage ${found.stage}, ${timeOf(found.intoStageMs)} after it opened`,
    ],
    ['by', `${byText(found.by)}: ${printable(found.because)}`],
    ['then', ACTIONS[found.action]],
    ['reached', `${plural(found.reached, 'device')} (${formatPercent(share)})${hit}`],
  ];
}

function stageLines(run: Run, out: Output): string[] {
  const rows = run.stages.map(({ name, state, devices, openedMs, closedMs }) => {
    const until = closedMs ?? run.lastedMs;
    return [name, formatCount(devices), timeOf(openedMs), timeOf(until - openedMs), state];
  });
  return table([headings(['stage', 'devices', 'opened after', 'lasted', 'state']), ...rows], out, '  ');
}

function momentLines({ moments }: Run, out: Output): string[] {
  return table(
    moments.map(({ afterMs, text }) => [{ text: timeOf(afterMs), style: 'dim' as const }, printable(text)]),
    out,
    '  ',
  );
}

function headings(names: readonly string[]) {
  return names.map((text) => ({ text, style: 'dim' as const }));
}

function sampledText(which: string, { share, devices }: Sampled): readonly string[] {
  if (share === 1) return [];
  return [
    `of devices ${which} at least ${formatPercent(share)} (${formatCount(devices)}) reported hours and events: the others only how they stand`,
  ];
}

function smallest(samples: readonly Sampled[]): Sampled {
  return samples.reduce((least, each) => (each.share < least.share ? each : least), { share: 1, devices: 0 });
}

function spreadText({ p10, median, p90 }: Spread, text: (value: number) => string): string {
  return `${text(median)} (${text(p10)} to ${text(p90)} in four of five runs)`;
}

function timeOf(duration: DurationMs): string {
  return formatDuration(duration);
}

export function byText(by: FoundBy): string {
  switch (by.kind) {
    case 'gate':
      return `gate ${by.gate}`;
    case 'errorThreshold':
      return 'the error threshold';
    case 'stuck':
      return 'too little success for too long';
  }
}

const ACTIONS: Readonly<Record<BreachAction, string>> = {
  continue: 'it was noted, and the rollout went on',
  monitor: 'nothing new was offered, and devices were watched',
  pause: 'nothing new was offered',
  rollBack: 'devices were given back what they had',
};

const STATES: Readonly<Record<RolloutState | 'notStarted', string>> = {
  waitingForApproval: 'waiting for approval',
  ready: 'not begun',
  running: 'still running',
  monitoring: 'held and watched',
  paused: 'paused',
  succeeded: 'succeeded',
  stopped: 'stopped',
  rolledBack: 'rolled back',
  superseded: 'superseded',
  notStarted: 'not begun',
};
