/**
 * A fleet of up to a quarter of a million devices, of which most do nothing at any time. A device is touched when something
 * about it changes: a poll after the program admits it, the end of its install, an hour that it reports. What it is given and
 * what its reports mean is decided by the code that serves real devices ({@link assign}, {@link receive}); what the crowd leaves
 * out is the wire and the polls and reports that would say nothing new. virtual-device.ts is one device that leaves nothing out.
 *
 * Who reports hours. A device reports where it stands when that changes, always. Its hours, events and metrics it reports every
 * hour if it is in the sample: a random part of each arm, drawn before anything happens, the same for faulty and healthy
 * devices. Who is not in it reports neither hours nor events, so rates stay what they are; there is only less to see of them.
 */
import { assign } from '../core/assign/assign.ts';
import { receive } from '../core/assign/observe.ts';
import type { DeviceRecord, Report, ReportedAttempt, SignalValue } from '../core/model/device.ts';
import type { DeviceId, Revision, RolloutName } from '../core/model/ids.ts';
import type { Program, ProgramRevision, ProgramRollout } from '../core/model/program.ts';
import { type DurationMs, HOUR, type Instant, MINUTE, SECOND } from '../core/model/time.ts';
import { rampDone } from '../core/select/admission.ts';
import { compileCondition } from '../core/target/condition.ts';
import type { PublishedProgram, Store } from '../store/store.ts';
import type { Addition } from '../store/sums.ts';
import { type DeviceFault, type Fault, isOnDevices } from './fault.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SimulatedIdentity } from './virtual-device.ts';

export interface CrowdOptions {
  readonly store: Store;
  readonly fleet: readonly SimulatedIdentity[];
  readonly random: SeededRandom;
  readonly rollout: RolloutName;
  /** What the fault is in. */
  readonly candidate: Revision;
  readonly faults: readonly Fault[];
  /** What healthy devices report. */
  readonly signals: Readonly<Record<string, SignalValue>>;
  /** Metrics and their means: they vary from hour to hour. */
  readonly metrics: ReadonlyMap<string, number>;
  /** Events per device-hour. */
  readonly rates: ReadonlyMap<string, number>;
  /** Stages ask for device-hours, whatever gates do. */
  readonly needsHours: boolean;
  /** How long nothing may be heard of a device before a gate takes that for silence; absent: none asks. */
  readonly heartbeatMs?: DurationMs;
  /** Devices of an arm that report hours and events. */
  readonly sample: SampleSizes;
  /** Time goes on in steps of so much. */
  readonly stepMs: DurationMs;
}

export interface SampleSizes {
  /** Of those that run the candidate. */
  readonly treated: number;
  /** Of those that it has not reached. */
  readonly control: number;
}

/** How the fleet stands now. */
export interface CrowdCounts {
  /** Devices that run the candidate, by the stage that took them in. */
  readonly running: readonly number[];
  /** Devices that have ever begun with the candidate. */
  readonly reached: number;
  /** Of those, the ones that a fault has shown on: they run it with the fault, failed to install it, or fell silent. */
  readonly hit: number;
  /** The smallest share of an arm that reported hours, 0 to 1, and how many devices that were. */
  readonly sampled: { readonly treated: Sampled; readonly control: Sampled };
}

export interface Sampled {
  readonly share: number;
  readonly devices: number;
}

export interface Crowd {
  /** Everybody enrols and reports what the program gives them now: it has been there for long. */
  enrol(published: PublishedProgram, now: Instant): Promise<void>;
  /** The program is another one: who is given something else from now on polls within a poll interval. */
  follow(published: PublishedProgram, now: Instant): Promise<void>;
  /** Everything that devices do until `now`. */
  step(now: Instant): Promise<void>;
  counts(): CrowdCounts;
  /** Whether some device has something to do that does not come from another program. */
  isBusy(): boolean;
}

const INSTALL_MS = { least: 4 * MINUTE, most: 12 * MINUTE };
/** How far a metric varies around its mean, up and down. */
const METRIC_SPREAD = 0.1;
/** Changes in one commit of the store. */
const BATCH = 1000;
/** With a control arm below this share of the hours, a gate keeps the rate it had until then: the sample must not change that. */
const CONTROL_SHARE_MIN = 0.1;

const RESTS = 0;
const POLLS = 1;
const INSTALLS = 2;
/** Nothing is heard of it any more. */
const SILENT = 3;

const NO_STAGE = -1;

