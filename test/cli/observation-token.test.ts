import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DAY } from '../../src/core/model/time.ts';
import { openKeys } from '../../src/trust/keys.ts';
import { OBSERVATION_TOKEN_ID, verifyObservationToken } from '../../src/trust/observation-token.ts';
import { fleetFiles, NOW, repositoryOf, run, temporaryFolder } from './fixture.ts';
import { serve } from './server.ts';

async function dataFolder() {
  const data = await temporaryFolder();
  return { data, keys: await openKeys(join(data, 'keys')) };
}

const TOKEN = ['observation', 'token'];

test('prints a token for these metrics that holds for ninety days, and says how it is taken back', async () => {
  const { data, keys } = await dataFolder();
  const args = [...TOKEN, '--data', data, '--fleet', 'homes', '--metric', 'support-tickets', 'heat=kW=h'];
  const { exit, out, err } = await run(args);
  expect(exit).toBe(0);
  const [, id = ''] = /TOKENS=(\S+) takes it back sooner\n$/.exec(err) ?? [];
  expect(id).toMatch(OBSERVATION_TOKEN_ID);
  expect(err).toMatch(
    /^lets whoever has it post support-tickets, heat=kW=h to fleet homes; expires 2027-02-19T08:00:00Z \(in 90d\)\n/,
  );
  const given = { token: out.trimEnd(), fleet: 'homes', revoked: new Set<string>() };
  expect(await verifyObservationToken(keys, { ...given, now: NOW + 90 * DAY - 1 })).toEqual({
    kind: 'ok',
    grant: { id, metrics: ['support-tickets', 'heat'], units: { heat: 'kW=h' } },
    expiresAt: NOW + 90 * DAY,
  });
  expect(await verifyObservationToken(keys, { ...given, now: NOW, revoked: new Set([id]) })).toMatchObject({
    kind: 'refused',
  });
});

test('asks the running server for the name of the fleet, and may be for every metric', async () => {
  const { data, keys } = await dataFolder();
  const server = await serve(await repositoryOf(fleetFiles()));
  await server.reconcile();
  const { out, err } = await run([...TOKEN, '--data', data, '--server', server.url, '--metric', '*']);
  expect(err).toMatch(/^lets whoever has it post any metric to fleet homes/);
  const given = { token: out.trimEnd(), fleet: 'homes', now: NOW, revoked: new Set<string>() };
  expect(await verifyObservationToken(keys, given)).toMatchObject({ kind: 'ok', grant: { metrics: '*' } });
});

test.each([
  [[], "required option '--metric <name...>' not specified"],
  [['--metric', 'two words'], '--metric must be 1 to 128 letters'],
  [['--metric', 'id:tickets'], '--metric must be'],
  [['--metric', 'hours='], '--metric hours= needs a unit of at most 32 characters'],
  [['--metric', 'hours', 'hours=h'], '--metric hours is given twice'],
  [['--metric', '*', 'hours'], '--metric "*" stands for all metrics'],
  [['--metric', 'hours', '--expires', '367d'], '--expires must be a duration of at most 366d, such as 90d'],
  [['--metric', 'hours', '--expires', '0s'], '--expires must be'],
  [
    ['--metric', ...Array.from({ length: 100 }, (_, n) => `m${n}`.padEnd(128, 'x'))],
    '100 metrics make a token that is too long for a header; make several tokens',
  ],
])('%j is refused', async (args, message) => {
  const { data } = await dataFolder();
  const { exit, out, err } = await run([...TOKEN, '--data', data, '--fleet', 'homes', ...args]);
  expect({ exit, out }).toEqual({ exit: 2, out: '' });
  expect(err).toContain(message);
});

test('makes no keys of its own: they would be of no use to the server', async () => {
  const data = await temporaryFolder();
  const { exit, err } = await run([...TOKEN, '--data', data, '--fleet', 'homes', '--metric', 'hours']);
  expect(exit).toBe(2);
  expect(err).toContain(`${join(data, 'keys')} has no enrolment key; check --data`);
  await expect(access(join(data, 'keys'))).rejects.toThrow('ENOENT');
});
