/**
 * Counts over a fleet: the sum of its devices' standings. Kept up to date by subtracting a device's old standing and
 * adding its new one, so a report costs the same in any fleet.
 */
import { hourOf } from '../gates/exposure.ts';
import type { RolloutName } from '../model/ids.ts';
import type { StageCounts } from '../model/outcome.ts';
import type { Instant } from '../model/time.ts';
import { windowKey, type ZonedWindow } from '../window/install-window.ts';
import { earlier } from './assign.ts';
import type { DeviceStatus, RolloutStanding, Standing } from './standing.ts';

export interface Tally {
  devices: number;
  status: Record<DeviceStatus, number>;
  /** Devices by what they run. */
  versions: Map<Standing['runs'], number>;
  rollouts: Map<RolloutName, RolloutTally>;
  /** From when on the opening or closing of a window may give some device another status; the device may be gone by then. */
  until?: Instant;
}

/** Azure IoT Edge's categories: target ⊇ actual = healthy + unhealthy + unknown. */
export interface RolloutTally {
  /** Devices that match the target condition. */
  target: number;
  /** Of those, the ones that no rollout of higher precedence took. */
  actual: number;
  healthy: number;
  unhealthy: number;
  unknown: number;
  /** Actual devices in no open stage. */
  scheduled: number;
  newcomers: number;
  /** Devices that still run or install the revision that was rolled back. */
  onWithdrawn: number;
  /** Devices that run something else and that no stage has reached. */
  control: number;
  /** Of those, by the hour in which each was last heard of, where a gate asks. */
  controlHeard: Map<Instant, number>;
  /** By index of the open stage that took the device in. */
  stages: StageTally[];
}

export interface StageTally {
  counts: { -readonly [State in keyof StageCounts]: number };
  exposureHours: number;
  gates: Map<string, { holds: number; fails: number; missing: number }>;
  /** Failed devices by category. */
  failures: Map<string, number>;
  /** Failed devices that took the revision back by themselves. */
  wentBack: number;
  /** Devices that it took in and that were excluded since. */
  excluded: number;
  /** Devices that began, by the hour in which each was last heard of, where a gate asks. */
  heard: Map<Instant, number>;
  /** Devices that have not succeeded, by the window in which they may begin: {@link windowKey} tells windows apart. */
  windows: Map<string, { readonly window: ZonedWindow; devices: number }>;
}

export function emptyTally(): Tally {
  return {
    devices: 0,
    status: { unknown: 0, registered: 0, pending: 0, inSync: 0, error: 0, drifted: 0 },
    versions: new Map(),
    rollouts: new Map(),
  };
}

export function emptyRolloutTally(): RolloutTally {
  return {
    target: 0,
    actual: 0,
    healthy: 0,
    unhealthy: 0,
    unknown: 0,
    scheduled: 0,
    newcomers: 0,
    onWithdrawn: 0,
    control: 0,
    controlHeard: new Map(),
    stages: [],
  };
}

export function emptyStageTally(): StageTally {
  return {
    counts: { pending: 0, installing: 0, verifying: 0, succeeded: 0, failed: 0 },
    exposureHours: 0,
    gates: new Map(),
    failures: new Map(),
    wentBack: 0,
    excluded: 0,
    heard: new Map(),
    windows: new Map(),
  };
}

/** Adds a device's standing to the tally (`sign` 1) or takes it away again (−1). */
export function count(tally: Tally, standing: Standing, sign: 1 | -1): void {
  tally.devices += sign;
  tally.status[standing.status] += sign;
  addTo(tally.versions, standing.runs, sign);
  keepEarlier(tally, standing.until);
  for (const each of standing.rollouts) {
    const rollout = entry(tally.rollouts, each.rollout, emptyRolloutTally);
    rollout.target += sign;
    if (each.newcomer) rollout.newcomers += sign;
    if (each.onWithdrawn) rollout.onWithdrawn += sign;
    if (each.shadowedBy !== undefined) continue;
    rollout.actual += sign;
    rollout[each.health] += sign;
    if (each.isControl === true) rollout.control += sign;
    if (each.stage === undefined) rollout.scheduled += sign;
    else countStage(rollout, each.stage, sign);
    if (each.excludedFrom !== undefined && each.excludedFrom >= 0)
      stageAt(rollout, each.excludedFrom).excluded += sign;
    if (each.heardAt === undefined) continue;
    const hour = hourOf(each.heardAt);
    if (each.stage !== undefined) addTo(stageAt(rollout, each.stage.index).heard, hour, sign);
    else addTo(rollout.controlHeard, hour, sign);
  }
}

