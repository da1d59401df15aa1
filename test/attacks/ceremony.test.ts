/** Ceremonies in unusual orders. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DAY, HOUR } from '../../src/core/model/time.ts';
import { manifestTarget } from '../../src/trust/tuf/content.ts';
import { run } from '../cli/fixture.ts';
import { rollout } from '../simulation/fleet-files.ts';
import { CLIENTS } from '../trust/tuf/clients.ts';
import { type People, peopleOf } from '../trust/tuf/people.ts';
import { kioskWithArtifact } from '../trust/tuf/served-fleet.ts';

const flawsOf = async ({ served }: People) =>
  (await served.fleet.status()).problems.map(({ file, message }) => `${file} ${message}`);

test('a security epoch that is raised in the documents alone is found', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  await fleet.advance(4 * HOUR);
  await fleet.pull();
  await fleet.commit('Propose', { ...kioskWithArtifact('1.1.0', { securityEpoch: 3 }), ...rollout('1.1.0') });
  await people.sign('ada', 'ben');
  await fleet.commit(
    'Other floors',
    kioskWithArtifact('1.1.0', { securityEpoch: 9, hardwareIds: ['kiosk-b', 'kiosk-c'] }),
  );
  const problems = await people.problems();
  await fleet.settle();
  expect([...problems, ...(await flawsOf(people))]).not.toEqual([]);
});

test('known-good that was withdrawn while a rollout is under way', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  await fleet.advance(4 * HOUR);
  const good = people.served.attempt();
  const [[, makeClient]] = CLIENTS as [(typeof CLIENTS)[number]];
  const client = await makeClient(people.served);
  await fleet.pull();
  await fleet.commit('Propose', {
    ...kioskWithArtifact('1.1.0-bad'),
    ...rollout('1.1.0-bad', { onFailure: 'rollback' }),
  });
  await people.sign('ada', 'ben');
  await rm(join(fleet.folder, 'fleet/distribution-sets/kiosk-1.0.0.yaml'));
  const { signed } = JSON.parse(await readFile(join(fleet.folder, 'trust/artifacts-kiosk.json'), 'utf8'));
  const path =
    Object.keys(signed.targets).find((each) =>
      JSON.stringify(good.manifest).includes(signed.targets[each].hashes.sha256),
    ) ?? '';
  const { exit } = await run(['trust', 'sign', '--withdraw', path, '--repo', fleet.folder], {
    now: fleet.clock.now(),
  });
  await people.sign('ada', 'ben');
  const problems = await people.problems();
  await people.merge('Release and withdraw');
  await fleet.advance(6 * HOUR);
  // Devices are told to go back to what no metadata lists.
  const listed = await client.target(manifestTarget(good.manifest, good.revision), fleet.clock.now());
  expect({
    exit,
    problems,
    versions: fleet.versions(),
    listed: listed !== undefined,
    held: (await fleet.status()).held,
  }).toMatchObject({ exit: 1, listed: true });
});

test('a finding that time mends is not remembered', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  // Somebody's clock is two days ahead.
  const { exit } = await run(['trust', 'rotate', 'targets', '--threshold', '2', '--repo', fleet.folder], {
    now: fleet.clock.now() + 2 * DAY,
  });
  expect(exit).toBe(0);
  await people.sign('ada', 'ben', 'cyd');
  await people.merge('Ahead');
  expect((await flawsOf(people)).length).toBeGreaterThan(0);
  for (let n = 0; n < 72; n += 1) {
    fleet.clock.advance(HOUR);
    await fleet.settle();
  }
  expect(await people.problems()).toEqual([]);
  expect(await flawsOf(people)).toEqual([]);
});
