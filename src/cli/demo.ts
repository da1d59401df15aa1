/**
 * `tidegate demo`: the main job from end to end, with time compressed. A real bare repository, the embedded database,
 * real HTTP on loopback and virtual devices that verify what they fetch; nothing else is needed.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { type Clock, realNow, scaledClock, systemClock, type TimeScale } from '../clock.ts';
import { DAY, HOUR, SECOND } from '../core/model/time.ts';
import { readFolder } from '../fleet-repo/snapshot.ts';
import type { Git } from '../git/git.ts';
import { createBareRepository, openRepository } from '../git/local.ts';
import { withChanges } from '../git/tree.ts';
import { listen } from '../http/listen.ts';
import { createService, type Service } from '../service.ts';
import type { FleetWorkerData } from '../simulate/fleet-worker.ts';
import { chaptersDone, checkStory, STORY, storyDevices } from '../simulate/story.ts';
import type { SimulatedIdentity } from '../simulate/virtual-device.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import { mintEnrolmentToken } from '../trust/enrolment.ts';
import { type Keys, openKeys } from '../trust/keys.ts';
import { createDemoView, type DemoView } from './demo-view.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import { newRepository } from './init.ts';
import type { Io } from './io.ts';

export interface DemoOptions {
  readonly once: boolean;
  readonly data?: string;
}

/** An hour passes in two and a half seconds. */
const RATE = 1440;
/** The story takes about half of this by the clock of its devices: it ends near the present, not in the future. */
const STORY_BEGAN_MS_AGO = 20 * HOUR;
/** Real time after which the story has failed. */
const PATIENCE_MS = 150 * SECOND;
const BRANCH = 'main';

export async function run(options: DemoOptions, io: Io): Promise<ExitCode> {
  const interrupted = io.interrupted();
  const folder = await dataFolder(options.data);
  const view = createDemoView(io.out);
  const scale = { startAt: systemClock.now() - STORY_BEGAN_MS_AGO, startedAt: realNow(), rate: RATE };
  const clock = scaledClock(scale);
  const path = join(folder, 'fleet.git');
  await createBareRepository(path, { defaultBranch: BRANCH });
  const git = await openRepository(path, { identity: 'Ada Example <ada@example.org>' });
  const keys = await openKeys(join(folder, 'keys'));
  const store = await openSqliteStore(join(folder, 'tidegate.db'), { epoch: randomUUID });
  const service = createService(
    {
      git: await openRepository(path),
      store,
      keys,
      clock,
      randomHex: () => randomBytes(16).toString('hex'),
      onEvent: (event) => view.event(event, service.reconciler.state()),
    },
    // A minute of the devices' time is a twenty-fourth of a second here.
    { branch: BRANCH, settleMs: 60 * SECOND, idleMs: HOUR },
  );
  const server = await listen(service.app, { host: '127.0.0.1', port: 0 }, service.direct);
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, interrupted]);
  const identities = storyDevices();
  view.opening({ repository: display(path), url: server.url, devices: identities.length, rate: RATE });

  await importExample(git, clock);
  const reconciling = service.reconciler.run(signal);
  while (service.reconciler.state().published === undefined && !signal.aborted) await wait(5);
  const fleet = await startFleet({ service, keys, clock, scale, url: server.url, identities, view });
  const held = await playStory({ git, service, clock, signal, view });
  const claims = checkStory(service.reconciler.state());
  if (!interrupted.aborted)
    view.ending({
      claims,
      repository: display(path),
      kept: options.data !== undefined || !options.once,
      state: service.reconciler.state(),
    });
  if (!options.once && !interrupted.aborted && held) {
    view.serving({ url: server.url, repository: display(path), kept: options.data !== undefined });
    await new Promise<void>((end) => interrupted.addEventListener('abort', () => end(), { once: true }));
  }

  stop.abort();
  await fleet.stop();
  await reconciling;
  await service.close();
  await server.close();
  await store.close();
  view.close();
  if (options.data === undefined) await rm(folder, { recursive: true });
  if (interrupted.aborted && !options.once) return EXIT.fine;
  return held && claims.every(({ holds }) => holds) ? EXIT.fine : EXIT.problems;
}

