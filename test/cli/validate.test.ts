import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { RULE_IDS } from '../../src/documents/rules.ts';
import {
  document,
  fleetFiles,
  rolloutText,
  run,
  runProcess,
  temporaryFolder,
  writeFiles,
} from './fixture.ts';

const ROLLOUT = 'fleet/rollouts/thermostat-firmware.yaml';

async function folderOf(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await temporaryFolder();
  await writeFiles(folder, files);
  return folder;
}

test('a valid repository is fine', async () => {
  const folder = await folderOf(fleetFiles());
  expect(await run(['validate', folder])).toEqual({
    exit: 0,
    out: '✓ valid: no problems in 3 documents\n',
    err: '',
  });
});

test('every problem has a place that can be clicked, its rule and the next step', async () => {
  const folder = await folderOf({
    ...fleetFiles(),
    [ROLLOUT]: rolloutText({ batch: '0%' }).replace('owner', 'ownr'),
    'ops/thermostat-firmware.yaml': document(
      'Operation',
      'thermostat-firmware',
      '{operations: [{action: stop}]}',
    ),
  });
  const { exit, out } = await run(['validate', folder]);
  expect(exit).toBe(1);
  const lines = out.trimEnd().split('\n');
  expect(lines[0]).toMatch(new RegExp(`^${join(folder, ROLLOUT)}:4:1: error: .*owner.* \\([a-z-]+\\)$`));
  expect(lines).toContainEqual(expect.stringContaining(`${join(folder, ROLLOUT)}:5:3: error: `));
  expect(lines).toContainEqual(expect.stringContaining(`${join(folder, 'ops/thermostat-firmware.yaml')}:4:`));
  expect(lines.at(-1)).toBe(`✗ not valid: ${lines.length - 6} errors in 4 documents`);
});

test('a warning is shown and is no failure', async () => {
  const folder = await folderOf({
    ...fleetFiles(),
    [ROLLOUT]: `${rolloutText({})}  retries: {max: 3, backoff: 1h}\n`,
  });
  const { exit, out } = await run(['validate', folder]);
  expect(exit).toBe(0);
  expect(out).toMatch(
    /:14:\d+: warning: .*retries.* \(not-yet-enforced\)\n\nWhy, with an example: tidegate validate --explain not-yet-enforced\n\n✓ valid: 1 warning in 3 documents\n$/,
  );
});

test('json has the same problems, with paths inside the repository', async () => {
  const folder = await folderOf({ ...fleetFiles(), [ROLLOUT]: rolloutText({ version: '9.9.9' }) });
  const { exit, out } = await run(['validate', folder, '--format', 'json']);
  expect(exit).toBe(1);
  expect(JSON.parse(out)).toEqual({
    valid: false,
    documents: 3,
    errors: 1,
    warnings: 0,
    problems: [
      {
        file: ROLLOUT,
        line: 6,
        column: 20,
        severity: 'error',
        rule: expect.any(String),
        message: expect.stringContaining('thermostat@9.9.9'),
      },
    ],
    allowed: [],
  });
});

test('a folder that is no fleet repository is an error of use', async () => {
  const folder = await folderOf({ 'README.md': '' });
  expect(await run(['validate', folder])).toEqual({
    exit: 2,
    out: '',
    err: `tidegate: ${folder} has no folder fleet/; name the root of a fleet repository, or make one with tidegate init\n`,
  });
  expect((await run(['validate', join(folder, 'nowhere')])).exit).toBe(2);
});

test('the exit codes are those of the process', async () => {
  const good = await folderOf(fleetFiles());
  const bad = await folderOf({ ...fleetFiles(), [ROLLOUT]: rolloutText({ batch: '101%' }) });
  expect((await runProcess(['validate', good])).exit).toBe(0);
  expect((await runProcess(['validate', bad])).exit).toBe(1);
  expect((await runProcess(['validate', join(good, 'fleet')])).exit).toBe(2);
});

