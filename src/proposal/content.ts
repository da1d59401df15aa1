/**
 * What a plan says to people, in the order in which they ask: is it right, what changes and for whom, how would it go, what would the
 * gates see, what does it cost. A page that is read in a minute; everything else is in the JSON.
 */
import type { EventForecast, Forecast, GateForecast, StageForecast } from '../core/estimate/forecast.ts';
import type { MergeEffect } from '../core/estimate/merge.ts';
import {
  DAY,
  type DurationMs,
  formatDuration,
  formatInstant,
  HOUR,
  MINUTE,
  SECOND,
} from '../core/model/time.ts';
import { formatCount, formatPercent, plural } from '../core/words.ts';
import type { Block } from './block.ts';
import type { PlanReport } from './examination.ts';
import type { Holding, Move, Proposal, RolloutProposal } from './proposal.ts';

export function contentOf(report: PlanReport): readonly Block[] {
  const { proposal } = report;
  if (proposal === null) {
    const text =
      'The documents have errors, so nothing can be said of what they would do. The errors come first:';
    return [{ kind: 'text', text }, ...problemBlocks(report)];
  }
  return [
    { kind: 'text', text: headline(report, proposal) },
    ...changeBlocks(proposal),
    ...moveBlocks(proposal.moves),
    ...proposal.rollouts.flatMap((each) => rolloutBlocks(each, report)),
    ...problemBlocks(report),
  ];
}

function headline({ base, fleet, record }: PlanReport, { changes, devices }: Proposal): string {
  const against = base === null ? 'There is nothing to compare with' : `Compared with ${baseName(base)}`;
  const count =
    changes === undefined ? 0 : changes.rollouts.length + changes.flags.length + changes.fleet.length;
  const what =
    base === null || changes === undefined ? '' : count === 0 ? ', nothing changes for devices' : '';
  return `${against}${what}. ${fleetSentence(fleet, devices)}${record === null ? ' Nothing has been recorded yet: it is reckoned with devices that run what was wanted until now.' : ''}`;
}

/** In a workflow the base is named by its hash. */
function baseName({ name, commit }: NonNullable<PlanReport['base']>): string {
  const short = commit.slice(0, 10);
  return name === commit ? `commit ${short}` : `${name} (${short})`;
}

function fleetSentence(fleet: PlanReport['fleet'], devices: number): string {
  switch (fleet?.kind) {
    case 'census':
      return `The fleet has ${plural(devices, 'device')}, by the census ${fleet.at === undefined ? 'in' : `of ${fleet.at},`} ${fleet.from}.`;
    case 'devices':
      return `The fleet has ${plural(devices, 'device')}, by ${fleet.from}.`;
    case 'declared':
      return `The documents declare ${plural(devices, 'device')}, and no census is there.`;
    default:
      return 'How many devices there are is not known: there is no census on the branch outcomes yet; give --devices, --server or --census.';
  }
}

// What changes

function changeBlocks({ changes }: Proposal): readonly Block[] {
  if (changes === undefined) return [];
  const items = [
    ...changes.fleet.map((words) => `fleet: ${words}`),
    ...changes.rollouts.map(
      ({ rollout, change, words }) => `rollout ${rollout} ${said(change)}: ${words.join('; ')}`,
    ),
    ...changes.flags.map(({ flag, change, words }) => `flag ${flag} ${said(change)}: ${words.join('; ')}`),
  ];
  return items.length === 0
    ? []
    : [
        { kind: 'heading', level: 1, text: 'What changes' },
        { kind: 'list', items },
      ];
}

function said(change: 'added' | 'removed' | 'changed'): string {
  return change === 'changed' ? 'changes' : `is ${change}`;
}

const MOVES_MAX = 10;

function moveBlocks(moves: readonly Move[]): readonly Block[] {
  if (moves.length === 0) return [];
  const items = moves.slice(0, MOVES_MAX).map(({ devices, from, to }) => {
    const change =
      to === null
        ? `${holding(from)} → nothing: they keep what they run, and no rollout looks after them`
        : `${holding(from)} → ${holding(to)}`;
    return `${plural(devices, 'device')}: ${change}`;
  });
  const more =
    moves.length > MOVES_MAX ? [`${moves.length - MOVES_MAX} more such changes are in the JSON`] : [];
  return [
    { kind: 'heading', level: 1, text: 'For whom' },
    { kind: 'list', items: [...items, ...more] },
  ];
}

function holding(holding: Holding | null): string {
  return holding === null ? 'what they came with' : `${holding.distributionSet} by ${holding.rollout}`;
}

// One rollout

