/**
 * SSH signatures as git makes them (`gpg.format = ssh`): OpenSSH's PROTOCOL.sshsig, with node:crypto. Verified are Ed25519,
 * ECDSA, RSA with SHA-2, and the two kinds of security key (PROTOCOL.u2f), which must have been touched. Certificates
 * are not accepted. Whose key it is, allowed-signers.ts says. Bytes come from anybody: nothing here throws on them.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { SigningKey } from './signing-key.ts';

/** What an armoured signature says of itself; nothing of it is proved yet. */
export interface SshSignature {
  /** The public key as SSH encodes it, in base64: what stands in `allowed_signers`. */
  readonly key: string;
  /** What kind of thing was signed: git writes `git`. */
  readonly namespace: string;
  readonly reserved: Uint8Array;
  readonly hash: 'sha256' | 'sha512';
  /** The algorithm's name and what it made, as SSH encodes them. */
  readonly value: Uint8Array;
}

/** A commit's signature is a few hundred characters; RSA's longest is below 5,000. */
const ARMOURED_MAX = 16 * 1024;
const ARMOUR = /^-----BEGIN SSH SIGNATURE-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END SSH SIGNATURE-----\s*$/;
const MAGIC = 'SSHSIG';
const VERSION = 1;

/** An Ed25519 key as it stands in `allowed_signers`, in base64, after `ssh-ed25519 `. */
export function sshPublicKey({ publicJwk }: Pick<SigningKey, 'publicJwk'>): string {
  const wire = [wireBytes('ssh-ed25519'), wireBytes(Buffer.from(publicJwk.x, 'base64url'))];
  return Buffer.concat(wire).toString('base64');
}

/** What `git commit -S` would make of a commit with that key, armoured. */
export function signSsh(message: Uint8Array, key: SigningKey): string {
  const [namespace, hash] = ['git', 'sha512'];
  const digest = createHash(hash).update(message).digest();
  const fields = [wireBytes(namespace), wireBytes(''), wireBytes(hash)];
  const made = sign(null, Buffer.concat([Buffer.from(MAGIC), ...fields, wireBytes(digest)]), key.private);
  const version = Buffer.alloc(4);
  version.writeUInt32BE(VERSION);
  const signature = Buffer.concat([wireBytes('ssh-ed25519'), wireBytes(made)]);
  const blob = Buffer.concat([
    Buffer.from(MAGIC),
    version,
    wireBytes(Buffer.from(sshPublicKey(key), 'base64')),
    ...fields,
    wireBytes(signature),
  ]);
  const lines = blob.toString('base64').match(/.{1,70}/g) ?? [];
  return `-----BEGIN SSH SIGNATURE-----\n${lines.join('\n')}\n-----END SSH SIGNATURE-----\n`;
}

/** Undefined where `armoured` is no SSH signature, of whatever kind of nonsense. */
export function parseSshSignature(armoured: string): SshSignature | undefined {
  if (armoured.length > ARMOURED_MAX) return undefined;
  const [, base64] = ARMOUR.exec(armoured) ?? [];
  if (base64 === undefined) return undefined;
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined;
  const wire = wireReader(bytes.subarray(MAGIC.length));
  const version = wire.number();
  const key = wire.bytes();
  const namespace = wire.text();
  const reserved = wire.bytes();
  const hash = wire.text();
  const value = wire.bytes();
  if (version !== VERSION || !wire.isAtEnd() || namespace === '') return undefined;
  if (hash !== 'sha256' && hash !== 'sha512') return undefined;
  return { key: key.toString('base64'), namespace, reserved, hash, value };
}

/** Whether the holder of the key that `signature` names signed `message`. */
export function verifySshSignature(signature: SshSignature, message: Uint8Array): boolean {
  const { namespace, reserved, hash, value } = signature;
  const key = parseKey(Buffer.from(signature.key, 'base64'));
  if (key === undefined) return false;
  const wire = wireReader(value);
  const algorithm = wire.text();
  const made = wire.bytes();
  const scheme = key.schemes.get(algorithm);
  if (scheme === undefined) return false;
  const signed = Buffer.concat([
    Buffer.from(MAGIC),
    wireBytes(namespace),
    wireBytes(reserved),
    wireBytes(hash),
    wireBytes(createHash(hash).update(message).digest()),
  ]);
  let covered: Buffer = signed;
  if (key.application !== undefined) {
    const flags = wire.raw(1);
    const counter = wire.raw(4);
    // Bit 0: somebody touched it. An approval is an act of a person, not of whatever has the key plugged in.
    if (((flags[0] ?? 0) & 1) === 0) return false;
    covered = Buffer.concat([sha256(Buffer.from(key.application)), flags, counter, sha256(signed)]);
  }
  return wire.isAtEnd() && scheme(key.key, covered, made) === true;
}

/** `SHA256:…`, as ssh-keygen prints a key. */
export function keyFingerprint(key: string): string {
  return `SHA256:${sha256(Buffer.from(key, 'base64')).toString('base64').replace(/=+$/, '')}`;
}

/** Whether `key` (base64) is a public key whose signatures can be verified here. */
export function isUsableKey(key: string): boolean {
  return parseKey(Buffer.from(key, 'base64')) !== undefined;
}

interface PublicKey {
  readonly key: KeyObject;
  /** Verifiers by the name of the signature's algorithm: an RSA key has two. */
  readonly schemes: ReadonlyMap<string, Scheme>;
  /** Of a security key: what it was made for (`ssh:`). */
  readonly application?: string;
}

