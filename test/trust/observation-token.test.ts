import { expect, test } from 'vitest';
import { DAY, HOUR, type Instant, SECOND } from '../../src/core/model/time.ts';
import { mintEnrolmentToken, signEnrolment, verifyEnrolmentToken } from '../../src/trust/enrolment.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import {
  mayPost,
  mintObservationToken,
  OBSERVATION_TOKEN_LENGTH_MAX,
  type ObservationGrant,
  unitOf,
  verifyObservationToken,
} from '../../src/trust/observation-token.ts';

const NOW: Instant = Date.UTC(2026, 0, 1);
const keys = await generateKeys();
const fleet = 'homes';
const grant: ObservationGrant = { id: 'one', metrics: ['support-tickets', 'hours'], units: { hours: 'h' } };
const token = await mintObservationToken(keys, { ...grant, fleet, expiresAt: NOW + HOUR, now: NOW });

const verify = (
  given: string,
  over: { fleet?: string; now?: Instant; revoked?: ReadonlySet<string> } = {},
  by = keys,
) => verifyObservationToken(by, { token: given, fleet, now: NOW, revoked: new Set(), ...over });

test('a token grants its metrics and units until the second it expires at', async () => {
  expect(await verify(token)).toEqual({ kind: 'ok', grant, expiresAt: NOW + HOUR });
  expect(await verify(token, { now: NOW + HOUR - 1 })).toMatchObject({ kind: 'ok' });
  expect(await verify(token, { now: NOW + HOUR + 5 * SECOND })).toEqual({
    kind: 'refused',
    message: 'the token expired 5s ago; ask an operator for a new one',
  });
});

test('it is for one fleet, of one server, and taken back by its id', async () => {
  expect(await verify(token, { fleet: 'offices' })).toMatchObject({ kind: 'refused' });
  expect(await verify(token, {}, await generateKeys())).toMatchObject({ kind: 'refused' });
  expect(await verify(token, { revoked: new Set(['one']) })).toMatchObject({
    message: 'the token was taken back; ask an operator for a new one',
  });
  expect(await verify(token, { revoked: new Set(['another']) })).toMatchObject({ kind: 'ok' });
});

test('it is no enrolment token, and an enrolment token is none', async () => {
  expect(await verifyEnrolmentToken(keys, { token, fleet, now: NOW })).toMatchObject({ kind: 'refused' });
  const enrolment = await mintEnrolmentToken(keys, { fleet, tags: {}, expiresAt: NOW + HOUR, now: NOW });
  expect(await verify(enrolment)).toMatchObject({
    kind: 'refused',
    message: expect.stringContaining('expected typ "tidegate-observations+jwt"'),
  });
});

test.each([
  ['a year and two days', { expiresAt: NOW + 367 * DAY }],
  ['no time at all', { expiresAt: NOW }],
  ['no metric', { metrics: [] }],
  ['a metric that no gate can name', { metrics: ['id:tickets'] }],
])('one for %s is not made', async (_what, over) => {
  const making = mintObservationToken(keys, { ...grant, fleet, expiresAt: NOW + HOUR, now: NOW, ...over });
  await expect(making).rejects.toThrow('an observation token');
});

test.each([
  ['no metrics', { metrics: undefined }],
  ['metrics that are no names', { metrics: ['a b'] }],
  ['a name alone', { metrics: 'support-tickets' }],
  ['no id', { jti: undefined }],
  ['no expiry', { exp: undefined }],
  ['an expiry in words', { exp: 'tomorrow' }],
  ['units that are no texts', { units: { hours: 1 } }],
  ['a list of units', { units: ['h'] }],
])('one that is signed and has %s does not hold', async (_what, over) => {
  const claims = { iss: fleet, exp: NOW / SECOND + 60, jti: 'one', metrics: '*', ...over };
  const made = signEnrolment(keys, 'tidegate-observations+jwt', claims);
  expect(await verify(made)).toEqual({ kind: 'refused', message: expect.stringContaining('lacks') });
});

test('one that is too long for a header is not looked at', async () => {
  const metrics = Array.from({ length: 100 }, (_, n) => `m${n}`.padEnd(128, 'x'));
  const long = await mintObservationToken(keys, {
    ...grant,
    metrics,
    fleet,
    expiresAt: NOW + HOUR,
    now: NOW,
  });
  expect(long.length).toBeGreaterThan(OBSERVATION_TOKEN_LENGTH_MAX);
  expect(await verify(long)).toMatchObject({ message: expect.stringContaining('too long') });
});

test('names are exact; what every object inherits is none', () => {
  expect(mayPost(grant, 'hours')).toBe(true);
  for (const name of ['Hours', 'hours2', 'hour', '*', 'constructor'])
    expect(mayPost(grant, name)).toBe(false);
  expect(mayPost({ ...grant, metrics: '*' }, 'constructor')).toBe(true);
  expect([unitOf(grant, 'hours'), unitOf(grant, 'constructor')]).toEqual(['h', undefined]);
});
