/** Private registries and mirrors: what logs in stays on the device, git and manifests name it. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { expect, onTestFinished, test } from 'vitest';
import { downloadArtifact } from '../../src/agent/artifact-download.ts';
import { systemClock } from '../../src/clock.ts';
import type { Manifest } from '../../src/core/model/manifest.ts';
import { sha256Hex } from '../../src/core/model/manifest.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';
import { watchFleet } from './watched-fleet.ts';

const SECRET = 'Bearer of-nobody-but-the-device';
const CONTENT = 'model of a lock\n';

/** A mirror that gives nothing to whoever does not log in. */
async function privateMirror(): Promise<string> {
  const server = createServer((request, response) => {
    const isIn = request.headers.authorization === SECRET;
    response.writeHead(isIn ? 200 : 401).end(isIn ? CONTENT : 'log in');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/lock.bin`;
}

const lock = (url: string, more = '') => ({
  'fleet/distribution-sets/lock-1.0.0.yaml': `apiVersion: tidegate.dev/v1
kind: DistributionSet
metadata: {name: lock@1.0.0}
spec:
  modules:
    - name: app
      version: 1.0.0
      type: container
      image: registry.example/lock:1.0.0
      registryCredential: acme-registry
      ${more}
      artifacts:
        - {name: lock.bin, sha256: ${sha256Hex(CONTENT)}, sizeBytes: ${CONTENT.length}, urls: ["${url}"]}
`,
});

test('S3.12 registry credentials are referenced: no secret in git, none in any manifest, and the device logs in with its own', async () => {
  const url = await privateMirror();
  const fleet = await watchFleet('registry');
  const condition = { targetCondition: "tags.product = 'lock'" };
  const stages = '[{name: fleet, size: all}]';
  await fleet.commit(
    'First',
    { 'fleet/fleet.yaml': FLEET },
    kiosk('1.0.0'),
    rollout('1.0.0', { stages }),
    lock(url),
    rollout('1.0.0', { ...condition, stages, distributionSet: 'lock@1.0.0' }, 'lock'),
  );
  const device = await fleet.join('lock-1', { product: 'lock' });
  const other = await fleet.join('kiosk-1', { product: 'kiosk' });
  await fleet.simulation.settle();
  const manifestOf = async (of: typeof device) =>
    decodeJwt(await (await of.fetchManifest()).text())['manifest'] as Manifest;
  const manifest = await manifestOf(device);
  const [module] = manifest.modules;
  expect(module).toMatchObject({ image: 'registry.example/lock:1.0.0', registryCredential: 'acme-registry' });
  expect(JSON.stringify(manifest)).not.toContain(SECRET);
  expect(JSON.stringify(await manifestOf(other))).not.toMatch(/acme-registry|lock/);

  // The device has it under that name, and gives it to that mirror alone.
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-registry-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const [artifact] = module?.artifacts ?? [];
  if (artifact === undefined) throw new Error('there must be an artifact');
  const target = { path: join(folder, 'lock.bin'), idleMs: 10_000, fetch, clock: systemClock };
  expect(await downloadArtifact(artifact, target)).toMatchObject({ kind: 'failed' });
  const keyring: Readonly<Record<string, string>> = { 'acme-registry': SECRET };
  const authorization = async () => keyring[module?.registryCredential ?? ''];
  expect(await downloadArtifact(artifact, { ...target, authorization })).toMatchObject({
    kind: 'downloaded',
  });
  expect(await readFile(target.path, 'utf8')).toBe(CONTENT);

  // What is written into git all the same is refused, or warned about, where it stands.
  await fleet.commit('With a password', lock(url.replace('http://', 'http://user:password@')));
  const refused = await fleet.status();
  expect(refused.problems.filter(({ rule }) => rule !== 'one-stage')).toEqual([
    expect.objectContaining({
      file: 'fleet/distribution-sets/lock-1.0.0.yaml',
      severity: 'error',
      message: expect.stringMatching(/an http or https address without a user or password/),
    }),
  ]);
  await fleet.commit('With a token', lock(url, 'env: {REGISTRY_TOKEN: "abc", LOG_LEVEL: info}'));
  const warned = (await fleet.status()).problems.find(({ rule }) => rule === 'secret-variable');
  expect(warned).toMatchObject({ severity: 'warning', line: 11 });
  expect(warned?.message).toMatch(/^REGISTRY_TOKEN looks like a secret/);
});
