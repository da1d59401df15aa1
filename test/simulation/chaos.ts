/**
 * A small fleet that things happen to: people commit whatever they like, reports are lost, late or sent twice, devices
 * go silent, the process restarts, its store is lost, a pass is cut off by an I/O error or raced by a commit. The
 * service, the planner and the devices are the real ones. What must hold all along is checked in promises.ts.
 */
import type { Report } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { sha256Hex } from '../../src/core/model/manifest.ts';
import { HOUR, type Instant, MINUTE } from '../../src/core/model/time.ts';
import type { Git, Oid } from '../../src/git/git.ts';
import { createMemoryRepository, type MemoryRepository } from '../../src/git/memory.ts';
import { withChanges } from '../../src/git/tree.ts';
import type { ReconcileEvent } from '../../src/reconcile/event.ts';
import { createService, type Service } from '../../src/service.ts';
import { createDirectClient } from '../../src/simulate/direct-client.ts';
import { createVirtualClock, type VirtualClock } from '../../src/simulate/virtual-clock.ts';
import {
  createVirtualDevice,
  type SimulatedIdentity,
  type VirtualDevice,
} from '../../src/simulate/virtual-device.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { generateKeys, type Keys } from '../../src/trust/keys.ts';
import { FLEET, kiosk, rollout, WORLD } from './fleet-files.ts';

type Client = Awaited<ReturnType<typeof createDirectClient>>;
export type Polled = Awaited<ReturnType<Client['poll']>>;

/** What the wire does to the next reports of a device. */
export type Wire = 'clean' | 'lost' | 'late' | 'twice' | 'silent';

export interface ChaosDevice extends SimulatedIdentity {
  readonly device: VirtualDevice;
  wire: Wire;
  /** Whatever it runs, it is not healthy. */
  sick: boolean;
  /** Reboots that no install caused: each begins a new series of reports. */
  reboots: number;
  late: Report[];
}

export interface Chaos {
  readonly git: MemoryRepository;
  readonly clock: VirtualClock;
  readonly devices: readonly ChaosDevice[];
  readonly events: readonly ReconcileEvent[];
  service(): Service;
  store(): Store;
  commit(message: string, changes: Readonly<Record<string, string | null>>): Promise<Oid>;
  /** While main is protected, people may commit to it and the reconciler may not. */
  protectMain(protect: boolean): void;
  enrol(...identities: readonly SimulatedIdentity[]): Promise<void>;
  settle(): Promise<void>;
  advance(hours: number): Promise<void>;
  restart(): Promise<void>;
  loseStore(): Promise<void>;
  /** Passes until rest; the n-th of their calls of git and the store meets `happening` first. */
  disturb(calls: number, happening: () => Promise<void>): Promise<'cut' | 'through'>;
}

/** What was injected, and nothing else, may cut a pass off. */
export class InjectedFault extends Error {
  override readonly name = 'InjectedFault';
}

const STEP = 10 * MINUTE;
/** More passes without rest than this: something is decided again and again. */
const PASSES_MAX = 30;

let keys: Keys | undefined;

