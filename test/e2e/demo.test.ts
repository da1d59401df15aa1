import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';

const run = promisify(execFile);
const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

test('S5.1 S5.14 S5.26 the demo releases, stages, stops and reverts; native git finds main:fleet to be the known-good snapshot', {
  timeout: 240_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-demo-test-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const data = join(folder, 'data');
  const { stdout } = await run(process.execPath, [MAIN, 'demo', '--once', '--data', data]);

  const claims = stdout.split('\n').filter((line) => /^[✓✗] /.test(line));
  expect(claims).toHaveLength(5);
  expect(claims.filter((claim) => claim.startsWith('✗'))).toEqual([]);

  const repository = join(data, 'fleet.git');
  const git = async (...args: string[]) => (await run('git', ['-C', repository, ...args])).stdout.trim();
  expect((await git('branch', '--format=%(refname:short)')).split('\n')).toEqual(['main', 'outcomes']);
  expect(await git('rev-parse', 'main:fleet')).toBe(
    await git('rev-parse', 'outcomes:known-good/thermostat-firmware'),
  );
  // Four commits: three releases and the revert, whose tree is byte for byte the one before the bad release.
  expect((await git('log', '--format=%s', 'main')).split('\n')).toEqual([
    'Revert "Release thermostat 2.7.0"',
    'Release thermostat 2.7.0',
    'Release thermostat 2.6.0',
    'Release thermostat 2.5.0',
  ]);
  expect(await git('diff', '--stat', 'main~2', 'main')).toBe('');
  expect(await git('log', '-1', '--format=%b', 'main')).toContain(
    `This reverts commit ${await git('rev-parse', 'main~1')}.`,
  );
  expect(await git('fsck', '--strict')).not.toMatch(/error|missing/);

  // The workflow, in the order of the record: each attempt begins, is watched stage by stage, and ends.
  const subjects = (
    await git('log', '--reverse', '--format=%s', 'outcomes', '--', 'rollouts/thermostat-firmware')
  )
    .split('\n')
    .map((subject) => subject.replace(/^thermostat-firmware: /, ''));
  const words = subjects.map((subject) =>
    subject.replace(/attempt ([0-9]) of .* is ready/, 'attempt $1 ready').replace(/ opens for .*/, ' opens'),
  );
  const stages = ['canary', 'batch', 'fleet'].flatMap((stage) => [
    `stage ${stage} opens`,
    `stage ${stage} passed`,
  ]);
  expect(words.slice(0, 18)).toEqual([
    'attempt 1 ready',
    ...stages,
    'attempt 1 succeeded: thermostat@2.5.0 is known-good',
    'attempt 2 ready',
    ...stages,
    'attempt 2 succeeded: thermostat@2.6.0 is known-good',
    'attempt 3 ready',
    'stage canary opens',
  ]);
  // Where the last device is back before main agrees, both are recorded together.
  const [failed, ...restored] = words.slice(18);
  expect(failed).toBe('attempt 3 failed, back to known-good of attempt 2');
  expect(restored.at(-1)).toMatch(/^every device has left the failed revision, /);
  expect(restored.slice(0, -1)).toEqual(restored.length === 1 ? [] : ['main wants known-good again']);
});
