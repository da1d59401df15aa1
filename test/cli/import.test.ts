import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { run, temporaryFolder, writeFiles } from './fixture.ts';

const exported = (name: string) => fileURLToPath(new URL(`../import/exports/${name}.json`, import.meta.url));
const AZURE = exported('azure-deployments');
const HAWKBIT = ['hawkbit-rollouts', 'hawkbit-groups', 'hawkbit-repository'].map(exported);

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

test('azure: files are written, the repository validates, and what was left is listed with its place', async () => {
  const folder = await temporaryFolder();
  const imported = await run(['import', 'azure', AZURE, '--into', folder]);
  expect(imported.exit).toBe(1);
  expect(imported.err).toBe('');
  expect(imported.out).toContain('Not imported:');
  expect(imported.out).toContain('azure-deployments.json#/2/content/modulesContent/$edgeAgent');
  expect(imported.out).toContain(`6 files written below ${folder}; ✓ the repository is valid with them`);
  expect(await run(['validate', folder])).toMatchObject({
    exit: 0,
    out: expect.stringMatching(/^✓ valid: no problems/),
  });
});

test('hawkbit: several files, into a repository from init, with the schemas of that', async () => {
  const folder = await temporaryFolder();
  await run(['init', folder]);
  const imported = await run([
    'import',
    'hawkbit',
    ...HAWKBIT,
    '--into',
    folder,
    '--mirror',
    'https://cdn.example',
  ]);
  expect(imported.out).toContain('4 files written');
  const text = await readFile(join(folder, 'fleet/rollouts/pump-firmware-2.7.yaml'), 'utf8');
  expect(text.split('\n')[0]).toBe(
    '# yaml-language-server: $schema=../../.tidegate/schemas/rollout.schema.json',
  );
  expect(await run(['validate', folder])).toMatchObject({ exit: 0 });
});

test('nothing is overwritten: what is there stays, and says so', async () => {
  const folder = await temporaryFolder();
  const path = 'fleet/distribution-sets/probe-1.yaml';
  await writeFiles(folder, { [path]: '# mine\n' });
  const imported = await run(['import', 'azure', AZURE, '--into', folder]);
  expect(imported.out).toMatch(/probe-1\.yaml +NOT written: is there with other content/);
  expect(await readFile(join(folder, path), 'utf8')).toBe('# mine\n');
});

test('a second import finds all of it there', async () => {
  const folder = await temporaryFolder();
  await run(['import', 'azure', AZURE, '--into', folder]);
  const again = await run(['import', 'azure', AZURE, '--into', folder]);
  expect(again.out).toContain('0 files written');
  expect(again.out).not.toContain('NOT written');
});

test('--dry-run prints the documents and writes none', async () => {
  const folder = await temporaryFolder();
  const imported = await run(['import', 'azure', AZURE, '--into', folder, '--dry-run']);
  expect(imported.out).toContain('# fleet/rollouts/air-prod-3.2.1.yaml');
  expect(imported.out).toContain('targetCondition: tags.environment=');
  expect(await filesBelow(folder)).toEqual([]);
});

test('--format json tells programs the same', async () => {
  const folder = await temporaryFolder();
  const imported = await run(['import', 'azure', AZURE, '--into', folder, '--format', 'json']);
  const result = JSON.parse(imported.out);
  expect(result).toMatchObject({ dryRun: false, problems: [] });
  expect(result.documents[1]).toEqual({
    kind: 'DistributionSet',
    name: 'air-prod@3.2.1',
    path: 'fleet/distribution-sets/air-prod-3.2.1.yaml',
    from: 'deployment air-prod-3.2.1',
    state: 'new',
  });
  expect(result.notCarried[0]).toEqual({
    weight: expect.stringMatching(/^(refused|act|know)$/),
    file: 'azure-deployments.json',
    pointer: expect.stringMatching(/^\//),
    why: expect.any(String),
    next: expect.any(String),
  });
});

test('exit code 0 where everything could be made', async () => {
  const folder = await temporaryFolder();
  const [whole] = JSON.parse(await readFile(AZURE, 'utf8'));
  await writeFiles(folder, { 'one.json': JSON.stringify(whole) });
  const into = join(folder, 'repository');
  expect(await run(['import', 'azure', join(folder, 'one.json'), '--into', into])).toMatchObject({
    exit: 0,
    err: '',
  });
});

describe('bad input is one sentence and exit code 2', () => {
  const whole = readFile(AZURE, 'utf8');
  test.each<readonly [string, string, () => string | Promise<string>, RegExp]>([
    ['an empty file', 'azure', () => '', /in\.json is empty; export it anew/],
    ['no JSON', 'azure', () => 'apiVersion: 1', /in\.json is no JSON/],
    ['JSON that was cut off', 'azure', async () => (await whole).slice(0, 4000), /in\.json is no JSON/],
    ['an empty list', 'azure', () => '[]', /holds an empty list/],
    ['an empty page', 'hawkbit', () => '{"content": [], "total": 0, "size": 0}', /holds an empty list/],
    ['a number', 'hawkbit', () => '7', /holds nothing that hawkBit exports/],
    [
      'JSON of neither',
      'azure',
      () => '{"name": "x"}',
      /holds nothing that Azure IoT Edge exports; expected what az/,
    ],
    ["the other system's JSON", 'hawkbit', () => whole, /but of Azure IoT Edge; use tidegate import azure/],
  ])('%s', async (_what, system, content, message) => {
    const folder = await temporaryFolder();
    await writeFiles(folder, { 'in.json': await content() });
    const refused = await run(['import', system, join(folder, 'in.json'), '--into', join(folder, 'to')]);
    expect(refused).toMatchObject({ exit: 2, out: '', err: expect.stringMatching(message) });
    expect(refused.err.trimEnd().split('\n')).toHaveLength(1);
    expect(await readdir(folder)).toEqual(['in.json']);
  });

  test('a file that is not there, and one that is a folder', async () => {
    const folder = await temporaryFolder();
    expect(await run(['import', 'azure', join(folder, 'no.json')])).toMatchObject({
      exit: 2,
      err: `tidegate: there is no file ${folder}/no.json\n`,
    });
    expect(await run(['import', 'azure', folder])).toMatchObject({ exit: 2 });
  });

  test('no message repeats what stands in a broken file', async () => {
    const folder = await temporaryFolder();
    await writeFiles(folder, { 'in.json': '{"password": hunter2}' });
    const refused = await run(['import', 'azure', join(folder, 'in.json')]);
    expect(refused.err).not.toContain('hunter2');
  });
});

test('answers that were appended to one file are read one after the other', async () => {
  const folder = await temporaryFolder();
  const texts = await Promise.all(HAWKBIT.map((path) => readFile(path, 'utf8')));
  await writeFiles(folder, { 'all.json': texts.join('') });
  const imported = await run(['import', 'hawkbit', join(folder, 'all.json'), '--into', join(folder, 'to')]);
  expect(imported.out).toContain('5 files written');
});
