/** A server that has lost its store, and somebody who can only push. */
import { generateKeyPairSync } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { signingKey } from '../../src/trust/signing-key.ts';
import { keyIdOf, parseMetadata } from '../../src/trust/tuf/metadata.ts';
import { localSigner, signMetadata } from '../../src/trust/tuf/signer.ts';
import { rollout } from '../simulation/fleet-files.ts';
import { CLIENTS } from '../trust/tuf/clients.ts';
import { peopleOf } from '../trust/tuf/people.ts';
import { kioskWithArtifact } from '../trust/tuf/served-fleet.ts';

async function folderOf(folder: string): Promise<Record<string, Buffer>> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.json'));
  return Object.fromEntries(
    await Promise.all(
      names.map(async (name) => [`trust/${name}`, await readFile(join(folder, name))] as const),
    ),
  );
}

test.each(CLIENTS)(
  '%s: trust of somebody else’s is not taken over for that of the fleet',
  async (_, makeClient) => {
    const people = await peopleOf();
    const { fleet } = people.served;
    await people.handOver();
    await fleet.advance(4 * HOUR);
    const client = await makeClient(people.served);
    await client.refresh(fleet.clock.now());
    const good = await folderOf(join(fleet.folder, 'trust'));

    // Eve has a key of her own, and what is public.
    const eve = localSigner(await signingKey(generateKeyPairSync('ed25519').privateKey));
    const root = parseMetadata(good['trust/2.root.json'] as Buffer, 'root', '').signed;
    const online = [...root.roles.snapshot.keyids, ...root.roles.timestamp.keyids];
    const own = { keyids: [eve.keyid], threshold: 1 };
    const evesRoot = {
      ...root,
      version: 1,
      keys: Object.fromEntries([
        ...Object.entries(root.keys).filter(([keyid]) => online.includes(keyid)),
        [keyIdOf(eve.key), eve.key],
      ]),
      roles: { ...root.roles, root: own, targets: own },
    };
    const targets = parseMetadata(good['trust/targets.json'] as Buffer, 'targets', '').signed;
    const delegations = targets.delegations ?? { keys: {}, roles: [] };
    const evesTargets = {
      ...targets,
      version: Number.MAX_SAFE_INTEGER,
      delegations: {
        keys: { ...delegations.keys, [eve.keyid]: eve.key },
        roles: delegations.roles.map((role) =>
          role.name.startsWith('artifacts-') ? { ...role, ...own } : role,
        ),
      },
    };
    const artifacts = parseMetadata(good['trust/artifacts-kiosk.json'] as Buffer, 'targets', '').signed;
    const file = async (signed: Parameters<typeof signMetadata>[0]) =>
      JSON.stringify(await signMetadata(signed, [eve]));
    await fleet.pull();
    await fleet.commit('Eve', {
      'trust/1.root.json': await file(evesRoot),
      'trust/2.root.json': null,
      'trust/targets.json': await file(evesTargets),
      'trust/artifacts-kiosk.json': await file({ ...artifacts, version: Number.MAX_SAFE_INTEGER }),
    });
    await fleet.settle();
    expect(fleet.service().reconciler.state().tuf?.roles['targets']?.version).toBe(targets.version);

    await fleet.restart('loseStore');
    await fleet.settle();
    await client.refresh(fleet.clock.now()).catch(() => undefined);
    await fleet.commit('Mended', good);
    fleet.clock.advance(HOUR);
    await fleet.settle();
    // Even with another new store devices have seen the server's snapshot.
    await fleet.restart('loseStore');
    fleet.clock.advance(HOUR);
    await fleet.settle();
    await client.refresh(fleet.clock.now());
  },
);

test.each(CLIENTS)(
  '%s: a store that was lost while a release is half signed lists nothing until it is signed',
  async (_, makeClient) => {
    const people = await peopleOf();
    const { fleet } = people.served;
    await people.handOver();
    await fleet.advance(4 * HOUR);
    const client = await makeClient(people.served);
    await client.refresh(fleet.clock.now());
    await fleet.pull();
    await fleet.commit('Propose', { ...kioskWithArtifact('1.1.0'), ...rollout('1.1.0') });
    await people.sign('ada');
    await people.merge('Ada has signed');
    await client.refresh(fleet.clock.now());
    await fleet.restart('loseStore');
    await fleet.settle();
    const { held } = await fleet.status();
    expect(held).toMatch(/^metadata cannot be signed: trust\/artifacts-kiosk\.json must be signed by 2/);
    await people.sign('ben');
    await people.merge('Ben has signed');
    await client.refresh(fleet.clock.now());
  },
);
