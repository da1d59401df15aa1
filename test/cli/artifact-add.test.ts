import { hash } from 'node:crypto';
import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { parse } from 'yaml';
import { run, temporaryFolder } from './fixture.ts';

const CONTENT = Buffer.from('firmware'.repeat(50_000));
const SHA256 = hash('sha256', CONTENT);
const MEBIBYTE = 1024 * 1024;

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await temporaryFolder();
  file = join(folder, 'app-1.4.0.swu');
  await writeFile(file, CONTENT);
});

const add = (...args: readonly string[]) =>
  run(['artifact', 'add', file, '--repo', join(folder, 'repo'), '--data', join(folder, 'data'), ...args]);

/** A distribution set that `validate` takes, with what the command printed. */
async function setWith(artifact: string): Promise<void> {
  const sets = join(folder, 'repo/fleet/distribution-sets');
  await mkdir(sets, { recursive: true });
  const lines = artifact
    .trimEnd()
    .split('\n')
    .map((line) => `    ${line}`);
  await writeFile(
    join(sets, 'kiosk.yaml'),
    `apiVersion: tidegate.dev/v1\nkind: DistributionSet\nmetadata: {name: kiosk@1.4.0}\nspec:\n  modules:\n  - name: app\n    version: 1.4.0\n    type: firmware\n    artifacts:\n${lines.join('\n')}\n`,
  );
  await writeFile(
    join(folder, 'repo/fleet/fleet.yaml'),
    'apiVersion: tidegate.dev/v1\nkind: Fleet\nmetadata: {name: kiosks}\nspec: {pollInterval: 5m}\n',
  );
}

test('prints what a distribution set says of a file with its mirrors, and keeps nothing', async () => {
  const urls = ['https://cdn.example/a?b=c#d', 'https://mirror.example/a'];
  const { exit, out, err } = await add(
    '--url',
    ...urls,
    '--security-epoch',
    '3',
    '--hardware',
    'kiosk-b',
    'no',
  );
  expect(exit).toBe(0);
  expect(parse(out)).toEqual([
    {
      name: 'app-1.4.0.swu',
      sha256: SHA256,
      sizeBytes: CONTENT.byteLength,
      urls,
      securityEpoch: 3,
      hardwareIds: ['kiosk-b', 'no'],
    },
  ]);
  expect(err).toContain('put this under artifacts of a module');
  expect(await readdir(folder)).toEqual(['app-1.4.0.swu']);
  await setWith(out);
  expect(await run(['validate', join(folder, 'repo')])).toMatchObject({ exit: 0 });
});

test('keeps the file where the server serves it, and says so', async () => {
  const { exit, out } = await add(
    '--server',
    'https://fleet.example/',
    '--product',
    'kiosk',
    '--format',
    'json',
  );
  expect(exit).toBe(0);
  const place = `targets/artifacts/kiosk/${SHA256}.${SHA256.slice(0, 12)}-app-1.4.0.swu`;
  expect(JSON.parse(out)).toEqual({
    name: 'app-1.4.0.swu',
    sha256: SHA256,
    sizeBytes: CONTENT.byteLength,
    urls: [`https://fleet.example/tuf/${place}`],
    sha1: hash('sha1', CONTENT),
    md5: hash('md5', CONTENT),
  });
  expect((await readFile(join(folder, 'data/artifacts', SHA256))).equals(CONTENT)).toBe(true);
});

test('the same name with other bytes is refused, the same bytes are not', async () => {
  const mirror = ['--url', 'https://cdn.example/a'];
  await setWith((await add(...mirror)).out);
  expect((await add(...mirror)).exit).toBe(0);
  await writeFile(file, 'other bytes');
  expect(await add(...mirror)).toMatchObject({
    exit: 1,
    out: '',
    err: expect.stringMatching(
      /fleet\/distribution-sets\/kiosk\.yaml has an artifact app-1\.4\.0\.swu with other bytes .*--name/,
    ),
  });
  expect((await add(...mirror, '--name', 'app-1.4.1.swu')).exit).toBe(0);
});

test('a file whose name is refused is not kept, and one that is kept already stays', async () => {
  const keep = ['--server', 'https://fleet.example', '--product', 'kiosk'];
  await setWith((await add(...keep)).out);
  expect((await add(...keep)).exit).toBe(0);
  await writeFile(file, 'other bytes');
  expect(await add(...keep)).toMatchObject({
    exit: 1,
    out: '',
    err: expect.stringContaining('with other bytes'),
  });
  expect(await readdir(join(folder, 'data/artifacts'))).toEqual([SHA256]);
});

test('a long file shows on a terminal how far it is, and nothing of that stays', async () => {
  await truncate(file, 40 * MEBIBYTE);
  const args = ['artifact', 'add', file, '--url', 'https://cdn.example/a', '--format', 'json'];
  const { out, err } = await run(args, { columns: 80 });
  expect(JSON.parse(out)).toMatchObject({ sizeBytes: 40 * MEBIBYTE });
  expect(err.split('\r')).toEqual([
    '',
    '0 %, 0 of 40 MiB',
    '40 %, 16 of 40 MiB',
    '80 %, 32 of 40 MiB',
    ' '.repeat('80 %, 32 of 40 MiB'.length),
    '',
  ]);
  expect(await run(args)).toMatchObject({ exit: 0, err: '' });
  await truncate(file, 16 * MEBIBYTE);
  expect(await run(args, { columns: 80 })).toMatchObject({ exit: 0, err: '' });
});

test.each([
  [[], /say where devices get it/],
  [['--server', 'https://fleet.example'], /--server needs --product/],
  [['--url', 'https://x.example', '--name', '../x'], /the name of an artifact must be/],
  [['--url', 'https://x.example', '--security-epoch', '-1'], /--security-epoch must be a whole number/],
])('%j is wrong use', async (args, message) => {
  const { exit, err } = await add(...args);
  expect({ exit, err }).toEqual({ exit: 2, err: expect.stringMatching(message) });
});

test('a file that is not there, or none, is named', async () => {
  const other = (path: string) => run(['artifact', 'add', path, '--url', 'https://x.example']);
  expect(await other(join(folder, 'nothing'))).toMatchObject({
    exit: 2,
    err: expect.stringContaining('there is no file'),
  });
  expect(await other(folder)).toMatchObject({ exit: 2, err: expect.stringContaining('is no file') });
});
