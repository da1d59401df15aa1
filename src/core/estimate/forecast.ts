/**
 * What a rollout would do, stage by stage, if it began now: whom it reaches and when, what its gates would see, and what it would cost to
 * take it back. Everything here is worked out from documents and counts; what happens is for the gates to see.
 */
import { describeGate } from '../gates/describe.ts';
import type { BaselineRate } from '../model/census.ts';
import type { Fleet, Rollout, Stage } from '../model/desired.ts';
import { type EventGate, isExpression, isSequential, type StageGate } from '../model/gate.ts';
import type { Manifest } from '../model/manifest.ts';
import { PLANNING_DEFAULTS, type Planning } from '../model/planning.ts';
import { DAY, type DurationMs, HOUR, type Instant } from '../model/time.ts';
import { failuresThatHalt, formatSize } from '../select/size.ts';
import {
  type EventSight,
  growthToFind,
  type SeenHours,
  type ShareSight,
  sightOfCount,
  sightOfEvents,
  sightOfShares,
} from './detection.ts';
import { expectedIncidents } from './incidents.ts';
import type { Population, PopulationCell } from './population.ts';
import { devicesIn } from './population.ts';
import { reachOf, type StageReach } from './reach.ts';
import { type SupportLoad, supportLoad } from './support.ts';
import { type Timelines, timelinesOf } from './timeline.ts';
import { type Transfer, trafficOf, transferOf } from './transfer.ts';

export interface Forecast {
  /** Devices that the rollout gets. */
  readonly devices: number;
  readonly timelines: Timelines;
  readonly stages: readonly StageForecast[];
  /** What one device downloads: the artifacts that it does not have. */
  readonly download: Download;
}

export interface Download {
  readonly sizeBytes: number;
  /** Where the fleet's planning says what deltas have of a full image. */
  readonly deltaBytes?: number;
  readonly transfer?: Transfer;
}

export interface StageForecast {
  readonly name: string;
  /** As declared. */
  readonly size: string;
  readonly unit: string;
  readonly approvals: number;
  readonly reach: StageReach;
  /** What its own devices run in it: devices × (ramp up to success + soak). */
  readonly deviceHours: number;
  readonly gates: readonly GateForecast[];
  /** How many of its devices may fail. */
  readonly failures: ShareSight;
  /** Should all devices that are in by then have to go back. */
  readonly support: SupportLoad;
  /** The same of its own devices alone. */
  readonly ownSupport: SupportLoad;
  /** Bytes that its own devices download in all, with what is begun again. */
  readonly traffic: { readonly fullBytes: number; readonly deltaBytes?: number };
}

export interface GateForecast {
  readonly name: string;
  /** What it looks at, in words. */
  readonly what: string;
  readonly kind: 'expression' | StageGate['kind'];
  readonly events?: EventForecast;
  readonly shares?: ShareSight;
  /** Why nothing can be said beforehand of what it sees. */
  readonly unknown?: string;
}

export interface EventForecast extends EventSight {
  readonly ratePerHour: number;
  readonly rateFrom: RateSource;
  /** Of the stage's own devices, in the stage's own time: what a rule of thumb looks at. */
  readonly own: Expectation;
  /** Of the stage's own devices in a whole day, however long the stage is: rates are mostly written so. */
  readonly ownPerDay: Expectation;
  /** How many times as many device-hours it takes to find {@link WORTH_FINDING} times the rate; undefined where none are enough. */
  readonly growthToFind?: number;
}

export interface Expectation {
  readonly incidents: number;
  /** Of gates with a threshold: more than so many halt. */
  readonly limit?: number;
  /** P(more than the limit) if nothing is wrong. */
  readonly falseHaltChance?: number;
}

export type RateSource = 'gate' | 'planning' | 'census';

/** A release with four times the incidents is one that nobody would have wanted to ship. */
export const WORTH_FINDING = 4;
/** Incidents of a device that count in a stage. */
const INCIDENTS_PER_DEVICE = 2;

