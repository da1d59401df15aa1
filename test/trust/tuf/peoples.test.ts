/** Trust that people sign in the fleet's repository: taken over, followed by devices, and kept where it is tampered with. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { DeviceId, RolloutName } from '../../../src/core/model/ids.ts';
import { DAY, HOUR } from '../../../src/core/model/time.ts';
import { manifestTarget } from '../../../src/trust/tuf/content.ts';
import { rollout } from '../../simulation/fleet-files.ts';
import { CLIENTS, type TestedClient } from './clients.ts';
import { type People, peopleOf } from './people.ts';
import { artifactOf, kioskWithArtifact } from './served-fleet.ts';

interface TrustStatus {
  readonly trust: { readonly development: boolean; readonly rootVersion: number };
}

const statusOf = async ({ served }: People) => {
  const status = await served.fleet.status();
  return { ...status, ...(status as unknown as TrustStatus) };
};

/** What is wrong in `trust/`, as the server says it. */
const flawsOf = async (people: People) =>
  (await statusOf(people)).problems
    .filter(({ rule }) => rule === 'trust')
    .map(({ file, message }) => `${file} ${message}`);

/** Whether a client sees a version that was released, and that people vouch for what it installs. */
async function sees({ served }: People, client: TestedClient, version: string): Promise<boolean> {
  const now = served.fleet.clock.now();
  const attempts =
    served.fleet
      .service()
      .reconciler.state()
      .outcomes.get('kiosk' as RolloutName) ?? [];
  const attempt = attempts.find(({ manifest }) => manifest.version === version);
  if (attempt === undefined) throw new Error(`${version} was not released`);
  if ((await client.target(manifestTarget(attempt.manifest, attempt.revision), now)) === undefined)
    return false;
  // The server does not keep the file; its metadata is what counts here.
  const artifact = `artifacts/kiosk/${artifactOf(version).sha256.slice(0, 12)}-app.swu`;
  await expect(client.target(artifact, now)).rejects.toThrow();
  const { signed } = await client.metadata('artifacts-kiosk');
  return artifact in (signed as unknown as { targets: object }).targets;
}

async function releaseSigned(people: People, version: string, ...names: readonly string[]): Promise<void> {
  const { fleet } = people.served;
  await fleet.commit(`Propose ${version}`, { ...kioskWithArtifact(version), ...rollout(version) });
  await people.trust('sign');
  await people.sign(...names);
  await people.merge(`Release ${version}`);
}

describe.each(CLIENTS)('%s', (_, makeClient) => {
  test('goes along from the server’s own trust to people’s, a release, a rotation of every role, and back again without a signature', async () => {
    const people = await peopleOf();
    const { served } = people;
    const { fleet } = served;
    const client = await makeClient(served);
    await client.refresh(fleet.clock.now());
    await people.handOver();
    expect((await statusOf(people)).trust).toMatchObject({ development: false, rootVersion: 2 });
    expect(await sees(people, client, '1.0.0')).toBe(true);
    await fleet.advance(4 * HOUR);

    await releaseSigned(people, '1.1.0-bad', 'ben', 'cyd');
    expect(served.attempt().manifest.version).toBe('1.1.0-bad');
    expect(await sees(people, client, '1.1.0-bad')).toBe(true);
    await fleet.pull();
    await fleet.commit('Revert', rollout('1.0.0'));
    await fleet.settle();
    expect(served.attempt().state).toBe('rolledBack');
    expect(await sees(people, client, '1.0.0')).toBe(true);

    const fay = await people.newKey('fay');
    await people.trust('rotate', 'root', '--add', fay, '--remove', 'ada');
    await people.sign('ben', 'cyd', 'fay');
    // The old root wants three of its own, of which fay is none.
    expect((await people.problems()).join()).toMatch(
      /3\.root\.json.*keys of version 2.*3 of its 5 keys, found 2/,
    );
    await people.sign('ada');
    await people.merge('Fay for Ada');
    await people.trust('rotate', 'targets', '--add', 'fay', '--remove', 'ada');
    await people.sign('ben', 'dee', 'fay');
    await people.merge('Fay signs targets');
    await people.trust('rotate', 'artifacts', '--add', 'fay', '--remove', 'ada');
    await people.sign('ben', 'fay');
    await people.merge('Fay vouches for artifacts');
    expect(await flawsOf(people)).toEqual([]);
    expect((await statusOf(people)).trust.rootVersion).toBe(4);
    expect(await sees(people, client, '1.0.0')).toBe(true);
    expect(await sees(people, await makeClient(served), '1.0.0')).toBe(true);
  });
});

