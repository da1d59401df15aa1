/** `tidegate simulate` as people run it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createOutput } from '../../src/cli/output.ts';
import { createProgress } from '../../src/cli/progress.ts';
import {
  fleetFiles,
  repositoryOf,
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

const simulate = (folder: string, ...more: readonly string[]) =>
  run(['simulate', folder, '--rollout', 'thermostat-firmware', '--devices', '400', ...more]);

describe('a run', () => {
  test('says what was found, how the stages went, and what was assumed', async () => {
    const folder = await folderOf(fleetFiles());
    const { exit, out, err } = await simulate(
      folder,
      '--fault',
      'signal:runtime_healthy=false@20%',
      '--seed',
      '3',
    );
    expect(err).toBe('');
    expect(exit).toBe(0);
    expect(out).toMatchInlineSnapshot(`
      "thermostat-firmware: thermostat@2.5.0 for 400 devices, with signal:runtime_healthy=false@20%

        found        after 20m: in stage canary, 20m after it opened
        by           the error threshold: 2 of 10 devices of stage canary failed with gate.health; the error threshold 5% halts at 1
        then         nothing new was offered
        reached      10 devices (2.5%), 2 of them with the fault
        end          rolled back after 2d50m: known-good (attempt 1) is in force: 400 of 400 devices healthy

        stage   devices  opened after  lasted  state
        canary  10       0s            20m     failed

        0s     attempt 2 of thermostat@2.5.0 is ready
        0s     stage canary opens for 1 site with 10 devices
        20m    attempt 2 is paused (moderate), hvac-oncall decides by 2026-01-07T08:20:00Z
        20m    attempt 2: no tag tells the failures apart
        2d20m  attempt 2 failed, back to known-good of attempt 1
        2d20m  main wants known-good again
        2d50m  every device has left the failed revision, 30m after the decision

      - before it every device runs a made-up predecessor, thermostat@before-2.5.0, which is known-good
      - the fleet's mix is guessed from the documents
      - nobody decides anything while it is played but approvals
      "
    `);
  });

  test('is the same to the byte with the same seed', async () => {
    const folder = await folderOf(fleetFiles());
    const options = ['--fault', 'install=3%', '--format', 'json', '--seed', 'x'];
    const [first, again] = [await simulate(folder, ...options), await simulate(folder, ...options)];
    expect(again).toEqual(first);
    const other = await simulate(folder, ...options.slice(0, -1), 'y');
    expect(other.out).not.toBe(first.out);
  });

  test('of a healthy release finds nothing', async () => {
    const { out } = await simulate(await folderOf(fleetFiles()));
    expect(out).toMatch(/^thermostat-firmware: thermostat@2\.5\.0 for 400 devices, with nothing wrong\n/);
    expect(out).toContain(
      '  found        nothing\n  reached      400 devices\n  end          succeeded after',
    );
  });

  test('is drawn, with words for those who cannot see it', async () => {
    const folder = await folderOf(fleetFiles());
    const file = join(folder, 'run.svg');
    expect((await simulate(folder, '--fault', 'install=60%', '--chart', file)).exit).toBe(0);
    const svg = await readFile(file, 'utf8');
    expect(svg).toMatch(
      /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" .*role="img" aria-labelledby="title desc">/,
    );
    expect(svg).toContain('<title id="title">thermostat-firmware: thermostat@2.5.0 for 400 devices</title>');
    expect(svg).toMatch(
      /<desc id="desc">A run with install=60%\. Stage canary with 10 devices opened after 0s/,
    );
    expect(svg).toMatch(/found after .* by the error threshold/);
  });
});

test('many runs tell how often, where and by when a fault is found', async () => {
  const folder = await folderOf(fleetFiles());
  const { exit, out } = await simulate(folder, '--fault', 'install=8%', '--seeds', '12');
  expect(exit).toBe(0);
  expect(out).toMatch(
    /\n {2}found {8}in 1[0-2] of 12 runs\n {2}after .* in four of five runs\)\n {2}reached /,
  );
  expect(out).toMatch(/\n {2}stage {3}found by {13}runs\n/);
  const { out: json } = await simulate(folder, '--fault', 'install=8%', '--seeds', '3', '--format', 'json');
  const { summary, runs } = JSON.parse(json);
  expect(summary.runs).toBe(3);
  expect(runs.map(({ seed }: { seed: string }) => seed)).toEqual(['1-1', '1-2', '1-3']);
});

test('--base is what the fleet runs before, by any name that git knows', async () => {
  const folder = await repositoryOf(fleetFiles('2.4.0'), { ...fleetFiles('2.5.0') });
  const { exit, out } = await simulate(folder, '--base', 'HEAD~1');
  expect(exit).toBe(0);
  expect(out).toContain('attempt 2 of thermostat@2.5.0 is ready');
  expect(out).toContain('- before it the fleet runs what the base says');
  const same = await simulate(folder, '--base', 'main');
  expect(same.exit).toBe(2);
  expect(same.err).toContain('wants thermostat@2.5.0 before and after, so nothing would roll out');
  expect((await simulate(folder, '--base', 'nowhere')).err).toMatch(
    /^tidegate: there is no commit "nowhere" in /,
  );
});

test('--census is the mix of a real fleet', async () => {
  const cells = [
    { tags: { product: 'thermostat', hardware: 'c' }, devices: 30 },
    { tags: { product: 'thermostat', hardware: 'b' }, devices: 70 },
  ];
  const folder = await folderOf({ ...fleetFiles(), 'census.json': JSON.stringify({ cells }) });
  const census = ['--census', join(folder, 'census.json')];
  const { out } = await simulate(folder, ...census, '--fault', "install=100% where tags.hardware = 'c'");
  expect(out).toMatch(/gate|error threshold/);
  const { err } = await simulate(folder, ...census, '--fault', "install=5% where tags.hardware = 'd'");
  expect(err).toMatch(/^tidegate: none of the 400 devices matches tags\.hardware = 'd'; give a census/);
});

describe('what cannot be played is said in a sentence', () => {
  const cases: readonly (readonly [what: string, args: readonly string[], message: RegExp])[] = [
    [
      'an unknown rollout',
      ['--rollout', 'thermostat-firmwar'],
      /there is no rollout "thermostat-firmwar"; did you mean thermostat-firmware\?/,
    ],
    ['an unknown fault', ['--fault', 'crash'], /expected a fault such as crash=4x/],
    [
      'a signal that is mistyped',
      ['--fault', 'signal:runtime_helthy=false'],
      /no gate of thermostat-firmware looks at "runtime_helthy"; did you mean runtime_healthy\?/,
    ],
    [
      'a gate that is not there',
      ['--fault', 'webhook:lab=halt'],
      /no gate of thermostat-firmware asks a webhook by the name of "lab"; there are: none/,
    ],
    ['more devices than fit', ['--devices', '250001'], /--devices may be up to 250,000, found 250,001/],
    ['a chart of many runs', ['--chart', 'x.svg', '--seeds', '2'], /--chart draws one run/],
    ['a signal without a value', ['--signal', 'drops'], /a signal and its value, as drops=0/],
    ['a rate without a time', ['--rate', 'crash=4'], /as crash=0\.0002\/d/],
    [
      'no census',
      ['--census', '/nowhere.yaml'],
      /^tidegate: \/nowhere\.yaml cannot be read: ENOENT; name a file/,
    ],
  ];
  test.each(cases)('%s', async (_what, args, message) => {
    const { exit, out, err } = await simulate(await folderOf(fleetFiles()), ...args);
    expect(err).toMatch(message);
    expect(out).toBe('');
    expect(exit).toBe(2);
  });

  test('no repository', async () => {
    const folder = await temporaryFolder();
    expect((await simulate(folder)).err).toBe(
      `tidegate: ${folder} has no folder fleet/; name the root of a fleet repository, or make one with tidegate init\n`,
    );
  });

  test('documents with problems, which are printed as validate prints them', async () => {
    const folder = await folderOf({ ...fleetFiles(), [ROLLOUT]: rolloutText({ batch: '0%' }) });
    const { exit, err } = await simulate(folder);
    expect(exit).toBe(1);
    expect(err).toContain(`${join(folder, ROLLOUT)}:12:`);
    expect(err).toMatch(/documents that are not valid cannot be played; mend them first\n$/);
  });

  test('signals that nobody can guess', async () => {
    const text = rolloutText({}).replace('health: runtime_healthy', 'health: "a > 3 && a < 3"');
    const folder = await folderOf({ ...fleetFiles(), [ROLLOUT]: text });
    expect((await simulate(folder)).err).toMatch(
      /no values of a were found for which the gate "a > 3 && a < 3" holds; say what healthy devices report, as --signal a=VALUE/,
    );
  });
});

test('a fault that nothing looks at is said first', async () => {
  const { out } = await simulate(await folderOf(fleetFiles()), '--fault', 'crash=9x');
  expect(out).toContain('\n- no gate of thermostat-firmware looks at what crash=9x changes\n');
});

test('Ctrl-C ends it', async () => {
  const interrupt = new AbortController();
  interrupt.abort();
  const args = ['simulate', await folderOf(fleetFiles()), '--rollout', 'thermostat-firmware'];
  const { exit, err } = await run(args, { interrupt: interrupt.signal });
  expect([exit, err]).toEqual([2, 'tidegate: interrupted after 0 of 1 runs\n']);
});

test('it runs as a process, from source', async () => {
  const folder = await folderOf(fleetFiles());
  const { exit, out, err } = await runProcess([
    'simulate',
    folder,
    '--rollout',
    'thermostat-firmware',
    '--devices',
    '50',
  ]);
  expect([exit, err]).toEqual([0, '']);
  expect(out).toContain('  found        nothing\n');
});

describe('progress', () => {
  function drawn(terminal: { readonly isTTY?: boolean; readonly env?: Record<string, string> }) {
    let [text, now] = ['', 0];
    const stream = { write: (more: string) => (text += more), columns: 40, isTTY: terminal.isTTY ?? true };
    const env = terminal.env ?? {};
    const progress = createProgress(createOutput(stream, env), env, () => now);
    for (let step = 0; step <= 100; step++) {
      progress.update(step / 100, `${step} of 100 and more words than fit`);
      now += 10;
    }
    progress.close();
    return text;
  }

  test('is a line that is drawn again ten times in a second, and is gone at the end', () => {
    const text = drawn({ env: { NO_COLOR: '1' } });
    const lines = text.split('\r\u001b[K');
    // The last clears.
    expect(lines.at(-1)).toBe('');
    expect(lines.length - 2).toBe(11);
    for (const line of lines) expect(line.length).toBeLessThan(40);
    expect(lines[6]).toBe('████████████░░░░░░░░░░░░ 50 of 100 and ');
  });

  test('is nothing in a pipe, or where a cursor cannot be moved', () => {
    expect(drawn({ isTTY: false })).toBe('');
    expect(drawn({ env: { TERM: 'dumb' } })).toBe('');
  });
});
