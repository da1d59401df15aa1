/** Going back in a hurry, and everything that still holds it. */
import { describe, expect, test } from 'vitest';
import type { RolloutName } from '../../src/core/model/ids.ts';
import type { Attempt } from '../../src/core/model/outcome.ts';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { createSimulation, identities, type Simulation } from '../../src/simulate/simulation.ts';
import { FLEET, kiosk, rollout, WORLD } from './fleet-files.ts';

const KIOSK = 'kiosk' as RolloutName;
const START = Date.UTC(2026, 0, 1);
const FROZEN = FLEET.replace(
  '{pollInterval: 5m}',
  '{pollInterval: 5m, freeze: {until: "2026-02-01T00:00:00Z"}}',
);

/** Ten devices on 1.1.0, which succeeded after 1.0.0 had. */
async function fleetOnSecondRelease(): Promise<Simulation> {
  const fleet = await createSimulation({ startAt: START, seed: 'emergency', world: WORLD, wire: 'direct' });
  await fleet.commit('First release', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') });
  await fleet.settle();
  await fleet.enrol(...identities(10, () => ({ product: 'kiosk' })));
  await fleet.advance(4 * HOUR);
  await fleet.commit('Second release', { ...kiosk('1.1.0'), ...rollout('1.1.0') });
  await fleet.advance(4 * HOUR);
  expect(latest(fleet)).toMatchObject({ attempt: 2, state: 'succeeded' });
  return fleet;
}

const latest = (fleet: Simulation): Attempt | undefined =>
  fleet.service.reconciler.state().outcomes.get(KIOSK)?.at(-1);
const versions = (fleet: Simulation) => fleet.devices.map((device) => device.runs()?.version).sort();
const reason = (fleet: Simulation) => fleet.service.reconciler.state().report[0]?.reason;
const problems = (fleet: Simulation) =>
  fleet.service.reconciler.state().wanted?.problems.map(({ rule, message }) => `${rule}: ${message}`);

function ops(...entries: readonly string[]): Record<string, string> {
  const lines = entries.map((entry) => `  - ${entry}\n`).join('');
  return {
    'ops/kiosk.yaml': `apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: kiosk}\nspec:\n  operations:\n${lines}`,
  };
}

const EMERGENCY = '{action: promote, emergency: true, attempt: 3, by: ada, reason: 1.1.0 overheats}';

describe('an emergency', () => {
  test('committed with the revert brings every device back at once, past freeze, start and stages', async () => {
    const fleet = await fleetOnSecondRelease();
    await fleet.commit('Back to 1.0.0', {
      'fleet/fleet.yaml': FROZEN,
      ...rollout('1.0.0', { start: 'manual' }),
      ...ops(EMERGENCY),
    });
    await fleet.settle();
    expect(latest(fleet)).toMatchObject({
      attempt: 3,
      state: 'running',
      stages: [{ name: 'emergency', size: 'all', devices: 10 }],
    });
    expect(problems(fleet)).toEqual([]);
    const program = fleet.service.reconciler.state().published?.program;
    expect(program?.rollouts[0]?.candidate).toMatchObject({ attempt: 3, emergency: true });
    await fleet.advance(20 * MINUTE);
    expect(versions(fleet)).toEqual(new Array(10).fill('1.0.0'));
    expect(latest(fleet)).toMatchObject({ attempt: 3, state: 'succeeded' });
  });

  test('is not needed for the stages to go back: without it they take their time', async () => {
    const fleet = await fleetOnSecondRelease();
    await fleet.commit('Back to 1.0.0', rollout('1.0.0'));
    await fleet.advance(20 * MINUTE);
    expect(versions(fleet).filter((version) => version === '1.0.0')).toHaveLength(2);
    const program = fleet.service.reconciler.state().published?.program;
    expect(program?.rollouts[0]?.candidate).not.toHaveProperty('emergency');
  });

  test('asked for while a stage is open ends that stage undecided and opens for everybody', async () => {
    const fleet = await fleetOnSecondRelease();
    await fleet.commit('Back to 1.0.0', rollout('1.0.0'));
    await fleet.advance(6 * MINUTE);
    await fleet.commit('Hurry', ops(EMERGENCY));
    await fleet.settle();
    expect(latest(fleet)?.stages).toMatchObject([
      {
        name: 'canary',
        state: 'passed',
        verdict: { verdict: 'undecided', because: 'cut short by an emergency that ada asked for' },
      },
      { name: 'emergency', state: 'running' },
    ]);
    await fleet.advance(20 * MINUTE);
    expect(versions(fleet)).toEqual(new Array(10).fill('1.0.0'));
  });

  test('needs as many approvals as the most guarded stage', async () => {
    const fleet = await fleetOnSecondRelease();
    const guarded = rollout('1.0.0', {
      stages: '[{name: canary, size: 2}, {name: fleet, size: all, approvals: 1}]',
    });
    await fleet.commit('Back to 1.0.0', { ...guarded, ...ops(EMERGENCY) });
    await fleet.advance(10 * MINUTE);
    expect(latest(fleet)).toMatchObject({ state: 'waitingForApproval', stages: [] });
    expect(reason(fleet)).toBe('0 of 1 approvals given');
    // An approval of a declared stage is not one of going past all of them.
    await fleet.commit(
      'Approve the wrong one',
      ops(EMERGENCY, '{action: approve, attempt: 3, stage: fleet, by: bo}'),
    );
    await fleet.advance(10 * MINUTE);
    expect(latest(fleet)?.stages).toEqual([]);
    await fleet.commit('Approve', ops(EMERGENCY, '{action: approve, attempt: 3, stage: emergency, by: bo}'));
    await fleet.advance(20 * MINUTE);
    expect(versions(fleet)).toEqual(new Array(10).fill('1.0.0'));
  });

  test.each([
    ['spec.suspend', { suspend: 'true' }, [EMERGENCY], 'spec.suspend is true; take it away to go on'],
    ['a pause', {}, [EMERGENCY, '{action: pause, attempt: 3, by: bo}'], 'paused by bo; resume to go on'],
  ] as const)('does not go past %s', async (_what, spec, entries, because) => {
    const fleet = await fleetOnSecondRelease();
    await fleet.commit('Back to 1.0.0', { ...rollout('1.0.0', spec), ...ops(...entries) });
    await fleet.advance(20 * MINUTE);
    expect(latest(fleet)).toMatchObject({ attempt: 3, stages: [] });
    expect(reason(fleet)).toBe(because);
    expect(versions(fleet)).toEqual(new Array(10).fill('1.1.0'));
  });

  test('has no effect on what has not succeeded here before, and says so', async () => {
    const fleet = await fleetOnSecondRelease();
    await fleet.commit('Third release', { ...kiosk('1.2.0'), ...rollout('1.2.0'), ...ops(EMERGENCY) });
    await fleet.advance(6 * MINUTE);
    expect(latest(fleet)).toMatchObject({ attempt: 3, stages: [{ name: 'canary' }] });
    expect(problems(fleet)).toEqual([
      'operation-emergency: an emergency has no effect here: kiosk@1.2.0 has not succeeded in this rollout before, ' +
        'and an emergency only goes back; let the stages decide, or promote them one by one',
    ]);
  });

  test('has no effect on a widening: those devices never had the revision', async () => {
    const fleet = await fleetOnSecondRelease();
    await fleet.enrol(...identities(30, () => ({ product: 'booth' })).slice(10));
    await fleet.commit('Widen', {
      ...rollout('1.1.0', { targetCondition: "tags.product = 'kiosk' OR tags.product = 'booth'" }),
      ...ops(EMERGENCY),
    });
    await fleet.advance(6 * MINUTE);
    expect(latest(fleet)).toMatchObject({ attempt: 3, stages: [{ name: 'canary' }] });
  });

  test('still halts when what it brings back fails', async () => {
    const fleet = await fleetOnSecondRelease();
    // What worked once does not any more.
    const broken = await fleet.commit('Back to 1.0.0', {
      ...rollout('1.0.0', { gates: '{health: "!healthy"}' }),
      ...ops(EMERGENCY),
    });
    expect(broken).toHaveLength(40);
    await fleet.advance(30 * MINUTE);
    expect(latest(fleet)?.state).toMatch(/^(paused|rolledBack)$/);
  });

  test('leaves the snapshot as it is', async () => {
    const fleet = await fleetOnSecondRelease();
    const snapshotOf = () => fleet.service.reconciler.state().wanted?.desired?.snapshot;
    const before = snapshotOf();
    await fleet.commit('Operate', ops(EMERGENCY));
    await fleet.settle();
    expect(snapshotOf()).toBe(before);
  });
});
