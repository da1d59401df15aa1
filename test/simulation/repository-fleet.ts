/**
 * A small fleet whose repository is a real folder: people work in it with native git, Tidegate with its own engine.
 * Time is virtual, the store is in memory, everything else is what runs in production.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import { sha256Hex } from '../../src/core/model/manifest.ts';
import { type DurationMs, HOUR, MINUTE } from '../../src/core/model/time.ts';
import type { RolloutStatus } from '../../src/core/status.ts';
import type { Problem } from '../../src/documents/problem.ts';
import type { Forge } from '../../src/forge/forge.ts';
import { openRepository } from '../../src/git/local.ts';
import type { ReconcileEvent } from '../../src/reconcile/event.ts';
import { createService, type Service, type ServicePorts } from '../../src/service.ts';
import { createDirectClient } from '../../src/simulate/direct-client.ts';
import { createVirtualClock, type VirtualClock } from '../../src/simulate/virtual-clock.ts';
import {
  createVirtualDevice,
  type SimulatedIdentity,
  type VirtualDevice,
  type World,
} from '../../src/simulate/virtual-device.ts';
import type { ArtifactFolder } from '../../src/store/artifact-folder.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { generateKeys, type Keys } from '../../src/trust/keys.ts';
import { WORLD } from './fleet-files.ts';

const run = promisify(execFile);
const STEP = 10 * MINUTE;
const PASSES_MAX = 30;
const PERSON = {
  GIT_AUTHOR_NAME: 'Ada',
  GIT_AUTHOR_EMAIL: 'ada@example.org',
  GIT_COMMITTER_NAME: 'Ada',
  GIT_COMMITTER_EMAIL: 'ada@example.org',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
};

export interface RepositoryFleet {
  /** Native git in the folder where people work; resolves to what it prints, without the last newline. */
  native(...args: readonly string[]): Promise<string>;
  /** Where people work: a clone, or with `checkedOut` the work tree of the served repository itself. */
  readonly folder: string;
  readonly keys: Keys;
  readonly clock: VirtualClock;
  readonly events: readonly ReconcileEvent[];
  readonly devices: readonly VirtualDevice[];
  service(): Service;
  /** Writes files (null removes one), commits them and pushes main; resolves to the commit. */
  commit(message: string, files: Readonly<Record<string, string | Uint8Array | null>>): Promise<string>;
  /** Takes main and outcomes over from the served repository. */
  pull(): Promise<void>;
  /** Makes main and outcomes of the served repository what they are here. */
  push(): Promise<void>;
  enrol(...identities: readonly SimulatedIdentity[]): Promise<void>;
  settle(): Promise<void>;
  advance(duration: DurationMs): Promise<void>;
  /** Another process over the same repository, with the same store or with an empty one. */
  restart(store: 'keepStore' | 'loseStore'): Promise<void>;
  status(): Promise<FleetStatus>;
  rollout(
    name?: string,
  ): Promise<RolloutStatus & { readonly attempts: readonly { readonly state: string }[] }>;
  /** What the devices run, by version. */
  versions(): readonly (string | undefined)[];
}

export interface FleetStatus {
  readonly snapshot: string | null;
  readonly commit: string | null;
  readonly head: string | null;
  readonly headInForce: boolean;
  readonly problems: readonly Problem[];
  readonly held?: string;
  readonly error?: string;
  readonly programVersion: number | null;
}

let keys: Keys | undefined;