test('a release that people have not signed waits, alone, and says for whom', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  await fleet.enrol({ id: 'other-1' as DeviceId, tags: { product: 'other' } });
  await fleet.advance(4 * HOUR);
  await fleet.commit('Two releases', {
    ...kioskWithArtifact('1.1.0'),
    ...rollout('1.1.0'),
    ...rollout('1.0.0', { targetCondition: "tags.product = 'other'" }, 'other'),
  });
  await fleet.advance(2 * HOUR);
  expect(fleet.versions()).toEqual(['1.0.0', '1.0.0']);
  const { attempts } = await fleet.rollout();
  expect(attempts.at(-1)?.state).toBe('ready');
  const { report } = people.served.fleet.service().reconciler.state();
  expect(report.find(({ rollout: name }) => name === 'kiosk')?.reason).toMatch(
    /^trust\/artifacts-kiosk\.json, as far as it is signed, does not list artifacts\/kiosk\/\w+-app\.swu: run tidegate trust sign/,
  );
  expect(await people.problems()).toEqual([
    expect.stringMatching(
      /kiosk-1\.1\.0\.yaml:10:11: error: trust\/artifacts-kiosk\.json does not list artifacts\/kiosk\//,
    ),
  ]);

  await fleet.pull();
  await people.sign('ada');
  expect(await people.problems()).toEqual([
    expect.stringMatching(
      /trust\/artifacts-kiosk\.json:1:1: error: must be signed by 2 of its 3 keys, found 1/,
    ),
  ]);
  await people.merge('Ada signs');
  await fleet.advance(HOUR);
  expect(fleet.versions()).toEqual(['1.0.0', '1.0.0']);
  await people.sign('cyd');
  expect(await people.problems()).toEqual([]);
  await people.merge('Cyd signs');
  await fleet.advance(3 * HOUR);
  expect(fleet.versions()).toEqual(['1.1.0', '1.0.0']);
});

test('whoever tampers with trust/ changes nothing that devices are given, and everybody is told', async () => {
  const people = await peopleOf();
  const { served } = people;
  const { fleet } = served;
  await people.handOver();
  await fleet.advance(4 * HOUR);
  const before = fleet.service().reconciler.state().tuf;
  const folder = join(fleet.folder, 'trust');
  const good = Object.fromEntries(
    await Promise.all(
      (await readdir(folder))
        .filter((name) => name.endsWith('.json'))
        .map(async (name) => [`trust/${name}`, await readFile(join(folder, name))] as const),
    ),
  );
  const json = (change: (metadata: { signed: never; signatures: never[] }) => void) => (text: string) => {
    const metadata = JSON.parse(text);
    change(metadata);
    return JSON.stringify(metadata);
  };
  const targets = json(({ signed }) =>
    Object.assign(signed, { version: (signed as { version: number }).version + 1 }),
  );
  const tampered: readonly (readonly [string, (text: string) => string | null, RegExp])[] = [
    ['targets.json', targets, /^trust\/targets\.json must be signed by 2 of its 3 keys, found 0/],
    [
      'targets.json',
      // The version is published: what devices have of it keeps its signatures.
      json(({ signatures }) => signatures.splice(1)),
      /^$/,
    ],
    ['targets.json', (text) => text.slice(0, 100), /^trust\/targets\.json is no JSON/],
    ['targets.json', () => null, /^trust\/targets\.json is missing/],
    ['2.root.json', () => null, /^trust\/2\.root\.json is missing, and devices have it: restore it/],
    [
      '2.root.json',
      json(({ signatures }) => signatures.splice(0)),
      /2\.root\.json .*must be signed by 1 of its 1 keys, found 0/,
    ],
    [
      '1.root.json',
      (text) => text.replace('"version": 1', '"version": 7'),
      /1\.root\.json must have version 1, found 7/,
    ],
    [
      '1.root.json',
      (text) => text.replace('"expires": "2027', '"expires": "2037'),
      /1\.root\.json must be signed by 1 of its 1 keys, found 0/,
    ],
    [
      'artifacts-kiosk.json',
      json(({ signed }) => Object.assign(signed, { targets: {} })),
      /artifacts-kiosk\.json must be signed by 2/,
    ],
    [
      'artifacts-kiosk.json',
      () => null,
      /^trust\/artifacts-kiosk\.json is missing, and targets\.json delegates to it/,
    ],
    [
      'assignment-keys.json',
      (text) => text.replace('"kid": "', '"kid": "x'),
      /targets\.json does not list trust\/assignment-keys\.json as it is/,
    ],
    [
      'assignment-keys.json',
      () => '{"keys": []}',
      /^trust\/assignment-keys\.json keys must be Ed25519 public keys/,
    ],
  ];
  for (const [path, change, message] of tampered) {
    await people.change(path, change);
    expect((await people.problems()).join('\n'), path).not.toBe('');
    await people.merge(`Tamper with ${path}`);
    expect((await flawsOf(people)).join('\n'), path).toMatch(message);
    const { tuf } = fleet.service().reconciler.state();
    expect(tuf?.roles['targets'], path).toEqual(before?.roles['targets']);
    expect(tuf?.roles['artifacts-kiosk'], path).toEqual(before?.roles['artifacts-kiosk']);
    expect(tuf?.root, path).toEqual(before?.root);
    expect((await statusOf(people)).held, path).toBeUndefined();
    await fleet.commit('Restore', good);
    await fleet.settle();
    expect(await flawsOf(people)).toEqual([]);
  }
  // All of it at once, and for long: what the server signs is renewed.
  await fleet.commit('Take it all away', Object.fromEntries(Object.keys(good).map((path) => [path, null])));
  fleet.clock.advance(20 * DAY);
  await fleet.settle();
  expect(await flawsOf(people)).toEqual([
    'trust/1.root.json is not there any more: restore the folder from history',
  ]);
  expect((await statusOf(people)).trust.development).toBe(false);
  for (const [, makeClient] of CLIENTS)
    expect(await sees(people, await makeClient(served), '1.0.0')).toBe(true);

  // Without the database nothing says what devices have: the folder must be right before anything new is given.
  await fleet.commit('Half of it', { ...good, 'trust/targets.json': null });
  await fleet.restart('loseStore');
  await fleet.settle();
  expect((await statusOf(people)).held).toMatch(
    /^metadata cannot be signed: trust\/targets\.json is missing/,
  );
  expect(fleet.service().reconciler.state().tuf).toBeUndefined();
  await fleet.commit('Restore', good);
  await fleet.settle();
  expect((await statusOf(people)).held).toBeUndefined();
  expect((await statusOf(people)).trust).toMatchObject({ development: false, rootVersion: 2 });
});

