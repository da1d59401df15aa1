import { expect, test } from 'vitest';
import { fleetFiles, repositoryOf, run } from './fixture.ts';
import { serve } from './server.ts';

async function homes() {
  const server = await serve(await repositoryOf(fleetFiles()));
  await server.enrol('thermostat-1', { product: 'thermostat', site: 'berlin' });
  await server.enrol('kiosk-1', { product: 'kiosk' });
  await server.reconcile();
  return server;
}

test('says what the device gets, what is known of it, and by which rule', async () => {
  const server = await homes();
  const attempt = {
    revision: server.wanted('thermostat-firmware'),
    state: 'installing',
    message: 'half way\u001b[2J',
  } as const;
  await server.report('thermostat-1', { attempt, signals: { runtime_healthy: true, gap: '3s' } });
  const shown = await run(['why', 'thermostat-1', '--server', server.url], {
    columns: 72,
    env: { NO_COLOR: '1' },
  });
  expect(shown).toEqual({
    exit: 0,
    err: '',
    out: `thermostat-1 gets thermostat@2.5.0 from thermostat-firmware, attempt 1

  status    pending
  tags      product=thermostat site=berlin
  enrolled  2026-11-20T08:00:00Z (1d ago)
  reverts   not by itself: its tag capability does not say ab
  reported  2026-11-21T08:00:00Z (now)
  runs      nothing that it reports
  attempt   installing ea1b6928058e (half way�[2J)
  signals   gap=3s runtime_healthy=true

Rollouts that match it, highest precedence first:
  thermostat-firmware  stage canary of attempt 1 contains it: it is
                       installing
`,
  });
});

test('a device that no rollout matches has a reason, too', async () => {
  const server = await homes();
  const { exit, out } = await run(['why', 'kiosk-1', '--server', server.url]);
  expect(exit).toBe(0);
  expect(out).toBe(`kiosk-1 gets nothing and keeps what it runs: no rollout matches it

  status    never heard of
  tags      product=kiosk
  enrolled  2026-11-20T08:00:00Z (1d ago)
  reverts   not by itself: its tag capability does not say ab
  reported  never
`);
});

test('an unknown device is a problem with a hint', async () => {
  const server = await homes();
  for (const id of ['Thermostat-1', '../status', 'a b']) {
    expect(await run(['why', id, '--server', server.url])).toEqual({
      exit: 1,
      out: '',
      err: `no device "${id}" is known at ${server.url}; ids are case-sensitive; a device is known once it has enrolled\n`,
    });
  }
});

test('json is what the server says', async () => {
  const server = await homes();
  const { out } = await run(['why', 'thermostat-1', '--server', server.url, '--format', 'json']);
  expect(JSON.parse(out)).toMatchObject({
    id: 'thermostat-1',
    assignment: { rollout: 'thermostat-firmware', attempt: 1, distributionSet: 'thermostat@2.5.0' },
    explanation: { summary: 'gets thermostat@2.5.0 from thermostat-firmware, attempt 1' },
  });
});

test('a server that has read no repository yet says so', async () => {
  const server = await serve(await repositoryOf(fleetFiles()));
  const { exit, err } = await run(['why', 'thermostat-1', '--server', server.url]);
  expect(exit).toBe(2);
  expect(err).toContain('the fleet repository has not been read yet');
});
