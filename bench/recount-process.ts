/** What bench/recount.ts measures, as a child process: `DEVICES`. */

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { subjectOf } from '../src/core/assign/subject.ts';
import { emptyTally } from '../src/core/assign/tally.ts';
import type { DeviceRecord } from '../src/core/model/device.ts';
import type { ExpressionGate } from '../src/core/model/gate.ts';
import type { CommitId, DeviceId, Revision, RolloutName, SnapshotId } from '../src/core/model/ids.ts';
import type { Program, ProgramRevision, ProgramRollout } from '../src/core/model/program.ts';
import { HOUR } from '../src/core/model/time.ts';
import { HIGHEST_SCORE, scoreBetween, scoreOf } from '../src/core/select/score.ts';
import { compileCondition } from '../src/core/target/condition.ts';
import { countFleet } from '../src/reconcile/count.ts';
import { createObserver } from '../src/reconcile/observer.ts';
import { openReading } from '../src/store/open.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import type { Store } from '../src/store/store.ts';
import { deviceId } from './fleet.ts';
import type { RecountFigures } from './recount.ts';

const ROUNDS = 3;
const NOW = Date.UTC(2026, 0, 1);
/** Devices in one commit. */
const BATCH = 10_000;
const LOWEST = '0'.repeat(16) as typeof HIGHEST_SCORE;

const CONDITION = "tags.product = 'app' AND tags.environment = 'prod'";
const GATES: readonly ExpressionGate[] = [
  { name: 'health', kind: 'expression', expression: 'runtime_healthy && adapter_connected' },
  { name: 'telemetry', kind: 'expression', expression: 'gap < 10s && drops == 0' },
];

const devices = Number(process.argv[2]);
const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
const store = await openSqliteStore(join(folder, 'tidegate.db'), { epoch: randomUUID });
try {
  await enrol(store, devices);
  process.send?.(await measure(store));
} finally {
  await store.close();
  await rm(folder, { recursive: true });
}
process.disconnect();

async function measure(of: Store): Promise<RecountFigures> {
  const program = programOf();
  const conditionsMs: number[] = [];
  const recountMs: number[] = [];
  // Before anything else runs here, so that the delay is the observer's alone.
  const observer = createObserver(of);
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  let tally = emptyTally();
  let populationMs = Number.NaN;
  const mainThreadMs = await cpuTimed(async () => {
    tally = await observer.tallyUnder(program, NOW);
    populationMs = await timed(async () => {
      await observer.answer(nextStage(), program, NOW);
    });
  });
  delay.disable();
  await observer.close();
  const peakMebibytes = process.resourceUsage().maxRSS / 1024;

  for (let round = 0; round < ROUNDS; round++) {
    conditionsMs.push(await cpuTimed(() => evaluateConditions(of, program)));
    recountMs.push(
      await cpuTimed(async () => {
        const reading = await openReading(placeOf(of));
        const again = await countFleet(reading.pages(), program, NOW).finally(() => reading.close());
        assert.deepEqual(again, tally);
      }),
    );
  }
  return {
    devices,
    rollouts: program.rollouts.length,
    conditionsMs,
    recountMs,
    blockedMsMax: delay.max / 1e6,
    mainThreadMs,
    populationMs,
    peakMebibytes,
  };
}

