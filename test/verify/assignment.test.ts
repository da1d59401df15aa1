/** Whether a device may install what it was assigned, against a real server, with thieves. */
import { expect, test } from 'vitest';
import { createDeviceClient } from '../../src/agent/device-client.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { canonicalJson, type Manifest, revisionOf, sha256Hex } from '../../src/core/model/manifest.ts';
import { DAY, HOUR } from '../../src/core/model/time.ts';
import { mintEnrolmentToken } from '../../src/trust/enrolment.ts';
import { signJws } from '../../src/trust/jws.ts';
import { generateKeys, type Keys } from '../../src/trust/keys.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';
import { manifestTarget } from '../../src/trust/tuf/content.ts';
import { formatExpires, type Signed, type Targets } from '../../src/trust/tuf/metadata.ts';
import { targetPlace } from '../../src/trust/tuf/repository.ts';
import { type Signer, signMetadata } from '../../src/trust/tuf/signer.ts';
import {
  type Acceptance,
  acceptAssignment,
  type Floors,
  httpFetch,
  type TrustedFiles,
} from '../../src/verify/index.ts';
import { artifactOf, type ServedFleet, servedFleet } from '../trust/tuf/served-fleet.ts';

const ID = 'kiosk-under-test' as DeviceId;

/** A device that keeps what it trusts, and looks at every assignment that it is given. */
async function device(served: ServedFleet, keys: Keys) {
  const { clock } = served.fleet;
  const fleet = 'test-fleet';
  const enrolmentToken = await mintEnrolmentToken(keys, {
    fleet,
    id: ID,
    tags: { product: 'kiosk' },
    now: clock.now(),
    expiresAt: clock.now() + HOUR,
  });
  let jws = '';
  const client = createDeviceClient({
    server: served.server,
    fleet,
    key: generateDeviceKey(),
    enrolmentToken,
    clock,
    async fetch(url, init) {
      const response = await fetch(url, { ...init, headers: withoutEtag(init.headers) });
      if (url.endsWith('/manifest')) jws = await response.clone().text();
      return response;
    },
  });
  let files: TrustedFiles = { root: served.root.toString(), roles: {} };
  return {
    /** The assignment that the server gives now. */
    async assignment(): Promise<string> {
      const polled = await client.poll();
      if (polled.kind !== 'assigned')
        throw new Error(`expected an assignment, found ${JSON.stringify(polled)}`);
      return jws;
    },
    async judge(
      text: string,
      floors: Floors = { securityEpoch: 3, hardwareId: 'kiosk-b' },
    ): Promise<Acceptance> {
      const { files: kept, acceptance } = await acceptAssignment(
        text,
        { device: ID, fleet, lastGeneration: 0, floors },
        {
          files,
          ports: {
            fetch: httpFetch(served.url),
            async keep(trusted) {
              files = trusted;
            },
            now: clock.now(),
          },
        },
      );
      expect(kept).toEqual(files);
      return acceptance;
    },
  };
}

function withoutEtag(headers: RequestInit['headers']): Headers {
  const without = new Headers(headers);
  without.delete('if-none-match');
  return without;
}

async function fleetWithDevice() {
  const keys = await generateKeys();
  const served = await servedFleet({ keys });
  await served.fleet.advance(4 * HOUR);
  return { keys, served, device: await device(served, keys) };
}

const codeOf = (acceptance: Acceptance) =>
  acceptance.kind === 'ok' ? 'ok' : `${acceptance.code}: ${acceptance.message}`;

test('S4.15 S4.27 what both signatures vouch for is accepted, and nothing below the floors of the device', async () => {
  const { served, device } = await fleetWithDevice();
  const jws = await device.assignment();
  const accepted = await device.judge(jws);
  expect(accepted).toMatchObject({
    kind: 'ok',
    assignment: { assigned: { manifest: { version: '1.0.0' } } },
    artifacts: [{ name: 'app.swu', securityEpoch: 3, hardwareIds: ['kiosk-b'] }],
  });
  expect(codeOf(await device.judge(jws, { securityEpoch: 4, hardwareId: 'kiosk-b' }))).toBe(
    'security-epoch: app.swu has security epoch 3, and this device installs none below 4',
  );
  expect(codeOf(await device.judge(jws, { securityEpoch: 0, hardwareId: 'kiosk-c' }))).toBe(
    'other-hardware: app.swu is for kiosk-b, not for kiosk-c',
  );
  expect(codeOf(await device.judge(jws, { securityEpoch: 0 }))).toMatch(/^other-hardware/);

  // Another byte of either signature, or of what it covers.
  const [head, payload, mark] = jws.split('.');
  const claims = JSON.parse(Buffer.from(payload ?? '', 'base64url').toString());
  const tampered = Buffer.from(JSON.stringify({ ...claims, generation: claims.generation + 1 })).toString(
    'base64url',
  );
  expect(codeOf(await device.judge(`${head}.${tampered}.${mark}`))).toMatch(/^bad-signature/);
  served.attack = ({ path, body }) =>
    path.endsWith('artifacts-kiosk.json')
      ? { body: Buffer.from(body.toString().replace('"securityEpoch":3', '"securityEpoch":9')) }
      : undefined;
  const fresh = await fleetDeviceAgain(served);
  expect(codeOf(await fresh(jws))).toMatch(/^metadata: artifacts-kiosk\.json has another digest/);
});

