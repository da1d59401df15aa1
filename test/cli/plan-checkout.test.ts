/** `tidegate plan` in the checkouts that it meets: with a record and without, whole and shallow, right and wrong. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { PlanReport } from '../../src/proposal/examination.ts';
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
const CENSUS =
  'cells:\n- {tags: {product: thermostat, site: s1}, devices: 60}\n- {tags: {product: thermostat, site: s2}, devices: 40}\n';

async function plan(folder: string, ...args: readonly string[]) {
  return await run(['plan', folder, ...args]);
}

async function planned(folder: string, ...args: readonly string[]): Promise<PlanReport> {
  const { out, err } = await plan(folder, ...args, '--format', 'json');
  expect(err).toBe('');
  return JSON.parse(out);
}

/** Two releases on main, both in the record, and a third in the folder. */
async function recorded(states: readonly ('succeeded' | 'rolledBack' | 'running')[]): Promise<string> {
  const folder = await repositoryOf(fleetFiles('2.5.0'), fleetFiles('2.6.0'));
  await recordAttempts(
    folder,
    states.map((state, at) => ({ from: at === 0 ? 'main~1' : 'main', state })),
  );
  return folder;
}

async function censusFile(): Promise<string> {
  const folder = await temporaryFolder();
  await writeFiles(folder, { 'census.yaml': CENSUS });
  return join(folder, 'census.yaml');
}

describe('what merging does', () => {
  test('another revision begins an attempt, in place of one that is under way', async () => {
    const folder = await recorded(['succeeded', 'running']);
    await writeFiles(folder, fleetFiles('2.7.0'));
    const { proposal, record } = await planned(folder, '--census', await censusFile());
    expect(record).toBe('outcomes');
    expect(proposal?.rollouts[0]).toMatchObject({
      before: 'thermostat@2.5.0',
      effect: { kind: 'starts', attempt: 3, supersedes: 2 },
      matching: 100,
    });
    expect(proposal?.moves).toMatchObject([{ devices: 100, to: { distributionSet: 'thermostat@2.7.0' } }]);
  });

  test('known-good takes what is under way back', async () => {
    const folder = await recorded(['succeeded', 'running']);
    await writeFiles(folder, { [ROLLOUT]: rolloutText({ version: '2.5.0' }) });
    const { proposal } = await planned(folder);
    // No stage of attempt 2 has opened, so nothing returns.
    expect(proposal?.rollouts[0]?.effect).toEqual({ kind: 'inForce', knownGood: 1 });
    expect(proposal?.rollouts[0]?.forecast).toBeUndefined();
  });

  test('a wider condition goes over the newcomers alone', async () => {
    const folder = await recorded(['succeeded', 'succeeded']);
    await writeFiles(folder, { [ROLLOUT]: rolloutText({ version: '2.6.0', condition: "'*'" }) });
    const beside = await temporaryFolder();
    await writeFiles(beside, {
      'census.yaml': `${CENSUS}- {tags: {product: kiosk, site: s1}, devices: 7}\n`,
    });
    const { proposal } = await planned(folder, '--census', join(beside, 'census.yaml'));
    expect(proposal?.rollouts[0]).toMatchObject({
      effect: { kind: 'widens', attempt: 3 },
      matching: 107,
      forecast: { devices: 7 },
    });
  });

  test('a rollout that is gone leaves its devices with nothing, which is a problem', async () => {
    const folder = await recorded(['succeeded', 'succeeded']);
    await git(folder, 'rm', '--quiet', ROLLOUT);
    const { proposal, problems, valid } = await planned(folder, '--census', await censusFile());
    expect(proposal?.moves).toEqual([
      {
        from: { rollout: 'thermostat-firmware', distributionSet: 'thermostat@2.6.0' },
        to: null,
        devices: 100,
      },
    ]);
    expect(problems.map(({ rule, file }) => [rule, file])).toContainEqual([
      'left-with-nothing',
      'fleet/fleet.yaml',
    ]);
    expect(valid).toBe(false);
  });

  test('a rollout may be allowed to leave them', async () => {
    const folder = await recorded(['succeeded', 'succeeded']);
    const allowed = rolloutText({ version: '2.6.0', condition: "tags.site = 's1'" }).replace(
      '{name: thermostat-firmware}',
      '{name: thermostat-firmware, annotations: {tidegate.dev/allow.left-with-nothing: "s2 is sold"}}',
    );
    await writeFiles(folder, { [ROLLOUT]: allowed });
    const report = await planned(folder, '--census', await censusFile());
    expect(report.allowed).toMatchObject([{ rule: 'left-with-nothing', reason: 's2 is sold' }]);
    expect(report.problems.map(({ rule }) => rule)).not.toContain('left-with-nothing');
  });

  test('nothing but what the branch got meanwhile is nobody’s proposal', async () => {
    const folder = await recorded(['succeeded']);
    await git(folder, 'checkout', '--quiet', '-b', 'work', 'main~1');
    const { proposal, base } = await planned(folder);
    expect(base?.commit).toBe(await git(folder, 'rev-parse', 'main~1'));
    expect(proposal?.changes).toEqual({ fleet: [], rollouts: [], flags: [] });
  });

  test('a set that was installed and is changed, and what cannot be told from a census', async () => {
    const folder = await recorded(['succeeded', 'succeeded']);
    await writeFiles(folder, { [ROLLOUT]: rolloutText({ version: '2.6.0', condition: "deviceId = 'a'" }) });
    const { proposal } = await planned(folder, '--census', await censusFile());
    expect(proposal?.rollouts[0]?.unknown).toBe('it looks at device ids, and a census has none');
    const { out } = await plan(folder, '--census', await censusFile());
    expect(out).toContain('Whom it reaches cannot be told: it looks at device ids, and a census has none.');
  });
});