function rolloutBlocks(proposed: RolloutProposal, report: PlanReport): readonly Block[] {
  const { rollout, distributionSet, before, forecast } = proposed;
  const from = before === undefined || before === distributionSet ? '' : `${before} → `;
  const heading: Block = { kind: 'heading', level: 1, text: `${rollout}: ${from}${distributionSet}` };
  const lead: Block = { kind: 'text', text: leadOf(proposed, report) };
  if (forecast === undefined) return [heading, lead];
  if (report.fleet?.kind === 'none') return [heading, lead, declaredTable(forecast)];
  if (forecast.devices === 0) return [heading, lead];
  return [heading, lead, stageTable(forecast), ...gateBlocks(forecast), ...costBlocks(forecast)];
}

function leadOf(
  { effect, matching, unknown, takenBy, forecast }: RolloutProposal,
  { fleet }: PlanReport,
): string {
  const begins = effectSentence(effect);
  if (matching === undefined) return `${begins} Whom it reaches cannot be told: ${unknown}.`;
  if (fleet === null || fleet.kind === 'none')
    return forecast === undefined ? begins : `${begins} ${durationSentence(forecast)}`;
  const taken = takenBy.reduce((sum, { devices }) => sum + devices, 0);
  const others =
    taken === 0
      ? ''
      : `, of which ${formatCount(taken)} get something else by ${takenBy.map(({ rollout }) => rollout).join(', ')}`;
  const who = `Its condition matches ${plural(matching, 'device')}${others}.`;
  return forecast === undefined ? `${begins} ${who}` : `${begins} ${who} ${durationSentence(forecast)}`;
}

function effectSentence(effect: MergeEffect): string {
  switch (effect.kind) {
    case 'starts':
      return `Merging begins attempt ${effect.attempt}${effect.supersedes === undefined ? '' : `, in place of attempt ${effect.supersedes}, which is under way; devices that have its revision keep it until their stage comes`}.`;
    case 'widens':
      return `Merging begins attempt ${effect.attempt} over the devices that are new to it; the others have the revision already.`;
    case 'restores':
      return `Merging takes attempt ${effect.from} back: its devices return to what attempt ${effect.knownGood} brought, at once and without stages.`;
    case 'goesOn':
      return effect.opened === 0
        ? `Attempt ${effect.attempt} goes on, and no stage of it has opened yet.`
        : `Attempt ${effect.attempt} goes on; its first ${plural(effect.opened, 'stage')} ${effect.opened === 1 ? 'has' : 'have'} opened and stay as they are.`;
    case 'inForce':
      return `What it wants is known-good since attempt ${effect.knownGood}, so no stage opens.`;
    case 'waits':
      return `No stage opens: ${effect.because}.`;
  }
}

function durationSentence({ timelines, stages }: Forecast): string {
  const { least, analysed, likely, longest, beginsAt, isManual } = timelines;
  const isLooked = analysed.endsAfterMs > least.endsAfterMs;
  const looked = isLooked ? `, ${days(analysed.endsAfterMs)} with the time to look at each stage` : '';
  const isLater =
    least.endsAfterMs < longest.endsAfterMs
      ? `, ${days(longest.endsAfterMs)} if its gates are not certain earlier`
      : '';
  const likelyText =
    likely.endsAfterMs > least.endsAfterMs
      ? `, likely ${days(likely.endsAfterMs)} with polls and installs`
      : '';
  const approvals = stages.reduce((sum, { approvals: count }) => sum + count, 0);
  const waits = [
    ...(isManual ? ['until somebody starts it'] : []),
    ...(approvals > 0 ? [`for ${plural(approvals, 'approval')}, however long people take`] : []),
  ];
  const waiting = waits.length === 0 ? '' : ` It waits ${waits.join(' and ')}.`;
  return `It takes at least ${days(least.endsAfterMs)}${looked}${likelyText}${isLater}, from ${formatInstant(Math.round(beginsAt / SECOND) * SECOND)} on.${waiting}`;
}

function stageTable({ stages, timelines, devices }: Forecast): Block {
  const hasTickets = stages.some(({ support }) => support.tickets > 0);
  const hasEvents = stages.some(({ gates }) => gates.some(({ events }) => events !== undefined));
  const rows = stages.map((stage, index) => {
    const times = timelines.least.stages[index];
    const { reach } = stage;
    return [
      stage.name,
      takesIn(stage),
      `${formatCount(reach.reached)} (${formatPercent(devices === 0 ? 0 : reach.reached / devices)})`,
      days(times?.opensAfterMs ?? 0),
      days(times?.passesAfterMs ?? 0),
      `${formatCount(stage.failures.haltsAt)} of ${formatCount(reach.devices)}`,
      ...(hasEvents ? [findsOf(stage)] : []),
      ...(hasTickets ? [`${decimal(stage.support.returned)} + ${decimal(stage.support.tickets)}`] : []),
    ];
  });
  const head = [
    'stage',
    'takes in',
    'reached',
    'opens',
    'passes',
    'failures halt at',
    ...(hasEvents ? ['finds'] : []),
    ...(hasTickets ? ['taken back: alone + tickets'] : []),
  ];
  return { kind: 'table', head, rows, numbers: [1, 2, 3, 4, 5] };
}

