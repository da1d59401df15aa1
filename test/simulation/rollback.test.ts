/** Rolling back, on a real repository in which people work with native git at the same time. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { FLEET, kiosk, rollout, WORLD } from './fleet-files.ts';
import { createRepositoryFleet, type RepositoryFleet, WHOLE_ROLLOUT } from './repository-fleet.ts';

const DEVICES = 4;

/** Four kiosks that run 1.0.0, which is known-good. */
async function goodFleet(
  options: { checkedOut?: boolean; files?: Record<string, string> } = {},
): Promise<RepositoryFleet & { readonly good: string }> {
  const fleet = await createRepositoryFleet(options);
  const good = await fleet.commit('First release', {
    'fleet/fleet.yaml': FLEET,
    ...kiosk('1.0.0'),
    ...rollout('1.0.0'),
    ...options.files,
  });
  await fleet.settle();
  await fleet.enrol(...identities(DEVICES, () => ({ product: 'kiosk' })));
  await fleet.advance(WHOLE_ROLLOUT);
  expect(await fleet.rollout()).toMatchObject({ state: 'succeeded' });
  return { ...fleet, good };
}

const RELEASE_BAD = { ...kiosk('1.1.0-bad'), ...rollout('1.1.0-bad') };

const treeOf = (fleet: RepositoryFleet, commit: string) => fleet.native('rev-parse', `${commit}:fleet`);
const subjectOf = (fleet: RepositoryFleet) => fleet.native('log', '-1', '--format=%s');
const bodyOf = (fleet: RepositoryFleet) => fleet.native('log', '-1', '--format=%b');
const all = (version: string, count = DEVICES) => new Array<string>(count).fill(version);

/** The next commit on main has no parent. */
async function forgetHistory({ native }: RepositoryFleet): Promise<void> {
  await native('checkout', '--quiet', '--orphan', 'fresh');
  await native('branch', '--quiet', '-D', 'main');
  await native('symbolic-ref', 'HEAD', 'refs/heads/main');
}

describe('main is restored by undoing', () => {
  test('one commit, as git revert would: same subject, same first line, same tree', async () => {
    const fleet = await goodFleet();
    const bad = await fleet.commit('Release 1.1.0', RELEASE_BAD);
    await fleet.advance(2 * HOUR);
    await fleet.pull();

    expect(await subjectOf(fleet)).toBe('Revert "Release 1.1.0"');
    expect((await bodyOf(fleet)).split('\n')[0]).toBe(`This reverts commit ${bad}.`);
    expect(await fleet.native('rev-parse', 'HEAD^')).toBe(bad);
    expect(await treeOf(fleet, 'HEAD')).toBe(await treeOf(fleet, fleet.good));
    await fleet.native('checkout', '--quiet', '-b', 'by-hand', bad);
    await fleet.native('revert', '--no-edit', bad);
    expect(await fleet.native('rev-parse', 'HEAD^{tree}')).toBe(
      await fleet.native('rev-parse', 'main^{tree}'),
    );

    expect(fleet.versions()).toEqual(all('1.0.0'));
    const { state, restored } = await fleet.rollout();
    expect(state).toBe('rolledBack');
    expect(restored).toMatchObject({ main: 'agrees', snapshot: await treeOf(fleet, fleet.good) });
    expect(restored?.completedAt).toBeDefined();
  });

  test('several commits, each named, those of others in between kept', async () => {
    const fleet = await goodFleet();
    const gates = '{health: healthy, calm: healthy}';
    const first = await fleet.commit('Ask for more', rollout('1.0.0', { gates }));
    await fleet.commit('Write things down', { 'fleet/NOTES.md': 'notes\n', 'docs/why.md': 'because\n' });
    const second = await fleet.commit('Release 1.1.0', {
      ...kiosk('1.1.0-bad'),
      ...rollout('1.1.0-bad', { gates }),
    });
    await fleet.advance(2 * HOUR);
    await fleet.pull();

    expect(await subjectOf(fleet)).toBe('Restore kiosk to kiosk@1.0.0');
    const body = await bodyOf(fleet);
    expect(body).toContain(`- ${second} Release 1.1.0\n- ${first} Ask for more`);
    expect(body).not.toContain('Write things down');
    expect(await fleet.native('diff', '--name-only', fleet.good, 'HEAD')).toBe('docs/why.md\nfleet/NOTES.md');
    expect(fleet.versions()).toEqual(all('1.0.0'));
  });

  test('a merge commit, relative to its first parent', async () => {
    const fleet = await goodFleet();
    await fleet.native('checkout', '--quiet', '-b', 'topic');
    await fleet.commit('Build 1.1.0', kiosk('1.1.0-bad'));
    await fleet.commit('Ask for 1.1.0', rollout('1.1.0-bad'));
    await fleet.native('checkout', '--quiet', 'main');
    await fleet.native('merge', '--quiet', '--no-ff', '--message', 'Merge topic', 'topic');
    await fleet.push();
    const merge = await fleet.native('rev-parse', 'HEAD');
    await fleet.advance(2 * HOUR);
    await fleet.pull();

    expect(await subjectOf(fleet)).toBe('Revert "Merge topic"');
    expect(await bodyOf(fleet)).toContain(
      `This reverts commit ${merge}, reversing\nchanges made to ${fleet.good}.`,
    );
    expect(await treeOf(fleet, 'HEAD')).toBe(await treeOf(fleet, fleet.good));
  });
});

