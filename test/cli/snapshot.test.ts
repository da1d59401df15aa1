import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import {
  document,
  fleetFiles,
  git,
  recordAttempts,
  repositoryOf,
  rolloutText,
  run,
  temporaryFolder,
  writeFiles,
} from './fixture.ts';

const ROLLOUT = 'fleet/rollouts/thermostat-firmware.yaml';
const PROD = "tags.product = 'thermostat' AND tags.environment = 'prod'";

/** 2.4.0 succeeded, 2.5.0 was rolled back, and a third commit changed the rollout once more. */
async function history(): Promise<string> {
  const repo = await repositoryOf(fleetFiles('2.4.0'), fleetFiles('2.5.0'), {
    [ROLLOUT]: rolloutText({ batch: '10%', condition: PROD }),
  });
  await recordAttempts(repo, [
    { from: 'main~2', state: 'succeeded' },
    { from: 'main~1', state: 'rolledBack' },
  ]);
  return repo;
}

/** The command in a terminal without colours, `columns` wide; 80 unless said. */
function snapshot(repo: string, args: readonly string[], columns = 80) {
  return run(['snapshot', ...args, '--repo', repo], { columns, env: { NO_COLOR: '1' } });
}

async function json(repo: string, ...args: readonly string[]): Promise<unknown> {
  return JSON.parse((await snapshot(repo, [...args, '--format', 'json'])).out);
}

describe('list', () => {
  test('shows what was rolled out and what main wants, newest first', async () => {
    expect(await snapshot(await history(), ['list'])).toEqual({
      exit: 0,
      err: '',
      out: `SNAPSHOT    COMMIT      COMMITTED (UTC)   ROLLOUT              ATTEMPT
834268f883  ed0cc4c91b  2026-11-20 08:00  ← main
0b09fe0941  eed281bd4e  2026-11-20 08:00  thermostat-firmware  2 rolledBack
4b11e6d6ab  def166609c  2026-11-20 08:00  thermostat-firmware  1 succeeded ✓

✓ known-good: what the devices of the rollout go back to
`,
    });
  });

  test('in json ids are whole', async () => {
    const repo = await history();
    expect(await json(repo, 'list')).toEqual([
      {
        snapshot: await git(repo, 'rev-parse', 'main:fleet'),
        commit: await git(repo, 'rev-parse', 'main'),
        at: '2026-11-20T08:00:00Z',
        head: true,
        rollouts: [],
      },
      expect.objectContaining({ snapshot: await git(repo, 'rev-parse', 'main~1:fleet'), head: false }),
      {
        snapshot: await git(repo, 'rev-parse', 'main~2:fleet'),
        commit: await git(repo, 'rev-parse', 'main~2'),
        at: '2026-11-20T08:00:00Z',
        head: false,
        rollouts: [
          {
            rollout: 'thermostat-firmware',
            attempt: 1,
            state: 'succeeded',
            distributionSet: 'thermostat@2.4.0',
            knownGood: true,
          },
        ],
      },
    ]);
  });

  test('a repository without outcomes has the snapshot of main', async () => {
    const repo = await repositoryOf(fleetFiles());
    expect(await json(repo, 'list')).toEqual([expect.objectContaining({ head: true, rollouts: [] })]);
    expect((await snapshot(repo, ['list', '--branch', 'other'])).out).toContain('no snapshots');
  });
});

