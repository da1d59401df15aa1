/** What `tidegate init` makes is a fleet from the first commit on: committed with real git, validated, served. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { git, run, temporaryFolder } from '../cli/fixture.ts';
import { eventually, type Status, startServer } from './serving.ts';

test('a new repository is committed, validated and served as it stands', async () => {
  const root = await temporaryFolder();
  const folder = join(root, 'fleet');
  expect(await run(['init', folder])).toMatchObject({ exit: 0, err: '' });
  await git(folder, 'init', '--quiet', '-b', 'main');
  await git(folder, 'add', '.');
  await git(folder, 'commit', '--quiet', '-m', 'Describe the fleet');
  // Line ends and modes are as git wants them: nothing is left to commit.
  expect(await git(folder, 'status', '--porcelain')).toBe('');
  const checkout = join(root, 'checkout');
  await git(root, 'clone', '--quiet', folder, checkout);
  expect(await run(['validate', checkout])).toMatchObject({
    exit: 0,
    out: expect.stringMatching(/^✓ valid: no problems in 11 documents/),
  });

  await git(root, 'clone', '--quiet', '--bare', folder, 'fleet.git');
  const server = await startServer({ repo: join(root, 'fleet.git'), data: join(root, 'data') });
  const status = await eventually('the first snapshot is in force', async () => {
    const seen = await server.get<Served>('/api/status');
    return seen.commit === null ? undefined : seen;
  });
  expect(status).toMatchObject({ fleet: 'homes', headInForce: true, problems: [] });
  expect(status.commit).toBe(await git(folder, 'rev-parse', 'main'));
  expect(status.rollouts.map(({ name }) => name).sort()).toEqual(['gateway-software', 'thermostat-firmware']);
  expect(await server.end('SIGTERM')).toBe(0);
});

interface Served extends Status {
  readonly headInForce: boolean;
  readonly problems: readonly unknown[];
  readonly rollouts: readonly { readonly name: string }[];
}
