/** Azure IoT Edge: the status categories of a deployment, counted from what devices say, and their algebra. */
import { expect, test } from 'vitest';
import type { RolloutStatus } from '../../src/core/status.ts';
import { identities } from '../../src/simulate/simulation.ts';
import {
  deviceList,
  distributionSet,
  FLEET,
  type ListedDevice,
  release,
  rollout,
  type SpokenDevice,
  type WatchedFleet,
  watchFleet,
} from './watched-fleet.ts';

async function joinMany(fleet: WatchedFleet, count: number, tagsOf: (n: number) => Record<string, string>) {
  const devices: SpokenDevice[] = [];
  for (let n = 1; n <= count; n++) {
    devices.push(await fleet.join(`linux${String(n).padStart(2, '0')}`, tagsOf(n)));
  }
  await fleet.simulation.settle();
  return devices;
}

/** The four numbers of Azure's worked example: pending is what of the actual devices is neither of the two. */
async function fourNumbers(fleet: WatchedFleet, name = 'edge') {
  const { target, actual, healthy, unhealthy } = (await fleet.rollout(name)).devices;
  return { total: target, success: healthy, failure: unhealthy, pending: actual - healthy - unhealthy };
}

async function fail(device: SpokenDevice, category: string, message: string, running?: true) {
  const assigned = await device.poll();
  if (assigned === undefined) throw new Error(`${device.id} was given nothing`);
  const { revision } = assigned;
  await device.report({
    ...(running && { running: revision }),
    attempt: { revision, state: 'failed', category, message },
    signals: { healthy: true },
  });
}

test('S3.6 a report changes the status with the next pass', async () => {
  const fleet = await watchFleet('S3.6');
  await fleet.commit('Everyone', FLEET, release('1.0.0', { errorThreshold: 2 }));
  const [device] = await joinMany(fleet, 2, () => ({ environment: 'prod' }));
  expect(await fourNumbers(fleet)).toEqual({ total: 2, success: 0, failure: 0, pending: 2 });
  expect((await fleet.device('linux01')).status).toBe('unknown');
  await device?.obey();
  await fleet.simulation.settle();
  expect(await fourNumbers(fleet)).toEqual({ total: 2, success: 1, failure: 0, pending: 1 });
  expect((await fleet.device('linux01')).status).toBe('inSync');
  await device?.obey({ healthy: false });
  await fleet.simulation.settle();
  expect(await fourNumbers(fleet)).toEqual({ total: 2, success: 0, failure: 1, pending: 1 });
  expect((await fleet.device('linux01')).status).toBe('error');
});

test.each(['rollout under way', 'finished rollout'])(
  'S3.7 a module that fails at runtime is named: %s',
  async (when) => {
    const fleet = await watchFleet(`S3.7 ${when}`);
    await fleet.commit('Everyone', FLEET, release('1.0.0', { errorThreshold: 2 }));
    const [first, second] = await joinMany(fleet, 2, () => ({ environment: 'prod' }));
    await first?.obey();
    if (when === 'finished rollout') await second?.obey();
    await fleet.tick();
    expect((await fleet.rollout()).state).toBe(when === 'finished rollout' ? 'succeeded' : 'running');
    if (first !== undefined) await fail(first, 'module.failed', 'module telemetry exited with 137', true);
    await fleet.simulation.settle();

    expect((await fleet.rollout()).devices).toMatchObject({ unhealthy: 1 });
    const failed = await fleet.device('linux01');
    expect(failed.status).toBe('error');
    expect(failed.report?.attempt).toMatchObject({ category: 'module.failed' });
    expect(failed.explanation.rollouts[0]?.reason).toContain(
      'module.failed: module telemetry exited with 137',
    );
    expect((await fleet.device('linux02')).explanation.rollouts[0]?.reason).not.toContain('module.failed');
  },
);

test.each([
  { prod: 10, tagged: 5 },
  { prod: 7, tagged: 3 },
])('S3.17 $prod devices succeed, $tagged more are tagged and are pending', async ({ prod, tagged }) => {
  const fleet = await watchFleet(`S3.17 ${prod}`);
  await fleet.commit('Production', FLEET, release('1.0.0'));
  const devices = await joinMany(fleet, prod + tagged, (n) => ({ environment: n <= prod ? 'prod' : 'test' }));
  for (const device of devices.slice(0, prod)) await device.obey();
  await fleet.tick();
  expect(await fourNumbers(fleet)).toEqual({ total: prod, success: prod, failure: 0, pending: 0 });

  const overrides = devices.slice(prod).map(({ id }) => ({ id, tags: { environment: 'prod' } }));
  await fleet.commit('More', deviceList(...overrides));
  expect(await fourNumbers(fleet)).toEqual({
    total: prod + tagged,
    success: prod,
    failure: 0,
    pending: tagged,
  });

  // Pending is no end: they are offered it, and take it.
  for (const device of devices.slice(prod)) await device.obey();
  await fleet.simulation.settle();
  expect(await fourNumbers(fleet)).toEqual({
    total: prod + tagged,
    success: prod + tagged,
    failure: 0,
    pending: 0,
  });
});

