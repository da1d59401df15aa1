/**
 * Keys that a key management service holds, for `TIDEGATE_SIGNERS=examples/kms-signer.mjs tidegate serve …` and for
 * `tidegate trust sign --signer examples/kms-signer.mjs`.
 *
 * It speaks the two calls of AWS KMS that Ed25519 keys need (key spec ECC_NIST_EDWARDS25519), GetPublicKey and Sign with
 * ED25519_SHA_512 over the raw message, to whatever KMS_ENDPOINT names: a local proxy that adds the credentials. With an SDK,
 * put its client in place of `call`.
 *
 * KMS_KEY_MANIFESTS, KMS_KEY_SNAPSHOT, KMS_KEY_TIMESTAMP: the server's keys by id. KMS_KEY_PERSON: a person's.
 */
const NAMES = ['manifests', 'snapshot', 'timestamp', 'person'];
/** A service that does not answer must not keep a pass waiting: it tries again, and `status` says what is missing. */
const ANSWER_MS_MAX = 10_000;

/** By name: a public key in PEM, and what signs with its private half, which never leaves the service. */
export default async function signers(env = process.env) {
  const made = {};
  for (const name of NAMES) {
    const KeyId = env[`KMS_KEY_${name.toUpperCase()}`];
    if (!KeyId) continue;
    const { PublicKey } = await call('GetPublicKey', { KeyId }, env);
    made[name] = {
      publicKey: `-----BEGIN PUBLIC KEY-----\n${PublicKey}\n-----END PUBLIC KEY-----\n`,
      async sign(bytes) {
        const Message = Buffer.from(bytes).toString('base64');
        const request = { KeyId, Message, MessageType: 'RAW', SigningAlgorithm: 'ED25519_SHA_512' };
        const { Signature } = await call('Sign', request, env);
        return Buffer.from(Signature, 'base64');
      },
    };
  }
  return made;
}

async function call(action, body, env) {
  const response = await fetch(env.KMS_ENDPOINT ?? 'http://127.0.0.1:4566', {
    method: 'POST',
    headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': `TrentService.${action}` },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
  });
  if (!response.ok) throw new Error(`the KMS answers ${action} with HTTP ${response.status}`);
  return await response.json();
}
