/** The same tip, when more is known of what was decided. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { CommitId, RolloutName } from '../../src/core/model/ids.ts';
import { HOUR } from '../../src/core/model/time.ts';
import { createDocumentCache } from '../../src/documents/read.ts';
import { openRepository } from '../../src/git/local.ts';
import { readWanted } from '../../src/reconcile/desired.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { parseAllowedSigners } from '../../src/trust/allowed-signers.ts';
import { sshPublicKey } from '../../src/trust/ssh-signature.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';
import { createRepositoryFleet } from '../simulation/repository-fleet.ts';
import { hasSshKeygen, makeSshKey } from '../trust/ssh-keys.ts';

test.skipIf(!hasSshKeygen())(
  'Tidegate’s own restoration, read before the decision behind it, is taken once that is read',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-policy-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const ada = makeSshKey(folder, 'ada');
    const allowed = parseAllowedSigners(`ada@example.org ${ada.line}\n`);
    const place = '/etc/tidegate/signers';
    const fleet = await createRepositoryFleet({ allowedSigners: { allowed, place } });
    await fleet.native('config', 'gpg.format', 'ssh');
    await fleet.native('config', 'user.signingKey', ada.path);
    await fleet.native('config', 'commit.gpgSign', 'true');
    await fleet.commit('Begin', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') });
    await fleet.enrol(...identities(4, () => ({ product: 'kiosk' })));
    await fleet.advance(4 * HOUR);
    const bad = await fleet.commit('Bad', {
      ...kiosk('1.1.0-bad'),
      ...rollout('1.1.0-bad', { onFailure: 'rollback' }),
    });
    await fleet.advance(6 * HOUR);
    await fleet.pull();
    const git = await openRepository(fleet.folder);
    const { outcomes } = fleet.service().reconciler.state();
    const name = 'kiosk' as RolloutName;
    const earlier = new Map([
      [name, (outcomes.get(name) ?? []).map(({ restored: _restored, ...attempt }) => attempt)],
    ]);
    const given = {
      branch: 'main',
      cache: createDocumentCache(1e6),
      applied: bad as CommitId,
      policy: { allowed, place, ownKey: sshPublicKey(fleet.keys.commits) },
    };
    const before = await readWanted(git, { ...given, outcomes: earlier, before: undefined });
    expect(before.desired?.commit).toBe(bad);
    const after = await readWanted(git, { ...given, outcomes, before });
    expect(after.desired?.commit).toBe(after.head);
  },
);
