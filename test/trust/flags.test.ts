import fc from 'fast-check';
import { base64url, createLocalJWKSet, decodeProtectedHeader, flattenedVerify } from 'jose';
import { expect, test } from 'vitest';
import type { FlagValue } from '../../src/core/model/flag.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { DAY, HOUR, type Instant, SECOND } from '../../src/core/model/time.ts';
import { createAssignmentSigner, renewalSlot, verifyAssignment } from '../../src/trust/assignment.ts';
import { createFlagsSigner, verifyFlags } from '../../src/trust/flags.ts';
import { keySet, signJws } from '../../src/trust/jws.ts';
import { generateKeys } from '../../src/trust/keys.ts';

const NOW: Instant = Date.UTC(2026, 0, 1);
const fleet = 'hvac';
const device = 'ABC123' as DeviceId;
const keys = await generateKeys();
const signer = createFlagsSigner(keys.assignment, { issuer: fleet });
const values: Record<string, FlagValue> = { new_sensor_algorithm: true, curve: 'flat', depth: 2.5 };
const input = { device, values, version: 42, now: NOW };
const expected = { keys: keySet(keys.assignment), device, fleet, now: NOW, lastVersion: 0 };

function served(over: Partial<typeof input> = {}, by = signer): { body: string; signature: string } {
  const flags = by.document({ ...input, ...over });
  return { body: flags.body, signature: by.sign(flags) };
}

test('a device verifies what was signed for it', () => {
  const { body, signature } = served();
  expect(body).toBe(
    '{"device_id":"ABC123","flags":{"new_sensor_algorithm":true,"curve":"flat","depth":2.5},"version":42}',
  );
  expect(verifyFlags({ body, signature }, expected)).toEqual({
    kind: 'ok',
    flags: { values, version: 42, expiresAt: renewalSlot(device, NOW) + DAY },
  });
});

test('the signature is a detached JWS that other libraries verify over the bytes of the body', async () => {
  const { body, signature } = served({ values: { ...values, Größe: 'ä€😀' } });
  const [head = '', payload, mark = ''] = signature.split('.');
  expect(payload).toBe('');
  const jws = { protected: head, payload: base64url.encode(body), signature: mark };
  const { protectedHeader } = await flattenedVerify(
    jws,
    createLocalJWKSet({ keys: [{ ...keys.assignment.publicJwk }] }),
    { algorithms: ['Ed25519'] },
  );
  const issuedAt = renewalSlot(device, NOW);
  expect(protectedHeader).toEqual({
    alg: 'Ed25519',
    typ: 'tidegate-flags+jwt',
    kid: keys.assignment.kid,
    iss: fleet,
    iat: issuedAt / SECOND,
    exp: (issuedAt + DAY) / SECOND,
  });
  expect(decodeProtectedHeader(jws)).toEqual(protectedHeader);
});

test('a device refuses what is not meant for it, not valid any more, or older than what it has seen', () => {
  const flags = served();
  const check = (over: Partial<typeof expected>) => {
    const result = verifyFlags(flags, { ...expected, ...over });
    return result.kind === 'ok' ? 'ok' : `${result.code}: ${result.message}`;
  };
  const expiresAt = renewalSlot(device, NOW) + DAY;
  expect(check({ device: 'ABC124' as DeviceId })).toBe(
    'wrong-device: expected device_id "ABC124", found "ABC123"',
  );
  expect(check({ fleet: 'lighting' })).toBe('wrong-fleet: expected iss "lighting", found "hvac"');
  expect(check({ now: expiresAt - 1 })).toBe('ok');
  expect(check({ now: expiresAt + HOUR })).toBe("expired: it expired 1h ago by the device's clock");
  expect(check({ now: expiresAt })).toMatch(/^expired/);
  expect(check({ lastVersion: 42 })).toBe('ok');
  expect(check({ lastVersion: 43 })).toBe('older-version: version 42 is older than 43, seen before');
});

test('a device refuses flags that another key signed', async () => {
  const others = await generateKeys();
  const check = (signed: { body: string; signature: string }, over: Partial<typeof expected>) => {
    const result = verifyFlags(signed, { ...expected, ...over });
    return result.kind === 'ok' ? 'ok' : result.code;
  };
  const theirs = served({}, createFlagsSigner(others.assignment, { issuer: fleet }));
  expect(check(theirs, {})).toBe('unknown-key');
  const impostor = { ...keys.assignment, private: others.assignment.private };
  expect(check(served({}, createFlagsSigner(impostor, { issuer: fleet })), {})).toBe('bad-signature');
});