/** Adds `more` to `sum`: what was counted apart, of devices that `sum` does not have. */
export function add(sum: Tally, more: Tally): void {
  sum.devices += more.devices;
  addEach(sum.status, more.status);
  for (const [runs, devices] of more.versions) addTo(sum.versions, runs, devices);
  keepEarlier(sum, more.until);
  for (const [name, rollout] of more.rollouts) {
    const into = entry(sum.rollouts, name, emptyRolloutTally);
    const { stages, controlHeard, ...counts } = rollout;
    addEach<keyof typeof counts>(into, counts);
    for (const [hour, devices] of controlHeard) addTo(into.controlHeard, hour, devices);
    for (const [index, stage] of stages.entries()) addStage(stageAt(into, index), stage);
  }
}

function addStage(sum: StageTally, more: StageTally): void {
  addEach(sum.counts, more.counts);
  sum.exposureHours += more.exposureHours;
  for (const [name, gate] of more.gates) addEach(entry(sum.gates, name, emptyGateTally), gate);
  for (const [category, devices] of more.failures) {
    sum.failures.set(category, (sum.failures.get(category) ?? 0) + devices);
  }
  sum.wentBack += more.wentBack;
  sum.excluded += more.excluded;
  for (const [hour, devices] of more.heard) addTo(sum.heard, hour, devices);
  for (const { window, devices } of more.windows.values()) addWindow(sum, window, devices);
}

/** Adds every figure of `more` to the one of the same name. */
function addEach<Key extends string>(
  sum: { [Name in Key]: number },
  more: { readonly [Name in Key]: number },
): void {
  for (const key of Object.keys(more) as Key[]) sum[key] += more[key];
}

function countStage(rollout: RolloutTally, at: NonNullable<RolloutStanding['stage']>, sign: 1 | -1): void {
  const stage = stageAt(rollout, at.index);
  const { progress } = at;
  stage.counts[progress.state] += sign;
  stage.exposureHours += sign * progress.exposureHours;
  if (progress.wentBack === true) stage.wentBack += sign;
  if (progress.category !== undefined) {
    stage.failures.set(progress.category, (stage.failures.get(progress.category) ?? 0) + sign);
  }
  if (at.window !== undefined) addWindow(stage, at.window, sign);
  for (const { name, result } of progress.gates) {
    const gate = entry(stage.gates, name, emptyGateTally);
    // A gate that cannot be evaluated has not been heard: it neither passes nor fails.
    if (result.kind === 'holds') gate.holds += sign;
    else if (result.kind === 'fails') gate.fails += sign;
    else gate.missing += sign;
  }
}

function stageAt(rollout: RolloutTally, index: number): StageTally {
  while (rollout.stages.length <= index) rollout.stages.push(emptyStageTally());
  return rollout.stages[index] ?? emptyStageTally();
}

/** What counts nobody any more is forgotten. */
function addTo<Key>(counts: Map<Key, number>, key: Key, devices: number): void {
  const sum = (counts.get(key) ?? 0) + devices;
  if (sum === 0) counts.delete(key);
  else counts.set(key, sum);
}

/** What nobody waits for any more is forgotten: tags and sites come and go. */
function addWindow({ windows }: StageTally, window: ZonedWindow, devices: number): void {
  const key = windowKey(window);
  const at = entry(windows, key, () => ({ window, devices: 0 }));
  at.devices += devices;
  if (at.devices === 0) windows.delete(key);
}

function keepEarlier(tally: Tally, until: Instant | undefined): void {
  const earliest = earlier(tally.until, until);
  if (earliest !== undefined) tally.until = earliest;
}

const emptyGateTally = () => ({ holds: 0, fails: 0, missing: 0 });

function entry<Key, Value>(map: Map<Key, Value>, key: Key, create: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) {
    value = create();
    map.set(key, value);
  }
  return value;
}
