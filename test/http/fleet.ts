/**
 * A small fleet for the tests of the HTTP server: the real planner, observer and memory store behind a
 * {@link ReconcilerState}, without a repository. Commits take effect as soon as they are decided.
 */
import type { Hono } from 'hono';
import { assign } from '../../src/core/assign/assign.ts';
import { emptyTally } from '../../src/core/assign/tally.ts';
import type { DesiredState, DeviceOverride, Rollout, Stage } from '../../src/core/model/desired.ts';
import { applyReport, type DeviceRecord, type Report } from '../../src/core/model/device.ts';
import type { CommitId, DeviceId, RolloutName, SnapshotId } from '../../src/core/model/ids.ts';
import { type Manifest, revisionOf } from '../../src/core/model/manifest.ts';
import { type DurationMs, HOUR, type Instant, MINUTE, SECOND } from '../../src/core/model/time.ts';
import { type Answer, applyDecisions, type Decision, wantKey } from '../../src/core/plan/contract.ts';
import { plan } from '../../src/core/plan/plan.ts';
import { buildProgram } from '../../src/core/plan/program.ts';
import { deviceApi } from '../../src/http/device-api.ts';
import { createObserver } from '../../src/reconcile/observer.ts';
import type { ReconcilerState } from '../../src/reconcile/reconciler.ts';
import { createIntake } from '../../src/store/intake.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { generateKeys } from '../../src/trust/keys.ts';

export const START: Instant = Date.UTC(2026, 10, 21, 8);

export function oid(digit: string): string {
  return digit.repeat(40);
}

export function manifestOf(version: string): Manifest {
  const module = {
    name: 'app',
    version,
    type: 'docker',
    status: 'running',
    restartPolicy: 'always',
  } as const;
  return {
    distributionSet: `thermostat@${version}`,
    product: 'thermostat',
    version,
    modules: [module],
    routes: { upstream: 'FROM /messages/* INTO $upstream' },
  };
}

export function stageOf(name: string, size: Stage['size'], over: Partial<Stage> = {}): Stage {
  return {
    name,
    size,
    unit: 'device',
    mode: size.kind === 'count' ? 'incremental' : 'cumulative',
    soakMs: HOUR,
    successThreshold: { kind: 'share', share: { numerator: 9, denominator: 10 } },
    errorThreshold: { kind: 'count', count: 2 },
    minExposureHours: 0,
    approvals: 0,
    stuckAfterMs: 72 * HOUR,
    stratifyBy: [],
    gates: ['health'],
    rampMs: 0,
    holdback: { numerator: 0, denominator: 1 },
    ...over,
  };
}

export function rolloutOf(name: string, over: Partial<Rollout> & { version?: string } = {}): Rollout {
  const { version = '2.6.0', ...rest } = over;
  const manifest = manifestOf(version);
  return {
    name: name as RolloutName,
    labels: {},
    owner: 'hvac-oncall',
    manifest,
    revision: revisionOf(manifest),
    condition: "tags.product = 'thermostat'",
    priority: 10,
    start: { kind: 'onMerge' },
    suspend: false,
    gates: [{ name: 'health', kind: 'expression', expression: 'runtime_healthy' }],
    stages: [stageOf('canary', { kind: 'count', count: 2 }), stageOf('fleet', { kind: 'all' })],
    onFailure: 'rollback',
    alpha: 0.05,
    evidence: {},
    seed: `seed of ${name}`,
    ...rest,
  };
}

export type Fleet = ReturnType<typeof createFleet>;

