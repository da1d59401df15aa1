/**
 * Polls of a fleet in which nothing changes, against a bare node:http server that answers the same bytes and checks
 * nothing.
 */
import { createPrivateKey } from 'node:crypto';
import { systemClock } from '../src/clock.ts';
import { deviceId, tokenOf } from './fleet.ts';
import { answerOf, type Cost, costOf, median, spread, startServer } from './measure.ts';

const DEVICES = 1_000_000;
const POLLING = 20_000;
const CONNECTIONS = 16;
const ROUNDS = 5;
const ROUND_MS = 2000;

export async function warmPolls(): Promise<readonly string[]> {
  const tidegate = await startServer('tidegate', String(DEVICES));
  const polls: Poll[] = [];
  const key = createPrivateKey(String(tidegate.ready.privateKey));
  // Every so many devices one that polls.
  for (let n = 1; n <= POLLING; n++) {
    const id = deviceId(n * (DEVICES / POLLING));
    polls.push({ path: `/v1/devices/${id}/manifest`, token: await tokenOf(id, key, systemClock.now()) });
  }
  const etags: string[] = [];
  let answer200: Buffer = Buffer.alloc(0);
  for (const poll of polls) {
    answer200 = await answerOf(tidegate, requestOf(poll), '200');
    etags.push(/etag: *(\S+)/i.exec(answer200.toString('latin1'))?.[1] ?? '');
  }
  const requests200 = polls.map((poll) => requestOf(poll));
  const requests304 = polls.map((poll, index) => requestOf({ ...poll, etag: etags[index] ?? '' }));
  const answer304 = await answerOf(tidegate, requests304[0] as Buffer, '304');

  const lines = [`${DEVICES} devices registered, ${POLLING} of them poll over ${CONNECTIONS} connections`];
  for (const [status, requests, answer] of [
    ['200', requests200, answer200],
    ['304', requests304, answer304],
  ] as const) {
    const bare = await startServer('same', answer.toString('base64'));
    const measure = (server: typeof bare) =>
      costOf(server, {
        status,
        requests: (n) => requests[n % requests.length],
        connections: CONNECTIONS,
        durationMs: ROUND_MS,
      });
    const rounds: { ours: Cost; theirs: Cost }[] = [];
    await measure(tidegate);
    await measure(bare);
    for (let round = 0; round < ROUNDS; round++) {
      rounds.push({ ours: await measure(tidegate), theirs: await measure(bare) });
    }
    await bare.stop();
    const ratios = rounds.map(({ ours, theirs }) => theirs.cpuMicros / ours.cpuMicros);
    const rate = (whose: 'ours' | 'theirs') =>
      Math.round(median(rounds.map((each) => each[whose].perSecond)));
    lines.push(
      `${status}: ${spread(ratios)} of what a bare node:http server answers per second of processor time; ` +
        `${rate('ours')} polls/s, the bare server ${rate('theirs')}`,
    );
  }
  lines.push(`peak memory of the server: ${Math.round(await tidegate.peakMebibytes())} MiB`);
  await tidegate.stop();
  return lines;
}

interface Poll {
  readonly path: string;
  readonly token: string;
  readonly etag?: string;
}

function requestOf({ path, token, etag }: Poll): Buffer {
  const condition = etag === undefined ? '' : `If-None-Match: ${etag}\r\n`;
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer ${token}\r\n${condition}\r\n`,
  );
}