export function createCrowd(options: CrowdOptions): Crowd {
  const { store, fleet, random, candidate, signals, rates, metrics, stepMs, heartbeatMs, sample } = options;
  const size = fleet.length;
  const indexes = new Map(fleet.map(({ id }, index) => [id, index]));
  const faults = options.faults.filter(isOnDevices).map((fault) => drawn(fault, fleet, random));
  const season = options.faults.reduce(
    (all, fault) => (fault.kind === 'season' ? all * fault.times : all),
    1,
  );
  const sick = signalsOf(faults, signals);

  const doing = new Uint8Array(size);
  const stages = new Int16Array(size).fill(NO_STAGE);
  const boots = new Uint16Array(size).fill(1);
  const seqs = new Uint32Array(size);
  const reportedAt = new Float64Array(size);
  const isReached = new Uint8Array(size);
  const isHit = new Uint8Array(size);
  const runs: (Revision | undefined)[] = new Array(size).fill(undefined);
  const installing: (Revision | undefined)[] = new Array(size).fill(undefined);
  /** What was last tried to install: not again under the same attempt, however it ended. */
  const tried: (ProgramRevision | undefined)[] = new Array(size).fill(undefined);
  const attempts: (ReportedAttempt | undefined)[] = new Array(size).fill(undefined);

  /** Where in an interval the device polls and reports, and where in the order of those that report hours it is: 0 to 1. */
  const places = Float64Array.from(fleet, () => random.uniform());
  const lots = Float64Array.from(fleet, () => random.uniform());
  const beats = beatsOf(places, lots, Math.max(1, Math.round(HOUR / stepMs)));

  /** In which step the device is due, while it does something; who is called in another one has been called off. */
  const dueAt = new Float64Array(size);
  /** Who is due, by the number of the step. */
  const due = new Map<number, number[]>();
  const running: number[] = [];
  let reached = 0;
  let hit = 0;
  let treated = 0;
  let control = 0;
  const sampled = { treated: { share: 1, devices: 0 }, control: { share: 1, devices: 0 } };
  let shares = { treated: 0, control: 0 };
  let published: PublishedProgram | undefined;

  const stepOf = (at: Instant) => Math.ceil(at / stepMs);

  function wake(index: number, at: Instant, what: typeof POLLS | typeof INSTALLS): void {
    const step = stepOf(at);
    doing[index] = what;
    dueAt[index] = step;
    const list = due.get(step);
    if (list === undefined) due.set(step, [index]);
    else list.push(index);
  }

  /** Who has something to get from this program polls; who gets it by time alone is looked at again then. */
  function consider(program: Program, record: DeviceRecord, index: number, now: Instant): void {
    if (doing[index] === INSTALLS || doing[index] === SILENT) return;
    const given = assign(program, record, now);
    const pollMs = given.pollIntervalMs ?? program.pollIntervalMs;
    const later = pollMs * (places[index] ?? 0);
    if (given.kind === 'revision' && wants(index, given.revision)) {
      pollBy(index, now + Math.max(SECOND, later));
    } else if (given.until !== undefined && given.until > now) {
      pollBy(index, given.until + later);
    } else if (given.until !== undefined) {
      const at = reachedByRamp(program, record, { now, rollout: options.rollout, stepMs });
      if (at !== undefined) pollBy(index, at + later);
    }
  }

  /** It polls at `at`, unless it does so sooner: each time it looks at what the program of then gives it. */
  function pollBy(index: number, at: Instant): void {
    if (doing[index] !== POLLS || stepOf(at) < (dueAt[index] ?? 0)) wake(index, at, POLLS);
  }

  function wants(index: number, { revision, attempt }: ProgramRevision): boolean {
    const last = tried[index];
    return runs[index] !== revision && !(last?.revision === revision && last.attempt === attempt);
  }

  /** A poll: whatever the program gives the device now. True where there is news to report. */
  function poll(program: Program, record: DeviceRecord, index: number, now: Instant): boolean {
    doing[index] = RESTS;
    const given = assign(program, record, now);
    if (given.kind === 'nothing' || !wants(index, given.revision)) {
      consider(program, record, index, now);
      return false;
    }
    const { revision } = given.revision;
    tried[index] = given.revision;
    installing[index] = revision;
    attempts[index] = tries.installing(revision);
    if (revision === candidate) {
      stages[index] = given.placement.kind === 'candidate' ? given.placement.stage : NO_STAGE;
      if (isReached[index] === 0) {
        isReached[index] = 1;
        reached += 1;
      }
    }
    wake(index, now + INSTALL_MS.least + (INSTALL_MS.most - INSTALL_MS.least) * random.uniform(), INSTALLS);
    return true;
  }

  /** The install is through, or failed, or is no longer wanted. False where nothing is heard of that. */
  function finish(program: Program, record: DeviceRecord, index: number, now: Instant): boolean {
    const revision = installing[index];
    installing[index] = undefined;
    doing[index] = RESTS;
    if (revision === undefined) return false;
    const given = assign(program, record, now);
    if (given.kind === 'revision' && given.revision.revision === runs[index]) {
      // Told to keep what runs, or to go back to it.
      attempts[index] = undefined;
      tried[index] = undefined;
      return true;
    }
    const isCandidate = revision === candidate;
    if (isCandidate && has('install', index)) {
      strike(index);
      attempts[index] = tries.failed(revision);
      consider(program, record, index, now);
      return true;
    }
    boot(index, revision);
    attempts[index] = tries.succeeded(revision);
    if (isCandidate && faults.some(({ fault, isOn }) => fault.kind !== 'install' && isOn[index] === 1)) {
      strike(index);
    }
    if (isCandidate && has('silence', index)) {
      doing[index] = SILENT;
      return false;
    }
    return true;
  }

  function boot(index: number, revision: Revision): void {
    const stage = stages[index] ?? NO_STAGE;
    if (runs[index] === candidate && stage !== NO_STAGE) running[stage] = (running[stage] ?? 0) - 1;
    if (revision === candidate && stage !== NO_STAGE) {
      while (running.length <= stage) running.push(0);
      running[stage] = (running[stage] ?? 0) + 1;
    }
    if (revision === candidate) treated += 1;
    else if (runs[index] === candidate) treated -= 1;
    runs[index] = revision;
    tried[index] = undefined;
    boots[index] = (boots[index] ?? 0) + 1;
    seqs[index] = 0;
  }

  function has(kind: DeviceFault['kind'], index: number): boolean {
    return faults.some(({ fault, isOn }) => fault.kind === kind && isOn[index] === 1);
  }

  function strike(index: number): void {
    if (isHit[index] === 1) return;
    isHit[index] = 1;
    hit += 1;
  }

  function report(index: number, now: Instant, hours: number): Report {
    const seq = (seqs[index] ?? 0) + 1;
    seqs[index] = seq;
    reportedAt[index] = now;
    const revision = runs[index];
    const attempt = attempts[index];
    return {
      bootId: bootName(boots[index] ?? 1),
      seq,
      generation: published?.version ?? 0,
      ...(revision === undefined ? {} : { running: revision }),
      ...(attempt === undefined ? {} : { attempt }),
      signals: signalsNow(index),
      exposureHours: hours,
      events: hours === 0 ? NO_EVENTS : eventsIn(index, hours),
    };
  }

  function eventsIn(index: number, hours: number): Readonly<Record<string, number>> {
    let events: Record<string, number> | undefined;
    for (const [event, rate] of rates) {
      const happened = random.poisson(rate * hours * season * timesOf(event, index));
      if (happened === 0) continue;
      events ??= {};
      events[event] = happened;
    }
    return events ?? NO_EVENTS;
  }

  /** How many times as often, or as much, the faults of the device make it. */
  function timesOf(name: string, index: number): number {
    if (runs[index] !== candidate) return 1;
    let times = 1;
    for (const { fault, isOn } of faults) {
      if (fault.kind === 'rate' && fault.name === name && isOn[index] === 1) times *= fault.times;
    }
    return times;
  }

  function signalsNow(index: number): Readonly<Record<string, SignalValue>> {
    const own = runs[index] === candidate ? sick(index) : signals;
    if (metrics.size === 0) return own;
    const measured: Record<string, SignalValue> = { ...own };
    for (const [metric, mean] of metrics) {
      const spread = 1 + METRIC_SPREAD * (2 * random.uniform() - 1);
      measured[metric] = mean * spread * timesOf(metric, index);
    }
    return measured;
  }

  /** Reports of these devices, in the store as the intake would put them there. `say`: undefined where one says nothing. */
  async function submit(
    list: readonly number[],
    now: Instant,
    say: (record: DeviceRecord, index: number) => Report | undefined,
  ): Promise<void> {
    const program = published?.program;
    for (let from = 0; from < list.length; from += BATCH) {
      const batch = list.slice(from, from + BATCH);
      const additions: Addition[] = [];
      await store.updateDevices(
        batch.map((index) => fleet[index]?.id ?? ('' as DeviceId)),
        (before, at) => {
          const said = before === undefined ? undefined : say(before, batch[at] ?? 0);
          if (before === undefined || said === undefined) return before;
          const { record, amounts } = receive(program, before, said, now);
          additions.push(...amounts);
          return record;
        },
        () => additions,
      );
    }
  }

  /** The record of a device that has enrolled, and has said once what it runs. */
  function enrolled(
    program: Program,
    { id, tags }: SimulatedIdentity,
    index: number,
    now: Instant,
  ): DeviceRecord {
    const version = Math.floor(now / SECOND);
    const record: DeviceRecord = { id, tags, publicKey: '', serial: 1, enrolledAt: now, version };
    const given = assign(program, record, now);
    runs[index] = given.kind === 'revision' ? given.revision.revision : SOMETHING;
    return receive(program, record, report(index, now, 0), now).record;
  }

  /** What share of each arm reports hours from now on. */
  function drawSample(program: Program): void {
    const rollout = program.rollouts.find(({ name }) => name === options.rollout);
    if (rollout?.candidate === undefined || !(options.needsHours || isWatched(rollout))) {
      shares = { treated: 0, control: 0 };
      return;
    }
    control = size - reached;
    const ofTreated = Math.min(1, sample.treated / Math.max(1, treated));
    const isFrozen = control < CONTROL_SHARE_MIN * (control + treated);
    const ofControl = isFrozen ? ofTreated : Math.min(1, sample.control / Math.max(1, control));
    shares = { treated: ofTreated, control: ofControl };
    note('treated', ofTreated, treated);
    note('control', ofControl, control);
  }

  function note(arm: 'treated' | 'control', share: number, devices: number): void {
    if (devices > 0 && share < sampled[arm].share) {
      sampled[arm] = { share, devices: Math.round(share * devices) };
    }
  }

  function isSampled(index: number): boolean {
    return (lots[index] ?? 0) < (runs[index] === candidate ? shares.treated : shares.control);
  }

  /** Nothing has been heard of it for so long that a gate would soon take it for silent. */
  function isOverdue(index: number, now: Instant): boolean {
    return heartbeatMs !== undefined && now - (reportedAt[index] ?? now) >= heartbeatMs - HOUR;
  }

  return {
    async enrol(first, now) {
      published = first;
      for (let from = 0; from < size; from += BATCH) {
        const batch = fleet.slice(from, from + BATCH);
        await store.updateDevices(
          batch.map(({ id }) => id),
          (_before, at) => enrolled(first.program, batch[at] ?? NOBODY, from + at, now),
        );
      }
    },

    async follow(next, now) {
      published = next;
      const own = next.program.rollouts.find(({ name }) => name === options.rollout);
      // Pausing, superseding and opening more stages take nothing from who has it already.
      const keepsIt = own?.candidate?.revision === candidate || own?.knownGood?.revision === candidate;
      const reading = await store.read();
      for await (const page of reading.pages()) {
        for (const record of page) {
          const index = indexes.get(record.id);
          if (index === undefined || (keepsIt && runs[index] === candidate)) continue;
          consider(next.program, record, index, now);
        }
      }
      await reading.close();
    },

    async step(now) {
      if (published === undefined) return;
      const { program } = published;
      const awake: number[] = [];
      for (const [step, list] of due) {
        if (step > stepOf(now)) continue;
        due.delete(step);
        for (const index of list) if (doing[index] !== RESTS && dueAt[index] === step) awake.push(index);
      }
      // A device that acts reports no hours for it: it is on its way from one arm to the other.
      await submit(awake, now, (record, index) => {
        const hasNews =
          doing[index] === INSTALLS ? finish(program, record, index, now) : poll(program, record, index, now);
        return hasNews ? report(index, now, 0) : undefined;
      });

      drawSample(program);
      const most = heartbeatMs === undefined ? Math.max(shares.treated, shares.control) : 1;
      const tell: number[] = [];
      for (const index of beats[stepOf(now) % beats.length] ?? []) {
        // They are in the order of their lots: nobody further on is in the sample.
        if ((lots[index] ?? 0) >= most) break;
        if (doing[index] !== SILENT && (isSampled(index) || isOverdue(index, now))) tell.push(index);
      }
      await submit(tell, now, (_record, index) => {
        const hours = isSampled(index) ? Math.min(1, (now - (reportedAt[index] ?? now)) / HOUR) : 0;
        return report(index, now, hours);
      });
    },

    counts: () => ({ running: [...running], reached, hit, sampled }),

    isBusy: () => due.size > 0,
  };
}