/** Where nobody knows how many devices there are: the stages as they are written, and when. */
function declaredTable({ stages, timelines }: Forecast): Block {
  const rows = stages.map(({ name, size, unit }, index) => {
    const times = timelines.least.stages[index];
    const units = unit === 'device' || size === 'all' ? '' : ` (${unit})`;
    return [name, `${size}${units}`, days(times?.opensAfterMs ?? 0), days(times?.passesAfterMs ?? 0)];
  });
  return { kind: 'table', head: ['stage', 'size', 'opens', 'passes'], rows, numbers: [2, 3] };
}

function takesIn({ reach, unit }: StageForecast): string {
  if (unit === 'device') return formatCount(reach.devices);
  const most = reach.devicesMax > reach.devices ? `, at most ${formatCount(reach.devicesMax)}` : '';
  return `${plural(reach.units, unit)} (about ${formatCount(reach.devices)}${most})`;
}

/** The smallest regression that one of the stage's gates finds. */
function findsOf({ gates, reach }: StageForecast): string {
  if (reach.devices === 0) return '–';
  const sights = gates.flatMap(({ events }) => (events === undefined ? [] : [events]));
  if (sights.length === 0) return '–';
  const found = sights.flatMap(({ smallestRatio }) => (smallestRatio === undefined ? [] : [smallestRatio]));
  return found.length === 0 ? 'nothing' : `${ratio(Math.min(...found))}×`;
}

// What gates see

function gateBlocks({ stages }: Forecast): readonly Block[] {
  const names = [...new Set(stages.flatMap(({ gates }) => gates.map(({ name }) => name)))];
  const items = names.flatMap((name) => gateText(name, stages));
  const events = eventTable(stages);
  return [
    ...(items.length === 0
      ? []
      : [{ kind: 'heading', level: 2, text: 'Gates' } as const, { kind: 'list', items } as const]),
    ...events,
  ];
}

function gateText(name: string, stages: readonly StageForecast[]): readonly string[] {
  const gates = stages.flatMap(({ gates }) => gates.filter((gate) => gate.name === name));
  const [first] = gates;
  if (first === undefined) return [];
  const where =
    gates.length === stages.length
      ? ''
      : ` (in ${stages
          .filter(({ gates: of }) => of.some((gate) => gate.name === name))
          .map((stage) => stage.name)
          .join(', ')})`;
  return [`${name}${where}: ${first.what}${aside(gates)}`];
}

function aside(gates: readonly GateForecast[]): string {
  const [first] = gates;
  if (first === undefined) return '';
  const unknown = gates.find((gate) => gate.unknown !== undefined)?.unknown;
  if (unknown !== undefined) return `. ${sentence(unknown)}`;
  if (first.kind === 'expression') return '. Each device for itself, in every report';
  if (first.shares !== undefined) {
    const texts = gates.flatMap(({ shares }) =>
      shares === undefined ? [] : [`${formatCount(shares.haltsAt)} of ${formatCount(shares.devices)}`],
    );
    return `. Halts at ${texts.join(', then ')}`;
  }
  const rate = first.events;
  if (rate === undefined) return '';
  const from = {
    gate: 'by the gate',
    planning: 'by spec.planning of the Fleet document',
    census: 'by the census',
  }[rate.rateFrom];
  return `. As always is ${perDay(rate.ratePerHour)} per device and day, ${from}`;
}

/** What is expected of each stage by each gate over events: in its own time, and in a whole day, as rates are mostly written. */
function eventTable(stages: readonly StageForecast[]): readonly Block[] {
  const rows = stages.flatMap((stage) =>
    stage.gates.flatMap(({ name, events }) => (events === undefined ? [] : [eventRow(stage, name, events)])),
  );
  if (rows.length === 0) return [];
  const head = [
    'stage',
    'gate',
    'expected in its time',
    'a day',
    'halts at',
    'halted with nothing wrong',
    'finds, 4 times of 5',
  ];
  return [{ kind: 'table', head, rows, numbers: [2, 3, 4, 5, 6] }];
}

