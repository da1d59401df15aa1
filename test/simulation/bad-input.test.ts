/**
 * What people push by mistake or on purpose, on a real repository. Whatever it is, devices are served the same bytes
 * as before, the problem is shown with its place, a restart changes nothing, and the next good commit is in force.
 */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { DAY, HOUR, MINUTE } from '../../src/core/model/time.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { signDeviceToken } from '../../src/trust/device-token.ts';
import { mintEnrolmentToken } from '../../src/trust/enrolment.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';
import { FLEET, kiosk, rollout } from './fleet-files.ts';
import { createRepositoryFleet, type RepositoryFleet, WHOLE_ROLLOUT } from './repository-fleet.ts';

const KIOSK = { product: 'kiosk' };

interface ServedFleet extends RepositoryFleet {
  /** What a device gets over HTTP, signature and all. */
  poll(): Promise<string>;
}

/** Two kiosks that run 1.0.0, which is known-good, and a third that polls over HTTP. */
async function servedFleet(): Promise<ServedFleet> {
  const fleet = await createRepositoryFleet();
  await fleet.commit('First release', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') });
  await fleet.settle();
  await fleet.enrol(...identities(2, () => KIOSK));
  await fleet.advance(WHOLE_ROLLOUT);

  const id = 'witness' as DeviceId;
  const device = generateDeviceKey();
  const now = fleet.clock.now();
  const grant = { fleet: 'test-fleet', id, tags: KIOSK, now, expiresAt: now + DAY };
  const token = await mintEnrolmentToken(fleet.keys, grant);
  const body = JSON.stringify({ publicKey: device.publicKey, token });
  const enrolled = await fleet.service().app.request('/v1/devices', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body,
  });
  expect(enrolled.status).toBe(201);
  await fleet.settle();
  return {
    ...fleet,
    async poll() {
      const bearer = await signDeviceToken({
        id,
        fleet: 'test-fleet',
        privateKey: device.private,
        now: fleet.clock.now(),
        lifetimeMs: MINUTE,
      });
      const headers = { Authorization: `Bearer ${bearer}` };
      const answer = await fleet.service().app.request(`/v1/devices/${id}/manifest`, { headers });
      return `${answer.status} ${await answer.text()}`;
    },
  };
}

/** Main has a problem; nothing else has changed. Then the process restarts, and a good commit ends it. */
async function expectKept(
  fleet: ServedFleet,
  given: {
    before: string;
    problem: { file: string; line: number; message: RegExp };
    mend: () => Promise<unknown>;
  },
): Promise<void> {
  const { before, problem, mend } = given;
  const good = (await fleet.status()).commit;
  expect(before).toMatch(/^200 ey/);
  await fleet.settle();
  for (const restarted of [false, true]) {
    if (restarted) {
      await fleet.restart('keepStore');
      await fleet.settle();
    }
    expect(await fleet.poll()).toBe(before);
    const status = await fleet.status();
    expect(status).toMatchObject({ headInForce: false, commit: good });
    const shown = { file: problem.file, line: problem.line, severity: 'error' };
    expect(status.problems).toContainEqual(expect.objectContaining(shown));
    expect(status.problems.map(({ message }) => message).join('\n')).toMatch(problem.message);
    const metrics = await (await fleet.service().app.request('/metrics')).text();
    expect(metrics).toMatch(/^tidegate_head_in_force 0$/m);
    expect(metrics).toMatch(/^tidegate_snapshot_problems\{severity="error"\} [1-9]/m);
  }
  await mend();
  await fleet.settle();
  const mended = await fleet.status();
  expect(mended).toMatchObject({ headInForce: true, problems: [] });
  expect(mended.commit).not.toBe(good);
}

const bomb = `a: &a [${'x,'.repeat(20)}]\n${[...'bcdefgh'].map((name, at) => `${name}: &${name} [${`*${'abcdefg'[at]},`.repeat(20)}]`).join('\n')}\n`;

