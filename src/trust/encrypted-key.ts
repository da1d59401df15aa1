/**
 * Private keys under a passphrase: encrypted PKCS8 (RFC 5958) with scrypt (RFC 7914) and AES-256-CBC, as OpenSSL reads and writes
 * it (`openssl pkcs8 -topk8 -scrypt`). Node reads that, too; what it writes by itself uses 2,048 rounds of PBKDF2, which a guesser
 * laughs at.
 */
import { createCipheriv, type KeyObject, scryptSync } from 'node:crypto';

/** OWASP's parameters for 16 MiB, which is as much as OpenSSL takes when it reads. */
const SCRYPT = { N: 2 ** 14, r: 8, p: 5 } as const;
const KEY_BYTES = 32;
export const SALT_BYTES = 16;
export const IV_BYTES = 16;

const PBES2 = '1.2.840.113549.1.5.13';
const SCRYPT_KDF = '1.3.6.1.4.1.11591.4.11';
const AES_256_CBC = '2.16.840.1.101.3.4.1.42';

/** PEM. `salt` and `iv` are random, of their lengths. */
export function encryptPrivateKey(
  key: KeyObject,
  { passphrase, salt, iv }: { readonly passphrase: string; readonly salt: Buffer; readonly iv: Buffer },
): string {
  const { N, r, p } = SCRYPT;
  const derived = scryptSync(Buffer.from(passphrase, 'utf8'), salt, KEY_BYTES, {
    N,
    r,
    p,
    maxmem: 64 * 2 ** 20,
  });
  const cipher = createCipheriv('aes-256-cbc', derived, iv);
  const content = Buffer.concat([
    cipher.update(key.export({ type: 'pkcs8', format: 'der' })),
    cipher.final(),
  ]);
  const kdf = sequence(objectId(SCRYPT_KDF), sequence(octets(salt), integer(N), integer(r), integer(p)));
  const scheme = sequence(objectId(AES_256_CBC), octets(iv));
  const der = sequence(sequence(objectId(PBES2), sequence(kdf, scheme)), octets(content));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${lines.join('\n')}\n-----END ENCRYPTED PRIVATE KEY-----\n`;
}

export function isEncrypted(pem: string): boolean {
  return pem.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----');
}

// As much of DER (X.690) as it takes.

function element(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...bytes]), content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return element(0x30, Buffer.concat(parts));
}

function octets(content: Buffer): Buffer {
  return element(0x04, content);
}

/** Positive. */
function integer(value: number): Buffer {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return element(0x02, (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.from([0]), bytes]));
}

function objectId(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const digits = [part & 0x7f];
    for (let left = Math.floor(part / 128); left > 0; left = Math.floor(left / 128))
      digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return element(0x06, Buffer.from(bytes));
}
