/** Metadata from strangers: whatever it is, it is refused in one way, and nothing of it is believed. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { generateKeys } from '../../../src/trust/keys.ts';
import {
  LENGTH_MAX,
  MetadataError,
  parseMetadata,
  requireSigned,
  TOP_LEVEL_ROLES,
  type TopLevelRole,
} from '../../../src/trust/tuf/metadata.ts';
import { matchesPattern } from '../../../src/verify/tuf-client.ts';

const keys = await generateKeys();
const { roots } = await keys.tuf.developmentTrust({
  now: Date.UTC(2026, 0, 1),
  published: async () => undefined,
});
const [first] = roots;
if (first === undefined) throw new Error('there must be a root');
const ROOT = Buffer.from(first.bytes).toString();

function refusalOf(text: string | Uint8Array, type: TopLevelRole = 'root'): string {
  try {
    const envelope = parseMetadata(typeof text === 'string' ? Buffer.from(text) : text, type, 'it');
    const { keys: known, roles } = first?.envelope.signed ?? { keys: {}, roles: undefined };
    if (roles !== undefined) requireSigned(envelope, roles[type], { keys: known, name: 'it' });
    return 'taken';
  } catch (error) {
    expect(error).toBeInstanceOf(MetadataError);
    return (error as Error).message;
  }
}

test('what is signed is taken', () => {
  expect(refusalOf(ROOT)).toBe('taken');
});

test.each([
  ['{', 'it is no JSON'],
  ['[]', 'it: the file must be an object'],
  ['{"signed": {"a": 1.5}, "signatures": []}', 'it: signed._type must be "root"'],
  [
    ROOT.replace('"keytype"', '"extra": 1, "keytype"'),
    /^it: signed\.keys\.[0-9a-f]+ is not the id of that key$/,
  ],
  [
    ROOT.replace('"consistent_snapshot": true', '"consistent_snapshot": true, "extra": 1.5'),
    /has no canonical form/,
  ],
  [
    ROOT.replace(
      '"consistent_snapshot": true',
      `"consistent_snapshot": true, "extra": ${'['.repeat(100_000)}${']'.repeat(100_000)}`,
    ),
    /has no canonical form|has more than/,
  ],
  [ROOT.replace(/"expires": "([^"]+)Z"/, '"expires": "$1.000Z"'), /signed\.expires must be an instant/],
  [ROOT.replace('"spec_version": "1.0.0"', '"spec_version": "2.0.0"'), /signed\.spec_version must be 1\.x/],
  [ROOT.replace('"version": 1,', '"version": 0,'), /signed\.version must be a whole number of at least 1/],
  [ROOT.replace('"threshold": 1', '"threshold": 0'), /threshold must be a whole number of at least 1/],
  [ROOT.replace('"keyids"', '"keyids": [], "others"'), /must/],
  [' '.repeat(LENGTH_MAX.root + 1), /has more than 512000 bytes/],
])('what is not root metadata is refused with what is wrong (%#)', (text, message) => {
  expect(refusalOf(text)).toMatch(message);
});

test('one key that signs twice, under one name or under two, is one signer', () => {
  const envelope = JSON.parse(ROOT);
  const [signature] = envelope.signatures;
  expect(refusalOf(JSON.stringify({ ...envelope, signatures: [signature, signature] }))).toMatch(
    /each key once/,
  );
  const other = { ...signature, keyid: 'f'.repeat(64) };
  const { keys: known, roles } = envelope.signed;
  const [keyid] = roles.root.keyids;
  const doubled = { ...known, [other.keyid]: known[keyid] };
  const parsed = parseMetadata(
    Buffer.from(JSON.stringify({ ...envelope, signatures: [signature, other] })),
    'root',
    'it',
  );
  expect(() =>
    requireSigned(parsed, { keyids: [keyid, other.keyid], threshold: 2 }, { keys: doubled, name: 'it' }),
  ).toThrow('it must be signed by 2 of its 2 keys, found 1');
});

test('whatever is put anywhere into it, it is refused as metadata, never otherwise', () => {
  const value = JSON.parse(ROOT);
  const paths: (string | number)[][] = [];
  const walk = (at: unknown, path: (string | number)[]): void => {
    paths.push(path);
    if (typeof at !== 'object' || at === null) return;
    for (const [key, inner] of Object.entries(at)) walk(inner, [...path, key]);
  };
  walk(value, []);
  const odd = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom('', -1, 1.5, 2 ** 60, [], {}, null, true, '__proto__', ['x'], { a: { b: [] } }),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...paths),
      odd,
      fc.constantFrom(...TOP_LEVEL_ROLES),
      (path, replacement, type) => {
        const copy = structuredClone({ it: value });
        let at: Record<string, unknown> = copy;
        const whole = ['it', ...path];
        for (const step of whole.slice(0, -1)) at = at[step] as Record<string, unknown>;
        const last = String(whole.at(-1));
        if (JSON.stringify(at[last]) === JSON.stringify(replacement)) return;
        at[last] = replacement;
        // Another order of the same is the same; nothing else is.
        expect(refusalOf(JSON.stringify(copy.it), type)).not.toBe('taken');
      },
    ),
    { numRuns: 2000 },
  );
});

test.each([
  ['a/b', 'a/*', true],
  ['a/b/c', 'a/*', false],
  ['a/', 'a/*', true],
  ['a', 'a/*', false],
  ['abc', 'a?c', true],
  ['a/c', 'a?c', false],
  ['aXXbYYc', 'a*b*c', true],
  ['aXXbYY', 'a*b*c', false],
  ['a*b', 'a*b', true],
  ['', '', true],
  ['a', '', false],
  ['a.b', 'a.b', true],
  ['axb', 'a.b', false],
  ['[a]', '[a]', true],
  [`${'a'.repeat(5000)}c`, `${'a*'.repeat(200)}b`, false],
])('patterns of paths: case %#', (path, pattern, expected) => {
  expect(matchesPattern(path, pattern)).toBe(expected);
});
