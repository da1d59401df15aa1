/** Azure IoT Edge: who is targeted, from the device's first day to its last, and by which of several deployments. */
import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import {
  deviceList,
  distributionSet,
  FLEET,
  release,
  rollout,
  type SpokenDevice,
  type WatchedFleet,
  watchFleet,
} from './watched-fleet.ts';

/** The distribution set that a device is given, or undefined. */
async function givenTo(device: SpokenDevice): Promise<string | undefined> {
  return (await device.poll())?.manifest.distributionSet;
}

async function joinAll(fleet: WatchedFleet, ids: readonly string[], tags: Record<string, string>) {
  const devices: SpokenDevice[] = [];
  for (const id of ids) devices.push(await fleet.join(id, tags));
  await fleet.simulation.settle();
  return devices;
}

async function idsOf(fleet: WatchedFleet, name = 'edge'): Promise<readonly string[]> {
  return (await fleet.devices(`rollout=${name}`)).map(({ id }) => id);
}

test('S3.1 offers appear with a device file, follow its change, and stop with its removal', async () => {
  const fleet = await watchFleet('S3.1');
  await fleet.commit(
    'Two environments',
    FLEET,
    release('1.0.0'),
    distributionSet('lab', '7.0.0'),
    rollout(
      '',
      { distributionSet: 'lab@7.0.0', targetCondition: "tags.environment = 'lab'" },
      { name: 'lab' },
    ),
  );
  const device = await fleet.join('linux1', {});
  const other = await fleet.join('linux2', { environment: 'prod' });
  await fleet.simulation.settle();
  expect(await givenTo(device)).toBeUndefined();

  await fleet.commit('Provision', deviceList({ id: 'linux1', tags: { environment: 'prod' } }));
  expect(await givenTo(device)).toBe('edge@1.0.0');
  await fleet.commit('Change', deviceList({ id: 'linux1', tags: { environment: 'lab' } }));
  expect(await givenTo(device)).toBe('lab@7.0.0');
  await fleet.commit('Retire', deviceList({ id: 'linux1', tags: { environment: 'lab' }, retired: true }));
  expect(await givenTo(device)).toBeUndefined();
  expect((await fleet.device('linux1')).explanation.summary).toContain('it is retired');
  await fleet.commit('Back', deviceList({ id: 'linux1', tags: { environment: 'prod' } }));
  expect(await givenTo(device)).toBe('edge@1.0.0');
  await fleet.commit('Removed', { 'fleet/devices/all.yaml': null });
  expect(await givenTo(device)).toBeUndefined();
  // The other device's file never was there: nothing happened to it.
  expect(await givenTo(other)).toBe('edge@1.0.0');
});

test('S3.2 S3.9 what the YAML says of modules and routes is what the device verifies, field by field', async () => {
  const fleet = await watchFleet('S3.9');
  const telemetry = {
    name: 'telemetry',
    version: '1.8.0',
    type: 'docker',
    status: 'stopped',
    restartPolicy: 'on-unhealthy',
    image: 'registry.example:5000/edge/telemetry:1.8.0',
  };
  const filter = { name: 'filter', version: '2.1.0', type: 'docker', image: 'other.example/filter:2.1.0' };
  const routes = { up: 'FROM /messages/modules/telemetry/* INTO $upstream' };
  const spec = { modules: [telemetry, filter], routes };
  await fleet.commit('Modules', FLEET, distributionSet('edge', '1.0.0', spec), rollout('1.0.0'));
  const [device] = await joinAll(fleet, ['linux1'], { environment: 'prod' });
  expect((await device?.poll())?.manifest).toEqual({
    distributionSet: 'edge@1.0.0',
    product: 'edge',
    version: '1.0.0',
    modules: [telemetry, { ...filter, status: 'running', restartPolicy: 'always' }],
    routes,
  });

  const perturbed = { ...telemetry, version: '1.9.0', status: 'running', restartPolicy: 'never' };
  await fleet.commit(
    'One module',
    distributionSet('edge', '1.1.0', { modules: [perturbed] }),
    rollout('1.1.0'),
  );
  const manifest = (await device?.poll())?.manifest;
  expect(manifest?.modules).toEqual([perturbed]);
  expect(manifest).not.toHaveProperty('routes');
});

test('S3.2 a manifest that the schema refuses is given to nobody', async () => {
  const fleet = await watchFleet('S3.2');
  await fleet.commit('Good', FLEET, release('1.0.0'));
  const [device] = await joinAll(fleet, ['linux1'], { environment: 'prod' });
  const modules = [{ name: 'edge', version: '1.1.0', type: 'docker', status: 'paused' }];
  await fleet.commit('Bad', distributionSet('edge', '1.1.0', { modules }), rollout('1.1.0'));
  expect(device && (await givenTo(device))).toBe('edge@1.0.0');
  const { headInForce, problems } = await fleet.status();
  expect(headInForce).toBe(false);
  expect(problems[0]).toMatchObject({ file: 'fleet/distribution-sets/edge-1.1.0.yaml', rule: 'schema' });
});

