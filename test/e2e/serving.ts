/**
 * The program as it is deployed: `tidegate serve` in a process of its own, a repository in which people use native
 * git, and devices over HTTP. Time is real and nothing is waited for but conditions.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { onTestFailed, onTestFinished } from 'vitest';
import { createDeviceClient, type DeviceClient } from '../../src/agent/device-client.ts';
import { systemClock } from '../../src/clock.ts';
import type { Report } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { HOUR, SECOND } from '../../src/core/model/time.ts';
import type { RolloutStatus } from '../../src/core/status.ts';
import {
  createVirtualDevice,
  type StepResult,
  type VirtualDevice,
} from '../../src/simulate/virtual-device.ts';
import { mintEnrolmentToken } from '../../src/trust/enrolment.ts';
import { openKeys } from '../../src/trust/keys.ts';
import { type DeviceKey, generateDeviceKey } from '../../src/trust/signing-key.ts';
import { git, MAIN, temporaryFolder, writeFiles } from '../cli/fixture.ts';
import { FLEET, kiosk, rollout, WORLD } from '../simulation/fleet-files.ts';

export const FLEET_NAME = 'test-fleet';
/** Much longer than anything takes, also on a machine that has much else to do. */
const PATIENCE_MS = 60 * SECOND;
const LOOK_AGAIN_MS = 40;

/** Resolves with what `look` finds, as soon as it finds something other than false. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T> | T,
  pauseMs = LOOK_AGAIN_MS,
): Promise<NonNullable<T>> {
  const deadline = systemClock.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== null && found !== false) return found;
    if (systemClock.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await systemClock.sleep(pauseMs);
  }
}

/** Lets `work` run beside the test until it is ended, at the latest with the test. */
export function meanwhile<T>(work: (isDone: () => boolean) => Promise<T>): { end(): Promise<T> } {
  let done = false;
  const working = work(() => done);
  const end = () => {
    done = true;
    return working;
  };
  // Its failure is seen where it is ended; a test that fails before only waits until nothing runs any more.
  onTestFinished(async () => {
    await Promise.allSettled([end()]);
  });
  return { end };
}

// ---- The server -------------------------------------------------------------------------------------------------

export interface Server {
  readonly url: string;
  readonly pid: number;
  /** What it has logged so far, standard error included. */
  log(): string;
  get<Body>(path: string): Promise<Body>;
  hasEnded(): boolean;
  /** Sends the signal and resolves with the exit code once the process is gone; null where the signal ended it. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null>;
}

export interface ServeOptions {
  readonly repo: string;
  readonly data: string;
  readonly branch?: string;
  readonly listen?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Further options of the command. */
  readonly args?: readonly string[];
}

/** Starts a server on a free port. It is killed after the test, and its log is shown if the test fails. */
export async function startServer({
  repo,
  data,
  branch = 'main',
  listen = '127.0.0.1:0',
  env = {},
  args: more = [],
}: ServeOptions): Promise<Server> {
  const args = [
    MAIN,
    'serve',
    '--repo',
    repo,
    '--branch',
    branch,
    '--data',
    data,
    '--listen',
    listen,
    ...more,
  ];
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    if (isRunning()) child.kill(signal);
    return (await exited)[0];
  };
  onTestFinished(async () => {
    await end('SIGKILL');
  });
  const lines: string[] = [];
  onTestFailed(() => console.error(`the log of ${data}:\n${lines.join('\n')}`));
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => lines.push(line));
  }
  const log = () => lines.join('\n');
  const url = await eventually('the server says where it listens', () => {
    if (!isRunning()) throw new Error(`the server ended before it served: ${log()}`);
    return /serving .* on (http:\S+)/.exec(log())?.[1];
  });
  return {
    url,
    pid: child.pid as number,
    log,
    get: async <Body>(path: string) => (await (await fetch(url + path)).json()) as Body,
    hasEnded: () => !isRunning(),
    end,
  };
}

/** What `GET /api/status` says, as far as it matters here. */
export interface Status {
  readonly fleet: string | null;
  readonly commit: string | null;
  readonly head: string | null;
  readonly held?: string;
  readonly outcomesTip: string | null;
  readonly programVersion: number | null;
}

/** The kiosks' rollout as the API has it; without a state as long as there is none. */
export function rolloutOf(server: Server): Promise<RolloutStatus> {
  return server.get<RolloutStatus>('/api/rollouts/kiosk');
}

// ---- The repository ---------------------------------------------------------------------------------------------

export interface Place {
  /** What the server is given. */
  readonly repo: string;
  readonly data: string;
  /** Where a person works: a clone, or the work tree of the repository itself. */
  readonly folder: string;
  /** Native git, in that folder. */
  readonly git: (...args: readonly string[]) => Promise<string>;
  /** Writes the files and commits them; resolves with the commit. Pushing is another step. */
  commit(message: string, files: Readonly<Record<string, string>>): Promise<string>;
}

/** A bare repository with its first release, and a person's clone of it. */
export async function bareRepository(): Promise<Place> {
  const root = await temporaryFolder();
  const repo = `${root}/fleet.git`;
  await git(root, 'init', '--quiet', '--bare', '--initial-branch=main', repo);
  await git(root, 'clone', '--quiet', repo, 'ada');
  const place = placeOf(root, { repo, folder: `${root}/ada` });
  await place.git('switch', '--quiet', '--orphan', 'main');
  await place.commit('Release 1.0.0', { 'fleet/fleet.yaml': FLEET, ...release('1.0.0') });
  await place.git('push', '--quiet', '--set-upstream', 'origin', 'main');
  return place;
}