test.each([
  { matching: 10, others: 4 },
  { matching: 3, others: 9 },
])(
  'S3.34 target counts the $matching devices that match, and not the $others others',
  async ({ matching, others }) => {
    const fleet = await watchFleet(`S3.34 ${matching}`);
    await fleet.commit('Production', FLEET, release('1.0.0'));
    await joinMany(fleet, matching + others, (n) => ({ environment: n <= matching ? 'prod' : 'test' }));
    expect((await fleet.rollout()).devices.target).toBe(matching);
    expect((await fleet.status()).devices.total).toBe(matching + others);
  },
);

test.each([
  { targeted: 10, shadowed: 3, actual: 7 },
  { targeted: 6, shadowed: 5, actual: 1 },
])(
  'S3.35 of $targeted targeted devices $shadowed are taken by priority: $actual are actual',
  async (given) => {
    const fleet = await watchFleet(`S3.35 ${given.targeted}`);
    await fleet.commit(
      'Two deployments',
      FLEET,
      release('1.0.0', { priority: 1 }),
      distributionSet('beta', '2.0.0'),
      rollout(
        '',
        { distributionSet: 'beta@2.0.0', priority: 2, targetCondition: "tags.ring = 'beta'" },
        { name: 'beta' },
      ),
    );
    await joinMany(fleet, given.targeted, (n) => ({
      environment: 'prod',
      ring: n <= given.shadowed ? 'beta' : 'stable',
    }));
    expect((await fleet.rollout()).devices).toMatchObject({ target: given.targeted, actual: given.actual });
    expect((await fleet.rollout('beta')).devices).toMatchObject({
      target: given.shadowed,
      actual: given.shadowed,
    });
  },
);

test.each([
  { healthy: 4, failures: { 'install.disk-full': 2, 'module.failed': 1 }, silent: 3 },
  { healthy: 1, failures: { 'module.failed': 3, 'install.disk-full': 1 }, silent: 2 },
])('S3.36 S3.37 S3.38 $healthy healthy, those that fail with reasons, $silent unknown', async (given) => {
  const { healthy, failures, silent } = given;
  const categories = Object.entries(failures).flatMap(([category, count]) => Array(count).fill(category));
  const fleet = await watchFleet(`S3.36 ${healthy}`);
  const total = healthy + categories.length + silent;
  await fleet.commit('Everyone', FLEET, release('1.0.0', { errorThreshold: total }));
  const devices = await joinMany(fleet, total, () => ({ environment: 'prod' }));
  for (const device of devices.slice(0, healthy)) await device.obey();
  for (const [at, category] of categories.entries()) {
    const device = devices[healthy + at];
    if (device !== undefined) await fail(device, category, 'modules telemetry and filter were not deployed');
  }
  await fleet.simulation.settle();
  const { devices: counts, stages } = await fleet.rollout();
  expect(counts).toMatchObject({ healthy, unhealthy: categories.length, unknown: silent });
  expect(stages[0]?.failures).toEqual(
    Object.entries(failures).map(([category, count]) => ({ category, devices: count })),
  );
  const unhealthy = await fleet.devices('status=error');
  expect(unhealthy.map(({ id }) => id)).toEqual(
    devices.slice(healthy, healthy + categories.length).map(({ id }) => id),
  );
  for (const { id } of unhealthy) {
    expect((await fleet.device(id)).explanation.rollouts[0]?.reason).toContain('telemetry and filter');
  }
});

test('S3.38 what a device said of another deployment is no report for this one', async () => {
  const fleet = await watchFleet('S3.38');
  await fleet.commit('First', FLEET, release('1.0.0'));
  const devices = await joinMany(fleet, 3, () => ({ environment: 'prod' }));
  for (const device of devices) await device.obey();
  await fleet.tick();
  expect((await fleet.rollout()).devices).toMatchObject({ healthy: 3, unknown: 0 });
  await fleet.commit('Second', release('1.1.0'));
  expect((await fleet.rollout()).devices).toMatchObject({ healthy: 0, unhealthy: 0, unknown: 3 });
});

