import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { standingOf } from '../../src/core/assign/standing.ts';
import { add, count, emptyTally } from '../../src/core/assign/tally.ts';
import type { DeviceRecord } from '../../src/core/model/device.ts';
import type { RolloutName } from '../../src/core/model/ids.ts';
import type { Want } from '../../src/core/plan/contract.ts';
import { createCounter } from '../../src/reconcile/counter.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { openPostgresStore } from '../../src/store/postgres.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import {
  CONDITION,
  candidate,
  deviceOf,
  programOf,
  reportOf,
  revisionOf,
  stageOf,
} from '../core/assign/program.ts';
import { type PostgresServer, startPostgres } from '../store/postgres-server.ts';

const NOW = 1000;
const PROGRAM = programOf({
  candidate: candidate(2, [stageOf()]),
  knownGood: { ...revisionOf(1), condition: CONDITION },
});

let folder: string;
let server: PostgresServer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-counter-'));
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

const newPath = () => join(folder, `${randomUUID()}.db`);
const ENGINES: Readonly<Record<string, () => Promise<Store>>> = {
  memory: async () => createMemoryStore({ epoch: randomUUID() }),
  SQLite: () => openSqliteStore(newPath(), { epoch: randomUUID }),
  PostgreSQL: async () => openPostgresStore(await server.createSchema(), { epoch: randomUUID }),
};

/** Every fourth is no kiosk, every third has the candidate, every fifth failed with it. */
function fleet(size: number): readonly DeviceRecord[] {
  return Array.from({ length: size }, (_, n) => {
    const id = `d${String(n).padStart(5, '0')}`;
    const report = n % 3 === 0 ? { running: 2, signals: { healthy: n % 5 !== 0 } } : { running: 1 };
    const record = { ...deviceOf(id), ...(n % 7 === 0 ? {} : { report: reportOf(report) }) };
    return n % 4 === 0 ? { ...record, tags: { product: 'router' } } : record;
  });
}

async function put(store: Store, records: readonly DeviceRecord[]): Promise<void> {
  await store.updateDevices(
    records.map(({ id }) => id),
    (_, at) => records[at],
  );
}

function sumOf(records: readonly DeviceRecord[]) {
  const tally = emptyTally();
  for (const record of records) count(tally, standingOf(PROGRAM, record, NOW), 1);
  return tally;
}

const population = (size: number): Want => ({
  kind: 'population',
  rollout: 'kiosk' as RolloutName,
  attempt: 3,
  stage: 0,
  condition: CONDITION,
  seed: 'another',
  takes: {
    size: { kind: 'count', count: size },
    unit: 'device',
    mode: 'incremental',
    stratifyBy: [],
    rampMs: 0,
    holdback: { numerator: 0, denominator: 1 },
  },
});

