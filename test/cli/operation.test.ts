/** Commands that operate rollouts, in real repositories with real git. */
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Attempt } from '../../src/core/model/outcome.ts';
import { hasGitServer, startGitServer } from '../git/git-server.ts';
import { hasSshKeygen, makeSshKey } from '../trust/ssh-keys.ts';
import { fleetFiles, git, rolloutText, run, temporaryFolder, writeFiles } from './fixture.ts';
import { NAME, PERSON, people, protect, withoutGit } from './people.ts';

const OPS = `ops/${NAME}.yaml`;

describe('in a clone', () => {
  test('a command makes one commit on the remote branch and leaves the work tree alone', async () => {
    const { tidegate, served, clone } = await people('succeeded', 'running');
    await writeFile(join(clone, 'NOTES.md'), 'mine');
    await git(clone, 'add', 'NOTES.md');
    const [before, tip] = [await git(clone, 'status', '--porcelain'), await served('rev-parse', 'main')];
    const head = await git(clone, 'rev-parse', 'HEAD');

    const { exit, out } = await tidegate('pause', NAME, '--reason', 'Calls from site 12.');
    expect(exit).toBe(0);
    const commit = await served('rev-parse', 'main');
    expect(out).toMatch(
      new RegExp(
        `^✓ Pause ${NAME}\n  ${commit.slice(0, 7)}[0-9a-f]* on main of origin \\(.*fleet\\.git\\)\n`,
      ),
    );
    expect(out).toContain('git pull brings it up to date');
    expect(await served('rev-parse', 'main~1')).toBe(tip);
    expect(await served('show', `main:${OPS}`)).toBe(
      `apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: ${NAME}}\nspec:\n  operations:\n` +
        '  - {action: pause, attempt: 2, by: Ada, reason: Calls from site 12.}',
    );
    expect(await served('log', '-1', '--format=%an <%ae>%n%B', 'main')).toBe(
      `Ada <ada@example.org>\nPause ${NAME}\n\nCalls from site 12.\n\nRollout: ${NAME}\nAttempt: 2`,
    );
    expect(await served('diff', '--name-only', 'main~1', 'main')).toBe(OPS);
    expect(await git(clone, 'status', '--porcelain')).toBe(before);
    expect(await git(clone, 'rev-parse', 'HEAD')).toBe(head);
  });

  test('it works on the newest commit of the remote, which the clone does not have yet', async () => {
    const { tidegate, served, bare } = await people('running');
    const other = join(await temporaryFolder(), 'other');
    await git(bare, 'clone', '--quiet', bare, other);
    await writeFiles(other, { [OPS]: operations('# By hand.\n  - {action: pause, attempt: 1, by: bo}\n') });
    await git(other, 'add', '--all');
    await git(other, 'commit', '--quiet', '--message', 'Pause by hand');
    await git(other, 'push', '--quiet', 'origin', 'main');
    expect((await tidegate('resume', NAME, '--by', 'cy')).exit).toBe(0);
    expect(await served('show', `main:${OPS}`)).toBe(
      operations(
        '# By hand.\n  - {action: pause, attempt: 1, by: bo}\n  - {action: resume, attempt: 1, by: cy}',
      ),
    );
    expect(await served('rev-list', '--count', 'main')).toBe('3');
  });

  test.each([
    [
      'metadata: {name: [}',
      /ops\/thermostat-firmware\.yaml:\d+:\d+ is no Operation document of .* \(.+\); correct or move it/,
    ],
    [
      operations('  - {action: pause, attempt: 1, by: bo}').replace(NAME, 'other'),
      /holds the operations of other, not of /,
    ],
  ])('a file that cannot take the entry is named with what is wrong there', async (content, message) => {
    const { tidegate, bare } = await people('running');
    const other = join(await temporaryFolder(), 'other');
    await git(bare, 'clone', '--quiet', bare, other);
    await writeFiles(other, { [OPS]: content });
    await git(other, 'add', '--all');
    await git(other, 'commit', '--quiet', '--message', 'Break it');
    await git(other, 'push', '--quiet', 'origin', 'main');
    const { exit, err } = await tidegate('pause', NAME);
    expect({ exit, err }).toEqual({ exit: 2, err: expect.stringMatching(message) });
  });

  test('losing the race for the tip means looking again', async () => {
    const { tidegate, served, clone, bare } = await people('running');
    const other = join(await temporaryFolder(), 'other');
    await git(bare, 'clone', '--quiet', bare, other);
    // Somebody else pushes at the moment of our push, once.
    const hook = join(clone, '.git/hooks/pre-push');
    const push = `cd ${other} && unset GIT_DIR && git -c user.name=bo -c user.email=b@x commit -q --allow-empty -m Faster && git push -q origin HEAD:main`;
    await writeFile(hook, `#!/bin/sh\nrm "$0"\n${push}\n`, { mode: 0o755 });
    expect((await tidegate('cancel', NAME)).exit).toBe(0);
    expect(await served('log', '-3', '--format=%s', 'main')).toBe(`Cancel ${NAME}\nFaster\nChange 1`);
  });

  test('a refused push says what the server said, and changes nothing', async () => {
    const { tidegate, served, bare } = await people('running');
    protect(bare);
    const { exit, err } = await tidegate('pause', NAME);
    expect(exit).toBe(2);
    expect(err).toMatch(
      /origin \(.*fleet\.git\) refuses the push to main: .*main is protected .*; nothing was changed\n$/,
    );
    expect(await served('rev-list', '--count', 'main')).toBe('1');
  });

  test('--dry-run shows the commit and makes none', async () => {
    const { tidegate, served } = await people('running');
    const { exit, out } = await tidegate('pause', NAME, '--dry-run', '--by', 'bo');
    expect(exit).toBe(0);
    expect(out).toContain('Would commit to main of origin');
    expect(out).toContain(`    ${OPS} (new)\n    + apiVersion: tidegate.dev/v1\n`);
    expect(out).toContain('    +   - {action: pause, attempt: 1, by: bo}\n');
    expect(await served('rev-list', '--count', 'main')).toBe('1');
  });

  test('--format json prints what was committed', async () => {
    const { tidegate, served } = await people('running');
    const paused = await tidegate('pause', NAME, '--by', 'bo', '--format', 'json');
    expect(JSON.parse(paused.out)).toEqual({
      dryRun: false,
      commit: await served('rev-parse', 'main'),
      branch: 'main',
      place: expect.stringMatching(/^origin \(.*fleet\.git\)$/),
      subject: `Pause ${NAME}`,
      files: [OPS],
      operations: [{ rollout: NAME, action: 'pause', attempt: 1, by: 'bo' }],
      warnings: [],
      next: expect.arrayContaining([expect.stringContaining('git pull')]),
    });
  });

  test('the person may have a file of that rollout under another name', async () => {
    const { tidegate, served, clone } = await people('running');
    await writeFiles(clone, { 'ops/all.yaml': operations('  - {action: pause, attempt: 1, by: bo}') });
    await git(clone, 'add', '--all');
    await git(clone, 'commit', '--quiet', '--message', 'Pause');
    await git(clone, 'push', '--quiet', 'origin', 'main');
    expect((await tidegate('resume', NAME)).exit).toBe(0);
    expect(await served('diff', '--name-only', 'main~1', 'main')).toBe('ops/all.yaml');
  });
});

