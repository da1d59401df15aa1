/** New root metadata, and new keys of every online role, as devices follow them. */
import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { HOUR } from '../../../src/core/model/time.ts';
import { generateKeys, type Keys } from '../../../src/trust/keys.ts';
import { signingKey } from '../../../src/trust/signing-key.ts';
import { manifestTarget } from '../../../src/trust/tuf/content.ts';
import type { Envelope, Root } from '../../../src/trust/tuf/metadata.ts';
import { chainOf } from '../../../src/trust/tuf/root-chain.ts';
import { localSigner, type Signer, signMetadata } from '../../../src/trust/tuf/signer.ts';
import { CLIENTS } from './clients.ts';
import { servedFleet } from './served-fleet.ts';

const signer = async (): Promise<Signer> =>
  localSigner(await signingKey(generateKeyPairSync('ed25519').privateKey));

type OnlineRole = 'timestamp' | 'snapshot' | 'targets';

/** Trust whose root people sign, two of three; the server holds the rest. */
async function ceremony() {
  const keys = await generateKeys();
  const people = [await signer(), await signer(), await signer()];
  const online: Record<OnlineRole, Signer> = {
    timestamp: keys.tuf.signers.timestamp,
    snapshot: keys.tuf.signers.snapshot,
    targets: await signer(),
  };
  const manifests = { current: keys.tuf.signers.manifests };
  const roots: Envelope<Root>[] = [];
  let holders = people;

  async function sign(over: { holders?: Signer[]; by?: Signer[]; version?: number } = {}): Promise<void> {
    const before = holders;
    holders = over.holders ?? holders;
    const signed: Root = {
      _type: 'root',
      spec_version: '1.0.0',
      version: over.version ?? roots.length + 1,
      expires: '2027-01-01T00:00:00Z',
      consistent_snapshot: true,
      keys: Object.fromEntries([...holders, ...Object.values(online)].map(({ keyid, key }) => [keyid, key])),
      roles: {
        root: { keyids: holders.map(({ keyid }) => keyid), threshold: 2 },
        timestamp: { keyids: [online.timestamp.keyid], threshold: 1 },
        snapshot: { keyids: [online.snapshot.keyid], threshold: 1 },
        targets: { keyids: [online.targets.keyid], threshold: 1 },
      },
    };
    const by = over.by ?? [...new Set([...before.slice(0, 2), ...holders.slice(0, 2)])];
    roots.push(await signMetadata(signed, by));
  }
  await sign();
  const trust: Keys = {
    ...keys,
    tuf: {
      get signers() {
        return { timestamp: online.timestamp, snapshot: online.snapshot, manifests: manifests.current };
      },
      pinnedRoot: async () => undefined,
      pinRoot: async () => undefined,
      developmentTrust: async (at) => {
        const made = await keys.tuf.developmentTrust({ ...at, published: async () => undefined });
        return {
          ...made,
          roots: chainOf(roots.map((root) => Buffer.from(JSON.stringify(root)))),
          signers: { ...made.signers, targets: online.targets },
        };
      },
    },
  };
  return { keys: trust, sign, online, manifests, roots, signer };
}

