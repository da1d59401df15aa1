/** FoundriesFactory: waves by tag, a few designated devices first, and no need for groups. */
import { expect, test } from 'vitest';
import type { DeviceClient } from '../../src/agent/device-client.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { createDirectClient } from '../../src/simulate/direct-client.ts';
import { identities } from '../../src/simulate/simulation.ts';
import type { SimulatedIdentity } from '../../src/simulate/virtual-device.ts';
import {
  deviceList,
  FLEET,
  operation,
  release,
  rollout,
  TICK,
  type WatchedFleet,
  watchFleet,
} from './watched-fleet.ts';

test('S2.2 a wave gives one version to the production devices with its tag, and never to another', async () => {
  const fleet = await watchFleet('S2.2');
  const wave = { targetCondition: "tags.environment = 'prod' AND tags.wave = '7'" };
  const stages = [{ name: 'canary', size: 2, soak: '10m' }, { fleet: 'all' }];
  await fleet.commit('Wave 7', FLEET, release('1.0.0', { ...wave, stages }));
  await fleet.simulation.enrol(
    ...identities(12, (n) => ({
      environment: n <= 8 ? 'prod' : 'test',
      ...(n % 2 === 0 ? { wave: '7' } : {}),
    })),
  );
  const inWave = (id: string) => Number(id.slice(-6)) % 2 === 0 && Number(id.slice(-6)) <= 8;
  const everServed = new Set<string>();
  for (let tick = 0; tick < 12; tick++) {
    await fleet.tick();
    for (const { id, assignment } of await fleet.devices()) if (assignment !== null) everServed.add(id);
  }
  expect([...everServed].sort()).toEqual([
    'device-000002',
    'device-000004',
    'device-000006',
    'device-000008',
  ]);
  expect(
    fleet.simulation.devices.filter((device) => device.runs() !== undefined).every(({ id }) => inWave(id)),
  ).toBe(true);
  expect((await fleet.rollout()).devices).toMatchObject({ target: 4, healthy: 4 });

  // The tag decides, not when a device came: one that gets it later is served, one that loses it is not.
  const tag = (id: string, value: string | null) => ({ id, tags: { wave: value } });
  await fleet.commit('Retag', deviceList(tag('device-000001', '7'), tag('device-000008', null)));
  await fleet.tick();
  expect((await fleet.device('device-000001')).assignment?.distributionSet).toBe('edge@1.0.0');
  expect((await fleet.device('device-000008')).assignment).toBeNull();
  expect((await fleet.device('device-000009')).assignment).toBeNull();
});

type Client = Pick<DeviceClient, 'poll' | 'report'>;

/** Enrols everybody, many at a time: the intake commits them in batches. */
async function enrolMany(
  fleet: WatchedFleet,
  all: readonly SimulatedIdentity[],
): Promise<Map<DeviceId, Client>> {
  const clients = new Map<DeviceId, Client>();
  for (let at = 0; at < all.length; at += 1000) {
    const batch = all.slice(at, at + 1000);
    const made = await Promise.all(batch.map((each) => createDirectClient(fleet.simulation.service, each)));
    for (const [n, { id }] of batch.entries()) clients.set(id, made[n] as Client);
  }
  return clients;
}

/** Every device polls once; the ids of those that are offered something. */
async function offersOf(clients: ReadonlyMap<DeviceId, Client>): Promise<readonly DeviceId[]> {
  const offered: DeviceId[] = [];
  for (const [id, client] of clients) if ((await client.poll()).kind === 'assigned') offered.push(id);
  return offered;
}