const NO_EVENTS = {};

// What all devices say alike is one object: a quarter of a million copies would be most of the memory.

const bootName = once((boot: number) => `boot-${boot}`);

const tries = {
  installing: once((revision: Revision): ReportedAttempt => ({ revision, state: 'installing' })),
  succeeded: once((revision: Revision): ReportedAttempt => ({ revision, state: 'succeeded' })),
  failed: once(
    (revision: Revision): ReportedAttempt => ({ revision, state: 'failed', category: 'install.simulated' }),
  ),
};

/** The same value for the same key. */
function once<Key, Value>(make: (key: Key) => Value): (key: Key) => Value {
  const made = new Map<Key, Value>();
  return (key) => {
    const known = made.get(key);
    if (known !== undefined) return known;
    const value = make(key);
    made.set(key, value);
    return value;
  };
}

const NOBODY: SimulatedIdentity = { id: '' as DeviceId, tags: {} };
/** What a device runs to which nobody has given anything. */
const SOMETHING = `sha256:${'0'.repeat(64)}` as Revision;

/** Whether anything that gates judge by is in the hours of reports. */
function isWatched({ candidate }: ProgramRollout): boolean {
  const watches = candidate?.watches;
  return watches !== undefined && watches.events.length + watches.metrics.length > 0;
}

