/** What people do to rollouts between a commit and its end: editing, stopping, completing, one after another. */
import { describe, expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { DAY, HOUR, MINUTE } from '../../src/core/model/time.ts';
import type { Git } from '../../src/git/git.ts';
import { createSimulation, identities } from '../../src/simulate/simulation.ts';
import { FLEET, kiosk, rollout, WORLD } from '../simulation/fleet-files.ts';
import { advanceUntil, type HawkbitFleet, startFleet, TICK } from './hawkbit-fleet.ts';

interface Problems {
  readonly problems: readonly { readonly file: string; readonly rule: string; readonly message: string }[];
}

interface Recovery {
  readonly held?: string;
  readonly rollouts: readonly { readonly state: string; readonly attempt?: number }[];
}

const get = async <Answer>(fleet: Pick<HawkbitFleet, 'service'>, path: string) =>
  (await (await fleet.service.app.request(path)).json()) as Answer;
const ids = (fleet: HawkbitFleet) => fleet.offers.map(({ id }) => id).sort();

async function edit(fleet: HawkbitFleet, spec: Record<string, string>, name = 'kiosk'): Promise<void> {
  await fleet.commit('Edit', rollout('1.0.0', spec, name));
  await fleet.settle();
}

describe('a rollout is edited', () => {
  const STAGES = '[{name: canary, size: 2}, {name: fleet, size: all}]';

  test('S1.2 a rollout that is ready has the name and the groups that it was given last', async () => {
    const fleet = await startFleet({ devices: 10, spec: { start: 'manual', stages: STAGES } });
    expect(await fleet.rollout()).toMatchObject({
      state: 'ready',
      stages: [{ name: 'canary' }, { name: 'fleet' }],
    });
    await edit(fleet, {
      start: 'manual',
      stages: '[{name: first, size: 3}, {name: half, size: 50%}, {name: fleet, size: all}]',
    });
    const { stages, state } = await fleet.rollout();
    expect(state).toBe('ready');
    expect(stages.map(({ name, size }) => `${name}: ${size}`)).toEqual([
      'first: 3 devices',
      'half: 50%',
      'fleet: all',
    ]);

    await fleet.commit('Rename', {
      'fleet/rollouts/kiosk.yaml': null,
      ...rollout('1.0.0', { start: 'manual' }, 'kiosk-app'),
    });
    await fleet.settle();
    expect(await fleet.rollout('kiosk-app')).toMatchObject({ state: 'ready', attempt: 1 });
    expect((await fleet.service.app.request('/api/rollouts/kiosk')).status).toBe(404);
  });

  test('S1.2 of a running one, changing a group that is open is refused by name, and the group stays', async () => {
    const fleet = await startFleet({ devices: 10, says: 'nothing', spec: { stages: STAGES } });
    const members = await fleet.members('canary');
    expect(members).toHaveLength(2);
    await edit(fleet, {
      stages: '[{name: canary, size: 5, successThreshold: 50%}, {name: fleet, size: all, soak: 1h}]',
    });
    const { problems } = await get<Problems>(fleet, '/api/status');
    expect(problems).toEqual([
      expect.objectContaining({
        file: 'fleet/rollouts/kiosk.yaml',
        rule: 'frozen-stage',
        message: expect.stringContaining('stage canary is open in attempt 1 and stays as it was'),
      }),
    ]);
    await fleet.tick();
    expect(await fleet.members('canary')).toEqual(members);
    expect(await fleet.stage('canary')).toMatchObject({ size: '2 devices', successThreshold: '95%' });
    // What has not opened may be edited all the same.
    await edit(fleet, {
      stages: '[{name: canary, size: 2}, {name: batch, size: 50%}, {name: fleet, size: all}]',
    });
    expect((await get<Problems>(fleet, '/api/status')).problems).toEqual([]);
    expect((await fleet.rollout()).stages.map(({ name }) => name)).toEqual(['canary', 'batch', 'fleet']);
  });

  test('S1.2 of a running one, another target condition leaves open groups alone and counts for later ones', async () => {
    const fleet = await startFleet({
      devices: 10,
      says: 'nothing',
      spec: { stages: STAGES, targetCondition: "tags.ring = '1'" },
      tagsOf: (n) => ({ ring: n <= 6 ? '1' : '2' }),
    });
    await fleet.tick();
    const members = await fleet.members('canary');
    await edit(fleet, { stages: STAGES, targetCondition: "tags.product = 'kiosk'" });
    await fleet.tick();
    expect(await fleet.members('canary')).toEqual(members);
    expect(ids(fleet)).toEqual([...members].sort());
    fleet.say('works', members);
    await advanceUntil(fleet, async () => (await fleet.stage('fleet')).state === 'running');
    expect(await fleet.stage('fleet')).toMatchObject({ units: 8 });
  });
});

test('S1.26 a stopped rollout offers nothing further, and devices that install may finish', async () => {
  const fleet = await startFleet({
    devices: 20,
    says: 'works',
    installMs: 30 * MINUTE,
    spec: { stages: '[{name: fleet, size: all, ramp: 1h}]' },
  });
  await fleet.advance(4 * TICK, TICK);
  const installing = ids(fleet);
  expect(installing.length).toBeGreaterThan(2);
  expect(installing.length).toBeLessThan(15);
  await fleet.operate('{action: cancel, attempt: 1, by: ada}');
  expect(await fleet.rollout()).toMatchObject({ state: 'stopped', cause: 'operator' });
  await fleet.advance(3 * HOUR, TICK);
  expect(ids(fleet)).toEqual(installing);
  const running = await get<{ devices: { id: DeviceId; running?: string }[] }>(
    fleet,
    '/api/devices?limit=100',
  );
  expect(running.devices.filter(({ running: runs }) => runs !== undefined).map(({ id }) => id)).toEqual(
    installing,
  );
  expect(await fleet.rollout()).toMatchObject({ state: 'stopped' });
});

describe('S1.27 what is interrupted', () => {
  const CALLS = [
    'writeBlob',
    'writeTree',
    'writeCommit',
    'moveBranch',
  ] as const satisfies readonly (keyof Git)[];

  /** Every write fails at its `nth` call from now on, until the function that is returned is called. */
  function breakAfter(git: Git, nth: number): () => void {
    const whole = Object.fromEntries(CALLS.map((call) => [call, git[call]]));
    let calls = 0;
    const failing = CALLS.map((call) => [
      call,
      (...args: unknown[]) => {
        calls += 1;
        if (calls >= nth) return Promise.reject(new Error('the disk is gone'));
        return (whole[call] as (...given: unknown[]) => unknown)(...args);
      },
    ]);
    Object.assign(git, Object.fromEntries(failing));
    return () => Object.assign(git, whole);
  }

  test.each([
    ['while it is created', 1, {}, 'unknown'],
    ['while its creation is recorded', 4, {}, 'unknown'],
    ['while its first stage is recorded', 7, {}, 'unknown'],
    ['while it is started', 1, { start: 'manual' }, 'ready'],
  ] as const)('%s is taken up again by the next pass', async (_when, nth, before, state) => {
    const fleet = await createSimulation({
      startAt: Date.UTC(2026, 0, 1),
      seed: 'broken',
      world: WORLD,
      wire: 'direct',
    });
    await fleet.commit('Begin', {
      'fleet/fleet.yaml': FLEET,
      ...(state === 'unknown' ? {} : { ...kiosk('1.0.0'), ...rollout('1.0.0', before) }),
    });
    await fleet.settle();
    await fleet.enrol(...identities(5, () => ({ product: 'kiosk' })));
    await fleet.commit('Release', { ...kiosk('1.0.0'), ...rollout('1.0.0') });
    const mend = breakAfter(fleet.git, nth);
    await fleet.settle();
    const broken = await get<Recovery>(fleet, '/api/status');
    expect(broken.held).toContain('the disk is gone');
    expect(broken.rollouts.map((each) => each.state)).toEqual([state]);

    mend();
    await fleet.settle();
    const mended = await get<Recovery>(fleet, '/api/status');
    expect(mended.held).toBeUndefined();
    expect(mended.rollouts).toMatchObject([{ state: 'running', attempt: 1 }]);
    await fleet.advance(4 * HOUR);
    expect(fleet.devices.map((device) => device.runs()?.version)).toEqual(new Array(5).fill('1.0.0'));
  });
});

describe('devices of a group', () => {
  const GROUP = `apiVersion: tidegate.dev/v1
kind: Group
metadata: {name: early}
spec: {targetCondition: "tags.ring = 'early'"}
`;

  async function groupFleet(): Promise<HawkbitFleet> {
    const fleet = await startFleet({
      devices: 30,
      says: 'works',
      spec: { start: 'manual' },
      tagsOf: (n) => ({ ring: n % 3 === 0 ? 'early' : 'late' }),
    });
    await fleet.commit('To the group', {
      'fleet/groups/early.yaml': GROUP,
      ...rollout('1.0.0', {
        targetCondition: '{group: early}',
        stages: '[{name: canary, size: 4}, {name: fleet, size: all}]',
      }),
    });
    await fleet.settle();
    return fleet;
  }
  const isEarly = (id: DeviceId) => Number(id.slice(-6)) % 3 === 0;

  test('S2.3 a rollout to a group selects among its members only', async () => {
    const fleet = await groupFleet();
    await fleet.tick();
    expect(fleet.offers).toHaveLength(4);
    await fleet.advance(HOUR, TICK);
    expect(fleet.offers).toHaveLength(10);
    expect(fleet.offers.every(({ id }) => isEarly(id))).toBe(true);
    expect(await fleet.rollout()).toMatchObject({ state: 'succeeded', devices: { target: 10 } });
  });

  test('S2.21 a device that joins the group later gets the offer, and nobody else does', async () => {
    const fleet = await groupFleet();
    await fleet.advance(HOUR, TICK);
    const before = fleet.offers.length;
    const [early, late] = identities(32, (n) => ({
      product: 'kiosk',
      ring: n === 31 ? 'early' : 'late',
    })).slice(30);
    if (early === undefined || late === undefined) throw new Error('two devices join');
    await fleet.enrol(early, late);
    await fleet.advance(2 * TICK, TICK);
    expect(fleet.offers.slice(before).map(({ id }) => id)).toEqual([early.id]);
  });
});

test('S2.15 a wave that is completed goes to every tagged device, those that come later included', async () => {
  const fleet = await startFleet({
    devices: 12,
    says: 'works',
    tagsOf: (n) => ({ wave: n <= 8 ? 'yes' : 'no' }),
    spec: {
      targetCondition: "tags.wave = 'yes'",
      stages: '[{name: canary, size: 2, soak: 7d}, {name: fleet, size: all}]',
    },
  });
  await fleet.advance(DAY, HOUR);
  expect(fleet.offers).toHaveLength(2);
  await fleet.operate('{action: promote, attempt: 1, stage: canary, by: ada}');
  await fleet.advance(HOUR, TICK);
  expect(ids(fleet)).toEqual(identities(8, () => ({})).map(({ id }) => id));
  expect(await fleet.rollout()).toMatchObject({ state: 'succeeded' });
  const [late] = identities(13, () => ({ product: 'kiosk', wave: 'yes' })).slice(12);
  if (late !== undefined) await fleet.enrol(late);
  await fleet.advance(2 * TICK, TICK);
  expect(fleet.offers.at(-1)?.id).toBe(late?.id);
});

describe('S2.20 waves one after another', () => {
  test('over the same devices: each begins when the one before it has ended', async () => {
    const fleet = await startFleet({
      devices: 6,
      says: 'works',
      spec: { stages: '[{name: canary, size: 2}, {name: fleet, size: all}]' },
    });
    for (const version of ['1.1.0', '1.2.0', '1.3.0']) {
      await advanceUntil(fleet, async () => (await fleet.rollout()).state === 'succeeded');
      await fleet.commit(`Release ${version}`, {
        ...kiosk(version),
        ...rollout(version, { stages: '[{name: canary, size: 2}, {name: fleet, size: all}]' }),
      });
      await fleet.settle();
    }
    await advanceUntil(fleet, async () => (await fleet.rollout()).state === 'succeeded');
    const { attempts } = await fleet.rollout();
    expect(attempts.map(({ attempt, state }) => `${attempt} ${state}`)).toEqual([
      '1 succeeded',
      '2 succeeded',
      '3 succeeded',
      '4 succeeded',
    ]);
    for (const id of new Set(ids(fleet))) {
      const versions = fleet.offers
        .filter((offer) => offer.id === id)
        .map(({ manifest }) => manifest.version);
      expect(versions).toEqual(['1.0.0', '1.1.0', '1.2.0', '1.3.0']);
    }
  });

  test('where two overlap, priority decides, and a lower one never takes a device back', async () => {
    const fleet = await startFleet({
      devices: 6,
      says: 'works',
      spec: { stages: '[{name: fleet, size: all}]' },
    });
    await advanceUntil(fleet, async () => (await fleet.rollout()).state === 'succeeded');
    const overlapping = (priority: number) => ({
      ...kiosk('2.0.0'),
      ...rollout(
        '2.0.0',
        {
          priority: String(priority),
          targetCondition: "tags.product = 'kiosk'",
          stages: '[{name: half, size: 50%, soak: 1h}, {name: fleet, size: all}]',
        },
        'next',
      ),
    });
    await fleet.commit('A wave of lower priority', overlapping(5));
    await fleet.advance(2 * HOUR, TICK);
    expect(fleet.offers).toHaveLength(6);
    await fleet.commit('A wave of higher priority', overlapping(20));
    await fleet.advance(6 * TICK, TICK);
    const second = fleet.offers.slice(6);
    expect(second.map(({ manifest }) => manifest.version)).toEqual(['2.0.0', '2.0.0', '2.0.0']);
    await advanceUntil(fleet, async () => (await fleet.rollout('next')).state === 'succeeded');
    expect(fleet.offers.slice(6)).toHaveLength(6);
  });
});

test('S4.26 a device without capability ab is listed as one that cannot go back by itself', async () => {
  const fleet = await startFleet({
    devices: 6,
    says: 'works',
    tagsOf: (n) => (n === 1 ? {} : { capability: n === 2 ? 'stored' : n === 3 ? 'recovery, ab' : 'ab' }),
  });
  const listed = async (query: string) =>
    (await get<{ devices: { id: DeviceId }[] }>(fleet, `/api/devices?${query}`)).devices.map(({ id }) =>
      Number(id.slice(-6)),
    );
  expect(await listed('revertible=false')).toEqual([1, 2]);
  expect(await listed('revertible=true')).toEqual([3, 4, 5, 6]);
  expect(await get(fleet, '/api/devices/device-000001')).toMatchObject({ revertible: false });
  expect(await get(fleet, '/api/devices/device-000003')).toMatchObject({ revertible: true });
  // Tags are what operators say: an override counts at once.
  await fleet.commit('The gateway has two slots', {
    'fleet/devices/all.yaml': `apiVersion: tidegate.dev/v1\nkind: DeviceList\nmetadata: {name: all}\nspec:\n  devices:\n  - {id: device-000001, tags: {capability: ab}}\n`,
  });
  await fleet.settle();
  expect(await listed('revertible=false')).toEqual([2]);
});
