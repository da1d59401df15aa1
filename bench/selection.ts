/**
 * Devices chosen by hand out of 100,000: how long the answer takes, in the thread that counts, and what a list of all their ids costs:
 * where it is read, and at each poll afterwards.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assign } from '../src/core/assign/assign.ts';
import type { DeviceRecord } from '../src/core/model/device.ts';
import type { CommitId, DeviceId, RolloutName, Score, SnapshotId } from '../src/core/model/ids.ts';
import { revisionOf } from '../src/core/model/manifest.ts';
import type { Program } from '../src/core/model/program.ts';
import { HOUR } from '../src/core/model/time.ts';
import { scoreOf } from '../src/core/select/score.ts';
import { compileCondition, conditionOn, parseSelection } from '../src/core/target/condition.ts';
import { parseYaml } from '../src/documents/parse.ts';
import { createCounter } from '../src/reconcile/counter.ts';
import type { SelectionRequest } from '../src/reconcile/selection.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import type { Store } from '../src/store/store.ts';
import { median } from './measure.ts';

const DEVICES = 100_000;
const ROUNDS = 5;
const NOW = Date.UTC(2026, 0, 1);
const CONDITION = "tags.product = 'kiosk'";
const SEED = '0123456789abcdef0123456789abcdef';

export async function selection(): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
  const store = await openSqliteStore(join(folder, 'tidegate.db'), { epoch: () => 'bench' });
  const counter = createCounter(store);
  try {
    const fleet = Array.from({ length: DEVICES }, (_, n) => device(n));
    for (let at = 0; at < fleet.length; at += 1000) {
      const batch = fleet.slice(at, at + 1000);
      await store.updateDevices(
        batch.map(({ id }) => id),
        (_, index) => batch[index],
      );
    }
    const ids = fleet.map(({ id }) => id);
    await counter.select(request(10), programOf([]), NOW); // starts the thread
    const alone = await times(() => matching(store));
    const ten = await times(() => counter.select(request(10), programOf([]), NOW));
    const named = await times(() => counter.select(request('all', ids), programOf([]), NOW));
    const yaml = new TextEncoder().encode(`where: ${JSON.stringify(conditionOn(ids))}\n`);
    const read = await times(async () => parseYaml(yaml));
    let spaces = 0;
    const compiled = await times(async () => {
      // Another text each time: the same one would be remembered.
      spaces += 1;
      parseSelection(conditionOn(ids) + ' '.repeat(spaces));
    });
    return [
      `ten of ${DEVICES} devices are chosen, counted by tag and listed in ${(ten / alone).toFixed(1)} times the time of reading the devices and evaluating the target condition once (${ms(ten)}, ${ms(alone)}; SQLite)`,
      `a list of all ${DEVICES} ids is checked and resolved in ${(named / alone).toFixed(1)} times that; its ${(yaml.length / 1e6).toFixed(1)} MB are read in ${ms(read)} and compiled in ${ms(compiled)}`,
      `a poll in a stage of ${DEVICES} scores takes ${(poll(fleet, DEVICES) / poll(fleet, 10)).toFixed(2)} times as long as in one of 10`,
    ];
  } finally {
    await counter.close();
    await store.close();
    await rm(folder, { recursive: true });
  }
}

async function matching(store: Pick<Store, 'read'>): Promise<number> {
  const condition = compileCondition(CONDITION);
  const reading = await store.read();
  let found = 0;
  for await (const page of reading.pages()) found += page.filter((each) => condition.matches(each)).length;
  await reading.close();
  return found;
}

function device(n: number): DeviceRecord {
  return {
    id: `device-${String(n).padStart(6, '0')}` as DeviceId,
    tags: { product: 'kiosk', region: `region-${n % 7}` },
    publicKey: '',
    serial: 1,
    enrolledAt: NOW,
    version: 1,
  };
}

const manifest = { distributionSet: 'kiosk@1.0.0', product: 'kiosk', version: '1.0.0', modules: [] };
const candidate = {
  attempt: 1,
  revision: revisionOf(manifest),
  manifest,
  snapshot: '1'.repeat(40) as SnapshotId,
  commit: '1'.repeat(40) as CommitId,
  offers: true,
  seed: SEED,
};

function programOf(scores: readonly Score[]): Program {
  const name = 'kiosk' as RolloutName;
  const stage = {
    name: 'open',
    condition: CONDITION,
    unit: 'device',
    admits: { kind: 'list', scores },
    rampStartedAt: 0,
    gates: [],
  } as const;
  return {
    fleet: 'bench',
    rollouts: [
      {
        name,
        priority: 10,
        condition: CONDITION,
        gates: [],
        kept: [],
        ...(scores.length === 0 ? {} : { candidate: { ...candidate, stages: [stage] } }),
      },
    ],
    devices: {},
    pollIntervalMs: HOUR,
    timezone: 'UTC',
    sites: {},
    flags: [],
    knownRevisions: [],
    knownProducts: [],
  };
}

function request(size: number | 'all', ids?: readonly DeviceId[]): SelectionRequest {
  return {
    rollout: 'kiosk' as RolloutName,
    condition: CONDITION,
    candidate: { ...candidate, stages: [] },
    coming: [],
    takes: {
      size: size === 'all' ? { kind: 'all' } : { kind: 'count', count: size },
      ...(ids === undefined ? {} : { where: conditionOn(ids) }),
      unit: 'device',
      mode: 'incremental',
      stratifyBy: [],
      rampMs: 0,
      holdback: { numerator: 0, denominator: 1 },
    },
    ...(ids === undefined ? {} : { named: { ids } }),
    tags: ['region'],
    lists: true,
  };
}

/** Milliseconds of processor and waiting for one poll of each device. */
function poll(fleet: readonly DeviceRecord[], listed: number): number {
  const program = programOf(
    fleet
      .slice(0, listed)
      .map(({ id }) => scoreOf(SEED, id))
      .sort(),
  );
  const rounds = Array.from({ length: ROUNDS }, () => {
    const began = performance.now();
    for (const each of fleet) assign(program, each, NOW);
    return performance.now() - began;
  });
  return median(rounds);
}

async function times(work: () => Promise<unknown>): Promise<number> {
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now();
    await work();
    rounds.push(performance.now() - began);
  }
  return median(rounds);
}

function ms(duration: number): string {
  return `${Math.round(duration)} ms`;
}