describe('elsewhere', () => {
  test('a bare repository is committed to directly', async () => {
    const { tidegate, served, bare } = await people('running');
    const { exit, out } = await tidegate('pause', NAME, '--repo', bare);
    expect(exit).toBe(0);
    expect(out).not.toContain('git pull');
    expect(await served('log', '-1', '--format=%an: %s', 'main')).toBe(`ada: Pause ${NAME}`);
  });

  test('a bare repository needs no git program', async () => {
    const { served, bare } = await people('running');
    const { exit } = await run(['pause', NAME, '--repo', bare], { env: await withoutGit() });
    expect(exit).toBe(0);
    expect(await served('log', '-1', '--format=%an: %s', 'main')).toBe(`ada: Pause ${NAME}`);
    expect(await served('fsck', '--strict')).toBe('');
  });

  test('a clone needs it, and the command says so', async () => {
    const { clone } = await people('running');
    const { exit, err } = await run(['pause', NAME, '--repo', clone], { env: await withoutGit() });
    expect(exit).toBe(2);
    expect(err).toContain('cannot be committed to without the git program; install git');
  });

  test.skipIf(!hasGitServer)(
    'an address is worked at without a clone, by the git of the person',
    async () => {
      const { served, bare } = await people('running');
      const server = await startGitServer(dirname(bare));
      onTestFinished(() => server.close());
      await served('config', 'http.receivepack', 'true');
      const address = `${server.url}/fleet.git`;
      const { exit, out } = await run(['pause', NAME, '--repo', address], { env: PERSON });
      expect({ exit, out }).toMatchObject({ exit: 0, out: expect.stringContaining(`on main of ${address}`) });
      expect(await served('log', '-1', '--format=%an: %s', 'main')).toBe(`ada: Pause ${NAME}`);
      const gone = await run(['pause', NAME, '--repo', `${address}-not`], { env: PERSON });
      expect(gone.exit).toBe(2);
      expect(gone.err).toMatch(/git ls-remote failed: .*; see that git ls-remote works with it/);
    },
  );

  test.skipIf(!hasGitServer)(
    'with a token it is worked at without git, and the token is shown nowhere',
    async () => {
      const { served, bare } = await people('succeeded', 'running');
      const server = await startGitServer(dirname(bare));
      onTestFinished(() => server.close());
      await served('config', 'http.receivepack', 'true');
      server.login = { username: 'x-access-token', password: 'geheim-123' };
      const command = ['rollback', NAME, '--repo', `${server.url}/fleet.git`, '--by', 'ci'];
      const env = { ...(await withoutGit()), TIDEGATE_GIT_TOKEN: 'geheim-123' };
      const { exit, out, err } = await run(command, { env });
      expect({ exit, err }).toEqual({ exit: 0, err: '' });
      expect(await served('log', '-1', '--format=%an: %s', 'main')).toBe('ci: Revert "Change 2"');
      const wrong = await run(command, { env: { ...env, TIDEGATE_GIT_TOKEN: 'geheim-456' } });
      expect(wrong.exit).toBe(2);
      expect(out + wrong.out + wrong.err).not.toContain('geheim');
    },
  );

  test('a work tree without a remote gets the commit and the file, and keeps what else is staged', async () => {
    const { tidegate, clone } = await people('running');
    await git(clone, 'fetch', '--quiet', 'origin', 'outcomes:outcomes');
    await git(clone, 'remote', 'remove', 'origin');
    await writeFile(join(clone, 'NOTES.md'), 'mine');
    await git(clone, 'add', 'NOTES.md');
    await writeFile(join(clone, 'fleet/fleet.yaml'), '# under way\n');
    const before = await git(clone, 'status', '--porcelain');
    expect((await tidegate('pause', NAME)).exit).toBe(0);
    expect(await git(clone, 'show', '--name-only', '--format=%s', 'HEAD')).toBe(`Pause ${NAME}\n\n${OPS}`);
    expect(await git(clone, 'status', '--porcelain')).toBe(before);
    expect(await readFile(join(clone, OPS), 'utf8')).toContain('action: pause');

    await writeFile(join(clone, OPS), '# mine\n');
    const refused = await tidegate('resume', NAME);
    expect(refused.exit).toBe(2);
    expect(refused.err).toContain(`changes of yours: ${OPS}; commit or stash them first`);
    expect(await readFile(join(clone, OPS), 'utf8')).toBe('# mine\n');
    expect(await git(clone, 'log', '-1', '--format=%s')).toBe(`Pause ${NAME}`);
  });

  test('without a repository, or without the branch, the command says what to do', async () => {
    const { tidegate, bare } = await people('running');
    expect(await tidegate('pause', NAME, '--repo', '/nowhere')).toMatchObject({
      exit: 2,
      err: expect.stringContaining('there is no folder /nowhere'),
    });
    expect(await tidegate('pause', NAME, '--repo', bare, '--branch', 'trunk')).toMatchObject({
      exit: 2,
      err: expect.stringContaining('has no branch trunk'),
    });
  });
});