describe('only the distribution set is set back', () => {
  const SIGN = rollout('1.0.0', { targetCondition: "tags.product = 'sign'" }, 'sign');

  test('where undoing would change another rollout; comments stay byte for byte', async () => {
    const fleet = await goodFleet({ files: SIGN });
    const [path, text] = Object.entries(rollout('1.1.0-bad'))[0] as [string, string];
    const commented = `# who to call: ada\r\n${text.replace('kiosk@1.1.0-bad', "'kiosk@1.1.0-bad'   # soon 1.2")}`;
    await fleet.commit('Release 1.1.0 and hurry the signs', {
      ...kiosk('1.1.0-bad'),
      [path]: commented,
      ...rollout('1.0.0', { targetCondition: "tags.product = 'sign'", priority: '7' }, 'sign'),
    });
    await fleet.advance(2 * HOUR);
    await fleet.pull();

    expect(await subjectOf(fleet)).toBe('Restore kiosk to kiosk@1.0.0');
    expect(await fleet.native('diff', '--name-only', 'HEAD^', 'HEAD')).toBe(path);
    expect(await readFile(join(fleet.folder, path), 'utf8')).toBe(commented.replace('1.1.0-bad', '1.0.0'));
    expect(fleet.versions()).toEqual(all('1.0.0'));
  });

  test.each([
    [
      'a gate',
      'fleet/gates/calm.yaml',
      'apiVersion: tidegate.dev/v1\nkind: Gate\nmetadata: {name: calm}\nspec: {expression: healthy}\n',
    ],
    [
      'a device',
      'fleet/devices/lab.yaml',
      'apiVersion: tidegate.dev/v1\nkind: DeviceList\nmetadata: {name: lab}\nspec:\n  devices: [{id: device-999999, retired: true}]\n',
    ],
  ])('where undoing would change %s', async (_what, path, content) => {
    const fleet = await goodFleet();
    await fleet.commit('Release 1.1.0 and more', { ...RELEASE_BAD, [path]: content });
    await fleet.advance(2 * HOUR);
    await fleet.pull();
    expect(await fleet.native('diff', '--name-only', 'HEAD^', 'HEAD')).toBe('fleet/rollouts/kiosk.yaml');
    expect(await readFile(join(fleet.folder, path), 'utf8')).toBe(content);
  });

  test('where main was force-pushed; a deleted distribution set is brought back', async () => {
    const fleet = await goodFleet();
    await forgetHistory(fleet);
    await fleet.commit('Start over', {
      ...RELEASE_BAD,
      'fleet/distribution-sets/kiosk-1.0.0.yaml': null,
    });
    await fleet.native('-C', '../fleet.git', 'reflog', 'expire', '--expire=now', '--all');
    await fleet.native('-C', '../fleet.git', 'gc', '--quiet', '--prune=now');
    await fleet.advance(2 * HOUR);
    await fleet.pull();

    expect(await fleet.native('diff', '--name-only', 'HEAD^', 'HEAD')).toBe(
      'fleet/distribution-sets/kiosk-1.0.0.yaml\nfleet/rollouts/kiosk.yaml',
    );
    expect(await fleet.rollout()).toMatchObject({ state: 'rolledBack', distributionSet: 'kiosk@1.0.0' });
    expect(fleet.versions()).toEqual(all('1.0.0'));
  });
});

test('with main checked out the commit waits on a branch, and merging it by hand ends the divergence', async () => {
  const fleet = await goodFleet({ checkedOut: true });
  await fleet.commit('Release 1.1.0', RELEASE_BAD);
  await fleet.advance(2 * HOUR);

  const branch = 'tidegate/rollback/kiosk/2';
  const diverged = await fleet.rollout();
  expect(diverged).toMatchObject({ state: 'rolledBack', restored: { main: 'diverged', branch } });
  expect(diverged.reason).toContain(`merge the branch ${branch}`);
  expect(await fleet.native('status', '--porcelain')).toBe('');
  expect(fleet.versions()).toEqual(all('1.0.0'));
  expect(diverged.restored?.completedAt).toBeDefined();

  await fleet.native('merge', '--quiet', '--ff-only', branch);
  await fleet.settle();
  expect(await fleet.rollout()).toMatchObject({
    distributionSet: 'kiosk@1.0.0',
    restored: { main: 'agrees', commit: await fleet.native('rev-parse', 'HEAD') },
    reason: expect.stringContaining('known-good (attempt 1) is in force'),
  });
});