/** What the command says of a fleet whose rollout has one text replaced: exit code, and rule and severity of each problem. */
async function judged(
  change: (text: string) => string,
  ...options: readonly string[]
): Promise<{ readonly exit: number; readonly said: readonly string[]; readonly allowed: readonly string[] }> {
  const text = change(rolloutText({}));
  expect(text, 'the text was changed').not.toBe(rolloutText({}));
  const folder = await folderOf({ ...fleetFiles(), [ROLLOUT]: text });
  const { exit, out } = await run(['validate', folder, '--format', 'json', ...options]);
  const { problems, allowed } = JSON.parse(out);
  return {
    exit,
    said: problems.map(
      (each: Record<string, unknown>) =>
        `${each['line']}:${each['column']} ${each['severity']} ${each['rule']}`,
    ),
    allowed: allowed.map((each: Record<string, unknown>) => `${each['rule']}: ${each['reason']}`),
  };
}

const STAGES = / {2}stages:\n[\s\S]*/;
const withStages = (stages: string) => (text: string) => text.replace(STAGES, `  stages:\n${stages}`);
const FINE = { exit: 0, said: [], allowed: [] };

describe('what goes wrong in practice fails a pull request', () => {
  test('S4.85 one stage of everyone is refused, unless it is an emergency', async () => {
    expect(await judged(withStages('  - everyone: all\n'))).toEqual({
      exit: 1,
      said: ['10:3 error one-stage'],
      allowed: [],
    });
    expect(await judged(withStages('  - everyone: 100%\n'))).toMatchObject({ exit: 1 });
    expect(await judged((text) => text.replace(STAGES, '  stages: {split: 1}\n'))).toMatchObject({ exit: 1 });
    expect(await judged(withStages('  - everyone: all\n  emergency: true\n'))).toEqual({
      exit: 0,
      said: [],
      allowed: ['one-stage: emergency: true'],
    });
    expect(await judged(withStages('  - everyone: all\n  emergency: false\n'))).toMatchObject({ exit: 1 });
    // A ramp takes its time, and so do the stages that S4.85 names.
    expect(await judged(withStages('  - {name: everyone, size: all, ramp: 3d}\n'))).toEqual(FINE);
    const staged = ['1%', '10%', '25%', '50%', 'all'].map(
      (size, at) => `  - {name: stage-${at + 1}, size: ${size}, soak: 24h}\n`,
    );
    expect(await judged(withStages(staged.join('')))).toEqual(FINE);
  });

  test('S5.3 the first stage must be the smallest, and none larger than the next', async () => {
    const stages = (...sizes: readonly string[]) =>
      judged(withStages(sizes.map((size, at) => `  - {name: s${at}, size: ${size}, soak: 1h}\n`).join('')));
    const wrongAt = (line: number) => ({ exit: 1, said: [`${line}:5 error stage-order`], allowed: [] });
    expect(await stages('20%', '1%', 'all')).toEqual(wrongAt(11));
    expect(await stages('1%', '20%', 'all')).toEqual(FINE);
    expect(await stages('5 sites', '1 site', 'all')).toEqual(wrongAt(11));
    expect(await stages('1 site', '5 sites', 'all')).toEqual(FINE);
    expect(await stages('1%', '30%', '25%', 'all')).toEqual(wrongAt(12));
    expect(await stages('all', '5%', 'all')).toEqual(wrongAt(11));
    expect(await stages('20 devices', '5%', '10 devices', 'all')).toEqual(wrongAt(11));
    // Whether 100 devices are more than 5 % of them, or than 3 sites, only the fleet knows.
    expect(await stages('100 devices', '5%', '6 sites', 'all')).toEqual(FINE);
  });

  test('S5.21 a rollout without gates fails, and so does a stage that none judges', async () => {
    expect(await judged((text) => text.replace(/ {2}gates:.*\n/, ''))).toEqual({
      exit: 1,
      said: ['4:1 error no-gates'],
      allowed: [],
    });
    expect(await judged((text) => text.replace('soak: 1h', 'soak: 1h, gates: []'))).toEqual({
      exit: 1,
      said: ['12:5 error no-gates'],
      allowed: [],
    });
    expect(await judged((text) => text.replace('soak: 1h', 'soak: 1h, gates: [health]'))).toEqual(FINE);
  });

  test('S5.23 a rollout needs an owner, and one who can be called', async () => {
    const owner = (words: string) => judged((text) => text.replace('owner: hvac-oncall', words));
    expect(await judged((text) => text.replace('  owner: hvac-oncall\n', ''))).toEqual({
      exit: 1,
      said: ['4:1 error no-owner'],
      allowed: [],
    });
    for (const nobody of ['owner:', 'owner: ""'])
      expect(await owner(nobody)).toMatchObject({ exit: 1, said: [expect.stringMatching(/ no-owner$/)] });
    for (const nobody of [
      '" "',
      'TODO',
      'tbd',
      'Nobody',
      'no one',
      '"<owner>"',
      'n/a',
      '"TODO: ask Ada"',
      '"???"',
    ])
      expect(await owner(`owner: ${nobody}`)).toMatchObject({
        exit: 1,
        said: ['5:10 error placeholder-owner'],
      });
    expect(await owner('owner: todos-team')).toEqual(FINE);
  });

  test('S5.4 a rollout plan defines the order of its stages and the signals that gate them', async () => {
    const without = (key: string) =>
      judged((text) => text.replace(key === 'stages' ? STAGES : / {2}gates:.*\n/, ''));
    expect(await without('stages')).toMatchObject({ exit: 1, said: ['4:1 error missing-key'] });
    expect(await without('gates')).toMatchObject({ exit: 1, said: ['4:1 error no-gates'] });
    expect(await judged(withStages('  - {}\n'))).toMatchObject({ exit: 1, said: ['11:5 error schema'] });
    expect(await judged((text) => text.replace('runtime_healthy', 'runtime healthy'))).toMatchObject({
      exit: 1,
      said: [expect.stringMatching(/ error gate$/)],
    });
    const plan = `apiVersion: tidegate.dev/v1
kind: StagePlan
metadata: {name: careful}
spec:
  gates: {health: runtime_healthy}
  stages:
  - {name: canary, size: 1%, soak: 24h}
  - {name: fleet, size: all, soak: 1h}
`;
    const named = rolloutText({})
      .replace(STAGES, '  stages: careful\n')
      .replace(/ {2}gates:.*\n/, '');
    const folder = await folderOf({ ...fleetFiles(), [ROLLOUT]: named, 'fleet/stages/careful.yaml': plan });
    expect((await run(['validate', folder])).exit).toBe(0);
    const turned = plan.replace('size: 1%', 'size: all').replace('size: all, soak: 1h', 'size: 5%, soak: 1h');
    await writeFiles(folder, { 'fleet/stages/careful.yaml': turned });
    const { exit, out } = await run(['validate', folder]);
    expect(exit).toBe(1);
    expect(out).toMatch(/careful\.yaml:7:5: error: .* \(stage-order\)/);
  });
});

