/** A fleet whose server takes only commits that Ada has signed. */
import { expect } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { parseAllowedSigners } from '../../src/trust/allowed-signers.ts';
import type { makeSshKey } from '../trust/ssh-keys.ts';
import { FLEET, kiosk, rollout } from './fleet-files.ts';
import { createRepositoryFleet, type RepositoryFleet } from './repository-fleet.ts';

type Key = ReturnType<typeof makeSshKey>;

/** From now on people's commits are signed with the key; undefined: not at all. */
export async function signs(fleet: RepositoryFleet, key: Key | undefined): Promise<void> {
  await fleet.native('config', 'gpg.format', 'ssh');
  if (key !== undefined) await fleet.native('config', 'user.signingKey', key.path);
  await fleet.native('config', 'commit.gpgSign', String(key !== undefined));
}

/** Its devices run 1.0.0, which Ada has signed. */
export async function signedFleet(ada: Key | undefined): Promise<RepositoryFleet> {
  const allowed = parseAllowedSigners(`ada@example.org ${ada?.line}\n`);
  const fleet = await createRepositoryFleet({ allowedSigners: { allowed, place: '/etc/tidegate/signers' } });
  await signs(fleet, ada);
  await fleet.commit('Begin', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') });
  await fleet.enrol(...identities(4, () => ({ product: 'kiosk' })));
  await fleet.advance(4 * HOUR);
  expect(fleet.versions()).toEqual(Array(4).fill('1.0.0'));
  expect((await fleet.status()).problems).toEqual([]);
  return fleet;
}
