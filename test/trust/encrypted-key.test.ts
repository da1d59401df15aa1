/** Private keys under a passphrase, as OpenSSL has them, and where keys may come from. */
import { execFile } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { encryptPrivateKey, IV_BYTES, SALT_BYTES } from '../../src/trust/encrypted-key.ts';
import { openKeys } from '../../src/trust/keys.ts';

const run = promisify(execFile);
const hasOpenssl = await run('openssl', ['version']).then(
  () => true,
  () => false,
);

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidegate-keys-'));
  folder = join(root, 'keys');
});
afterEach(() => rm(root, { recursive: true }));

const { privateKey } = generateKeyPairSync('ed25519');
const plain = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

test.each(['passphrase', 'ä'.repeat(200), ' '])(
  'what is encrypted with %j is read back with it alone',
  (passphrase) => {
    const pem = encryptPrivateKey(privateKey, {
      passphrase,
      salt: Buffer.alloc(SALT_BYTES, 0x80),
      iv: Buffer.alloc(IV_BYTES, 1),
    });
    expect(pem).not.toContain(plain.split('\n')[1]);
    const read = createPrivateKey({ key: pem, passphrase });
    expect(read.export({ type: 'pkcs8', format: 'pem' })).toBe(plain);
    expect(() => createPrivateKey({ key: pem, passphrase: 'another' })).toThrow();
  },
);

test.skipIf(!hasOpenssl)('openssl reads ours, and we read what openssl encrypts', async () => {
  const pem = encryptPrivateKey(privateKey, {
    passphrase: 'secret',
    salt: Buffer.alloc(SALT_BYTES, 7),
    iv: Buffer.alloc(IV_BYTES, 9),
  });
  const path = join(root, 'key.pem');
  await writeFile(path, pem);
  const { stdout } = await run('openssl', ['pkey', '-in', path, '-passin', 'pass:secret']);
  expect(stdout).toBe(plain);

  await writeFile(path, plain);
  const theirs = await run('openssl', ['pkcs8', '-topk8', '-scrypt', '-in', path, '-passout', 'pass:secret']);
  const env = { TIDEGATE_KEY_ASSIGNMENT: theirs.stdout, TIDEGATE_KEYS_PASSPHRASE: 'secret' };
  const keys = await openKeys(folder, env);
  expect(keys.assignment.private.export({ type: 'pkcs8', format: 'pem' })).toBe(plain);
});

test('with a passphrase every key that is made is encrypted, and none is read without it', async () => {
  const env = { TIDEGATE_KEYS_PASSPHRASE: 'secret' };
  const made = await openKeys(folder, env);
  expect(await readFile(join(folder, 'manifests.pem'), 'utf8')).toMatch(
    /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/,
  );
  const again = await openKeys(folder, env);
  expect(again.assignment.kid).toBe(made.assignment.kid);
  expect(again.tuf.signers.snapshot.keyid).toBe(made.tuf.signers.snapshot.keyid);
  await expect(openKeys(folder)).rejects.toThrow(
    /\.pem: is encrypted; say its passphrase in TIDEGATE_KEYS_PASSPHRASE$/,
  );
  const wrong = openKeys(folder, { TIDEGATE_KEYS_PASSPHRASE: 'Secret' });
  await expect(wrong).rejects.toThrow(
    /\.pem: cannot be decrypted; TIDEGATE_KEYS_PASSPHRASE must be the passphrase/,
  );
  await expect(wrong).rejects.not.toThrow(/Secret/);
});

test('a key that the environment holds takes the place of its file', async () => {
  const keys = await openKeys(folder, { TIDEGATE_KEY_TIMESTAMP: plain, TIDEGATE_KEY_SNAPSHOT: '' });
  const x = privateKey.export({ format: 'jwk' }).x ?? '';
  expect(keys.tuf.signers.timestamp.key.keyval.public).toBe(Buffer.from(x, 'base64url').toString('hex'));
  await expect(readFile(join(folder, 'timestamp.pem'))).rejects.toThrow(/ENOENT/);
  await readFile(join(folder, 'snapshot.pem'));
});

test('a key that cannot be read ends the start, and nothing goes on being written behind it', async () => {
  await expect(openKeys(folder, { TIDEGATE_KEY_MANIFESTS: 'nonsense' })).rejects.toThrow(
    /^TIDEGATE_KEY_MANIFESTS: expected a PKCS8 private key in PEM form/,
  );
  // Those before it, and of those after it not even a beginning.
  const files = await readdir(folder);
  expect(files.sort()).toEqual(['assignment.pem', 'commits.pem', 'enrolment.pem']);
});
