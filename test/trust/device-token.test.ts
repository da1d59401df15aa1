import fc from 'fast-check';
import { SignJWT } from 'jose';
import { beforeEach, expect, test } from 'vitest';
import type { Clock } from '../../src/clock.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { type DurationMs, HOUR, type Instant, MINUTE, SECOND } from '../../src/core/model/time.ts';
import { createDeviceTokenVerifier, signDeviceToken } from '../../src/trust/device-token.ts';
import { signJws } from '../../src/trust/jws.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';

const NOW: Instant = Date.UTC(2026, 0, 1);
const id = 'lobby-1' as DeviceId;
const fleet = 'hvac';
const key = generateDeviceKey();
const other = generateDeviceKey();

let now: Instant;
let asked: number;
const clock: Clock = { now: () => now, sleep: async () => {} };
const deviceOf = async (wanted: DeviceId) => {
  asked += 1;
  return wanted === id ? { publicKey: key.publicKey } : undefined;
};
beforeEach(() => {
  now = NOW;
  asked = 0;
});

const sign = (over: { now?: Instant; lifetimeMs?: DurationMs; id?: string; fleet?: string } = {}) =>
  signDeviceToken({
    fleet,
    privateKey: key.private,
    now: NOW,
    lifetimeMs: 10 * MINUTE,
    ...over,
    id: (over.id ?? id) as DeviceId,
  });
const verifier = (cacheSize = 10) => createDeviceTokenVerifier({ fleet, clock, cacheSize });
const codeOf = async (token: string) => {
  const result = await verifier().verify(token, deviceOf);
  return result.kind === 'ok' ? 'ok' : result.code;
};

test('a token says whose it is', async () => {
  expect(await verifier().verify(await sign(), deviceOf)).toEqual({
    kind: 'ok',
    id,
    device: { publicKey: key.publicKey },
    until: NOW + 11 * MINUTE,
  });
});

test('what is wrong with a token is told by a code', async () => {
  const claims = { iss: id, sub: id, aud: fleet, iat: NOW / SECOND, exp: NOW / SECOND + 600 };
  const odd = (over: object, typ = 'tidegate-device+jwt') =>
    signJws({ typ, json: JSON.stringify({ ...claims, ...over }), key: key.private });
  expect(await codeOf(await odd({}))).toBe('ok');
  expect(await codeOf(await odd({}, 'JWT'))).toBe('malformed');
  expect(await codeOf(await odd({ iss: 'lobby-2' }))).toBe('malformed');
  expect(await codeOf(await odd({ exp: undefined }))).toBe('malformed');
  expect(await codeOf(await odd({ iat: 1.5 }))).toBe('malformed');
  expect(await codeOf(await odd({ iat: -1 }))).toBe('malformed');
  expect(await codeOf(await odd({ exp: claims.iat }))).toBe('malformed');
  expect(await codeOf(await odd({ exp: 1e300 }))).toBe('malformed');
  expect(await codeOf(await odd({ sub: 'no/id' }))).toBe('malformed');
  expect(await codeOf(await sign({ id: 'lobby-2' }))).toBe('unknown-device');
  expect(await codeOf(await sign({ fleet: 'lifts' }))).toBe('wrong-audience');
  expect(await codeOf(await sign({ lifetimeMs: 10 * MINUTE + SECOND }))).toBe('too-long-lived');
  const forged = { id, fleet, privateKey: other.private, now: NOW, lifetimeMs: MINUTE };
  expect(await codeOf(await signDeviceToken(forged))).toBe('bad-signature');
});

test('no other algorithm is taken, least of all none or an HMAC with the public key', async () => {
  const claims = new SignJWT({})
    .setIssuer(id)
    .setSubject(id)
    .setAudience(fleet)
    .setIssuedAt(NOW / SECOND);
  claims.setExpirationTime(NOW / SECOND + 60);
  const header = { typ: 'tidegate-device+jwt' };
  const hmac = claims.setProtectedHeader({ ...header, alg: 'HS256' });
  expect(await codeOf(await hmac.sign(Buffer.from(key.publicKey, 'base64url')))).toBe('malformed');
  const payload = (await sign()).split('.')[1];
  const none = Buffer.from(JSON.stringify({ ...header, alg: 'none' })).toString('base64url');
  expect(await codeOf(`${none}.${payload}.`)).toBe('malformed');
});

