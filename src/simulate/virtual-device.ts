/**
 * A device made of memory: it speaks the real protocol through the device client, verifies what it is served, and
 * plays an install and the signals after it. What a release does to it is the world's to say.
 */
import type { DeviceClient, PollResult, ReportResult } from '../agent/device-client.ts';
import type { Clock } from '../clock.ts';
import type { Report, ReportedAttempt, SignalValue } from '../core/model/device.ts';
import type { DeviceId, Revision } from '../core/model/ids.ts';
import type { Manifest } from '../core/model/manifest.ts';
import { type DurationMs, HOUR, type Instant } from '../core/model/time.ts';

/** How releases behave on devices. Pure, so that a run can be repeated. */
export interface World {
  /** How an install of `manifest` ends on this device. */
  install(
    device: SimulatedIdentity,
    manifest: Manifest,
  ): { readonly takesMs: DurationMs; readonly failure?: Failure };
  /** The signals of a device that runs `manifest` (undefined: what it came with). Without the key nothing is reported. */
  signals(
    device: SimulatedIdentity,
    manifest: Manifest | undefined,
    now: Instant,
  ): Readonly<Record<string, SignalValue>>;
  /** What happened to it in the hours since its last report, by name; absent: nothing ever. */
  events?(
    device: SimulatedIdentity,
    manifest: Manifest | undefined,
    given: { readonly now: Instant; readonly hours: number },
  ): Readonly<Record<string, number>>;
  /** Whether it can be heard of now; absent: always. */
  isOnline?(device: SimulatedIdentity, manifest: Manifest | undefined, now: Instant): boolean;
}

export interface Failure {
  readonly category?: string;
  readonly message?: string;
  /** It booted the new slot, and went back to the old one by itself. */
  readonly wentBack?: true;
}

export interface SimulatedIdentity {
  readonly id: DeviceId;
  readonly tags: Readonly<Record<string, string>>;
}

export interface VirtualDevice extends SimulatedIdentity {
  /** Polls, goes on with what it was installing, and reports where it stands. */
  step(): Promise<StepResult>;
  running(): Revision | undefined;
  /** The distribution set that runs, if one of Tidegate's does. */
  runs(): Manifest | undefined;
}

export type StepResult =
  | { readonly kind: 'ok'; readonly pollAfterMs: DurationMs }
  | Extract<PollResult | ReportResult, { kind: 'refused' | 'unreachable' }>;

/** What a device remembers over a reboot. */
interface Slot {
  readonly revision: Revision;
  readonly manifest: Manifest;
}

export function createVirtualDevice(options: {
  readonly identity: SimulatedIdentity;
  readonly client: Pick<DeviceClient, 'poll' | 'report'>;
  readonly world: World;
  readonly clock: Clock;
}): VirtualDevice {
  const { identity, client, world, clock } = options;
  let running: Slot | undefined;
  let installing: { readonly slot: Slot; readonly doneAt: Instant; readonly failure?: Failure } | undefined;
  let attempt: ReportedAttempt | undefined;
  /** What was last tried to install: not again under the same attempt, however it ended. */
  let tried: { readonly revision: Revision; readonly attempt: number } | undefined;
  let boot = 1;
  let seq = 0;
  let reportedAt: Instant | undefined;

  function take(polled: PollResult, now: Instant): void {
    if (polled.kind === 'refused' || polled.kind === 'unreachable') return;
    const assigned = polled.assignment.assigned;
    if (assigned === undefined) return;
    if (assigned.revision === running?.revision) {
      // Told to keep or to go back to what runs: whatever was on its way is dropped.
      if (installing !== undefined) attempt = undefined;
      installing = undefined;
      return;
    }
    if (tried?.revision === assigned.revision && tried.attempt === assigned.attempt) return;
    if (installing?.slot.revision === assigned.revision) return;
    const { takesMs, failure } = world.install(identity, assigned.manifest);
    const slot = { revision: assigned.revision, manifest: assigned.manifest };
    installing = { slot, doneAt: now + takesMs, ...(failure === undefined ? {} : { failure }) };
    attempt = { revision: assigned.revision, state: 'installing' };
    tried = { revision: assigned.revision, attempt: assigned.attempt };
  }

  /** Boots the new slot when the install is through, or says why it is not. */
  function finish(now: Instant): void {
    if (installing === undefined || now < installing.doneAt) return;
    const { slot, failure } = installing;
    installing = undefined;
    if (failure !== undefined) {
      const { wentBack, ...said } = failure;
      attempt = { revision: slot.revision, state: wentBack === true ? 'rolledBack' : 'failed', ...said };
      return;
    }
    running = slot;
    tried = undefined;
    boot += 1;
    seq = 0;
    attempt = { revision: slot.revision, state: 'succeeded' };
  }

  function report(now: Instant, generation: number): Report {
    seq += 1;
    const sinceMs = reportedAt === undefined ? 0 : now - reportedAt;
    reportedAt = now;
    const hours = sinceMs / HOUR;
    return {
      bootId: `boot-${boot}`,
      seq,
      generation,
      ...(running === undefined ? {} : { running: running.revision }),
      ...(attempt === undefined ? {} : { attempt }),
      signals: world.signals(identity, running?.manifest, now),
      exposureHours: Math.min(24, hours),
      events: world.events?.(identity, running?.manifest, { now, hours }) ?? {},
    };
  }

  return {
    ...identity,
    async step() {
      if (world.isOnline?.(identity, running?.manifest, clock.now()) === false) {
        return { kind: 'unreachable', message: 'it is off' };
      }
      const polled = await client.poll();
      if (polled.kind === 'refused' || polled.kind === 'unreachable') return polled;
      const now = clock.now();
      take(polled, now);
      finish(now);
      const sent = await client.report(report(now, polled.assignment.generation));
      if (sent.kind !== 'accepted') return sent;
      return { kind: 'ok', pollAfterMs: polled.assignment.pollAfterSeconds * 1000 };
    },
    running: () => running?.revision,
    runs: () => running?.manifest,
  };
}
