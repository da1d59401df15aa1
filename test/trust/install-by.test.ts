import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import type { CommitId, DeviceId, RolloutName, SnapshotId } from '../../src/core/model/ids.ts';
import { revisionOf } from '../../src/core/model/manifest.ts';
import { DAY, HOUR, type Instant, MINUTE, SECOND } from '../../src/core/model/time.ts';
import {
  assignmentEtag,
  createAssignmentSigner,
  renewalSlot,
  verifyAssignment,
} from '../../src/trust/assignment.ts';
import { keySet } from '../../src/trust/jws.ts';
import { generateKeys } from '../../src/trust/keys.ts';

const NOW: Instant = Date.UTC(2026, 0, 1);
const device = 'lobby-1' as DeviceId;
const fleet = 'hvac';
const keys = await generateKeys();
const signer = createAssignmentSigner(keys.assignment, { issuer: fleet });
const manifest = { distributionSet: 'kiosk@1', product: 'kiosk', version: '1', modules: [] };
const assigned = {
  rollout: 'kiosk' as RolloutName,
  attempt: 1,
  revision: revisionOf(manifest),
  manifest,
  snapshot: 'a'.repeat(40) as SnapshotId,
  commit: 'b'.repeat(40) as CommitId,
  minMetadataVersion: 5,
};

const claimsFor = (installBy?: Instant) =>
  signer.claims({
    device,
    generation: 7,
    pollIntervalMs: MINUTE,
    assigned,
    now: NOW,
    ...(installBy === undefined ? {} : { installBy }),
  });
const etagFor = (installBy?: Instant) => assignmentEtag(claimsFor(installBy), signer.kid);

test('an assignment expires with the install window, to the second before', () => {
  expect(claimsFor(NOW + HOUR).exp).toBe((NOW + HOUR) / SECOND);
  expect(claimsFor(NOW + HOUR + 999).exp).toBe((NOW + HOUR) / SECOND);
});

test('a window never makes an assignment live longer', () => {
  const unbound = claimsFor();
  expect(unbound.exp).toBe((renewalSlot(device, NOW) + DAY) / SECOND);
  expect(claimsFor(NOW + 7 * DAY)).toEqual(unbound);
  expect(etagFor(NOW + 7 * DAY)).toBe(etagFor());
});

test('each window has its own entity tag and its own signed body', () => {
  const tags = [etagFor(), etagFor(NOW + HOUR), etagFor(NOW + 2 * HOUR)];
  expect(new Set(tags).size).toBe(3);
  const expiries = [claimsFor(), claimsFor(NOW + HOUR), claimsFor(NOW + 2 * HOUR)].map(
    (claims) => decodeJwt(signer.sign(claims)).exp,
  );
  expect(new Set(expiries).size).toBe(3);
});

test('a device that looks at it after the window may not act on it', async () => {
  const jws = signer.sign(claimsFor(NOW + HOUR));
  const at = (now: Instant) =>
    verifyAssignment(jws, { keys: keySet(keys.assignment), device, fleet, now, lastGeneration: 0 });
  expect(await at(NOW + HOUR - 1)).toMatchObject({ kind: 'ok' });
  expect(await at(NOW + HOUR)).toMatchObject({ kind: 'refused', code: 'expired' });
});