test('a signature that is added later is no other file; an older version is refused', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  const folder = join(fleet.folder, 'trust');
  const old = await readFile(join(folder, 'artifacts-kiosk.json'));
  await people.trust('rotate', 'artifacts', '--threshold', '2');
  await people.sign('ada', 'ben', 'cyd');
  await people.trust('rotate', 'artifacts', '--threshold', '2');
  await people.trust('sign', '--key', ...['ada', 'ben', 'cyd'].map(people.privateKey));
  await people.merge('All three');
  const before = fleet.service().reconciler.state().tuf;
  await people.change('artifacts-kiosk.json', (text) => {
    const metadata = JSON.parse(text);
    metadata.signatures.pop();
    return JSON.stringify(metadata);
  });
  await people.merge('One signature less');
  expect(await flawsOf(people)).toEqual([]);
  expect(fleet.service().reconciler.state().tuf?.roles).toEqual(before?.roles);
  expect((await people.problems('--base', 'HEAD~1')).join()).toMatch(
    /artifacts-kiosk\.json.*lost a signature/,
  );

  await people.trust('rotate', 'artifacts', '--threshold', '1');
  await people.sign('ada', 'ben');
  await people.merge('One is enough');
  expect(await flawsOf(people)).toEqual([]);
  await fleet.commit('An old file', { 'trust/artifacts-kiosk.json': old });
  await fleet.settle();
  expect(await flawsOf(people)).toEqual([
    expect.stringMatching(/^trust\/artifacts-kiosk\.json has version \d+, and devices have seen version \d+/),
  ]);
});

test('a server whose keys people have not taken up goes on under what was signed for it', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  const other = await people.newKey('other-server');
  for (const role of ['snapshot', 'timestamp', 'manifests', 'assignment']) {
    const { trust } = await statusOf(people);
    await people.trust('rotate', role, '--add', other, ...(await onlineKeys(people, role)));
    await people.sign('ada', 'ben', 'cyd');
    await people.merge(`Another key for ${role}`);
    expect((await flawsOf(people)).join('\n'), role).toMatch(/must have this server's key/);
    expect((await statusOf(people)).trust, role).toEqual({ ...trust, ...changing(await statusOf(people)) });
    await fleet.native('revert', '--no-edit', 'HEAD');
    await people.merge('Not yet');
    expect(await flawsOf(people), role).toEqual([]);
  }
});

/** What goes on though nothing was taken over. */
function changing(status: { readonly trust: object }): object {
  const { metadataVersion, nextExpiry } = status.trust as Record<string, unknown>;
  return { metadataVersion, nextExpiry };
}

/** The server's own key of a role, to be taken away. */
async function onlineKeys({ trust, served }: People, role: string): Promise<readonly string[]> {
  if (role === 'assignment') return ['--remove', served.fleet.keys.assignment.kid];
  const { online } = JSON.parse(await trust('status', '--format', 'json')) as {
    online: readonly { role: string; keys: readonly string[] }[];
  };
  const keys = online.find((each) => each.role === role || each.role.startsWith(`${role}-`))?.keys ?? [];
  return ['--remove', ...keys];
}
