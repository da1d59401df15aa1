/**
 * The device's side of the protocol without the wire: the same assignment and the same intake, no HTTP and no
 * signatures. For fleets so large that verifying them would be all that a simulation does.
 */
import type { DeviceClient } from '../agent/device-client.ts';
import { assign } from '../core/assign/assign.ts';
import { receive } from '../core/assign/observe.ts';
import type { DeviceRecord } from '../core/model/device.ts';
import { DAY, SECOND } from '../core/model/time.ts';
import type { Service } from '../service.ts';
import { tufTargetOf } from '../trust/assignment.ts';
import type { SimulatedIdentity } from './virtual-device.ts';

export async function createDirectClient(
  service: Service,
  identity: SimulatedIdentity,
): Promise<Pick<DeviceClient, 'poll' | 'report'>> {
  const { clock, intake, store, reconciler } = service;
  const { id, tags } = identity;
  const now = clock.now();
  const record: DeviceRecord = {
    id,
    tags,
    publicKey: '',
    serial: 1,
    enrolledAt: now,
    version: Math.floor(now / SECOND),
  };
  await intake.submit(id, (before) => ({ after: before ?? record, result: undefined }));
  const away = { kind: 'unreachable', message: 'no program is in force yet' } as const;

  return {
    async poll() {
      const published = reconciler.state().published;
      const device = await store.device(id);
      if (published === undefined || device === undefined) return away;
      const at = clock.now();
      const assignment = assign(published.program, device, at);
      const verified = {
        generation: Math.max(published.version, device.version),
        expiresAt: 'installBy' in assignment ? Math.min(at + DAY, assignment.installBy) : at + DAY,
        pollAfterSeconds: (assignment.pollIntervalMs ?? published.program.pollIntervalMs) / SECOND,
      };
      if (assignment.kind === 'nothing') return { kind: 'nothing', assignment: verified };
      const { revision, rollout } = assignment;
      const assigned = { ...revision, rollout, tufTarget: tufTargetOf(revision), minMetadataVersion: 1 };
      return { kind: 'assigned', assignment: { ...verified, assigned } };
    },
    async report(report) {
      const effect = await intake.submit(id, (before) => {
        if (before === undefined) return { after: undefined, result: 'duplicate' as const };
        const program = reconciler.state().published?.program;
        const { record, effect, amounts } = receive(program, before, report, clock.now());
        return { after: record, result: effect, additions: amounts };
      });
      return { kind: 'accepted', effect };
    },
  };
}
