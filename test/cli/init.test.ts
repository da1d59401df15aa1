import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, matchesGlob, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { readFolder } from '../../src/documents/folder.ts';
import { KINDS } from '../../src/documents/kinds.ts';
import { git, run, temporaryFolder, writeFiles } from './fixture.ts';

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
    expect.arrayContaining([
      'README.md',
      'fleet',
      'ops',
      '.github',
      '.gitattributes',
      '.vscode',
      '.tidegate',
    ]),
  );
});

test('every document names the schema of its own kind, which is there', async () => {
  const folder = await temporaryFolder();
  await run(['init', folder]);
  const entries = await readdir(join(folder, 'fleet'), { recursive: true, withFileTypes: true });
  const documents = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  expect(documents.length).toBeGreaterThan(3);
  for (const path of documents) {
    const [first = '', ...rest] = (await readFile(path, 'utf8')).split('\n');
    const [, schema = ''] = /^# yaml-language-server: \$schema=(\S+)$/.exec(first) ?? [];
    const found = resolve(dirname(path), schema);
    expect(found.startsWith(join(folder, '.tidegate/schemas/'))).toBe(true);
    const { properties } = JSON.parse(await readFile(found, 'utf8'));
    const [, kind] = /^kind: (\w+)$/m.exec(rest.join('\n')) ?? [];
    expect([path, properties.kind.const]).toEqual([path, kind]);
  }
});

test('the editor settings have the right schema for every kind and every document, and only such as are there', async () => {
  const folder = await temporaryFolder();
  await run(['init', folder]);
  const settings = JSON.parse(await readFile(join(folder, '.vscode/settings.json'), 'utf8'));
  const schemas = new Map<string, string>();
  for (const [schema, pattern] of Object.entries<string>(settings['yaml.schemas'])) {
    const { properties } = JSON.parse(await readFile(join(folder, schema), 'utf8'));
    schemas.set(properties.kind.const, pattern);
  }
  expect([...schemas.keys()].sort()).toEqual([...KINDS].sort());
  const extensions = JSON.parse(await readFile(join(folder, '.vscode/extensions.json'), 'utf8'));
  expect(extensions.recommendations).toContain('redhat.vscode-yaml');

  for (const { path, content } of await readFolder(folder)) {
    if (!path.endsWith('.yaml')) continue;
    const matching = [...schemas].filter(([, pattern]) => matchesGlob(path, pattern)).map(([kind]) => kind);
    expect([path, matching]).toEqual([path, [parse(new TextDecoder().decode(content)).kind]]);
  }
});

test('the workflow may do the least that it needs, sees the history, and pins what is not ours', async () => {
  const folder = await temporaryFolder();
  await run(['init', folder]);
  const text = await readFile(join(folder, '.github/workflows/tidegate.yml'), 'utf8');
  const workflow = parse(text);
  expect(workflow.on).toEqual({ pull_request: null, push: { branches: ['main'] } });
  expect(workflow.permissions).toEqual({ contents: 'read', 'pull-requests': 'write' });
  const [checkout, check] = workflow.jobs.check.steps;
  expect(text).toMatch(/uses: actions\/checkout@[0-9a-f]{40} # v\d+\.\d+\.\d+\n/);
  expect(checkout.with).toEqual({ 'fetch-depth': 0, 'persist-credentials': false });
  expect(check.uses).toBe('tidegate/tidegate@v0');
  expect(Object.keys(check.with)).toEqual(['path', 'base', 'simulate', 'strict', 'github-token']);
});

test('git gives the same bytes on every machine', async () => {
  const folder = await temporaryFolder();
  await run(['init', folder]);
  await git(folder, 'init', '--quiet', '-b', 'main');
  const attributes = await git(folder, 'check-attr', 'text', 'eol', '--', 'fleet/fleet.yaml');
  expect(attributes.split('\n')).toEqual(['fleet/fleet.yaml: text: auto', 'fleet/fleet.yaml: eol: lf']);
});

test('in a folder with other things it keeps each of them, and says so', async () => {
  const folder = await temporaryFolder();
  const mine = { 'README.md': 'mine', '.vscode/settings.json': '{}\n', 'src/main.c': 'int main;\n' };
  await writeFiles(folder, mine);
  await git(folder, 'init', '--quiet', '-b', 'main');
  const made = await run(['init', folder]);
  expect(made.exit).toBe(0);
  expect(made.out).toContain('kept as they were there already:\n    .vscode/settings.json\n    README.md\n');
  // There is a repository, so nobody is told to begin one.
  expect(made.out).not.toContain('init -b main');
  for (const [path, content] of Object.entries(mine)) {
    expect(await readFile(join(folder, path), 'utf8')).toBe(content);
  }
  expect(await run(['validate', folder])).toMatchObject({ exit: 0 });
});

test('where there is a fleet nothing at all is made', async () => {
  const folder = await temporaryFolder();
  await writeFiles(folder, { 'fleet/rollouts/kiosk.yaml': 'mine' });
  const refused = await run(['init', folder]);
  expect(refused).toEqual({
    exit: 2,
    out: '',
    err: `tidegate: ${folder}/fleet/rollouts/kiosk.yaml is there already, so ${folder} has a fleet and stays as it is; choose another folder\n`,
  });
  expect(await readdir(folder)).toEqual(['fleet']);
  expect(await readFile(join(folder, 'fleet/rollouts/kiosk.yaml'), 'utf8')).toBe('mine');
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
