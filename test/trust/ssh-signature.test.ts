/** Signatures are those of the real ssh-keygen, but for security keys, which need hardware: those are made here by the protocol. */
import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  isUsableKey,
  keyFingerprint,
  parseSshSignature,
  type SshSignature,
  verifySshSignature,
} from '../../src/trust/ssh-signature.ts';
import { hasSshKeygen } from './ssh-keys.ts';

const MESSAGE = Buffer.from('tree 0\n\nApprove stage batch\n');

/** Names that every object answers to, whatever it was given. */
const INHERITED = [
  'constructor',
  'toString',
  'valueOf',
  'hasOwnProperty',
  'isPrototypeOf',
  '__proto__',
  '__defineGetter__',
];

test.each(INHERITED)('an algorithm of the name %s proves nothing', (algorithm) => {
  const text = (value: string | Buffer) => {
    const bytes = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const { publicKey } = generateKeyPairSync('ed25519');
  const x = Buffer.from(String(publicKey.export({ format: 'jwk' }).x), 'base64url');
  const key = Buffer.concat([text('ssh-ed25519'), text(x)]).toString('base64');
  const value = Buffer.concat([text(algorithm), text(Buffer.alloc(64))]);
  const forged: SshSignature = { key, namespace: 'git', reserved: Buffer.alloc(0), hash: 'sha512', value };
  expect(verifySshSignature(forged, MESSAGE)).toBe(false);
});

describe.skipIf(!hasSshKeygen())('a signature by ssh-keygen', () => {
  let folder: string;
  const keys: Record<string, readonly string[]> = {
    ed25519: ['-t', 'ed25519'],
    'ecdsa-256': ['-t', 'ecdsa', '-b', '256'],
    'ecdsa-384': ['-t', 'ecdsa', '-b', '384'],
    'ecdsa-521': ['-t', 'ecdsa', '-b', '521'],
    rsa: ['-t', 'rsa', '-b', '2048'],
    short: ['-t', 'rsa', '-b', '1024'],
  };
  const keygen = (...args: readonly string[]) =>
    execFileSync('ssh-keygen', args, { cwd: folder, stdio: 'pipe' });
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tidegate-ssh-'));
    writeFileSync(join(folder, 'message'), MESSAGE);
    for (const [name, args] of Object.entries(keys)) keygen('-q', '-N', '', '-f', name, ...args);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  function signed(key: string, ...options: readonly string[]): SshSignature {
    rmSync(join(folder, 'message.sig'), { force: true });
    keygen('-Y', 'sign', '-n', 'git', '-f', key, ...options, 'message');
    const parsed = parseSshSignature(readFileSync(join(folder, 'message.sig'), 'utf8'));
    if (parsed === undefined) throw new Error('ssh-keygen made what is no signature');
    return parsed;
  }

  test.each(
    Object.keys(keys)
      .filter((key) => key !== 'short')
      .flatMap((key) => [
        [key, 'sha512'],
        [key, 'sha256'],
      ]),
  )('with %s over %s holds for its message and for no other', (key, hash) => {
    const signature = signed(key, '-O', `hashalg=${hash}`);
    expect(signature).toMatchObject({ namespace: 'git', hash });
    expect(verifySshSignature(signature, MESSAGE)).toBe(true);
    expect(verifySshSignature(signature, Buffer.concat([MESSAGE, Buffer.from('\n')]))).toBe(false);
    expect(verifySshSignature({ ...signature, namespace: 'file' }, MESSAGE)).toBe(false);
    expect(
      verifySshSignature({ ...signature, key: signed(key === 'rsa' ? 'ed25519' : 'rsa').key }, MESSAGE),
    ).toBe(false);
  });

  test('names its key as ssh-keygen -l does', () => {
    const printed = keygen('-l', '-f', 'ed25519.pub').toString().split(' ')[1];
    expect(keyFingerprint(signed('ed25519').key)).toBe(printed);
  });

  test('with an RSA key below 2048 bits does not hold', () => {
    const { key } = signed('short');
    expect(isUsableKey(key)).toBe(false);
    expect(verifySshSignature(signed('short'), MESSAGE)).toBe(false);
  });

  test('does not hold with any one of its bytes changed', () => {
    const { value, ...rest } = signed('ecdsa-384');
    for (const index of value.keys()) {
      const changed = Buffer.from(value);
      changed[index] = (changed[index] ?? 0) ^ 1;
      expect(verifySshSignature({ ...rest, value: changed }, MESSAGE), `byte ${index}`).toBe(false);
    }
  });
});

describe('a signature by a security key', () => {
  const ed25519 = generateKeyPairSync('ed25519');
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const kinds = {
    'sk-ssh-ed25519@openssh.com': {
      blob: [text('sk-ssh-ed25519@openssh.com'), text(coordinate(ed25519.publicKey, 'x')), text('ssh:')],
      make: (data: Buffer) => sign(null, data, ed25519.privateKey),
    },
    'sk-ecdsa-sha2-nistp256@openssh.com': {
      blob: [
        text('sk-ecdsa-sha2-nistp256@openssh.com'),
        text('nistp256'),
        text(Buffer.concat([Buffer.of(4), coordinate(p256.publicKey, 'x'), coordinate(p256.publicKey, 'y')])),
        text('ssh:'),
      ],
      make(data: Buffer) {
        const made = sign('sha256', data, { key: p256.privateKey, dsaEncoding: 'ieee-p1363' });
        return Buffer.concat([integer(made.subarray(0, 32)), integer(made.subarray(32))]);
      },
    },
  };

  /** PROTOCOL.u2f: the key signs the application, its flags, a counter and the hash of what SSH signs. */
  function touched(kind: keyof typeof kinds, flags: number): SshSignature {
    const { blob, make } = kinds[kind];
    const rest = Buffer.concat([Buffer.of(flags), Buffer.of(0, 0, 0, 7)]);
    const hash = createHash('sha512').update(MESSAGE).digest();
    const sshsig = Buffer.concat([Buffer.from('SSHSIG'), text('git'), text(''), text('sha512'), text(hash)]);
    const signed = make(Buffer.concat([sha256('ssh:'), rest, sha256(sshsig)]));
    return {
      key: Buffer.concat(blob).toString('base64'),
      namespace: 'git',
      reserved: Buffer.alloc(0),
      hash: 'sha512',
      value: Buffer.concat([text(kind), text(signed), rest]),
    };
  }

  test.each(Object.keys(kinds) as (keyof typeof kinds)[])('%s holds if it was touched', (kind) => {
    expect(verifySshSignature(touched(kind, 1), MESSAGE)).toBe(true);
    expect(verifySshSignature(touched(kind, 1), Buffer.from('other'))).toBe(false);
    expect(verifySshSignature(touched(kind, 0), MESSAGE)).toBe(false);
    const raised = touched(kind, 1);
    const value = Buffer.from(raised.value);
    value[value.length - 1] = 8;
    expect(verifySshSignature({ ...raised, value }, MESSAGE)).toBe(false);
  });
});

describe('whatever else is given', () => {
  const armoured = (content: Uint8Array) =>
    `-----BEGIN SSH SIGNATURE-----\n${Buffer.from(content).toString('base64')}\n-----END SSH SIGNATURE-----\n`;

  test('is no signature, and nothing is thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, magic) => {
        const content = magic ? Buffer.concat([Buffer.from('SSHSIG'), Buffer.of(0, 0, 0, 1), bytes]) : bytes;
        const parsed = parseSshSignature(armoured(content));
        expect(parsed === undefined || !verifySshSignature(parsed, MESSAGE)).toBe(true);
        const key = Buffer.from(bytes).toString('base64');
        expect(
          verifySshSignature(
            { key, namespace: 'git', reserved: bytes, hash: 'sha256', value: bytes },
            MESSAGE,
          ),
        ).toBe(false);
      }),
    );
  });

  test('of more than 16 KiB is not looked at', () => {
    expect(parseSshSignature(armoured(Buffer.alloc(20_000)))).toBeUndefined();
  });

  test('an OpenPGP signature is none of ours', () => {
    expect(
      parseSshSignature('-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n'),
    ).toBeUndefined();
  });
});

function coordinate(key: KeyObject, name: 'x' | 'y'): Buffer {
  return Buffer.from(key.export({ format: 'jwk' })[name] ?? '', 'base64url');
}

function text(content: string | Uint8Array): Buffer {
  const bytes = Buffer.from(content as string);
  return Buffer.concat([Buffer.of(0, 0, bytes.length >> 8, bytes.length & 0xff), bytes]);
}

function integer(bytes: Buffer): Buffer {
  return text((bytes[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes);
}

function sha256(content: string | Uint8Array): Buffer {
  return createHash('sha256').update(content).digest();
}