test.each(['linuxprod1', 'linuxprod2'])(
  'S3.3 a deployment to %s by its id targets exactly it',
  async (chosen) => {
    const fleet = await watchFleet(`S3.3 ${chosen}`);
    await fleet.commit('One device', FLEET, release('1.0.0', { targetCondition: `deviceId = '${chosen}'` }));
    const ids = ['linuxprod1', 'linuxprod10', 'linuxprod2', 'linuxprod20'];
    const devices = await joinAll(fleet, ids, { environment: 'prod' });
    expect(await idsOf(fleet)).toEqual([chosen]);
    for (const device of devices) {
      expect(await givenTo(device)).toBe(device.id === chosen ? 'edge@1.0.0' : undefined);
    }
  },
);

test.each([
  { environment: 'prod', expected: ['east-prod', 'west-prod'] },
  { environment: 'test', expected: ['west-test'] },
])('S3.4 a deployment to a group by tag reaches the $environment devices and no other', async (given) => {
  const fleet = await watchFleet(`S3.4 ${given.environment}`);
  const targetCondition = `tags.environment = '${given.environment}'`;
  await fleet.commit('A group', FLEET, release('1.0.0', { targetCondition }));
  const devices = [
    await fleet.join('east-prod', { environment: 'prod' }),
    await fleet.join('west-prod', { environment: 'prod', location: 'westus' }),
    await fleet.join('west-test', { environment: 'test', location: 'westus' }),
    await fleet.join('untagged', {}),
  ];
  await fleet.simulation.settle();
  expect(await idsOf(fleet)).toEqual(given.expected);
  const served = [];
  for (const device of devices) if ((await device.poll()) !== undefined) served.push(device.id);
  expect(served).toEqual(given.expected);
});

test.each([5, 12])(
  'S3.5 each of %i targeted devices gets a manifest with modules, over the wire',
  async (count) => {
    const fleet = await watchFleet(`S3.5 ${count}`);
    await fleet.commit('Everyone', FLEET, release('1.0.0'));
    const ids = Array.from({ length: count }, (_, n) => `device-${n}`);
    const devices = await joinAll(fleet, ids, { environment: 'prod' });
    const [bystander] = await joinAll(fleet, ['bystander'], { environment: 'test' });
    expect((await fleet.rollout()).devices.target).toBe(count);
    for (const device of devices) {
      const response = await device.fetchManifest();
      expect(response.status).toBe(200);
      expect(decodeJwt(await response.text())).toMatchObject({
        sub: device.id,
        manifest: { modules: [{ name: 'edge', version: '1.0.0' }] },
      });
    }
    expect(decodeJwt((await (await bystander?.fetchManifest())?.text()) ?? '')).toMatchObject({
      manifest: null,
    });
  },
);

test('S3.8 a device that enrols with a matching tag after the rollout finished is given it at once', async () => {
  const fleet = await watchFleet('S3.8');
  await fleet.commit('Everyone', FLEET, release('1.0.0'));
  for (const device of await joinAll(fleet, ['a', 'b'], { environment: 'prod' })) await device.obey();
  await fleet.tick();
  expect((await fleet.rollout()).state).toBe('succeeded');

  const late = await fleet.join('late', { environment: 'prod' });
  const unrelated = await fleet.join('unrelated', { environment: 'test' });
  expect(await givenTo(late)).toBe('edge@1.0.0');
  expect(await givenTo(unrelated)).toBeUndefined();
  // Nothing starts anew for it.
  expect((await fleet.rollout()).attempts).toHaveLength(1);
});

test('S3.14 a tag edit takes a device in, and out again, with the next pass', async () => {
  const fleet = await watchFleet('S3.14');
  await fleet.commit('Everyone', FLEET, release('1.0.0'));
  const [stays, moves] = await joinAll(fleet, ['stays', 'moves'], { environment: 'prod' });
  if (stays === undefined || moves === undefined) throw new Error('two devices joined');
  expect(await idsOf(fleet)).toEqual(['moves', 'stays']);
  await fleet.commit('Out', deviceList({ id: 'moves', tags: { environment: 'test' } }));
  expect(await idsOf(fleet)).toEqual(['stays']);
  expect([await givenTo(moves), await givenTo(stays)]).toEqual([undefined, 'edge@1.0.0']);
  expect((await fleet.rollout()).devices.target).toBe(1);
  await fleet.commit('In', deviceList({ id: 'moves', tags: { environment: 'prod' } }));
  expect(await idsOf(fleet)).toEqual(['moves', 'stays']);
  expect(await givenTo(moves)).toBe('edge@1.0.0');
  expect((await fleet.rollout()).devices.target).toBe(2);
});

