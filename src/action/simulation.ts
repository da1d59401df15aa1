/**
 * What a pull request would start, played before it is merged: each rollout once with nothing wrong, and some times with a fault
 * that every gate over events should find. Small, and bounded in time: somebody waits for the check.
 */

import type { Rollout } from '../core/model/desired.ts';
import { formatDuration, HOUR } from '../core/model/time.ts';
import { formatCount, formatPercent } from '../core/words.ts';
import type { SourceFile } from '../documents/load.ts';
import type { PlanReport } from '../proposal/examination.ts';
import type { Surroundings } from '../proposal/surroundings.ts';
import { byWords, runChart } from '../simulate/chart.ts';
import { type Experiment, playExperiment, prepareExperiment } from '../simulate/experiment.ts';
import { type Fault, faultText } from '../simulate/fault.ts';
import type { Run } from '../simulate/run.ts';
import { type Summary, summarise } from '../simulate/summary.ts';

export interface SimulationInput {
  /** The documents of the pull request. */
  readonly files: readonly SourceFile[];
  readonly plan: PlanReport;
  readonly around: Surroundings;
  /** Ends it, with what has been played until then. */
  readonly signal: AbortSignal;
}

export interface Simulated {
  readonly rollouts: readonly SimulatedRollout[];
  /** In sentences: what was not played, and why. */
  readonly notes: readonly string[];
}

export interface SimulatedRollout {
  readonly name: string;
  readonly title: string;
  /** A row for each way it was played, under {@link HEAD}. */
  readonly rows: readonly (readonly string[])[];
  /** What was assumed. */
  readonly notes: readonly string[];
  /** Of which a picture is worth it: the healthy run, and the first with the fault. */
  readonly runs: readonly { readonly what: string; readonly run: Run }[];
  /** The run with the fault, as SVG. */
  readonly chart: string | undefined;
}

export const HEAD = ['played', 'runs', 'found', 'after', 'by', 'devices reached by then', 'in the end'];
export const ROLLOUTS_MAX = 3;
const DEVICES_MAX = 2_000;
/** Runs with the fault: when it is found is a matter of chance. */
const SEEDS = ['tidegate-1', 'tidegate-2', 'tidegate-3'] as const;
const EVENT_TIMES = 4;
const INSTALL_SHARE = 0.2;

export async function simulateStarts(input: SimulationInput): Promise<Simulated> {
  const starting = (input.plan.proposal?.rollouts ?? [])
    .filter(({ effect }) => effect.kind === 'starts')
    .sort((a, b) => (b.matching ?? 0) - (a.matching ?? 0));
  if (starting.length === 0)
    return { rollouts: [], notes: ['Merging starts no rollout, so there is nothing to play.'] };
  const rollouts: SimulatedRollout[] = [];
  const notes: string[] = [];
  for (const { rollout, matching } of starting.slice(0, ROLLOUTS_MAX)) {
    const played = input.signal.aborted
      ? 'there was no time left'
      : await playRollout({ name: rollout, matching }, input);
    if (typeof played === 'string') notes.push(`${rollout} was not played: ${played}.`);
    else rollouts.push(played);
  }
  const more = starting.slice(ROLLOUTS_MAX).map(({ rollout }) => rollout);
  if (more.length > 0) notes.push(`Not played, as they are smaller: ${more.join(', ')}.`);
  return { rollouts, notes };
}

interface Asked {
  readonly name: string;
  /** Devices that it is for, where that is known. */
  readonly matching: number | undefined;
}