describe.each(Object.keys(ENGINES))('counting a fleet in %s', (name) => {
  async function opened(records: readonly DeviceRecord[]) {
    const store = (await ENGINES[name]?.()) ?? expect.unreachable();
    await put(store, records);
    const counter = createCounter(store);
    onTestFinished(async () => {
      await counter.close();
      await store.close();
    });
    return { store, counter };
  }

  test('gives the sum of its devices’ standings, as of the position that it names first', async () => {
    const records = fleet(2100);
    const { counter } = await opened(records);
    const positions: number[] = [];
    const tally = await counter.count(PROGRAM, NOW, (position) => positions.push(position));
    expect(tally).toEqual(sumOf(records));
    expect(positions).toEqual([1]);
  });

  test('leaves out what is committed after it has begun, and what is told with a later position is the rest', async () => {
    const records = fleet(2100);
    const { store, counter } = await opened(records);
    const newcomer = deviceOf('newcomer');
    const written = Promise.withResolvers<void>();
    const counting = counter.count(PROGRAM, NOW, () => {
      put(store, [newcomer]).then(written.resolve, written.reject);
    });
    await written.promise;
    const tally = await counting;
    expect(tally).toEqual(sumOf(records));
    add(tally, sumOf([newcomer]));
    expect(tally).toEqual(sumOf([...records, newcomer]));
  });

  test('answers who would enter a stage with what the stage needs, not with the fleet', async () => {
    const records = fleet(2100);
    const { counter } = await opened(records);
    const answer = await counter.answer(population(50), PROGRAM, NOW);
    const kiosks = records.filter(({ tags }) => tags['product'] === 'kiosk').length;
    expect(answer).toMatchObject({ kind: 'population', units: kiosks, resolved: { units: 50, devices: 50 } });
    expect(JSON.stringify(answer).length).toBeLessThan(50 * 30);
  });

  test('counts only whom the stage is for: of a tag, or of a list of a hundred thousand ids', async () => {
    const records = fleet(2100);
    const { counter } = await opened(records);
    const want = population(5000);
    if (want.kind !== 'population') throw expect.unreachable();
    const kiosks = records.filter(({ tags }) => tags['product'] === 'kiosk');
    const named = kiosks.slice(0, 1500).map(({ id }) => id);
    const others = Array.from({ length: 100_000 }, (_, n) => `somebody-${n}`);
    const where = `deviceId IN [${[...named, ...others].map((id) => `'${id}'`).join(', ')}]`;
    const answer = await counter.answer({ ...want, takes: { ...want.takes, where } }, PROGRAM, NOW);
    expect(answer).toMatchObject({ units: 1500, resolved: { units: 1500, admits: { kind: 'list' } } });
    const nobody = { ...want, takes: { ...want.takes, where: "tags.ring = 'beta'" } };
    expect(await counter.answer(nobody, PROGRAM, NOW)).toMatchObject({ units: 0 });
  });

  test('names at most a hundred undecided devices', async () => {
    const { counter } = await opened(fleet(2100));
    const want = { kind: 'undecided', rollout: 'kiosk' as RolloutName, attempt: 2 } as const;
    const answer = await counter.answer(want, PROGRAM, NOW);
    expect(answer.kind === 'undecided' && answer.scores.length).toBe(100);
  });

  test('works off requests one after another', async () => {
    const records = fleet(600);
    const { counter } = await opened(records);
    const tallies = await Promise.all([1, 2, 3].map(() => counter.count(PROGRAM, NOW, () => undefined)));
    expect(tallies).toEqual([1, 2, 3].map(() => sumOf(records)));
  });
});

describe('the thread', () => {
  test('that dies fails the request, and the next request starts another', async () => {
    const store = await openSqliteStore(newPath(), { epoch: randomUUID });
    const records = fleet(10);
    await put(store, records);
    const deaths = ['process.exit(3)', 'throw new Error("out of luck")'];
    let started = 0;
    const counter = createCounter(store, (start) => {
      const death = deaths[started++];
      if (death === undefined) return start();
      const dying = `require('node:worker_threads').parentPort.on('message', () => { ${death} })`;
      return new Worker(dying, { eval: true });
    });
    const ask = () => counter.count(PROGRAM, NOW, () => undefined);
    await expect(ask()).rejects.toThrow('the thread that counts the fleet ended');
    await expect(ask()).rejects.toThrow('out of luck');
    expect(await ask()).toEqual(sumOf(records));
    expect(await ask()).toEqual(sumOf(records));
    expect(started).toBe(3);
    await counter.close();
    await store.close();
  });

  test('that cannot read says why, and is asked again', async () => {
    const path = newPath();
    const counter = createCounter({ place: { kind: 'sqlite', path }, read: () => expect.unreachable() });
    const ask = () => counter.count(PROGRAM, NOW, () => undefined);
    await expect(ask()).rejects.toThrow(path);
    const store = await openSqliteStore(path, { epoch: randomUUID });
    expect(await ask()).toEqual(sumOf([]));
    await counter.close();
    await store.close();
  });

  test('ends with the counter, which then takes no requests', async () => {
    const store = await openSqliteStore(newPath(), { epoch: randomUUID });
    await put(store, fleet(10));
    const counter = createCounter(store);
    await counter.count(PROGRAM, NOW, () => undefined);
    await counter.close();
    await expect(counter.count(PROGRAM, NOW, () => undefined)).rejects.toThrow('the server stops');
    await store.close();
  });
});