test.each([
  { devices: 100_000, designated: 10 },
  { devices: 20_000, designated: 25 },
])(
  'S2.7 of $devices devices that poll exactly $designated are offered it, until somebody says so',
  async (given) => {
    const fleet = await watchFleet(`S2.7 ${given.devices}`);
    const stages = [
      { name: 'designated', size: given.designated },
      { name: 'rest', size: 'all', approvals: 1 },
    ];
    await fleet.commit('Release', FLEET, release('1.0.0', { stages, start: 'manual' }));
    const clients = await enrolMany(
      fleet,
      identities(given.devices, () => ({ environment: 'prod' })),
    );
    await fleet.commit('Start', rollout('1.0.0', { stages }));
    const designated = await offersOf(clients);
    expect(designated).toHaveLength(given.designated);

    // They succeed and the stage passes: still nobody else is offered anything.
    for (const id of designated) {
      const polled = await clients.get(id)?.poll();
      const revision = polled?.kind === 'assigned' ? polled.assignment.assigned.revision : undefined;
      if (revision === undefined) throw new Error(`${id} is offered nothing any more`);
      await clients.get(id)?.report({
        ...{ bootId: 'boot', seq: 1, generation: 0, exposureHours: 0, events: {} },
        running: revision,
        attempt: { revision, state: 'succeeded' },
        signals: { healthy: true },
      });
    }
    fleet.simulation.clock.advance(TICK);
    await fleet.simulation.settle();
    expect(await fleet.rollout()).toMatchObject({
      state: 'waitingForApproval',
      stages: [{ state: 'passed' }, {}],
    });
    expect(await offersOf(clients)).toEqual(designated);

    await fleet.commit('Told', operation({ action: 'approve', attempt: 1, stage: 'rest', by: 'ada' }));
    expect(await offersOf(clients)).toHaveLength(given.devices);
  },
);

test.each([
  { size: 2, failing: false },
  { size: 3, failing: true },
])(
  'S2.12 the second group opens only once the canary of $size has passed its gate: failing $failing',
  async (given) => {
    const { size, failing } = given;
    let isHealthy: boolean | undefined;
    const fleet = await watchFleet(`S2.12 ${size}`, {
      world: { signals: () => (isHealthy === undefined ? {} : { healthy: isHealthy }) },
    });
    const stages = [
      { name: 'canary', size, errorThreshold: size },
      { name: 'group-2', size: 'all' },
    ];
    await fleet.commit('Release', FLEET, release('1.0.0', { stages, onFailure: 'pause' }));
    await fleet.simulation.enrol(...identities(9, () => ({ environment: 'prod' })));

    // Installed, but the gate has not been heard: installing is not health.
    for (let tick = 0; tick < 6; tick++) {
      await fleet.tick();
      expect(await fleet.rollout()).toMatchObject({
        state: 'running',
        stages: [
          { name: 'canary', state: 'running', devices: size },
          { name: 'group-2', state: 'scheduled' },
        ],
      });
      expect((await fleet.devices()).filter(({ assignment }) => assignment !== null)).toHaveLength(size);
    }
    isHealthy = !failing;
    await fleet.tick();
    await fleet.tick();
    expect(await fleet.rollout()).toMatchObject(
      failing
        ? { state: 'paused', stages: [{ state: 'failed' }, { state: 'scheduled' }] }
        : { state: 'succeeded', stages: [{ state: 'passed' }, { state: 'passed', devices: 9 - size }] },
    );
    expect(fleet.simulation.devices.filter((device) => device.runs() !== undefined)).toHaveLength(
      failing ? size : 9,
    );
  },
);

test('S2.13 a rollout needs no group: a condition selects, and stages are sizes', async () => {
  const fleet = await watchFleet('S2.13');
  const stages = [{ canary: '1%' }, { batch: '10%' }, { fleet: 'all' }];
  await fleet.commit('No groups', FLEET, release('1.0.0', { stages }));
  await fleet.simulation.enrol(...identities(2000, () => ({ environment: 'prod' })));
  for (let tick = 0; tick < 4; tick++) await fleet.tick();
  const done = await fleet.rollout();
  expect(done).toMatchObject({ state: 'succeeded', devices: { target: 2000, healthy: 2000 } });
  expect(done.stages.map(({ devices }) => devices)).toEqual([20, 180, 1800]);
  const { git } = fleet.simulation;
  expect((await git.tree(await fleet.snapshot())).map(({ name }) => name).sort()).toEqual([
    'distribution-sets',
    'fleet.yaml',
    'rollouts',
  ]);
});