describe('show', () => {
  test('lists the documents and what each rollout installs where', async () => {
    const repo = await history();
    const shown = await snapshot(repo, ['show', 'known-good/thermostat-firmware'], 100);
    expect(shown).toEqual({
      exit: 0,
      err: '',
      out: `snapshot 4b11e6d6ab63bf8ce6c6bd276130c280bccb2eff (the tree of outcomes:known-good/thermostat-firmware)
✓ known-good of thermostat-firmware (attempt 1)

KIND             NAME                 FILE
DistributionSet  thermostat@2.4.0     fleet/distribution-sets/thermostat-2.4.0.yaml
Fleet            homes                fleet/fleet.yaml
Rollout          thermostat-firmware  fleet/rollouts/thermostat-firmware.yaml

thermostat-firmware
  installs thermostat@2.4.0 (e1eaa2857580), priority 10
  where tags.product = 'thermostat'
`,
    });
  });

  test('a snapshot goes by many names', async () => {
    const repo = await history();
    const tree = await git(repo, 'rev-parse', 'main~2:fleet');
    const commit = await git(repo, 'rev-parse', 'main~2');
    const names = [
      'main~2',
      commit,
      commit.slice(0, 7),
      tree,
      tree.slice(0, 4),
      'known-good/thermostat-firmware',
    ];
    for (const name of [...names, `${await git(repo, 'rev-parse', 'main')}~2`]) {
      expect(await json(repo, 'show', name)).toMatchObject({ snapshot: tree, valid: true });
    }
    await git(repo, 'gc', '--quiet');
    for (const name of names) expect(await json(repo, 'show', name)).toMatchObject({ snapshot: tree });
  });

  test.each([
    ['nothing', 'has no snapshot "nothing"; tidegate snapshot list shows ids'],
    ['abcd', 'has no snapshot "abcd"'],
    ['main~3', 'main~3 is before the first commit: there are 2 before'],
    ['outcomes', 'has no folder fleet/; name a commit of the fleet'],
    ['known-good/thermostat-frimware', 'did you mean thermostat-firmware?'],
  ])('%s names none', async (name, message) => {
    const { exit, out, err } = await snapshot(await history(), ['show', name]);
    expect({ exit, out }).toEqual({ exit: 2, out: '' });
    expect(err).toContain(message);
  });

  test('an invalid snapshot is shown with its problems and exit code 1', async () => {
    const repo = await repositoryOf({ ...fleetFiles(), [ROLLOUT]: rolloutText({ version: '9.9.9' }) });
    const { exit, out } = await snapshot(repo, ['show', 'main'], 200);
    expect(exit).toBe(1);
    expect(out).toMatch(new RegExp(`^  ${ROLLOUT}:6:20: .*thermostat@9.9.9`, 'm'));
  });

  test('what a commit says cannot steer the terminal', async () => {
    const repo = await repositoryOf(fleetFiles());
    await git(repo, 'commit', '--quiet', '--allow-empty', '--message', 'Innocent\u001b[2J');
    expect((await snapshot(repo, ['show', 'main'])).out).toContain('Ada: Innocent�[2J\n');
  });
});

