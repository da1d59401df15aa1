/** A fleet of kiosks whose versions crash as often as a test says, seeded; what is judged is the product's own doing. */
import type { SignalValue } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import type { Manifest } from '../../src/core/model/manifest.ts';
import type { Attempt } from '../../src/core/model/outcome.ts';
import { HOUR, type Instant, MINUTE } from '../../src/core/model/time.ts';
import type { RolloutStatus } from '../../src/core/status.ts';
import { seededRandom } from '../../src/simulate/seeded-random.ts';
import { createSimulation, identities, type Simulation } from '../../src/simulate/simulation.ts';
import type { SimulatedIdentity, World } from '../../src/simulate/virtual-device.ts';
import { FLEET, kiosk, rollout } from './fleet-files.ts';

interface CrashingOptions {
  readonly devices: number;
  readonly spec: Record<string, string>;
  /** Crashes per device-hour. */
  readonly crashes?: (device: SimulatedIdentity, version: string | undefined, now: Instant) => number;
  /** Other events since the last report. */
  readonly events?: (
    device: SimulatedIdentity,
    version: string | undefined,
    given: { readonly now: Instant; readonly hours: number },
  ) => Record<string, number>;
  readonly signals?: (
    device: SimulatedIdentity,
    version: string | undefined,
    now: Instant,
  ) => Record<string, SignalValue>;
  readonly isOnline?: (device: SimulatedIdentity, version: string | undefined, now: Instant) => boolean;
  readonly install?: (device: SimulatedIdentity, manifest: Manifest) => ReturnType<World['install']>;
  readonly tagsOf?: (n: number) => Readonly<Record<string, string>>;
  readonly fleet?: string;
  readonly files?: Record<string, string>;
  readonly seed?: string;
}

export interface CrashingFleet extends Simulation {
  status(): Promise<RolloutStatus & { readonly attempts: readonly Attempt[] }>;
  release(version: string, spec?: Record<string, string>): Promise<void>;
  operate(...entries: readonly string[]): Promise<void>;
  /** Devices that run the version now. */
  running(version: string): readonly DeviceId[];
}

/** Version 1.0.0 is known-good on all devices when this resolves. */
export async function startCrashing(options: CrashingOptions): Promise<CrashingFleet> {
  const { devices, spec, crashes = () => 0, tagsOf = () => ({}), seed = 'crashing' } = options;
  const random = seededRandom(seed);
  const world: World = {
    install: options.install ?? (() => ({ takesMs: 5 * MINUTE })),
    signals: (device, manifest, now) => ({
      healthy: true,
      ...options.signals?.(device, manifest?.version, now),
    }),
    events: (device, manifest, given) => ({
      crash: random.poisson(crashes(device, manifest?.version, given.now) * given.hours),
      ...options.events?.(device, manifest?.version, given),
    }),
    isOnline: (device, manifest, now) => options.isOnline?.(device, manifest?.version, now) ?? true,
  };
  const simulation = await createSimulation({ startAt: Date.UTC(2026, 0, 1), seed, world, wire: 'direct' });
  await simulation.commit('Begin', {
    'fleet/fleet.yaml': options.fleet ?? FLEET.replace('5m', '30m'),
    ...options.files,
    ...kiosk('1.0.0'),
    ...rollout('1.0.0', { ...spec, stages: '[{name: fleet, size: all}]', gates: '{health: healthy}' }),
  });
  await simulation.settle();
  await simulation.enrol(...identities(devices, (n) => ({ product: 'kiosk', ...tagsOf(n) })));
  await simulation.advance(2 * HOUR, 30 * MINUTE);
  const given: string[] = [];
  return {
    ...simulation,
    get devices() {
      return simulation.devices;
    },
    async status() {
      const response = await simulation.service.app.request('/api/rollouts/kiosk');
      return (await response.json()) as RolloutStatus & { readonly attempts: readonly Attempt[] };
    },
    async release(version, more = {}) {
      await simulation.commit(`Release ${version}`, {
        ...kiosk(version),
        ...rollout(version, { ...spec, ...more }),
      });
      await simulation.settle();
    },
    async operate(...entries) {
      given.push(...entries);
      await simulation.commit('Operate', {
        'ops/kiosk.yaml': `apiVersion: tidegate.dev/v1
kind: Operation
metadata: {name: kiosk}
spec:
  operations:
${given.map((entry) => `    - ${entry}`).join('\n')}
`,
      });
      await simulation.settle();
    },
    running: (version) =>
      simulation.devices.filter((device) => device.runs()?.version === version).map(({ id }) => id),
  };
}