describe('a broken file', () => {
  test.each([
    ['that is not YAML', 'kind: [', /./, 1],
    [
      'with an unknown key',
      `${kiosk('2.0.0')['fleet/distribution-sets/kiosk-2.0.0.yaml']}colour: red\n`,
      /colour/,
      7,
    ],
    ['that is a YAML bomb', bomb, /alias|expand|anchor|nodes/i, 0],
    ['of two megabytes', `# ${'x'.repeat(2 * 1024 * 1024)}\n`, /at most 1048576 bytes/, 1],
    ['that nests 10,000 deep', `a: ${'['.repeat(10_000)}`, /nested at most 64 deep/, 1],
    ['that is not UTF-8', Uint8Array.from([0x61, 0x3a, 0x0a, 0xff, 0xfe]), /UTF-8/, 2],
  ])('%s keeps the last good snapshot in force', async (_what, content, message, line) => {
    const fleet = await servedFleet();
    const before = await fleet.poll();
    const file = 'fleet/distribution-sets/kiosk-2.0.0.yaml';
    await fleet.commit('Mistake', { [file]: content });
    await fleet.settle();
    const place = line || ((await fleet.status()).problems[0]?.line ?? 0);
    await expectKept(fleet, {
      before,
      problem: { file, line: place, message },
      mend: () => fleet.commit('Mend', { [file]: null }),
    });
  });

  test('and a good release in one commit: neither is taken', async () => {
    const fleet = await servedFleet();
    const before = await fleet.poll();
    const file = 'fleet/gates/oops.yaml';
    await fleet.commit('Mistake', { ...kiosk('1.1.0'), ...rollout('1.1.0'), [file]: 'kind: Gate\n' });
    const mend = () => fleet.commit('Mend', { [file]: null });
    await expectKept(fleet, { before, problem: { file, line: 1, message: /apiVersion|metadata/ }, mend });
    await fleet.advance(WHOLE_ROLLOUT);
    expect(fleet.versions()).toEqual(['1.1.0', '1.1.0']);
  });
});

test('a distribution set that is edited after it was used is refused with its name and the attempt', async () => {
  const fleet = await servedFleet();
  const before = await fleet.poll();
  const file = 'fleet/distribution-sets/kiosk-1.0.0.yaml';
  const text = kiosk('1.0.0')[file] as string;
  await fleet.commit('Patch it in place', { [file]: text.replace('kiosk:1.0.0}', 'kiosk:1.0.0-patched}') });
  const mend = () => fleet.commit('Mend', { [file]: text, 'fleet/NOTES.md': 'mended\n' });
  const message =
    /kiosk@1\.0\.0 differs from the one that attempt 1 of kiosk installed; give what you changed a new version/;
  await expectKept(fleet, { before, problem: { file, line: 1, message }, mend });
});

describe('what is no file', () => {
  test.each([
    ['a link out of the tree', 'fleet/gates/secret.yaml', /symbolic link is never followed/],
    ['the folder itself as a link', 'fleet/gates', /symbolic link is never followed/],
  ])('%s is never followed', async (_what, path, message) => {
    const fleet = await servedFleet();
    const before = await fleet.poll();
    await mkdir(join(fleet.folder, path, '..'), { recursive: true });
    await symlink('/etc', join(fleet.folder, path));
    await fleet.commit('Mistake', {});
    const mend = () => fleet.commit('Mend', { [path]: null, 'fleet/NOTES.md': 'mended\n' });
    await expectKept(fleet, { before, problem: { file: path, line: 1, message }, mend });
  });

  test('a submodule is never followed', async () => {
    const fleet = await servedFleet();
    const before = await fleet.poll();
    const path = 'fleet/gates';
    const commit = await fleet.native('rev-parse', 'HEAD');
    await fleet.native('update-index', '--add', '--cacheinfo', `160000,${commit},${path}`);
    await fleet.native('commit', '--quiet', '--message', 'Mistake');
    await fleet.push();
    const mend = async () => {
      await fleet.native('rm', '--quiet', '--cached', path);
      await fleet.commit('Mend', { 'fleet/NOTES.md': 'mended\n' });
    };
    await expectKept(fleet, {
      before,
      problem: { file: path, line: 1, message: /submodule is never followed/ },
      mend,
    });
  });
});