interface DrawnFault {
  readonly fault: DeviceFault;
  /** Per device, 1 where it will have it. */
  readonly isOn: Uint8Array;
}

function drawn(fault: DeviceFault, fleet: readonly SimulatedIdentity[], random: SeededRandom): DrawnFault {
  const { where, share } = fault;
  const matches = where === undefined ? () => true : compileCondition(where).matches;
  const isOn = Uint8Array.from(fleet, (device) => {
    // Drawn for everybody, so that one fault does not change whom another is on.
    const lot = random.uniform();
    return lot < share && matches(device) ? 1 : 0;
  });
  return { fault, isOn };
}

/** What a device on the candidate reports: one object for all that have the same faults. */
function signalsOf(
  faults: readonly DrawnFault[],
  healthy: Readonly<Record<string, SignalValue>>,
): (index: number) => Readonly<Record<string, SignalValue>> {
  const own = faults.filter(({ fault }) => fault.kind === 'signal');
  if (own.length === 0) return () => healthy;
  const known = new Map<string, Readonly<Record<string, SignalValue>>>();
  return (index) => {
    const key = own.map(({ isOn }) => isOn[index]).join('');
    const before = known.get(key);
    if (before !== undefined) return before;
    const signals: Record<string, SignalValue> = { ...healthy };
    for (const { fault, isOn } of own) {
      if (fault.kind === 'signal' && isOn[index] === 1) signals[fault.signal] = fault.value;
    }
    known.set(key, signals);
    return signals;
  };
}

