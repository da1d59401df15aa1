/** Publishing: in time, whole, and never in the way of taking something back. */
import { expect, test } from 'vitest';
import type { DeviceId } from '../../../src/core/model/ids.ts';
import { DAY, HOUR, MINUTE } from '../../../src/core/model/time.ts';
import { generateKeys, type Keys } from '../../../src/trust/keys.ts';
import { manifestTarget } from '../../../src/trust/tuf/content.ts';
import { httpFetch, refresh, type TrustedFiles } from '../../../src/verify/index.ts';
import { rollout } from '../../simulation/fleet-files.ts';
import { kioskWithArtifact, type ServedFleet, servedFleet } from './served-fleet.ts';

const published = ({ fleet }: ServedFleet) => {
  const { tuf } = fleet.service().reconciler.state();
  if (tuf === undefined) throw new Error('there must be a repository');
  return tuf;
};

async function readiness({ fleet }: ServedFleet): Promise<{ status: number; warnings: readonly string[] }> {
  const response = await fleet.service().app.request('/readyz');
  const { warnings } = (await response.json()) as { warnings: readonly string[] };
  return { status: response.status, warnings };
}

/** Keys that fail to sign while `isBroken` says so. */
async function breakableKeys(): Promise<{ keys: Keys; broken: { by: string | undefined } }> {
  const keys = await generateKeys();
  const broken: { by: string | undefined } = { by: undefined };
  const signers = Object.fromEntries(
    Object.entries(keys.tuf.signers).map(([role, signer]) => [
      role,
      {
        ...signer,
        sign: async (bytes: Uint8Array) => {
          if (broken.by !== undefined) throw new Error(broken.by);
          return await signer.sign(bytes);
        },
      },
    ]),
  ) as unknown as Keys['tuf']['signers'];
  return { keys: { ...keys, tuf: { ...keys.tuf, signers } }, broken };
}

test('the timestamp is signed anew every hour, everything else at half of its life', async () => {
  const served = await servedFleet();
  const { fleet } = served;
  const first = published(served);
  fleet.clock.advance(59 * MINUTE);
  await fleet.settle();
  expect(published(served)).toBe(first);
  fleet.clock.advance(MINUTE);
  await fleet.settle();
  const second = published(served);
  expect(second.version).toBeGreaterThan(first.version);
  expect(second.roles).toEqual(first.roles);
  fleet.clock.advance(15 * DAY);
  await fleet.settle();
  const changed = Object.keys(first.roles).filter(
    (role) => published(served).roles[role]?.version !== first.roles[role]?.version,
  );
  expect(changed.sort()).toEqual(['manifests-kiosk', 'snapshot']);
});

test('what is served is renewed though main is broken, also by a server that began like that', async () => {
  const served = await servedFleet();
  const { fleet } = served;
  await fleet.commit('Break', { 'fleet/rollouts/kiosk.yaml': 'nonsense: [' });
  await fleet.settle();
  const before = published(served).version;
  fleet.clock.advance(2 * HOUR);
  await fleet.settle();
  expect(published(served).version).toBeGreaterThan(before);
  await fleet.restart('keepStore');
  const restarted = published.bind(null, served);
  fleet.clock.advance(2 * HOUR);
  await fleet.settle();
  expect(restarted().version).toBeGreaterThan(before + 60);
});

test('where nothing can be signed nothing opens, it is said everywhere, and a breach still sends devices back', async () => {
  const { keys, broken } = await breakableKeys();
  const served = await servedFleet({ keys });
  const { fleet } = served;
  await fleet.advance(4 * HOUR);
  await fleet.commit('Bad release', {
    ...kioskWithArtifact('1.1.0-bad'),
    ...rollout('1.1.0-bad', { onFailure: 'rollback' }),
  });
  await fleet.settle();
  expect((await fleet.rollout()).state).toBe('running');
  broken.by = 'the key service does not answer';
  fleet.clock.advance(HOUR);
  await fleet.settle();
  const status = await fleet.status();
  expect(status.held).toBe('metadata cannot be signed: the key service does not answer');
  expect((await readiness(served)).warnings).toContain('nothing opens: TUF metadata cannot be signed');
  const metrics = await (await fleet.service().app.request('/metrics')).text();
  expect(metrics).toMatch(/^tidegate_held\{by="trust"\} 1$/m);

  await fleet.advance(2 * HOUR);
  expect(fleet.versions()).toEqual(['1.0.0']);
  await fleet.commit('Good release', { ...kioskWithArtifact('1.2.0'), ...rollout('1.2.0') });
  await fleet.advance(HOUR);
  expect(fleet.versions()).toEqual(['1.0.0']);

  broken.by = undefined;
  await fleet.advance(3 * HOUR);
  expect((await fleet.status()).held).toBeUndefined();
  expect(fleet.versions()).toEqual(['1.2.0']);
});

