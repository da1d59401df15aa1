import fc from 'fast-check';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { expect, test } from 'vitest';
import type { CommitId, DeviceId, RolloutName, SnapshotId } from '../../src/core/model/ids.ts';
import { type Manifest, revisionOf } from '../../src/core/model/manifest.ts';
import { DAY, HOUR, type Instant, MINUTE, SECOND } from '../../src/core/model/time.ts';
import {
  type AssignmentClaims,
  assignmentEtag,
  createAssignmentSigner,
  renewalSlot,
  tufTargetOf,
  verifyAssignment,
} from '../../src/trust/assignment.ts';
import { keySet, signJws } from '../../src/trust/jws.ts';
import { generateKeys } from '../../src/trust/keys.ts';

const NOW: Instant = Date.UTC(2026, 0, 1);
const fleet = 'hvac';
const device = 'lobby-1' as DeviceId;
const keys = await generateKeys();
const signer = createAssignmentSigner(keys.assignment, { issuer: fleet });

const manifest: Manifest = {
  distributionSet: 'thermostat@2.6.0',
  product: 'thermostat',
  version: '2.6.0',
  modules: [
    {
      name: 'telemetry',
      version: '2.6.0',
      type: 'docker',
      status: 'running',
      restartPolicy: 'always',
      image: 'registry.example/telemetry:2.6.0',
      env: { BANNER: 'two\nlines', A: 'ä' },
    },
  ],
  routes: { upstream: 'FROM /messages/* INTO $upstream' },
};
const assigned = {
  rollout: 'thermostat-firmware' as RolloutName,
  attempt: 2,
  revision: revisionOf(manifest),
  manifest,
  snapshot: 'a'.repeat(40) as SnapshotId,
  commit: 'b'.repeat(40) as CommitId,
  minMetadataVersion: 5,
};
const input = { device, generation: 7, pollIntervalMs: MINUTE, assigned, now: NOW };
const nothing = { device, generation: 7, pollIntervalMs: MINUTE, now: NOW };
const expected = { keys: keySet(keys.assignment), device, fleet, now: NOW, lastGeneration: 0 };

test('a device verifies what was signed for it', async () => {
  const jws = await signer.sign(signer.claims(input));
  expect(decodeProtectedHeader(jws)).toEqual({
    alg: 'Ed25519',
    typ: 'tidegate-assignment+jwt',
    kid: keys.assignment.kid,
  });
  expect(await verifyAssignment(jws, expected)).toEqual({
    kind: 'ok',
    assignment: {
      generation: 7,
      expiresAt: renewalSlot(device, NOW) + DAY,
      pollAfterSeconds: 60,
      assigned: { ...assigned, tufTarget: tufTargetOf(assigned) },
    },
  });
  const { sha256, ...target } = tufTargetOf(assigned);
  expect(assigned.revision).toBe(`sha256:${sha256}`);
  expect(target).toEqual({ path: `manifests/thermostat/2.6.0-${sha256.slice(0, 12)}.json`, length: 327 });
});

test('S3.9 version, type, status, restart policy, image with registry and routes reach the device', async () => {
  const check = async (served: Manifest) => {
    const revision = revisionOf(served);
    const claims = signer.claims({ ...input, assigned: { ...assigned, manifest: served, revision } });
    const result = await verifyAssignment(await signer.sign(claims), expected);
    expect(result).toMatchObject({ kind: 'ok', assignment: { assigned: { manifest: served } } });
  };
  await check(manifest);
  await check({
    ...manifest,
    modules: [
      {
        name: 'relay',
        version: '1',
        type: 'system',
        status: 'stopped',
        restartPolicy: 'never',
        image: 'r.example:5000/relay@sha256:1',
      },
    ],
    routes: {},
  });
});

test('that nothing is assigned is signed as well', async () => {
  const jws = await signer.sign(signer.claims(nothing));
  expect(decodeJwt(jws)).toMatchObject({ revision: null, manifest: null, rollout: null, attempt: null });
  const result = await verifyAssignment(jws, expected);
  expect(result).toMatchObject({ kind: 'ok', assignment: { generation: 7, pollAfterSeconds: 60 } });
  expect(result.kind === 'ok' && 'assigned' in result.assignment).toBe(false);
});

test('a device refuses what is not meant for it, not valid any more, or older than what it has seen', async () => {
  const jws = await signer.sign(signer.claims(input));
  const check = async (over: Partial<typeof expected>) => {
    const result = await verifyAssignment(jws, { ...expected, ...over });
    return result.kind === 'ok' ? 'ok' : `${result.code}: ${result.message}`;
  };
  const expiresAt = renewalSlot(device, NOW) + DAY;
  expect(await check({ device: 'lobby-2' as DeviceId })).toBe(
    'wrong-device: expected sub "lobby-2", found "lobby-1"',
  );
  expect(await check({ fleet: 'lifts' })).toBe('wrong-fleet: expected iss "lifts", found "hvac"');
  expect(await check({ now: expiresAt - 1 })).toBe('ok');
  expect(await check({ now: expiresAt + HOUR })).toBe("expired: it expired 1h ago by the device's clock");
  expect(await check({ lastGeneration: 7 })).toBe('ok');
  expect(await check({ lastGeneration: 8 })).toBe(
    'older-generation: generation 7 is older than 8, seen before',
  );
  expect(await check({ keys: keySet(keys.enrolment) })).toMatch(/^unknown-key: /);
  const sameKid = { ...(await generateKeys()).assignment.publicJwk, kid: keys.assignment.kid };
  expect(await check({ keys: { keys: [sameKid] } })).toMatch(/^bad-signature: /);
});

