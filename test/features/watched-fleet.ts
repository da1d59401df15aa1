/**
 * A simulated fleet as operators and devices see it: answers of the operators' API, files of the branch `outcomes`,
 * and devices whose every word the test chooses, over the real device API. Nothing of the planner is called here.
 */
import { parse, stringify } from 'yaml';
import { createDeviceClient } from '../../src/agent/device-client.ts';
import type { DeviceStatus } from '../../src/core/assign/standing.ts';
import type { Report, ReportedState, SignalValue } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import type { Manifest } from '../../src/core/model/manifest.ts';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import type { FleetCounts, RolloutStatus } from '../../src/core/status.ts';
import { firstParentLog, readFiles } from '../../src/git/tree.ts';
import { createSimulation, type Simulation } from '../../src/simulate/simulation.ts';
import type { World } from '../../src/simulate/virtual-device.ts';
import type { VerifiedAssignment } from '../../src/trust/assignment.ts';
import { signDeviceToken } from '../../src/trust/device-token.ts';
import { mintEnrolmentToken } from '../../src/trust/enrolment.ts';
import type { VerifiedFlags } from '../../src/trust/flags.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';

export const TICK = 5 * MINUTE;
const FLEET_NAME = 'test-fleet';

type Files = Readonly<Record<string, string | null>>;
type Tags = Readonly<Record<string, string>>;

export interface WatchedFleet {
  readonly simulation: Simulation;
  /** Commits to main and lets the reconciler take it in. */
  commit(message: string, ...files: readonly Files[]): Promise<string>;
  /** Lets one poll interval pass. */
  tick(): Promise<void>;
  status(): Promise<StatusAnswer>;
  rollout(name?: string): Promise<RolloutAnswer>;
  device(id: string): Promise<DeviceAnswer>;
  /** `query` without the question mark: `status=drifted`. */
  devices(query?: string): Promise<readonly ListedDevice[]>;
  /** Enrols a device that says what the test lets it say. */
  join(id: string, tags: Tags): Promise<SpokenDevice>;
  /** The outcome documents of a rollout as they lie on `outcomes`, oldest first. */
  outcomes(rollout?: string): Promise<readonly OutcomeDocument[]>;
  /** Messages of the commits on a branch, oldest first. */
  log(branch: string): Promise<readonly { readonly oid: string; readonly message: string }[]>;
  /** The id of `fleet/` at the tip of main. */
  snapshot(): Promise<string>;
}

interface StatusAnswer {
  readonly snapshot: string;
  readonly commit: string;
  readonly headInForce: boolean;
  readonly problems: readonly { readonly file: string; readonly rule: string; readonly message: string }[];
  readonly devices: FleetCounts;
  readonly rollouts: readonly RolloutStatus[];
}

type RolloutAnswer = Omit<RolloutStatus, 'stages'> & {
  readonly stages: readonly (Omit<RolloutStatus['stages'][number], 'openedAt' | 'closedAt'> & {
    readonly openedAt?: string;
    readonly closedAt?: string;
  })[];
  readonly attempts: readonly {
    readonly attempt: number;
    readonly snapshot: string;
    readonly state: string;
    readonly revision: string;
  }[];
};

export interface ListedDevice {
  readonly id: string;
  readonly status: DeviceStatus;
  readonly running?: string;
  readonly assignment: { readonly rollout: string; readonly distributionSet: string } | null;
  readonly progress?: { readonly rollout: string; readonly stage: string; readonly state: string };
}

interface DeviceAnswer extends ListedDevice {
  readonly report?: Omit<ReportedState, 'receivedAt' | 'boots'>;
  readonly explanation: {
    readonly summary: string;
    readonly rollouts: readonly { readonly rollout: string; readonly reason: string }[];
  };
}

interface OutcomeDocument {
  readonly path: string;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: the document is looked at as a reader of the file would, without our types.
  readonly spec: any;
}