describe('people', () => {
  test('who revert during the canary get its devices back at once', async () => {
    const fleet = await goodFleet();
    const release = await fleet.commit('Release 1.1.0', { ...kiosk('1.1.0'), ...rollout('1.1.0') });
    await fleet.advance(HOUR / 2);
    expect(fleet.versions().filter((version) => version === '1.1.0')).toHaveLength(2);
    await fleet.native('revert', '--no-edit', release);
    await fleet.push();
    await fleet.settle();
    expect(await fleet.rollout()).toMatchObject({ state: 'rolledBack', cause: 'reverted' });
    for (const { id } of fleet.devices) {
      const answer = await fleet.service().app.request(`/api/devices/${id}`);
      expect(await answer.json()).toMatchObject({
        assignment: { distributionSet: 'kiosk@1.0.0', attempt: 1 },
      });
    }
    await fleet.advance(HOUR);
    expect(fleet.versions()).toEqual(all('1.0.0'));
  });

  test.each([
    ['after a rollback', 'ladder'],
    ['after a pause that a person ended with a revert', 'pause'],
  ])(
    'who revert the revert find the revision quarantined until they ask for a retry, %s',
    async (_how, onFailure) => {
      const fleet = await goodFleet();
      const bad = await fleet.commit('Release 1.1.0', {
        ...kiosk('1.1.0-bad'),
        ...rollout('1.1.0-bad', { onFailure }),
      });
      await fleet.advance(2 * HOUR);
      if (onFailure === 'pause') {
        expect(await fleet.rollout()).toMatchObject({ state: 'paused', cause: 'errorThreshold' });
        await fleet.native('revert', '--no-edit', bad);
        await fleet.push();
        await fleet.advance(HOUR);
      }
      await fleet.pull();
      expect(await subjectOf(fleet)).toBe('Revert "Release 1.1.0"');
      await fleet.native('revert', '--no-edit', 'HEAD');
      await fleet.push();
      await fleet.advance(2 * HOUR);

      const quarantined = await fleet.rollout();
      expect(quarantined.attempts).toHaveLength(2);
      expect(quarantined.reason).toContain('revision is quarantined: attempt 2 failed');
      expect(fleet.versions()).toEqual(all('1.0.0'));

      await fleet.commit('Try again', {
        'ops/kiosk.yaml':
          'apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: kiosk}\nspec: {operations: [{action: retry, attempt: 2, by: ada}]}\n',
      });
      await fleet.settle();
      expect(await fleet.rollout()).toMatchObject({
        state: 'running',
        attempt: 3,
        distributionSet: 'kiosk@1.1.0-bad',
      });
    },
  );

  test('who want something else by the time of the rollback are not overruled', async () => {
    const fleet = await goodFleet();
    await fleet.commit('Release 1.1.0', RELEASE_BAD);
    await fleet.advance(HOUR / 2);
    // The canary's failures and the next release arrive between two passes.
    const release = await fleet.commit('Release 1.2.0', { ...kiosk('1.2.0'), ...rollout('1.2.0') });
    await fleet.advance(WHOLE_ROLLOUT);
    await fleet.pull();
    expect(await fleet.native('rev-parse', 'HEAD')).toBe(release);
    expect(fleet.versions()).toEqual(all('1.2.0'));
  });

  test('who break main meanwhile get their restoring commit once it is mended', async () => {
    const fleet = await goodFleet();
    await fleet.commit('Release 1.1.0', RELEASE_BAD);
    await fleet.settle();
    await fleet.commit('Break it', { 'fleet/gates/x.yaml': 'kind: [' });
    await fleet.advance(2 * HOUR);
    expect(await fleet.rollout()).toMatchObject({ state: 'rolledBack', restored: { main: 'pending' } });
    expect(fleet.versions()).toEqual(all('1.0.0'));
    await fleet.commit('Mend it', { 'fleet/gates/x.yaml': null });
    await fleet.settle();
    await fleet.pull();
    expect(await fleet.rollout()).toMatchObject({
      restored: { main: 'agrees' },
      distributionSet: 'kiosk@1.0.0',
    });
    expect(await treeOf(fleet, 'HEAD')).toBe(await treeOf(fleet, fleet.good));
  });
});

