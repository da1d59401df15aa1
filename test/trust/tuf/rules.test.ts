/** Rules that some client or other needs, held against everything that a real server publishes over its life. */
import { expect, test } from 'vitest';
import { canonicalJson, sha256Hex } from '../../../src/core/model/manifest.ts';
import { DAY, HOUR } from '../../../src/core/model/time.ts';
import { LENGTH_MAX, type TopLevelRole } from '../../../src/trust/tuf/metadata.ts';
import { rollout } from '../../simulation/fleet-files.ts';
import { artifactOf, type ServedFleet, servedFleet } from './served-fleet.ts';

interface Published {
  readonly files: ReadonlyMap<string, { readonly text: string; readonly json: Json }>;
  readonly meta: Readonly<Record<string, { readonly version: number; readonly length: number }>>;
  readonly timestamp: number;
}

// biome-ignore lint/suspicious/noExplicitAny: what is published is looked into member by member.
type Json = any;

async function get({ url }: ServedFleet, path: string): Promise<Response> {
  return await fetch(`${url}/tuf/${path}`);
}

/** All metadata that is published now, read as a client reads it. */
async function read(served: ServedFleet): Promise<Published> {
  const files = new Map<string, { text: string; json: Json }>();
  const load = async (name: string): Promise<Json> => {
    const response = await get(served, `metadata/${name}`);
    expect(response.status, name).toBe(200);
    const text = await response.text();
    const json = JSON.parse(text);
    files.set(name, { text, json });
    return json;
  };
  for (let n = 1; (await get(served, `metadata/${n}.root.json`)).status === 200; n += 1)
    await load(`${n}.root.json`);
  const timestamp = await load('timestamp.json');
  const snapshot = await load(`${timestamp.signed.meta['snapshot.json'].version}.snapshot.json`);
  for (const [name, { version }] of Object.entries<{ version: number }>(snapshot.signed.meta))
    await load(`${version}.${name}`);
  return { files, meta: snapshot.signed.meta, timestamp: timestamp.signed.version };
}

function everyObject(value: Json, visit: (object: Json, key: string) => void, key = ''): void {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) visit(value, key);
  for (const [name, inner] of Object.entries(value)) everyObject(inner, visit, name);
}

function check({ files }: Published): void {
  for (const [name, { text, json }] of files) {
    const { signed, signatures } = json;
    expect(Object.keys(json).sort(), name).toEqual(['signatures', 'signed']);
    expect(signed.spec_version, name).toBe('1.0.0');
    expect(signed.expires, name).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(Buffer.byteLength(text), name).toBeLessThan(LENGTH_MAX[signed._type as TopLevelRole]);
    expect(signatures.length, name).toBeGreaterThan(0);
    expect(new Set(signatures.map((each: Json) => each.keyid)).size, name).toBe(signatures.length);
    for (const { keyid, sig } of signatures) {
      expect(keyid, name).toMatch(/^[0-9a-f]{64}$/);
      expect(sig, name).toMatch(/^[0-9a-f]{128}$/);
    }
    everyObject(signed, (object, key) => {
      if (key === 'keys') {
        for (const [keyid, value] of Object.entries<Json>(object)) {
          expect(keyid, name).toBe(sha256Hex(canonicalJson(value)));
          expect(value).toEqual({
            keytype: 'ed25519',
            scheme: 'ed25519',
            keyval: { public: expect.stringMatching(/^[0-9a-f]{64}$/) },
          });
        }
      }
      if (key === 'custom') expect(Object.keys(object), name).not.toEqual([]);
      if (key === 'delegations') expect(Object.keys(object).sort(), name).toEqual(['keys', 'roles']);
      if (key === 'hashes') expect(Object.keys(object), name).toEqual(['sha256']);
    });
    for (const role of signed.delegations?.roles ?? []) {
      expect(Object.keys(role).sort(), name).toEqual(['keyids', 'name', 'paths', 'terminating', 'threshold']);
      expect(role.terminating, name).toBe(true);
      expect(role.name, name).toMatch(/^(artifacts|manifests)-/);
      for (const path of role.paths) expect(path, name).toMatch(/^(artifacts|manifests)\/[^/*?]+\/\*$/);
    }
    if (signed._type === 'root') expect(signed.consistent_snapshot).toBe(true);
  }
}

test('whatever happens to a fleet, what it publishes keeps to what every client can read, and nothing goes back', async () => {
  const served = await servedFleet();
  const { fleet } = served;
  const seen: Published[] = [];
  const look = async () => {
    const published = await read(served);
    check(published);
    const last = seen.at(-1);
    for (const [role, { version }] of Object.entries(last?.meta ?? {})) {
      expect(published.meta, role).toHaveProperty([role]);
      expect(published.meta[role]?.version, role).toBeGreaterThanOrEqual(version);
    }
    if (last !== undefined) expect(published.timestamp).toBeGreaterThanOrEqual(last.timestamp);
    seen.push(published);
  };
  const roots = () => [...(seen.at(-1)?.files.keys() ?? [])].filter((name) => name.endsWith('root.json'));

  await look();
  await fleet.advance(4 * HOUR);
  await served.release('1.1.0');
  await look();
  await fleet.commit('Back', rollout('1.0.0'));
  fleet.clock.advance(HOUR);
  await fleet.settle();
  await look();
  // The rollout and its product go; what clients know of them stays.
  await fleet.commit('Remove', { 'fleet/rollouts/kiosk.yaml': null });
  fleet.clock.advance(HOUR);
  await fleet.settle();
  await look();
  expect(Object.keys(seen.at(-1)?.meta ?? {})).toEqual([
    'artifacts-kiosk.json',
    'manifests-kiosk.json',
    'targets.json',
  ]);
  // A database that is lost, with and without time going by.
  await fleet.restart('loseStore');
  await fleet.settle();
  await look();
  expect(roots()).toEqual(['1.root.json']);
  for (let n = 0; n < 10; n += 1) {
    fleet.clock.advance(20 * DAY);
    await fleet.settle();
    await look();
  }
  // Half of a year later root was renewed, and the first one is served as before.
  expect(roots()).toEqual(['1.root.json', '2.root.json']);
  expect(seen.at(-1)?.files.get('1.root.json')?.text).toBe(served.root.toString());
  const next = await get(served, 'metadata/3.root.json');
  expect([next.status, next.headers.get('content-type')]).toEqual([404, expect.anything()]);
});

test('artifacts carry their floors in what people sign, and nothing where there are none', async () => {
  const served = await servedFleet();
  const { files, meta } = await read(served);
  const artifacts = files.get(`${meta['artifacts-kiosk.json']?.version}.artifacts-kiosk.json`)?.json.signed
    .targets;
  const { sha256: digest, content } = artifactOf('1.0.0');
  expect(artifacts).toEqual({
    [`artifacts/kiosk/${digest.slice(0, 12)}-app.swu`]: {
      length: content.byteLength,
      hashes: { sha256: digest },
      custom: { securityEpoch: 3, hardwareIds: ['kiosk-b'] },
    },
  });
});