describe('diff', () => {
  test('says which files differ and what that means for devices', async () => {
    expect(await snapshot(await history(), ['diff', 'main~2', 'main'])).toEqual({
      exit: 0,
      err: '',
      out: `4b11e6d6ab → 834268f883: 2 files changed
  + fleet/distribution-sets/thermostat-2.5.0.yaml
  ~ fleet/rollouts/thermostat-firmware.yaml

~ thermostat-firmware
    installs thermostat@2.4.0 (e1eaa2857580) → thermostat@2.5.0 (ea1b6928058e)
    targets tags.product = 'thermostat' → tags.product = 'thermostat' AND
    tags.environment = 'prod'
    stage batch: size 25% → 10%
`,
    });
  });

  test('a comment is a change of a file and none for devices', async () => {
    const repo = await repositoryOf(fleetFiles(), { [ROLLOUT]: `# the thermostats\n${rolloutText({})}` });
    const { out } = await snapshot(repo, ['diff', 'main~1', 'main']);
    expect(out).toMatch(/: 1 file changed\n {2}~ fleet\/rollouts\/.*\n\nNothing changes for devices\.\n$/);
  });

  test('a rollout that is new, gone or set differently is put into words', async () => {
    const other = rolloutText({ condition: "tags.product = 'kiosk'" }).replace(
      '{name: thermostat-firmware}',
      '{name: kiosks}',
    );
    const repo = await repositoryOf(fleetFiles(), {
      'fleet/rollouts/kiosks.yaml': other.replace('priority: 10', 'priority: 7'),
      'fleet/fleet.yaml': document('Fleet', 'homes', '{pollInterval: 5m}'),
      'fleet/devices/exceptions.yaml': document(
        'DeviceList',
        'exceptions',
        '{devices: [{id: old-1, retired: true}]}',
      ),
      [ROLLOUT]: rolloutText({})
        .replace('runtime_healthy}', 'runtime_healthy && drops == 0, quiet: noise < 3}')
        .replace('- fleet: all', '- {name: rest, size: all, ramp: 72h}'),
    });
    expect(await json(repo, 'diff', 'main~1', 'main')).toMatchObject({
      fleet: ['poll interval 15m → 5m', 'what is said of 1 device: old-1'],
      rollouts: [
        {
          rollout: 'kiosks',
          change: 'added',
          words: [
            expect.stringMatching(
              /^installs thermostat@2\.5\.0 \([0-9a-f]{12}\) where tags\.product = 'kiosk'$/,
            ),
            'priority 7',
          ],
        },
        {
          rollout: 'thermostat-firmware',
          change: 'changed',
          words: [
            'gate health: runtime_healthy → runtime_healthy && drops == 0',
            'gate quiet added: noise < 3',
            'stages canary → batch → fleet became canary → batch → rest',
            'stage canary: gates health → health, quiet',
            'stage batch: gates health → health, quiet',
          ],
        },
      ],
    });
    expect(await json(repo, 'diff', 'main', 'main~1')).toMatchObject({
      rollouts: [{ rollout: 'kiosks', change: 'removed' }, { change: 'changed' }],
    });
  });

  test('a flag that is new, gone or set differently is put into words', async () => {
    const flag = (spec: string) =>
      document('Flag', 'mesh', `{owner: apps, values: {on: 1, off: 0}, ${spec}}`);
    const path = 'fleet/flags/mesh.yaml';
    const rule = `{targetCondition: "tags.site = 'berlin'", percentage: 0.5%, variant: on}`;
    const repo = await repositoryOf(
      fleetFiles(),
      { [path]: flag('default: off') },
      { [path]: flag(`default: off, rules: [${rule}, {split: {on: 25%, off: 75%}}]`) },
      { [path]: flag(`default: off, enabled: false, rules: [${rule}]`) },
    );
    const flagsOf = async (...names: readonly string[]) =>
      ((await json(repo, 'diff', ...names)) as { flags: unknown }).flags;
    expect(await flagsOf('main~3', 'main~2')).toEqual([{ flag: 'mesh', change: 'added', words: ['off'] }]);
    const given = "on to 0.5% where tags.site = 'berlin'; on 25% and off 75%; otherwise off";
    expect(await flagsOf('main~2', 'main~1')).toEqual([
      { flag: 'mesh', change: 'changed', words: [`gives off → ${given}`] },
    ]);
    expect(await snapshot(repo, ['diff', 'main~1', 'main'], 120)).toMatchObject({
      out: expect.stringContaining(
        `~ flag mesh\n    gives ${given} → off to every device\n    enabled true → false\n`,
      ),
    });
    expect(await flagsOf('main', 'main~3')).toMatchObject([{ flag: 'mesh', change: 'removed' }]);
  });

  test('a snapshot that is not valid is compared by its files alone', async () => {
    const repo = await repositoryOf(fleetFiles(), { [ROLLOUT]: rolloutText({ batch: 'lots' }) });
    expect(await json(repo, 'diff', 'main~1', 'main')).toMatchObject({
      files: [{ path: ROLLOUT, change: 'changed' }],
      fleet: null,
      rollouts: null,
      flags: null,
    });
    expect(await snapshot(repo, ['diff', 'main', 'main'])).toMatchObject({
      exit: 0,
      out: expect.stringContaining('the same snapshot'),
    });
  });
});