/** Another device that trusts nothing but the first root yet. */
async function fleetDeviceAgain(served: ServedFleet) {
  return async (jws: string): Promise<Acceptance> => {
    const { acceptance } = await acceptAssignment(
      jws,
      {
        device: ID,
        fleet: 'test-fleet',
        lastGeneration: 0,
        floors: { securityEpoch: 0, hardwareId: 'kiosk-b' },
      },
      {
        files: { root: served.root.toString(), roles: {} },
        ports: { fetch: httpFetch(served.url), keep: async () => {}, now: served.fleet.clock.now() },
      },
    );
    return acceptance;
  };
}

test('an assignment waits for the metadata that lists it, and an old one does not come back', async () => {
  const { served, device } = await fleetWithDevice();
  const first = await device.assignment();
  expect(codeOf(await device.judge(first))).toBe('ok');
  served.fleet.clock.advance(2 * DAY);
  await served.fleet.settle();
  expect(codeOf(await device.judge(first))).toMatch(/^expired/);
});

interface Thief {
  /** Signs an assignment for the device. */
  assign(manifest: Manifest, over?: object): string;
}

/** Has the key of assignments, and can write answers of the server. */
function assignmentThief(keys: Keys, now: number): Thief {
  return {
    assign(manifest, over = {}) {
      const revision = revisionOf(manifest);
      const length = Buffer.byteLength(canonicalJson(manifest));
      const claims = {
        iss: 'test-fleet',
        sub: ID,
        iat: Math.floor(now / 1000),
        exp: Math.floor(now / 1000) + 3600,
        generation: 9_999_999_999,
        snapshot: 'a'.repeat(40),
        commit: 'b'.repeat(40),
        rollout: 'kiosk',
        attempt: 1,
        revision,
        manifest,
        minMetadataVersion: 1,
        tufTarget: { path: manifestTarget(manifest, revision), sha256: revision.slice(7), length },
        pollAfterSeconds: 60,
        ...over,
      };
      const { private: key, kid } = keys.assignment;
      return signJws({ typ: 'tidegate-assignment+jwt', json: JSON.stringify(claims), key, kid });
    },
  };
}

test('a thief of the assignment key can give out what is listed, and nothing else', async () => {
  const { keys, served, device } = await fleetWithDevice();
  const { manifest } = served.attempt();
  const thief = assignmentThief(keys, served.fleet.clock.now());
  expect(codeOf(await device.judge(thief.assign(manifest)))).toBe('ok');

  const [module] = manifest.modules;
  const evil = { ...manifest, modules: [{ ...module, name: 'evil' }] } as Manifest;
  expect(codeOf(await device.judge(thief.assign(evil)))).toMatch(
    /^not-listed: manifests-kiosk does not list sha256:/,
  );
  // The name of what is listed, with other content.
  const borrowed = {
    tufTarget: {
      path: manifestTarget(manifest, revisionOf(manifest)),
      sha256: revisionOf(evil).slice(7),
      length: 1,
    },
  };
  expect(codeOf(await device.judge(thief.assign(evil, borrowed)))).toMatch(/^not-listed/);
  expect(codeOf(await device.judge(thief.assign(manifest, { revision: revisionOf(evil) })))).toMatch(
    /^wrong-revision/,
  );
  expect(codeOf(await device.judge(thief.assign(manifest, { sub: 'other' })))).toMatch(/^wrong-device/);
});

/**
 * The repository with one role signed anew, and snapshot and timestamp over it: what a thief of these keys would serve, and what people
 * publish who hold that of the role.
 */