describe('advice', () => {
  const gap = (text: string) => text.replace('  priority: 10', '  priority: 10\n  errorThreshold: 10%');

  test('is a warning, which --strict makes a failure of', async () => {
    const warnings = ['12:5', '13:5', '14:5'].map((place) => `${place} warning threshold-gap`);
    expect(await judged(gap)).toEqual({ exit: 0, said: warnings, allowed: [] });
    expect(await judged(gap, '--strict')).toEqual({ exit: 1, said: warnings, allowed: [] });
    expect((await run(['validate', await folderOf(fleetFiles()), '--strict'])).exit).toBe(0);
  });

  test('is given where a gate has no time to see anything, and where no stage takes everyone', async () => {
    const crashes = (text: string) =>
      text.replace('{health: runtime_healthy}', '{crashes: {use: crash-rate}}');
    expect(await judged((text) => withStages('  - canary: 1%\n  - fleet: all\n')(crashes(text)))).toEqual({
      exit: 0,
      said: ['11:5 warning no-soak'],
      allowed: [],
    });
    expect(await judged(crashes)).toEqual(FINE);
    expect(await judged(withStages('  - {name: canary, size: 1%, soak: 1h}\n  - half: 50%\n'))).toEqual({
      exit: 0,
      said: ['12:5 warning never-ends'],
      allowed: [],
    });
  });
});

