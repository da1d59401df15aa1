/** The census that the reconciler keeps in the record, over the life of a fleet. */
import { expect, test } from 'vitest';
import { DAY, HOUR, MINUTE } from '../../src/core/model/time.ts';
import { OUTCOMES_BRANCH, readCensus } from '../../src/fleet-repo/outcomes.ts';
import { createSimulation, identities } from '../../src/simulate/simulation.ts';
import { document, fleetFiles } from '../cli/fixture.ts';

const WORLD = {
  install: () => ({ takesMs: 5 * MINUTE }),
  signals: () => ({ runtime_healthy: true }),
};

async function fleetOf(devices: number) {
  const simulation = await createSimulation({
    startAt: Date.UTC(2026, 10, 21, 8),
    seed: 'census',
    world: WORLD,
    wire: 'direct',
  });
  await simulation.commit('Describe the fleet', {
    ...fleetFiles(),
    'fleet/devices/exceptions.yaml': document(
      'DeviceList',
      'exceptions',
      '{devices: [{id: device-000001, retired: true}, {id: device-000002, tags: {region: south}}]}',
    ),
  });
  await simulation.settle();
  const tags = (n: number) => ({ product: 'thermostat', site: `s${n % 4}`, region: 'north' });
  await simulation.enrol(...identities(devices, tags));
  const census = async () => await readCensus(simulation.git, await simulation.git.branch(OUTCOMES_BRANCH));
  const commits = async () => {
    let [at, count] = [await simulation.git.branch(OUTCOMES_BRANCH), 0];
    for (; at !== undefined; count++) at = (await simulation.git.commit(at)).parents[0];
    return count;
  };
  return { simulation, census, commits, tags };
}

test('it is recorded with decisions, counts devices as operators see them, and names none', async () => {
  const { simulation, census } = await fleetOf(20);
  await simulation.advance(3 * HOUR, 10 * MINUTE);
  const found = await census();
  expect(found?.devices).toBe(19);
  expect(found?.cells.filter(({ tags }) => tags['region'] === 'south')).toEqual([
    { tags: { product: 'thermostat', region: 'south', site: 's2' }, devices: 1 },
  ]);
  expect(JSON.stringify(found)).not.toContain('device-0');
});

test('once a day it is recorded alone, and only where devices came, went or changed', async () => {
  const { simulation, census, commits, tags } = await fleetOf(8);
  await simulation.advance(4 * HOUR, 10 * MINUTE);
  const quiet = await commits();
  await simulation.advance(2 * DAY, 10 * MINUTE);
  expect(await commits()).toBe(quiet);
  await simulation.enrol(...identities(11, tags).slice(8));
  await simulation.advance(DAY + HOUR, 10 * MINUTE);
  expect(await commits()).toBe(quiet + 1);
  expect((await census())?.devices).toBe(10);
  const tip = (await simulation.git.branch(OUTCOMES_BRANCH)) ?? '';
  const { message } = await simulation.git.commit(tip);
  expect(message).toMatch(/^census of 10 devices\n\nSnapshot: [0-9a-f]{40}\nDesired-Commit: [0-9a-f]{40}\n/);
  // What follows is decided on top of it.
  await simulation.commit('Release', fleetFiles('2.6.0'));
  await simulation.advance(HOUR, 10 * MINUTE);
  expect(simulation.service.reconciler.state().held).toBeUndefined();
  expect(await commits()).toBeGreaterThan(quiet + 1);
});
