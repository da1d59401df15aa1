/**
 * The way of a revert, from the commit on main to the first device that fetches the old manifest: in which order things
 * happen, and what nobody waits for. How long it takes is in docs/performance.md.
 */
import { expect, test } from 'vitest';
import { createDeviceClient, type DeviceClient } from '../../src/agent/device-client.ts';
import { sha256Hex } from '../../src/core/model/manifest.ts';
import { DAY, MINUTE } from '../../src/core/model/time.ts';
import { createMemoryRepository } from '../../src/git/memory.ts';
import { withChanges } from '../../src/git/tree.ts';
import { createService, type Service } from '../../src/service.ts';
import { createVirtualClock } from '../../src/simulate/virtual-clock.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { mintEnrolmentToken } from '../../src/trust/enrolment.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';

const STAGES = { stages: '[{name: canary, size: 1, soak: 10m}, {name: fleet, size: all}]' };

test('S5.22 a reverting commit is with the device after one pass, and before the commit that records it', async () => {
  const { log, commit, settle, device, pass } = await fleetOfOne();
  await commit({ ...kiosk('1.0.0'), ...rollout('1.0.0', STAGES) });
  await settle();
  await device.installs('1.0.0');
  await commit({ ...kiosk('1.1.0'), ...rollout('1.1.0', STAGES) });
  await settle();
  await device.installs('1.1.0', 1);

  log.length = 0;
  await commit(rollout('1.0.0', STAGES));
  await pass();
  expect(log).toEqual([
    'main moves',
    'read',
    'planned',
    'noted',
    'closed',
    'written',
    'the device is to have 1.0.0',
    'outcomes moves',
    'recorded',
    'remembered',
    'opened',
  ]);
});

test('a release is with the device after one pass, too, and not before the commit that records it', async () => {
  const { log, commit, settle, device, pass } = await fleetOfOne();
  await commit({ ...kiosk('1.0.0'), ...rollout('1.0.0', STAGES) });
  await settle();
  await device.installs('1.0.0');

  log.length = 0;
  await commit({ ...kiosk('1.1.0'), ...rollout('1.1.0', STAGES) });
  await pass();
  expect(log).toContain('the device is to have 1.0.0');
  expect(log.at(-1)).toBe('opened');
  expect(await device.told()).toBe('1.1.0');
});

/** One device, and a log of what happens. Just before `outcomes` moves the device polls. */
async function fleetOfOne() {
  const log: string[] = [];
  const clock = createVirtualClock(Date.UTC(2026, 0, 5));
  const repository = createMemoryRepository();
  const keys = await generateKeys();
  let drawn = 0;
  let isReady = false;
  const service: Service = createService({
    git: {
      ...repository,
      async moveBranch(move) {
        if (isReady) log.push(`the device is to have ${await told(client)}`);
        log.push(`${move.branch} moves`);
        return await repository.moveBranch(move);
      },
    },
    store: createMemoryStore({ epoch: 'epoch' }),
    keys,
    clock,
    randomHex: () => sha256Hex(String(drawn++)).slice(0, 32),
    onStep: (step) => log.push(step),
  });

  async function settle(): Promise<void> {
    for (let passes = 0; (await service.reconciler.pass()).again; passes++) expect(passes).toBeLessThan(20);
  }

  /** Takes what is offered, and says that it runs well, until the rollout has succeeded. */
  async function installs(version: string, rounds = 4): Promise<void> {
    for (let seq = 1; seq <= rounds; seq++) {
      expect(await told(client)).toBe(version);
      const running = client.memory()?.last?.assignment;
      await client.report({
        bootId: `boot-${version}`,
        seq,
        generation: running?.generation ?? 0,
        ...(running?.assigned === undefined ? {} : { running: running.assigned.revision }),
        signals: { healthy: true },
        exposureHours: 0,
        events: {},
      });
      await settle();
      clock.advance(10 * MINUTE);
    }
  }

  async function commit(texts: Readonly<Record<string, string>>): Promise<void> {
    const from = await repository.branch('main');
    const base = from === undefined ? undefined : (await repository.commit(from)).tree;
    const changes = new Map<string, { mode: string; oid: string }>();
    for (const [path, text] of Object.entries(texts)) {
      changes.set(path, {
        mode: '100644',
        oid: await repository.writeBlob(new TextEncoder().encode(text)),
      });
    }
    const tree = await withChanges(repository, base, changes);
    const parents = from === undefined ? [] : [from];
    const to = await repository.writeCommit({ tree, parents, message: 'Change\n', at: clock.now() });
    await repository.moveBranch({ branch: 'main', from, to });
    log.push('main moves');
  }

  await commit({ 'fleet/fleet.yaml': FLEET });
  await settle();
  const enrolmentToken = await mintEnrolmentToken(keys, {
    fleet: 'test-fleet',
    tags: { product: 'kiosk' },
    now: clock.now(),
    expiresAt: clock.now() + DAY,
  });
  const client = createDeviceClient({
    server: 'http://tidegate',
    fleet: 'test-fleet',
    key: generateDeviceKey(),
    enrolmentToken,
    fetch: (url, init) => service.app.request(url, init),
    clock,
  });
  await client.enrol();
  isReady = true;
  return {
    log,
    settle,
    pass: () => service.reconciler.pass(),
    device: { installs, told: () => told(client) },
    commit,
  };
}

/** The version that the server assigns now. */
async function told(client: DeviceClient): Promise<string | undefined> {
  const polled = await client.poll();
  if (!('assignment' in polled)) throw new Error(`the poll was ${polled.kind}: ${polled.message}`);
  return polled.assignment.assigned?.manifest.version;
}