function eventRow(stage: StageForecast, name: string, events: EventForecast): readonly string[] {
  const { own, ownPerDay, haltsAt, smallestRatio, falseHaltChance } = events;
  const limited = (each: EventForecast['own']) =>
    each.limit === undefined
      ? decimal(each.incidents)
      : `${decimal(each.incidents)} (pause above ${decimal(each.limit)})`;
  return [
    stage.name,
    name,
    limited(own),
    limited(ownPerDay),
    haltsAt === undefined ? '–' : formatCount(haltsAt),
    own.falseHaltChance === undefined
      ? chance(falseHaltChance)
      : `${chance(own.falseHaltChance)} (a day: ${chance(ownPerDay.falseHaltChance ?? 0)})`,
    smallestRatio === undefined ? 'nothing' : `${ratio(smallestRatio)}×`,
  ];
}

// What it costs

function costBlocks({ download, stages }: Forecast): readonly Block[] {
  const { sizeBytes, deltaBytes, transfer } = download;
  const sum = (of: (stage: StageForecast) => number) => stages.reduce((total, stage) => total + of(stage), 0);
  const items: string[] = [];
  if (sizeBytes > 0) {
    const all = `${bytes(sum(({ traffic }) => traffic.fullBytes))} in all`;
    const delta =
      deltaBytes === undefined
        ? ''
        : `; as deltas about ${bytes(deltaBytes)} and ${bytes(sum(({ traffic }) => traffic.deltaBytes ?? 0))} in all`;
    const time =
      transfer === undefined
        ? ''
        : `. ${decimal(transfer.bits / 1e6)} Mbit take a device ${seconds(transfer.linkMs)}${transfer.likelyMs > transfer.linkMs ? `, about ${seconds(transfer.likelyMs)} with what comes on top` : ''}`;
    items.push(`each device downloads ${bytes(sizeBytes)}, ${all}${delta}${time}`);
  }
  const [first] = stages;
  if (first !== undefined && first.support.tickets > 0) {
    const parts = stages.map(({ name, ownSupport }) => `${name} ${decimal(ownSupport.tickets)}`);
    const capacity = stages.map(({ ownSupport }) => ownSupport.daysOfSupport ?? 0);
    const most = Math.max(...capacity);
    const support =
      first.support.daysOfSupport === undefined
        ? ''
        : most <= 1
          ? '; support takes all of any stage within a day'
          : `; the largest would keep support busy for ${decimal(most)} days`;
    items.push(`tickets if a stage's own devices have to go back: ${parts.join(', ')}${support}`);
  }
  return items.length === 0
    ? []
    : [
        { kind: 'heading', level: 2, text: 'Costs' },
        { kind: 'list', items },
      ];
}

// Problems

function problemBlocks({ problems }: PlanReport): readonly Block[] {
  if (problems.length === 0) return [];
  const items = problems.map(
    ({ file, line, severity, message, rule }) => `${severity}: ${file}:${line}: ${message} (${rule})`,
  );
  return [
    { kind: 'heading', level: 1, text: 'Worth a look' },
    { kind: 'list', items },
  ];
}

// Figures

/** In days and hours, as rollouts are thought of. */
function days(duration: DurationMs): string {
  if (duration === 0) return '0h';
  const rounded =
    duration < HOUR
      ? Math.max(MINUTE, Math.round(duration / MINUTE) * MINUTE)
      : Math.round(duration / MINUTE) * MINUTE;
  return formatDuration(rounded);
}

function seconds(duration: DurationMs): string {
  return duration < 2 * MINUTE ? `${decimal(duration / SECOND)} s` : formatDuration(duration);
}

function perDay(ratePerHour: number): string {
  return formatPercent((ratePerHour * DAY) / HOUR);
}

function chance(value: number): string {
  if (value === 0) return '0%';
  return value < 0.00001
    ? '< 0.001%'
    : `${(100 * value).toLocaleString('en-US', { maximumSignificantDigits: 3 })}%`;
}

function ratio(value: number): string {
  return value >= 10 ? formatCount(Math.round(value)) : value.toFixed(1);
}

/** To four digits that matter, and never with more than there are. */
function decimal(value: number): string {
  const isLarge = Math.abs(value) >= 1000;
  return value.toLocaleString(
    'en-US',
    isLarge ? { maximumFractionDigits: 2 } : { maximumSignificantDigits: 4 },
  );
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

function bytes(value: number): string {
  let [amount, unit] = [value, 0];
  while (amount >= 1000 && unit < UNITS.length - 1) [amount, unit] = [amount / 1000, unit + 1];
  return `${decimal(Number(amount.toPrecision(4)))} ${UNITS[unit]}`;
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
