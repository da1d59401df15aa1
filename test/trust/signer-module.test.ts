/** Keys that a service holds: the example's own module against a service that speaks the calls it makes. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { openKeys } from '../../src/trust/keys.ts';
import { loadSigners } from '../../src/trust/signer-module.ts';
import { keyIdOf, tufKey } from '../../src/trust/tuf/metadata.ts';
import { CLIENTS } from './tuf/clients.ts';
import { servedFleet } from './tuf/served-fleet.ts';

const MODULE = fileURLToPath(new URL('../../examples/kms-signer.mjs', import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-kms-'));
  onTestFinished(() => rm(folder, { recursive: true }));
});

/** GetPublicKey and Sign as AWS KMS answers them. */
async function startKms() {
  const keys = new Map<string, { publicKey: KeyObject; privateKey: KeyObject }>();
  const kms = { url: '', isDown: false, keys, signatures: 0 };
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const { KeyId, Message, MessageType, SigningAlgorithm } = JSON.parse(text);
    const key = keys.get(KeyId);
    if (kms.isDown || key === undefined) return void response.writeHead(500).end();
    const action = request.headers['x-amz-target'];
    if (action === 'TrentService.GetPublicKey') {
      const PublicKey = key.publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
      return void response.end(JSON.stringify({ PublicKey, KeySpec: 'ECC_NIST_EDWARDS25519' }));
    }
    expect({ action, MessageType, SigningAlgorithm }).toEqual({
      action: 'TrentService.Sign',
      MessageType: 'RAW',
      SigningAlgorithm: 'ED25519_SHA_512',
    });
    kms.signatures += 1;
    const Signature = sign(null, Buffer.from(Message, 'base64'), key.privateKey).toString('base64');
    response.end(JSON.stringify({ Signature }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  kms.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const id of ['m', 's', 't']) keys.set(id, generateKeyPairSync('ed25519'));
  const env = {
    TIDEGATE_SIGNERS: MODULE,
    KMS_ENDPOINT: kms.url,
    KMS_KEY_MANIFESTS: 'm',
    KMS_KEY_SNAPSHOT: 's',
    KMS_KEY_TIMESTAMP: 't',
  };
  return { kms, env };
}

test('a service signs what the server publishes, no key of its lies on the disk, and stock clients take it', async () => {
  const { kms, env } = await startKms();
  const keys = await openKeys(join(folder, 'keys'), env);
  const served = await servedFleet({ keys });
  for (const [, makeClient] of CLIENTS) await (await makeClient(served)).refresh(served.fleet.clock.now());
  expect(kms.signatures).toBeGreaterThanOrEqual(3);
  const { x = '' } = kms.keys.get('t')?.publicKey.export({ format: 'jwk' }) ?? {};
  expect(keys.tuf.signers.timestamp.keyid).toBe(keyIdOf(tufKey(x)));
  expect(
    (await readdir(join(folder, 'keys'))).filter((name) => /snapshot|timestamp|manifests/.test(name)),
  ).toEqual([]);

  kms.isDown = true;
  served.fleet.clock.advance(3_600_000);
  await served.fleet.settle();
  expect((await served.fleet.status()).held).toBe(
    'metadata cannot be signed: the KMS answers Sign with HTTP 500',
  );
  kms.isDown = false;
  await served.fleet.settle();
  expect((await served.fleet.status()).held).toBeUndefined();
});

test('a service that never answers is given up', async () => {
  const module = join(folder, 'hung.mjs');
  const pem = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' });
  const text = `export default async () => ({ snapshot: { publicKey: ${JSON.stringify(pem)}, sign: () => new Promise(() => {}) } });`;
  await writeFile(module, text);
  const slept: number[] = [];
  const { snapshot } = await loadSigners(
    module,
    {},
    { sleep: async (duration) => void slept.push(duration) },
  );
  await expect(snapshot?.sign(Buffer.from('x'))).rejects.toThrow(
    /^the signer of snapshot has not answered for 15 s$/,
  );
  expect(slept).toEqual([15_000]);
});

test('a module that cannot be used is named, with the reason', async () => {
  const { env } = await startKms();
  for (const [index, [content, message]] of [
    [
      'export const x = 1;',
      /broken-0\.mjs: the signers of this module cannot be used: its default export is no function/,
    ],
    [
      'export default async () => ({ snapshot: { publicKey: "none" } });',
      /must be an Ed25519 public key in PEM/,
    ],
    ['syntax error', /cannot be used/],
  ].entries() as Iterable<[number, [string, RegExp]]>) {
    const module = join(folder, `broken-${index}.mjs`);
    await writeFile(module, content);
    await expect(openKeys(join(folder, 'keys'), { ...env, TIDEGATE_SIGNERS: module })).rejects.toThrow(
      message,
    );
  }
});
