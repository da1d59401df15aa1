/** Our signatures are anybody's JWS: jose, which knows nothing of ours, reads what we sign and signs what we read. */
import { createPublicKey } from 'node:crypto';
import fc from 'fast-check';
import { CompactSign, compactVerify } from 'jose';
import { expect, test } from 'vitest';
import { signJws, verifyJws } from '../../src/trust/jws.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';

const key = generateDeviceKey();
const { publicKey } = key;
const typ = 'test+jwt';
const claims = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue(), { noNullPrototype: true });

test('jose verifies what is signed here, and signs the same bytes', async () => {
  await fc.assert(
    fc.asyncProperty(claims, fc.option(fc.string(), { nil: undefined }), async (said, kid) => {
      const json = JSON.stringify(said);
      const jws = signJws({ typ, json, key: key.private, ...(kid === undefined ? {} : { kid }) });
      const { payload, protectedHeader } = await compactVerify(jws, createPublicKey(key.private));
      expect(new TextDecoder().decode(payload)).toBe(json);
      expect(protectedHeader).toEqual({ alg: 'Ed25519', typ, ...(kid === undefined ? {} : { kid }) });
      const theirs = new CompactSign(new TextEncoder().encode(json)).setProtectedHeader(protectedHeader);
      expect(await theirs.sign(key.private)).toBe(jws);
      expect(verifyJws(jws, { typ, publicKey })).toMatchObject({ kind: 'ok', claims: JSON.parse(json) });
    }),
    { numRuns: 200 },
  );
});

test('a changed character is never taken for what was signed', () => {
  const jws = signJws({ typ, json: '{"sub":"lobby-1","exp":1767225600}', key: key.private });
  const base64url = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=';
  fc.assert(
    fc.property(fc.nat({ max: jws.length - 1 }), fc.constantFrom(...base64url), (at, other) => {
      fc.pre(jws[at] !== other);
      const changed = jws.slice(0, at) + other + jws.slice(at + 1);
      expect(verifyJws(changed, { typ, publicKey }).kind, changed).toBe('refused');
    }),
    { numRuns: 2000 },
  );
});

test('what is no JWS, of another kind, or signed with another key is refused by a code', async () => {
  const { assignment, enrolment } = await generateKeys();
  const sign = (header: object, payload = '{}') =>
    new CompactSign(Buffer.from(payload))
      .setProtectedHeader({ alg: 'Ed25519', typ, ...header })
      .sign(key.private);
  const codeOf = (jws: string, of: Parameters<typeof verifyJws>[1]['publicKey'] = publicKey) => {
    const result = verifyJws(jws, { typ, publicKey: of });
    return result.kind === 'ok' ? 'ok' : result.code;
  };
  expect(codeOf(await sign({}))).toBe('ok');
  expect(codeOf(await sign({ typ: 'other+jwt' }))).toBe('malformed');
  expect(codeOf(await sign({ alg: 'EdDSA' }))).toBe('malformed');
  expect(codeOf(await sign({ b64: true, crit: ['b64'] }))).toBe('malformed');
  for (const payload of ['[]', 'null', '1', '{', '', '\u00ff']) {
    expect(codeOf(await sign({}, payload)), payload).toBe('malformed');
  }
  const [header, payload, mark] = (await sign({})).split('.');
  for (const odd of ['', '.', '..', `${header}.${payload}`, `${header}.${payload}.`, `${header}..${mark}`]) {
    expect(codeOf(odd), odd).toBe('malformed');
  }
  expect(codeOf(`${header}.${payload}.${mark}.`)).toBe('malformed');
  expect(codeOf(`${header}.${payload}.${mark}A`)).toBe('malformed');
  expect(codeOf(` ${header}.${payload}.${mark}`)).toBe('malformed');
  expect(codeOf(await sign({}), generateDeviceKey().publicKey)).toBe('bad-signature');
  expect(codeOf(await sign({}), 'AAAA')).toBe('unknown-key');
  const set = { keys: [assignment.publicJwk, enrolment.publicJwk] };
  const ours = (kid: string) => signJws({ typ, json: '{}', key: enrolment.private, kid });
  expect(codeOf(ours(enrolment.kid), set)).toBe('ok');
  expect(codeOf(ours(assignment.kid), set)).toBe('bad-signature');
  expect(codeOf(ours('other'), set)).toBe('unknown-key');
  expect(codeOf(await sign({}), set)).toBe('unknown-key');
});
