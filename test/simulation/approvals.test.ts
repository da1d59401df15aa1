/** Approvals by several people: commits signed with real keys by real git, in a real repository. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDocumentCache } from '../../src/documents/load.ts';
import type { Git } from '../../src/git/git.ts';
import { openRepository } from '../../src/git/local.ts';
import { readWanted } from '../../src/reconcile/desired.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { hasSshKeygen, makeSshKey } from '../trust/ssh-keys.ts';
import { FLEET, kiosk, rollout } from './fleet-files.ts';
import { createRepositoryFleet, type RepositoryFleet } from './repository-fleet.ts';

const STAGES = '[{name: fleet, size: all, approvals: 2}]';

describe.skipIf(!hasSshKeygen())('a stage with two approvals', () => {
  let folder: string;
  let [ada, bo, eve]: Key[] = [];
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tidegate-approvals-'));
    [ada, bo, eve] = ['ada', 'bo', 'eve'].map((name) => makeSshKey(folder, name));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const listed = () => `ada@example.org ${ada?.line}\nbo@example.org namespaces="git" ${bo?.line}\n`;

  /** The rollout waits for its approvals. */
  async function waiting(signers = listed()): Promise<RepositoryFleet> {
    const fleet = await createRepositoryFleet();
    await fleet.native('config', 'gpg.format', 'ssh');
    const files = { 'fleet/fleet.yaml': FLEET, 'trust/allowed_signers': signers, ...kiosk('1.0.0') };
    await fleet.commit('Begin', { ...files, ...rollout('1.0.0', { stages: STAGES, emergency: 'true' }) });
    await fleet.settle();
    await fleet.enrol(...identities(4, () => ({ product: 'kiosk' })));
    await fleet.settle();
    expect(await fleet.rollout()).toMatchObject({
      state: 'waitingForApproval',
      reason: '0 of 2 approvals given',
    });
    return fleet;
  }

  /** Appends an approval; `key` signs the commit. */
  async function approve(fleet: RepositoryFleet, by: string, key?: Key): Promise<void> {
    if (key !== undefined) await fleet.native('config', 'user.signingKey', key.path);
    await fleet.native('config', 'commit.gpgSign', String(key !== undefined));
    await fleet.commit(`Approve by ${by}`, { 'ops/kiosk.yaml': opsFile(fleet, by) });
    await fleet.settle();
  }

  test('opens when two people have signed theirs', async () => {
    const fleet = await waiting();
    const snapshot = (await fleet.status()).snapshot;
    await approve(fleet, 'ada', ada);
    expect((await fleet.rollout()).reason).toBe('1 of 2 approvals given');
    await approve(fleet, 'bo', bo);
    expect(await fleet.rollout()).toMatchObject({ state: 'running' });
    expect((await fleet.status()).snapshot).toBe(snapshot);
    expect((await fleet.status()).problems).toEqual([]);
  });

  test('counts one key once, whatever name stands in the entry', async () => {
    const fleet = await waiting();
    await approve(fleet, 'ada', ada);
    await approve(fleet, 'bo', ada);
    expect(await fleet.rollout()).toMatchObject({
      state: 'waitingForApproval',
      reason: "1 of 2 approvals given; the one by bo is ada@example.org's second",
    });
  });

  test('says of an unsigned approval, and of one by an unknown key, why it does not count', async () => {
    const fleet = await waiting();
    await approve(fleet, 'ada', ada);
    await approve(fleet, 'bo');
    expect((await fleet.rollout()).reason).toMatch(
      /^1 of 2 approvals given; the one by bo does not count: commit [0-9a-f]{10} is not signed; approve again with a commit that a key in trust\/allowed_signers signs and that is merged as it is$/,
    );
    await approve(fleet, 'eve', eve);
    expect((await fleet.rollout()).reason).toMatch(
      /the one by eve does not count: commit [0-9a-f]{10} is signed, but its key SHA256:\S+ is not in trust\/allowed_signers;/,
    );
    await approve(fleet, 'bo', bo);
    expect(await fleet.rollout()).toMatchObject({ state: 'running' });
  });

  test('does not count a signature that was taken from another commit', async () => {
    const fleet = await waiting();
    await approve(fleet, 'ada', ada);
    await approve(fleet, 'bo');
    const unsigned = await fleet.native('cat-file', 'commit', 'HEAD');
    const [signature] =
      /^gpgsig (?:.*\n )*.*\n/m.exec(await fleet.native('cat-file', 'commit', 'HEAD~1')) ?? [];
    // Eve puts Ada's signature on the commit with Bo's approval.
    const forged = unsigned.replace('\n\n', `\n${signature}\n`).replace(/^gpgsig/m, 'gpgsig');
    writeFileSync(join(folder, 'forged'), `${forged}\n`);
    const oid = await fleet.native(
      'hash-object',
      '-t',
      'commit',
      '-w',
      '--literally',
      join(folder, 'forged'),
    );
    await fleet.native('update-ref', 'refs/heads/main', oid);
    await fleet.push();
    await fleet.settle();
    expect((await fleet.rollout()).reason).toMatch(
      /^1 of 2 approvals given; the one by bo does not count: commit [0-9a-f]{10} has a signature that does not hold;/,
    );
  });

  test('counts what a merged branch brought, by the commit of its author', async () => {
    const fleet = await waiting();
    await approve(fleet, 'ada', ada);
    await fleet.native('switch', '--quiet', '--create', 'approval');
    await fleet.native('config', 'user.signingKey', bo?.path ?? '');
    writeFileSync(join(fleet.folder, 'ops/kiosk.yaml'), opsFile(fleet, 'bo'));
    await fleet.native('commit', '--quiet', '--gpg-sign', '--all', '--message', 'Approve');
    await fleet.native('switch', '--quiet', 'main');
    await fleet.native('merge', '--quiet', '--no-ff', '--no-gpg-sign', '--message', 'Merge', 'approval');
    await fleet.native('push', '--quiet', 'origin', 'main');
    await fleet.settle();
    expect(await fleet.rollout()).toMatchObject({ state: 'running' });
  });

  test('does not count what a squash brought: its commit is another one', async () => {
    const fleet = await waiting();
    await approve(fleet, 'ada', ada);
    await fleet.native('switch', '--quiet', '--create', 'approval');
    await fleet.native('config', 'user.signingKey', bo?.path ?? '');
    writeFileSync(join(fleet.folder, 'ops/kiosk.yaml'), opsFile(fleet, 'bo'));
    await fleet.native('commit', '--quiet', '--gpg-sign', '--all', '--message', 'Approve');
    await fleet.native('switch', '--quiet', 'main');
    await fleet.native('merge', '--quiet', '--squash', 'approval');
    await fleet.native('commit', '--quiet', '--no-gpg-sign', '--message', 'Approve (#1)');
    await fleet.native('push', '--quiet', 'origin', 'main');
    await fleet.settle();
    expect((await fleet.rollout()).reason).toMatch(/the one by bo does not count: .* is not signed/);
  });

  test('does not take a later commit for the one that brought the entry', async () => {
    const fleet = await waiting();
    await approve(fleet, 'ada', ada);
    await approve(fleet, 'bo');
    // Bo signs something else, and the file is rewritten with the same entries.
    await fleet.native('config', 'commit.gpgSign', 'true');
    await fleet.native('config', 'user.signingKey', bo?.path ?? '');
    await fleet.commit('Tidy up', { 'ops/kiosk.yaml': `# Tidy.\n${opsFile(fleet)}`, 'NOTES.md': 'x' });
    await fleet.settle();
    expect(await fleet.rollout()).toMatchObject({ state: 'waitingForApproval' });
  });

  test('stops counting a key as soon as it is off the list', async () => {
    const fleet = await waiting();
    await approve(fleet, 'ada', ada);
    await fleet.native('config', 'commit.gpgSign', 'false');
    await fleet.commit('Ada has left', { 'trust/allowed_signers': `bo@example.org ${bo?.line}\n` });
    await approve(fleet, 'bo', bo);
    expect((await fleet.rollout()).reason).toMatch(
      /^1 of 2 approvals given; the one by ada does not count: .* not in trust\/allowed_signers/,
    );
  });

  test('warns where the list is missing or has lines that add nobody', async () => {
    const fleet = await waiting(`# People\nca@example.org cert-authority ${eve?.line}\n`);
    await approve(fleet, 'ada', ada);
    expect((await fleet.status()).problems).toMatchObject([
      { file: 'trust/allowed_signers', line: 2, rule: 'allowed-signers', severity: 'warning' },
    ]);
    await fleet.commit('No list', { 'trust/allowed_signers': null });
    await fleet.settle();
    expect((await fleet.status()).problems).toMatchObject([{ file: 'trust/allowed_signers', line: 1 }]);
  });

  test('asks for no signature where one approval is enough', async () => {
    const fleet = await waiting();
    await fleet.commit(
      'One will do',
      rollout('1.0.0', { stages: '[{name: fleet, size: all, approvals: 1}]' }),
    );
    await approve(fleet, 'ada');
    expect(await fleet.rollout()).toMatchObject({ state: 'running' });
  });

  test('does not hold the oldest commit of a shallow clone for the one that brought what is older', async () => {
    const fleet = await waiting();
    await approve(fleet, 'eve');
    await fleet.native('config', 'commit.gpgSign', 'true');
    await fleet.native('config', 'user.signingKey', ada?.path ?? '');
    const oldest = await fleet.commit('Something else', { 'NOTES.md': 'x' });
    await approve(fleet, 'bo', bo);
    const git = await openRepository(fleet.folder);
    const commit: Git['commit'] = async (oid) =>
      oid === oldest ? { ...(await git.commit(oid)), parents: [] } : await git.commit(oid);
    const given = { branch: 'main', cache: createDocumentCache(), outcomes: new Map(), before: undefined };
    const { operations } = await readWanted({ ...git, commit }, given);
    expect(operations.entries).toMatchObject([
      { by: 'eve', unsigned: expect.stringContaining('is the oldest that this clone has') },
      { by: 'bo', signer: 'bo@example.org' },
    ]);
    await git.close();
  });

  const written = new WeakMap<RepositoryFleet, string[]>();
  function opsFile(fleet: RepositoryFleet, ...by: readonly string[]): string {
    const all = [...(written.get(fleet) ?? []), ...by];
    written.set(fleet, all);
    const lines = all.map((name) => `  - {action: approve, attempt: 1, stage: fleet, by: ${name}}\n`);
    return `apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: kiosk}\nspec:\n  operations:\n${lines.join('')}`;
  }
});

type Key = ReturnType<typeof makeSshKey>;