export async function createChaos(options: {
  readonly seed: string;
  /** Called with whatever a device is told, before it acts on it. */
  readonly onPoll: (device: ChaosDevice, polled: Polled, at: Instant) => Promise<void>;
}): Promise<Chaos> {
  const { seed, onPoll } = options;
  keys ??= await generateKeys();
  const clock = createVirtualClock(Date.UTC(2026, 0, 1));
  const git = createMemoryRepository();
  const devices: ChaosDevice[] = [];
  const clients = new Map<DeviceId, Client>();
  const events: ReconcileEvent[] = [];
  let epoch = 0;
  let store = createMemoryStore({ epoch: `${seed}-0` });
  let drawn = 0;
  let refusal: string | undefined;
  let disturbance: { calls: number; happening: () => Promise<void> } | undefined;

  async function called(): Promise<void> {
    if (disturbance === undefined || --disturbance.calls > 0) return;
    const { happening } = disturbance;
    disturbance = undefined;
    await happening();
  }

  const start = () =>
    createService({
      git: disturbed<Git>(git, called),
      store: disturbed<Store>(store, called),
      keys: keys as Keys,
      clock,
      randomHex: () => sha256Hex(`${seed}/${drawn++}`).slice(0, 32),
      onEvent: (event) => events.push(event),
    });
  let service = start();

  async function connect(): Promise<void> {
    for (const identity of devices) clients.set(identity.id, await createDirectClient(service, identity));
  }

  async function settle(): Promise<void> {
    for (let passes = 0; passes < PASSES_MAX; passes++) if (!(await service.reconciler.pass()).again) return;
    throw new Error(`the reconciler did not come to rest in ${PASSES_MAX} passes`);
  }

  async function send(device: ChaosDevice, report: Report): Promise<void> {
    const client = clients.get(device.id);
    const said = { ...report, bootId: `${report.bootId}.${device.reboots}` };
    if (device.wire === 'late') device.late.push(said);
    if (device.wire === 'lost' || device.wire === 'late') return;
    for (const each of [...device.late.splice(0), said]) await client?.report(each);
    if (device.wire === 'twice') await client?.report(said);
  }

  function add(identity: SimulatedIdentity): void {
    const entry: Omit<ChaosDevice, 'device'> & { device?: VirtualDevice } = {
      ...identity,
      wire: 'clean',
      sick: false,
      reboots: 0,
      late: [],
    };
    const device = createVirtualDevice({
      identity,
      client: {
        async poll() {
          const polled = await (clients.get(identity.id) as Client).poll();
          await onPoll(entry as ChaosDevice, polled, clock.now());
          return polled;
        },
        async report(report) {
          await send(entry as ChaosDevice, report);
          return { kind: 'accepted', effect: 'counted' };
        },
      },
      world: {
        ...WORLD,
        signals: (...seen) => (entry.sick ? { healthy: false } : WORLD.signals(...seen)),
      },
      clock,
    });
    devices.push(Object.assign(entry, { device }));
  }

  return {
    git,
    clock,
    devices,
    events,
    service: () => service,
    store: () => store,
    settle,

    async commit(message, changes) {
      const parent = await git.branch('main');
      const entries = new Map<string, { mode: string; oid: Oid } | null>();
      for (const [path, text] of Object.entries(changes)) {
        const oid = text === null ? undefined : await git.writeBlob(new TextEncoder().encode(text));
        entries.set(path, oid === undefined ? null : { mode: '100644', oid });
      }
      const base = parent === undefined ? undefined : (await git.commit(parent)).tree;
      const tree = await withChanges(git, base, entries);
      const parents = parent === undefined ? [] : [parent];
      const to = await git.writeCommit({ tree, parents, message: `${message}\n`, at: clock.now() });
      git.refuseMoves('main', undefined);
      const moved = await git.moveBranch({ branch: 'main', from: parent, to });
      git.refuseMoves('main', refusal);
      if (moved.kind !== 'moved') throw new Error(`main could not be moved: ${moved.kind}`);
      return to;
    },

    protectMain(protect) {
      refusal = protect ? 'main is protected; merge the branch' : undefined;
      git.refuseMoves('main', refusal);
    },

    async enrol(...identities) {
      for (const identity of identities) add(identity);
      await connect();
    },

    async advance(hours) {
      await settle();
      for (const until = clock.now() + hours * HOUR; clock.now() < until; ) {
        clock.advance(STEP);
        for (const { device, wire } of devices) if (wire !== 'silent') await device.step();
        await settle();
      }
    },

    async restart() {
      await service.close();
      service = start();
      await connect();
    },

    async loseStore() {
      await service.close();
      epoch += 1;
      store = createMemoryStore({ epoch: `${seed}-${epoch}` });
      service = start();
      // Setting up a new store takes people longer than this.
      clock.advance(MINUTE);
      await connect();
    },

    async disturb(calls, happening) {
      disturbance = { calls, happening };
      try {
        await settle();
        return 'through';
      } catch (error) {
        if (error instanceof InjectedFault) return 'cut';
        throw error;
      } finally {
        disturbance = undefined;
      }
    },
  };
}

/** The port, each of whose calls may be disturbed first. */
function disturbed<Port extends object>(port: Port, called: () => Promise<void>): Port {
  return new Proxy(port, {
    get(target, name, receiver) {
      const method: unknown = Reflect.get(target, name, receiver);
      // Whether the repository is away is asked without going there.
      if (typeof method !== 'function' || name === 'away') return method;
      return async (...args: unknown[]) => {
        await called();
        return await Reflect.apply(method, target, args);
      };
    },
  });
}

// ---- What people do ---------------------------------------------------------------------------------------------

export const STAGE_PLANS = [
  '[{name: canary, size: 1, soak: 30m}, {name: fleet, size: all}]',
  '[{name: canary, size: 2, errorThreshold: 60%}, {name: half, size: 50%, soak: 1h}, {name: fleet, size: all}]',
  '[{name: canary, size: 1 site, soak: 30m}, {name: fleet, size: all, ramp: 3h}]',
  '[{name: canary, size: 1, minExposure: 1}, {name: fleet, size: all, approvals: 1, stuckAfter: 1d}]',
] as const;

export const CONDITIONS = [
  "tags.product = 'kiosk'",
  "tags.product = 'kiosk' AND tags.ring = 'a'",
  "tags.product = 'kiosk' OR tags.product = 'sign'",
] as const;

export type RolloutChoice = 'kiosk' | 'base';

/** The lines of a rollout that people change. */
export interface Wish {
  readonly version: string;
  readonly stages: number;
  readonly condition: number;
  readonly priority: number;
  readonly suspend: boolean;
  readonly onFailure: 'ladder' | 'pause' | 'rollback';
}

export function wishFiles(name: RolloutChoice, wish: Wish): Record<string, string> {
  return {
    ...kiosk(wish.version),
    ...rollout(
      wish.version,
      {
        stages: STAGE_PLANS[wish.stages] ?? '',
        targetCondition: CONDITIONS[wish.condition] ?? '',
        priority: String(wish.priority),
        suspend: String(wish.suspend),
        onFailure: wish.onFailure,
      },
      name,
    ),
  };
}

export { FLEET };