/** Or why it was not, as part of a sentence. */
async function playRollout(asked: Asked, input: SimulationInput): Promise<SimulatedRollout | string> {
  const healthy = prepare(asked, [], input);
  if (typeof healthy === 'string') return healthy;
  const fault = faultFor(healthy.rollout);
  const faulty = prepare(asked, [fault], input);
  if (typeof faulty === 'string') return faulty;

  const { signal } = input;
  const well = await playExperiment(healthy, { seed: SEEDS[0], until: 'end', signal });
  const ill: Run[] = [];
  for (const [index, seed] of SEEDS.entries()) {
    if (signal.aborted) break;
    const run = await playExperiment(faulty, { seed, until: index === 0 ? 'end' : 'found', signal });
    if (!run.isInterrupted) ill.push(run);
  }
  if (well.isInterrupted) return 'it takes longer than a check may; play it with tidegate simulate';
  const { rollout, input: played } = healthy;
  const [shown] = ill;
  return {
    name: asked.name,
    title: `${asked.name}: ${rollout.manifest.distributionSet} on ${formatCount(played.devices)} virtual devices`,
    rows: [
      rowOf('with nothing wrong', summarise([well]), played.devices),
      ...(ill.length === 0 ? [] : [rowOf(`with ${faultText(fault)}`, summarise(ill), played.devices)]),
    ],
    notes: [
      ...faulty.notes,
      ...(ill.length < SEEDS.length ? ['the time for it was up before all was played'] : []),
    ],
    runs: [
      { what: 'with nothing wrong', run: well },
      ...(shown === undefined ? [] : [{ what: `with ${faultText(fault)}`, run: shown }]),
    ],
    chart: shown && runChart(faulty, shown),
  };
}

function prepare(
  { name, matching }: Asked,
  faults: readonly Fault[],
  { files, around }: SimulationInput,
): Experiment | string {
  const { census } = around.record;
  const rates = Object.entries(census?.rates ?? {}).flatMap(
    ([event, { incidents, deviceHours }]): [string, number][] =>
      deviceHours > 0 ? [[event, incidents / deviceHours]] : [],
  );
  const given = {
    files,
    rollout: name,
    devices: Math.min(DEVICES_MAX, (census && matching) || DEVICES_MAX),
    ...(census === undefined ? {} : { cells: census.cells, rates: new Map(rates) }),
    faults,
  };
  // What ran before is made up where the base wants the same already, or cannot be read.
  const [withBase, without] = [
    around.base && prepareExperiment({ ...given, base: around.base.files }),
    () => prepareExperiment(given),
  ];
  const prepared = withBase?.kind === 'ready' ? withBase : without();
  switch (prepared.kind) {
    case 'ready':
      return prepared.experiment;
    case 'refused':
      return prepared.message;
    case 'invalid':
      return 'its documents have errors';
  }
}

/** What a release does wrong most often and a gate can see: something that gates count happens more often, or it does not install. */
function faultFor({ gates }: Rollout): Fault {
  const [event] = gates.flatMap((gate) => (gate.kind === 'events' ? [gate.event] : []));
  return event === undefined
    ? { kind: 'install', share: INSTALL_SHARE }
    : { kind: 'rate', name: event, times: EVENT_TIMES, share: 1 };
}

function rowOf(
  what: string,
  { runs, found, afterMs, reached, where, ends }: Summary,
  devices: number,
): readonly string[] {
  const [first] = where;
  return [
    what,
    String(runs),
    found === 0 ? 'no' : found === runs ? 'yes' : `in ${found} of ${runs}`,
    afterMs === undefined ? '–' : hours(afterMs.median),
    first === undefined ? '–' : `${byWords(first.by)}, in stage ${first.stage}`,
    reached === undefined
      ? '–'
      : `${formatCount(reached.median)} (${formatPercent(reached.median / devices)})`,
    ends.map(({ state }) => STATES[state] ?? state).join(', '),
  ];
}

const STATES: Readonly<Partial<Record<Run['state'], string>>> = {
  waitingForApproval: 'waiting for approval',
  rolledBack: 'rolled back',
  monitoring: 'held and watched',
  notStarted: 'not begun',
};

function hours(duration: number): string {
  return formatDuration(duration < HOUR ? duration : Math.round(duration / (HOUR / 60)) * (HOUR / 60));
}
