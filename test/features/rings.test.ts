/** Rings that devices join by a tag, and what a stage of some devices means for everybody else. */
import { expect, test } from 'vitest';
import { identities } from '../../src/simulate/simulation.ts';
import {
  deviceList,
  FLEET,
  operation,
  release,
  rollout,
  type WatchedFleet,
  watchFleet,
} from './watched-fleet.ts';

const STAGES = [
  { name: 'beta', size: 'all', where: "tags.ring = 'beta'" },
  { name: 'fleet', size: 'all', approvals: 1 },
];

/** Nine devices in production, of which every third has opted in. */
async function fleetWithRing(seed: string, stages: readonly object[] = STAGES): Promise<WatchedFleet> {
  const fleet = await watchFleet(seed);
  await fleet.commit('Release', FLEET, release('1.0.0', { stages }));
  const tagsOf = (n: number) => ({ environment: 'prod', ...(n % 3 === 0 ? { ring: 'beta' } : {}) });
  await fleet.simulation.enrol(...identities(9, tagsOf));
  await fleet.tick();
  await fleet.tick();
  return fleet;
}

async function served(fleet: WatchedFleet): Promise<readonly number[]> {
  const devices = await fleet.devices();
  return devices.filter(({ assignment }) => assignment !== null).map(({ id }) => Number(id.slice(-6)));
}

test('S4.56 the beta ring is who has its tag: those who opt in later enter, those who opt out are offered nothing', async () => {
  const fleet = await fleetWithRing('S4.56');
  expect(await served(fleet)).toEqual([3, 6, 9]);
  // All of a part are not all: the rollout is not done with them.
  expect(await fleet.rollout()).toMatchObject({
    state: 'waitingForApproval',
    stages: [
      { name: 'beta', state: 'passed', where: "tags.ring = 'beta'", devices: 3 },
      { name: 'fleet', state: 'scheduled' },
    ],
  });
  const optIn = (id: string, ring: string | null) => ({ id, tags: { ring } });
  const late = await fleet.join('device-late', { environment: 'prod' });
  await fleet.commit(
    'Opt in and out',
    deviceList(optIn('device-000001', 'beta'), optIn('device-late', 'beta'), optIn('device-000006', null)),
  );
  await fleet.tick();
  expect((await late.poll())?.attempt).toBe(1);
  const runs = (await fleet.devices()).filter(({ assignment }) => assignment !== null).map(({ id }) => id);
  // Nothing is taken away from the one that opted out: it keeps what it has.
  expect(runs).toEqual(['device-000001', 'device-000003', 'device-000006', 'device-000009', 'device-late']);
  expect((await fleet.device('device-000006')).explanation.rollouts[0]?.reason).toContain(
    'already has attempt 1 and keeps it',
  );

  await fleet.commit('Told', operation({ action: 'approve', attempt: 1, stage: 'fleet', by: 'ada' }));
  await fleet.tick();
  expect(await served(fleet)).toHaveLength(10);
  expect((await fleet.rollout()).stages).toMatchObject([{ state: 'passed' }, { devices: 6 }]);
});

test('S4.56 shares of a ring are of the ring, and an edit of its condition comes too late once it is open', async () => {
  const stages = [
    { name: 'beta', size: '34%', where: "tags.ring = 'beta'", soak: '10h' },
    { name: 'fleet', size: 'all' },
  ];
  const fleet = await fleetWithRing('S4.56 share', stages);
  expect((await fleet.rollout()).stages[0]).toMatchObject({ name: 'beta', size: '34%', devices: 2 });
  for (const number of await served(fleet)) expect(number % 3).toBe(0);
  const [outcome] = await fleet.outcomes();
  expect(outcome?.spec.stages[0]).toMatchObject({ where: "tags.ring = 'beta'" });

  const edited = [{ ...stages[0], where: "tags.environment = 'prod'" }, stages[1]];
  await fleet.commit('Too late', rollout('1.0.0', { stages: edited }));
  expect((await fleet.status()).problems).toMatchObject([{ rule: 'frozen-stage' }]);
  // Spacing and case of keywords are no edit.
  const spelled = [{ ...stages[0], where: "(tags.ring  =  'beta')" }, stages[1]];
  await fleet.commit('The same', rollout('1.0.0', { stages: spelled }));
  expect((await fleet.status()).problems).toEqual([]);
});

test('a stage of named devices leaves no id in the outcome, and knows an edit of its list all the same', async () => {
  const where = (...numbers: readonly number[]) =>
    `deviceId IN [${numbers.map((n) => `'device-00000${n}'`).join(', ')}]`;
  const stages = (...numbers: readonly number[]) => [
    { name: 'lab', size: 'all', where: where(...numbers), soak: '10h' },
    { name: 'fleet', size: 'all' },
  ];
  const fleet = await fleetWithRing('named', stages(2, 5));
  expect(await served(fleet)).toEqual([2, 5]);
  const [outcome] = await fleet.outcomes();
  expect(outcome?.text).not.toContain('device-0');
  expect(outcome?.spec.stages[0]).toMatchObject({
    whereDigest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
    admits: { kind: 'list', scores: [expect.any(String), expect.any(String)] },
  });
  expect((await fleet.rollout()).stages[0]).toMatchObject({ where: 'chosen by device id' });
  await fleet.commit('Too late', rollout('1.0.0', { stages: stages(2, 5, 7) }));
  expect((await fleet.status()).problems).toMatchObject([{ rule: 'frozen-stage' }]);
  await fleet.tick();
  expect(await served(fleet)).toEqual([2, 5]);
});

test('a ring that nobody has joined waits, and says so', async () => {
  const fleet = await fleetWithRing('empty', [
    { name: 'beta', size: 'all', where: "tags.ring = 'gamma'" },
    { name: 'fleet', size: 'all' },
  ]);
  expect(await served(fleet)).toEqual([]);
  expect((await fleet.rollout()).reason).toBe(
    "no enrolled device matches the target condition and the stage's where yet",
  );
});

test('a stage that was put before one that had opened just then comes too late, and nothing opens twice', async () => {
  const [early, batch, everybody] = [
    { name: 'early', size: 1 },
    { name: 'batch', size: 3, soak: '30m' },
    { name: 'fleet', size: 'all' },
  ];
  const fleet = await fleetWithRing('late', [early, batch, everybody]);
  expect((await fleet.rollout()).stages[1]).toMatchObject({ name: 'batch', state: 'running' });
  await fleet.commit(
    'Late',
    rollout('1.0.0', { stages: [early, { name: 'late', size: 1 }, batch, everybody] }),
  );
  expect((await fleet.status()).problems).toMatchObject([{ rule: 'frozen-stage' }]);
  for (let tick = 0; tick < 12; tick++) await fleet.tick();
  const { state, stages } = await fleet.rollout();
  expect(state).toBe('succeeded');
  expect(stages.map(({ name, devices }) => `${name} ${devices}`)).toEqual(['early 1', 'batch 3', 'fleet 5']);
});
