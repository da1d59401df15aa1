/**
 * What a gate that counts costs per report: batches of a thousand reports through the counting, the group commit and SQLite, with
 * a program whose gates look at an event and a metric, and with the same program without them. In-process: no HTTP, no tokens.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { receive } from '../src/core/assign/observe.ts';
import type { Report } from '../src/core/model/device.ts';
import type { DeviceId } from '../src/core/model/ids.ts';
import type { Program, Watches } from '../src/core/model/program.ts';
import { HOUR, MINUTE } from '../src/core/model/time.ts';
import { createIntake } from '../src/store/intake.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import { candidate, programOf, revision, stageOf } from '../test/core/assign/program.ts';
import { deviceId, enrolMany } from './fleet.ts';
import { median, spread } from './measure.ts';

const FLEETS = [10_000, 100_000];
const BATCH = 1000;
const BATCHES = 20;
const ROUNDS = 7;
const NOW = Date.UTC(2026, 0, 1);
const WATCHES: Watches = { events: ['crash'], metrics: [{ signal: 'drain' }], silent: false };

export async function watchedReports(): Promise<readonly string[]> {
  const lines: string[] = [];
  for (const devices of FLEETS) lines.push(await measure(devices));
  return lines;
}

async function measure(devices: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
  const store = await openSqliteStore(join(folder, 'tidegate.db'), { epoch: randomUUID });
  await enrolMany(store, { count: devices, publicKey: '', now: NOW });
  const intake = createIntake(store);
  let seq = 0;
  /** Processor time per report, in microseconds: of the main thread, the kernel's included. */
  const costOf = async (program: Program): Promise<number> => {
    const before = process.threadCpuUsage();
    for (let batch = 0; batch < BATCHES; batch += 1) {
      seq += 1;
      const report = reportOf(seq);
      // Reports come evenly over the hours.
      const now = NOW + seq * 5 * MINUTE;
      await Promise.all(
        Array.from({ length: BATCH }, (_, n) =>
          intake.submit(idOf(n, devices), (device) => {
            if (device === undefined) throw new Error('expected a device that is enrolled');
            const { record, effect, amounts } = receive(program, device, report, now);
            return { after: record, result: effect, additions: amounts };
          }),
        ),
      );
    }
    const { user, system } = process.threadCpuUsage(before);
    return (user + system) / (BATCH * BATCHES);
  };
  const [bare, watched] = [programWith(undefined), programWith(WATCHES)];
  for (const program of [bare, watched, bare, watched]) await costOf(program);
  const rounds: { bare: number; watched: number }[] = [];
  for (let round = 0; round < ROUNDS; round += 1)
    rounds.push({ bare: await costOf(bare), watched: await costOf(watched) });
  await store.close();
  await rm(folder, { recursive: true });
  const micros = median(rounds.map((each) => each.bare)).toFixed(0);
  return (
    `${devices} devices: with gates that look at an event and a metric ${spread(rounds.map((each) => each.watched / each.bare))} ` +
    `of the processor time that storing a report takes without them (${micros} µs)`
  );
}

function programWith(watches: Watches | undefined): Program {
  const stages = [stageOf({ condition: "tags.product = 'app'" })];
  const offered = candidate(2, stages, watches === undefined ? {} : { watches });
  return programOf({ condition: "tags.product = 'app'", candidate: offered });
}

function idOf(n: number, devices: number): DeviceId {
  return deviceId((n + 1) * (devices / BATCH));
}

/** Of a device that runs the new revision, is well, and crashes now and then. */
function reportOf(seq: number): Report {
  return {
    bootId: 'boot-1',
    seq,
    generation: 1,
    running: revision(2),
    attempt: { revision: revision(2), state: 'succeeded' },
    signals: { healthy: true, gap: '3.2s', drops: 0, drain: 4.5 },
    exposureHours: (5 * MINUTE) / HOUR,
    events: { crash: seq % 500 === 0 ? 1 : 0 },
  };
}