test('a manifest that is not the one its revision names is refused, though the signature holds', async () => {
  const claims = signer.claims(input);
  const codeOf = async (odd: object) => {
    const { private: key, kid } = keys.assignment;
    const json = JSON.stringify({ ...claims, ...odd });
    const result = await verifyAssignment(
      await signJws({ typ: 'tidegate-assignment+jwt', json, key, kid }),
      expected,
    );
    return result.kind === 'ok' ? 'ok' : result.code;
  };
  expect(await codeOf({})).toBe('ok');
  expect(await codeOf({ manifest: { ...manifest, version: '2.6.1' } })).toBe('wrong-revision');
  expect(await codeOf({ manifest: { ...manifest, version: 0.5 } })).toBe('wrong-revision');
  expect(await codeOf({ manifest: null })).toBe('malformed');
  expect(await codeOf({ generation: -1 })).toBe('malformed');
  expect(await codeOf({ exp: 'soon' })).toBe('malformed');
  expect(await codeOf({ attempt: 'two' })).toBe('malformed');
});

test('the renewal slot is half a lifetime long, starts on a whole second and covers its instant', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.integer({ min: DAY, max: 4e12 }), (id, now) => {
      const start = renewalSlot(id as DeviceId, now);
      expect(start % SECOND).toBe(0);
      expect(start).toBeLessThanOrEqual(now);
      expect(now - start).toBeLessThan(12 * HOUR);
      expect(renewalSlot(id as DeviceId, start)).toBe(start);
      expect(renewalSlot(id as DeviceId, start + 12 * HOUR)).toBe(start + 12 * HOUR);
    }),
  );
});

test('a fleet renews evenly over the half-life', () => {
  const perHour = new Array<number>(12).fill(0);
  for (let i = 0; i < 12_000; i += 1) {
    const start = renewalSlot(`device-${i}` as DeviceId, NOW);
    const hour = Math.floor((NOW - start) / HOUR);
    perHour[hour] = (perHour[hour] ?? 0) + 1;
  }
  // 1,000 expected in each hour; five standard deviations are 151.
  for (const count of perHour) expect(Math.abs(count - 1000)).toBeLessThan(152);
});

test('equal inputs give equal bytes on every replica, whatever the order of keys', async () => {
  const replica = createAssignmentSigner(keys.assignment, { issuer: fleet });
  const reversed = JSON.parse(JSON.stringify(manifest), (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).reverse())
      : part,
  ) as Manifest;
  const here = signer.claims(input);
  const later = renewalSlot(device, NOW) + 12 * HOUR - 1;
  const there = replica.claims({ ...input, assigned: { ...assigned, manifest: reversed }, now: later });
  expect(await replica.sign(there)).toBe(await signer.sign(here));
});

test('the entity tag changes with everything but the generation, and with the slot', () => {
  const etag = (claims: AssignmentClaims) => assignmentEtag(claims, signer.kid);
  const base = etag(signer.claims(input));
  expect(base).toMatch(/^"[A-Za-z0-9_-]{43}"$/);
  expect(etag(signer.claims({ ...input, generation: 99 }))).toBe(base);
  expect(etag(signer.claims({ ...input, now: renewalSlot(device, NOW) }))).toBe(base);

  const others = [
    etag(signer.claims({ ...input, now: renewalSlot(device, NOW) + 12 * HOUR })),
    etag(signer.claims({ ...input, device: 'lobby-2' as DeviceId })),
    etag(signer.claims({ ...input, pollIntervalMs: HOUR })),
    etag(signer.claims({ ...input, assigned: { ...assigned, attempt: 3 } })),
    etag(
      signer.claims({
        ...input,
        assigned: { ...assigned, revision: revisionOf({ ...manifest, version: '3' }) },
      }),
    ),
    etag(signer.claims(nothing)),
    assignmentEtag(signer.claims(input), keys.enrolment.kid),
  ];
  expect(new Set([base, ...others]).size).toBe(others.length + 1);
});

test('a body of another generation is not served from memory', async () => {
  const first = await signer.sign(signer.claims(input));
  const second = await signer.sign(signer.claims({ ...input, generation: 8 }));
  expect(decodeJwt(first)['generation']).toBe(7);
  expect(decodeJwt(second)['generation']).toBe(8);
});

test('whatever a device is served, it is told a reason and nothing is thrown', async () => {
  const jws = await signer.sign(signer.claims(input));
  const hostile = fc.oneof(
    fc.string(),
    fc.tuple(fc.json(), fc.json()).map(([a, b]) => `${btoa(encodeURI(a))}.${btoa(encodeURI(b))}.AAAA`),
    fc.nat(jws.length - 1).map((at) => jws.slice(0, at)),
  );
  await fc.assert(
    fc.asyncProperty(hostile, async (text) => {
      expect(await verifyAssignment(text, expected)).toMatchObject({ kind: 'refused' });
    }),
    { numRuns: 200 },
  );
  const badKeys = { keys: [{ ...keys.assignment.publicJwk, x: 'AA' }] };
  expect(await verifyAssignment(jws, { ...expected, keys: badKeys })).toMatchObject({ code: 'unknown-key' });
});
