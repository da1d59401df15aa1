/** Folders and checkouts that are not as they should be: one sentence each, and the exit code that is documented. */
import { chmod, mkdir, symlink, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  document,
  fleetFiles,
  git,
  repositoryOf,
  run,
  runProcess,
  temporaryFolder,
  writeFiles,
} from './fixture.ts';

async function folderOf(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await temporaryFolder();
  await writeFiles(folder, files);
  return folder;
}

/** Rule and file of each problem that the command finds, and how it ends. */
async function judged(folder: string): Promise<{ readonly exit: number; readonly said: readonly string[] }> {
  const { exit, out } = await run(['validate', folder, '--format', 'json']);
  const said = JSON.parse(out).problems.map(
    (each: Record<string, unknown>) => `${each['severity']} ${each['rule']} ${each['file']}`,
  );
  return { exit, said };
}

describe('a file', () => {
  test('that is a folder called like a document is worth a look, and what is in it is read', async () => {
    const folder = await folderOf({
      ...fleetFiles(),
      'fleet/groups/x.yaml/a.yaml': document('Group', 'a', '{targetCondition: "nonsense"}'),
    });
    expect(await judged(folder)).toEqual({
      exit: 1,
      said: ['warning document-folder fleet/groups/x.yaml', 'error condition fleet/groups/x.yaml/a.yaml'],
    });
  });

  test('that is a link is refused and not followed', async () => {
    const folder = await folderOf({ ...fleetFiles(), 'secret.yaml': 'password: 1' });
    await mkdir(join(folder, 'fleet/groups'));
    await symlink('../../secret.yaml', join(folder, 'fleet/groups/a.yaml'));
    expect(await judged(folder)).toEqual({ exit: 1, said: ['error link fleet/groups/a.yaml'] });
  });

  test.skipIf(process.getuid?.() === 0)('that cannot be read is a problem of its own', async () => {
    const folder = await folderOf({ ...fleetFiles(), 'fleet/groups/a.yaml': '', 'fleet/sites/b.yaml': '' });
    await chmod(join(folder, 'fleet/groups/a.yaml'), 0o000);
    await chmod(join(folder, 'fleet/sites'), 0o000);
    const found = await judged(folder);
    await chmod(join(folder, 'fleet/sites'), 0o700);
    expect(found).toEqual({
      exit: 1,
      said: ['error unreadable fleet/groups/a.yaml', 'error unreadable fleet/sites'],
    });
  });

  test.each([
    ['fleet/firmware.swu', 2, 'warning large-file'],
    ['ops/notes.bin', 40, 'warning large-file'],
    ['trust/artifacts.bin', 60, 'error blob-too-large'],
    ['fleet/firmware.swu', 101, 'error blob-too-large'],
    ['fleet/flags/firmware.yaml', 101, 'error too-large'],
  ])('%s of %i MiB is found by its size, without being read', async (path, mebibytes, expected) => {
    const folder = await folderOf({ ...fleetFiles(), [path]: '' });
    await truncate(join(folder, path), mebibytes * 2 ** 20);
    const { said } = await judged(folder);
    expect(said).toEqual([`${expected} ${path}`]);
  });

  test('of 900 KiB, or outside of those folders, is nobody’s business', async () => {
    const folder = await folderOf({ ...fleetFiles(), 'fleet/logo.png': '', 'docs/film.mp4': '' });
    await truncate(join(folder, 'fleet/logo.png'), 900 * 1024);
    await truncate(join(folder, 'docs/film.mp4'), 200 * 2 ** 20);
    expect(await judged(folder)).toEqual({ exit: 0, said: [] });
  });
});

describe('a folder', () => {
  test('without fleet/, or that is not there, is wrong use', async () => {
    for (const folder of [
      await folderOf({ 'README.md': '' }),
      '/nowhere/at/all',
      await folderOf({ fleet: 'a file' }),
    ]) {
      const { exit, out, err } = await run(['validate', folder]);
      expect({ exit, out }).toEqual({ exit: 2, out: '' });
      expect(err).toBe(
        `tidegate: ${folder} has no folder fleet/; name the root of a fleet repository, or make one with tidegate init\n`,
      );
    }
  });

  test('with an empty fleet/ lacks its Fleet', async () => {
    const folder = await folderOf({ 'fleet/.gitkeep': '' });
    expect(await judged(folder)).toEqual({ exit: 1, said: ['error fleet fleet/fleet.yaml'] });
  });

  test('inside of another repository is validated by itself', async () => {
    const top = await repositoryOf({ 'README.md': '' });
    await writeFiles(join(top, 'fleets/homes'), fleetFiles());
    expect(await judged(join(top, 'fleets/homes'))).toEqual({ exit: 0, said: [] });
  });
});

describe('a commit to compare with', () => {
  const missing = (base: string, folder: string) =>
    `tidegate: there is no commit "${base}" in ${folder} to compare with; `;
  const FETCH = 'in a workflow: actions/checkout with fetch-depth: 0';

  test('that is not there is wrong use', async () => {
    const folder = await repositoryOf(fleetFiles());
    for (const base of ['origin/main', 'HEAD~7', 'f'.repeat(40), '--all', ''])
      expect(await run(['validate', folder, `--base=${base}`])).toEqual({
        exit: 2,
        out: '',
        err: `${missing(base, folder)}fetch it (${FETCH}), or name another\n`,
      });
    expect((await run(['validate', folder, '--base', 'HEAD'])).exit).toBe(0);
  });

  test('that a shallow checkout lacks is wrong use, and without one the checkout is fine', async () => {
    const origin = await repositoryOf(fleetFiles(), { 'README.md': 'a' }, { 'README.md': 'b' });
    const folder = join(await temporaryFolder(), 'shallow');
    await git(origin, 'clone', '--quiet', '--depth=1', `file://${origin}`, folder);
    expect((await run(['validate', folder])).exit).toBe(0);
    expect(await run(['validate', folder, '--base', 'HEAD~2'])).toEqual({
      exit: 2,
      out: '',
      err: `${missing('HEAD~2', folder)}this copy has only part of the history: fetch the rest (${FETCH})\n`,
    });
  });
});

test('no input prints a stack trace', async () => {
  const folder = await folderOf({ ...fleetFiles(), 'fleet/groups/a.yaml': '[\0' });
  for (const args of [
    [folder],
    [join(folder, 'nowhere')],
    ['--explain', 'x'],
    ['--format', 'xml'],
    [folder, '--base', 'x'],
  ]) {
    const { exit, out, err } = await runProcess(['validate', ...args]);
    expect([1, 2]).toContain(exit);
    expect(out + err).not.toMatch(/^\s+at /m);
  }
});
