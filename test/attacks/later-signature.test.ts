/** A file that was published with some signatures, and has more of them in the folder. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { readSigningKey } from '../../src/trust/keys.ts';
import { manifestTarget } from '../../src/trust/tuf/content.ts';
import { readTrustFolder } from '../../src/trust/tuf/folder.ts';
import { parseMetadata } from '../../src/trust/tuf/metadata.ts';
import { localSigner, signMetadata } from '../../src/trust/tuf/signer.ts';
import { CLIENTS } from '../trust/tuf/clients.ts';
import { type People, peopleOf } from '../trust/tuf/people.ts';

async function cydSignsToo(people: People, file: string): Promise<string> {
  const path = join(people.served.fleet.folder, 'trust', file);
  const envelope = parseMetadata(await readFile(path), 'targets', file);
  const cyd = localSigner(await readSigningKey(people.privateKey('cyd'), {}));
  const { signatures } = await signMetadata(envelope.signed, [cyd]);
  const text = JSON.stringify({
    signatures: [...envelope.signatures, ...signatures],
    signed: envelope.signed,
  });
  await writeFile(path, text);
  return text;
}

describe.each(CLIENTS)('%s', (_, makeClient) => {
  test('a root without Ada is taken while targets.json as published has Ada and Ben', async () => {
    const people = await peopleOf();
    const { fleet } = people.served;
    await people.handOver();
    await fleet.advance(4 * HOUR);
    const text = await cydSignsToo(people, 'targets.json');
    await people.merge('Cyd signs, too');
    expect((await fleet.status()).problems).toEqual([]);
    const client = await makeClient(people.served);
    await client.refresh(fleet.clock.now());
    await people.trust('rotate', 'targets', '--remove', 'ada');
    await people.sign('ben', 'cyd', 'dee');
    // The root alone is merged, or somebody who can push puts the old targets.json back.
    await people.change('targets.json', () => text);
    await people.merge('Root alone');
    await client.refresh(fleet.clock.now());
  });

  test('targets.json without Ada is taken while artifacts-kiosk.json as published has Ada and Ben', async () => {
    const people = await peopleOf();
    const { fleet } = people.served;
    await people.handOver();
    await fleet.advance(4 * HOUR);
    const text = await cydSignsToo(people, 'artifacts-kiosk.json');
    await people.merge('Cyd signs, too');
    const client = await makeClient(people.served);
    await client.refresh(fleet.clock.now());
    await people.trust('rotate', 'artifacts', '--remove', 'ada');
    await people.sign('ben', 'cyd');
    await people.change('artifacts-kiosk.json', () => text);
    await people.merge('Targets alone');
    const { manifest, revision } = people.served.attempt();
    expect(await client.target(manifestTarget(manifest, revision), fleet.clock.now())).toBeDefined();
    expect(await client.target('artifacts/kiosk/none', fleet.clock.now())).toBeUndefined();
  });
});

test('a permit until no instant is no permit', () => {
  const permit = { permits: [{ sha256: '0'.repeat(64), until: '2026-99-99T99:99:99Z' }] };
  const { flaws } = readTrustFolder(new Map([['permits/kiosk.json', Buffer.from(JSON.stringify(permit))]]));
  expect(flaws).toHaveLength(1);
});
