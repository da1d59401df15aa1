import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import { HOUR, type Instant } from '../../src/core/model/time.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';
import { type SpokenDevice, watchFleet } from './watched-fleet.ts';

const at = (text: string): Instant => Date.parse(text);
const site = (overrides: string) => ({
  'fleet/sites/berlin.yaml': `apiVersion: tidegate.dev/v1
kind: Site
metadata: {name: berlin}
spec:
  site: berlin-7
  overrides: ${overrides}
`,
});

/** What a device is told to run, and how often to ask. */
async function polled(device: SpokenDevice) {
  const { manifest, pollAfterSeconds } = decodeJwt(await (await device.fetchManifest()).text());
  return { version: (manifest as { version?: string } | null)?.version, pollAfterSeconds };
}

test('S5.36 a site has its own poll interval and install window, and everything else is the fleet’s; no other key is accepted', async () => {
  const fleet = await watchFleet('sites');
  const { clock } = fleet.simulation;
  const night = { stages: '[{name: fleet, size: all}]', installWindow: '{cron: "0 2 * * *", duration: 4h}' };
  await fleet.commit('First', { 'fleet/fleet.yaml': FLEET }, kiosk('1.0.0'), rollout('1.0.0', night, 'edge'));
  const inBerlin = await fleet.join('in-berlin', { product: 'kiosk', site: 'berlin-7' });
  const elsewhere = await fleet.join('elsewhere', { product: 'kiosk', site: 'lima-1' });
  const snapshot = async () => (await fleet.status()).snapshot;
  const both = async () => [await polled(inBerlin), await polled(elsewhere)];
  clock.advance(at('2026-01-01T12:00:00Z') - clock.now());
  await fleet.simulation.settle();
  expect(await both()).toEqual([
    { version: undefined, pollAfterSeconds: 300 },
    { version: undefined, pollAfterSeconds: 300 },
  ]);

  // Both keys that a site may change, at noon; what it does not say stays.
  await fleet.commit('Noon in Berlin', site('{installWindow: {cron: "0 12 * * *", duration: 2h}}'));
  expect(await both()).toEqual([
    { version: '1.0.0', pollAfterSeconds: 300 },
    { version: undefined, pollAfterSeconds: 300 },
  ]);
  await fleet.commit('Slower in Berlin', site('{pollInterval: 1h}'));
  expect(await both()).toEqual([
    { version: undefined, pollAfterSeconds: 3600 },
    { version: undefined, pollAfterSeconds: 300 },
  ]);
  const { rollouts } = (await fleet.device('in-berlin')).explanation;
  expect(rollouts[0]?.reason).toMatch(
    /^it waits for its install window, which opens at 2026-01-02T02:00:00Z/,
  );

  // Any other key is refused, with the place and the two that there are, and what was in force stays.
  const before = await snapshot();
  for (const key of ['priority: 1', 'gates: {}', 'distributionSet: kiosk@2.0.0', 'suspend: true']) {
    await fleet.commit('Too much', site(`{pollInterval: 2h, ${key}}`));
    const status = await fleet.status();
    const ofSites = status.problems.filter(({ file }) => file.startsWith('fleet/sites/'));
    expect(ofSites.map(({ file, message }) => `${file}: ${message}`)).toEqual([
      `fleet/sites/berlin.yaml: spec.overrides has no key "${key.split(':')[0]}"; it takes pollInterval, installWindow`,
    ]);
    expect(status.headInForce).toBe(false);
    expect(await snapshot()).toBe(before);
    expect((await polled(inBerlin)).pollAfterSeconds).toBe(3600);
  }
  clock.advance(14 * HOUR);
  expect(await both()).toEqual([
    { version: '1.0.0', pollAfterSeconds: 3600 },
    { version: '1.0.0', pollAfterSeconds: 300 },
  ]);
});
