/** hawkBit's conditions: when a group's success starts the next one, and when its errors stop everything. */
import { describe, expect, test } from 'vitest';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { rollout } from '../simulation/fleet-files.ts';
import { advanceUntil, type HawkbitFleet, startFleet, TICK } from './hawkbit-fleet.ts';

describe('S1.7 S1.8 S1.29 a group passes, and the next one runs, at its success threshold and not one device before', () => {
  test.each([
    { group: 10, threshold: '80%', needed: 8 },
    { group: 7, threshold: '50%', needed: 4 },
    { group: 10, threshold: '100%', needed: 10 },
    { group: 12, threshold: '5', needed: 5 },
    { group: 100, threshold: '7%', needed: 7 },
  ])('$threshold of $group devices is $needed', async ({ group, threshold, needed }) => {
    // As many devices again in the second group: a share of the whole rollout would need twice as many.
    const fleet = await startFleet({
      devices: 2 * group,
      spec: {
        successThreshold: threshold,
        stages: `[{name: first, size: ${group}}, {name: second, size: all}]`,
      },
    });
    const first = await fleet.members('first');
    expect(first).toHaveLength(group);
    fleet.say('works', first.slice(0, needed - 1));
    await fleet.advance(HOUR, TICK);
    expect(await stages(fleet)).toEqual([`first running ${needed - 1}`, 'second scheduled 0']);
    expect(fleet.offers).toHaveLength(group);

    fleet.say('works', first.slice(0, needed));
    await fleet.tick();
    expect(await stages(fleet)).toEqual([`first passed ${needed}`, 'second running 0']);
    expect(await fleet.stage('first')).toMatchObject({
      verdict: { verdict: 'pass', counts: { succeeded: needed } },
    });
    await fleet.tick();
    expect(fleet.offers).toHaveLength(2 * group);
  });
});

describe('S1.9 S1.10 S1.29 a group fails, and its rollout pauses, at its error threshold and not one device before', () => {
  test.each([
    { group: 10, threshold: '20%', halts: 2 },
    { group: 7, threshold: '30%', halts: 3 },
    { group: 20, threshold: '5%', halts: 1 },
    { group: 10, threshold: '3', halts: 3 },
    { group: 20, threshold: '5', halts: 5 },
  ])('$threshold of $group devices is $halts', async ({ group, threshold, halts }) => {
    const fleet = await startFleet({
      devices: 2 * group,
      spec: {
        errorThreshold: threshold,
        stages: `[{name: first, size: ${group}}, {name: second, size: all}]`,
      },
    });
    const first = await fleet.members('first');
    fleet.say('fails', first.slice(0, halts - 1));
    await fleet.advance(HOUR, TICK);
    expect((await fleet.rollout()).state).toBe('running');
    expect((await fleet.stage('first')).state).toBe('running');

    fleet.say('fails', first.slice(0, halts));
    await fleet.tick();
    expect(await fleet.rollout()).toMatchObject({ state: 'paused', cause: 'errorThreshold' });
    expect(await fleet.stage('first')).toMatchObject({
      state: 'failed',
      counts: { failed: halts },
      verdict: { verdict: 'halt', counts: { failed: halts } },
    });
    expect((await fleet.stage('second')).state).toBe('scheduled');
  });
});

describe('S1.11 an error condition stops the whole rollout: no device without an offer gets one afterwards', () => {
  test.each([
    { groups: 5, failing: 2, onFailure: 'pause', state: 'paused' },
    { groups: 4, failing: 3, onFailure: 'rollback', state: 'rolledBack' },
  ])('group $failing of $groups, onFailure: $onFailure', async ({ groups, failing, onFailure, state }) => {
    const spec = { onFailure, errorThreshold: '10%', stages: `{split: ${groups}}` };
    const fleet = await startFleet({ devices: 50, says: 'works', spec: { ...spec, start: 'manual' } });
    // The second half polls two minutes after the first: a group has offers out before all of it has asked.
    await fleet.advance(2 * MINUTE, MINUTE);
    await fleet.enrol(...identities(100, () => ({ product: 'kiosk' })).slice(50));
    await fleet.advance(MINUTE, MINUTE);
    await fleet.commit('Start', rollout('1.0.0', spec));
    await fleet.settle();
    await advanceUntil(fleet, async () => (await fleet.stage(`group-${failing}`)).state === 'running');
    const offeredBefore = fleet.offers.length;
    expect(offeredBefore).toBe(((failing - 1) * 100) / groups);
    const members = await fleet.members(`group-${failing}`);
    fleet.say('fails', members);
    await advanceUntil(fleet, async () => fleet.offers.length > offeredBefore);

    expect((await fleet.rollout()).state).toBe(state);
    const offered = fleet.offers.map(({ id }) => id);
    expect(members.filter((id) => !offered.includes(id))).not.toEqual([]);
    await fleet.advance(2 * HOUR, TICK);
    expect(fleet.offers).toHaveLength(offered.length);
    const after = (await fleet.rollout()).stages.slice(failing);
    expect(after.map((stage) => stage.state)).toEqual(new Array(groups - failing).fill('scheduled'));
    const unoffered = identities(100, () => ({})).filter(({ id }) => !offered.includes(id));
    for (const { id } of unoffered) expect((await fleet.device(id)).assignment).toBeNull();
  });
});

