/** What a poll with a new token cannot do without: one signature to verify, one to make, by node:crypto alone. */
import { generateKeyPairSync, sign, verify } from 'node:crypto';

/** The size of a device's token, without its signature. */
const TOKEN_BYTES = 250;

export interface Signatures {
  verify(): void;
  sign(): void;
}

export function createSignatures(signedBytes: number): Signatures {
  const device = generateKeyPairSync('ed25519');
  const server = generateKeyPairSync('ed25519');
  const token = Buffer.alloc(TOKEN_BYTES, 'x');
  const signature = sign(null, token, device.privateKey);
  const body = Buffer.alloc(signedBytes, 'x');
  return {
    verify() {
      if (!verify(null, token, device.publicKey, signature)) throw new Error('the signature does not hold');
    },
    sign() {
      sign(null, body, server.privateKey);
    },
  };
}