export interface SpokenDevice {
  readonly id: string;
  /** What it is given, verified; undefined where it is to keep what it runs. */
  poll(): Promise<Required<VerifiedAssignment>['assigned'] | undefined>;
  /** The answers as they come over the wire. */
  fetchManifest(headers?: Readonly<Record<string, string>>): Promise<Response>;
  fetchFlags(headers?: Readonly<Record<string, string>>): Promise<Response>;
  /** Its flags, verified. */
  flags(): Promise<VerifiedFlags>;
  report(said: Partial<Omit<Report, 'bootId' | 'seq'>>): Promise<void>;
  /** Polls, and reports that it runs what it was given. */
  obey(signals?: Readonly<Record<string, SignalValue>>): Promise<void>;
}

/** Installs end within a tick and nothing ever fails, but for what `world` says otherwise. */
export async function watchFleet(
  seed: string,
  given: { readonly world?: Partial<World>; readonly wire?: 'http' | 'direct' } = {},
): Promise<WatchedFleet> {
  const { world, wire = 'direct' } = given;
  const simulation = await createSimulation({
    startAt: Date.UTC(2026, 0, 1),
    seed,
    world: { install: () => ({ takesMs: 0 }), signals: () => ({ healthy: true }), ...world },
    wire,
  });
  const { git, service } = simulation;

  async function get<Answer>(path: string): Promise<Answer> {
    const response = await service.app.request(path);
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Answer;
  }

  return {
    simulation,
    async commit(message, ...files) {
      const oid = await simulation.commit(message, Object.assign({}, ...files));
      await simulation.settle();
      return oid;
    },
    tick: () => simulation.advance(TICK, TICK),
    status: () => get('/api/status'),
    rollout: (name = 'edge') => get(`/api/rollouts/${name}`),
    device: (id) => get(`/api/devices/${id}`),
    async devices(query = '') {
      const { devices } = await get<{ devices: ListedDevice[] }>(`/api/devices?limit=1000&${query}`);
      return devices;
    },
    join: (id, tags) => join(simulation, id as DeviceId, tags),

    async outcomes(rollout = 'edge') {
      const tip = await git.branch('outcomes');
      if (tip === undefined) return [];
      const documents: OutcomeDocument[] = [];
      for (const { path, oid } of await readFiles(git, (await git.commit(tip)).tree, `rollouts/${rollout}`)) {
        const text = new TextDecoder().decode(await git.blob(oid));
        documents.push({ path, text, spec: parse(text).spec });
      }
      return documents.sort((a, b) => a.spec.attempt - b.spec.attempt);
    },

    async log(branch) {
      const tip = await git.branch(branch);
      return tip === undefined ? [] : (await firstParentLog(git, tip, () => false, 1000)).reverse();
    },

    async snapshot() {
      const tip = await git.branch('main');
      const tree = tip === undefined ? [] : await git.tree((await git.commit(tip)).tree);
      return tree.find(({ name }) => name === 'fleet')?.oid ?? '';
    },
  };
}