describe('the fleet is read from', () => {
  const DEVICES = [
    [
      'devices.json',
      '[{"id": "a", "tags": {"product": "thermostat", "site": "s1"}}, {"id": "b", "tags": {"product": "kiosk"}}]',
    ],
    [
      'devices.jsonl',
      '{"id": "a", "tags": {"product": "thermostat", "site": "s1"}}\n{"id": "b", "tags": {}}\n',
    ],
    ['devices.csv', '\uFEFFid;product;site\r\na;thermostat;s1\r\nb;"kio;sk";\r\n'],
    [
      'devices.yaml',
      document('DeviceList', 'all', '{devices: [{id: a, tags: {product: thermostat, site: s1}}, {id: b}]}'),
    ],
  ] as const;
  test.each(DEVICES)('%s', async (name, text) => {
    const folder = await repositoryOf(fleetFiles());
    const beside = await temporaryFolder();
    await writeFiles(beside, { [name]: text });
    const { fleet, proposal } = await planned(folder, '--devices', join(beside, name));
    expect(fleet).toEqual({ kind: 'devices', from: join(beside, name), devices: 2 });
    expect(proposal?.rollouts[0]?.matching).toBe(1);
  });

  const WRONG = [
    ['', 'the file is empty'],
    ['name,product\na,b\n', 'the first line of a CSV names its columns, one of them id; found name, product'],
    ['id,product\n,kiosk\n', 'the device has no id'],
    ['id\na,b,c\n', 'expected 1 columns, found 3'],
    ['[{"tags": {}}]', 'device 1 of the list has no id'],
    ['[1', 'it cannot be read: '],
    ['{"a": 1}', 'device 1 of the list has no id'],
    ['kind: DeviceList\n', 'expected a list of devices, each with id and tags'],
    ['[{"id": "a", "tags": {"x": {}}}]', 'device 1 of the list (a) has a tag x that is no text'],
  ] as const;
  test.each(WRONG)('nothing that reads %j', async (text, message) => {
    const folder = await repositoryOf(fleetFiles());
    await writeFiles(folder, { 'inventory.csv': text });
    const { exit, err } = await plan(folder, '--devices', join(folder, 'inventory.csv'));
    expect(err).toContain(`tidegate: ${join(folder, 'inventory.csv')}`);
    expect(err).toContain(message);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
    expect(exit).toBe(2);
  });
});