function placeOf(of: Store) {
  assert(of.place !== undefined);
  return of.place;
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** Processor time of this thread, so that what else runs on the machine does not count. */
async function cpuTimed(work: () => Promise<void>): Promise<number> {
  const before = process.threadCpuUsage();
  await work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}

async function evaluateConditions(of: Store, program: Program): Promise<void> {
  const reading = await openReading(placeOf(of));
  let matches = 0;
  for await (const page of reading.pages()) {
    for (const device of page) {
      const subject = subjectOf(program, device);
      for (const { condition } of program.rollouts)
        if (compileCondition(condition).matches(subject)) matches += 1;
    }
  }
  await reading.close();
  assert(matches > 0);
}

async function enrol(into: Store, count: number): Promise<void> {
  for (let first = 1; first <= count; first += BATCH) {
    const ids = Array.from({ length: Math.min(BATCH, count - first + 1) }, (_, n) => deviceId(first + n));
    await into.updateDevices(ids, (_before, index) => recordOf(ids[index] ?? deviceId(0), first + index));
  }
}

/** Nine in ten have reported; of those, one in ten already runs the second attempt. */
function recordOf(id: DeviceId, n: number): DeviceRecord {
  const record = {
    id,
    tags: {
      product: n % 10 === 0 ? 'kiosk' : 'app',
      environment: 'prod',
      site: `site-${n % 500}`,
      ring: String(n % 4),
    },
    publicKey: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
    serial: 1,
    enrolledAt: NOW,
    version: 1,
  };
  if (n % 10 === 1) return record;
  const attempt = n % 10 === 2 ? 2 : 1;
  return {
    ...record,
    report: {
      receivedAt: NOW,
      generation: 1,
      running: revisionOf(attempt).revision,
      attempt: { revision: revisionOf(attempt).revision, state: 'succeeded' },
      signals: { runtime_healthy: true, adapter_connected: n % 97 !== 0, gap: '3.2s', drops: 0 },
      boots: [{ bootId: 'b0f6d7f0-1f0e-4f0e-9d7f-0a1b2c3d4e5f', seq: n % 1000, counted: 'ffffffffffffffff' }],
      exposureHours: 0.25,
    },
  };
}

function revisionOf(attempt: number): ProgramRevision {
  return {
    attempt,
    revision: `sha256:${String(attempt).repeat(64)}` as Revision,
    manifest: { distributionSet: `app@${attempt}`, product: 'app', version: String(attempt), modules: [] },
    snapshot: 'f'.repeat(40) as SnapshotId,
    commit: 'c'.repeat(40) as CommitId,
  };
}

/** A canary and a batch are open; before it comes a rollout for few devices, after it one for all of them. */
function programOf(): Program {
  const rollout = (name: string, change: Partial<ProgramRollout>): ProgramRollout => ({
    name: name as RolloutName,
    priority: 10,
    condition: CONDITION,
    gates: GATES,
    kept: [],
    ...change,
  });
  const seed = '0123456789abcdef0123456789abcdef';
  const canary = Array.from({ length: 100 }, (_, n) => scoreOf(seed, deviceId(n + 1))).sort();
  const open = { condition: CONDITION, unit: 'device', rampStartedAt: 0, gates: GATES };
  return {
    fleet: 'bench',
    rollouts: [
      rollout('kiosks', {
        condition: "tags.product = 'kiosk'",
        knownGood: { ...revisionOf(3), condition: "tags.product = 'kiosk'" },
      }),
      rollout('app', {
        knownGood: { ...revisionOf(1), condition: CONDITION },
        candidate: {
          ...revisionOf(2),
          offers: true,
          seed,
          stages: [
            { ...open, name: 'canary', admits: { kind: 'list', scores: canary } },
            {
              ...open,
              name: 'batch',
              admits: { kind: 'upTo', score: scoreBetween(LOWEST, HIGHEST_SCORE, 0.1) },
            },
          ],
        },
      }),
      rollout('base', { condition: '*', knownGood: { ...revisionOf(1), condition: '*' } }),
    ],
    devices: {},
    pollIntervalMs: HOUR,
    timezone: 'UTC',
    sites: {},
    flags: [],
    knownRevisions: [1, 2, 3].map((attempt) => revisionOf(attempt).revision),
    knownProducts: [],
  };
}

function nextStage() {
  return {
    kind: 'population',
    rollout: 'app' as RolloutName,
    attempt: 2,
    stage: 2,
    condition: CONDITION,
    seed: '0123456789abcdef0123456789abcdef',
    takes: {
      size: { kind: 'share', share: { numerator: 1, denominator: 4 } },
      unit: 'device',
      mode: 'cumulative',
      stratifyBy: ['ring'],
      rampMs: 0,
      holdback: { numerator: 1, denominator: 100 },
    },
  } as const;
}
