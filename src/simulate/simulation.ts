/**
 * A whole fleet in one process: an in-memory repository and store, a virtual clock, and the service that production
 * runs. People commit, devices poll, the reconciler passes; between two steps nothing happens.
 */
import type { DeviceClient } from '../agent/device-client.ts';
import { createDeviceClient } from '../agent/device-client.ts';
import type { DeviceId } from '../core/model/ids.ts';
import { sha256Hex } from '../core/model/manifest.ts';
import { DAY, type DurationMs, type Instant, MINUTE } from '../core/model/time.ts';
import type { Oid } from '../git/git.ts';
import { createMemoryRepository, type MemoryRepository } from '../git/memory.ts';
import { withChanges } from '../git/tree.ts';
import type { ReconcileEvent } from '../reconcile/event.ts';
import { createService, type Service } from '../service.ts';
import { createMemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { mintEnrolmentToken } from '../trust/enrolment.ts';
import { generateKeys, type Keys } from '../trust/keys.ts';
import { generateDeviceKey } from '../trust/signing-key.ts';
import { createDirectClient } from './direct-client.ts';
import { createVirtualClock, type VirtualClock } from './virtual-clock.ts';
import {
  createVirtualDevice,
  type SimulatedIdentity,
  type VirtualDevice,
  type World,
} from './virtual-device.ts';

export interface SimulationOptions {
  readonly startAt: Instant;
  readonly seed: string;
  readonly world: World;
  /** `http`: the real protocol, signatures and all. `direct`: without the wire, for large fleets. */
  readonly wire: 'http' | 'direct';
}

export interface Simulation {
  readonly git: MemoryRepository;
  readonly store: Store;
  readonly keys: Keys;
  readonly clock: VirtualClock;
  readonly service: Service;
  readonly devices: readonly VirtualDevice[];
  readonly events: readonly ReconcileEvent[];
  /** Commits files to main (null removes one) and returns the commit. */
  commit(message: string, files: Readonly<Record<string, string | null>>): Promise<Oid>;
  enrol(...identities: readonly SimulatedIdentity[]): Promise<void>;
  /** Lets time pass in steps; in each every device that is due polls and reports, and the reconciler passes until it rests. */
  advance(duration: DurationMs, step?: DurationMs): Promise<void>;
  /** Reconciles until nothing is decided any more. */
  settle(): Promise<void>;
}

/** More passes without rest than this: something is decided again and again. */
const PASSES_MAX = 50;

export async function createSimulation(options: SimulationOptions): Promise<Simulation> {
  const { seed, world, wire } = options;
  const clock = createVirtualClock(options.startAt);
  const git = createMemoryRepository();
  const store = createMemoryStore({ epoch: `epoch-${seed}` });
  const keys = await generateKeys();
  const events: ReconcileEvent[] = [];
  let drawn = 0;
  const service = createService({
    git,
    store,
    keys,
    clock,
    randomHex: () => sha256Hex(`${seed}/${drawn++}`).slice(0, 32),
    onEvent: (event) => events.push(event),
  });
  const devices: { readonly device: VirtualDevice; dueAt: Instant }[] = [];

  async function clientOf(identity: SimulatedIdentity): Promise<Pick<DeviceClient, 'poll' | 'report'>> {
    if (wire === 'direct') return createDirectClient(service, identity);
    const fleet = service.reconciler.state().published?.program.fleet ?? '';
    const enrolmentToken = await mintEnrolmentToken(keys, {
      fleet,
      id: identity.id,
      tags: identity.tags,
      now: clock.now(),
      expiresAt: clock.now() + DAY,
    });
    const client = createDeviceClient({
      server: 'http://simulation',
      fleet,
      key: generateDeviceKey(),
      id: identity.id,
      enrolmentToken,
      fetch: (url, init) => service.app.request(url, init),
      clock,
    });
    const enrolled = await client.enrol();
    if (enrolled.kind !== 'enrolled')
      throw new Error(`device ${identity.id} could not enrol: ${enrolled.message}`);
    return client;
  }

  async function settle(): Promise<void> {
    for (let passes = 0; passes < PASSES_MAX; passes++) {
      if (!(await service.reconciler.pass()).again) return;
    }
    throw new Error(`the reconciler did not come to rest in ${PASSES_MAX} passes`);
  }

  return {
    git,
    store,
    keys,
    clock,
    service,
    events,
    get devices() {
      return devices.map(({ device }) => device);
    },

    async commit(message, files) {
      const parent = await git.branch('main');
      const base = parent === undefined ? undefined : (await git.commit(parent)).tree;
      const changes = new Map<string, { mode: string; oid: Oid } | null>();
      for (const [path, text] of Object.entries(files)) {
        const oid = text === null ? undefined : await git.writeBlob(new TextEncoder().encode(text));
        changes.set(path, oid === undefined ? null : { mode: '100644', oid });
      }
      const tree = await withChanges(git, base, changes);
      const parents = parent === undefined ? [] : [parent];
      const commit = await git.writeCommit({ tree, parents, message: `${message}\n`, at: clock.now() });
      const moved = await git.moveBranch({ branch: 'main', from: parent, to: commit });
      if (moved.kind !== 'moved') throw new Error(`main could not be moved: ${moved.kind}`);
      return commit;
    },

    async enrol(...identities) {
      for (const identity of identities) {
        const client = await clientOf(identity);
        devices.push({ device: createVirtualDevice({ identity, client, world, clock }), dueAt: clock.now() });
      }
    },

    settle,

    async advance(duration, step = MINUTE) {
      const until = clock.now() + duration;
      await settle();
      while (clock.now() < until) {
        clock.advance(Math.min(step, until - clock.now()));
        for (const each of devices) {
          if (each.dueAt > clock.now()) continue;
          const result = await each.device.step();
          each.dueAt = clock.now() + (result.kind === 'ok' ? result.pollAfterMs : step);
        }
        await settle();
      }
    },
  };
}

/** Ids `device-000001` … with the tags that `tagsOf` gives the n-th (from 1). */
export function identities(
  count: number,
  tagsOf: (n: number) => Readonly<Record<string, string>>,
): readonly SimulatedIdentity[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `device-${String(index + 1).padStart(6, '0')}` as DeviceId,
    tags: tagsOf(index + 1),
  }));
}