describe('where nothing can be said', () => {
  test('a base that is not there', async () => {
    const folder = await repositoryOf(fleetFiles());
    const { exit, err } = await plan(folder, '--base', 'origin/release');
    expect(err).toBe(
      `tidegate: there is no commit "origin/release" in ${folder} to compare with; fetch it (in a workflow: actions/checkout with fetch-depth: 0), or name another\n`,
    );
    expect(exit).toBe(2);
  });

  test('a base without a fleet, which the change brings', async () => {
    const folder = await repositoryOf({ 'README.md': 'a' }, fleetFiles());
    const { proposal, base } = await planned(folder, '--base', 'main~1');
    expect(base).toBeNull();
    expect(proposal?.rollouts).toMatchObject([{ effect: { kind: 'starts', attempt: 1 } }]);
  });

  test('a shallow checkout', async () => {
    const origin = await repositoryOf(fleetFiles('2.5.0'), fleetFiles('2.6.0'), fleetFiles('2.7.0'));
    const folder = join(await temporaryFolder(), 'shallow');
    await git(origin, 'clone', '--quiet', '--depth', '1', `file://${origin}`, folder);
    const { exit, err } = await plan(folder, '--base', 'HEAD~2');
    expect(err).toContain('this copy has only part of the history: fetch the rest');
    expect(exit).toBe(2);
    expect((await plan(folder)).exit).toBe(0);
  });

  test('a folder without a repository is compared with nothing, and with a base it is said', async () => {
    const folder = await temporaryFolder();
    await writeFiles(folder, fleetFiles());
    const { out, exit } = await plan(folder);
    expect(out).toMatch(/^There is nothing to compare with\. How many devices there are is not known/);
    expect(exit).toBe(0);
    expect((await plan(folder, '--base', 'main')).err).toContain('there is no git repository in');
  });

  test('a folder without fleet/', async () => {
    const folder = await temporaryFolder();
    const { exit, err } = await plan(folder);
    expect(err).toBe(
      `tidegate: ${folder} has no folder fleet/; name the root of a fleet repository, or make one with tidegate init\n`,
    );
    expect(exit).toBe(2);
  });

  test('documents with errors, which come first', async () => {
    const folder = await repositoryOf(fleetFiles());
    await writeFiles(folder, { [ROLLOUT]: rolloutText({ batch: '0%' }) });
    const { exit, out } = await plan(folder);
    expect(out).toContain(`error: ${ROLLOUT}:12:`);
    expect(exit).toBe(1);
    expect((await planned(folder)).proposal).toBeNull();
  });
});

test('in markdown nothing that stands in documents is markup, a link or a mention', async () => {
  const folder = await repositoryOf(fleetFiles());
  const text = rolloutText({})
    .replace('owner: hvac-oncall', 'owner: "@everyone"')
    .replace(
      '{health: runtime_healthy}',
      `
    health: 'runtime_healthy && note != "<img src=x> [a](https://evil.example) @all #1 | x"'`,
    );
  await writeFiles(folder, { [ROLLOUT]: text });
  const { out } = await plan(folder, '--census', await censusFile(), '--format', 'markdown');
  expect(out).toContain('health');
  expect(out).not.toMatch(/(?<!\\)<img|@all|#1(?!\d)|https:\/\/evil|(?<!\\)\[a\]/);
  expect(out).toMatch(/^\| stage \| takes in \|/m);
});

test('a suspended rollout waits, which is no problem: somebody wants it', async () => {
  const folder = await repositoryOf(fleetFiles('2.5.0'), fleetFiles('2.6.0'));
  await recordAttempts(folder, [
    { from: 'main~1', state: 'succeeded' },
    { from: 'main', state: 'stopped' },
  ]);
  const suspended = rolloutText({ version: '2.6.0' }).replace('spec:', 'spec:\n  suspend: true');
  await writeFiles(folder, { [ROLLOUT]: suspended });
  const { proposal, problems } = await planned(folder, '--base', 'main~1');
  expect(proposal?.rollouts[0]?.effect).toEqual({
    kind: 'waits',
    cause: 'suspended',
    because: 'it is suspended',
  });
  expect(problems.map(({ rule }) => rule)).not.toContain('quarantined-revision');
});
