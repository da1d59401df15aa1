/** hawkBit's rollouts from their creation to their start: what is created, for whom, split how, and what each step writes. */
import { describe, expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { OUTCOMES_BRANCH } from '../../src/fleet-repo/outcomes.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { kiosk, rollout } from '../simulation/fleet-files.ts';
import { type HawkbitFleet, type OutcomeCommit, startFleet, TICK } from './hawkbit-fleet.ts';

describe('S1.1 a committed rollout is ready after one pass, with the stages it declares', () => {
  test.each([
    { stages: '{split: 5}', declared: ['group-1', 'group-2', 'group-3', 'group-4', 'group-5'] },
    { stages: '[{canary: 2}, {name: fleet, size: all}]', declared: ['canary', 'fleet'] },
  ])('$stages', async ({ stages, declared }) => {
    const fleet = await startFleet({ devices: 5, spec: { start: 'manual' } });
    await fleet.commit('Create', rollout('1.0.0', { start: 'manual', stages }, 'created'));
    expect((await fleet.service.app.request('/api/rollouts/created')).status).toBe(404);
    await fleet.service.reconciler.pass();
    const created = await fleet.rollout('created');
    expect(created.state).toBe('ready');
    expect(created.stages.map(({ name }) => name)).toEqual(declared);
  });
});

describe('S1.3 a started rollout runs its first stage, the others wait', () => {
  const stages = '{split: 3}';
  const expectNotStarted = async (fleet: HawkbitFleet) => {
    const { state, stages } = await fleet.rollout();
    expect([state, ...stages.map((stage) => stage.state)]).toEqual([
      'ready',
      'scheduled',
      'scheduled',
      'scheduled',
    ]);
    expect(fleet.offers).toEqual([]);
  };
  const expectStarted = async (fleet: HawkbitFleet) => {
    const { state, stages } = await fleet.rollout();
    expect([state, ...stages.map((stage) => stage.state)]).toEqual([
      'running',
      'running',
      'scheduled',
      'scheduled',
    ]);
    await fleet.tick();
    expect(fleet.offers.map(({ id }) => id)).toEqual(await fleet.members('group-1'));
  };

  test.each([['true'], ['onMerge']])('with start: %s', async (start) => {
    const fleet = await startFleet({ devices: 6, spec: { start: 'false', stages } });
    await fleet.advance(HOUR, TICK);
    await expectNotStarted(fleet);
    await fleet.commit('Start', rollout('1.0.0', { start, stages }));
    await fleet.settle();
    await expectStarted(fleet);
  });

  test.each([
    ['2026-01-01T00:30:00Z', 30 * MINUTE],
    ['2026-01-01T03:15:00+01:00', 135 * MINUTE],
  ])('at %s, not a millisecond before', async (start, inMs) => {
    const fleet = await startFleet({ devices: 6, spec: { start: `"${start}"`, stages } });
    await fleet.advance(inMs - 1, TICK);
    await expectNotStarted(fleet);
    fleet.clock.advance(1);
    await fleet.settle();
    await expectStarted(fleet);
  });
});

test.each([
  { condition: "tags.floor = '1'", matches: (n: number) => n % 3 === 1, count: 7 },
  { condition: "tags.floor IN ['0', '2']", matches: (n: number) => n % 3 !== 1, count: 13 },
])('S1.4 $condition targets $count of 20 devices, exactly those', async ({ condition, matches, count }) => {
  const fleet = await startFleet({
    devices: 20,
    tagsOf: (n) => ({ floor: String(n % 3) }),
    spec: { targetCondition: `"${condition}"`, stages: '[{name: fleet, size: all}]' },
  });
  const expected = identities(20, () => ({}))
    .map(({ id }) => id)
    .filter((_, index) => matches(index + 1));
  expect(expected).toHaveLength(count);
  expect((await fleet.rollout()).devices.target).toBe(count);
  expect(await fleet.members('fleet')).toEqual(expected);
  await fleet.tick();
  expect(fleet.offers.map(({ id }) => id)).toEqual(expected);
});

describe('S1.5 a rollout names one distribution set', () => {
  test.each([
    ['kiosk@1.0.1', 'kiosk'],
    ['terminal@1.0.0', 'lobby'],
  ])('an unknown one, %s, is refused by file and key, and nothing changes', async (unknown, name) => {
    const fleet = await startFleet({ devices: 2 });
    const before = await status(fleet);
    await fleet.commit('Mistake', rollout(unknown.replace('kiosk@', ''), { distributionSet: unknown }, name));
    await fleet.settle();
    const after = await status(fleet);
    expect(after).toMatchObject({ snapshot: before.snapshot, headInForce: false });
    const [problem, ...others] = after.problems;
    expect(others).toEqual([]);
    // Line 6 is `  distributionSet: <name>`; the value is what is wrong.
    expect(problem).toMatchObject({
      file: `fleet/rollouts/${name}.yaml`,
      line: 6,
      column: 20,
      severity: 'error',
    });
    expect(problem?.message).toContain('spec.distributionSet');
    expect(problem?.message).toContain(unknown);
  });

  test.each([
    { modules: { app: ['app.img', 'app.sig'], radio: ['radio.bin'] } },
    { modules: { app: ['only.img'] } },
  ])('a known one reaches a device with exactly its artifacts: $modules', async ({ modules }) => {
    const fleet = await startFleet({ devices: 1, wire: 'http', spec: { start: 'manual' } });
    const written = Object.entries(modules).map(([name, artifacts]) => ({
      name,
      version: '2.0.0',
      type: 'image',
      artifacts: artifacts.map((artifact, index) => ({
        name: artifact,
        sha256: String(index + 1).repeat(64),
        sizeBytes: 1000 + index,
        urls: [`https://artifacts.example/${artifact}`],
      })),
    }));
    await fleet.commit('Artifacts', {
      ...rollout('2.0.0', { stages: '[{name: fleet, size: all}]' }),
      'fleet/distribution-sets/kiosk-2.0.0.yaml': `apiVersion: tidegate.dev/v1
kind: DistributionSet
metadata: {name: kiosk@2.0.0}
spec: {modules: ${JSON.stringify(written)}}
`,
    });
    await fleet.tick();
    const [offer, ...others] = fleet.offers;
    expect(others).toEqual([]);
    expect(offer?.manifest.distributionSet).toBe('kiosk@2.0.0');
    const artifacts = offer?.manifest.modules.flatMap((module) => module.artifacts ?? []);
    expect(artifacts).toEqual(written.flatMap((module) => module.artifacts));
  });
});

test.each([
  { devices: 100, groups: 5, sizes: [20, 20, 20, 20, 20] },
  { devices: 103, groups: 5, sizes: [21, 21, 20, 21, 20] },
  { devices: 7, groups: 3, sizes: [3, 2, 2] },
  { devices: 3, groups: 5, sizes: [1, 1, 0, 1, 0] },
])('S1.6 $devices devices split into $groups groups: $sizes, none in two', async (given) => {
  const { devices, groups, sizes } = given;
  const fleet = await startFleet({ devices, says: 'works', spec: { stages: `{split: ${groups}}` } });
  const groupsOf = new Map<DeviceId, Set<string>>();
  for (let ticks = 0; ticks <= groups; ticks++) {
    for (const { name } of (await fleet.rollout()).stages) {
      for (const id of await fleet.members(name)) {
        groupsOf.set(id, (groupsOf.get(id) ?? new Set()).add(name));
      }
    }
    await fleet.tick();
  }
  const { state, stages } = await fleet.rollout();
  expect(state).toBe('succeeded');
  expect(stages.map((stage) => stage.devices)).toEqual(sizes);
  expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
  expect([...groupsOf.values()].filter((names) => names.size !== 1)).toEqual([]);
  const offered = fleet.offers.map(({ id }) => id);
  expect(offered).toHaveLength(devices);
  expect(new Set(offered).size).toBe(devices);
});

describe('S1.21 hawkBit creating → ready: an attempt is ready from the commit that records it', () => {
  test('the first one of a rollout', async () => {
    const fleet = await startFleet({ devices: 2, spec: { start: 'manual' } });
    await fleet.advance(HOUR, TICK);
    expect((await fleet.outcomes()).map(trace)).toEqual(['attempt 1 ready created, 0 stages']);
    expect((await fleet.rollout()).history).toMatchObject([{ state: 'ready', cause: 'created' }]);
  });

  test('and each later one, after the end of the one before it', async () => {
    const fleet = await startFleet({ devices: 2, spec: { start: 'manual' } });
    await fleet.commit('Change', { ...kiosk('1.1.0'), ...rollout('1.1.0', { start: 'manual' }) });
    await fleet.settle();
    expect((await fleet.outcomes()).map(trace)).toEqual([
      'attempt 1 ready created, 0 stages',
      'attempt 1 superseded replaced, 0 stages',
      'attempt 2 ready created, 0 stages',
    ]);
  });

  test('until that commit is there, a rollout has no attempt and no state of its own', async () => {
    const fleet = await startFleet({ devices: 2 });
    fleet.git.refuseMoves(OUTCOMES_BRANCH, 'the branch is protected');
    await fleet.commit('Create', rollout('1.0.0', {}, 'created'));
    await fleet.settle();
    const created = await fleet.rollout('created');
    expect(created).toMatchObject({ state: 'unknown', attempts: [], history: [] });
    fleet.git.refuseMoves(OUTCOMES_BRANCH, undefined);
    await fleet.settle();
    expect((await fleet.rollout('created')).history[0]).toMatchObject({ state: 'ready' });
  });
});

describe('S1.22 hawkBit ready → starting → running: a rollout runs from the commit that opens its first stage', () => {
  test.each([['[{name: fleet, size: all}]'], ['{split: 4}']])('with %s', async (stages) => {
    const fleet = await startFleet({ devices: 4, spec: { start: 'manual', stages } });
    await fleet.commit('Start', rollout('1.0.0', { stages }));
    await fleet.settle();
    expect((await fleet.outcomes()).map(trace)).toEqual([
      'attempt 1 ready created, 0 stages',
      'attempt 1 running started, 1 stages',
    ]);
    const { history } = await fleet.rollout();
    expect(history.map(({ state, cause }) => `${state} ${cause}`)).toEqual([
      'ready created',
      'running started',
    ]);
  });

  test('while that commit cannot be made, it stays ready and no device is offered anything', async () => {
    const stages = '[{name: fleet, size: all}]';
    const fleet = await startFleet({ devices: 4, spec: { start: 'manual', stages } });
    fleet.git.refuseMoves(OUTCOMES_BRANCH, 'the branch is protected');
    await fleet.commit('Start', rollout('1.0.0', { stages }));
    await fleet.advance(HOUR, TICK);
    expect((await fleet.rollout()).state).toBe('ready');
    expect(fleet.offers).toEqual([]);
    fleet.git.refuseMoves(OUTCOMES_BRANCH, undefined);
    await fleet.tick();
    expect((await fleet.rollout()).state).toBe('running');
    expect(fleet.offers).toHaveLength(4);
  });
});

function trace({ outcome }: OutcomeCommit): string {
  return `attempt ${outcome.attempt} ${outcome.state} ${outcome.cause}, ${outcome.stages.length} stages`;
}

interface StatusAnswer {
  readonly snapshot: string;
  readonly headInForce: boolean;
  readonly problems: readonly { readonly message: string }[];
}

async function status(fleet: HawkbitFleet): Promise<StatusAnswer> {
  const response = await fleet.service.app.request('/api/status');
  return (await response.json()) as StatusAnswer;
}
