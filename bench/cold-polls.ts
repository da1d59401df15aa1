/**
 * Polls that nothing is remembered for: each brings a token to verify and wants an assignment to be signed. What they cost
 * is compared with the two signatures alone, made by node:crypto. The devices' key is known, as it is from their second
 * token on; what importing it would add is measured apart.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { systemClock } from '../src/clock.ts';
import { deviceId, tokenOf } from './fleet.ts';
import { answerOf, costOf, spread, startServer } from './measure.ts';

const DEVICES = 1_000_000;
const POLLS = 40_000;
const ROUNDS = 8;
const CONNECTIONS = 16;

export async function coldPolls(): Promise<readonly string[]> {
  const tidegate = await startServer('tidegate', String(DEVICES));
  const key = createPrivateKey(String(tidegate.ready.privateKey));
  const requests: Buffer[] = [];
  for (let n = 1; n <= POLLS; n++) {
    const id = deviceId(n * (DEVICES / POLLS));
    const token = await tokenOf(id, key, systemClock.now());
    requests.push(
      Buffer.from(
        `GET /v1/devices/${id}/manifest HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer ${token}\r\n\r\n`,
      ),
    );
  }
  const first = await answerOf(tidegate, requests[0] as Buffer, '200');
  const bodyBytes = first.length - first.indexOf('\r\n\r\n') - 4;

  const share = POLLS / ROUNDS;
  const ratios = { ours: [] as number[], withImport: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    const at = round * share;
    const ours = await costOf(tidegate, {
      status: '200',
      requests: (n) => (n < share ? requests[at + n] : undefined),
      connections: CONNECTIONS,
      durationMs: 60_000,
    });
    const raw = signatures(share, key, bodyBytes);
    // The first round warms the code up.
    if (round === 0) continue;
    ratios.ours.push(raw.verifyAndSign / ours.cpuMicros);
    ratios.withImport.push(raw.verifyAndSign / (ours.cpuMicros + raw.importKey));
  }
  await tidegate.stop();
  return [
    `${DEVICES} devices registered, ${POLLS} of them poll with a new token over ${CONNECTIONS} connections`,
    `${spread(ratios.ours)} of the bare signatures (one verified, one made) per second of processor time`,
    `${spread(ratios.withImport)} where the device's public key is not known yet`,
  ];
}

/** Microseconds of processor time that node:crypto takes for each, called directly. */
function signatures(
  count: number,
  device: KeyObject,
  signedBytes: number,
): { importKey: number; verifyAndSign: number } {
  const server = generateKeyPairSync('ed25519').privateKey;
  const publicKey = createPublicKey(device);
  const jwk = publicKey.export({ format: 'jwk' });
  const token = Buffer.alloc(250, 'x');
  const signature = sign(null, token, device);
  const body = Buffer.alloc(signedBytes, 'x');
  return {
    importKey: cpuMicros(count, () => createPublicKey({ key: jwk, format: 'jwk' })),
    verifyAndSign: cpuMicros(count, () => {
      if (!verify(null, token, publicKey, signature)) throw new Error('the signature does not hold');
      sign(null, body, server);
    }),
  };
}

function cpuMicros(count: number, work: () => void): number {
  const before = process.cpuUsage();
  for (let n = 0; n < count; n++) work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}