test('a clock may be a minute off in either direction', async () => {
  const token = await sign({ lifetimeMs: 5 * MINUTE });
  const at = (instant: Instant) => {
    now = instant;
    return codeOf(token);
  };
  expect(await at(NOW - MINUTE)).toBe('ok');
  expect(await at(NOW - MINUTE - 1)).toBe('not-yet-valid');
  expect(await at(NOW + 6 * MINUTE - 1)).toBe('ok');
  expect(await at(NOW + 6 * MINUTE)).toBe('expired');
});

test('a device whose clock is wrong is told by how much', async () => {
  expect(await verifier().verify(await sign({ now: NOW - 3 * HOUR }), deviceOf)).toMatchObject({
    code: 'expired',
    message: expect.stringMatching(
      /issued 3h before .* 2026-01-01T00:00:00.000Z; .* the device's clock is 3h behind$/,
    ),
  });
  expect(await verifier().verify(await sign({ now: NOW + 25 * HOUR }), deviceOf)).toMatchObject({
    code: 'not-yet-valid',
    message: "the device's clock is 1d1h ahead of the server's, 2026-01-01T00:00:00.000Z",
  });
});

test('a remembered token is still judged by time and by the key that the device has now', async () => {
  const tokens = verifier();
  const token = await sign();
  await tokens.verify(token, deviceOf);
  expect(await tokens.verify(token, deviceOf)).toMatchObject({ kind: 'ok' });
  expect(asked).toBe(2);

  const rekeyed = async () => ({ publicKey: other.publicKey });
  expect(await tokens.verify(token, rekeyed)).toMatchObject({ code: 'bad-signature' });
  expect(await tokens.verify(token, deviceOf)).toMatchObject({ kind: 'ok' });
  expect(await tokens.verify(token, async () => undefined)).toMatchObject({ code: 'unknown-device' });
  now = NOW + 11 * MINUTE;
  expect(await tokens.verify(token, deviceOf)).toMatchObject({ code: 'expired' });
});

test('a remembered token costs no second verification', async () => {
  const tokens = verifier();
  const token = await sign();
  const timed = async (count: number) => {
    const startedAt = performance.now();
    for (let i = 0; i < count; i += 1) await tokens.verify(token, deviceOf);
    return (performance.now() - startedAt) / count;
  };
  const cold = await timed(1);
  // A signature takes some 200 µs to verify, a look-up well under 20.
  expect(await timed(2000)).toBeLessThan(cold / 2);
});

test('more tokens than the cache holds are still verified', async () => {
  const tokens = verifier(2);
  for (let round = 0; round < 2; round += 1) {
    for (let minute = 0; minute < 5; minute += 1) {
      const token = await sign({ now: NOW - minute * MINUTE });
      expect(await tokens.verify(token, deviceOf)).toMatchObject({ kind: 'ok' });
    }
  }
});

test('whatever is presented as a token is refused, never thrown at', async () => {
  const token = await sign();
  // The last character is left alone: two of its six bits carry the signature, so other letters may spell the same.
  const hostile = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary', maxLength: 4000 }),
    fc.tuple(fc.base64String(), fc.base64String(), fc.base64String()).map((parts) => parts.join('.')),
    fc.json().map((json) => `${Buffer.from(json).toString('base64url')}.${token.split('.')[1]}.AAAA`),
    fc
      .tuple(fc.nat(token.length - 2), fc.constantFrom('A', 'z', '.', '=', 'é'))
      .map(([at, char]) => token.slice(0, at) + char + token.slice(at + 1))
      .filter((changed) => changed !== token),
  );
  await fc.assert(
    fc.asyncProperty(hostile, async (text) => {
      expect(await verifier().verify(text, deviceOf)).toMatchObject({ kind: 'refused' });
    }),
    { numRuns: 300 },
  );
});