describe('what has no effect is not committed', () => {
  const REFUSED: readonly (readonly [readonly Attempt['state'][], readonly (readonly [string, RegExp])[]])[] =
    [
      [
        ['running'],
        [
          [
            'pause thermostat-firmwares',
            /there is no rollout thermostat-firmwares; did you mean thermostat-firmware\?/,
          ],
          [`resume ${NAME}`, /there is nothing to resume: attempt 1 of thermostat-firmware is running/],
          [`cancel ${NAME} --attempt 7`, /has no attempt 7, the latest is 1/],
          [`approve ${NAME} --stage btach`, /attempt 1 has no stage btach; did you mean batch\?/],
          [`approve ${NAME} --stage batch`, /stage batch asks for no approval/],
          [`approve ${NAME} --stage emergency`, /nobody has asked for an emergency in attempt 1/],
          [`promote ${NAME} --stage batch`, /stage batch is not open/],
          [`retry ${NAME}`, /attempt 1 is running, and as soon as it fails/],
          ['resume --all', /there is nothing to resume: no rollout was paused by a person/],
          [`rollback ${NAME}`, /has no known-good yet/],
        ],
      ],
      [['paused'], [[`pause ${NAME}`, /is paused already, in attempt 1/]]],
      [
        ['succeeded'],
        [
          [`pause ${NAME}`, /pause has no effect: attempt 1 is over \(succeeded\)/],
          [`retry ${NAME}`, /there is nothing to retry: attempt 1 succeeded/],
          ['pause --all', /there is nothing to pause: no rollout is under way/],
          [`rollback ${NAME}`, /nothing to roll back: attempt 1 succeeded and is known-good/],
        ],
      ],
      [
        ['succeeded', 'rolledBack', 'running'],
        [
          [`promote ${NAME} --emergency`, /thermostat@2\.7\.0 has not succeeded in this rollout before/],
          [
            `rollback ${NAME} --to 2`,
            /attempt 2 of thermostat-firmware did not succeed \(rolledBack\); these have: 1 \(thermostat@2\.5\.0\)/,
          ],
          [`rollback ${NAME} --to 9`, /attempt 9 of thermostat-firmware is not there/],
          [`rollback ${NAME} --emergency`, /no emergency is needed: to known-good \(attempt 1\)/],
        ],
      ],
    ];

  test.each(REFUSED)('while attempts are %j', async (states, commands) => {
    const { tidegate, served } = await people(...states);
    for (const [command, message] of commands) {
      const { exit, err } = await tidegate(...command.split(' '));
      expect({ command, err, exit }).toEqual({ command, err: expect.stringMatching(message), exit: 1 });
    }
    expect(await served('rev-list', '--count', 'main')).toBe(String(states.length));
  });

  test.each([
    'pause',
    `pause ${NAME} --all`,
    `approve ${NAME}`,
    `promote ${NAME}`,
    `promote ${NAME} --stage canary --emergency`,
    `cancel ${NAME} --attempt 0`,
    `rollback ${NAME} --to abc`,
    `rollback ${NAME} --to 0`,
  ])('%s is wrong use', async (command) => {
    expect((await run(command.split(' '), { env: PERSON })).exit).toBe(2);
  });

  test('a pause that has not been read yet counts as one', async () => {
    const { tidegate } = await people('running');
    expect((await tidegate('pause', NAME)).exit).toBe(0);
    expect(await tidegate('pause', NAME)).toMatchObject({
      exit: 1,
      err: expect.stringContaining('is paused already'),
    });
    expect((await tidegate('resume', NAME)).exit).toBe(0);
    expect((await tidegate('resume', NAME)).exit).toBe(1);
  });
});

