/** Feature flags, S4.43 to S4.50: from a commit to the value that a device is served. */
import { describe, expect, test } from 'vitest';
import { evaluateFlags } from '../../src/core/flags/evaluate.ts';
import type { FlagValue } from '../../src/core/model/flag.ts';
import { deviceList, document, FLEET, release, type WatchedFleet, watchFleet } from './watched-fleet.ts';

type Files = Readonly<Record<string, string | null>>;

/** A flag that is off, but for what `spec` says. */
function flag(name: string, spec: Readonly<Record<string, unknown>> = {}): Files {
  const switched = { owner: 'apps', values: { on: true, off: false }, default: 'off', ...spec };
  return { [`fleet/flags/${name}.yaml`]: document('Flag', { name }, switched) };
}

/** On for the devices that match. */
function onFor(targetCondition: unknown): { rules: readonly object[] } {
  return { rules: [{ targetCondition, variant: 'on' }] };
}

/** A fleet with flags and nothing to install. */
async function fleetWith(...flags: readonly Files[]): Promise<WatchedFleet> {
  const fleet = await watchFleet('flags');
  await fleet.commit('Begin', FLEET, ...flags);
  return fleet;
}

/** Values by device, as the program in force gives them: what every poll evaluates. */
function servedTo(fleet: WatchedFleet, ids: readonly string[], name: string): ReadonlyMap<string, FlagValue> {
  const { published } = fleet.simulation.service.reconciler.state();
  const flags = published?.program.flags.filter((flag) => flag.name === name) ?? [];
  return new Map(ids.map((id) => [id, evaluateFlags(flags, { id, tags: {} }).get(name)?.value ?? 'none']));
}

function having(values: ReadonlyMap<string, FlagValue>, value: FlagValue): ReadonlySet<string> {
  return new Set([...values].filter(([, each]) => each === value).map(([id]) => id));
}

function idsOf(count: number): readonly string[] {
  return Array.from({ length: count }, (_, at) => `device-${String(at).padStart(6, '0')}`);
}

test('S4.43 a flag is switched for single devices, by their id', async () => {
  const fleet = await fleetWith(flag('new_ui', onFor("deviceId IN ['ABC123', 'ABC125']")));
  const values: unknown[] = [];
  for (const id of ['ABC123', 'ABC124', 'ABC125']) {
    values.push((await (await fleet.join(id, {})).flags()).values);
  }
  expect(values).toEqual([{ new_ui: true }, { new_ui: false }, { new_ui: true }]);
});

test('S4.44 a flag is switched for a group: a tag, or a group that has a name', async () => {
  const lab = document('Group', { name: 'lab' }, { targetCondition: "tags.group = 'lab'" });
  const fleet = await fleetWith(
    { 'fleet/groups/lab.yaml': lab },
    flag('by_tag', onFor("tags.group = 'lab'")),
    flag('by_group', onFor({ group: 'lab' })),
  );
  const inside = await fleet.join('inside', { group: 'lab' });
  const outside = await fleet.join('outside', { group: 'prod' });
  expect((await inside.flags()).values).toEqual({ by_group: true, by_tag: true });
  expect((await outside.flags()).values).toEqual({ by_group: false, by_tag: false });

  // An operator moves a device into the group: its next answer says so.
  await fleet.commit('Move outside', deviceList({ id: 'outside', tags: { group: 'lab' } }));
  expect((await outside.flags()).values).toEqual({ by_group: true, by_tag: true });
});

test.each(['S4.45', 'S4.49'])('%s a feature is there in some regions and not in others', async () => {
  const fleet = await fleetWith(flag('eco_mode', onFor("tags.region IN ['eu-west', 'eu-north']")));
  const values = new Map<string, unknown>();
  for (const region of ['eu-west', 'eu-north', 'us-east', undefined]) {
    const device = await fleet.join(`in-${region}`, region === undefined ? {} : { region });
    values.set(device.id, (await device.flags()).values['eco_mode']);
  }
  expect(Object.fromEntries(values)).toEqual({
    'in-eu-west': true,
    'in-eu-north': true,
    'in-us-east': false,
    'in-undefined': false,
  });
});

test('S4.46 an A/B test divides 100,000 devices in half, for good, and independently of other flags', async () => {
  const experiment = { values: { A: 'a', B: 'b' }, default: 'A', rules: [{ split: { A: '50%', B: '50%' } }] };
  const fleet = await fleetWith(flag('curve', experiment), flag('sleep', experiment));
  const ids = idsOf(100_000);
  const curve = servedTo(fleet, ids, 'curve');
  const sleep = servedTo(fleet, ids, 'sleep');
  const share = (count: number) => (count / ids.length) * 100;
  for (const values of [curve, sleep]) {
    expect(Math.abs(share(having(values, 'a').size) - 50)).toBeLessThan(0.5);
    expect(having(values, 'a').size + having(values, 'b').size).toBe(ids.length);
  }

  const inBoth = [...having(curve, 'a')].filter((id) => sleep.get(id) === 'a').length;
  expect(Math.abs(share(inBoth) - 25)).toBeLessThan(0.5);

  await fleet.commit('End one experiment, begin another', {
    'fleet/flags/sleep.yaml': null,
    ...flag('mesh', experiment),
  });
  const some = ids.slice(0, 10_000);
  expect([...servedTo(fleet, some, 'curve')]).toEqual([...curve].slice(0, some.length));
});

