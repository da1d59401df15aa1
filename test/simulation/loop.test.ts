import { expect, test } from 'vitest';
import type { RolloutName } from '../../src/core/model/ids.ts';
import { HOUR } from '../../src/core/model/time.ts';
import { createSimulation, identities } from '../../src/simulate/simulation.ts';
import { FLEET, kiosk, rollout, WORLD } from './fleet-files.ts';

test('a release becomes known-good, the next one follows in stages, a bad one is reverted', async () => {
  const fleet = await createSimulation({
    startAt: Date.UTC(2026, 0, 1),
    seed: 'loop',
    world: WORLD,
    wire: 'http',
  });
  await fleet.commit('First release', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') });
  await fleet.settle();
  await fleet.enrol(...identities(10, () => ({ product: 'kiosk' })));
  await fleet.advance(4 * HOUR);
  const attempts = () => fleet.service.reconciler.state().outcomes.get('kiosk' as RolloutName) ?? [];
  expect(attempts().map((each) => each.state)).toEqual(['succeeded']);

  await fleet.commit('Second release', { ...kiosk('1.1.0'), ...rollout('1.1.0') });
  await fleet.advance(4 * HOUR);
  expect(attempts().map((each) => each.state)).toEqual(['succeeded', 'succeeded']);
  expect(attempts()[1]?.stages.map((stage) => stage.devices)).toEqual([2, 3, 5]);

  await fleet.commit('Third release', { ...kiosk('1.2.0-bad'), ...rollout('1.2.0-bad') });
  await fleet.advance(4 * HOUR);
  expect(attempts().map((each) => each.state)).toEqual(['succeeded', 'succeeded', 'rolledBack']);
  expect(attempts()[2]?.stages).toHaveLength(1);
  expect(fleet.service.reconciler.state().wanted?.desired?.snapshot).toBe(attempts()[1]?.snapshot);
  expect(fleet.devices.map((device) => device.runs()?.version)).toEqual(new Array(10).fill('1.1.0'));
});