export async function createRepositoryFleet(
  options: {
    readonly checkedOut?: boolean;
    readonly world?: World;
    readonly forge?: Forge;
    readonly keys?: Keys;
    readonly artifacts?: ArtifactFolder;
    readonly allowedSigners?: NonNullable<ServicePorts['allowedSigners']>;
    readonly notifications?: NonNullable<ServicePorts['notifications']>;
  } = {},
): Promise<RepositoryFleet> {
  const { checkedOut = false, world = WORLD, forge } = options;
  keys ??= await generateKeys();
  const ours = options.keys ?? keys;
  const root = await mkdtemp(join(tmpdir(), 'tidegate-fleet-'));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const folder = join(root, 'people');
  const bare = join(root, 'fleet.git');
  const git = async (cwd: string, ...args: readonly string[]) => {
    const { stdout } = await run('git', args, { cwd, env: { ...process.env, ...PERSON } });
    return stdout.trimEnd();
  };
  const native = (...args: readonly string[]) => git(folder, ...args);
  await git(root, 'init', '--quiet', '--initial-branch=main', folder);
  if (!checkedOut) {
    await git(root, 'init', '--quiet', '--bare', '--initial-branch=main', bare);
    await native('remote', 'add', 'origin', bare);
  }

  const clock = createVirtualClock(Date.UTC(2026, 0, 1));
  const events: ReconcileEvent[] = [];
  const identities: SimulatedIdentity[] = [];
  const devices: VirtualDevice[] = [];
  const clients = new Map<string, Awaited<ReturnType<typeof createDirectClient>>>();
  let drawn = 0;
  let stores = 0;
  let store = createMemoryStore({ epoch: 'epoch-0' });
  const start = async () =>
    createService({
      git: await openRepository(checkedOut ? folder : bare),
      store,
      keys: ours,
      clock,
      randomHex: () => sha256Hex(`repository/${drawn++}`).slice(0, 32),
      onEvent: (event) => events.push(event),
      ...(forge === undefined ? {} : { forge }),
      ...(options.artifacts === undefined ? {} : { artifacts: options.artifacts }),
      ...(options.notifications === undefined ? {} : { notifications: options.notifications }),
      ...(options.allowedSigners === undefined ? {} : { allowedSigners: options.allowedSigners }),
    });
  let service = await start();

  async function connect(): Promise<void> {
    for (const identity of identities) clients.set(identity.id, await createDirectClient(service, identity));
  }

  async function settle(): Promise<void> {
    for (let passes = 0; passes < PASSES_MAX; passes++) if (!(await service.reconciler.pass()).again) return;
    throw new Error(`the reconciler did not come to rest in ${PASSES_MAX} passes`);
  }

  async function get<Body>(path: string): Promise<Body> {
    return (await (await service.app.request(path)).json()) as Body;
  }

  async function push(): Promise<void> {
    if (checkedOut) return;
    await native('push', '--quiet', '--force', 'origin', ...(await branchesHere(native)));
  }

  return {
    native,
    folder,
    keys: ours,
    clock,
    events,
    devices,
    service: () => service,

    async commit(message, files) {
      for (const [path, content] of Object.entries(files)) {
        if (content === null) await rm(join(folder, path), { force: true });
        else {
          await mkdir(dirname(join(folder, path)), { recursive: true });
          await writeFile(join(folder, path), content);
        }
      }
      await native('add', '--all');
      await native('commit', '--quiet', '--allow-empty', '--message', message);
      if (!checkedOut) await native('push', '--quiet', '--force', 'origin', 'main');
      return await native('rev-parse', 'HEAD');
    },

    async pull() {
      await native('fetch', '--quiet', 'origin', '+refs/heads/*:refs/remotes/origin/*');
      await native('reset', '--quiet', '--hard', 'origin/main');
      await native('update-ref', 'refs/heads/outcomes', 'origin/outcomes');
    },

    push,

    async enrol(...more) {
      for (const identity of more) {
        identities.push(identity);
        const client = () => clients.get(identity.id) as NonNullable<ReturnType<typeof clients.get>>;
        devices.push(
          createVirtualDevice({
            identity,
            client: { poll: () => client().poll(), report: (report) => client().report(report) },
            world,
            clock,
          }),
        );
      }
      await connect();
    },

    settle,

    async advance(duration) {
      await settle();
      for (const until = clock.now() + duration; clock.now() < until; ) {
        clock.advance(STEP);
        for (const device of devices) await device.step();
        await settle();
      }
    },

    async restart(kept) {
      await service.close();
      stores += 1;
      if (kept === 'loseStore') store = createMemoryStore({ epoch: `epoch-${stores}` });
      service = await start();
      clock.advance(MINUTE);
      await connect();
    },

    status: () => get('/api/status'),
    rollout: (name = 'kiosk') => get(`/api/rollouts/${name}`),
    versions: () => devices.map((device) => device.runs()?.version),
  };
}

async function branchesHere(native: RepositoryFleet['native']): Promise<readonly string[]> {
  const names = await native('for-each-ref', '--format=%(refname:short)', 'refs/heads');
  return names.split('\n').filter((name) => name !== '');
}

/** Long enough for {@link rollout}'s stages, soaks included. */
export const WHOLE_ROLLOUT = 2.5 * HOUR;
