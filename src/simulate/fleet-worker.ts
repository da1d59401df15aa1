/**
 * A thread full of virtual devices, each living its own life over real HTTP: it enrols, then polls and reports until
 * the thread is told to stop. In a thread of its own a fleet does not slow down the server that it calls.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { createDeviceClient } from '../agent/device-client.ts';
import { scaledClock, type TimeScale } from '../clock.ts';
import type { DurationMs } from '../core/model/time.ts';
import { generateDeviceKey } from '../trust/signing-key.ts';
import { STORY_WORLD } from './story.ts';
import { createVirtualDevice, type SimulatedIdentity } from './virtual-device.ts';

/** What the thread is started with. */
export interface FleetWorkerData {
  readonly server: string;
  readonly fleet: string;
  readonly pollMs: DurationMs;
  readonly scale: TimeScale;
  readonly devices: readonly { readonly identity: SimulatedIdentity; readonly enrolmentToken: string }[];
}

const { server, fleet, pollMs, scale, devices } = workerData as FleetWorkerData;
const clock = scaledClock(scale);
const stop = new AbortController();

// The only thing that it is ever told is to stop.
parentPort?.once('message', () => stop.abort());

await Promise.all(
  devices.map(async ({ identity, enrolmentToken }, index) => {
    const key = generateDeviceKey();
    const client = createDeviceClient({ server, fleet, key, id: identity.id, enrolmentToken, fetch, clock });
    const device = createVirtualDevice({ identity, client, world: STORY_WORLD, clock });
    // Spread over the interval, as a fleet is that was switched on at different times.
    await clock.sleep((pollMs * index) / devices.length, stop.signal);
    while (!stop.signal.aborted) {
      const result = await device.step();
      // On a slow machine compressed time lets a token expire on its way; the next step signs another one.
      const late = result.kind === 'refused' && result.code === 'token-expired';
      if (result.kind === 'refused' && !late) parentPort?.postMessage(`${identity.id}: ${result.message}`);
      await clock.sleep(result.kind === 'ok' ? result.pollAfterMs : pollMs / 4, stop.signal);
    }
  }),
);