describe('verify', () => {
  test('a restored main is proved to be the known-good snapshot, and plain git agrees', async () => {
    const repo = await history();
    await git(repo, 'revert', '--no-edit', 'main', 'main~1');
    const tree = await git(repo, 'rev-parse', 'main:fleet');
    const { exit, out } = await snapshot(repo, ['verify'], 120);
    expect(exit).toBe(0);
    expect(out).toBe(`✓ main:fleet is ${tree}, the known-good snapshot of thermostat-firmware (attempt 1)
✓ 6 objects read, each is what its id says

Plain git shows the same:
    git -C ${repo} rev-parse main:fleet
    git -C ${repo} rev-parse outcomes:known-good/thermostat-firmware
    git -C ${repo} diff outcomes:known-good/thermostat-firmware main:fleet
    git -C ${repo} fsck
`);
    expect(await git(repo, 'rev-parse', 'outcomes:known-good/thermostat-firmware')).toBe(tree);
  });

  test('a main that differs in one byte is not, and the file is named', async () => {
    const repo = await history();
    await git(repo, 'revert', '--no-edit', 'main', 'main~1');
    await writeFiles(repo, { 'fleet/fleet.yaml': `${document('Fleet', 'homes', '{}')}\n` });
    await git(repo, 'commit', '--all', '--quiet', '--message', 'A newline');
    const { exit, out } = await snapshot(repo, ['verify', '--rollout', 'thermostat-firmware'], 120);
    expect(exit).toBe(1);
    expect(out).toMatch(/^✗ main:fleet is [0-9a-f]{40}, which is not known-good\n/);
    expect(out).toContain(
      "  from thermostat-firmware's (attempt 1, 4b11e6d6ab) it differs in\n    fleet/fleet.yaml\n✓ 6 objects read",
    );
  });

  test('an object that does not hash to its id is named with its path', async () => {
    const repo = await history();
    const blob = await git(repo, 'rev-parse', 'main~2:fleet/fleet.yaml');
    await overwriteObject(repo, blob, 'blob 4\0evil');
    const { exit, out } = await snapshot(repo, ['verify', 'main~2']);
    expect(exit).toBe(1);
    expect(out).toContain(`✗ fleet/fleet.yaml: object ${blob} is broken\n`);
    expect(await json(repo, 'verify', 'main~2')).toMatchObject({
      broken: [{ path: 'fleet/fleet.yaml', oid: blob }],
    });
  });

  test('without a known-good snapshot there is nothing to be', async () => {
    const repo = await repositoryOf(fleetFiles());
    expect(await snapshot(repo, ['verify'])).toMatchObject({
      exit: 1,
      out: expect.stringContaining('no rollout has succeeded yet'),
    });
    expect(await snapshot(repo, ['verify', '--rollout', 'thermostat-firmware'])).toMatchObject({
      exit: 2,
      err: expect.stringContaining('has no known-good snapshot yet'),
    });
  });

  test('a link on outcomes that is not what the outcome names is found', async () => {
    const repo = await history();
    const clone = await temporaryFolder();
    await git(clone, 'clone', '--quiet', '--branch', 'outcomes', repo, '.');
    await writeFiles(clone, {
      'known-good/thermostat-firmware/fleet.yaml': document('Fleet', 'forged', '{}'),
    });
    await git(clone, 'commit', '--all', '--quiet', '--message', 'Forge');
    await git(clone, 'push', '--quiet', 'origin', 'outcomes');
    const { exit, out } = await snapshot(repo, ['verify', 'main~2'], 200);
    expect(exit).toBe(1);
    expect(out).toMatch(
      /outcomes:known-good\/thermostat-firmware links [0-9a-f]{40} where attempt 1 names 4b11e6d6ab/,
    );
  });
});

/** Puts other bytes under an object's name, as a failing disk or a forger would. */
async function overwriteObject(repo: string, oid: string, bytes: string): Promise<void> {
  const path = join(repo, '.git/objects', oid.slice(0, 2), oid.slice(2));
  await chmod(path, 0o644);
  await writeFile(path, deflateSync(bytes));
}
