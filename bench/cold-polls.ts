/**
 * Polls that nothing is remembered for: each brings a token to verify and wants an assignment to be signed. What they cost
 * is compared with the two signatures alone, made by node:crypto, and with a bare node:http server that makes them and
 * answers the same bytes. The devices' key is known, as it is from their second token on; what importing it would add is
 * measured apart.
 */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { systemClock } from '../src/clock.ts';
import { deviceId, tokenOf } from './fleet.ts';
import { answerOf, costOf, median, spread, startServer } from './measure.ts';
import { createSignatures } from './signatures.ts';

const DEVICES = 1_000_000;
const POLLS = 40_000;
const ROUNDS = 8;
const CONNECTIONS = 16;
const BARE_ROUND_MS = 2000;

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
  const bare = await startServer('sign', first.toString('base64'));
  const bodyBytes = first.length - first.indexOf('\r\n\r\n') - 4;
  const signatures = createSignatures(bodyBytes);
  const jwk = createPublicKey(key).export({ format: 'jwk' });

  const share = POLLS / ROUNDS;
  const rounds: Record<'ours' | 'bare' | 'signatures' | 'importing', number>[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const at = round * share;
    const ours = await costOf(tidegate, {
      status: '200',
      requests: (n) => (n < share ? requests[at + n] : undefined),
      connections: CONNECTIONS,
      durationMs: 60_000,
    });
    const theirs = await costOf(bare, {
      status: '200',
      requests: (n) => requests[n % POLLS],
      connections: CONNECTIONS,
      durationMs: BARE_ROUND_MS,
    });
    const raw = cpuMicros(share, () => {
      signatures.verify();
      signatures.sign();
    });
    const importing = cpuMicros(share, () => createPublicKey({ key: jwk, format: 'jwk' }));
    // The first round warms the code up.
    if (round === 0) continue;
    rounds.push({ ours: ours.cpuMicros, bare: theirs.cpuMicros, signatures: raw, importing });
  }
  await bare.stop();
  await tidegate.stop();
  const ratio = (of: (round: (typeof rounds)[number]) => number) => spread(rounds.map(of));
  const micros = (whose: 'ours' | 'bare' | 'signatures') =>
    `${Math.round(median(rounds.map((round) => round[whose])))} µs`;
  return [
    `${DEVICES} devices registered, ${POLLS} of them poll with a new token over ${CONNECTIONS} connections`,
    `processor time: a poll ${micros('ours')}, the bare server ${micros('bare')}, one signature verified and one made ${micros('signatures')}`,
    `${ratio((round) => round.bare / round.ours)} of a bare node:http server that verifies one signature and makes one`,
    `${ratio((round) => round.signatures / round.ours)} of the two signatures without any server`,
    `${ratio((round) => round.signatures / (round.ours - (round.bare - round.signatures)))} of the two signatures, ` +
      'where what a bare server spends on HTTP is taken off a poll',
    `${ratio((round) => round.signatures / (round.ours + round.importing))} of the two signatures where the device's public key is not known yet`,
  ];
}

/** Microseconds of processor time. */
function cpuMicros(count: number, work: () => void): number {
  const before = process.cpuUsage();
  for (let n = 0; n < count; n++) work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}
