/**
 * From a commit to the first device that fetches the manifest that it asks for, over each way to the repository and each
 * engine; and how long the server's thread does nothing else for loading, planning and publishing on the way.
 *
 * One device polls without a pause but a short one. A release gives a rollout another distribution set, and its first stage
 * takes every device; the revert of that commit gives known-good back.
 */
import { fork } from 'node:child_process';
import { createHmac, createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { realNow, systemClock } from '../src/clock.ts';
import type { DeviceId } from '../src/core/model/ids.ts';
import { MINUTE } from '../src/core/model/time.ts';
import type { Git, Oid } from '../src/git/git.ts';
import { openRepository } from '../src/git/local.ts';
import { createNativeEngine } from '../src/git/native/engine.ts';
import { type PathContent, withChanges } from '../src/git/tree.ts';
import type { PassStep } from '../src/reconcile/reconciler.ts';
import { signDeviceToken } from '../src/trust/device-token.ts';
import { startGitServer } from '../test/git/git-server.ts';
import { rolloutOf, setOf } from './fleet-files.ts';
import { makeFleetRepository } from './fleet-repository.ts';
import type { Waited } from './turns.ts';

export type ToServer = 'figures' | 'stop';
export type FromServer =
  | { readonly kind: 'step'; readonly step: Step; readonly at: number }
  | { readonly kind: 'figures'; readonly waited: Waited; readonly peakMebibytes: number }
  | {
      readonly kind: 'ready';
      readonly port: number;
      readonly privateKey: string;
      readonly openMs: number;
      readonly openWaited: Waited;
      readonly coldMs: number;
      readonly coldWaited: Waited;
    };

/** What a pass comes to, with its beginning and its end. */
type Step = PassStep | 'begun' | 'passed';

const SECRET = 'bench-bench-bench-bench';
const POLL_PAUSE_MS = 4;
/** More than the second that a server leaves between two looks at a remote: releases are seldom that close. */
const PAUSE_MS = { local: 300, http: 1300 } as const;
const WARM_UP = 3;

/** `BENCH_FILES` is a list of sizes, `BENCH_SAMPLES` a number of releases for each. */
export async function* releases(): AsyncGenerator<string> {
  const sizes = (process.env['BENCH_FILES'] ?? '2000,20000').split(',').map(Number);
  const samples = Number(process.env['BENCH_SAMPLES'] ?? 100);
  for (const files of sizes) {
    for (const way of ['local', 'http'] as const) {
      for (const engine of ['isomorphic', 'native'] as const) {
        yield* await measure({ files, way, engine, samples });
      }
    }
  }
}

interface Case {
  readonly files: number;
  readonly way: 'local' | 'http';
  readonly engine: 'isomorphic' | 'native';
  readonly samples: number;
}

async function measure({ files, way, engine, samples }: Case): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
  const path = await makeFleetRepository(folder, files);
  const forge = way === 'http' ? await startGitServer(folder) : undefined;
  const repo = forge === undefined ? path : `${forge.url}/fleet.git`;
  const server = await startReleaseServer([repo, engine, folder]);
  const person = await openRepository(path, {
    engine: createNativeEngine(),
    identity: 'Ada <ada@example.org>',
  });
  try {
    const taken: Record<Commit, Sample[]> = { release: [], revert: [] };
    for (let n = 1; n <= WARM_UP + samples; n++) {
      if (n === WARM_UP + 1) await server.figures();
      for (const commit of ['release', 'revert'] as const) {
        const sample = await timed(server, { person, way, n, commit });
        if (n > WARM_UP) taken[commit].push(sample);
      }
    }
    const { waited, peakMebibytes } = await server.figures();
    const { openMs, openWaited, coldMs, coldWaited } = server.ready;
    return [
      `${files} files, ${way === 'http' ? 'over HTTP, with a webhook' : 'local'}, engine ${engine}, ${samples} of each`,
      ...(['release', 'revert'] as const).map(
        (commit) => `  ${commit}: ${summary(taken[commit], PARTS[commit])}`,
      ),
      `  the thread did nothing else for at most ${longest(waited)} between the commit and the manifest, ${longest(coldWaited)} in the ` +
        `first pass (${ms(coldMs)} in all), ${longest(openWaited)} in opening the repository (${ms(openMs)}); ` +
        `peak memory ${Math.round(peakMebibytes)} MiB`,
    ];
  } finally {
    await server.stop();
    await person.close();
    await forge?.close();
    await rm(folder, { recursive: true });
  }
}

type Commit = 'release' | 'revert';

/** When what was reached, in milliseconds after the commit. */
type Sample = ReadonlyMap<Step | 'fetched', number>;

async function timed(
  server: ReleaseServer,
  given: { person: Git; way: Case['way']; n: number; commit: Commit },
): Promise<Sample> {
  const { person, way, n, commit } = given;
  await server.rests(PAUSE_MS[way]);
  const version = commit === 'release' ? `2.${n}.0` : '1.0.0';
  const from = (await person.branch('main')) ?? '';
  const to = commit === 'release' ? await releaseOn(person, from, version) : await revertOf(person, from);
  server.steps.length = 0;
  const committedAt = realNow();
  await person.moveBranch({ branch: 'main', from, to });
  if (way === 'http') await server.tellOfPush();
  const fetchedAt = await server.pollUntil(version);
  const sample = new Map<Step | 'fetched', number>([['fetched', fetchedAt - committedAt]]);
  for (const { step, at } of server.steps) if (!sample.has(step)) sample.set(step, at - committedAt);
  return sample;
}

