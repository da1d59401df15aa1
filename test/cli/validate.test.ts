import { join } from 'node:path';
import { expect, test } from 'vitest';
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
  expect(lines.at(-1)).toBe(`✗ not valid: ${lines.length - 4} errors in 4 documents`);
});

test('a warning is shown and is no failure', async () => {
  const folder = await folderOf({
    ...fleetFiles(),
    [ROLLOUT]: `${rolloutText({})}  retries: {max: 3, backoff: 1h}\n`,
  });
  const { exit, out } = await run(['validate', folder]);
  expect(exit).toBe(0);
  expect(out).toMatch(
    /:14:\d+: warning: .*retries.* \(not-yet-enforced\)\n\n✓ valid: 1 warning in 3 documents\n$/,
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
