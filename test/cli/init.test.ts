import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { git, run, temporaryFolder } from './fixture.ts';

test('makes a repository that validates', async () => {
  const folder = join(await temporaryFolder(), 'my-fleet');
  const made = await run(['init', folder]);
  expect(made.exit).toBe(0);
  expect(made.out).toContain(`    npx tidegate validate ${folder}\n`);
  expect(await run(['validate', folder])).toMatchObject({
    exit: 0,
    out: expect.stringMatching(/^✓ valid: no problems/),
  });
  expect(await readdir(folder)).toEqual(
    expect.arrayContaining(['README.md', 'fleet', 'ops', '.vscode', '.tidegate']),
  );
});

test('every document names a schema that is there, and so do the editor settings', async () => {
  const folder = await temporaryFolder();
  await run(['init', folder]);
  const entries = await readdir(join(folder, 'fleet'), { recursive: true, withFileTypes: true });
  const documents = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  expect(documents.length).toBeGreaterThan(3);
  for (const path of documents) {
    const [, schema = ''] =
      /^# yaml-language-server: \$schema=(.*)$/m.exec(await readFile(path, 'utf8')) ?? [];
    const found = resolve(dirname(path), schema);
    expect(found.startsWith(join(folder, '.tidegate/schemas/'))).toBe(true);
    await access(found);
  }
  const settings = JSON.parse(await readFile(join(folder, '.vscode/settings.json'), 'utf8'));
  for (const schema of Object.keys(settings['yaml.schemas'])) await access(join(folder, schema));
  expect(settings['yaml.schemas']['.tidegate/schemas/rollout.schema.json']).toBe('fleet/rollouts/**/*.yaml');
});

test('refuses to overwrite anything, and then writes nothing at all', async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'README.md'), 'mine');
  const refused = await run(['init', folder]);
  expect(refused).toEqual({
    exit: 2,
    out: '',
    err: `tidegate: ${folder}/README.md is there already and stays as it is; choose another folder\n`,
  });
  expect(await readdir(folder)).toEqual(['README.md']);
  expect(await readFile(join(folder, 'README.md'), 'utf8')).toBe('mine');
});

test('its next steps work as printed', async () => {
  const root = await temporaryFolder();
  const folder = join(root, 'my-fleet');
  await run(['init', folder]);
  await git(folder, 'init', '--quiet', '-b', 'main');
  await git(folder, 'add', '.');
  await git(folder, 'commit', '--quiet', '-m', 'Describe the fleet');
  await git(folder, 'clone', '--quiet', '--bare', '.', '../fleet.git');
  const shown = await run(['snapshot', 'show', 'main', '--repo', join(root, 'fleet.git')]);
  expect(shown).toMatchObject({
    exit: 0,
    out: expect.stringContaining(await git(folder, 'rev-parse', 'main:fleet')),
  });
});
