/** Which commits count: signed with real keys by real git, in a real repository. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { openRepository } from '../../src/git/local.ts';
import { withChanges } from '../../src/git/tree.ts';
import { signSsh, sshPublicKey } from '../../src/trust/ssh-signature.ts';
import { hasSshKeygen, makeSshKey } from '../trust/ssh-keys.ts';
import { kiosk, rollout } from './fleet-files.ts';
import type { RepositoryFleet } from './repository-fleet.ts';
import { signedFleet, signs } from './signed-fleet.ts';

describe.skipIf(!hasSshKeygen())('with a list of allowed signers', () => {
  let folder: string;
  let [ada, eve]: ReturnType<typeof makeSshKey>[] = [];
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tidegate-policy-'));
    [ada, eve] = ['ada', 'eve'].map((name) => makeSshKey(folder, name));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const release = (fleet: RepositoryFleet, version: string) =>
    fleet.commit(`Release ${version}`, { ...kiosk(version), ...rollout(version) });

  /** The tip is refused, with that reason, and what was in force stays. */
  async function refused(fleet: RepositoryFleet, reason: RegExp): Promise<void> {
    const before = await fleet.status();
    await fleet.advance(HOUR);
    const { commit, headInForce, problems, held } = await fleet.status();
    expect({ commit, headInForce, held }).toEqual({
      commit: before.commit,
      headInForce: false,
      held: undefined,
    });
    expect(problems[0]).toMatchObject({ rule: 'commit-signature', severity: 'error' });
    expect(problems[0]?.message).toMatch(reason);
    expect(new Set(fleet.versions())).toEqual(new Set(['1.0.0']));
  }

  test('an unsigned commit is refused, shown, and changes nothing: neither fleet/ nor ops/; a signed one on it takes both', async () => {
    const fleet = await signedFleet(ada);
    await signs(fleet, undefined);
    await release(fleet, '1.1.0');
    await fleet.settle();
    await refused(
      fleet,
      /^commit [0-9a-f]{10} is not signed; sign it with a key that \/etc\/tidegate\/signers allows \(git commit --amend -S\), and push again$/,
    );
    const pause = `apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: kiosk}\nspec:\n  operations:\n    - {action: retry, attempt: 1, by: eve, at: "2026-01-01T05:00:00Z"}\n`;
    await fleet.commit('Operate', { 'ops/kiosk.yaml': pause });
    await fleet.settle();
    await refused(fleet, /is not signed/);
    await fleet.restart('keepStore');
    await fleet.settle();
    await refused(fleet, /is not signed/);

    await signs(fleet, ada);
    await fleet.commit('Ada has looked', { 'ops/kiosk.yaml': null });
    await fleet.advance(4 * HOUR);
    expect(new Set(fleet.versions())).toEqual(new Set(['1.1.0']));
    expect((await fleet.status()).problems).toEqual([]);
  });

  test('a signature by somebody else, one that does not hold, and an old one that is pushed again count for nothing', async () => {
    const fleet = await signedFleet(ada);
    const old = await fleet.native('rev-parse', 'main');
    await signs(fleet, eve);
    await release(fleet, '1.1.0');
    await fleet.settle();
    await refused(fleet, /is signed, but its key SHA256:\S+ is not in \/etc\/tidegate\/signers; sign it/);

    // Ada's signature over something else.
    const signature = (await fleet.native('cat-file', 'commit', old)).match(
      /^gpgsig [\s\S]*?END SSH SIGNATURE-----$/m,
    )?.[0];
    const forged = (await fleet.native('cat-file', 'commit', 'HEAD')).replace(
      /^gpgsig [\s\S]*?END SSH SIGNATURE-----$/m,
      signature ?? '',
    );
    writeFileSync(join(folder, 'forged'), `${forged}\n`);
    const oid = await fleet.native('hash-object', '-t', 'commit', '-w', join(folder, 'forged'));
    await fleet.native('reset', '--quiet', '--hard', oid);
    await fleet.push();
    await fleet.settle();
    await refused(fleet, /has a signature that does not hold/);

    await fleet.native('reset', '--quiet', '--hard', old);
    await signs(fleet, ada);
    await fleet.commit('Another release', {
      ...kiosk('1.2.0'),
      ...rollout('1.2.0', { stages: '[{name: fleet, size: all, approvals: 1}]' }),
    });
    await fleet.settle();
    expect((await fleet.status()).headInForce).toBe(true);
    await fleet.native('reset', '--quiet', '--hard', old);
    await fleet.push();
    await fleet.settle();
    await refused(
      fleet,
      /is signed and does not follow on [0-9a-f]{10}, which was in force; to go back, commit a revert/,
    );
    // Not even a server that has forgotten everything but the record takes it.
    await fleet.restart('loseStore');
    await fleet.settle();
    expect((await fleet.status()).headInForce).toBe(false);
  });

  test('Tidegate’s own commits are signed, and on main they count for restorations and for ops/ alone', async () => {
    const fleet = await signedFleet(ada);
    await fleet.commit('Bad release', {
      ...kiosk('1.1.0-bad'),
      ...rollout('1.1.0-bad', { onFailure: 'rollback' }),
    });
    await fleet.advance(6 * HOUR);
    expect(fleet.versions()).toEqual(Array(4).fill('1.0.0'));
    await fleet.pull();
    expect(await fleet.native('log', '-1', '--format=%s', 'main')).toBe('Revert "Bad release"');
    expect(await fleet.status()).toMatchObject({ headInForce: true, problems: [] });

    // Git itself says so, of the restoring commit and of every commit of the record.
    const ours = `tidegate@localhost ssh-ed25519 ${sshPublicKey(fleet.keys.commits)}\n`;
    writeFileSync(join(folder, 'ours'), ours);
    await fleet.native('config', 'gpg.ssh.allowedSignersFile', join(folder, 'ours'));
    const outcomes = await fleet.native('log', '--format=%G?', 'outcomes');
    expect(new Set(outcomes.split('\n'))).toEqual(new Set(['G']));
    expect(await fleet.native('log', '-1', '--format=%G?', 'main')).toBe('G');

    // Whoever steals the key.
    const git = await openRepository(fleet.folder);
    const commitAs = async (files: Readonly<Record<string, string>>, message: string) => {
      const tip = (await git.branch('main')) ?? '';
      const contents = new Map<string, { mode: string; oid: string }>();
      for (const [path, text] of Object.entries(files))
        contents.set(path, { mode: '100644', oid: await git.writeBlob(Buffer.from(text)) });
      const tree = await withChanges(git, (await git.commit(tip)).tree, contents);
      const sign = (content: Uint8Array) => signSsh(content, fleet.keys.commits);
      const to = await git.writeCommit({ tree, parents: [tip], message, at: fleet.clock.now(), sign });
      await fleet.native('update-ref', 'refs/heads/main', to);
      await fleet.native('reset', '--quiet', '--hard', 'main');
      await fleet.push();
      await fleet.settle();
    };
    const restoring = await fleet.native('log', '-1', '--format=%B', 'main');
    await commitAs({ ...kiosk('6.6.6'), ...rollout('6.6.6') }, restoring);
    await refused(
      fleet,
      /is signed by Tidegate, and is neither a restoration that Tidegate would make nor an entry in ops\//,
    );
    await commitAs(
      {
        'ops/kiosk.yaml': 'apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: kiosk}\nspec: {}\n',
      },
      'On top\n',
    );
    await refused(fleet, /follows on [0-9a-f]{10}, which is signed by Tidegate, and is neither/);
    await fleet.native('reset', '--quiet', '--hard', 'main~2');
    await fleet.push();
    await fleet.settle();
    expect((await fleet.status()).headInForce).toBe(true);
    await commitAs(
      {
        'ops/kiosk.yaml': 'apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: kiosk}\nspec: {}\n',
      },
      'Operate\n',
    );
    expect(await fleet.status()).toMatchObject({ headInForce: true, problems: [] });
  });
});