export interface ForecastInput {
  readonly rollout: Rollout;
  /** The devices that it gets, or those of them that are new to it. */
  readonly cells: readonly PopulationCell[];
  readonly population: Pick<Population, 'omitted' | 'hasIds'>;
  readonly fleet: Fleet;
  /** What these devices have until then; undefined: nothing of ours. */
  readonly before: Manifest | undefined;
  /** What a census has counted. */
  readonly rates: Readonly<Record<string, BaselineRate>>;
  readonly now: Instant;
}

export function forecast(input: ForecastInput): Forecast {
  const { rollout, cells, population, fleet, now } = input;
  const planning = fleet.planning ?? PLANNING_DEFAULTS;
  const pace = { reachMs: fleet.pollIntervalMs + planning.installMs, analysisMs: planning.analysisMs };
  const timelines = timelinesOf(rollout, { fleet, pace, now });
  const reaches = reachOf(rollout.stages, cells, population);
  const download = downloadOf(rollout.manifest, input.before, planning);
  const devices = devicesIn(cells);
  const stages = rollout.stages.map((stage, index): StageForecast => {
    const reach = reaches[index];
    const times = timelines.least.stages[index];
    if (reach === undefined || times === undefined) throw new Error(`stage ${stage.name} has no reach`);
    const ownMs = times.rampMs + times.soakMs;
    const support = (count: number) =>
      supportLoad({
        devices: count,
        rollbackFailureRatio: planning.rollbackFailureRatio,
        ...(planning.ticketsPerDay === undefined ? {} : { ticketsPerDay: planning.ticketsPerDay }),
      });
    const traffic = (sizeBytes: number) =>
      trafficOf({ devices: reach.devices, sizeBytes, retryRatio: planning.retryRatio });
    return {
      name: stage.name,
      size: formatSize(stage.size),
      unit: stage.unit,
      approvals: stage.approvals,
      reach,
      deviceHours: (reach.devices * ownMs) / HOUR,
      gates: gatesOf(stage, {
        input,
        planning,
        reach,
        ownMs,
        hours: hoursUntil(index, { timelines, reaches, devices }),
      }),
      failures: sightOfCount(failuresThatHalt(stage.errorThreshold, reach.devices), reach.devices),
      support: support(reach.reached),
      ownSupport: support(reach.devices),
      traffic: {
        fullBytes: traffic(download.sizeBytes),
        ...(download.deltaBytes === undefined ? {} : { deltaBytes: traffic(download.deltaBytes) }),
      },
    };
  });
  return { devices, timelines, stages, download };
}

/** Device-hours of both arms from the beginning until the stage passes. */
function hoursUntil(
  index: number,
  given: { readonly timelines: Timelines; readonly reaches: readonly StageReach[]; readonly devices: number },
): Pick<SeenHours, 'treatedHours' | 'controlHours'> {
  const { timelines, reaches, devices } = given;
  const times = timelines.least.stages.slice(0, index + 1);
  let [treatedMs, controlMs] = [0, 0];
  for (const [at, { rampMs, soakMs }] of times.entries()) {
    const { reached = 0 } = reaches[at] ?? {};
    treatedMs += reached * (rampMs + soakMs);
    controlMs += (devices - reached) * (rampMs + soakMs);
  }
  return { treatedHours: treatedMs / HOUR, controlHours: controlMs / HOUR };
}

interface OfStage {
  readonly input: ForecastInput;
  readonly planning: Planning;
  readonly reach: StageReach;
  /** How long the stage's own devices run the revision in it. */
  readonly ownMs: DurationMs;
  readonly hours: Pick<SeenHours, 'treatedHours' | 'controlHours'>;
}

function gatesOf(stage: Stage, of: OfStage): readonly GateForecast[] {
  const { gates, alpha } = of.input.rollout;
  const judging = gates.filter(({ name }) => stage.gates.includes(name));
  const bets = judging.filter(isSequential).length;
  const own = alpha / Math.max(1, bets);
  return judging.map((gate): GateForecast => {
    const common = { name: gate.name, what: describeGate(gate), kind: gate.kind };
    if (isExpression(gate)) return common;
    switch (gate.kind) {
      case 'events': {
        const events = eventsOf(gate, of, own);
        return 'unknown' in events ? { ...common, ...events } : { ...common, events };
      }
      case 'share': {
        const shares = sightOfShares(gate, of.reach.devices, own);
        const unknown = 'it compares with untouched devices, and what those do nobody knows beforehand';
        return shares === undefined ? { ...common, unknown } : { ...common, shares };
      }
      case 'metric':
        return {
          ...common,
          unknown: `how much ${gate.signal} differs between devices is not known beforehand`,
        };
      case 'approval':
        return { ...common, unknown: 'people decide' };
      default:
        return { ...common, unknown: 'what others will answer is not known beforehand' };
    }
  });
}