describe('pause --all', () => {
  test('pauses what is under way in one commit', async () => {
    const { tidegate, served } = await people('running');
    expect((await tidegate('pause', '--all', '--reason', 'Storm.')).out).toContain('✓ Pause');
    expect(await served('rev-list', '--count', 'main')).toBe('2');
    expect((await tidegate('resume', '--all')).exit).toBe(0);
    expect(await served('show', `main:${OPS}`)).toContain(
      '  - {action: pause, attempt: 1, by: Ada, reason: Storm.}\n  - {action: resume, attempt: 1, by: Ada}',
    );
  });
});

test('S4.28 rollback --where adds one line to the rollout, and the same again says that it is there', async () => {
  const { tidegate, served } = await people('succeeded', 'running');
  const where = "tags.hardwareRevision = 'rev-b'";
  const { exit, out } = await tidegate('rollback', NAME, '--where', where, '--reason', 'Its sensor resets.');
  expect(exit).toBe(0);
  expect(out).toContain('return at once and stay there until spec.exclude is taken away');
  const diff = await served('diff', '--unified=0', 'main~1', 'main');
  expect(diff.split('\n').filter((line) => /^[+-][^+-]/.test(line))).toEqual([`+  exclude: "${where}"`]);
  expect(await served('log', '-1', '--format=%B', 'main')).toContain('Its sensor resets.');
  expect(await tidegate('rollback', NAME, '--where', where)).toMatchObject({
    exit: 1,
    err: expect.stringContaining('already'),
  });
  expect((await tidegate('rollback', NAME, '--where', "tags.region = 'south'")).exit).toBe(0);
  expect(await served('show', `main:fleet/rollouts/${NAME}.yaml`)).toContain(
    `exclude: "(${where}) OR (tags.region = 'south')"`,
  );
  expect(await tidegate('rollback', NAME, '--where', 'tags.x =')).toMatchObject({ exit: 2 });
  expect(await tidegate('rollback', NAME, '--where', where, '--to', '1')).toMatchObject({ exit: 2 });
});

