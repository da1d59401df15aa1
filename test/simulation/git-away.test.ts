import { expect, test } from 'vitest';
import type { RolloutName } from '../../src/core/model/ids.ts';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import type { Git } from '../../src/git/git.ts';
import { createSimulation, identities, type Simulation } from '../../src/simulate/simulation.ts';
import { FLEET, kiosk, rollout, WORLD } from './fleet-files.ts';

const KIOSK = 'kiosk' as RolloutName;

/** Takes the repository away: every call fails until the function that is returned brings it back. */
function takeAway(git: Git, calls: readonly (keyof Git)[]): () => void {
  const here = new Map(calls.map((call) => [call, git[call]]));
  const failing = Object.fromEntries(
    calls.map((call) => [call, () => Promise.reject(new Error('no route to host'))]),
  );
  Object.assign(git, failing);
  return () => Object.assign(git, Object.fromEntries(here));
}

async function fleetOnKnownGood(): Promise<Simulation> {
  const fleet = await createSimulation({
    startAt: Date.UTC(2026, 0, 1),
    seed: 'away',
    world: WORLD,
    wire: 'direct',
  });
  await fleet.commit('First release', {
    'fleet/fleet.yaml': FLEET,
    ...kiosk('1.0.0'),
    ...rollout('1.0.0', { onFailure: 'rollback' }),
  });
  await fleet.settle();
  await fleet.enrol(...identities(10, () => ({ product: 'kiosk' })));
  await fleet.advance(4 * HOUR);
  return fleet;
}

const versions = (fleet: Simulation) => fleet.devices.map((device) => device.runs()?.version).sort();
const attempts = (fleet: Simulation) => fleet.service.reconciler.state().outcomes.get(KIOSK) ?? [];

test.each([
  ['cannot be read', ['branch', 'commit', 'tree', 'blob']],
  ['cannot be written', ['writeBlob', 'writeTree', 'writeCommit', 'moveBranch']],
] as const)(
  'while the repository %s nothing opens, and a breach still sends devices back',
  async (_how, calls) => {
    const fleet = await fleetOnKnownGood();
    await fleet.commit('Second release', {
      ...kiosk('1.1.0-bad'),
      ...rollout('1.1.0-bad', { onFailure: 'rollback' }),
    });
    await fleet.advance(6 * MINUTE, MINUTE);
    expect(
      attempts(fleet)
        .at(-1)
        ?.stages.map(({ state }) => state),
    ).toEqual(['running']);

    const bringBack = takeAway(fleet.git, calls);
    for (let minute = 0; minute < 120; minute += 5) {
      // A pass that fails is repeated by the loop; here time goes on in between.
      await fleet.advance(5 * MINUTE).catch(() => undefined);
    }
    expect(versions(fleet)).toEqual(new Array(10).fill('1.0.0'));
    expect(attempts(fleet).at(-1)?.stages).toHaveLength(1);

    bringBack();
    await fleet.advance(HOUR);
    expect(attempts(fleet).at(-1)).toMatchObject({ state: 'rolledBack', restored: { main: 'agrees' } });
    expect(
      attempts(fleet)
        .at(-1)
        ?.history.filter(({ state }) => state === 'rolledBack'),
    ).toHaveLength(1);
    expect(fleet.service.reconciler.state().held).toBeUndefined();
  },
);

test('while the repository is away a healthy stage goes on and passes only when it is back', async () => {
  const fleet = await fleetOnKnownGood();
  await fleet.commit('Second release', { ...kiosk('1.1.0'), ...rollout('1.1.0') });
  await fleet.advance(6 * MINUTE, MINUTE);
  const bringBack = takeAway(fleet.git, ['branch', 'commit', 'tree', 'blob', 'moveBranch', 'writeBlob']);
  await fleet.advance(3 * HOUR);
  expect(versions(fleet).filter((version) => version === '1.1.0')).toHaveLength(2);
  const response = await fleet.service.app.request('/api/status');
  expect(await response.json()).toMatchObject({ held: 'the repository cannot be read: no route to host' });
  bringBack();
  await fleet.advance(3 * HOUR);
  expect(versions(fleet)).toEqual(new Array(10).fill('1.1.0'));
});