/** One repository with a work tree, in which a person and the server work at the same time. */
export async function sharedRepository(): Promise<Place> {
  const root = await temporaryFolder();
  const folder = `${root}/fleet`;
  await git(root, 'init', '--quiet', '--initial-branch=main', folder);
  const place = placeOf(root, { repo: folder, folder });
  await place.commit('Release 1.0.0', { 'fleet/fleet.yaml': FLEET, ...release('1.0.0') });
  return place;
}

function placeOf(root: string, { repo, folder }: { repo: string; folder: string }): Place {
  const native = (...args: readonly string[]) => git(folder, ...args);
  return {
    repo,
    data: `${root}/data`,
    folder,
    git: native,
    async commit(message, files) {
      await writeFiles(folder, files);
      await native('add', '--all');
      await native('commit', '--quiet', '--message', message);
      return native('rev-parse', 'HEAD');
    },
  };
}

/** A kiosk release that goes to two devices first and to all of them then. Versions that end in `-bad` are unhealthy. */
export function release(version: string, spec: Record<string, string> = {}): Record<string, string> {
  const stages = '[{name: canary, size: 2}, {name: fleet, size: all}]';
  return { ...kiosk(version), ...rollout(version, { stages, onFailure: 'rollback', ...spec }) };
}

/** What was decided about the kiosks, first to last: the subjects of `outcomes`, without what depends on timing. */
export async function decisions({ repo }: Pick<Place, 'repo'>): Promise<string[]> {
  const log = await git(repo, 'log', '--reverse', '--first-parent', '--format=%s', 'outcomes');
  return log
    .split('\n')
    .map((subject) => subject.replace(/^kiosk: /, '').replace(/ opens for .*/, ' opens'))
    .filter((subject) => !/^main |^every device has left |^census of /.test(subject));
}

/** The decisions of an attempt that is through. */
export const SUCCEEDED = (attempt: number, version: string): string[] => [
  `attempt ${attempt} of kiosk@${version} is ready`,
  'stage canary opens',
  'stage canary passed',
  'stage fleet opens',
  'stage fleet passed',
  `attempt ${attempt} succeeded: kiosk@${version} is known-good`,
];

/** The decisions of an attempt that its canary stopped; the one before it is known-good. */
export const FAILED = (attempt: number, version: string): string[] => [
  `attempt ${attempt} of kiosk@${version} is ready`,
  'stage canary opens',
  `attempt ${attempt} failed, back to known-good of attempt ${attempt - 1}`,
];

// ---- The devices ------------------------------------------------------------------------------------------------

export interface Device extends VirtualDevice {
  readonly client: DeviceClient;
  readonly key: DeviceKey;
  /** Reports that the server has said are durable. */
  readonly acknowledged: readonly Report[];
  /** The generations it was told, each time it polled. */
  readonly generations: readonly number[];
}

export interface DeviceOptions {
  /** Where the server is at the moment they ask. */
  readonly url: () => string;
  /** Another server that is told whatever this one is told. */
  readonly reportsAlsoTo?: () => string;
}

/** Kiosks. They enrol with their first request. */
export async function createDevices(
  { data }: Pick<Place, 'data'>,
  { ids, ...options }: DeviceOptions & { readonly ids: readonly string[] },
): Promise<readonly Device[]> {
  const now = systemClock.now();
  const enrolmentToken = await mintEnrolmentToken(await openKeys(`${data}/keys`), {
    fleet: FLEET_NAME,
    tags: { product: 'kiosk' },
    expiresAt: now + HOUR,
    now,
  });
  return ids.map((id) => createDevice(id as DeviceId, enrolmentToken, options));
}

function createDevice(id: DeviceId, enrolmentToken: string, { url, reportsAlsoTo }: DeviceOptions): Device {
  const key = generateDeviceKey();
  const connect = (to: () => string) =>
    createDeviceClient({
      server: '',
      fleet: FLEET_NAME,
      key,
      id,
      enrolmentToken,
      fetch: (path, init) => fetch(to() + path, { ...init, signal: AbortSignal.timeout(PATIENCE_MS) }),
      clock: systemClock,
    });
  const client = connect(url);
  const other = reportsAlsoTo === undefined ? undefined : connect(reportsAlsoTo);
  const acknowledged: Report[] = [];
  const generations: number[] = [];
  const device = createVirtualDevice({
    identity: { id, tags: { product: 'kiosk' } },
    client: {
      async poll() {
        const polled = await client.poll();
        if ('assignment' in polled) generations.push(polled.assignment.generation);
        return polled;
      },
      async report(report) {
        const sent = await client.report(report);
        if (sent.kind === 'accepted') acknowledged.push(report);
        return sent.kind === 'accepted' && other !== undefined ? other.report(report) : sent;
      },
    },
    // Installs take no time: the step that is told of one reports its end.
    world: { ...WORLD, install: (...given) => ({ ...WORLD.install(...given), takesMs: 0 }) },
    clock: systemClock,
  });
  return { ...device, client, key, acknowledged, generations };
}

/** One round: every device polls and reports. A device that is refused is a failed test; a server that is away is not. */
export async function stepAll(devices: readonly Device[]): Promise<readonly StepResult[]> {
  const results = await Promise.all(devices.map((device) => device.step()));
  const refused = results.find(({ kind }) => kind === 'refused');
  if (refused !== undefined) throw new Error(`a device was refused: ${JSON.stringify(refused)}`);
  return results;
}

/** Lets the devices poll and report until `look` finds something. */
export function stepUntil<T>(
  devices: readonly Device[],
  what: string,
  look: () => Promise<T> | T,
): Promise<NonNullable<T>> {
  return eventually(what, async () => {
    await stepAll(devices);
    return look();
  });
}

export function allRun(devices: readonly Device[], version: string): boolean {
  return devices.every((device) => device.runs()?.version === version);
}