type Scheme = (key: KeyObject, signed: Buffer, made: Buffer) => boolean;

const CURVES: Readonly<
  Record<string, { readonly crv: string; readonly bytes: number; readonly hash: string }>
> = {
  nistp256: { crv: 'P-256', bytes: 32, hash: 'sha256' },
  nistp384: { crv: 'P-384', bytes: 48, hash: 'sha384' },
  nistp521: { crv: 'P-521', bytes: 66, hash: 'sha512' },
};
const RSA_BITS = { min: 2048, max: 16_384 };

function parseKey(blob: Buffer): PublicKey | undefined {
  const wire = wireReader(blob);
  const type = wire.text();
  try {
    const key = keyOfType(type, wire);
    return wire.isAtEnd() ? key : undefined;
  } catch {
    // A point that is on no curve, a modulus that is none: node:crypto says so by throwing.
    return undefined;
  }
}

function keyOfType(type: string, wire: WireReader): PublicKey | undefined {
  switch (type) {
    case 'ssh-ed25519':
      return { key: ed25519Key(wire), schemes: new Map([[type, isEd25519]]) };
    case 'sk-ssh-ed25519@openssh.com':
      return { key: ed25519Key(wire), application: wire.text(), schemes: new Map([[type, isEd25519]]) };
    case 'ssh-rsa': {
      const [e, n] = [wire.integer(), wire.integer()];
      const bits = n.length * 8;
      if (bits < RSA_BITS.min || bits > RSA_BITS.max) return undefined;
      const key = createPublicKey({ key: { kty: 'RSA', n: url(n), e: url(e) }, format: 'jwk' });
      // `ssh-rsa` itself would be SHA-1, which proves nothing any more.
      const schemes = new Map([
        ['rsa-sha2-256', isRsa('sha256')],
        ['rsa-sha2-512', isRsa('sha512')],
      ]);
      return { key, schemes };
    }
    case 'ecdsa-sha2-nistp256':
    case 'ecdsa-sha2-nistp384':
    case 'ecdsa-sha2-nistp521':
      return ecdsaKey(type, type.slice('ecdsa-sha2-'.length), wire);
    case 'sk-ecdsa-sha2-nistp256@openssh.com': {
      const key = ecdsaKey(type, 'nistp256', wire);
      return key && { ...key, application: wire.text() };
    }
    default:
      return undefined;
  }
}

function ed25519Key(wire: WireReader): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: url(wire.bytes()) }, format: 'jwk' });
}

function ecdsaKey(type: string, curve: string, wire: WireReader): PublicKey | undefined {
  const parameters = CURVES[curve];
  const named = wire.text();
  const point = wire.bytes();
  // 4: the point is not compressed. SSH knows no other form.
  if (parameters === undefined || named !== curve || point[0] !== 4) return undefined;
  const { crv, bytes, hash } = parameters;
  if (point.length !== 1 + 2 * bytes) return undefined;
  const jwk = { kty: 'EC', crv, x: url(point.subarray(1, 1 + bytes)), y: url(point.subarray(1 + bytes)) };
  return {
    key: createPublicKey({ key: jwk, format: 'jwk' }),
    schemes: new Map([[type, isEcdsa(hash, bytes)]]),
  };
}

const isEd25519: Scheme = (key, signed, made) => verify(null, signed, key, made);

function isRsa(hash: string): Scheme {
  return (key, signed, made) => verify(hash, signed, key, made);
}

function isEcdsa(hash: string, bytes: number): Scheme {
  return (key, signed, made) => {
    const wire = wireReader(made);
    const [r, s] = [wire.integer(), wire.integer()];
    if (!wire.isAtEnd() || r.length > bytes || s.length > bytes) return false;
    const fixed = Buffer.alloc(2 * bytes);
    r.copy(fixed, bytes - r.length);
    s.copy(fixed, 2 * bytes - s.length);
    return verify(hash, signed, { key, dsaEncoding: 'ieee-p1363' }, fixed);
  };
}

/**
 * Reads SSH's encoding (RFC 4251 §5). Past the end everything is empty and {@link WireReader.isAtEnd} is false for ever,
 * so that callers look once, at the end.
 */
interface WireReader {
  number(): number;
  bytes(): Buffer;
  text(): string;
  /** A positive integer without its leading zeros. */
  integer(): Buffer;
  raw(length: number): Buffer;
  isAtEnd(): boolean;
}

function wireReader(content: Uint8Array): WireReader {
  const buffer = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  let at = 0;
  let isShort = false;
  const raw = (length: number): Buffer => {
    if (isShort || length > buffer.length - at) {
      isShort = true;
      return Buffer.alloc(0);
    }
    at += length;
    return buffer.subarray(at - length, at);
  };
  const number = (): number => {
    const four = raw(4);
    return four.length === 4 ? four.readUInt32BE() : 0;
  };
  const bytes = () => raw(number());
  return {
    number,
    bytes,
    raw,
    text: () => bytes().toString('latin1'),
    integer() {
      const value = bytes();
      // The sign bit: OpenSSH never writes a negative number.
      if (((value[0] ?? 0) & 0x80) !== 0) isShort = true;
      const first = value.findIndex((byte) => byte !== 0);
      return first === -1 ? Buffer.alloc(0) : value.subarray(first);
    },
    isAtEnd: () => !isShort && at === buffer.length,
  };
}

/** A string as SSH encodes it: its length, then its bytes. */
function wireBytes(content: string | Uint8Array): Buffer {
  const bytes = typeof content === 'string' ? Buffer.from(content, 'latin1') : content;
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}
