/** The way from the server's own trust to people's, half gone. */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { manifestTarget } from '../../src/trust/tuf/content.ts';
import { CLIENTS } from '../trust/tuf/clients.ts';
import { PRODUCT_HOLDERS, peopleOf, ROOT_HOLDERS } from '../trust/tuf/people.ts';

test.each(CLIENTS)(
  '%s: a hand-over that is merged before artifacts-kiosk.json is signed takes nothing from devices',
  async (_, makeClient) => {
    const people = await peopleOf();
    const { fleet } = people.served;
    await fleet.advance(4 * HOUR);
    const files = new Map<string, string>();
    for (const name of ROOT_HOLDERS) files.set(name, await people.newKey(name));
    const of = (names: readonly string[]) => names.map((name) => files.get(name) ?? '');
    await fleet.pull();
    await people.trust('init', '--root', ...of(ROOT_HOLDERS), '--products', ...of(PRODUCT_HOLDERS));
    const path = join(fleet.folder, 'trust/artifacts-kiosk.json');
    const unsigned = await readFile(path);
    await people.sign('ada', 'ben', 'cyd', 'server');
    await writeFile(path, unsigned);
    const client = await makeClient(people.served);
    await client.refresh(fleet.clock.now());
    await people.merge('Too early');
    const { manifest, revision } = people.served.attempt();
    expect(await client.target(manifestTarget(manifest, revision), fleet.clock.now())).toBeDefined();
  },
);

test('a key whose file has a name that nobody would be known by is refused', async () => {
  const people = await peopleOf();
  await people.handOver();
  const fay = await people.newKey('fay');
  const other = join(dirname(fay), 'fay@example.org.pub');
  await copyFile(fay, other);
  await expect(people.trust('rotate', 'root', '--add', other)).rejects.toThrow();
});