describe('rollback', () => {
  test('to known-good undoes the commit that brought the attempt', async () => {
    const { tidegate, served } = await people('succeeded', 'running');
    const { exit, out } = await tidegate('rollback', NAME, '--reason', '2.6.0 overheats.');
    expect(exit).toBe(0);
    expect(out).toContain('Devices return to thermostat@2.5.0 at once, without stages.');
    expect(await served('rev-parse', 'main:fleet')).toBe(await served('rev-parse', 'main~2:fleet'));
    const undone = await served('rev-parse', 'main~1');
    expect(await served('log', '-1', '--format=%B', 'main')).toMatch(
      new RegExp(
        `^Revert "Change 2"\n\nThis reverts commit ${undone}\\.\n\n2\\.6\\.0 overheats\\.\n\nfleet/ is the snapshot`,
      ),
    );
  });

  test('to an earlier success changes the distribution set, and with --emergency asks to go past the stages', async () => {
    const { tidegate, served } = await people('succeeded', 'succeeded', 'succeeded');
    const planned = await tidegate('rollback', NAME, '--to', '1', '--dry-run');
    expect(planned.out).toContain('-   distributionSet: thermostat@2.7.0\n');
    expect(planned.out).toContain('+   distributionSet: thermostat@2.5.0\n');
    const { exit, out } = await tidegate('rollback', NAME, '--to', '1', '--emergency');
    expect(exit).toBe(0);
    expect(out).toContain('Attempt 4 opens for all devices at once');
    expect(await served('show', `main:fleet/rollouts/${NAME}.yaml`)).toContain('thermostat@2.5.0');
    expect(await served('show', `main:${OPS}`)).toContain(
      '{action: promote, attempt: 4, emergency: true, by: Ada}',
    );
    expect(await served('rev-list', '--count', 'main')).toBe('4');
    expect(await tidegate('rollback', NAME, '--to', '1')).toMatchObject({
      exit: 1,
      err: expect.stringContaining('main wants thermostat@2.5.0 already'),
    });
  });
});