/** The sets behind a rollout's categories, told from the list of its devices and who assigns to each. */
function categoriesOf(
  targeted: readonly ListedDevice[],
  { name, priority }: RolloutStatus,
  priorities: Map<string, number>,
) {
  const actual = targeted.filter(({ assignment }) => {
    const winner = assignment?.rollout;
    return winner === undefined || winner === name || (priorities.get(winner) ?? 0) < priority;
  });
  const own = actual.filter(({ assignment }) => assignment?.rollout === name);
  const healthy = own.filter(({ status }) => status === 'inSync');
  const unhealthy = own.filter(({ status }) => status === 'error');
  return {
    target: targeted.length,
    actual: actual.length,
    healthy: healthy.length,
    unhealthy: unhealthy.length,
    unknown: actual.length - healthy.length - unhealthy.length,
  };
}

test('S3.39 at every tick the counts are those of the listed devices: target ⊇ actual = healthy ∪ unhealthy ∪ unknown', async () => {
  const stages = [{ name: 'canary', size: 3, soak: '10m' }, { name: 'batch', size: '50%' }, { fleet: 'all' }];
  const fleet = await watchFleet('S3.39', {
    world: {
      // Some of these installs fail, and one beta is unhealthy wherever it runs.
      install: ({ id }, { version }) =>
        version.endsWith('-flaky') && Number(id.slice(-1)) % 3 === 0
          ? { takesMs: 0, failure: { category: 'install.checksum' } }
          : { takesMs: 0 },
      signals: (_device, manifest) => ({
        healthy: manifest?.product !== 'beta' || manifest.version !== '2.1.0',
      }),
    },
  });
  const beta = (version: string) => ({
    ...distributionSet('beta', version),
    ...rollout(
      '',
      {
        distributionSet: `beta@${version}`,
        targetCondition: "tags.ring = 'beta'",
        priority: 20,
        stages,
        onFailure: 'pause',
      },
      { name: 'beta' },
    ),
  });
  await fleet.commit('First', FLEET, release('1.0.0', { stages }), beta('2.0.0'));
  await fleet.simulation.enrol(
    ...identities(24, (n) => ({
      environment: n % 4 === 0 ? 'test' : 'prod',
      ring: n % 5 === 0 ? 'beta' : 'stable',
    })),
  );
  const retag = (...entries: { n: number; tags?: Record<string, string>; retired?: boolean }[]) =>
    deviceList(...entries.map(({ n, ...rest }) => ({ id: `device-${String(n).padStart(6, '0')}`, ...rest })));
  const happenings: Record<number, () => Promise<unknown>> = {
    10: () => fleet.commit('Flaky', release('1.1.0-flaky', { stages, errorThreshold: 3 })),
    14: () =>
      fleet.commit('Retag', retag({ n: 4, tags: { environment: 'prod' } }, { n: 1, tags: { ring: 'beta' } })),
    18: () => fleet.commit('Retire', retag({ n: 4, retired: true }, { n: 7, tags: { environment: 'test' } })),
    22: () => fleet.commit('Sick beta', beta('2.1.0')),
    28: () => fleet.commit('Sound', release('1.2.0', { stages })),
    32: () => fleet.simulation.enrol({ id: 'late' as never, tags: { environment: 'prod' } }),
  };
  const seen = new Set<string>();
  for (let tick = 0; tick < 40; tick++) {
    await happenings[tick]?.();
    await fleet.tick();
    const { rollouts } = await fleet.status();
    const priorities = new Map(rollouts.map((each) => [each.name as string, each.priority]));
    for (const each of rollouts) {
      const { scheduled: _scheduled, ...counts } = each.devices;
      expect(counts, `tick ${tick}`).toEqual(
        categoriesOf(await fleet.devices(`rollout=${each.name}`), each, priorities),
      );
      expect(counts.healthy + counts.unhealthy + counts.unknown).toBe(counts.actual);
      expect(counts.target).toBeGreaterThanOrEqual(counts.actual);
      for (const [category, count] of Object.entries(counts)) if (count > 0) seen.add(category);
      if (counts.target > counts.actual) seen.add('shadowed');
    }
  }
  // Every category had members, so nothing held for want of them.
  expect([...seen].sort()).toEqual(['actual', 'healthy', 'shadowed', 'target', 'unhealthy', 'unknown']);
});
