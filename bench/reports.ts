/**
 * Reports that each count and are on disk when they are answered, against a bare node:http server that parses the JSON,
 * drops it and answers the same bytes.
 */
import { createPrivateKey } from 'node:crypto';
import { systemClock } from '../src/clock.ts';
import { deviceId, tokenOf } from './fleet.ts';
import { answerOf, type Cost, costOf, median, spread, startServer } from './measure.ts';

const DEVICES = 1_000_000;
const REPORTING = 20_000;
const CONNECTIONS = 256;
const ROUNDS = 5;
const ROUND_MS = 3000;

export async function reports(): Promise<readonly string[]> {
  const tidegate = await startServer('tidegate', String(DEVICES));
  const key = createPrivateKey(String(tidegate.ready.privateKey));
  const heads: string[] = [];
  for (let n = 1; n <= REPORTING; n++) {
    const id = deviceId(n * (DEVICES / REPORTING));
    const token = await tokenOf(id, key, systemClock.now());
    heads.push(
      `POST /v1/devices/${id}/reports HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer ${token}\r\n` +
        'Content-Type: application/json\r\n',
    );
  }
  let seq = 0;
  const requests = (n: number): Buffer => {
    seq += 1;
    const body = bodyOf(seq);
    return Buffer.from(`${heads[n % heads.length]}Content-Length: ${body.length}\r\n\r\n${body}`);
  };
  const answer = await answerOf(tidegate, requests(0), '202');
  const bare = await startServer('drop', answer.toString('base64'));
  const measure = (server: typeof bare) =>
    costOf(server, { status: '202', requests, connections: CONNECTIONS, durationMs: ROUND_MS });

  const rounds: { ours: Cost; theirs: Cost }[] = [];
  // Every device's token is verified once; the rounds are of devices that go on reporting.
  for (let n = 0; n < REPORTING; n += CONNECTIONS) {
    await Promise.all(
      Array.from({ length: Math.min(CONNECTIONS, REPORTING - n) }, (_, lane) =>
        answerOf(tidegate, requests(n + lane), '202'),
      ),
    );
  }
  await measure(tidegate);
  await measure(bare);
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push({ ours: await measure(tidegate), theirs: await measure(bare) });
  }
  const ratios = rounds.map(({ ours, theirs }) => theirs.cpuMicros / ours.cpuMicros);
  const rate = (whose: 'ours' | 'theirs') => Math.round(median(rounds.map((each) => each[whose].perSecond)));
  const peak = Math.round(await tidegate.peakMebibytes());
  await bare.stop();
  await tidegate.stop();
  return [
    `${DEVICES} devices registered, ${REPORTING} of them report over ${CONNECTIONS} connections`,
    `${spread(ratios)} of what a bare node:http server parses and drops per second of processor time; ` +
      `${rate('ours')} durable reports/s, the bare server ${rate('theirs')}`,
    `peak memory of the server: ${peak} MiB`,
  ];
}

function bodyOf(seq: number): string {
  const revision = `sha256:${'a'.repeat(64)}`;
  return JSON.stringify({
    bootId: 'boot-1',
    seq,
    generation: 1,
    running: revision,
    attempt: { revision, state: 'succeeded' },
    signals: { healthy: true, gap: '3.2s', drops: 0 },
    exposureHours: 0.25,
    events: { crash: 0 },
  });
}
