import { expect, test } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { createService } from '../../src/service.ts';
import { createSimulation, identities } from '../../src/simulate/simulation.ts';
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
