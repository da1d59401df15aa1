/** The devices that the benchmarks register: all with one key, so that signing their tokens needs only that. */
import type { KeyObject } from 'node:crypto';
import type { DeviceRecord } from '../src/core/model/device.ts';
import type { DeviceId } from '../src/core/model/ids.ts';
import { type Instant, MINUTE, SECOND } from '../src/core/model/time.ts';
import type { Store } from '../src/store/store.ts';
import { signDeviceToken } from '../src/trust/device-token.ts';

/** Devices in one commit. */
const BATCH = 10_000;

/** The nth device, from 1. */
export function deviceId(n: number): DeviceId {
  return `device-${String(n).padStart(7, '0')}` as DeviceId;
}

export function recordOf(id: DeviceId, publicKey: string, now: Instant): DeviceRecord {
  const version = Math.floor(now / SECOND);
  return { id, tags: { product: 'app', site: 'site-1' }, publicKey, serial: 1, enrolledAt: now, version };
}

export async function enrolMany(
  store: Store,
  fleet: { readonly count: number; readonly publicKey: string; readonly now: Instant },
): Promise<void> {
  for (let first = 1; first <= fleet.count; first += BATCH) {
    const size = Math.min(BATCH, fleet.count - first + 1);
    const ids = Array.from({ length: size }, (_, index) => deviceId(first + index));
    await store.updateDevices(ids, (_before, index) =>
      recordOf(ids[index] as DeviceId, fleet.publicKey, fleet.now),
    );
  }
}

export function tokenOf(id: DeviceId, privateKey: KeyObject, now: Instant): Promise<string> {
  return signDeviceToken({ id, fleet: 'bench', privateKey, now, lifetimeMs: 10 * MINUTE });
}