async function dataFolder(data: string | undefined): Promise<string> {
  if (data === undefined) return mkdtemp(join(tmpdir(), 'tidegate-demo-'));
  const folder = resolve(data);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if ((await readdir(folder)).includes('fleet.git')) {
    throw new CommandError(
      `${data} holds the repository of an earlier demo; name another folder, or delete it`,
    );
  }
  return folder;
}

/** The path as a person would type it here. */
function display(path: string): string {
  const near = relative(process.cwd(), path);
  return near.startsWith('..') ? path : near;
}

/** The first commit: what `tidegate init` makes. */
async function importExample(git: Git, clock: Clock): Promise<void> {
  const files = Object.fromEntries(await newRepository());
  await commit(git, { message: 'Release thermostat 2.5.0\n\nThe fleet begins.\n', files, at: clock.now() });
}

async function commit(
  git: Git,
  given: { message: string; files: Readonly<Record<string, string>>; at: number },
): Promise<string> {
  const parent = await git.branch(BRANCH);
  const base = parent === undefined ? undefined : (await git.commit(parent)).tree;
  const changes = new Map<string, { mode: string; oid: string }>();
  for (const [path, text] of Object.entries(given.files)) {
    changes.set(path, { mode: '100644', oid: await git.writeBlob(new TextEncoder().encode(text)) });
  }
  const tree = await withChanges(git, base, changes);
  const parents = parent === undefined ? [] : [parent];
  const oid = await git.writeCommit({ tree, parents, message: given.message, at: given.at });
  const moved = await git.moveBranch({ branch: BRANCH, from: parent, to: oid });
  if (moved.kind !== 'moved') throw new Error(`main moved while the story was being told (${moved.kind})`);
  return oid;
}

/** Starts the devices, each with an enrolment token of its own, in a thread of their own. */
async function startFleet(given: {
  service: Service;
  keys: Keys;
  clock: Clock;
  scale: TimeScale;
  url: string;
  identities: readonly SimulatedIdentity[];
  view: DemoView;
}): Promise<{ stop(): Promise<void> }> {
  const { service, keys, clock, scale, url, identities, view } = given;
  const fleet = service.reconciler.state().published?.program.fleet ?? '';
  const pollMs = service.reconciler.state().published?.program.pollIntervalMs ?? HOUR;
  const devices = await Promise.all(
    identities.map(async (identity) => {
      const { id, tags } = identity;
      const times = { now: clock.now(), expiresAt: clock.now() + DAY };
      return { identity, enrolmentToken: await mintEnrolmentToken(keys, { fleet, id, tags, ...times }) };
    }),
  );
  const workerData: FleetWorkerData = { server: url, fleet, pollMs, scale, devices };
  const worker = new Worker(new URL('../simulate/fleet-worker.ts', import.meta.url), { workerData });
  worker.on('message', (refusal: string) => view.refused(refusal));
  const exited = once(worker, 'exit');
  return {
    async stop() {
      worker.postMessage('stop');
      await exited;
    },
  };
}

/** Commits each chapter when the one before has come to its end. False where one did not in time. */
async function playStory(given: {
  git: Git;
  service: Service;
  clock: Clock;
  signal: AbortSignal;
  view: DemoView;
}): Promise<boolean> {
  const { git, service, clock, signal, view } = given;
  const deadline = performance.now() + PATIENCE_MS;
  for (let chapter = 1; chapter <= STORY.length + 1; chapter++) {
    while (chaptersDone(service.reconciler.state()) < chapter) {
      if (signal.aborted || performance.now() > deadline) return false;
      view.progress(service.reconciler.state(), clock.now());
      await wait(100);
    }
    const next = STORY[chapter - 1];
    if (next === undefined) break;
    const files = next.edit(await filesOf(git));
    view.committed(next.message, await commit(git, { message: next.message, files, at: clock.now() }));
  }
  return true;
}

/** The texts under `fleet/` at the tip of main, by path. */
async function filesOf(git: Git): Promise<ReadonlyMap<string, string>> {
  const head = await git.branch(BRANCH);
  if (head === undefined) return new Map();
  const files = await readFolder(git, (await git.commit(head)).tree, 'fleet');
  return new Map(files.map(({ path, content }) => [path, new TextDecoder().decode(content)]));
}
