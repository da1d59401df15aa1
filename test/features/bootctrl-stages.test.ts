/** BootCtrl: canary → batch → fleet by site, holding before expansion, and stopping when health regresses. */
import { expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { formatInstant, HOUR, MINUTE } from '../../src/core/model/time.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { FLEET, type ListedDevice, release, TICK, type WatchedFleet, watchFleet } from './watched-fleet.ts';

const PROD = { environment: 'prod' };

/** Ticks until `isDue`, so that a test goes on from a moment and not from a number. */
async function tickUntil(fleet: WatchedFleet, isDue: () => Promise<boolean>): Promise<void> {
  for (let ticks = 0; ticks < 200; ticks++) {
    if (await isDue()) return;
    await fleet.tick();
  }
  throw new Error(`nothing came of it: ${JSON.stringify((await fleet.rollout()).reason)}`);
}

/** A fleet whose every device runs 1.0.0, known to be good. */
async function settledFleet(seed: string, devices: number, sick: ReadonlySet<DeviceId> = new Set()) {
  const fleet = await watchFleet(seed, {
    world: { signals: ({ id }, manifest) => ({ healthy: manifest?.version !== '1.1.0' || !sick.has(id) }) },
  });
  await fleet.commit('First', FLEET, release('1.0.0'));
  await fleet.simulation.enrol(...identities(devices, () => PROD));
  await tickUntil(fleet, async () => (await fleet.rollout()).state === 'succeeded');
  return fleet;
}

async function stateOf(fleet: WatchedFleet, stage: number): Promise<string | undefined> {
  return (await fleet.rollout()).stages[stage]?.state;
}

function idsGiven(devices: readonly ListedDevice[], version: string): readonly string[] {
  return devices
    .filter(({ assignment }) => assignment?.distributionSet === `edge@${version}`)
    .map(({ id }) => id);
}

test.each([
  { name: 'three devices each', sites: 25, sizeOf: () => 3, expected: [1, 10, 14] },
  { name: 'one to five devices', sites: 25, sizeOf: (site: number) => 1 + (site % 5), expected: [1, 10, 14] },
  { name: 'a smaller fleet', sites: 12, sizeOf: () => 2, expected: [1, 10, 1] },
])(
  'S5.8 S5.9 S5.10 $sites sites ($name) enter as $expected, the devices of a site together',
  async (given) => {
    const { sites, sizeOf, expected } = given;
    const fleet = await watchFleet(`S5.8 ${given.name}`);
    const stages = [{ canary: '1 site' }, { batch: '10 sites' }, { fleet: 'all' }];
    await fleet.commit('By site', FLEET, release('1.0.0', { stages }));
    const siteOf = new Map<string, number>();
    for (let site = 0; site < sites; site++) {
      for (let n = 0; n < sizeOf(site); n++) siteOf.set(`s${site}-d${n}`, site);
    }
    await fleet.simulation.enrol(
      ...[...siteOf].map(([id, site]) => ({ id: id as DeviceId, tags: { ...PROD, site: `site-${site}` } })),
    );
    await fleet.simulation.settle();

    const entered: number[] = [];
    const before = new Set<number>();
    for (let stage = 0; stage < 3; stage++) {
      // Offers are looked at as they are when the stage has opened.
      const offered = idsGiven(await fleet.devices(), '1.0.0');
      const inside = new Set(offered.map((id) => siteOf.get(id) ?? -1));
      const whole = [...siteOf].filter(([, site]) => inside.has(site)).map(([id]) => id);
      expect([...offered].sort()).toEqual(whole.sort());
      const fresh = [...inside].filter((site) => !before.has(site));
      expect((await fleet.rollout()).stages[stage]?.devices).toBe(
        fresh.reduce((sum, site) => sum + sizeOf(site), 0),
      );
      entered.push(fresh.length);
      for (const site of inside) before.add(site);
      await tickUntil(fleet, async () => (await stateOf(fleet, stage)) === 'passed');
    }
    expect(entered).toEqual(expected);
    expect(await fleet.rollout()).toMatchObject({ state: 'succeeded', devices: { healthy: siteOf.size } });
  },
);

test.each([
  { batch: 4, newcomers: 3 },
  { batch: 6, newcomers: 1 },
])(
  'S5.16 after a regression in a batch of $batch nobody is offered it any more',
  async ({ batch, newcomers }) => {
    const sick = new Set<DeviceId>();
    const fleet = await settledFleet(`S5.16 ${batch}`, 12, sick);
    const stages = [
      { name: 'canary', size: 2 },
      { name: 'batch', size: batch, soak: '1h' },
      { fleet: 'all' },
    ];
    await fleet.commit('Second', release('1.1.0', { stages, onFailure: 'pause' }));
    await tickUntil(fleet, async () => (await stateOf(fleet, 1)) === 'running');
    await fleet.tick();
    const admitted = idsGiven(await fleet.devices(), '1.1.0');
    expect(admitted).toHaveLength(2 + batch);

    for (const { id } of fleet.simulation.devices) sick.add(id);
    await tickUntil(fleet, async () => (await fleet.rollout()).state === 'paused');
    await fleet.simulation.enrol(
      ...Array.from({ length: newcomers }, (_, n) => ({ id: `late-${n}` as DeviceId, tags: PROD })),
    );
    await fleet.simulation.advance(6 * HOUR, TICK);
    expect(await fleet.rollout()).toMatchObject({
      state: 'paused',
      stages: [{}, {}, { state: 'scheduled' }],
    });
    const running = fleet.simulation.devices.filter((device) => device.runs()?.version === '1.1.0');
    expect(running.map(({ id }) => id)).toEqual(admitted);
    expect(idsGiven(await fleet.devices(), '1.1.0')).toEqual(admitted);
    expect(idsGiven(await fleet.devices(), '1.0.0')).toHaveLength(12 + newcomers - admitted.length);
  },
);

test.each([
  { devices: 12, ramp: '5h' },
  { devices: 30, ramp: '3h' },
])(
  'S5.16 a regression stops a ramp of $ramp over $devices devices where it is',
  async ({ devices, ramp }) => {
    const sick = new Set<DeviceId>();
    const fleet = await settledFleet(`S5.16 ramp ${ramp}`, devices, sick);
    const stages = [{ name: 'fleet', size: 'all', ramp, errorThreshold: 1 }];
    await fleet.commit('Second', release('1.1.0', { stages, onFailure: 'pause' }));
    await fleet.simulation.advance(HOUR, TICK);
    const admitted = idsGiven(await fleet.devices(), '1.1.0');
    expect(admitted.length).toBeGreaterThan(0);
    expect(admitted.length).toBeLessThan(devices / 2);

    for (const { id } of fleet.simulation.devices) sick.add(id);
    await tickUntil(fleet, async () => (await fleet.rollout()).state === 'paused');
    const stopped = idsGiven(await fleet.devices(), '1.1.0');
    await fleet.simulation.advance(6 * HOUR, TICK);
    expect(idsGiven(await fleet.devices(), '1.1.0')).toEqual(stopped);
    expect(stopped.length).toBeLessThan(devices / 2);
  },
);

test.each([
  { threshold: 2, onFailure: 'pause', state: 'paused' },
  { threshold: 3, onFailure: 'rollback', state: 'rolledBack' },
])(
  'S5.17 health that turns false mid-stage on $threshold devices: $state',
  async ({ threshold, onFailure, state }) => {
    const sick = new Set<DeviceId>();
    const fleet = await settledFleet(`S5.17 ${threshold}`, 10, sick);
    const stages = [
      { name: 'canary', size: 5, soak: '6h', successThreshold: 1, errorThreshold: threshold },
      { fleet: 'all' },
    ];
    await fleet.commit('Second', release('1.1.0', { stages, onFailure }));
    await tickUntil(fleet, async () => (await fleet.rollout()).stages[0]?.counts.succeeded === 5);

    const canary = fleet.simulation.devices.filter((device) => device.runs()?.version === '1.1.0');
    for (const { id } of canary.slice(0, threshold - 1)) sick.add(id);
    await fleet.tick();
    // One report short of the threshold, and one recovers: green again is counted again.
    expect(await fleet.rollout()).toMatchObject({
      state: 'running',
      stages: [{ counts: { failed: threshold - 1 } }, {}],
    });
    sick.clear();
    await fleet.tick();
    expect(await fleet.rollout()).toMatchObject({
      state: 'running',
      stages: [{ counts: { succeeded: 5 } }, {}],
    });

    for (const { id } of canary.slice(0, threshold)) sick.add(id);
    await fleet.tick();
    const stopped = await fleet.rollout();
    expect(stopped).toMatchObject({ state, cause: 'errorThreshold' });
    expect(stopped.stages[0]?.state).toBe('failed');
    expect(stopped.stages[0]?.verdict).toMatchObject({
      verdict: 'halt',
      gates: [{ name: 'health', holds: 5 - threshold, fails: threshold }],
      failures: [{ category: 'gate.health', devices: threshold }],
    });
  },
);

test.each([
  { soak: '1h', soakMs: HOUR },
  { soak: '2h30m', soakMs: 150 * MINUTE },
])('S5.18 with every gate green the next stage still waits for $soak', async ({ soak, soakMs }) => {
  const fleet = await settledFleet(`S5.18 ${soak}`, 6);
  await fleet.commit(
    'Second',
    release('1.1.0', { stages: [{ name: 'canary', size: 2, soak }, { fleet: 'all' }] }),
  );
  await tickUntil(fleet, async () => (await fleet.rollout()).stages[0]?.counts.succeeded === 2);
  const greenAt = fleet.simulation.clock.now();
  while (fleet.simulation.clock.now() < greenAt + soakMs - TICK) {
    await fleet.tick();
    const held = await fleet.rollout();
    expect(held).toMatchObject({ state: 'running', stages: [{ state: 'running' }, { state: 'scheduled' }] });
    expect(held.reason).toContain(`soaking for ${soak}`);
    expect(idsGiven(await fleet.devices(), '1.1.0')).toHaveLength(2);
  }
  await fleet.tick();
  expect(await fleet.rollout()).toMatchObject({ stages: [{ state: 'passed' }, { state: 'running' }] });
  expect(idsGiven(await fleet.devices(), '1.1.0')).toHaveLength(6);
});

test('S5.18 a soak that is interrupted starts again', async () => {
  const sick = new Set<DeviceId>();
  const fleet = await settledFleet('S5.18 again', 6, sick);
  const canary = { name: 'canary', size: 3, soak: '1h', successThreshold: 3, errorThreshold: 2 };
  await fleet.commit('Second', release('1.1.0', { stages: [canary, { fleet: 'all' }] }));
  await tickUntil(fleet, async () => (await fleet.rollout()).stages[0]?.counts.succeeded === 3);
  await fleet.simulation.advance(30 * MINUTE, TICK);
  const one = fleet.simulation.devices.find((device) => device.runs()?.version === '1.1.0');
  if (one !== undefined) sick.add(one.id);
  await fleet.tick();
  sick.clear();
  await fleet.tick();
  const greenAgainAt = fleet.simulation.clock.now();
  await fleet.simulation.advance(HOUR - TICK, TICK);
  expect(await stateOf(fleet, 0)).toBe('running');
  await fleet.tick();
  expect(await stateOf(fleet, 0)).toBe('passed');
  expect((await fleet.rollout()).stages[0]?.closedAt).toBe(formatInstant(greenAgainAt + HOUR));
});

test('S5.24 a device that runs what nobody gave it is on the drift list, until it runs what it is assigned', async () => {
  const fleet = await watchFleet('S5.24');
  await fleet.commit('First', FLEET, release('1.0.0'));
  const devices = [
    await fleet.join('kept', PROD),
    await fleet.join('moved', PROD),
    await fleet.join('swapped', PROD),
  ];
  await fleet.simulation.settle();
  for (const device of devices) await device.obey();
  await fleet.tick();
  const drifted = async () => (await fleet.devices('status=drifted')).map(({ id }) => id);
  expect(await drifted()).toEqual([]);

  const [, moved, swapped] = devices;
  await moved?.report({ running: `sha256:${'f'.repeat(64)}` as never, signals: { healthy: true } });
  await swapped?.report({ running: `sha256:${'0'.repeat(64)}` as never, signals: { healthy: true } });
  expect(await drifted()).toEqual(['moved', 'swapped']);
  expect((await fleet.status()).devices.status).toMatchObject({ drifted: 2, inSync: 1 });
  expect((await fleet.devices('status=drifted'))[0]?.running).toBe(`sha256:${'f'.repeat(64)}`);

  await moved?.obey();
  expect(await drifted()).toEqual(['swapped']);
  // Being behind is no drift: the next release finds everybody on the one before.
  await swapped?.obey();
  await fleet.commit('Second', release('1.1.0'));
  expect(await drifted()).toEqual([]);
  expect(await fleet.devices('status=pending')).toHaveLength(3);
});
