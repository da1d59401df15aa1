/** hawkBit's states of rollouts, groups and targets: every transition that there is, by what causes it, and no other. */
import { describe, expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import type { Attempt, RolloutState, StageState } from '../../src/core/model/outcome.ts';
import { DAY, HOUR, MINUTE } from '../../src/core/model/time.ts';
import { enter, enterStage } from '../../src/core/plan/lifecycle.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { kiosk, rollout } from '../simulation/fleet-files.ts';
import { advanceUntil, type HawkbitFleet, startFleet, TICK } from './hawkbit-fleet.ts';

const ROLLOUT_STATES = [
  'ready',
  'waitingForApproval',
  'running',
  'monitoring',
  'paused',
  'succeeded',
  'stopped',
  'rolledBack',
  'superseded',
] as const satisfies readonly RolloutState[];

const ROLLOUT_TRANSITIONS = [
  'ready → waitingForApproval',
  'ready → running',
  'ready → stopped',
  'ready → superseded',
  'waitingForApproval → running',
  'waitingForApproval → monitoring',
  'waitingForApproval → paused',
  'waitingForApproval → stopped',
  'waitingForApproval → rolledBack',
  'waitingForApproval → superseded',
  'running → waitingForApproval',
  'running → monitoring',
  'running → paused',
  'running → succeeded',
  'running → stopped',
  'running → rolledBack',
  'running → superseded',
  'monitoring → running',
  'monitoring → paused',
  'monitoring → stopped',
  'monitoring → rolledBack',
  'monitoring → superseded',
  'paused → running',
  'paused → stopped',
  'paused → rolledBack',
  'paused → superseded',
  'stopped → rolledBack',
  'superseded → rolledBack',
];

const STAGE_STATES = ['scheduled', 'running', 'passed', 'failed'] as const satisfies readonly StageState[];

const STAGE_TRANSITIONS = [
  'scheduled → running',
  'running → passed',
  'running → failed',
  'passed → failed',
  'failed → running',
  'failed → passed',
];

/** The second attempt: the first one is known-good, so that there is something to go back to. */
const SECOND = 2;
const STAGES = {
  free: '[{name: canary, size: 2}, {name: fleet, size: all}]',
  approveFirst: '[{name: canary, size: 2, approvals: 1}, {name: fleet, size: all}]',
  approveSecond: '[{name: canary, size: 2}, {name: fleet, size: all, approvals: 1}]',
};

/** Brings the second attempt into a state. */
const REACH: Readonly<Record<RolloutState, (fleet: HawkbitFleet) => Promise<void>>> = {
  ready: (fleet) => release(fleet, '1.1.0', { start: 'manual' }),
  async waitingForApproval(fleet) {
    await release(fleet, '1.1.0', { stages: STAGES.approveSecond });
    await fleet.advance(3 * TICK, TICK);
  },
  async running(fleet) {
    fleet.say('nothing', everyone);
    await release(fleet, '1.1.0', { stages: STAGES.approveSecond });
    await fleet.tick();
  },
  async monitoring(fleet) {
    await REACH.running(fleet);
    await ASK.monitoring(fleet, 'running');
    await fleet.advance(2 * TICK, TICK);
  },
  async paused(fleet) {
    await REACH.running(fleet);
    await operate(fleet, 'pause');
  },
  async succeeded(fleet) {
    await release(fleet, '1.1.0');
    await fleet.advance(5 * TICK, TICK);
  },
  async stopped(fleet) {
    await REACH.running(fleet);
    await operate(fleet, 'cancel');
  },
  async rolledBack(fleet) {
    await REACH.running(fleet);
    await release(fleet, '1.0.0');
  },
  async superseded(fleet) {
    await REACH.running(fleet);
    await release(fleet, '1.2.0', { start: 'manual' });
  },
};

/** What people and devices do to bring an attempt into a state, whichever it is in. */
const ASK: Readonly<Record<RolloutState, (fleet: HawkbitFleet, from: RolloutState) => Promise<void>>> = {
  ready: (fleet) => operate(fleet, 'retry'),
  async waitingForApproval(fleet, from) {
    if (from === 'ready') await release(fleet, '1.1.0', { stages: STAGES.approveFirst });
    fleet.say('works', everyone);
  },
  async running(fleet, from) {
    if (from === 'ready') await release(fleet, '1.1.0');
    await operate(fleet, 'approve, stage: fleet');
    await operate(fleet, 'resume');
  },
  async monitoring(fleet) {
    fleet.say('fails', everyone.slice(0, 5));
  },
  paused: (fleet) => operate(fleet, 'pause'),
  async succeeded(fleet, from) {
    if (from === 'running') await release(fleet, '1.1.0', { stages: STAGES.free });
    fleet.say('works', everyone);
  },
  stopped: (fleet) => operate(fleet, 'cancel'),
  rolledBack: (fleet) => release(fleet, '1.0.0'),
  superseded: (fleet) => release(fleet, '1.2.0', { start: 'manual' }),
};

/** A device that fails is watched; too many for the error threshold are none. */
const WATCHED = {
  errorThreshold: '100',
  gates:
    '{health: healthy, failures: {share: failed, above: 0%, ladder: [{from: 0, severity: moderate, action: monitor, within: 48h}]}}',
};

const everyone = identities(6, () => ({})).map(({ id }) => id);

describe('S1.20 a rollout goes from state to state as the table lists, and no other way', () => {
  describe.each(ROLLOUT_STATES)('from %s', (from) => {
    test.each(ROLLOUT_STATES)('to %s, when people and devices do what leads there', async (to) => {
      const fleet = await startFleet({
        devices: 6,
        says: 'works',
        spec: { stages: '[{name: fleet, size: all}]' },
      });
      await fleet.tick();
      await REACH[from](fleet);
      expect((await attemptOf(fleet, SECOND)).state).toBe(from);
      const before = transitionsOf(await attemptOf(fleet, SECOND)).length;
      await ASK[to](fleet, from);
      await fleet.advance(5 * TICK, TICK);
      const transitions = transitionsOf(await attemptOf(fleet, SECOND));
      const first = transitions[before];
      const listed = ROLLOUT_TRANSITIONS.includes(`${from} → ${to}`);
      if (listed) expect(first).toBe(`${from} → ${to}`);
      else expect(first).not.toBe(`${from} → ${to}`);
      expect(ROLLOUT_TRANSITIONS).toEqual(expect.arrayContaining(transitions));
    });
  });

  test('a decision that would go another way is refused by the names of both states', async () => {
    const fleet = await startFleet({ devices: 1, spec: { start: 'manual' } });
    const ready = await attemptOf(fleet, 1);
    for (const from of ROLLOUT_STATES) {
      for (const to of ROLLOUT_STATES) {
        const change = () => enter({ ...ready, state: from }, to, { cause: 'operator', at: 0 });
        if (ROLLOUT_TRANSITIONS.includes(`${from} → ${to}`)) expect(change().state).toBe(to);
        else expect(change).toThrow(`rollout kiosk: ${from} → ${to} is not a transition`);
      }
    }
  });
});

describe('S1.20 what hawkBit has a state for and Tidegate does not', () => {
  test.each([
    { asked: 'nobody', entries: [] },
    {
      asked: 'somebody for another attempt and another stage',
      entries: [
        '{action: approve, attempt: 2, stage: canary, by: ada}',
        '{action: approve, attempt: 1, stage: fleet, by: ada}',
      ],
    },
  ])('approval_denied: approved by $asked, it waits until it is cancelled', async ({ entries }) => {
    const fleet = await startFleet({ devices: 6, spec: { stages: STAGES.approveFirst } });
    await fleet.operate(...entries);
    await fleet.advance(7 * DAY, 6 * HOUR);
    expect((await fleet.rollout()).state).toBe('waitingForApproval');
    await operate(fleet, 'cancel', 1);
    await operate(fleet, 'approve, stage: canary', 1);
    await fleet.advance(HOUR, TICK);
    expect(await fleet.rollout()).toMatchObject({ state: 'stopped', cause: 'operator' });
    expect(fleet.offers).toEqual([]);
  });

  test.each([
    { when: 'running', start: 'onMerge', trace: ['ready', 'running', 'stopped'] },
    { when: 'ready', start: 'manual', trace: ['ready', 'stopped'] },
  ])('deleted: removed while $when, it stops, and its outcomes stay', async ({ start, trace }) => {
    const fleet = await startFleet({ devices: 6, spec: { start, stages: STAGES.free } });
    await fleet.commit('Remove', { 'fleet/rollouts/kiosk.yaml': null });
    await fleet.advance(HOUR, TICK);
    expect((await fleet.service.app.request('/api/rollouts/kiosk')).status).toBe(404);
    expect(fleet.offers).toEqual([]);
    const { outcome } = (await fleet.outcomes()).at(-1) ?? {};
    expect(outcome).toMatchObject({ state: 'stopped', cause: 'removed' });
    expect(outcome?.history.map(({ state }) => state)).toEqual(trace);
  });
});

describe('S1.28 a stage goes from state to state as the table lists, and no other way', () => {
  test('when people and devices do what leads there', async () => {
    const seen = new Set<string>();
    // The last open stage fails and is resumed; then a stage that has passed fails, and is forgiven as well.
    const fleet = await startFleet({
      devices: 30,
      spec: { errorThreshold: '2', onFailure: 'pause', stages: '{split: 3}' },
    });
    const [first = [], failing] = [await fleet.members('group-1'), 2];
    fleet.say('fails', first.slice(0, failing));
    await fleet.tick();
    await fleet.tick();
    await operate(fleet, 'resume', 1);
    fleet.say('works', first);
    await fleet.tick();
    fleet.say('fails', first.slice(0, 2 * failing));
    await fleet.tick();
    await operate(fleet, 'resume', 1);
    fleet.say('works', await fleet.members('group-2'));
    await fleet.tick();

    const states = new Map<string, StageState>();
    for (const { outcome } of await fleet.outcomes()) {
      for (const { name, state } of outcome.stages) {
        const before = states.get(name) ?? 'scheduled';
        if (before !== state) seen.add(`${before} → ${state}`);
        states.set(name, state);
      }
    }
    expect([...seen].sort()).toEqual([...STAGE_TRANSITIONS].sort());
    expect([...states]).toEqual([
      ['group-1', 'passed'],
      ['group-2', 'passed'],
      ['group-3', 'running'],
    ]);
  });

  test('a decision that would go another way is refused by the names of both states', async () => {
    const fleet = await startFleet({ devices: 1 });
    const { stages, ...running } = await attemptOf(fleet, 1);
    for (const from of STAGE_STATES) {
      const attempt = { ...running, stages: stages.map((stage) => ({ ...stage, state: from })) };
      for (const to of STAGE_STATES) {
        const change = () => enterStage(attempt, 0, to);
        if (STAGE_TRANSITIONS.includes(`${from} → ${to}`)) expect(change().stages[0]?.state).toBe(to);
        else expect(change).toThrow(`rollout kiosk, stage canary: ${from} → ${to} is not a transition`);
      }
    }
  });
});

describe('S1.23 running → paused, with the cause in status and outcome', () => {
  const stages = '[{name: first, size: 4, stuckAfter: 2d}, {name: second, size: all}]';
  test.each([
    { cause: 'operator', act: (fleet: HawkbitFleet) => operate(fleet, 'pause', 1) },
    {
      cause: 'errorThreshold',
      async act(fleet: HawkbitFleet) {
        fleet.say('fails', await fleet.members('first'));
        await fleet.tick();
      },
    },
    {
      cause: 'suspended',
      async act(fleet: HawkbitFleet) {
        await fleet.commit('Suspend', rollout('1.0.0', { stages, onFailure: 'pause', suspend: 'true' }));
        await fleet.settle();
      },
    },
    { cause: 'stuck', act: (fleet: HawkbitFleet) => fleet.advance(2 * DAY, HOUR) },
  ])('$cause', async ({ cause, act }) => {
    const fleet = await startFleet({ devices: 8, spec: { stages, onFailure: 'pause' } });
    await fleet.tick();
    expect((await fleet.rollout()).state).toBe('running');
    await act(fleet);
    expect(await fleet.rollout()).toMatchObject({ state: 'paused', cause });
    const { outcome } = (await fleet.outcomes()).at(-1) ?? {};
    expect(outcome).toMatchObject({ state: 'paused', cause });
    expect(outcome?.history.at(-1)).toMatchObject({ state: 'paused', cause, stage: 'first' });
    await fleet.advance(HOUR, TICK);
    expect(fleet.offers).toHaveLength(4);
  });
});

describe('S1.24 paused → running goes on in the group where it stopped, and offers nothing twice', () => {
  test.each([
    { because: 'an operator', groups: 4, stoppedIn: 2 },
    { because: 'errors', groups: 3, stoppedIn: 3 },
  ])('paused by $because in group $stoppedIn of $groups', async ({ because, groups, stoppedIn }) => {
    const spec = { errorThreshold: '1', onFailure: 'pause', stages: `{split: ${groups}}` };
    const fleet = await startFleet({ devices: 12, spec });
    for (let group = 1; group < stoppedIn; group++) {
      fleet.say('works', await fleet.members(`group-${group}`));
      await fleet.advance(2 * TICK, TICK);
    }
    const stopped = await fleet.members(`group-${stoppedIn}`);
    fleet.say('works', stopped.slice(0, 1));
    if (because === 'errors') fleet.say('fails', stopped.slice(1, 2));
    await fleet.tick();
    if (because === 'an operator') await operate(fleet, 'pause', 1);
    expect((await fleet.rollout()).state).toBe('paused');
    fleet.say('works', stopped);
    await fleet.advance(HOUR, TICK);
    expect((await fleet.rollout()).state).toBe('paused');
    const offered = fleet.offers.length;
    expect(offered).toBe((12 / groups) * stoppedIn);

    await fleet.operate('{action: resume, attempt: 1, by: ada}');
    const { stages } = await fleet.rollout();
    const expected = stages.map((_, index) => (index + 1 < stoppedIn ? 'passed' : 'scheduled'));
    expect(stages.map(({ state }) => state)).toEqual(
      // All of its devices work by now, so the group passes in the pass that resumes it, and the next one opens.
      expected.with(stoppedIn - 1, 'passed').map((state, index) => (index === stoppedIn ? 'running' : state)),
    );
    fleet.say('works', everyoneOf(12));
    await fleet.advance(HOUR, TICK);
    expect((await fleet.rollout()).state).toBe('succeeded');
    expect(fleet.offers.map(({ id }) => id).sort()).toEqual(everyoneOf(12));
  });
});

describe('S1.25 running → finished once, with the last report of success that it needs', () => {
  test.each([
    { devices: 6, stages: '{split: 3}', successThreshold: '100%', needed: 6 },
    { devices: 10, stages: '[{canary: 2}, {name: fleet, size: all}]', successThreshold: '75%', needed: 8 },
  ])('$devices devices, $successThreshold', async ({ devices, needed, ...spec }) => {
    const fleet = await startFleet({ devices, spec });
    let worked = 0;
    const oneMoreWorks = async () => {
      await advanceUntil(fleet, async () => fleet.offers.length > worked);
      fleet.say(
        'works',
        fleet.offers.slice(worked, worked + 1).map(({ id }) => id),
      );
      worked += 1;
    };
    while (worked < needed - 1) await oneMoreWorks();
    await fleet.advance(HOUR, TICK);
    expect((await fleet.rollout()).state).toBe('running');
    await oneMoreWorks();
    await fleet.tick();
    expect(await fleet.rollout()).toMatchObject({ state: 'succeeded', cause: 'passed' });

    fleet.say('works', everyoneOf(devices));
    await fleet.advance(6 * HOUR, HOUR);
    const log = await fleet.outcomes();
    expect(log.filter(({ outcome }) => outcome.state === 'succeeded')).toHaveLength(1);
    expect(log.at(-1)?.subject).toBe('kiosk: attempt 1 succeeded: kiosk@1.0.0 is known-good');
    expect(log.at(-1)?.outcome.history.map(({ state }) => state)).toEqual(['ready', 'running', 'succeeded']);
  });
});

describe('S1.30 a device is unknown, registered, pending, in sync or in error', () => {
  // With a rollback nothing would be assigned any more, and the device would be registered again.
  const spec = { onFailure: 'pause', stages: '[{name: first, size: 1}, {name: second, size: all}]' };
  test.each([
    { says: 'works' as const, after: 'inSync' },
    { says: 'fails' as const, after: 'error' },
  ])('it walks unknown → registered → pending → $after when its release $says', async ({ says, after }) => {
    const fleet = await startFleet({
      devices: 1,
      installMs: 10 * MINUTE,
      wire: 'http',
      spec: { ...spec, start: 'manual' },
    });
    const [id] = everyone as [DeviceId];
    const walk = [(await fleet.device(id)).status];
    const look = async () => {
      const { status } = await fleet.device(id);
      if (status !== walk.at(-1)) walk.push(status);
    };
    await fleet.tick();
    await look();
    await fleet.commit('Start', rollout('1.0.0', spec));
    await fleet.settle();
    await look();
    for (let tick = 0; tick < 4; tick++) {
      await fleet.tick();
      await look();
    }
    expect(walk).toEqual(['unknown', 'registered', 'pending']);
    fleet.say(says, [id]);
    await fleet.tick();
    await look();
    expect(walk).toEqual(['unknown', 'registered', 'pending', after]);
  });
});

/** Commits `kiosk@<version>` and a rollout that wants it. */
async function release(
  fleet: HawkbitFleet,
  version: string,
  spec: Record<string, string> = {},
): Promise<void> {
  await fleet.commit(`Release ${version}`, {
    ...kiosk(version),
    ...rollout(version, { ...WATCHED, stages: STAGES.free, ...spec }),
  });
  await fleet.settle();
}

async function operate(fleet: HawkbitFleet, action: string, attempt = SECOND): Promise<void> {
  await fleet.operate(`{action: ${action}, attempt: ${attempt}, by: ada}`);
}

async function attemptOf(fleet: HawkbitFleet, number: number): Promise<Attempt> {
  const attempt = (await fleet.rollout()).attempts.find((each) => each.attempt === number);
  if (attempt === undefined) throw new Error(`there is no attempt ${number}`);
  return attempt;
}

/** `<from> → <to>`, oldest first. */
function transitionsOf({ history }: Attempt): string[] {
  return history.slice(1).map(({ state }, index) => `${history[index]?.state} → ${state}`);
}

function everyoneOf(devices: number): DeviceId[] {
  return identities(devices, () => ({})).map(({ id }) => id);
}