describe.skipIf(!hasSshKeygen())('an approval that must be signed', () => {
  async function guarded() {
    const all = await people('running');
    const text = rolloutText({}).replace('soak: 1h}', 'soak: 1h, approvals: 2}');
    await writeFiles(all.clone, { ...fleetFiles(), [`fleet/rollouts/${NAME}.yaml`]: text });
    await git(all.clone, 'commit', '--quiet', '--all', '--message', 'Two approvals');
    await git(all.clone, 'push', '--quiet', 'origin', 'main');
    return all;
  }

  test('is signed where git knows a key, even if it does not sign by itself', async () => {
    const { tidegate, served, clone } = await guarded();
    const folder = await temporaryFolder();
    const key = makeSshKey(folder, 'ada');
    await git(clone, 'config', 'gpg.format', 'ssh');
    await git(clone, 'config', 'user.signingKey', key.path);
    const unlisted = await tidegate('approve', NAME, '--stage', 'batch');
    expect(unlisted.exit).toBe(0);
    expect(unlisted.err.replace(/\s+/g, ' ')).toMatch(
      /THIS APPROVAL WILL NOT COUNT: the commit is signed, but its key SHA256:\S+ is not in trust\/allowed_signers\. /,
    );
    await git(clone, 'pull', '--quiet');
    await writeFiles(clone, { 'trust/allowed_signers': `ada namespaces="git" ${key.line}\n` });
    await git(clone, 'add', 'trust');
    await git(clone, 'commit', '--quiet', '--message', 'List a key');
    await git(clone, 'push', '--quiet', 'origin', 'main');
    const { exit, err } = await tidegate('approve', NAME, '--stage', 'batch', '--by', 'Ada again');
    expect({ exit, err }).toEqual({ exit: 0, err: '' });
    await writeFile(join(folder, 'allowed'), `ada ${key.line}\n`);
    const verified = await served(
      '-c',
      `gpg.ssh.allowedSignersFile=${folder}/allowed`,
      'log',
      '-1',
      '--format=%G? %GS',
      'main',
    );
    expect(verified).toBe('G ada');
  });

  test('is made all the same where it knows none, with a loud warning', async () => {
    const { tidegate, served } = await guarded();
    const { exit, err } = await tidegate('approve', NAME, '--stage', 'batch');
    expect(exit).toBe(0);
    expect(err).toContain('THIS APPROVAL WILL NOT COUNT');
    expect(await served('log', '-1', '--format=%s', 'main')).toBe(`Approve ${NAME}, stage batch`);
  });

  test('is not made where signing fails', async () => {
    const { tidegate, served, clone } = await guarded();
    await git(clone, 'config', 'gpg.format', 'ssh');
    await git(clone, 'config', 'user.signingKey', '/nonexistent/key');
    const { exit, err } = await tidegate('approve', NAME, '--stage', 'batch');
    expect(exit).toBe(2);
    expect(err).toMatch(/git could not make the commit: .*; see that git commit -S works, then try again/);
    expect(await served('rev-list', '--count', 'main')).toBe('2');
  });
});

function operations(lines: string): string {
  return `apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: ${NAME}}\nspec:\n  operations:\n${lines}`;
}