test('without a known-good a rollback withdraws: offers stop, devices keep what they run, main stays', async () => {
  const fleet = await createRepositoryFleet();
  const bad = await fleet.commit('First release', { 'fleet/fleet.yaml': FLEET, ...RELEASE_BAD });
  await fleet.settle();
  await fleet.enrol(...identities(DEVICES, () => ({ product: 'kiosk' })));
  await fleet.advance(3 * HOUR);
  expect(await fleet.rollout()).toMatchObject({ state: 'rolledBack', restored: { main: 'none' } });
  expect(fleet.versions().filter((version) => version === '1.1.0-bad')).toHaveLength(2);
  expect(fleet.versions().filter((version) => version === undefined)).toHaveLength(2);
  for (const { id } of fleet.devices) {
    const answer = await fleet.service().app.request(`/api/devices/${id}`);
    expect(await answer.json()).toMatchObject({ assignment: null });
  }
  await fleet.pull();
  expect(await fleet.native('rev-parse', 'HEAD')).toBe(bad);
});

describe('a widening that fails', () => {
  const WIDE = "tags.product = 'kiosk' OR tags.product = 'sign'";
  /** Signs cannot run what kiosks can. */
  const world = {
    ...WORLD,
    signals: (device: { tags: Readonly<Record<string, string>> }) => ({
      healthy: device.tags['product'] !== 'sign',
    }),
  };

  async function widened(spoil: (fleet: RepositoryFleet) => Promise<void>): Promise<RepositoryFleet> {
    const fleet = await createRepositoryFleet({ world });
    await fleet.commit('First release', {
      'fleet/fleet.yaml': FLEET,
      ...kiosk('1.0.0'),
      ...rollout('1.0.0'),
    });
    await fleet.settle();
    await fleet.enrol(...identities(DEVICES, (n) => ({ product: n > 2 ? 'sign' : 'kiosk' })));
    await fleet.advance(WHOLE_ROLLOUT);
    await spoil(fleet);
    await fleet.commit('Signs, too', rollout('1.0.0', { targetCondition: `"${WIDE}"` }));
    await fleet.advance(2 * HOUR);
    return fleet;
  }

  test('is undone with its condition; kiosks never notice', async () => {
    const fleet = await widened(async () => undefined);
    await fleet.pull();
    expect(await subjectOf(fleet)).toBe('Revert "Signs, too"');
    expect(await fleet.rollout()).toMatchObject({
      state: 'rolledBack',
      targetCondition: "tags.product = 'kiosk'",
      restored: { main: 'agrees' },
      devices: { target: 2, healthy: 2 },
    });
  });

  test('diverges where the condition cannot be undone alone, instead of committing nothing for ever', async () => {
    const fleet = await widened(async (started) => {
      await forgetHistory(started);
      await started.commit('Start over', { 'fleet/NOTES.md': 'new history\n' });
    });
    const head = await fleet.native('rev-parse', 'HEAD');
    await fleet.pull();
    expect(await fleet.native('rev-parse', 'HEAD')).toBe(head);
    const diverged = await fleet.rollout();
    expect(diverged.restored?.main).toBe('diverged');
    expect(fleet.events.filter(({ kind }) => kind === 'diverged')).toHaveLength(1);
    await fleet.commit('Only kiosks', rollout('1.0.0'));
    await fleet.settle();
    expect((await fleet.rollout()).restored?.main).toBe('agrees');
  });
});

test('two rollouts that fail at once are both restored, each by a commit of its own', async () => {
  const sign = (version: string) => rollout(version, { targetCondition: "tags.product = 'sign'" }, 'sign');
  const fleet = await createRepositoryFleet();
  await fleet.commit('First release', {
    'fleet/fleet.yaml': FLEET,
    ...kiosk('1.0.0'),
    ...kiosk('2.0.0'),
    ...rollout('1.0.0'),
    ...sign('2.0.0'),
  });
  const good = await fleet.native('rev-parse', 'HEAD:fleet');
  await fleet.settle();
  await fleet.enrol(...identities(8, (n) => ({ product: n % 2 === 0 ? 'sign' : 'kiosk' })));
  await fleet.advance(WHOLE_ROLLOUT);
  await fleet.commit('Release kiosk 1.1.0', RELEASE_BAD);
  await fleet.commit('Release sign 2.1.0', { ...kiosk('2.1.0-bad'), ...sign('2.1.0-bad') });
  await fleet.advance(2 * HOUR);
  await fleet.pull();
  const subjects = await fleet.native('log', '-2', '--format=%s');
  expect(subjects.split('\n').sort()).toEqual([
    'Revert "Release kiosk 1.1.0"',
    'Revert "Release sign 2.1.0"',
  ]);
  expect(await fleet.native('rev-parse', 'HEAD:fleet')).toBe(good);
  expect(fleet.versions()).toEqual(['1.0.0', '2.0.0', '1.0.0', '2.0.0', '1.0.0', '2.0.0', '1.0.0', '2.0.0']);
});
