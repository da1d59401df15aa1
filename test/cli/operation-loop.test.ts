/** Commands and the server that obeys them: what a person types in a clone is what happens to the fleet. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { identities } from '../../src/simulate/simulation.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';
import {
  createRepositoryFleet,
  type RepositoryFleet,
  WHOLE_ROLLOUT,
} from '../simulation/repository-fleet.ts';
import { hasSshKeygen, makeSshKey } from '../trust/ssh-keys.ts';
import { run, temporaryFolder } from './fixture.ts';
import { PERSON } from './people.ts';

/** Four devices on 1.1.0, which succeeded after 1.0.0 had. */
async function fleetOnSecondRelease(): Promise<RepositoryFleet> {
  const fleet = await createRepositoryFleet();
  await fleet.commit('First', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') });
  await fleet.settle();
  await fleet.enrol(...identities(4, () => ({ product: 'kiosk' })));
  await fleet.advance(WHOLE_ROLLOUT);
  await fleet.commit('Second', { ...kiosk('1.1.0'), ...rollout('1.1.0') });
  await fleet.advance(WHOLE_ROLLOUT);
  expect(await fleet.rollout()).toMatchObject({ attempt: 2, state: 'succeeded' });
  return fleet;
}

/** Runs the command in the clone, and lets the server take it in. */
async function tidegate(fleet: RepositoryFleet, ...args: readonly string[]): Promise<void> {
  const { exit, out, err } = await run([...args, '--repo', fleet.folder, '--by', 'ada'], { env: PERSON });
  expect({ exit, err, out }).toMatchObject({ exit: 0, err: '' });
  await fleet.settle();
  const { problems } = await fleet.status();
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
}

describe('what a person types is what happens', () => {
  test('pause, resume, promote, cancel, retry, rollback; and the snapshot is what it was', async () => {
    const fleet = await fleetOnSecondRelease();
    await fleet.commit('Third', { ...kiosk('1.2.0'), ...rollout('1.2.0') });
    await fleet.advance(1);
    const { snapshot } = await fleet.status();

    await tidegate(fleet, 'pause', 'kiosk');
    expect(await fleet.rollout()).toMatchObject({ attempt: 3, state: 'paused', cause: 'operator' });
    await tidegate(fleet, 'resume', 'kiosk');
    expect(await fleet.rollout()).toMatchObject({ attempt: 3, state: 'running' });
    await fleet.advance(20 * 60_000);
    expect((await fleet.rollout()).stages[0]).toMatchObject({ name: 'canary', state: 'running' });
    await tidegate(fleet, 'promote', 'kiosk', '--stage', 'canary');
    expect((await fleet.rollout()).stages[0]).toMatchObject({ name: 'canary', state: 'passed' });
    await tidegate(fleet, 'cancel', 'kiosk');
    expect(await fleet.rollout()).toMatchObject({ attempt: 3, state: 'stopped' });
    await tidegate(fleet, 'retry', 'kiosk');
    expect(await fleet.rollout()).toMatchObject({ attempt: 4, state: 'running' });
    expect((await fleet.status()).snapshot).toBe(snapshot);

    await tidegate(fleet, 'rollback', 'kiosk', '--reason', 'It overheats.');
    expect(await fleet.rollout()).toMatchObject({ attempt: 4, state: 'rolledBack', cause: 'reverted' });
    await fleet.advance(30 * 60_000);
    expect(fleet.versions()).toEqual(new Array(4).fill('1.1.0'));
  });

  test('an entry that was reverted is asked for anew by the same command', async () => {
    const fleet = await fleetOnSecondRelease();
    await fleet.commit('Third', { ...kiosk('1.2.0'), ...rollout('1.2.0') });
    await fleet.advance(1);
    const pause = () => tidegate(fleet, 'pause', 'kiosk');
    await pause();
    await tidegate(fleet, 'resume', 'kiosk');
    await fleet.native('pull', '--quiet', '--ff-only', 'origin', 'main');
    await fleet.native('revert', '--no-edit', 'HEAD', 'HEAD~1');
    await fleet.push();
    await fleet.settle();
    expect(await fleet.rollout()).toMatchObject({ attempt: 3, state: 'running' });
    await pause();
    expect(await fleet.rollout()).toMatchObject({ attempt: 3, state: 'paused', cause: 'operator' });
    await tidegate(fleet, 'resume', 'kiosk');
    expect(await fleet.rollout()).toMatchObject({ attempt: 3, state: 'running' });
  });

  test('an emergency brings an earlier success back at once', async () => {
    const fleet = await fleetOnSecondRelease();
    await tidegate(fleet, 'rollback', 'kiosk', '--to', '1', '--emergency');
    expect(await fleet.rollout()).toMatchObject({
      attempt: 3,
      state: 'running',
      stages: [{ name: 'emergency', devices: 4 }],
    });
    await fleet.advance(30 * 60_000);
    expect(fleet.versions()).toEqual(new Array(4).fill('1.0.0'));
    expect(await fleet.rollout()).toMatchObject({ attempt: 3, state: 'succeeded' });
  });

  test.skipIf(!hasSshKeygen())('two people approve, each with their own key', async () => {
    const fleet = await fleetOnSecondRelease();
    const folder = await temporaryFolder();
    const keys = ['ada', 'bo'].map((name) => ({ name, ...makeSshKey(folder, name) }));
    await fleet.commit('Third', {
      ...kiosk('1.2.0'),
      ...rollout('1.2.0', { stages: '[{name: fleet, size: all, approvals: 2}]' }),
      'trust/allowed_signers': keys.map(({ name, line }) => `${name} ${line}\n`).join(''),
    });
    await fleet.settle();
    await fleet.native('config', 'gpg.format', 'ssh');
    for (const { name } of keys) {
      expect(await fleet.rollout()).toMatchObject({ state: 'waitingForApproval' });
      await fleet.native('config', 'user.signingKey', join(folder, name));
      await tidegate(fleet, 'approve', 'kiosk', '--stage', 'fleet');
    }
    expect(await fleet.rollout()).toMatchObject({ attempt: 3, state: 'running' });
  });
});
