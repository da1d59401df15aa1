/**
 * Progress and reporting, looked at after every tick of a fleet's life: releases that succeed, that a person resumes,
 * takes back or leaves to roll back, while devices come and go and another rollout takes some of them over.
 */
import { describe, expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { OUTCOMES_BRANCH } from '../../src/fleet-repo/outcomes.ts';
import { createService } from '../../src/service.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { kiosk, rollout } from '../simulation/fleet-files.ts';
import { type HawkbitFleet, type RolloutAnswer, startFleet } from './hawkbit-fleet.ts';

interface Life {
  readonly devices: number;
  readonly groups: number;
  /** Devices that enrol, and that are retired, in the middle of a rollout. */
  readonly joining: number;
  readonly leaving: number;
  /** Every how-manieth device another rollout takes over. */
  readonly lobbyEvery: number;
}

const LIVES: readonly Life[] = [
  { devices: 12, groups: 3, joining: 0, leaving: 0, lobbyEvery: 100 },
  { devices: 20, groups: 4, joining: 3, leaving: 2, lobbyEvery: 5 },
  { devices: 9, groups: 2, joining: 1, leaving: 1, lobbyEvery: 2 },
];

test.each(LIVES)(
  'S1.14 at every tick the counts of a rollout sum to its devices: $devices devices',
  async (life) => {
    let ticks = 0;
    const states = new Set<string>();
    for await (const fleet of live(life)) {
      const devices = await listDevices(fleet);
      for (const { name, state, devices: counts, stages } of await rollouts(fleet)) {
        const targeted = devices.get(name) ?? [];
        const taken = targeted.filter(({ assignment }) => assignment !== null && assignment.rollout !== name);
        const shadowed = name === 'kiosk' ? taken.length : 0;
        expect(counts.target).toBe(targeted.length);
        expect(counts.actual).toBe(counts.target - shadowed);
        expect(counts.healthy + counts.unhealthy + counts.unknown).toBe(counts.actual);
        if (isUnderWay(state)) {
          expect(stages.reduce((sum, stage) => sum + total(stage), counts.scheduled)).toBe(counts.actual);
        } else expect(counts.scheduled).toBe(0);
        states.add(state);
        ticks += 1;
      }
    }
    expect(ticks).toBeGreaterThan(30);
    expect([...states]).toEqual(
      expect.arrayContaining(['waitingForApproval', 'running', 'paused', 'succeeded', 'rolledBack']),
    );
  },
);

test.each(LIVES)(
  'S1.15 at every tick the counts of a group sum to its devices: $devices devices',
  async (life) => {
    const constant = life.joining + life.leaving === 0;
    const kinds = new Set<string>();
    for await (const fleet of live(life)) {
      const devices = await listDevices(fleet);
      for (const { name, state, devices: counts, stages } of await rollouts(fleet)) {
        const own = (devices.get(name) ?? []).filter(({ assignment }) => assignment?.rollout === name);
        for (const stage of stages) {
          kinds.add(`${stage.state} in ${isUnderWay(state) ? 'an open' : 'a finished'} rollout`);
          const members = own.filter(({ progress }) => progress?.stage === stage.name);
          if (isUnderWay(state)) {
            for (const [progress, devices] of Object.entries(stage.counts)) {
              const there = members.filter((device) => device.progress?.state === progress);
              expect([stage.name, progress, devices]).toEqual([stage.name, progress, there.length]);
            }
          }
          if (constant || stage.state === 'scheduled') expect(total(stage)).toBe(stage.devices ?? 0);
        }
        const sum = stages.reduce((all, stage) => all + total(stage), 0);
        if (isUnderWay(state)) expect(sum + counts.scheduled).toBe(counts.actual);
        if (constant && state === 'succeeded') expect(sum).toBe(counts.actual);
      }
    }
    expect([...kinds].sort()).toEqual([
      'failed in a finished rollout',
      'failed in an open rollout',
      'passed in a finished rollout',
      'passed in an open rollout',
      'running in a finished rollout',
      'running in an open rollout',
      'scheduled in an open rollout',
    ]);
  },
);

describe('S1.16 the outcomes up to a commit say what was served at that commit', () => {
  test.each(LIVES)('$devices devices in $groups groups', async (life) => {
    const served = new Map<string, { main: string | undefined; record: unknown }>();
    const verdicts = new Set<string>();
    let last: HawkbitFleet | undefined;
    for await (const fleet of live(life)) {
      const tip = (await fleet.git.branch(OUTCOMES_BRANCH)) ?? '';
      const main = await fleet.git.branch('main');
      const answers = await rollouts(fleet);
      served.set(`${tip} ${main}`, { main, record: recordOf(answers) });
      last = fleet;
      // What a verdict says was seen is what was served in the tick that it was given in.
      for (const { verdict, counts, failures } of answers.flatMap(({ stages }) => stages)) {
        if (Date.parse(String(verdict?.at)) !== fleet.clock.now()) continue;
        expect(verdict).toMatchObject({ counts, failures });
        verdicts.add(String(verdict?.verdict));
      }
    }
    expect([...verdicts].sort()).toEqual(['halt', 'pass']);
    if (last === undefined) throw new Error('nothing was lived');
    expect(served.size).toBeGreaterThan(12);
    expect(new Set([...served.values()].map(({ record }) => JSON.stringify(record))).size).toBeGreaterThan(
      12,
    );
    for (const [at, { main, record }] of served) {
      const outcomes = at.split(' ')[0];
      expect(recordOf(await readAnew(last, { main, [OUTCOMES_BRANCH]: outcomes }))).toEqual(record);
    }
  });
});

/** The life, one tick after the other; the fleet may be looked at after each. */
async function* live(life: Life): AsyncGenerator<HawkbitFleet> {
  const { devices, groups, joining, leaving, lobbyEvery } = life;
  const tagsOf = (n: number) => ({ ring: n % lobbyEvery === 0 ? 'lobby' : 'hall' });
  const all = identities(devices + joining, (n) => ({ product: 'kiosk', ...tagsOf(n) }));
  const ids = all.map(({ id }) => id);
  const stages = `{split: ${groups}}`;
  const fleet = await startFleet({ devices, tagsOf, says: 'works', installMs: 1, spec: { stages } });
  async function* ticks(count: number) {
    for (let tick = 0; tick < count; tick++) {
      await fleet.tick();
      yield fleet;
    }
  }
  const whole = 2 * groups + 3;
  yield fleet;
  yield* ticks(whole);

  const lobby = { priority: '20', targetCondition: "tags.ring = 'lobby'", stages: '{split: 2}' };
  await fleet.commit('Lobby', { ...kiosk('1.0.5'), ...rollout('1.0.5', lobby, 'lobby') });
  yield* ticks(7);

  // Somebody must approve; one device fails, a person resumes all the same; devices come and go.
  const approved = `[{name: canary, size: 3, approvals: 1, successThreshold: 60%}, {name: half, size: 50%}, {name: fleet, size: all}]`;
  const careful = { onFailure: 'pause', errorThreshold: '1', stages: approved };
  await fleet.commit('Second', { ...kiosk('1.1.0'), ...rollout('1.1.0', careful) });
  yield* ticks(2);
  await fleet.operate('{action: approve, attempt: 2, stage: canary, by: ada}');
  fleet.say('fails', (await fleet.members('canary')).slice(0, 1));
  yield* ticks(3);
  await fleet.operate('{action: resume, attempt: 2, by: ada}');
  yield* ticks(1);
  await fleet.enrol(...all.slice(devices));
  // Whose stage has passed: one that loses members before that waits for them.
  const retired = (await fleet.members('canary')).slice(0, leaving).map((id) => `{id: ${id}, retired: true}`);
  await fleet.commit('Retire', {
    'fleet/devices/retired.yaml': `apiVersion: tidegate.dev/v1\nkind: DeviceList\nmetadata: {name: retired}\nspec: {devices: [${retired.join(', ')}]}\n`,
  });
  yield* ticks(5);
  fleet.say('works', ids);
  yield* ticks(5);

  // A commit takes the third release back while its second stage is open.
  await fleet.commit('Third', { ...kiosk('1.2.0'), ...rollout('1.2.0', { stages }) });
  yield* ticks(1);
  fleet.say('nothing', ids);
  yield* ticks(2);
  await fleet.commit('Take it back', rollout('1.1.0', { stages }));
  yield* ticks(3);

  // The fourth one fails, and rolls itself back.
  fleet.say('fails', ids);
  await fleet.commit('Fourth', { ...kiosk('1.3.0'), ...rollout('1.3.0', { stages, onFailure: 'rollback' }) });
  yield* ticks(3);
  fleet.say('works', ids);
  yield* ticks(3);
}

function isUnderWay(state: string): boolean {
  return ['ready', 'waitingForApproval', 'running', 'paused'].includes(state);
}

function total({ counts }: RolloutAnswer['stages'][number]): number {
  return Object.values(counts).reduce((sum, devices) => sum + devices, 0);
}

async function rollouts(fleet: Pick<HawkbitFleet, 'service'>): Promise<readonly RolloutAnswer[]> {
  const get = async <Answer>(path: string) =>
    (await (await fleet.service.app.request(path)).json()) as Answer;
  const { rollouts } = await get<{ rollouts: readonly { name: string }[] }>('/api/rollouts');
  return Promise.all(rollouts.map(({ name }) => get<RolloutAnswer>(`/api/rollouts/${name}`)));
}

interface ListedDevice {
  readonly id: DeviceId;
  readonly assignment: { readonly rollout: string } | null;
  readonly progress?: { readonly stage: string; readonly state: string };
}

/** The devices that each rollout targets, as listed one by one. */
async function listDevices(fleet: HawkbitFleet): Promise<ReadonlyMap<string, readonly ListedDevice[]>> {
  const listed = new Map<string, readonly ListedDevice[]>();
  for (const { name } of await rollouts(fleet)) {
    const response = await fleet.service.app.request(`/api/devices?rollout=${name}&limit=1000`);
    listed.set(name, ((await response.json()) as { devices: readonly ListedDevice[] }).devices);
  }
  return listed;
}

/** What an answer says beyond what devices report from minute to minute. */
function recordOf(answers: readonly RolloutAnswer[]) {
  return answers.map(({ name, state, cause, attempt, stages, knownGood, restored, history, attempts }) => ({
    rollout: { name, state, cause, attempt, knownGood, restored, history },
    stages: stages.map(({ counts, failures, ...rest }) =>
      // Of a finished attempt the counts are part of the record; of one under way they are news.
      isUnderWay(state) ? rest : { ...rest, counts, failures },
    ),
    attempts,
  }));
}

/** The answers of a server that has an empty store and the repository as it was when its branches were here. */
async function readAnew(
  fleet: HawkbitFleet,
  branches: Readonly<Record<string, string | undefined>>,
): Promise<readonly RolloutAnswer[]> {
  const { git, keys, clock } = fleet;
  const service = createService({
    git: {
      ...git,
      branch: async (name) => branches[name],
      moveBranch: async () => ({ kind: 'refused', reason: 'this is the past' }),
    },
    store: createMemoryStore({ epoch: 'another' }),
    keys,
    clock,
    randomHex: () => '0'.repeat(32),
  });
  await service.reconciler.pass();
  return rollouts({ service });
}
