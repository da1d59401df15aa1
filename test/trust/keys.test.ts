import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KeyFileError } from '../../src/trust/errors.ts';
import { signJws, verifyJws } from '../../src/trust/jws.ts';
import { generateKeys, openKeys } from '../../src/trust/keys.ts';
import { generateDeviceKey, PUBLIC_KEY_PATTERN } from '../../src/trust/signing-key.ts';

const KEY_FILES = [
  'assignment.pem',
  'commits.pem',
  'enrolment.pem',
  'manifests.pem',
  'snapshot.pem',
  'timestamp.pem',
];

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidegate-keys-'));
  folder = join(root, 'keys');
});
afterEach(() => rm(root, { recursive: true }));

test('keys are made on first use, for their owner only, and are the same ones afterwards', async () => {
  const made = await openKeys(folder);
  const found = await openKeys(folder);
  expect(found.assignment.publicJwk).toEqual(made.assignment.publicJwk);
  expect(found.enrolment.kid).toBe(made.enrolment.kid);
  expect(made.enrolment.kid).not.toBe(made.assignment.kid);

  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  expect((await readdir(folder)).sort()).toEqual(KEY_FILES);
  expect((await stat(join(folder, 'assignment.pem'))).mode & 0o777).toBe(0o600);
  expect(await readFile(join(folder, 'assignment.pem'), 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);

  const jws = await signJws({ typ: 't', json: '{"a":1}', key: found.assignment.private });
  const publicKey = made.assignment.publicJwk.x;
  expect(await verifyJws(jws, { typ: 't', publicKey })).toMatchObject({ kind: 'ok', claims: { a: 1 } });
});

test('processes that start at once end up with the same keys', async () => {
  const module = new URL('../../src/trust/keys.ts', import.meta.url).href;
  const script = `import { openKeys } from ${JSON.stringify(module)};
    const keys = await openKeys(process.argv[1]);
    console.log(keys.assignment.kid, keys.enrolment.kid);`;
  const run = () => promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, folder]);
  const outputs = (await Promise.all([run(), run(), run()])).map(({ stdout }) => stdout);

  const keys = await openKeys(folder);
  expect(new Set(outputs)).toEqual(new Set([`${keys.assignment.kid} ${keys.enrolment.kid}\n`]));
  expect((await readdir(folder)).sort()).toEqual(KEY_FILES);
});

test('many openings in one process race to the same keys', async () => {
  const opened = await Promise.all(Array.from({ length: 20 }, () => openKeys(folder)));
  expect(new Set(opened.map((keys) => keys.assignment.kid)).size).toBe(1);
  expect(new Set(opened.map((keys) => keys.enrolment.kid)).size).toBe(1);
});

test.each([0o640, 0o604, 0o660])('a key file of mode %o is refused with the next step', async (mode) => {
  await openKeys(folder);
  const path = join(folder, 'assignment.pem');
  await chmod(path, mode);
  const error = await openKeys(folder).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(KeyFileError);
  expect(String(error)).toContain(
    `${path}: only its owner may read it, found mode 0${mode.toString(8)}; run "chmod 600"`,
  );
});

test('a folder in which others may write is refused', async () => {
  await openKeys(folder);
  await chmod(folder, 0o770);
  await expect(openKeys(folder)).rejects.toThrow(/only its owner may write here, found mode 0770/);
});

test('a file that holds no key, or a key of another kind, is refused by name', async () => {
  await openKeys(folder);
  const path = join(folder, 'enrolment.pem');
  await writeFile(path, 'not a key');
  await expect(openKeys(folder)).rejects.toThrow(`${path}: expected a PKCS8 private key`);

  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writeFile(path, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await expect(openKeys(folder)).rejects.toThrow(`${path}: expected an Ed25519 key, found ec`);
});

test('keys that belong to people are made with the trust that a server makes for itself, and not before', async () => {
  const { tuf } = await openKeys(join(root, 'keys'));
  expect((await readdir(join(root, 'keys'))).sort()).toEqual(KEY_FILES);
  const at = { now: Date.UTC(2026, 0, 1), published: async () => undefined };
  const first = await tuf.developmentTrust(at);
  expect((await readdir(join(root, 'keys'))).sort()).toEqual(
    ['1.root.json', 'artifacts.pem', 'root.pem', 'targets.pem', ...KEY_FILES].sort(),
  );
  expect((await tuf.developmentTrust(at)).roots).toEqual(first.roots);
});

test('keys in memory are new ones each time', async () => {
  const [a, b] = await Promise.all([generateKeys(), generateKeys()]);
  expect(new Set([a.assignment.kid, a.enrolment.kid, b.assignment.kid, b.enrolment.kid]).size).toBe(4);
});

test('a public key has one spelling', () => {
  const { publicKey } = generateDeviceKey();
  expect(publicKey).toMatch(PUBLIC_KEY_PATTERN);
  for (const other of [
    `${publicKey}=`,
    publicKey.slice(1),
    `${publicKey}A`,
    `${publicKey.slice(0, -1)}B`,
    '',
  ]) {
    expect(other).not.toMatch(PUBLIC_KEY_PATTERN);
  }
});