test('S3.15 a device that stops matching falls back to the next deployment that applies, down to none', async () => {
  const fleet = await watchFleet('S3.15');
  await fleet.commit(
    'Three layers',
    FLEET,
    distributionSet('beta', '3.0.0'),
    distributionSet('alpha', '4.0.0'),
    release('1.0.0', { priority: 1 }),
    rollout(
      '',
      { distributionSet: 'beta@3.0.0', targetCondition: "tags.ring = 'beta'", priority: 5 },
      { name: 'beta' },
    ),
    rollout(
      '',
      { distributionSet: 'alpha@4.0.0', targetCondition: "tags.lab = 'yes'", priority: 9 },
      { name: 'alpha' },
    ),
  );
  const device = await fleet.join('linux1', { environment: 'prod', ring: 'beta', lab: 'yes' });
  await fleet.simulation.settle();
  const layers = async () => [
    await givenTo(device),
    ...(await Promise.all(
      ['alpha', 'beta', 'edge'].map(async (name) => (await fleet.rollout(name)).devices.target),
    )),
  ];
  expect(await layers()).toEqual(['alpha@4.0.0', 1, 1, 1]);
  await fleet.commit('No lab', deviceList({ id: 'linux1', tags: { lab: null } }));
  expect(await layers()).toEqual(['beta@3.0.0', 0, 1, 1]);
  await fleet.commit('No ring', deviceList({ id: 'linux1', tags: { lab: null, ring: null } }));
  expect(await layers()).toEqual(['edge@1.0.0', 0, 0, 1]);
  await fleet.commit(
    'Nothing',
    deviceList({ id: 'linux1', tags: { lab: null, ring: null, environment: null } }),
  );
  expect(await layers()).toEqual([undefined, 0, 0, 0]);
});

test.each([
  { east: 2, west: 3 },
  { east: 4, west: 1 },
])(
  'S3.16 a wider condition makes a finished deployment active again for $west more devices',
  async ({ east, west }) => {
    const fleet = await watchFleet(`S3.16 ${east} ${west}`);
    const condition = (text: string) => rollout('1.0.0', { targetCondition: text });
    await fleet.commit('East', FLEET, release('1.0.0'), condition("tags.region = 'east'"));
    const names = (region: string, count: number) =>
      Array.from({ length: count }, (_, n) => `${region}-${n}`);
    const before = await joinAll(fleet, names('east', east), { region: 'east' });
    const after = await joinAll(fleet, names('west', west), { region: 'west' });
    for (const device of before) await device.obey();
    await fleet.tick();
    expect(await fleet.rollout()).toMatchObject({
      state: 'succeeded',
      attempt: 1,
      devices: { target: east },
    });

    await fleet.commit('And west', condition("tags.region = 'east' OR tags.region = 'west'"));
    const active = await fleet.rollout();
    expect(active).toMatchObject({
      state: 'running',
      attempt: 2,
      devices: { target: east + west, healthy: east, unhealthy: 0, unknown: west },
    });
    // Its stages run over the newcomers alone.
    expect(active.stages[0]).toMatchObject({ devices: west, counts: { pending: west } });
    for (const device of after) await device.obey();
    await fleet.tick();
    expect(await fleet.rollout()).toMatchObject({
      state: 'succeeded',
      devices: { healthy: east + west, unknown: 0 },
    });
  },
);

test('S3.30 a device gets exactly what the winner has: nothing of lower deployments is applied or merged', async () => {
  const fleet = await watchFleet('S3.30');
  const low = {
    modules: [{ name: 'logger', version: '9.0.0', type: 'docker' }],
    routes: { logs: 'FROM /* INTO $upstream' },
  };
  const high = { modules: [{ name: 'edge', version: '2.0.0', type: 'docker' }] };
  await fleet.commit(
    'Two deployments',
    FLEET,
    distributionSet('base', '1.0.0', low),
    distributionSet('edge', '2.0.0', high),
    rollout('2.0.0', { priority: 20, targetCondition: "tags.ring = 'beta'" }),
    rollout('', { distributionSet: 'base@1.0.0', priority: 10 }, { name: 'base' }),
  );
  const both = await fleet.join('both', { environment: 'prod', ring: 'beta' });
  const lower = await fleet.join('lower', { environment: 'prod' });
  await fleet.simulation.settle();
  const running = { status: 'running', restartPolicy: 'always' };
  expect((await both.poll())?.manifest).toEqual({
    distributionSet: 'edge@2.0.0',
    product: 'edge',
    version: '2.0.0',
    modules: [{ ...high.modules[0], ...running }],
  });
  expect((await lower.poll())?.manifest).toMatchObject({
    modules: [{ ...low.modules[0], ...running }],
    routes: low.routes,
  });

  await fleet.commit(
    'The other way round',
    rollout('2.0.0', { priority: 10, targetCondition: "tags.ring = 'beta'" }),
    rollout('', { distributionSet: 'base@1.0.0', priority: 20 }, { name: 'base' }),
  );
  expect(await givenTo(both)).toBe('base@1.0.0');
});

