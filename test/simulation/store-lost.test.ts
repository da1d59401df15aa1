import { expect, test } from 'vitest';
import { steadyClock } from '../../src/clock.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { createService, type Service, type ServicePorts } from '../../src/service.ts';
import { createDirectClient } from '../../src/simulate/direct-client.ts';
import { createSimulation, identities, type Simulation } from '../../src/simulate/simulation.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { FLEET, kiosk, rollout, WORLD } from './fleet-files.ts';

test('a server that lost its store publishes above the version it had reached, also where its clock is behind', async () => {
  const fleet = await createSimulation({
    startAt: Date.UTC(2026, 0, 1),
    seed: 'lost',
    world: WORLD,
    wire: 'direct',
  });
  await fleet.commit('First release', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') });
  await fleet.settle();
  await fleet.enrol(...identities(4, () => ({ product: 'kiosk' })));
  await fleet.advance(4 * HOUR);
  const before = fleet.service.reconciler.state().published?.version ?? 0;

  const clock = { ...fleet.clock, now: () => Date.UTC(2025, 0, 1) };
  const service = createService({
    git: fleet.git,
    store: createMemoryStore({ epoch: 'another' }),
    keys: fleet.keys,
    clock,
    randomHex: () => '0'.repeat(32),
  });
  await service.reconciler.pass();
  expect(service.reconciler.state().published?.version).toBeGreaterThanOrEqual(before);
});

/** A release that soaks for six hours in its canary of two, four hours into it. */
async function soaking() {
  const fleet = await createSimulation({
    startAt: Date.UTC(2026, 0, 1),
    seed: 'soaking',
    world: WORLD,
    wire: 'direct',
  });
  const stages = '[{name: canary, size: 2, soak: 6h}, {name: fleet, size: all}]';
  await fleet.commit('First release', {
    'fleet/fleet.yaml': FLEET,
    ...kiosk('1.0.0'),
    ...rollout('1.0.0', { stages }),
  });
  await fleet.settle();
  await fleet.enrol(...identities(4, () => ({ product: 'kiosk' })));
  await fleet.advance(4 * HOUR);
  return fleet;
}

const reportOf = ({ reconciler }: Pick<Service, 'reconciler'>) => reconciler.state().report[0];

/** Another process over what that one left. */
function restarted(fleet: Simulation, clock: ServicePorts['clock'] = fleet.clock): Service {
  const { git, store, keys } = fleet;
  return createService({ git, store, keys, clock, randomHex: () => '0'.repeat(32) });
}

test('a soak goes on over a restart, and begins anew where nobody watched for longer than ten minutes', async () => {
  const fleet = await soaking();
  const ends = reportOf(fleet.service)?.until;
  expect(ends).toBeDefined();

  fleet.clock.advance(5 * MINUTE);
  const soon = restarted(fleet);
  await soon.reconciler.pass();
  expect(reportOf(soon)?.until).toBe(ends);

  fleet.clock.advance(HOUR);
  const late = restarted(fleet);
  await late.reconciler.pass();
  expect(reportOf(late)?.until).toBe(fleet.clock.now() + 6 * HOUR);
});

test('while the clock is doubted nothing opens, status and readyz say why, and soaks begin anew when it was set', async () => {
  const fleet = await soaking();
  let elapsed = 0;
  let jump = 0;
  const steady = steadyClock({
    wall: () => fleet.clock.now() + jump,
    elapsed: () => elapsed,
    sleep: fleet.clock.sleep,
  });
  const service = restarted(fleet, steady);
  const pass = async (duration: number) => {
    fleet.clock.advance(duration);
    elapsed += duration;
    while ((await service.reconciler.pass()).again);
  };
  const ask = async (path: string) => await (await service.app.request(path)).json();
  await pass(MINUTE);
  const before = reportOf(service)?.until;

  jump = 72 * HOUR;
  await pass(MINUTE);
  expect(await ask('/api/status')).toMatchObject({
    held: expect.stringContaining('the clock jumped ahead by 3d'),
  });
  expect(await ask('/readyz')).toMatchObject({
    status: 'ready',
    warnings: ['nothing opens: the clock jumped and is doubted for ten minutes'],
  });
  expect(reportOf(service)).toMatchObject({ stage: 'canary', until: before });
  const canary = fleet.devices.find((device) => device.runs() !== undefined);
  const client = await createDirectClient(service, { id: canary?.id as DeviceId, tags: {} });
  expect(await client.poll()).toMatchObject({ kind: 'assigned' });

  await pass(9 * MINUTE);
  await pass(2 * MINUTE);
  expect(service.reconciler.state().held).toBeUndefined();
  expect(reportOf(service)).toMatchObject({ stage: 'canary', until: steady.now() + 6 * HOUR });
});