describe.each(CLIENTS)('%s', (_, makeClient) => {
  test('follows root rotations, one and many at once, to keys that the first root did not know', async () => {
    const { keys, sign, roots } = await ceremony();
    const served = await servedFleet({ keys });
    const now = () => served.fleet.clock.now();
    const [early, late] = [await makeClient(served), await makeClient(served)];
    await early.refresh(now());
    for (let n = 0; n < 4; n += 1) {
      await sign({ holders: [await signer(), await signer(), await signer()] });
      served.fleet.clock.advance(HOUR);
      await served.release(`1.${n + 1}.0`);
      await early.refresh(now());
      expect((await early.metadata('root')).signed.version).toBe(roots.length);
    }
    const { manifest, revision } = served.attempt();
    expect(await late.target(manifestTarget(manifest, revision), now())).toBeDefined();
    expect((await late.metadata('root')).signed.version).toBe(5);
  });

  test.each(['timestamp', 'snapshot', 'targets'] as const)(
    'follows a new key of the role %s',
    async (role) => {
      const { keys, sign, online } = await ceremony();
      const served = await servedFleet({ keys });
      const client = await makeClient(served);
      await client.refresh(served.fleet.clock.now());
      online[role] = await signer();
      await sign();
      served.fleet.clock.advance(HOUR);
      await served.fleet.settle();
      const { manifest, revision } = served.attempt();
      const path = manifestTarget(manifest, revision);
      expect(await client.target(path, served.fleet.clock.now())).toBeDefined();
      expect(await (await makeClient(served)).target(path, served.fleet.clock.now())).toBeDefined();
    },
  );

  test('follows a new key of the roles that list manifests', async () => {
    const { keys, manifests } = await ceremony();
    const served = await servedFleet({ keys });
    const client = await makeClient(served);
    const { manifest, revision } = served.attempt();
    const path = manifestTarget(manifest, revision);
    await client.target(path, served.fleet.clock.now());
    manifests.current = await signer();
    served.fleet.clock.advance(HOUR);
    await served.fleet.settle();
    expect(await client.target(path, served.fleet.clock.now())).toBeDefined();
  });

  test('refuses a root that too few have signed, one that is skipped, and one that only the new keys have signed', async () => {
    const { keys, sign, roots } = await ceremony();
    const served = await servedFleet({ keys });
    const now = served.fleet.clock.now();
    const strangers = [await signer(), await signer(), await signer()];
    const forged = await ceremony();
    await forged.sign();
    await sign();
    await sign();
    const [first, second, third] = roots.map((root) => Buffer.from(JSON.stringify(root)));
    if (first === undefined || second === undefined || third === undefined) throw new Error('three roots');
    const few = { ...roots[1], signatures: roots[1]?.signatures.slice(0, 1) };
    const twice = { ...roots[1], signatures: [...(few.signatures ?? []), ...(few.signatures ?? [])] };
    await sign({ holders: strangers, by: strangers, version: 2 });
    const onlyNew = roots[3];
    for (const answer of [
      third,
      first,
      Buffer.from(JSON.stringify(few)),
      Buffer.from(JSON.stringify(twice)),
      Buffer.from(JSON.stringify(onlyNew)),
      Buffer.from(JSON.stringify(forged.roots[1])),
    ]) {
      served.attack = ({ path }) =>
        path === 'metadata/2.root.json' ? { status: 200, body: answer } : undefined;
      const client = await makeClient(served);
      await expect(client.refresh(now)).rejects.toThrow();
      expect((await client.metadata('root')).signed.version).toBe(1);
    }
  });
});

test('a thief of the timestamp key wedges clients until root rotates timestamp and snapshot keys together', async () => {
  for (const [, makeClient] of CLIENTS) {
    const { keys, sign, online } = await ceremony();
    const served = await servedFleet({ keys });
    const client = await makeClient(served);
    const now = () => served.fleet.clock.now();
    await client.refresh(now());
    const stolen = online.timestamp;
    const real = await (await fetch(`${served.url}/tuf/metadata/timestamp.json`)).json();
    const raised = await signMetadata({ ...(real as Envelope).signed, version: 2_000_000_000 } as never, [
      stolen,
    ]);
    served.attack = ({ path }) =>
      path.endsWith('timestamp.json') ? { body: Buffer.from(JSON.stringify(raised)) } : undefined;
    await client.refresh(now());
    served.attack = undefined;
    served.fleet.clock.advance(HOUR);
    await served.release('1.1.0');
    await expect(client.refresh(now())).rejects.toThrow();

    online.timestamp = await signer();
    online.snapshot = await signer();
    await sign();
    served.fleet.clock.advance(HOUR);
    await served.release('1.2.0');
    await client.refresh(now());
    expect((await client.metadata('timestamp')).signed.version).toBeLessThan(2_000_000_000);
  }
});
