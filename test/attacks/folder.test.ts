/** Malformed trust/ folders that somebody who can only push may put there. */
import { generateKeyPairSync } from 'node:crypto';
import { cp, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DAY, HOUR } from '../../src/core/model/time.ts';
import { readTrustFolder } from '../../src/trust/tuf/folder.ts';
import { run } from '../cli/fixture.ts';
import { CLIENTS } from '../trust/tuf/clients.ts';
import { peopleOf } from '../trust/tuf/people.ts';

const unsignedTargets = (path: string) =>
  JSON.stringify({
    signatures: [],
    signed: {
      _type: 'targets',
      spec_version: '1.0.0',
      version: 9_999_999_999,
      expires: '2026-05-01T00:00:00Z',
      targets: { [path]: { length: 1, hashes: { sha256: '0'.repeat(64) } } },
    },
  });

test('a target named constructor in an unsigned targets.json stops neither renewals nor rollouts', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  await fleet.advance(4 * HOUR);
  await people.change('targets.json', () => unsignedTargets('constructor'));
  await people.merge('Eve');
  await fleet.advance(HOUR);
  expect((await fleet.status()).held).toBeUndefined();
  fleet.clock.advance(5 * DAY);
  await fleet.settle();
  for (const [, make] of CLIENTS) await (await make(people.served)).refresh(fleet.clock.now());
});

test('validate and trust status name a target called constructor, without an exception', async () => {
  const people = await peopleOf();
  await people.handOver();
  await people.change('targets.json', () => unsignedTargets('constructor'));
  const { exit, err } = await run(['trust', 'status', '--repo', people.served.fleet.folder], {
    now: people.served.fleet.clock.now(),
  });
  expect(err).not.toMatch(/Cannot read|TypeError|bug/);
  expect(exit).toBe(1);
});

test('three thousand public keys are read in a moment', async () => {
  const files = new Map<string, Uint8Array>();
  for (let n = 0; n < 3000; n += 1) {
    const pem = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' });
    files.set(`keys/k${String(n).padStart(5, '0')}.pub`, Buffer.from(pem));
  }
  const before = performance.now();
  readTrustFolder(files);
  const took = performance.now() - before;
  console.log('keys took', took);
  expect(took).toBeLessThan(2000);
}, 300_000);

test('a whole trust/ that is gone is said', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  await rm(join(fleet.folder, 'trust'), { recursive: true });
  await people.merge('Gone');
  await fleet.advance(HOUR);
  expect((await fleet.status()).problems.map(({ rule }) => rule)).toContain('trust');
});

test('trust/ as a link elsewhere: validate says what the server says', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  await cp(join(fleet.folder, 'trust'), join(fleet.folder, 'elsewhere'), { recursive: true });
  await rm(join(fleet.folder, 'trust'), { recursive: true });
  await symlink('elsewhere', join(fleet.folder, 'trust'));
  expect(await people.problems()).not.toEqual([]);
});