describe('main', () => {
  test('without fleet/', async () => {
    const fleet = await servedFleet();
    const before = await fleet.poll();
    const head = await fleet.native('rev-parse', 'HEAD');
    await fleet.native('rm', '-r', '--quiet', 'fleet');
    await fleet.commit('Mistake', { 'README.md': 'gone\n' });
    const mend = async () => {
      await fleet.native('checkout', '--quiet', head, '--', 'fleet');
      await fleet.commit('Mend', {});
    };
    await expectKept(fleet, {
      before,
      problem: { file: 'fleet', line: 1, message: /no folder fleet\// },
      mend,
    });
  });

  test('deleted', async () => {
    const fleet = await servedFleet();
    const before = await fleet.poll();
    await fleet.native('-C', '../fleet.git', 'update-ref', '-d', 'refs/heads/main');
    const mend = () => fleet.commit('Mend', { 'fleet/NOTES.md': 'back\n' });
    await expectKept(fleet, {
      before,
      problem: { file: 'fleet', line: 1, message: /branch main has no commit/ },
      mend,
    });
  });

  test('deleted, with a bad release on its way: the breach still stops it, also after a restart', async () => {
    const fleet = await servedFleet();
    await fleet.commit('Release', { ...kiosk('1.1.0-bad'), ...rollout('1.1.0-bad') });
    await fleet.settle();
    await fleet.native('-C', '../fleet.git', 'update-ref', '-d', 'refs/heads/main');
    await fleet.restart('keepStore');
    await fleet.advance(2 * HOUR);
    expect(await fleet.rollout()).toMatchObject({ state: 'rolledBack', restored: { main: 'pending' } });
    expect(fleet.versions()).toEqual(['1.0.0', '1.0.0']);
  });

  test('that never had a commit: nothing is in force, and the first good one is', async () => {
    const fleet = await createRepositoryFleet();
    await fleet.settle();
    expect(await fleet.status()).toMatchObject({ headInForce: false, commit: null, head: null });
    expect((await fleet.status()).problems[0]?.message).toMatch(
      /push a commit with a folder fleet\/ to main/,
    );
    expect((await fleet.service().app.request('/readyz')).status).toBe(503);
    await fleet.commit('Begin', { 'fleet/fleet.yaml': FLEET });
    await fleet.settle();
    expect(await fleet.status()).toMatchObject({ headInForce: true, problems: [] });
  });

  test('broken while the store is lost: the newest valid snapshot before it is in force, and known-good is served', async () => {
    const fleet = await servedFleet();
    const { snapshot, commit } = await fleet.status();
    await fleet.commit('Mistake', { 'fleet/gates/oops.yaml': 'kind: Gate\n' });
    await fleet.commit('Another', { 'README.md': 'still broken\n' });
    await fleet.restart('loseStore');
    await fleet.settle();
    expect(await fleet.status()).toMatchObject({ headInForce: false, snapshot, commit });
    expect((await fleet.rollout()).attempts).toHaveLength(1);
    const [device] = fleet.devices;
    const answer = await fleet.service().app.request(`/api/devices/${device?.id}`);
    expect(await answer.json()).toMatchObject({ assignment: { distributionSet: 'kiosk@1.0.0', attempt: 1 } });
  });
});

describe('outcomes', () => {
  test.each([
    ['with garbage in a document', 'rollouts/kiosk/9-000000000000.yaml', 'kind: Poetry\n'],
    ['with a document that someone edited', undefined, undefined],
  ])(
    '%s: the error names the file, serving goes on, also after a restart, and setting it back ends it',
    async (_what, path, content) => {
      const fleet = await servedFleet();
      const before = await fleet.poll();
      await fleet.pull();
      const tip = await fleet.native('rev-parse', 'outcomes');
      await fleet.native('checkout', '--quiet', 'outcomes');
      const file = path ?? ((await fleet.native('ls-files', 'rollouts')) as string);
      const text =
        content ?? (await fleet.native('show', `HEAD:${file}`)).replace('attempt: 1', 'attempt: 7');
      await mkdir(join(fleet.folder, file, '..'), { recursive: true });
      await writeFile(join(fleet.folder, file), text);
      await fleet.native('add', '--all');
      await fleet.native('commit', '--quiet', '--message', 'Improve');
      await fleet.push();

      await fleet.settle();
      expect((await fleet.status()).held).toContain(`outcomes:${file}`);
      expect(await fleet.poll()).toBe(before);

      await fleet.restart('keepStore');
      const stop = new AbortController();
      const running = fleet.service().reconciler.run(stop.signal);
      await vi.waitFor(
        async () => expect((await fleet.status()).error ?? '').toContain(`outcomes:${file}`),
        20_000,
      );
      stop.abort();
      await running;
      expect(await fleet.poll()).toBe(before);

      await fleet.native('update-ref', 'refs/heads/outcomes', tip);
      await fleet.native('checkout', '--quiet', '--force', 'main');
      await fleet.push();
      await fleet.settle();
      const { error, held } = await fleet.status();
      expect([error, held]).toEqual([undefined, undefined]);
    },
  );

  test.each([
    [
      'rewound by a commit',
      async (fleet: RepositoryFleet) =>
        fleet.native('push', '--quiet', '--force', 'origin', 'outcomes~1:outcomes'),
    ],
    ['deleted', async (fleet: RepositoryFleet) => fleet.native('push', '--quiet', 'origin', ':outcomes')],
    [
      'replaced by another history',
      async (fleet: RepositoryFleet) => fleet.native('push', '--quiet', '--force', 'origin', 'main:outcomes'),
    ],
  ])('%s: nothing opens, it alarms, serving and stopping go on', async (_what, harm) => {
    const fleet = await servedFleet();
    await fleet.commit('Release', {
      ...kiosk('1.1.0-bad'),
      ...rollout('1.1.0-bad', { stages: '[{name: canary, size: 1}, {name: fleet, size: all}]' }),
    });
    await fleet.settle();
    const before = await fleet.poll();
    await fleet.pull();
    const tip = await fleet.native('rev-parse', 'outcomes');
    await harm(fleet);
    await fleet.settle();
    const held = await fleet.status();
    expect(held.held).toContain(`no longer contains ${tip}`);
    expect(held.held).toContain(`update-ref refs/heads/outcomes ${tip}`);
    expect(await fleet.poll()).toBe(before);
    expect(await (await fleet.service().app.request('/readyz')).text()).toContain(
      'outcomes cannot be followed',
    );

    const commits = async () => fleet.native('ls-remote', 'origin', 'refs/heads/outcomes');
    const seen = await commits();
    await fleet.advance(2 * HOUR);
    expect(await commits()).toBe(seen);
    // The breach was seen and its devices are back, although it cannot be recorded.
    expect(fleet.versions()).toEqual(['1.0.0', '1.0.0']);
    await fleet.restart('keepStore');
    await fleet.settle();
    for (const { id } of fleet.devices) {
      const answer = await fleet.service().app.request(`/api/devices/${id}`);
      expect(await answer.json()).toMatchObject({ assignment: { distributionSet: 'kiosk@1.0.0' } });
    }

    await fleet.native('push', '--quiet', '--force', 'origin', `${tip}:refs/heads/outcomes`);
    await fleet.settle();
    expect((await fleet.status()).held).toBeUndefined();
    expect(await fleet.rollout()).toMatchObject({ state: 'rolledBack', restored: { main: 'agrees' } });
  });
});
