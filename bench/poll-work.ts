/**
 * What a poll costs where nothing is remembered of the last one: a record is read, the rollouts are gone through, and the
 * assignment is digested. A table over devices and rollouts, in-process: no HTTP, and the tokens are known. Costs are
 * relative to those of the smallest fleet.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../src/clock.ts';
import { assign } from '../src/core/assign/assign.ts';
import type { CommitId, RolloutName, Score, SnapshotId } from '../src/core/model/ids.ts';
import { type Manifest, revisionOf } from '../src/core/model/manifest.ts';
import type { ProgramCandidate, ProgramRollout } from '../src/core/model/program.ts';
import { MINUTE } from '../src/core/model/time.ts';
import { createDeviceAnswers } from '../src/http/device-answers.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import type { PublishedProgram } from '../src/store/store.ts';
import { generateKeys } from '../src/trust/keys.ts';
import { generateDeviceKey } from '../src/trust/signing-key.ts';
import { deviceId, enrolMany, tokenOf } from './fleet.ts';
import { median } from './measure.ts';

const FLEETS = [15, 1000, 100_000, 1_000_000];
/** Rollouts that the device matches without getting anything from them, and rollouts for others. */
const PROGRAMS = [
  { matching: 1, others: 0 },
  { matching: 10, others: 0 },
  { matching: 100, others: 0 },
  { matching: 1000, others: 0 },
  { matching: 1, others: 999 },
];
const POLLS = 100;
const ROUNDS = 9;

export async function pollWork(): Promise<readonly string[]> {
  const rows: number[][] = [];
  for (const devices of FLEETS) rows.push(await costsIn(devices));
  const unit = rows[0]?.[0] ?? Number.NaN;
  const cell = (text: string) => text.padStart(10);
  const heads = PROGRAMS.map(({ matching, others }) =>
    others === 0 ? `${matching}` : `${matching} of ${matching + others}`,
  );
  return [
    `times the ${unit.toFixed(0)} µs of processor time that a poll takes in a fleet of ${FLEETS[0]} with one rollout`,
    `${cell('devices')} | matching rollouts`,
    `${cell('')} |${heads.map(cell).join('')}`,
    ...rows.map((costs, row) => {
      return `${cell(String(FLEETS[row]))} |${costs.map((cost) => cell((cost / unit).toFixed(1))).join('')}`;
    }),
  ];
}

/** Microseconds of processor time per poll, for each program. */
async function costsIn(devices: number): Promise<number[]> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
  const store = await openSqliteStore(join(folder, 'tidegate.db'), { epoch: randomUUID });
  const key = generateDeviceKey();
  const now = systemClock.now();
  await enrolMany(store, { count: devices, publicKey: key.publicKey, now });
  let program: PublishedProgram | undefined;
  const answers = createDeviceAnswers({
    fleet: () => ({ name: 'bench' }),
    // Nobody tells of changes: then nothing is remembered.
    store: { device: store.device, follow: () => Promise.reject(new Error('not told')) },
    intake: { submit: () => Promise.reject(new Error('nobody reports')) },
    keys: await generateKeys(),
    clock: systemClock,
    program: () => program,
    assign,
  });
  const polling = Math.min(devices, POLLS);
  const polls = await Promise.all(
    Array.from({ length: polling }, async (_, index) => {
      const id = deviceId((index + 1) * Math.floor(devices / polling));
      return { id, authorization: `Bearer ${await tokenOf(id, key.private, now)}`, ifNoneMatch: undefined };
    }),
  );
  const costs: number[] = [];
  for (const [version, rollouts] of PROGRAMS.entries()) {
    program = programOf(rollouts, version + 1);
    const round = async () => {
      const before = process.cpuUsage();
      for (let n = 0; n < POLLS; n++) {
        const answer = await answers.poll(polls[n % polling] as (typeof polls)[number]);
        if (answer.status !== 200) throw new Error(`expected 200, found ${answer.status}`);
      }
      const { user, system } = process.cpuUsage(before);
      return (user + system) / POLLS;
    };
    // The first sign what the others only look up, and warm the code up.
    for (let n = 0; n < ROUNDS; n++) await round();
    const rounds: number[] = [];
    for (let n = 0; n < ROUNDS; n++) rounds.push(await round());
    costs.push(median(rounds));
  }
  await store.close();
  await rm(folder, { recursive: true });
  return costs;
}

function programOf(rollouts: { matching: number; others: number }, version: number): PublishedProgram {
  const others = Array.from({ length: rollouts.others }, (_, n) => rolloutFor(`product-${n}`, n, false));
  const matching = Array.from({ length: rollouts.matching }, (_, n) =>
    // The one of lowest precedence has something for everybody.
    rolloutFor('app', others.length + n, n === rollouts.matching - 1),
  );
  return {
    version,
    flagsVersion: 0,
    program: {
      fleet: 'bench',
      rollouts: [...others, ...matching],
      devices: {},
      pollIntervalMs: MINUTE,
      timezone: 'UTC',
      sites: {},
      flags: [],
      knownRevisions: [],
      knownProducts: [],
    },
  };
}

function rolloutFor(product: string, n: number, admitsAll: boolean): ProgramRollout {
  const name = `rollout-${n}`;
  const condition = `tags.product = '${product}' AND tags.site <> '${name}'`;
  const manifest: Manifest = { distributionSet: `${name}@1.0.0`, product, version: '1.0.0', modules: [] };
  const score = (admitsAll ? 'f' : '0').repeat(16) as Score;
  const stage = {
    name: 'all',
    condition,
    unit: 'device',
    admits: { kind: 'upTo', score },
    rampStartedAt: 0,
    gates: [],
  } as const;
  const candidate: ProgramCandidate = {
    attempt: 1,
    revision: revisionOf(manifest),
    manifest,
    snapshot: 'a'.repeat(40) as SnapshotId,
    commit: 'b'.repeat(40) as CommitId,
    offers: true,
    seed: name,
    stages: [stage],
  };
  return { name: name as RolloutName, priority: 1, condition, gates: [], kept: [], candidate };
}