test('an opening that was recorded and could not be listed keeps no breach of another rollout from being stopped', async () => {
  const { keys, broken } = await breakableKeys();
  const served = await servedFleet({ keys });
  const { fleet } = served;
  await fleet.enrol({ id: 'other-1' as DeviceId, tags: { product: 'other' } });
  await fleet.advance(4 * HOUR);
  await fleet.commit('Bad release', {
    ...kioskWithArtifact('1.1.0-bad'),
    ...rollout('1.1.0-bad', { onFailure: 'rollback' }),
  });
  await fleet.settle();
  expect((await fleet.rollout()).state).toBe('running');

  broken.by = 'the key service does not answer';
  await fleet.commit('Another rollout', {
    ...kioskWithArtifact('9.0.0'),
    ...rollout('9.0.0', { targetCondition: "tags.product = 'other'" }, 'other'),
  });
  await fleet.settle();
  expect((await fleet.rollout('other')).attempts).toHaveLength(1);
  await fleet.advance(2 * HOUR);
  expect(fleet.versions()).toEqual(['1.0.0', undefined]);
  const { published: program } = fleet.service().reconciler.state();
  const offered = program?.program.rollouts.find(({ name }) => name === 'other')?.candidate?.offers;
  expect(offered ?? false).toBe(false);

  broken.by = undefined;
  await fleet.advance(HOUR);
  expect(fleet.versions()).toEqual(['1.0.0', '9.0.0']);
  expect((await fleet.status()).held).toBeUndefined();
  expect(Object.keys(published(served).since).some((path) => path.includes('/9.0.0-'))).toBe(true);
});

test('metadata that runs out is a warning long before devices refuse it', async () => {
  const { keys, broken } = await breakableKeys();
  const served = await servedFleet({ keys });
  const { fleet } = served;
  expect(await readiness(served)).toEqual({ status: 200, warnings: [] });
  broken.by = 'the key service does not answer';
  fleet.clock.advance(2 * DAY + HOUR);
  await fleet.settle();
  const { status, warnings } = await readiness(served);
  expect(status).toBe(200);
  expect(warnings).toContain('the metadata of timestamp expires in 23h, after which devices install nothing');
  fleet.clock.advance(DAY);
  await fleet.settle();
  expect((await readiness(served)).warnings).toContain(
    'the metadata of timestamp has expired: devices install nothing',
  );
  const metrics = await (await fleet.service().app.request('/metrics')).text();
  const [, seconds] =
    /^tidegate_metadata_expiry_timestamp_seconds\{role="timestamp"\} (\d+)$/m.exec(metrics) ?? [];
  expect(Number(seconds) * 1000).toBeLessThan(fleet.clock.now());
});

test('who has begun to read goes on with what was published then, whatever is published meanwhile', async () => {
  const served = await servedFleet();
  const { fleet, url } = served;
  let files: TrustedFiles = { root: served.root.toString(), roles: {} };
  const over = httpFetch(url);
  let releases = 0;
  const before = published(served).version;
  await refresh(files, {
    async fetch(path, bytesMax) {
      if (/\d\.(snapshot|targets)\.json$/.test(path)) {
        releases += 1;
        await served.release(`1.${releases}.0`);
        fleet.clock.advance(HOUR);
        await fleet.settle();
      }
      return await over(path, bytesMax);
    },
    async keep(kept) {
      files = kept;
    },
    now: fleet.clock.now(),
  });
  expect(releases).toBe(2);
  expect(JSON.parse(files.timestamp ?? '').signed.version).toBe(before);
  expect(published(served).version).toBeGreaterThan(before);
});

test('a database that is lost publishes above what devices have seen, and lists the same', async () => {
  const served = await servedFleet();
  const { fleet } = served;
  await fleet.advance(4 * HOUR);
  const before = published(served);
  const { manifest, revision } = served.attempt();
  await fleet.restart('loseStore');
  await fleet.settle();
  const after = published(served);
  expect(after.version).toBeGreaterThan(before.version);
  for (const [role, { version }] of Object.entries(before.roles))
    expect(after.roles[role]?.version, role).toBeGreaterThanOrEqual(version);
  expect(Object.keys(after.since)).toEqual([manifestTarget(manifest, revision)]);
});