async function join({ service, keys, clock }: Simulation, id: DeviceId, tags: Tags): Promise<SpokenDevice> {
  const key = generateDeviceKey();
  const client = createDeviceClient({
    server: 'http://simulation',
    fleet: FLEET_NAME,
    key,
    id,
    enrolmentToken: await mintEnrolmentToken(keys, {
      fleet: FLEET_NAME,
      tags,
      now: clock.now(),
      expiresAt: clock.now() + HOUR,
    }),
    fetch: (url, init) => service.app.request(url, init),
    clock,
  });
  const enrolled = await client.enrol();
  if (enrolled.kind !== 'enrolled') throw new Error(`${id} could not enrol: ${enrolled.message}`);
  let seq = 0;
  let attempt: Report['attempt'];

  const device: SpokenDevice = {
    id,
    async poll() {
      const polled = await client.poll();
      if (polled.kind === 'refused' || polled.kind === 'unreachable') {
        throw new Error(`${id} was not served: ${polled.message}`);
      }
      return polled.assignment.assigned;
    },
    fetchManifest: (headers = {}) => fetchOwn('manifest', headers),
    fetchFlags: (headers = {}) => fetchOwn('flags', headers),
    async flags() {
      const asked = await client.flags();
      if (asked.kind === 'refused' || asked.kind === 'unreachable') {
        throw new Error(`${id} was not told its flags: ${asked.message}`);
      }
      return asked.flags;
    },
    async report(said) {
      seq += 1;
      attempt = said.attempt ?? attempt;
      const level = { generation: 0, signals: {}, exposureHours: 0, events: {}, ...(attempt && { attempt }) };
      const sent = await client.report({ bootId: 'boot', seq, ...level, ...said });
      if (sent.kind !== 'accepted') throw new Error(`${id} could not report: ${sent.message}`);
    },
    async obey(signals = { healthy: true }) {
      const assigned = await device.poll();
      if (assigned === undefined) throw new Error(`${id} was given nothing`);
      const { revision } = assigned;
      await device.report({ running: revision, attempt: { revision, state: 'succeeded' }, signals });
    },
  };
  return device;

  async function fetchOwn(document: string, headers: Readonly<Record<string, string>>): Promise<Response> {
    const lifetimeMs = 5 * MINUTE;
    const claims = { id, fleet: FLEET_NAME, privateKey: key.private, now: clock.now(), lifetimeMs };
    const token = await signDeviceToken(claims);
    return service.app.request(`/v1/devices/${id}/${document}`, {
      headers: { ...headers, Authorization: `Bearer ${token}` },
    });
  }
}

// Documents, written as people write them

export function document(
  kind: string,
  metadata: { readonly name: string; readonly labels?: Tags },
  spec: object,
): string {
  return stringify({ apiVersion: 'tidegate.dev/v1', kind, metadata, spec });
}

export const FLEET: Files = {
  'fleet/fleet.yaml': document('Fleet', { name: FLEET_NAME }, { pollInterval: '5m' }),
};

/** `<product>@<version>`; one module of that name unless said otherwise. */
export function distributionSet(
  product: string,
  version: string,
  spec: Partial<Pick<Manifest, 'routes'>> & { readonly modules?: readonly object[] } = {},
): Files {
  const modules = [
    { name: product, version, type: 'docker', image: `registry.example/${product}:${version}` },
  ];
  return {
    [`fleet/distribution-sets/${product}-${version}.yaml`]: document(
      'DistributionSet',
      { name: `${product}@${version}` },
      { modules, ...spec },
    ),
  };
}

/** Everything for the production devices at once, unless `spec` says otherwise. */
export function rollout(
  version: string,
  spec: Readonly<Record<string, unknown>> = {},
  metadata: { readonly name: string; readonly labels?: Tags; readonly file?: string } = { name: 'edge' },
): Files {
  const { file = metadata.name, ...rest } = metadata;
  const defaults = {
    owner: 'edge-oncall',
    distributionSet: `edge@${version}`,
    targetCondition: "tags.environment = 'prod'",
    priority: 10,
    gates: { health: 'healthy' },
    stages: [{ fleet: 'all' }],
  };
  return { [`fleet/rollouts/${file}.yaml`]: document('Rollout', rest, { ...defaults, ...spec }) };
}

/** A release: the distribution set and the rollout that asks for it. */
export function release(version: string, spec: Readonly<Record<string, unknown>> = {}): Files {
  return { ...distributionSet('edge', version), ...rollout(version, spec) };
}

interface ListedOverride {
  readonly id: string;
  readonly tags?: Readonly<Record<string, string | null>>;
  readonly retired?: boolean;
}

/** Operators' say-so about single devices. */
export function deviceList(...devices: readonly ListedOverride[]): Files {
  return { 'fleet/devices/all.yaml': document('DeviceList', { name: 'all' }, { devices }) };
}

export function operation(entry: Readonly<Record<string, unknown>>, rolloutName = 'edge'): Files {
  return {
    [`ops/${rolloutName}.yaml`]: document('Operation', { name: rolloutName }, { operations: [entry] }),
  };
}
