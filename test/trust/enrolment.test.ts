import { expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { HOUR, type Instant, SECOND } from '../../src/core/model/time.ts';
import {
  issueCredential,
  mintEnrolmentToken,
  verifyCredential,
  verifyEnrolmentToken,
} from '../../src/trust/enrolment.ts';
import { signJws } from '../../src/trust/jws.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import { generateDeviceKey, thumbprintOf } from '../../src/trust/signing-key.ts';

const NOW: Instant = Date.UTC(2026, 0, 1);
const fleet = 'hvac';
const keys = await generateKeys();
const { publicKey } = generateDeviceKey();
const id = 'lobby-1' as DeviceId;
const tags = { product: 'thermostat' };

const token = await mintEnrolmentToken(keys, { fleet, tags, expiresAt: NOW + HOUR, now: NOW });
const credential = await issueCredential(keys, { fleet, id, publicKey, tags, serial: 3, now: NOW });

test('an enrolment token grants its tags, and an id where it names one', async () => {
  expect(await verifyEnrolmentToken(keys, { token, fleet, now: NOW })).toEqual({
    kind: 'ok',
    grant: { tags },
    expiresAt: NOW + HOUR,
  });
  const fixed = await mintEnrolmentToken(keys, { fleet, id, tags: {}, expiresAt: NOW + HOUR, now: NOW });
  expect(await verifyEnrolmentToken(keys, { token: fixed, fleet, now: NOW })).toEqual({
    kind: 'ok',
    grant: { id, tags: {} },
    expiresAt: NOW + HOUR,
  });
});

test('an enrolment token holds until the second it expires at', async () => {
  const at = (now: Instant) => verifyEnrolmentToken(keys, { token, fleet, now });
  expect(await at(NOW + HOUR - 1)).toMatchObject({ kind: 'ok' });
  expect(await at(NOW + HOUR)).toMatchObject({ kind: 'refused' });
  expect(await at(NOW + HOUR + 5 * SECOND)).toEqual({
    kind: 'refused',
    message: 'the token expired 5s ago; ask an operator for a new one',
  });
});

test('a credential binds id, key, tags and serial', async () => {
  expect(await verifyCredential(keys, { credential, fleet })).toEqual({
    kind: 'ok',
    credential: { id, thumbprint: await thumbprintOf(publicKey), tags, serial: 3 },
  });
});

test('a credential is no enrolment token and a token no credential', async () => {
  const asToken = await verifyEnrolmentToken(keys, { token: credential, fleet, now: NOW });
  expect(asToken).toMatchObject({ kind: 'refused', message: expect.stringContaining('expected typ') });
  expect(await verifyCredential(keys, { credential: token, fleet })).toMatchObject({ kind: 'refused' });
});

test('what another key signed, what is for another fleet, and what is no JWS is refused', async () => {
  const others = await generateKeys();
  expect(await verifyEnrolmentToken(others, { token, fleet, now: NOW })).toMatchObject({ kind: 'refused' });
  // The assignment key is ours too, but not for this.
  const swapped = { ...keys, assignment: keys.enrolment, enrolment: keys.assignment };
  expect(await verifyCredential(swapped, { credential, fleet })).toMatchObject({ kind: 'refused' });
  expect(await verifyCredential(keys, { credential, fleet: 'lifts' })).toEqual({
    kind: 'refused',
    message: 'the credential is for fleet "hvac", this is "lifts"',
  });
  for (const text of ['', 'a.b.c', `${token}A`, token.replace('.', '..')]) {
    expect(await verifyEnrolmentToken(keys, { token: text, fleet, now: NOW })).toMatchObject({
      kind: 'refused',
    });
  }
});

test.each([
  { iss: fleet, tags: {}, exp: '2030' },
  { iss: fleet, tags: { a: 1 }, exp: NOW },
  { iss: fleet, exp: NOW },
  { iss: fleet, tags: {}, exp: NOW, sub: 'no/id' },
])('signed claims of the wrong shape are refused: %j', async (claims) => {
  const { kid, private: key } = keys.enrolment;
  const odd = await signJws({ typ: 'tidegate-enrolment+jwt', json: JSON.stringify(claims), key, kid });
  expect(await verifyEnrolmentToken(keys, { token: odd, fleet, now: NOW })).toMatchObject({
    kind: 'refused',
  });
});
