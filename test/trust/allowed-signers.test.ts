import { describe, expect, test } from 'vitest';
import { parseAllowedSigners, signerOf } from '../../src/trust/allowed-signers.ts';

/** Ed25519 public keys are any 32 bytes. */
const key = (byte: number) =>
  Buffer.concat([
    Buffer.of(0, 0, 0, 11),
    Buffer.from('ssh-ed25519'),
    Buffer.of(0, 0, 0, 32),
    Buffer.alloc(32, byte),
  ]).toString('base64');
const line = (byte: number) => `ssh-ed25519 ${key(byte)}`;
const at = Date.UTC(2026, 5, 1, 12);
const signs = (text: string, byte: number, when = at) =>
  signerOf(parseAllowedSigners(text), {
    key: key(byte),
    namespace: 'git',
    at: when,
    place: 'trust/allowed_signers',
  });

describe('a line of allowed_signers', () => {
  test.each([
    ['with a comment', `ada@example.org ${line(1)} Ada's laptop`],
    ['with several principals', `ada@example.org,ada@home ${line(1)}`],
    ['in quotes', `"ada@example.org" ${line(1)}`],
    ['with tabs, after a comment and a blank line', `# people\n\n  ada@example.org\t${line(1)}`],
    ['for git', `ada@example.org namespaces="git" ${line(1)}`],
    ['for several namespaces', `ada@example.org namespaces="file,g*" ${line(1)}`],
    ['that is valid now', `ada@example.org valid-after="20260601",valid-before="202606011201Z" ${line(1)}`],
    ['with CRLF', `ada@example.org ${line(1)}\r\n`],
  ])('%s names its signer', (_how, text) => {
    expect(parseAllowedSigners(text).problems).toEqual([]);
    expect(signs(text, 1)).toEqual({ name: 'ada@example.org' });
    expect(signs(text, 2)).toMatchObject({
      refused: expect.stringContaining('is not in trust/allowed_signers'),
    });
  });

  test.each([
    ['of another namespace', `ada@example.org namespaces="file" ${line(1)}`],
    ['that excludes git', `ada@example.org namespaces="*,!git" ${line(1)}`],
    ['not valid yet', `ada@example.org valid-after="20260601120001" ${line(1)}`],
    ['not valid any more', `ada@example.org valid-before="202606011200" ${line(1)}`],
  ])('%s does not count', (_how, text) => {
    expect(parseAllowedSigners(text).problems).toEqual([]);
    expect(signs(text, 1)).toMatchObject({
      refused: expect.stringContaining('does not allow the key of ada@example.org'),
    });
  });

  test.each([
    [
      'a certificate authority',
      `ada@example.org cert-authority ${line(1)}`,
      /^certificates are not accepted/,
    ],
    ['no key', 'ada@example.org', /^a line must be principals/],
    ['a key without principals', line(1), /^a line must be principals/],
    ['an unknown option', `ada@example.org no-pty ${line(1)}`, /^option "no-pty" is not known/],
    [
      'a time that is none',
      `ada@example.org valid-before="soon" ${line(1)}`,
      /^valid-before must be YYYYMMDD/,
    ],
    ['a key of another kind', `ada@example.org ssh-dss ${key(1)}`, /^the ssh-dss key cannot be used/],
    [
      'half a key',
      `ada@example.org ssh-ed25519 ${key(1).slice(0, 40)}`,
      /^the ssh-ed25519 key cannot be used/,
    ],
  ])('with %s adds nobody and says so', (_what, text, message) => {
    const { signers, problems } = parseAllowedSigners(`# first\n${text}\nbo@example.org ${line(2)}`);
    expect(problems).toEqual([{ line: 2, message: expect.stringMatching(message) }]);
    expect(signers.map(({ name }) => name)).toEqual(['bo@example.org']);
  });
});

describe('people', () => {
  const names = (...lines: readonly string[]) =>
    parseAllowedSigners(lines.join('\n')).signers.map(({ name }) => name);

  test('with several keys are one signer', () => {
    expect(names(`ada ${line(1)}`, `bo ${line(2)}`, `ada ${line(3)}`)).toEqual(['ada', 'bo', 'ada']);
  });

  test('under several names with one key are one signer', () => {
    expect(names(`ada ${line(1)}`, `bo ${line(1)}`)).toEqual(['ada', 'ada']);
  });

  test('that turn out to be one through others are one signer', () => {
    expect(names(`ada ${line(1)}`, `bo ${line(2)}`, `ada,bo ${line(3)}`, `bo ${line(4)}`)).toEqual([
      'ada',
      'ada',
      'ada',
      'ada',
    ]);
  });

  test('that a pattern names are told apart by their keys', () => {
    const [first, second] = names(`*@example.org ${line(1)}`, `*@example.org ${line(2)}`);
    expect(first).toMatch(/^SHA256:/);
    expect(second).not.toBe(first);
  });
});
