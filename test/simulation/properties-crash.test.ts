/**
 * Rolling a release back takes a few passes, and each may be cut off, or overtaken by a commit, before any of its calls
 * of git and the store. Every one of these moments is tried.
 */
import { expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { type Chaos, createChaos, InjectedFault, wishFiles } from './chaos.ts';
import { FLEET } from './fleet-files.ts';
import { createPromises, desiredVersion } from './promises.ts';

const WISH = { stages: 0, condition: 0, priority: 10, suspend: false, onFailure: 'ladder' } as const;
/** More calls than these passes make: the last try goes through undisturbed. */
const CALLS_MAX = 400;

/** A fleet of which the next pass will see that 1.1.0-bad failed at its canary. */
async function aboutToRollBack(): Promise<{ readonly chaos: Chaos; readonly check: () => Promise<void> }> {
  const chaos: Chaos = await createChaos({
    seed: 'crash',
    onPoll: (...polled) => promises.onPoll(...polled),
  });
  const promises = createPromises(() => chaos);
  await chaos.commit('First release', {
    'fleet/fleet.yaml': FLEET,
    ...wishFiles('kiosk', { ...WISH, version: '1.0.0' }),
  });
  await chaos.settle();
  const tags = { product: 'kiosk' };
  await chaos.enrol(...['a', 'b', 'c'].map((id) => ({ id: id as DeviceId, tags })));
  await chaos.advance(2);
  await chaos.commit('Bad release', wishFiles('kiosk', { ...WISH, version: '1.1.0-bad' }));
  await chaos.settle();
  for (let steps = 0; steps < 2; steps++) {
    chaos.clock.advance(600_000);
    for (const { device } of chaos.devices) await device.step();
  }
  await promises.afterwards();
  return { chaos, check: () => promises.afterwards() };
}

const versions = (chaos: Chaos) => chaos.devices.map(({ device }) => device.runs()?.version);

test('passes that are cut off before any of their calls are made up for by the next', {
  timeout: 120_000,
}, async () => {
  let cuts = 0;
  for (let calls = 1; calls <= CALLS_MAX; calls++) {
    const { chaos, check } = await aboutToRollBack();
    let met = false;
    await chaos.disturb(calls, async () => {
      met = true;
      throw new InjectedFault('the disk is away');
    });
    if (!met) break;
    cuts = calls;
    if (calls % 2 === 0) await chaos.restart();
    await chaos.advance(1);
    await check();
    expect(versions(chaos)).toEqual(['1.0.0', '1.0.0', '1.0.0']);
    expect(await desiredVersion(chaos, 'kiosk')).toBe('1.0.0');
  }
  expect(cuts).toBeGreaterThan(40);
  expect(cuts).toBeLessThan(CALLS_MAX);
});

test('a commit that overtakes the passes at any call is never undone with what failed', {
  timeout: 120_000,
}, async () => {
  let overtaken = 0;
  for (let calls = 1; calls <= CALLS_MAX; calls++) {
    const { chaos, check } = await aboutToRollBack();
    let committed = false;
    await chaos.disturb(calls, async () => {
      committed = true;
      await chaos.commit('Next release', wishFiles('kiosk', { ...WISH, version: '1.2.0' }));
    });
    if (!committed) break;
    overtaken = calls;
    await chaos.settle();
    await check();
    expect(await desiredVersion(chaos, 'kiosk')).toBe('1.2.0');
    await chaos.advance(3);
    await check();
    expect(versions(chaos)).toEqual(['1.2.0', '1.2.0', '1.2.0']);
  }
  expect(overtaken).toBeGreaterThan(40);
  expect(overtaken).toBeLessThan(CALLS_MAX);
});
