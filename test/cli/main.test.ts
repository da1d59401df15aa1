import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { processIo } from '../../src/cli/io.ts';
import { createProgram } from '../../src/cli/program.ts';
import { fleetFiles, repositoryOf, run, runPiped, runProcess, temporaryFolder } from './fixture.ts';

describe('the program', () => {
  test('says its version', async () => {
    expect(await run(['--version'])).toEqual({ exit: 0, out: `${manifest.version}\n`, err: '' });
  });

  test('shows help on standard output where it was asked for, else on standard error with exit code 2', async () => {
    const asked = await run(['--help']);
    expect(asked).toMatchObject({ exit: 0, err: '' });
    expect(asked.out).toContain('Exit codes: 0 fine, 1 problems found, 2 wrong use or environment.');
    expect(await run([])).toMatchObject({
      exit: 2,
      out: '',
      err: expect.stringContaining('Usage: tidegate'),
    });
  });

  test.each([
    [['valdate'], "error: unknown command 'valdate'\n(Did you mean validate?)"],
    [['validate', '--fromat', 'json'], "error: unknown option '--fromat'"],
    [['validate', '--format', 'xml'], 'Allowed choices are text, json, github, sarif.'],
    [['why'], "error: missing required argument 'device'"],
    [['serve'], "error: required option '--repo <url|path>' not specified"],
    [['device', 'token'], "error: required option '--data <folder>' not specified"],
  ])('%j is wrong use', async (args, message) => {
    const { exit, out, err } = await run(args);
    expect({ exit, out }).toEqual({ exit: 2, out: '' });
    expect(err).toContain(message);
  });

  test('every command has examples in its help', async () => {
    const leaves: string[][] = [];
    const collect = (command: Command, path: string[]) => {
      if (command.commands.length === 0 || command.registeredArguments.length > 0) leaves.push(path);
      for (const child of command.commands) collect(child, [...path, child.name()]);
    };
    collect(
      createProgram(processIo(), () => undefined),
      [],
    );
    expect(leaves.length).toBeGreaterThanOrEqual(11);
    for (const path of leaves) {
      const { exit, out } = await run([...path, '--help']);
      expect(exit).toBe(0);
      expect(out).toContain(`Examples:\n  $ tidegate ${path.join(' ')}`);
    }
  });

  test('an environment that does not fit is one sentence; the stack trace is for those who ask', async () => {
    const folder = await temporaryFolder();
    const quiet = await runProcess(['snapshot', 'list', '--repo', folder]);
    expect(quiet).toMatchObject({ exit: 2, out: '' });
    expect(quiet.err).toMatch(/^tidegate: .* is not a git repository: .*\n$/);
    const loud = await runProcess(['snapshot', 'list', '--repo', folder], { TIDEGATE_DEBUG: '1' });
    expect(loud.exit).toBe(2);
    expect(loud.err).toMatch(/\n {4}at /);
  });

  test('a pipe whose reader has left ends it quietly', async () => {
    const repo = await repositoryOf(fleetFiles());
    expect(await runPiped(['snapshot', 'show', 'main', '--repo', repo], 'true')).toEqual({
      exit: 0,
      out: '',
      err: '',
    });
    const first = await runPiped(['snapshot', 'show', 'main', '--repo', repo], 'head -n 1');
    expect(first).toMatchObject({ exit: 0, err: '', out: expect.stringMatching(/^snapshot [0-9a-f]{40} /) });
  });
});