async function republished(
  served: ServedFleet,
  keys: Keys,
  role: {
    readonly name: string;
    readonly signer: Signer | undefined;
    readonly change: (signed: Targets) => Partial<Targets>;
    /** Targets that the server does not have, by path. */
    readonly contents?: Readonly<Record<string, Buffer>>;
  },
): Promise<void> {
  const { snapshot, timestamp } = keys.tuf.signers;
  const read = async (path: string) =>
    JSON.parse(await (await fetch(`${served.url}/tuf/metadata/${path}`)).text()).signed;
  const oldTimestamp = await read('timestamp.json');
  const oldSnapshot = await read(`${oldTimestamp.meta['snapshot.json'].version}.snapshot.json`);
  const before = await read(`${oldSnapshot.meta[`${role.name}.json`].version}.${role.name}.json`);
  const version = oldTimestamp.version + 100;
  const common = { spec_version: '1.0.0', version, expires: formatExpires(served.fleet.clock.now() + DAY) };
  const files = new Map<string, Buffer>();
  const put = async (path: string, signed: object, signer: Signer | undefined) => {
    if (signer === undefined) throw new Error('there must be a signer');
    const content = Buffer.from(JSON.stringify(await signMetadata(signed as Signed, [signer])));
    files.set(path, content);
    return { version, length: content.byteLength, hashes: { sha256: sha256Hex(content.toString()) } };
  };
  const changed = { ...before, ...role.change(before), ...common };
  const listed = await put(`metadata/${version}.${role.name}.json`, changed, role.signer);
  const meta = { ...oldSnapshot.meta, [`${role.name}.json`]: listed };
  const snapshotMeta = await put(
    `metadata/${version}.snapshot.json`,
    { _type: 'snapshot', ...common, meta },
    snapshot,
  );
  await put(
    'metadata/timestamp.json',
    { _type: 'timestamp', ...common, meta: { 'snapshot.json': snapshotMeta } },
    timestamp,
  );
  for (const [path, content] of Object.entries(role.contents ?? {}))
    files.set(targetPlace(path, sha256Hex(content.toString())), content);
  served.attack = ({ path }) => {
    const body = files.get(path);
    return body === undefined ? undefined : { status: 200, body };
  };
}

const fileOf = (content: Buffer) => ({
  length: content.byteLength,
  hashes: { sha256: sha256Hex(content.toString()) },
});

test('a thief of the online metadata keys can list a manifest, cannot assign it, and can put nothing into it that people did not sign', async () => {
  const { keys, served, device } = await fleetWithDevice();
  const { manifest } = served.attempt();
  const genuine = await device.assignment();
  const [module] = manifest.modules;
  const evil = {
    ...manifest,
    modules: [{ ...module, artifacts: [{ ...module?.artifacts?.[0], sha256: 'e'.repeat(64) }] }],
  } as Manifest;
  const bytes = Buffer.from(canonicalJson(evil));
  await republished(served, keys, {
    name: 'manifests-kiosk',
    signer: keys.tuf.signers.manifests,
    change: () => ({ targets: { [manifestTarget(evil, revisionOf(evil))]: fileOf(bytes) } }),
  });
  // What the server assigned is not listed any more: the thief can stop installing.
  expect(codeOf(await device.judge(genuine))).toMatch(/^not-listed/);
  const strangers = await generateKeys();
  const forged = assignmentThief(strangers, served.fleet.clock.now()).assign(evil);
  expect(codeOf(await device.judge(forged))).toMatch(/^unknown-key/);
  // Not even with both: people have not signed that artifact.
  const both = assignmentThief(keys, served.fleet.clock.now()).assign(evil);
  expect(codeOf(await device.judge(both))).toMatch(
    /^not-listed: artifacts-kiosk does not vouch for artifacts\/kiosk\/eeeeeeeeeeee-app\.swu/,
  );
});

test('S4.15 only a permit that people have signed goes below the floors: for its artifact, its devices and its time', async () => {
  const { keys, served, device } = await fleetWithDevice();
  const jws = await device.assignment();
  const { sha256 } = artifactOf('1.0.0');
  const floors = { securityEpoch: 9, hardwareId: 'kiosk-c' };
  const now = served.fleet.clock.now();
  const until = new Date(now + HOUR).toISOString();
  const { signers: peoples } = await keys.tuf.developmentTrust({ now, published: async () => undefined });
  const withPermit = async (permit: object, by: 'targets' | 'manifests' = 'targets') => {
    const content = Buffer.from(JSON.stringify({ permits: [permit] }));
    const path = 'permits/kiosk.json';
    served.attack = undefined;
    await republished(served, keys, {
      name: by === 'targets' ? 'targets' : 'manifests-kiosk',
      signer: by === 'targets' ? peoples.targets : keys.tuf.signers.manifests,
      change: ({ targets }) => ({ targets: { ...targets, [path]: fileOf(content) } }),
      contents: { [path]: content },
    });
    const { acceptance } = await acceptAssignment(
      jws,
      { device: ID, fleet: 'test-fleet', lastGeneration: 0, floors },
      {
        files: { root: served.root.toString(), roles: {} },
        ports: { fetch: httpFetch(served.url), keep: async () => {}, now },
      },
    );
    return codeOf(acceptance);
  };
  expect(await withPermit({ sha256, until })).toBe('ok');
  expect(await withPermit({ sha256, until, devices: [ID] })).toBe('ok');
  expect(await withPermit({ sha256, until, devices: ['another'] })).toMatch(/^security-epoch/);
  expect(await withPermit({ sha256: 'f'.repeat(64), until })).toMatch(/^security-epoch/);
  expect(await withPermit({ sha256, until: new Date(now).toISOString() })).toMatch(/^security-epoch/);
  expect(await withPermit({ sha256, until: 'whenever' })).toMatch(/^security-epoch/);
  // The key that the server lists manifests with gives no leave.
  expect(await withPermit({ sha256, until }, 'manifests')).toMatch(/^security-epoch/);
});
