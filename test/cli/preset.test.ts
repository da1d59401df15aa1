/** `tidegate preset`: what comes with Tidegate, to name or to copy. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PRESETS } from '../../src/documents/presets.ts';
import { run, temporaryFolder, writeFiles } from './fixture.ts';

test('preset list has every preset and when to use it', async () => {
  const { out, exit } = await run(['preset', 'list', '--format', 'json']);
  expect(exit).toBe(0);
  const { presets } = JSON.parse(out);
  expect(presets.map(({ name }: { name: string }) => name)).toEqual(PRESETS.map(({ name }) => name));
  const text = await run(['preset', 'list']);
  expect(text.out).toContain('\n  textbook-canary  One percent, five, a quarter, everyone, in days.');
});

test('what preset show prints is a file of a repository as it stands', async () => {
  const folder = await temporaryFolder();
  await run(['init', folder]);
  const files: Record<string, string> = {};
  for (const { kind, name } of PRESETS) {
    const { out } = await run(['preset', 'show', name]);
    const [, schema = ''] = /^# yaml-language-server: \$schema=(\S+)\n/.exec(out) ?? [];
    const path = `fleet/${kind === 'Gate' ? 'gates' : 'stages'}/${name}.yaml`;
    expect(join(path, '..', schema)).toBe(
      `.tidegate/schemas/${kind === 'Gate' ? 'gate' : 'stage-plan'}.schema.json`,
    );
    files[path] = out;
  }
  await writeFiles(folder, files);
  expect(await run(['validate', folder])).toMatchObject({ exit: 0 });
});

test('preset show --format json prints the document, and a name that is none the one that was meant', async () => {
  const { out } = await run(['preset', 'show', 'tickets', '--format', 'json']);
  expect(JSON.parse(out)).toMatchObject({
    kind: 'Gate',
    spec: { observations: 'support-tickets', above: 100 },
  });
  expect(await run(['preset', 'show', 'crash-rat'])).toEqual({
    exit: 1,
    out: '',
    err: 'no preset is called crash-rat; did you mean crash-rate?\n',
  });
});