describe('S1.12 the author of a rollout sets both thresholds, for all of its groups or for one', () => {
  const rest = '{name: second, size: all}';
  test.each([
    { own: '', success: '50%', error: '4', passesAt: 5, failsAt: 4 },
    { own: ', successThreshold: 80%', success: '80%', error: '4', passesAt: 8, failsAt: 4 },
    { own: ', errorThreshold: 10%', success: '50%', error: '10%', passesAt: 5, failsAt: 1 },
    {
      own: ', successThreshold: 9, errorThreshold: 20%',
      success: '9',
      error: '20%',
      passesAt: 9,
      failsAt: 2,
    },
  ])('50% and 4 for all$own', async ({ own, success, error, passesAt, failsAt }) => {
    const begin = () =>
      startFleet({
        devices: 20,
        spec: {
          successThreshold: '50%',
          errorThreshold: '4',
          stages: `[{name: first, size: 10${own}}, ${rest}]`,
        },
      });
    const passing = await begin();
    const [first, second] = (await passing.rollout()).stages;
    expect(first).toMatchObject({ successThreshold: success, errorThreshold: error });
    expect(second).toMatchObject({ successThreshold: '50%', errorThreshold: '4' });
    expect(await countUntil(passing, 'works', 'passed')).toBe(passesAt);
    expect(await countUntil(await begin(), 'fails', 'failed')).toBe(failsAt);
  });
});

describe('S1.13 errors are judged before success when both thresholds are met in one tick', () => {
  test.each([
    { group: 10, works: 8, fails: 2, first: 'failed', second: 'scheduled', state: 'paused' },
    { group: 10, works: 8, fails: 1, first: 'passed', second: 'running', state: 'running' },
    { group: 5, works: 4, fails: 1, first: 'failed', second: 'scheduled', state: 'paused' },
  ])('$works of $group work and $fails fail', async ({ group, works, fails, first, second, state }) => {
    const spec = {
      successThreshold: '80%',
      errorThreshold: '20%',
      stages: `[{name: first, size: ${group}}, {name: second, size: all}]`,
    };
    const fleet = await startFleet({ devices: 2 * group, spec });
    await fleet.tick();
    const members = await fleet.members('first');
    fleet.say('works', members.slice(0, works));
    fleet.say('fails', members.slice(works, works + fails));
    await fleet.tick();
    const now = await fleet.rollout();
    expect(now.stages[0]?.counts).toMatchObject({ succeeded: works, failed: fails });
    expect([now.state, ...now.stages.map((stage) => stage.state)]).toEqual([state, first, second]);
    await fleet.advance(HOUR, TICK);
    expect(fleet.offers).toHaveLength(second === 'scheduled' ? group : 2 * group);
  });
});

/** Each stage as `<name> <state> <devices that succeeded>`. */
async function stages(fleet: HawkbitFleet): Promise<string[]> {
  return (await fleet.rollout()).stages.map(
    ({ name, state, counts }) => `${name} ${state} ${counts.succeeded}`,
  );
}

/** How many devices of the first stage must say so until it is in `state`. */
async function countUntil(fleet: HawkbitFleet, says: 'works' | 'fails', state: string): Promise<number> {
  await fleet.tick();
  const members = await fleet.members('first');
  for (const [index, id] of members.entries()) {
    fleet.say(says, [id]);
    await fleet.tick();
    if ((await fleet.stage('first')).state === state) return index + 1;
  }
  throw new Error(`the first stage is not ${state} though all of its ${members.length} devices say: ${says}`);
}