async function releaseOn(git: Git, parent: Oid, version: string): Promise<Oid> {
  const texts = {
    'fleet/rollouts/part-1/app-1.yaml': rolloutOf(1, version),
    [`fleet/distribution-sets/part-1/app-1-${version}.yaml`]: setOf(1, version),
  };
  const changes = new Map<string, PathContent>();
  for (const [path, text] of Object.entries(texts)) {
    changes.set(path, { mode: '100644', oid: await git.writeBlob(Buffer.from(text)) });
  }
  const tree = await withChanges(git, (await git.commit(parent)).tree, changes);
  return await git.writeCommit({ tree, parents: [parent], message: 'Release\n', at: systemClock.now() });
}

async function revertOf(git: Git, commit: Oid): Promise<Oid> {
  const [before = ''] = (await git.commit(commit)).parents;
  const { tree } = await git.commit(before);
  return await git.writeCommit({ tree, parents: [commit], message: 'Revert\n', at: systemClock.now() });
}

type ReleaseServer = Awaited<ReturnType<typeof startReleaseServer>>;

async function startReleaseServer(args: readonly string[]) {
  const child = fork(new URL('./release-server.ts', import.meta.url), args);
  const steps: { readonly step: Step; readonly at: number }[] = [];
  const answers = new Map<FromServer['kind'], (message: FromServer) => void>();
  let steppedAt = 0;
  child.on('message', (message: FromServer) => {
    if (message.kind !== 'step') return answers.get(message.kind)?.(message);
    steps.push(message);
    steppedAt = realNow();
  });
  const answer = <K extends FromServer['kind']>(kind: K) =>
    new Promise<Extract<FromServer, { kind: K }>>((resolve, reject) => {
      answers.set(kind, (message) => resolve(message as Extract<FromServer, { kind: K }>));
      child.once('exit', () => reject(new Error('the server ended')));
    });
  const ready = await answer('ready');
  const url = `http://127.0.0.1:${ready.port}`;
  const privateKey = createPrivateKey(ready.privateKey);
  const ask = (question: ToServer) => void child.send(question);

  return {
    ready,
    steps,
    figures() {
      const told = answer('figures');
      ask('figures');
      return told;
    },
    /** Resolves when no pass has come any further for a while. */
    async rests(pauseMs: number): Promise<void> {
      for (let restMs = pauseMs; restMs > 0; restMs = steppedAt + pauseMs - realNow()) await wait(restMs);
    },
    async tellOfPush(): Promise<void> {
      const signature = createHmac('sha256', SECRET).update('{}').digest('hex');
      const headers = { 'x-hub-signature-256': `sha256=${signature}`, 'x-github-event': 'push' };
      const { status } = await fetch(`${url}/webhooks/git`, { method: 'POST', headers, body: '{}' });
      if (status !== 202) throw new Error(`the webhook answered ${status}`);
    },
    /** Polls as a device until its assignment names the version; resolves to when that was. */
    async pollUntil(version: string): Promise<number> {
      const now = systemClock.now();
      const token = await signDeviceToken({
        id: 'device' as DeviceId,
        fleet: 'bench',
        privateKey,
        now,
        lifetimeMs: 10 * MINUTE,
      });
      for (let etag = ''; ; await wait(POLL_PAUSE_MS)) {
        const headers = {
          authorization: `Bearer ${token}`,
          ...(etag === '' ? {} : { 'if-none-match': etag }),
        };
        const response = await fetch(`${url}/v1/devices/device/manifest`, { headers });
        const body = await response.text();
        if (response.status === 304) continue;
        if (response.status !== 200) throw new Error(`the poll was answered ${response.status}: ${body}`);
        etag = response.headers.get('etag') ?? '';
        const claims = Buffer.from(body.split('.')[1] ?? '', 'base64url').toString();
        if (claims.includes(`app-1@${version}`)) return realNow();
      }
    },
    async stop() {
      ask('stop');
      await once(child, 'exit');
    },
  };
}

type Part = readonly [what: string, until: Step | 'fetched'];

const READING: readonly Part[] = [
  ['noticed and fetched', 'begun'],
  ['read', 'read'],
  ['planned', 'planned'],
];

/** What the way of a commit is made of. What goes back is served before the commit that records it. */
const PARTS: Readonly<Record<Commit, readonly Part[]>> = {
  release: [
    ...READING,
    ['noted', 'closed'],
    ['written', 'written'],
    ['recorded', 'recorded'],
    ['published', 'opened'],
    ['polled', 'fetched'],
  ],
  revert: [...READING, ['published', 'closed'], ['polled', 'fetched']],
};

/** Of the whole, and of its parts: their medians, and what they were in the slowest one. */
function summary(samples: readonly Sample[], parts: readonly Part[]): string {
  const at = (sample: Sample, step: Step | 'fetched') => sample.get(step) ?? Number.NaN;
  const whole = samples.map((sample) => at(sample, 'fetched'));
  const times = parts.map(([, until], index) => {
    const since = parts[index - 1]?.[1];
    return samples.map((sample) => at(sample, until) - (since === undefined ? 0 : at(sample, since)));
  });
  const named = (of: (part: readonly number[]) => number) =>
    parts.map(([what], index) => `${what} ${ms(of(times[index] ?? []))}`).join(', ');
  const slowest = whole.indexOf(Math.max(...whole));
  return (
    `p50 ${ms(quantile(whole, 0.5))} (${named((part) => quantile(part, 0.5))}), ` +
    `p99 ${ms(quantile(whole, 0.99))} (the slowest: ${named((part) => part[slowest] ?? Number.NaN)})`
  );
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function longest({ cpuMsMax, msMax }: Waited): string {
  return `${ms(cpuMsMax)} of processor time (${ms(msMax)} of real time)`;
}

function ms(duration: number): string {
  return `${Math.round(duration)} ms`;
}