test('flags and assignments never pass for each other, though one key signs both', async () => {
  const assignments = createAssignmentSigner(keys.assignment, { issuer: fleet });
  const claims = assignments.claims({ device, generation: 7, pollIntervalMs: 60_000, now: NOW });
  const [head, payload = '', mark] = (await assignments.sign(claims)).split('.');
  const body = Buffer.from(payload, 'base64url').toString();
  const result = verifyFlags({ body, signature: `${head}..${mark}` }, expected);
  expect(result).toMatchObject({ kind: 'refused', code: 'malformed' });
  expect(result).toMatchObject({ message: expect.stringContaining('tidegate-flags+jwt') });

  const flags = served();
  const jws = flags.signature.replace('..', `.${base64url.encode(flags.body)}.`);
  const assignment = await verifyAssignment(jws, { ...expected, lastGeneration: 0 });
  expect(assignment).toMatchObject({ kind: 'refused', code: 'malformed' });
});

test('no flipped bit of body or signature is let through, and nothing is thrown', () => {
  const { body, signature } = served();
  fc.assert(
    fc.property(fc.constantFrom('body', 'signature'), fc.nat(), fc.nat(6), (part, place, bit) => {
      const text = part === 'body' ? body : signature;
      const at = place % text.length;
      const flipped =
        text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << bit)) + text.slice(at + 1);
      const tampered = part === 'body' ? { body: flipped, signature } : { body, signature: flipped };
      const isSame = Buffer.from(flipped.split('..')[1] ?? '', 'base64url').equals(
        Buffer.from(signature.split('..')[1] ?? '', 'base64url'),
      );
      // The last character of base64url holds bits that stand for nothing.
      if (part === 'signature' && isSame && flipped.split('..')[0] === signature.split('..')[0]) return;
      expect(verifyFlags(tampered, expected).kind).toBe('refused');
    }),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.string(), fc.string(), (head, mark) => {
      for (const text of [head, `${head}..${mark}`, `${head}..${mark}..`, signature.replace('..', '.')]) {
        expect(verifyFlags({ body, signature: text }, expected)).toMatchObject({ kind: 'refused' });
      }
    }),
  );
});

test('what we signed and is no flags document is refused', () => {
  const check = (
    document: unknown,
    header: Record<string, unknown> = { iss: fleet, exp: NOW / SECOND + 60 },
  ) => {
    const body = JSON.stringify(document);
    const { kid } = keys.assignment;
    const jws = signJws({ typ: 'tidegate-flags+jwt', json: body, key: keys.assignment.private, kid, header });
    const result = verifyFlags({ body, signature: jws.replace(/\.[^.]*\./, '..') }, expected);
    return result.kind === 'ok' ? 'ok' : result.code;
  };
  const whole = { device_id: device, flags: { a: true }, version: 1 };
  expect(check(whole)).toBe('ok');
  expect(check({ ...whole, flags: undefined })).toBe('malformed');
  expect(check({ ...whole, flags: [true] })).toBe('malformed');
  expect(check({ ...whole, flags: { a: null } })).toBe('malformed');
  expect(check({ ...whole, flags: { a: { b: 1 } } })).toBe('malformed');
  expect(check({ ...whole, version: '1' })).toBe('malformed');
  expect(check({ ...whole, version: -1 })).toBe('malformed');
  expect(check({ ...whole, device_id: undefined })).toBe('wrong-device');
  expect(check([whole])).toBe('malformed');
  expect(check(whole, { iss: fleet })).toBe('malformed');
  expect(check(whole, { exp: NOW / SECOND + 60 })).toBe('wrong-fleet');
});

test('the entity tag changes with all that is signed, and with nothing else', () => {
  const tag = (over: Partial<typeof input> = {}, by = signer) => by.document({ ...input, ...over }).etag;
  const slotEnd = renewalSlot(device, NOW) + 12 * HOUR;
  expect(tag()).toMatch(/^"[A-Za-z0-9_-]{43}"$/);
  expect(tag({ now: slotEnd - 1 })).toBe(tag());
  const other = createFlagsSigner(keys.assignment, { issuer: 'lighting' });
  const changed = [
    tag(),
    tag({ now: slotEnd }),
    tag({ version: 43 }),
    tag({ values: { ...values, curve: 'steep' } }),
    tag({ device: 'ABC124' as DeviceId }),
    tag({}, other),
  ];
  expect(new Set(changed).size).toBe(changed.length);
});

test('a change of keys changes the tag: every device fetches a new signature', async () => {
  const others = await generateKeys();
  const after = createFlagsSigner(others.assignment, { issuer: fleet });
  expect(after.document(input).etag).not.toBe(signer.document(input).etag);
});

test('replicas sign identical bytes, and a signature is made once', () => {
  let made = 0;
  const counting = {
    ...keys.assignment,
    get private() {
      made += 1;
      return keys.assignment.private;
    },
  };
  const replica = createFlagsSigner(counting, { issuer: fleet });
  expect(served({}, replica)).toEqual(served());
  expect(served({}, replica)).toEqual(served());
  expect(made).toBe(1);
  replica.document({ ...input, version: 43 });
  expect(made).toBe(1);
  served({ version: 43 }, replica);
  expect(made).toBe(2);
});
