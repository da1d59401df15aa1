import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { Tally } from '../../src/core/assign/tally.ts';
import type { DeviceId, RolloutName } from '../../src/core/model/ids.ts';
import { sha256Hex } from '../../src/core/model/manifest.ts';
import { createMemoryRepository, type MemoryRepository } from '../../src/git/memory.ts';
import { withChanges } from '../../src/git/tree.ts';
import { createService, type Service } from '../../src/service.ts';
import { createDirectClient } from '../../src/simulate/direct-client.ts';
import { createVirtualClock } from '../../src/simulate/virtual-clock.ts';
import { openPostgresStore } from '../../src/store/postgres.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';
import { followed } from '../store/contract.ts';
import { type PostgresServer, startPostgres } from '../store/postgres-server.ts';

const START = Date.UTC(2026, 0, 1);
/** More passes without rest than this: replicas undo each other's work. */
const PASSES_MAX = 30;

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

async function commit(git: MemoryRepository, files: Readonly<Record<string, string>>): Promise<void> {
  const changes = new Map<string, { mode: string; oid: string }>();
  for (const [path, text] of Object.entries(files)) {
    changes.set(path, { mode: '100644', oid: await git.writeBlob(new TextEncoder().encode(text)) });
  }
  const tree = await withChanges(git, undefined, changes);
  const to = await git.writeCommit({ tree, parents: [], message: 'Release\n', at: START });
  await git.moveBranch({ branch: 'main', from: undefined, to });
}

/** Replicas over one repository and one database, each with connections of its own. */
async function startReplicas(count: number) {
  const git = createMemoryRepository();
  await commit(git, {
    'fleet/fleet.yaml': FLEET,
    ...kiosk('1.0.0'),
    ...rollout('1.0.0', { stages: '[{name: fleet, size: all}]' }),
  });
  const url = await server.createSchema();
  const keys = await generateKeys();
  let drawn = 0;
  const replica = async () => {
    const store = await openPostgresStore(url, { epoch: randomUUID });
    const service = createService({
      git,
      store,
      keys,
      clock: createVirtualClock(START),
      randomHex: () => sha256Hex(`replicas/${drawn++}`).slice(0, 32),
    });
    onTestFinished(async () => {
      await service.close();
      await store.close();
    });
    return { service, feed: await followed(store) };
  };
  return { git, replicas: await Promise.all(Array.from({ length: count }, replica)) };
}

/** Passes of all of them until none decides anything more. Who was overtaken plans anew with its next pass. */
async function settle(services: readonly Service[]): Promise<void> {
  for (let passes = 0; passes < PASSES_MAX; passes++) {
    const results = await Promise.all(
      services.map((service) =>
        service.reconciler.pass().catch((error) => {
          expect(String(error)).toMatch(/planning anew/);
          return { again: true };
        }),
      ),
    );
    if (results.every(({ again }) => !again)) return;
  }
  throw new Error(`the replicas did not come to rest in ${PASSES_MAX} passes`);
}

function countsOf(tally: Tally) {
  const kiosks = tally.rollouts.get('kiosk' as RolloutName);
  return {
    devices: tally.devices,
    stages: kiosks?.stages.map((stage) => stage.counts),
    status: tally.status,
  };
}

test('replicas over one database see each other’s devices and reports, and decide together', async () => {
  const { git, replicas } = await startReplicas(2);
  const services = replicas.map(({ service }) => service);
  const [one, other] = services as [Service, Service];
  const seenByAll = (commits: number) => Promise.all(replicas.map(({ feed }) => feed.until(commits)));

  // Three devices enrol at each; the stage that opens has all six, whoever opens it.
  const identities = Array.from({ length: 6 }, (_, n) => {
    return { id: `kiosk-${n}` as DeviceId, tags: { product: 'kiosk' } };
  });
  const clients = [];
  for (const [n, identity] of identities.entries()) {
    clients.push(await createDirectClient(n % 2 === 0 ? one : other, identity));
  }
  await seenByAll(6);
  await settle(services);
  for (const service of services) {
    expect(countsOf(service.reconciler.state().tally)).toMatchObject({
      devices: 6,
      stages: [{ pending: 6, succeeded: 0 }],
    });
  }
  const [attempt] = one.reconciler.state().outcomes.get('kiosk' as RolloutName) ?? [];
  expect(attempt?.stages.map(({ devices }) => devices)).toEqual([6]);

  // Each reports where it enrolled.
  for (const client of clients) {
    const polled = await client.poll();
    expect(polled.kind).toBe('assigned');
    await client.report({
      bootId: 'boot',
      seq: 1,
      generation: 1,
      running: attempt?.revision ?? expect.unreachable(),
      signals: { healthy: true },
      exposureHours: 0.1,
      events: {},
    });
  }
  await seenByAll(12);
  await settle(services);
  expect(countsOf(one.reconciler.state().tally)).toEqual(countsOf(other.reconciler.state().tally));
  expect(one.reconciler.state().tally.status).toMatchObject({ inSync: 6 });
  for (const service of services) {
    const outcomes = service.reconciler.state().outcomes.get('kiosk' as RolloutName);
    expect(outcomes?.map(({ state }) => state)).toEqual(['succeeded']);
    expect(service.reconciler.state().published?.version).toBe(one.reconciler.state().published?.version);
  }
  expect(git.branches().has('outcomes')).toBe(true);
});

test('what one replica noted is not lost to another that read its notes before', async () => {
  const { replicas } = await startReplicas(2);
  const [one, other] = replicas.map(({ service }) => service.store) as [Service['store'], Service['store']];
  const read = await Promise.all([one.journal(), other.journal()]);
  expect(await one.swapJournal({ closings: ['a'] }, read[0].version)).toBe(true);
  expect(await other.swapJournal({ closings: ['b'] }, read[1].version)).toBe(false);
  expect((await other.journal()).journal).toEqual({ closings: ['a'] });
});
