import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readFolder } from '../../src/documents/folder.ts';
import { loadDesired } from '../../src/documents/load.ts';
import { AT, FLEET, problemsOf } from './sources.ts';

let root = '';

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidegate-folder-'));
});

afterEach(async () => {
  await rm(root, { recursive: true });
});

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}

const listed = async () =>
  (await readFolder(root)).map(({ path, mode, content }) => `${mode} ${path} ${content.byteLength}`);

test('the files below fleet/ and ops/ are listed by path, others are not', async () => {
  await write('fleet/fleet.yaml', FLEET);
  await write('fleet/rollouts/team/b.yml', 'b');
  await write('fleet/README.md', 'not read');
  await write('ops/kiosk.yaml', 'ops');
  await write('src/fleet.yaml', 'other');
  expect(await listed()).toEqual([
    '100644 fleet/README.md 0',
    `100644 fleet/fleet.yaml ${FLEET.length}`,
    '100644 fleet/rollouts/team/b.yml 1',
    '100644 ops/kiosk.yaml 3',
  ]);
});

test('links to files and folders outside are listed and not followed', async () => {
  await write('secrets/fleet.yaml', FLEET);
  await mkdir(join(root, 'fleet'));
  await symlink('../secrets', join(root, 'fleet/rollouts'));
  await symlink('../secrets/fleet.yaml', join(root, 'fleet/fleet.yaml'));
  await symlink('.', join(root, 'fleet/loop'));
  expect(await listed()).toEqual([
    '120000 fleet/fleet.yaml 0',
    '120000 fleet/loop 0',
    '120000 fleet/rollouts 0',
  ]);
  const { desired } = loadDesired(await readFolder(root), AT);
  expect(desired).toBeUndefined();
});

test('a repository inside is a submodule', async () => {
  await write('fleet/fleet.yaml', FLEET);
  await write('fleet/rollouts/.git', 'gitdir: ../../.git/modules/rollouts');
  await write('fleet/rollouts/a.yaml', 'a');
  const problems = problemsOf(loadDesired(await readFolder(root), AT));
  expect(problems).toEqual([expect.stringMatching(/^fleet\/rollouts:1:1: a submodule is never followed/)]);
});

test('a folder without documents is empty, one that is not there throws', async () => {
  expect(await readFolder(root)).toEqual([]);
  await expect(readFolder(join(root, 'nowhere'))).rejects.toThrow('ENOENT');
});