describe('the kill switch', () => {
  test('S4.47 one commit serves false after one pass, and no manifest changes', async () => {
    const fleet = await fleetWith(flag('mesh', onFor('*')), release('1.0.0'));
    const { simulation } = fleet;
    const device = await fleet.join('edge-1', { environment: 'prod' });
    await fleet.tick();
    await device.obey();
    await fleet.tick();
    expect((await fleet.rollout()).state).toBe('succeeded');
    const before = await device.flags();
    expect(before.values).toEqual({ mesh: true });
    const manifest = await device.fetchManifest();
    const outcomes = await fleet.log('outcomes');

    await simulation.commit('Kill the mesh', flag('mesh', { ...onFor('*'), enabled: false }));
    await simulation.service.reconciler.pass();
    const after = await device.flags();
    expect(after.values).toEqual({ mesh: false });
    expect(after.version).toBe(before.version + 1);

    const unchanged = await device.fetchManifest({ 'If-None-Match': manifest.headers.get('etag') ?? '' });
    expect(unchanged.status).toBe(304);
    await simulation.settle();
    expect((await fleet.rollout()).attempts).toHaveLength(1);
    expect(await fleet.log('outcomes')).toEqual(outcomes);
  });

  test('thrown in the middle of a rollout, it opens no stage and moves none', async () => {
    const stages = [{ name: 'canary', size: 1, soak: '1h' }, { fleet: 'all' }];
    const fleet = await fleetWith(flag('mesh', onFor('*')), release('1.0.0', { stages }));
    const device = await fleet.join('edge-1', { environment: 'prod' });
    await fleet.join('edge-2', { environment: 'prod' });
    await fleet.tick();
    const shown = await fleet.rollout();
    const outcomes = await fleet.log('outcomes');
    expect(shown.state).toBe('running');

    await fleet.commit('Kill the mesh', flag('mesh', { ...onFor('*'), enabled: false }));
    expect((await device.flags()).values).toEqual({ mesh: false });
    expect((await fleet.rollout()).stages).toEqual(shown.stages);
    expect(await fleet.log('outcomes')).toEqual(outcomes);
  });
});

test('S4.48 a feature begins disabled, and is enabled for 1 %, then for those and more', async () => {
  const share = (percentage: string) => ({ rules: [{ percentage, variant: 'on' }] });
  const fleet = await fleetWith(flag('mesh', { ...share('1%'), enabled: false }));
  const ids = idsOf(20_000);
  const enabled = () => having(servedTo(fleet, ids, 'mesh'), true);
  expect(enabled().size).toBe(0);

  await fleet.commit('Begin with nobody', flag('mesh', share('0%')));
  expect(enabled().size).toBe(0);
  let before = enabled();
  for (const percent of [1, 10, 100]) {
    await fleet.commit(`Go to ${percent} %`, flag('mesh', share(`${percent}%`)));
    const after = enabled();
    expect(Math.abs((after.size / ids.length) * 100 - percent)).toBeLessThan(0.5);
    expect([...before].filter((id) => !after.has(id))).toEqual([]);
    before = after;
  }
});

test('S4.50 a device is served its flags in exactly this form, with a version that rises with the commit', async () => {
  const fleet = await fleetWith(
    flag('new_sensor_algorithm', onFor("deviceId = 'ABC123'")),
    flag('bluetooth_mesh', onFor('*')),
    flag('extended_sleep_mode', onFor("tags.region = 'eu'")),
  );
  const device = await fleet.join('ABC123', { region: 'eu' });
  expect((await device.flags()).version).toBe(1);
  for (let version = 2; version <= 42; version++) {
    await fleet.commit(
      `Change ${version}`,
      flag('bluetooth_mesh', { ...onFor('*'), enabled: version % 2 === 1 }),
    );
    expect((await device.flags()).version).toBe(version);
  }

  const response = await device.fetchFlags();
  const text = await response.text();
  expect(JSON.parse(text)).toEqual({
    device_id: 'ABC123',
    flags: { new_sensor_algorithm: true, bluetooth_mesh: false, extended_sleep_mode: true },
    version: 42,
  });
  expect(Object.keys(JSON.parse(text) as object)).toEqual(['device_id', 'flags', 'version']);
  expect(response.headers.get('content-type')).toBe('application/json');

  // What is no change of flags does not count as one.
  await fleet.commit(
    'Say who answers for it',
    flag('extended_sleep_mode', { ...onFor("tags.region = 'eu'"), owner: 'power' }),
  );
  await fleet.commit('Release', release('1.0.0'));
  expect((await device.flags()).version).toBe(42);
});