/** Devices by the step of the hour in which they report, each list in the order of their lots. */
function beatsOf(places: Float64Array, lots: Float64Array, steps: number): readonly (readonly number[])[] {
  const beats: number[][] = Array.from({ length: steps }, () => []);
  for (const [index, place] of places.entries()) beats[Math.floor(place * steps)]?.push(index);
  for (const beat of beats) beat.sort((a, b) => (lots[a] ?? 0) - (lots[b] ?? 0));
  return beats;
}

/** When the ramp of an open stage takes the device in, to the step; undefined where none does, or it stands still. */
function reachedByRamp(
  program: Program,
  record: DeviceRecord,
  given: { readonly now: Instant; readonly rollout: RolloutName; readonly stepMs: DurationMs },
): Instant | undefined {
  const { now, stepMs } = given;
  const candidate = program.rollouts.find(({ name }) => name === given.rollout)?.candidate;
  const ends = (candidate?.stages ?? []).map((stage) =>
    stage.rampHeldAt !== undefined || rampDone(stage, now) === 1
      ? now
      : stage.rampStartedAt + (stage.admits.rampMs ?? 0),
  );
  const isIn = (at: Instant) => {
    const assigned = assign(program, record, at);
    return assigned.kind === 'revision' && assigned.revision.revision === candidate?.revision;
  };
  let [low, high] = [now, Math.max(now, ...ends)];
  if (high === now || !isIn(high)) return undefined;
  while (high - low > stepMs) {
    const middle = low + (high - low) / 2;
    if (isIn(middle)) high = middle;
    else low = middle;
  }
  return high;
}
