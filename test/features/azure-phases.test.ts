/** Azure IoT Edge: a deployment phase by phase, and the ways back from one, by priorities and conditions alone. */
import { expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { acceptAssignment, type TrustedFiles } from '../../src/verify/index.ts';
import {
  deviceList,
  distributionSet,
  FLEET,
  rollout,
  type SpokenDevice,
  type WatchedFleet,
  watchFleet,
} from './watched-fleet.ts';

const PROD = "tags.environment = 'prod'";

/** `<name>-1` to `<name>-<count>`. */
async function joinMany(fleet: WatchedFleet, name: string, count: number, tags: Record<string, string>) {
  const devices: SpokenDevice[] = [];
  for (let n = 1; n <= count; n++) devices.push(await fleet.join(`${name}-${n}`, tags));
  await fleet.simulation.settle();
  return devices;
}

async function obeyAll(fleet: WatchedFleet, devices: readonly SpokenDevice[]): Promise<void> {
  for (const device of devices) await device.obey();
  await fleet.tick();
}

/** Who is given what, over the wire: ids by distribution set. */
async function given(devices: readonly SpokenDevice[]): Promise<Readonly<Record<string, readonly string[]>>> {
  const sets: Record<string, string[]> = {};
  for (const device of devices) {
    const set = (await device.poll())?.manifest.distributionSet ?? 'nothing';
    sets[set] = [...(sets[set] ?? []), device.id];
  }
  return sets;
}

const idsOf = (devices: readonly SpokenDevice[]) => devices.map(({ id }) => id);

test.each([
  { prod: 8, tests: 2, first: 3 },
  { prod: 5, tests: 3, first: 1 },
])(
  'S3.40 from $tests test devices over $first of $prod to all, step by step',
  async ({ prod, tests, first }) => {
    const fleet = await watchFleet(`S3.40 ${prod}`);
    const next = (targetCondition: string, priority: number) =>
      rollout('2.0.0', { targetCondition, priority }, { name: 'next' });
    const statusOf = async (name: string) => {
      const { target, actual, healthy, unknown } = (await fleet.rollout(name)).devices;
      return { target, actual, healthy, unknown };
    };
    await fleet.commit(
      'What production runs',
      FLEET,
      distributionSet('edge', '1.0.0'),
      rollout('1.0.0', { targetCondition: PROD, priority: 10 }, { name: 'current' }),
    );
    const production = await joinMany(fleet, 'prod', prod, { environment: 'prod' });
    await obeyAll(fleet, production);

    // 1. A test environment: devices that only their tag tells from others.
    const bench = await joinMany(fleet, 'bench', tests, {});
    const benchTags = bench.map(({ id }) => ({ id, tags: { environment: 'test' } }));
    await fleet.commit('Set up a test environment', deviceList(...benchTags));
    const all = [...production, ...bench];
    expect(await given(all)).toEqual({ 'edge@1.0.0': idsOf(production), nothing: idsOf(bench) });

    // 2. The new deployment, for the test environment.
    await fleet.commit(
      'Try it on benches',
      distributionSet('edge', '2.0.0'),
      next("tags.environment = 'test'", 5),
    );
    expect(await given(all)).toEqual({ 'edge@1.0.0': idsOf(production), 'edge@2.0.0': idsOf(bench) });

    // 3. Validate it there.
    expect(await statusOf('next')).toEqual({ target: tests, actual: tests, healthy: 0, unknown: tests });
    await obeyAll(fleet, bench);
    expect(await statusOf('next')).toEqual({ target: tests, actual: tests, healthy: tests, unknown: 0 });
    expect((await fleet.rollout('next')).state).toBe('succeeded');

    // 4. Widen it by a tag. At its old priority production would go on winning there.
    const [wave, rest] = [production.slice(0, first), production.slice(first)];
    const waveTags = wave.map(({ id }) => ({ id, tags: { wave: 'first' } }));
    const widened = "tags.environment = 'test' OR tags.wave = 'first'";
    await fleet.commit('Widen', deviceList(...benchTags, ...waveTags), next(widened, 5));
    expect(await given(all)).toEqual({ 'edge@1.0.0': idsOf(production), 'edge@2.0.0': idsOf(bench) });
    await fleet.commit('Above what is there', next(widened, 20));
    expect(await given(all)).toEqual({ 'edge@1.0.0': idsOf(rest), 'edge@2.0.0': idsOf([...wave, ...bench]) });

    // 5. Verify by its status.
    const reached = tests + first;
    expect(await statusOf('next')).toEqual({
      target: reached,
      actual: reached,
      healthy: tests,
      unknown: first,
    });
    await obeyAll(fleet, wave);
    expect(await statusOf('next')).toEqual({
      target: reached,
      actual: reached,
      healthy: reached,
      unknown: 0,
    });
    expect(await statusOf('current')).toMatchObject({ target: prod, actual: prod - first });

    // 6. All that are left.
    await fleet.commit('Everyone', next(`tags.environment = 'test' OR ${PROD}`, 20));
    expect(await given(all)).toEqual({ 'edge@2.0.0': idsOf(all) });
    await obeyAll(fleet, rest);
    expect(await statusOf('next')).toEqual({
      target: prod + tests,
      actual: prod + tests,
      healthy: prod + tests,
      unknown: 0,
    });
    expect(await statusOf('current')).toMatchObject({ target: prod, actual: 0 });
  },
);

/** Two deployments for the same devices: `below` runs nowhere, because `edge` is above it and succeeded. */
async function twoDeployments(seed: string, below: Parameters<typeof distributionSet>[2], count: number) {
  const fleet = await watchFleet(seed);
  await fleet.commit(
    'Two deployments',
    FLEET,
    distributionSet('edge', '1.0.0', below),
    distributionSet('edge', '2.0.0'),
    rollout('1.0.0', { targetCondition: PROD, priority: 1 }, { name: 'below' }),
    rollout('2.0.0', { targetCondition: PROD, priority: 20 }),
  );
  const devices = await joinMany(fleet, 'prod', count, { environment: 'prod' });
  await obeyAll(fleet, devices);
  expect(await given(devices)).toEqual({ 'edge@2.0.0': idsOf(devices) });
  return { fleet, devices };
}

test.each([
  { count: 6, how: 'is removed' },
  { count: 4, how: 'gets another condition' },
])(
  'S3.43 the upper of two deployments on $count devices $how, and they have the status of the second',
  async ({ count, how }) => {
    const { fleet, devices } = await twoDeployments(`S3.43 ${how}`, {}, count);

    // Confirm that there is a second one on the same devices, below the first.
    expect((await fleet.rollout('below')).devices).toMatchObject({ target: count, actual: 0 });
    for (const { id, assignment } of await fleet.devices('rollout=below')) {
      expect([id, assignment?.rollout]).toEqual([id, 'edge']);
    }
    expect((await fleet.devices('rollout=below')).map(({ id }) => id)).toEqual(idsOf(devices));

    await fleet.commit(
      'Take the first one back',
      how === 'is removed'
        ? { 'fleet/rollouts/edge.yaml': null }
        : rollout('2.0.0', { targetCondition: "tags.environment = 'none'", priority: 20 }),
    );
    expect(await given(devices)).toEqual({ 'edge@1.0.0': idsOf(devices) });

    // The one that was taken back says nothing of these devices any more; the second does.
    if (how === 'is removed') {
      expect((await fleet.status()).rollouts.map(({ name }) => name)).toEqual(['below']);
    } else {
      expect(await fleet.devices('rollout=edge')).toEqual([]);
      const none = { target: 0, actual: 0, healthy: 0, unhealthy: 0, unknown: 0 };
      expect((await fleet.rollout('edge')).devices).toMatchObject(none);
    }
    const pending = { target: count, actual: count, healthy: 0, unknown: count };
    expect((await fleet.rollout('below')).devices).toMatchObject(pending);
    await obeyAll(fleet, devices);
    expect((await fleet.rollout('below')).devices).toMatchObject({ ...pending, healthy: count, unknown: 0 });
    for (const { id } of devices) {
      const { assignment, explanation } = await fleet.device(id);
      expect(assignment).toMatchObject({ rollout: 'below', distributionSet: 'edge@1.0.0' });
      expect(explanation.rollouts.map((each) => each.rollout)).toEqual(['below']);
    }
  },
);

test('S3.44 a second deployment without modules takes all of them away: an empty list, signed and listed, and no 404', async () => {
  const { fleet, devices } = await twoDeployments('S3.44', { modules: [] }, 3);
  await fleet.commit('Remove all modules', { 'fleet/rollouts/edge.yaml': null });
  const { problems } = await fleet.status();
  expect(problems.filter(({ rule }) => rule !== 'one-stage')).toEqual([]);

  for (const device of devices) {
    expect((await device.poll())?.manifest).toEqual({
      distributionSet: 'edge@1.0.0',
      product: 'edge',
      version: '1.0.0',
      modules: [],
    });
    const answer = await device.fetchManifest();
    expect(answer.status).toBe(200);
    expect(await accept(fleet, device.id, await answer.text())).toMatchObject({
      kind: 'ok',
      assignment: { assigned: { manifest: { modules: [] } } },
      artifacts: [],
    });
  }
  await obeyAll(fleet, devices);
  expect((await fleet.rollout('below')).state).toBe('succeeded');
  expect((await fleet.rollout('below')).devices).toMatchObject({ target: 3, healthy: 3 });
  const outcomes = await fleet.outcomes('below');
  expect(outcomes.at(-1)?.spec.manifest.modules).toEqual([]);
});

/** As a device judges what it is given: by its signature and by the TUF repository. */
async function accept({ simulation }: WatchedFleet, id: string, jws: string) {
  const { service, clock } = simulation;
  const read = async (path: string) => {
    const response = await service.app.request(`/tuf/${path}`);
    return response.status === 404 ? undefined : new Uint8Array(await response.arrayBuffer());
  };
  const root = new TextDecoder().decode(await read('metadata/1.root.json'));
  const files: TrustedFiles = { root, roles: {} };
  const view = {
    device: id as DeviceId,
    fleet: 'test-fleet',
    lastGeneration: 0,
    floors: { securityEpoch: 0 },
  };
  const ports = { fetch: read, keep: async () => undefined, now: clock.now() };
  const { acceptance } = await acceptAssignment(jws, view, { files, ports });
  return acceptance;
}
