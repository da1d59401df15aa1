import { createHash } from 'node:crypto';
import { canonicalize } from '@tufjs/canonical-json';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { shortRevision } from '../../../src/core/model/ids.ts';
import {
  canonicalJson,
  type Manifest,
  type Module,
  revisionOf,
  sha256Hex,
} from '../../../src/core/model/manifest.ts';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

/** The same value with the keys of every object in the opposite order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, inner]) => [key, reversed(inner)] as const)
      .toReversed(),
  );
}

/** JSON as OLPC canonical JSON has it: no fractions. */
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.string({ unit: 'grapheme' }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string(), tie('value'), { maxKeys: 5 }),
  ),
})).value;

describe('canonical JSON', () => {
  test.each([
    [{ b: 1, a: [true, null, 'x'] }, '{"a":[true,null,"x"],"b":1}'],
    [{ B: 1, a: 2, '10': 3, '9': 4 }, '{"10":3,"9":4,"B":1,"a":2}'],
    ['a "quoted" \\ ä', '"a \\"quoted\\" \\\\ ä"'],
    [{}, '{}'],
  ])('of %j is %s', (value, expected) => {
    expect(canonicalJson(value)).toBe(expected);
  });

  test('does not depend on the order of keys', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(canonicalJson(reversed(value))).toBe(canonicalJson(value));
      }),
    );
  });

  test('is what the library of the TUF clients makes of it, whatever the order of keys', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(canonicalJson(value)).toBe(canonicalize(value));
        expect(canonicalJson(reversed(value))).toBe(canonicalize(value));
        const ordered =
          value === null || typeof value !== 'object' ? value : JSON.parse(JSON.stringify(value));
        expect(canonicalJson(ordered)).toBe(canonicalize(ordered));
      }),
    );
    for (const text of ['a\nb', '\\n', '\u0000', '\ud800', '\\', '"', 'ä\u2028'])
      expect(canonicalJson({ [text]: text })).toBe(canonicalize({ [text]: text }));
    for (const odd of [1.5, Number.NaN, undefined, { a: undefined }, [() => 1]])
      expect(() => canonicalJson(odd)).toThrow(TypeError);
  });

  test('is JSON that reads back as the value, as long as no string holds control characters', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(value);
      }),
    );
    // Only quotes and backslashes are escaped; that is how OLPC has it and what other TUF clients hash.
    expect(canonicalJson('a\nb')).toBe('"a\nb"');
  });

  test('has no fractions', () => {
    expect(() => canonicalJson({ ratio: 0.5 })).toThrow(TypeError);
    expect(() => canonicalJson(Number.NaN)).toThrow(TypeError);
  });
});

test('digests are those of the UTF-8 bytes', () => {
  expect(sha256Hex('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      expect(sha256Hex(text)).toBe(sha256(text));
    }),
  );
});

describe('the revision', () => {
  const telemetry: Module = {
    name: 'telemetry',
    version: '2.6.0',
    type: 'docker',
    status: 'running',
    restartPolicy: 'always',
    image: 'registry.example/telemetry:2.6.0',
    env: { LOG: 'info', REGION: 'westus' },
  };
  const adapter: Module = {
    ...telemetry,
    name: 'adapter',
    image: 'registry.example/adapter:1.0.0',
    version: '1.0.0',
  };
  const manifest: Manifest = {
    distributionSet: 'thermostat@2.6.0',
    product: 'thermostat',
    version: '2.6.0',
    modules: [telemetry, adapter],
    routes: { up: 'FROM /messages/* INTO $upstream' },
  };
  const withTelemetry = (changed: Partial<Module>): Manifest => ({
    ...manifest,
    modules: [{ ...telemetry, ...changed }, adapter],
  });

  test('is the SHA-256 of the manifest in canonical JSON', () => {
    expect(revisionOf(manifest)).toBe(`sha256:${sha256(canonicalJson(manifest))}`);
    expect(revisionOf(manifest)).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(shortRevision(revisionOf(manifest))).toBe(sha256(canonicalJson(manifest)).slice(0, 12));
  });

  test('of equal manifests is equal, whatever the order of their keys', () => {
    expect(revisionOf(structuredClone(manifest))).toBe(revisionOf(manifest));
    expect(JSON.stringify(reversed(manifest))).not.toBe(JSON.stringify(manifest));
    expect(revisionOf(reversed(manifest) as Manifest)).toBe(revisionOf(manifest));
  });

  test('changes with everything that a device would run', () => {
    const changed: Manifest[] = [
      { ...manifest, version: '2.6.1' },
      { ...manifest, modules: [adapter, telemetry] },
      { ...manifest, modules: [telemetry] },
      { ...manifest, routes: {} },
      withTelemetry({ version: '2.6.1' }),
      withTelemetry({ type: 'firmware' }),
      withTelemetry({ status: 'stopped' }),
      withTelemetry({ restartPolicy: 'never' }),
      withTelemetry({ image: 'mirror.example/telemetry:2.6.0' }),
      withTelemetry({ env: { LOG: 'debug', REGION: 'westus' } }),
      withTelemetry({ artifacts: [{ name: 'rootfs', sha256: '00', sizeBytes: 1, urls: [] }] }),
    ];
    expect(new Set([manifest, ...changed].map(revisionOf)).size).toBe(changed.length + 1);
  });
});