const EQUALS = (name: string, file = name) => ({
  ...distributionSet(name, '1.0.0'),
  ...rollout('', { distributionSet: `${name}@1.0.0`, priority: 7 }, { name, file }),
});

test.each([
  { first: 'alpha', second: 'beta', files: ['a', 'b'] },
  { first: 'beta', second: 'alpha', files: ['b', 'a'] },
  { first: 'alpha', second: 'beta', files: ['z', 'y'] },
  { first: 'beta', second: 'alpha', files: ['y', 'z'] },
])('S3.31 of two at priority 7 the later one wins: $first before $second, in files $files', async (given) => {
  const { first, second, files } = given;
  const fleet = await watchFleet(`S3.31 ${first} ${files}`);
  await fleet.commit(first, FLEET, EQUALS(first, files[0]));
  const device = await fleet.join('linux1', { environment: 'prod' });
  await fleet.tick();
  expect(await givenTo(device)).toBe(`${first}@1.0.0`);
  await fleet.commit(second, EQUALS(second, files[1]));
  expect(await givenTo(device)).toBe(`${second}@1.0.0`);

  // Editing the older one does not make it younger.
  await fleet.tick();
  await fleet.commit(
    'Edit',
    distributionSet(first, '1.1.0'),
    rollout('', { distributionSet: `${first}@1.1.0`, priority: 7 }, { name: first, file: files[0] ?? '' }),
  );
  expect(await givenTo(device)).toBe(`${second}@1.0.0`);
});

test('S3.31 of two that one commit creates the first by name wins, whatever its file is called', async () => {
  for (const files of [
    ['a', 'b'],
    ['b', 'a'],
  ]) {
    const fleet = await watchFleet(`S3.31 ${files}`);
    await fleet.commit('Both', FLEET, EQUALS('alpha', files[0]), EQUALS('beta', files[1]));
    const device = await fleet.join('linux1', { environment: 'prod' });
    await fleet.simulation.settle();
    expect(await givenTo(device)).toBe('alpha@1.0.0');
  }
});

test('S3.32 deployments carry several labels and are listed by them', async () => {
  const fleet = await watchFleet('S3.32');
  const labelled = (name: string, labels: Record<string, string>) =>
    rollout('1.0.0', { targetCondition: `tags.${name} = 'yes'` }, { name, labels });
  await fleet.commit(
    'Labels',
    FLEET,
    distributionSet('edge', '1.0.0'),
    labelled('east', { team: 'hvac', season: 'winter' }),
    labelled('west', { team: 'hvac', season: 'summer' }),
    labelled('lab', { team: 'lab' }),
  );
  const list = async (query: string) => {
    const response = await fleet.simulation.service.app.request(`/api/rollouts?${query}`);
    const { rollouts } = (await response.json()) as { rollouts: { name: string }[] };
    return rollouts.map(({ name }) => name);
  };
  expect(await list('label=team=hvac')).toEqual(['east', 'west']);
  expect(await list('label=team=hvac&label=season=summer')).toEqual(['west']);
  expect(await list('label=season=spring')).toEqual([]);
  expect((await fleet.rollout('east')).labels).toEqual({ team: 'hvac', season: 'winter' });
});

test('S3.33 a label edit changes not one byte of what a device is served; an edit of the set does', async () => {
  const fleet = await watchFleet('S3.33');
  await fleet.commit('Labelled', FLEET, distributionSet('edge', '1.0.0'), rollout('1.0.0'));
  const device = await fleet.join('linux1', { environment: 'prod' });
  await fleet.simulation.settle();
  const before = await device.fetchManifest();
  const [bytes, etag] = [await before.text(), before.headers.get('etag') ?? ''];

  await fleet.commit(
    'Label',
    rollout('1.0.0', {}, { name: 'edge', labels: { team: 'hvac', season: 'winter' } }),
  );
  expect((await fleet.rollout()).labels).toEqual({ team: 'hvac', season: 'winter' });
  expect((await fleet.rollout()).attempts).toHaveLength(1);
  expect(await (await device.fetchManifest()).text()).toBe(bytes);
  expect((await device.fetchManifest({ 'If-None-Match': etag })).status).toBe(304);

  await fleet.commit('Content', release('1.0.1'));
  expect(await (await device.fetchManifest({ 'If-None-Match': etag })).text()).not.toBe(bytes);
});
