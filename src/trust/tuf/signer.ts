/**
 * Who signs metadata. A signer may be a key in this process or a service that keeps one (a KMS, an HSM): it is asked for a
 * signature and gives nothing else away.
 */
import { sign } from 'node:crypto';
import type { SigningKey } from '../signing-key.ts';
import { type Envelope, keyIdOf, type Signed, signedBytes, type TufKey, tufKey } from './metadata.ts';

export interface Signer {
  readonly keyid: string;
  readonly key: TufKey;
  /** The raw Ed25519 signature over `bytes`, 64 bytes long. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/** A key that lies in this process. */
export function localSigner(key: SigningKey): Signer {
  const publicKey = tufKey(key.publicJwk.x);
  return {
    keyid: keyIdOf(publicKey),
    key: publicKey,
    sign: async (bytes) => sign(null, bytes, key.private),
  };
}

/** The metadata with a signature of each signer, in order of key id. */
export async function signMetadata<Content extends Signed>(
  signed: Content,
  signers: readonly Signer[],
): Promise<Envelope<Content>> {
  const bytes = signedBytes(signed);
  const signatures = await Promise.all(
    signers.map(async (signer) => ({
      keyid: signer.keyid,
      sig: Buffer.from(await signer.sign(bytes)).toString('hex'),
    })),
  );
  return { signatures: signatures.sort((a, b) => (a.keyid < b.keyid ? -1 : 1)), signed };
}