function eventsOf(
  gate: EventGate,
  { input, planning, reach, ownMs, hours }: OfStage,
  alpha: number,
): EventForecast | { readonly unknown: string } {
  if (reach.devices === 0) return { unknown: 'the stage takes in no device' };
  if (gate.against.kind === 'control' && input.before === undefined) {
    return {
      unknown:
        'nobody runs anything else of Tidegate’s yet, so there is nothing to compare with; give the gate a rate',
    };
  }
  const rate = rateOf(gate, input, planning);
  if (rate === undefined) {
    return {
      unknown: `how often ${gate.event} happens anyway is not known; say it in the Fleet document under spec.planning.rates.${gate.event}`,
    };
  }
  const { ratePerHour, rateFrom } = rate;
  const incidentsMax = INCIDENTS_PER_DEVICE * reach.reached;
  const seen = { ...hours, ratePerHour, incidentsMax };
  const sight = sightOfEvents(gate, seen, alpha);
  const growth = growthToFind(gate, seen, { ratio: WORTH_FINDING, alpha });
  const expectation = (durationMs: DurationMs): Expectation => {
    const incidents = expectedIncidents({
      devices: reach.devices,
      ratePerDeviceHour: ratePerHour,
      durationMs,
    });
    if (gate.method.kind !== 'threshold') return { incidents };
    const { falseHaltChance } = sightOfEvents(
      gate,
      { treatedHours: (reach.devices * durationMs) / HOUR, controlHours: 0, ratePerHour, incidentsMax },
      alpha,
    );
    return { incidents, limit: incidents * gate.method.haltRatio, falseHaltChance };
  };
  return {
    ...sight,
    ratePerHour,
    rateFrom,
    own: expectation(ownMs),
    ownPerDay: expectation(DAY),
    ...(growth === undefined ? {} : { growthToFind: growth }),
  };
}

function rateOf(
  { against, event }: EventGate,
  { rates }: ForecastInput,
  planning: Planning,
): { readonly ratePerHour: number; readonly rateFrom: RateSource } | undefined {
  if (against.kind === 'known') return { ratePerHour: against.value, rateFrom: 'gate' };
  const said = Object.hasOwn(planning.rates, event) ? planning.rates[event] : undefined;
  if (said !== undefined) return { ratePerHour: said, rateFrom: 'planning' };
  const counted = Object.hasOwn(rates, event) ? rates[event] : undefined;
  if (counted === undefined || counted.deviceHours <= 0) return undefined;
  // One more than was counted: of a fleet in which nothing has happened yet a rate of zero would promise too much.
  return { ratePerHour: (counted.incidents + 1) / counted.deviceHours, rateFrom: 'census' };
}

function downloadOf(manifest: Manifest, before: Manifest | undefined, planning: Planning): Download {
  const artifacts = ({ modules }: Manifest) => modules.flatMap((module) => module.artifacts ?? []);
  const known = new Set((before === undefined ? [] : artifacts(before)).map(({ sha256 }) => sha256));
  const fresh = new Map(
    artifacts(manifest)
      .filter(({ sha256 }) => !known.has(sha256))
      .map(({ sha256, sizeBytes }) => [sha256, sizeBytes]),
  );
  const sizeBytes = [...fresh.values()].reduce((sum, size) => sum + size, 0);
  const { delta, bitsPerSecond, transferOverhead: overhead } = planning;
  return {
    sizeBytes,
    ...(delta === undefined || before === undefined
      ? {}
      : { deltaBytes: Math.ceil(sizeBytes * delta.changedRatio * (1 + delta.overheadRatio)) }),
    ...(bitsPerSecond === undefined ? {} : { transfer: transferOf({ sizeBytes, bitsPerSecond, overhead }) }),
  };
}