export function createFleet() {
  const store = createMemoryStore({ epoch: 'epoch-1' });
  const intake = createIntake(store);
  const observer = createObserver(store);
  let now = START;
  let soaks: ReadonlyMap<string, Instant> = new Map();
  let state: ReconcilerState = {
    wanted: undefined,
    outcomes: new Map(),
    tip: undefined,
    published: undefined,
    report: [],
    gates: new Map(),
    tally: emptyTally(),
  };

  async function round(desired: DesiredState): Promise<readonly Decision[]> {
    const tally = await observer.tallyUnder(buildProgram(desired, state.outcomes), now);
    const answers = new Map<string, Answer>();
    const observed = {
      epoch: await store.epoch(),
      tally,
      soaks,
      answers,
      restorations: new Map(),
      randomHex: 'ab'.repeat(16),
    };
    const operations = { entries: [], learnings: new Map<string, string>() };
    let made = plan({ desired, outcomes: state.outcomes, operations, observed, now });
    for (let turn = 0; made.wants.length > 0 && turn < 4; turn++) {
      const program = buildProgram(desired, state.outcomes);
      for (const want of made.wants) answers.set(wantKey(want), await observer.answer(want, program, now));
      made = plan({ desired, outcomes: state.outcomes, operations, observed, now });
    }
    soaks = made.soaks;
    const outcomes = applyDecisions(state.outcomes, made.decisions);
    const program = buildProgram(desired, outcomes);
    const version = Math.max((state.published?.version ?? 0) + 1, Math.floor(now / SECOND));
    const after = await observer.tallyUnder(program, now);
    state = {
      ...state,
      outcomes,
      published: { version, flagsVersion: 0, program },
      report: made.report,
      tally: after,
      passedAt: now,
    };
    return made.decisions;
  }

  return {
    store,
    intake,
    clock: { now: () => now, sleep: async () => {} },
    select: observer.select,
    state: () => state,
    set(change: Partial<ReconcilerState>): void {
      state = { ...state, ...change };
    },
    advance(duration: DurationMs): void {
      now += duration;
    },

    /** What main wants from here on; each commit has a digit for a name. */
    commit(
      digit: string,
      rollouts: readonly Rollout[],
      overrides: Readonly<Record<string, DeviceOverride>> = {},
    ): void {
      const desired: DesiredState = {
        snapshot: oid(digit) as SnapshotId,
        commit: oid(digit) as CommitId,
        fleet: { name: 'hvac', pollIntervalMs: MINUTE, timezone: 'UTC', require: [] },
        rollouts: new Map(rollouts.map((rollout) => [rollout.name, rollout])),
        distributionSets: new Map(),
        devices: new Map(Object.entries(overrides) as [DeviceId, DeviceOverride][]),
        flags: new Map(),
        sites: new Map(),
      };
      const operations = { entries: [], learnings: new Map<string, string>() };
      state = {
        ...state,
        tip: oid('f'),
        wanted: { desired, operations, head: desired.commit, problems: [] },
      };
    },

    /** Passes until nothing is left to decide. */
    async settle(): Promise<readonly Decision[]> {
      const desired = state.wanted?.desired;
      if (desired === undefined) throw new Error('commit something first');
      const decided: Decision[] = [];
      for (let rounds = 0; rounds < 20; rounds++) {
        const decisions = await round(desired);
        if (decisions.length === 0) return decided;
        decided.push(...decisions);
      }
      throw new Error('the plan does not come to rest');
    },

    async enrol(
      id: string,
      tags: Readonly<Record<string, string>> = { product: 'thermostat' },
    ): Promise<void> {
      const record: DeviceRecord = {
        id: id as DeviceId,
        tags,
        publicKey: `key-of-${id}`,
        serial: 1,
        enrolledAt: now,
        version: Math.floor(now / SECOND),
      };
      await intake.submit(record.id, () => ({ after: record, result: undefined }));
    },

    async report(id: string, said: Partial<Report>): Promise<void> {
      await intake.submit(id as DeviceId, (before) => {
        if (before === undefined) throw new Error(`enrol ${id} first`);
        const seq = (before.report?.boots[0]?.seq ?? 0) + 1;
        const rest = { generation: 1, signals: {}, exposureHours: 0, events: {} };
        const { record } = applyReport(before, { bootId: 'boot-1', seq, ...rest, ...said }, now);
        return { after: record, result: undefined };
      });
    },
  };
}

export const keys = await generateKeys();

/** The devices' side over the same store, assigning as a poll does. */
export function deviceApiOf(fleet: Fleet): Hono {
  const { store, intake, clock, state } = fleet;
  return deviceApi({
    fleet: () => ({ name: 'hvac', pollIntervalMs: MINUTE, timezone: 'UTC', require: [] }),
    store,
    intake,
    keys,
    clock,
    program: () => state().published,
    assign,
  });
}