describe('an allowance', () => {
  const allowing = (annotations: string, text: string) =>
    text.replace('{name: thermostat-firmware}', `{name: thermostat-firmware, annotations: {${annotations}}}`);
  const oneStage = withStages('  - everyone: all\n');

  test('with a reason takes a policy out of the problems, and lists it', async () => {
    const text = allowing(
      'tidegate.dev/allow.one-stage: "three kiosks in the lab"',
      oneStage(rolloutText({})),
    );
    const folder = await folderOf({ ...fleetFiles(), [ROLLOUT]: text });
    expect(await run(['validate', folder, '--strict'])).toEqual({
      exit: 0,
      out: `${join(folder, ROLLOUT)}:10:3: allows one-stage: three kiosks in the lab\n\n✓ valid: no problems in 3 documents, 1 allowed\n`,
      err: '',
    });
  });

  test.each([
    ['of an error', 'tidegate.dev/allow.schema: "we know"'],
    ['of a rule that there is not', 'tidegate.dev/allow.one-stges: "we know"'],
    ['without a reason', 'tidegate.dev/allow.one-stage: " "'],
    ['of what nobody does', 'tidegate.dev/allow.no-gates: "we know"'],
    ['of a file that is too large, which no document can be', 'tidegate.dev/allow.large-file: "we know"'],
  ])('%s allows nothing, and is itself worth a look', async (_, annotation) => {
    const { exit, said, allowed } = await judged((text) => allowing(annotation, oneStage(text)));
    expect({ exit, said, allowed }).toEqual({
      exit: 1,
      said: [expect.stringMatching(/^3:\d+ warning unused-allowance$/), '10:3 error one-stage'],
      allowed: [],
    });
  });

  test('of one rollout is none of another', async () => {
    const text = oneStage(rolloutText({}));
    const other = text.replace('name: thermostat-firmware', 'name: other').replace('10', '20');
    const folder = await folderOf({
      ...fleetFiles(),
      [ROLLOUT]: allowing('tidegate.dev/allow.one-stage: "lab"', text),
      'fleet/rollouts/other.yaml': other,
    });
    expect((await run(['validate', folder])).exit).toBe(1);
  });
});

describe('formats', () => {
  test('github has a command for each problem, and the verdict', async () => {
    const folder = await folderOf({
      ...fleetFiles(),
      [ROLLOUT]: withStages('  - everyone: all\n')(rolloutText({})),
    });
    const workspace = join(folder, '..');
    const { exit, out } = await run(['validate', folder, '--format', 'github'], {
      env: { GITHUB_WORKSPACE: workspace },
    });
    expect(exit).toBe(1);
    const [command, verdict] = out.split('\n');
    expect(command).toMatch(
      new RegExp(`^::error file=[^,]+/${ROLLOUT},line=10,col=3,title=one-stage::the only stage, everyone, `),
    );
    expect(command).toContain(`file=${folder.slice(workspace.length + 1)}/`);
    expect(verdict).toBe('✗ not valid: 1 error in 3 documents');
  });

  test('sarif is one log with a result for each problem', async () => {
    const folder = await folderOf({
      ...fleetFiles(),
      [ROLLOUT]: withStages('  - everyone: all\n')(rolloutText({})),
    });
    const { exit, out } = await run(['validate', folder, '--format', 'sarif'], {
      env: { GITHUB_WORKSPACE: folder },
    });
    expect(exit).toBe(1);
    const [{ results }] = JSON.parse(out).runs;
    expect(results).toEqual([expect.objectContaining({ ruleId: 'one-stage', level: 'error' })]);
    expect(results[0].locations[0].physicalLocation.artifactLocation.uri).toBe(ROLLOUT);
  });
});

describe('--explain', () => {
  test.each(RULE_IDS)('%s prints the page that the documentation has', async (rule) => {
    const page = await readFile(new URL(`../../docs/rules/${rule}.md`, import.meta.url), 'utf8');
    expect(await run(['validate', '--explain', rule])).toEqual({ exit: 0, out: page, err: '' });
  });

  test('of a rule that there is not says which one may be meant', async () => {
    expect(await run(['validate', '--explain', 'one-stge'])).toEqual({
      exit: 2,
      out: '',
      err: 'tidegate: there is no rule "one-stge"; did you mean one-stage?\n',
    });
  });

  test('prints the entry with --format json', async () => {
    const { out } = await run(['validate', '--explain', 'one-stage', '--format', 'json']);
    expect(JSON.parse(out)).toMatchObject({ id: 'one-stage', class: 'policy', source: 'documents' });
  });
});
