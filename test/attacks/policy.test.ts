/** With a list of allowed signers: what somebody does who can push, or who has Tidegate's own key for commits. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RolloutName } from '../../src/core/model/ids.ts';
import { knownGoodOf } from '../../src/core/model/outcome.ts';
import { HOUR } from '../../src/core/model/time.ts';
import { createDocumentCache } from '../../src/documents/read.ts';
import { computeRestoration } from '../../src/fleet-repo/restore.ts';
import { openRepository } from '../../src/git/local.ts';
import { withChanges } from '../../src/git/tree.ts';
import { signSsh } from '../../src/trust/ssh-signature.ts';
import { kiosk, rollout } from '../simulation/fleet-files.ts';
import type { RepositoryFleet } from '../simulation/repository-fleet.ts';
import { signedFleet, signs } from '../simulation/signed-fleet.ts';
import { hasSshKeygen, makeSshKey } from '../trust/ssh-keys.ts';

describe.skipIf(!hasSshKeygen())('with a list of allowed signers', () => {
  let folder: string;
  let [ada]: ReturnType<typeof makeSshKey>[] = [];
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tidegate-policy-'));
    ada = makeSshKey(folder, 'ada');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const release = (fleet: RepositoryFleet, version: string, spec = {}) =>
    fleet.commit(`Release ${version}`, { ...kiosk(version), ...rollout(version, spec) });

  test('whoever has the commits key repeats the restoration of an attempt long past, and the fleet goes back', async () => {
    const fleet = await signedFleet(ada);
    await release(fleet, '1.1.0-bad', { onFailure: 'rollback' });
    await fleet.advance(6 * HOUR);
    expect(fleet.versions()).toEqual(Array(4).fill('1.0.0'));
    await fleet.pull();
    await release(fleet, '1.2.0');
    await fleet.advance(6 * HOUR);
    expect(fleet.versions()).toEqual(Array(4).fill('1.2.0'));
    expect(await fleet.status()).toMatchObject({ headInForce: true, problems: [] });

    const git = await openRepository(fleet.folder);
    await fleet.native('fetch', '--quiet', 'origin', '+outcomes:outcomes').catch(() => undefined);
    const tip = (await git.branch('main')) ?? '';
    const attempts =
      fleet
        .service()
        .reconciler.state()
        .outcomes.get('kiosk' as RolloutName) ?? [];
    const attempt = attempts.find(({ manifest }) => manifest.version === '1.1.0-bad');
    if (attempt === undefined) throw new Error('no attempt');
    const knownGood = knownGoodOf(attempts.filter((each) => each.attempt < attempt.attempt));
    if (knownGood === undefined) throw new Error('no known-good');
    const made = await computeRestoration(git, {
      restore: { rollout: attempt.rollout, attempt, knownGood },
      head: await git.commit(tip),
      cache: createDocumentCache(1e6),
    });
    if (made === undefined) throw new Error('nothing made');
    const to = await git.writeCommit({
      tree: made.tree,
      parents: [tip],
      message: `Restore\n\nRollout: kiosk\nAttempt: ${attempt.attempt}\n`,
      at: fleet.clock.now(),
      sign: (content) => signSsh(content, fleet.keys.commits),
    });
    await fleet.native('update-ref', 'refs/heads/main', to);
    await fleet.native('reset', '--quiet', '--hard', 'main');
    await fleet.native('push', '--quiet', '--force', 'origin', 'main');
    await fleet.advance(6 * HOUR);
    expect(fleet.versions()).toEqual(Array(4).fill('1.2.0'));
    expect(await fleet.status()).toMatchObject({ headInForce: false });
  });

  test('whoever can push writes the record, unsigned, and devices get what no allowed key has signed', async () => {
    const fleet = await signedFleet(ada);
    await release(fleet, '1.1.0-bad', {
      stages: '[{name: canary, size: 1, soak: 30m, approvals: 1}, {name: fleet, size: all}]',
    });
    await fleet.advance(2 * HOUR);
    expect(fleet.versions()).toEqual(Array(4).fill('1.0.0'));
    await fleet.native('fetch', '--quiet', 'origin', '+refs/heads/outcomes:refs/heads/outcomes');
    const git = await openRepository(fleet.folder);
    const tip = (await git.branch('outcomes')) ?? '';
    const before = await git.commit(tip);
    // Eve changes what 1.0.0, known-good, is.
    const { stdout } = {
      stdout: await fleet.native('ls-tree', '-r', '--name-only', 'outcomes', 'rollouts/'),
    };
    const path = stdout.split('\n').sort()[0] ?? '';
    const text = await fleet.native('show', `outcomes:${path}`);
    const evil = text.replaceAll('registry.example/kiosk:1.0.0', 'evil.example/kiosk:6.6.6');
    expect(evil).not.toBe(text);
    const { revisionOf } = await import('../../src/core/model/manifest.ts');
    const attempt = fleet
      .service()
      .reconciler.state()
      .outcomes.get('kiosk' as RolloutName)?.[0];
    if (attempt === undefined) throw new Error('no attempt');
    const manifest = JSON.parse(
      JSON.stringify(attempt.manifest).replaceAll('registry.example/kiosk:1.0.0', 'evil.example/kiosk:6.6.6'),
    );
    const forged = evil.replaceAll(attempt.revision, revisionOf(manifest));
    const oid = await git.writeBlob(Buffer.from(`${forged}\n`));
    const tree = await withChanges(git, before.tree, new Map([[path, { mode: '100644', oid }]]));
    const to = await git.writeCommit({
      tree,
      parents: [tip],
      message: before.message,
      at: fleet.clock.now(),
    });
    await fleet.native('update-ref', 'refs/heads/outcomes', to);
    await fleet.native('push', '--quiet', '--force', 'origin', 'outcomes');
    await fleet.advance(2 * HOUR);
    const images = fleet
      .service()
      .reconciler.state()
      .published?.program.rollouts.map(({ knownGood }) => knownGood?.manifest.modules[0]?.image);
    const runs = fleet.devices.map((device) => device.runs()?.modules[0]?.image);
    expect(new Set(runs)).toEqual(new Set(['registry.example/kiosk:1.0.0']));
    expect(images).toEqual(['registry.example/kiosk:1.0.0']);
  });

  test('a commit that no git would make stops nothing', async () => {
    const fleet = await signedFleet(ada);
    await signs(fleet, undefined);
    await fleet.native('fetch', '--quiet', 'origin', '+refs/heads/outcomes:refs/heads/outcomes');
    const raw = (await fleet.native('cat-file', 'commit', 'main')).replace(
      /^committer .*$/m,
      'committer nobody',
    );
    writeFileSync(join(folder, 'raw'), raw);
    const oid = await fleet.native('hash-object', '-t', 'commit', '-w', '--literally', join(folder, 'raw'));
    await fleet.native('push', '--quiet', '--force', 'origin', `${oid}:refs/heads/main`);
    await fleet.advance(HOUR);
    const status = await fleet.status();
    expect(status.held).toBeUndefined();
  });
});
