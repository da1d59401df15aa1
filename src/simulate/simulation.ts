/**
 * A whole fleet in one process: the service in memory, and devices that each live their own life. People commit, devices
 * poll, the reconciler passes; between two steps nothing happens. For tests and stories of some thousand devices, told
 * through the protocol; crowd.ts plays a hundred times as many, of whom most do nothing at any time.
 */
import type { DeviceClient } from '../agent/device-client.ts';
import { createDeviceClient } from '../agent/device-client.ts';
import type { DeviceId } from '../core/model/ids.ts';
import { DAY, type DurationMs, type Instant, MINUTE } from '../core/model/time.ts';
import { mintEnrolmentToken } from '../trust/enrolment.ts';
import { generateDeviceKey } from '../trust/signing-key.ts';
import { createDirectClient } from './direct-client.ts';
import { createServiceInMemory, type ServiceInMemory } from './service-in-memory.ts';
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

export interface Simulation extends ServiceInMemory {
  readonly devices: readonly VirtualDevice[];
  enrol(...identities: readonly SimulatedIdentity[]): Promise<void>;
  /** Lets time pass in steps; in each every device that is due polls and reports, and the reconciler passes until it rests. */
  advance(duration: DurationMs, step?: DurationMs): Promise<void>;
}

export async function createSimulation(options: SimulationOptions): Promise<Simulation> {
  const { seed, world, wire } = options;
  const inMemory = await createServiceInMemory({ startAt: options.startAt, seed });
  const { keys, clock, service, settle } = inMemory;
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

  return {
    ...inMemory,
    get devices() {
      return devices.map(({ device }) => device);
    },

    async enrol(...identities) {
      for (const identity of identities) {
        const client = await clientOf(identity);
        devices.push({ device: createVirtualDevice({ identity, client, world, clock }), dueAt: clock.now() });
      }
    },

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
