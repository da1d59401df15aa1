import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { verifyEnrolmentToken } from '../../src/trust/enrolment.ts';
import { generateKeys, openKeys } from '../../src/trust/keys.ts';
import { fleetFiles, NOW, repositoryOf, run, temporaryFolder } from './fixture.ts';
import { serve } from './server.ts';

const HOUR = 3_600_000;

async function dataFolder() {
  const data = await temporaryFolder();
  return { data, keys: await openKeys(join(data, 'keys')) };
}

test('prints a token that the server with these keys accepts until it expires, and nothing else', async () => {
  const { data, keys } = await dataFolder();
  const args = [
    'device',
    'token',
    '--data',
    data,
    '--fleet',
    'homes',
    '--tag',
    'product=thermostat',
    'site=a=b',
  ];
  const { exit, out, err } = await run([...args, '--id', 'thermostat-1', '--expires', '2h']);
  expect(exit).toBe(0);
  expect(err).toBe(
    'lets device thermostat-1 join fleet homes with product=thermostat site=a=b; expires 2026-11-21T10:00:00Z (in 2h)\n',
  );
  const token = out.trimEnd();
  const check = (now: number, fleet = 'homes') => verifyEnrolmentToken(keys, { token, fleet, now });
  expect(await check(NOW + 2 * HOUR - 1)).toEqual({
    kind: 'ok',
    grant: {
      id: 'thermostat-1',
      tags: { product: 'thermostat', site: 'a=b' },
      limit: { token: expect.stringMatching(/^[0-9a-f-]{36}$/), uses: 1 },
    },
    expiresAt: NOW + 2 * HOUR,
  });
  expect(await check(NOW + 2 * HOUR)).toMatchObject({ kind: 'refused' });
  expect(await check(NOW, 'offices')).toMatchObject({ kind: 'refused' });
  const others = await verifyEnrolmentToken(await generateKeys(), { token, fleet: 'homes', now: NOW });
  expect(others).toMatchObject({ kind: 'refused' });
});

test('asks the running server for the name of the fleet', async () => {
  const { data, keys } = await dataFolder();
  const server = await serve(await repositoryOf(fleetFiles()));
  const args = ['device', 'token', '--data', data, '--server', server.url];
  expect(await run(args)).toMatchObject({ exit: 2, err: expect.stringContaining('name it with --fleet') });
  await server.reconcile();
  const { out, err } = await run([...args, '--uses', '200']);
  expect(err).toMatch(/^lets 200 devices join fleet homes with no tags/);
  const verified = await verifyEnrolmentToken(keys, { token: out.trimEnd(), fleet: 'homes', now: NOW });
  expect(verified).toMatchObject({ kind: 'ok', grant: { tags: {}, limit: { uses: 200 } } });
});

test.each([
  [['--tag', 'product'], '--tag must be key=value'],
  [['--tag', '=x'], '--tag must be key=value'],
  [['--tag', 'site=a', '--tag', 'site=b'], '--tag site is given twice'],
  [['--id', 'no spaces'], '--id must be'],
  [['--expires', 'soon'], '--expires must be a duration of at most 90d'],
  [['--expires', '91d'], '--expires must be'],
  [['--expires', '0s'], '--expires must be'],
  [['--uses', '0'], 'It must be a positive whole number'],
])('%j is refused', async (args, message) => {
  const { data } = await dataFolder();
  const { exit, out, err } = await run(['device', 'token', '--data', data, '--fleet', 'homes', ...args]);
  expect({ exit, out }).toEqual({ exit: 2, out: '' });
  expect(err).toContain(message);
});

test('makes no keys of its own: they would be of no use to the server', async () => {
  const data = await temporaryFolder();
  const { exit, err } = await run(['device', 'token', '--data', data, '--fleet', 'homes']);
  expect(exit).toBe(2);
  expect(err).toContain(`${join(data, 'keys')} has no enrolment key; check --data`);
  await expect(access(join(data, 'keys'))).rejects.toThrow('ENOENT');
});
