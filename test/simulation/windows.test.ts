import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import type { RolloutName } from '../../src/core/model/ids.ts';
import { DAY, formatInstant, HOUR, type Instant, MINUTE } from '../../src/core/model/time.ts';
import { createSimulation, identities, type Simulation } from '../../src/simulate/simulation.ts';
import type { World } from '../../src/simulate/virtual-device.ts';
import { watchFleet } from '../features/watched-fleet.ts';
import { FLEET, kiosk, rollout, WORLD } from './fleet-files.ts';

const at = (text: string): Instant => Date.parse(text);
const EVERYONE = { stages: '[{name: fleet, size: all}]' };
const NIGHTLY = { ...EVERYONE, installWindow: '{cron: "30 2 * * *", duration: 4h, timezone: {tag: zone}}' };

interface Begun {
  readonly device: string;
  readonly version: string;
  readonly at: string;
}

/** A fleet, and what is written down of it: when each device begins to install what. */
async function fleetFrom(startAt: string, world: Partial<World> = {}) {
  const begun: Begun[] = [];
  const fleet: Simulation = await createSimulation({
    startAt: at(startAt),
    seed: 'windows',
    wire: 'http',
    world: {
      ...WORLD,
      ...world,
      install(device, manifest) {
        begun.push({ device: device.id, version: manifest.version, at: formatInstant(fleet.clock.now()) });
        return (world.install ?? WORLD.install)(device, manifest);
      },
    },
  });
  return { fleet, begun };
}

const until = (fleet: Simulation, time: string, step = 30 * MINUTE) =>
  fleet.advance(at(time) - fleet.clock.now(), step);
const attempts = (fleet: Simulation) =>
  fleet.service.reconciler.state().outcomes.get('kiosk' as RolloutName) ?? [];
const reasonOf = (fleet: Simulation) => fleet.service.reconciler.state().report[0]?.reason;

test('each device begins in the night of its own time zone, over a change of clocks', async () => {
  const { fleet, begun } = await fleetFrom('2026-03-27T12:00:00Z');
  const zones = ['Europe/Berlin', 'America/New_York'];
  await fleet.commit('First', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0', NIGHTLY) });
  await fleet.settle();
  await fleet.enrol(...identities(4, (n) => ({ product: 'kiosk', zone: zones[n % 2] ?? '' })));
  await until(fleet, '2026-03-28T12:00:00Z');
  await fleet.commit('Second', { ...kiosk('1.1.0'), ...rollout('1.1.0', NIGHTLY) });
  await until(fleet, '2026-03-29T12:00:00Z');
  await fleet.commit('Third', { ...kiosk('1.2.0'), ...rollout('1.2.0', NIGHTLY) });
  await until(fleet, '2026-03-30T12:00:00Z');
  // Whoever joins by day gets known-good at night.
  await fleet.enrol({ id: 'newcomer' as never, tags: { product: 'kiosk', zone: 'Europe/Berlin' } });
  await until(fleet, '2026-03-31T12:00:00Z');

  const begins = (device: string) =>
    begun.filter((each) => each.device === device).map(({ version, at }) => `${version} ${at}`);
  // At half past two: by winter time, when that is skipped, and by summer time.
  const berlin = ['1.0.0 2026-03-28T01:30:00Z', '1.1.0 2026-03-29T01:00:00Z', '1.2.0 2026-03-30T00:30:00Z'];
  const newYork = ['1.0.0 2026-03-28T06:30:00Z', '1.1.0 2026-03-29T06:30:00Z', '1.2.0 2026-03-30T06:30:00Z'];
  expect(begins('device-000001')).toEqual(newYork);
  expect(begins('device-000002')).toEqual(berlin);
  expect(begins('device-000003')).toEqual(newYork);
  expect(begins('device-000004')).toEqual(berlin);
  expect(begins('newcomer')).toEqual(['1.2.0 2026-03-31T00:30:00Z']);
  expect(attempts(fleet).map(({ state }) => state)).toEqual(['succeeded', 'succeeded', 'succeeded']);
});

test('a rollback at noon takes effect at noon', async () => {
  // The second release is found out at noon.
  const { fleet, begun } = await fleetFrom('2026-05-01T00:00:00Z', {
    signals: (_device, manifest, now) => ({
      healthy: manifest?.version !== '1.1.0' || now < at('2026-05-02T12:00:00Z'),
    }),
  });
  const careful = {
    ...NIGHTLY,
    onFailure: 'rollback',
    stages: '[{canary: 2}, {name: fleet, size: all, soak: 2d}]',
  };
  await fleet.commit('First', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0', NIGHTLY) });
  await fleet.settle();
  await fleet.enrol(...identities(6, () => ({ product: 'kiosk', zone: 'UTC' })));
  await until(fleet, '2026-05-01T12:00:00Z');
  const good = await fleet.git.branch('main');
  await fleet.commit('Second', { ...kiosk('1.1.0'), ...rollout('1.1.0', careful) });
  await until(fleet, '2026-05-02T11:30:00Z');
  await until(fleet, '2026-05-02T12:30:00Z', 5 * MINUTE);

  expect(fleet.devices.map((device) => device.runs()?.version)).toEqual(new Array(6).fill('1.0.0'));
  const back = begun.filter(({ version, at }) => version === '1.0.0' && at > '2026-05-02');
  expect(back).toHaveLength(6);
  for (const each of back) expect(each.at < '2026-05-02T12:15').toBe(true);
  expect(attempts(fleet).map(({ state }) => state)).toEqual(['succeeded', 'rolledBack']);
  const main = await fleet.git.branch('main');
  const treeOf = async (commit = '') => (await fleet.git.commit(commit as never)).tree;
  expect(await treeOf(main)).toBe(await treeOf(good));
});

test('a stage is not stuck before its devices could install; from then on silence counts', async () => {
  const { fleet, begun } = await fleetFrom('2026-05-04T00:00:00Z', {
    install: ({ id }) => ({ takesMs: id === 'device-000003' ? 30 * DAY : 10 * MINUTE }),
  });
  // A Monday; the window is on Sunday. Without it the stage would be stuck on Tuesday.
  const weekly = {
    stages: '[{name: fleet, size: all, stuckAfter: 1d, successThreshold: 100%}]',
    installWindow: '{cron: "0 2 * * sun", duration: 4h}',
  };
  await fleet.commit('First', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0', weekly) });
  await fleet.settle();
  await fleet.enrol(...identities(3, () => ({ product: 'kiosk' })));
  await until(fleet, '2026-05-09T00:00:00Z', HOUR);
  expect(attempts(fleet).at(-1)?.state).toBe('running');
  expect(begun).toEqual([]);
  expect(reasonOf(fleet)).toBe(
    '0 of 3 devices succeeded, 3 are needed (100%); 3 not heard of since the offer; the last install window opens at 2026-05-10T02:00:00Z',
  );
  expect(fleet.service.reconciler.state().tally.status).toMatchObject({ pending: 3, error: 0 });

  await until(fleet, '2026-05-11T01:00:00Z', HOUR);
  expect(begun.map((each) => each.at)).toEqual(new Array(3).fill('2026-05-10T02:00:00Z'));
  expect(attempts(fleet).at(-1)?.state).toBe('running');
  expect(reasonOf(fleet)).toBe('2 of 3 devices succeeded, 3 are needed (100%); 1 installing');
  await until(fleet, '2026-05-11T02:00:00Z', HOUR);
  expect(attempts(fleet).at(-1)).toMatchObject({ state: 'paused', cause: 'stuck' });
});

test('counts follow the window, though no device says anything', async () => {
  const { fleet } = await fleetFrom('2026-05-04T12:00:00Z');
  await fleet.commit('First', {
    'fleet/fleet.yaml': FLEET,
    ...kiosk('1.0.0'),
    ...rollout('1.0.0', EVERYONE),
  });
  await fleet.settle();
  await fleet.enrol(...identities(2, () => ({ product: 'kiosk', zone: 'UTC' })));
  await fleet.advance(HOUR, 10 * MINUTE);
  await fleet.commit('Second', { ...kiosk('1.1.0'), ...rollout('1.1.0', NIGHTLY) });
  await fleet.settle();
  const status = () => fleet.service.reconciler.state().tally.status;
  expect(status()).toMatchObject({ inSync: 2, pending: 0 });
  fleet.clock.advance(at('2026-05-05T02:30:00Z') - fleet.clock.now());
  await fleet.settle();
  expect(status()).toMatchObject({ inSync: 0, pending: 2 });
});

test('what was signed for one window lapses with it and is not what is served in the next', async () => {
  const fleet = await watchFleet('window-claims');
  await fleet.commit(
    'First',
    { 'fleet/fleet.yaml': FLEET },
    kiosk('1.0.0'),
    rollout('1.0.0', NIGHTLY, 'edge'),
  );
  const device = await fleet.join('d1', { product: 'kiosk', zone: 'UTC' });
  await fleet.simulation.settle();
  const { clock } = fleet.simulation;
  const fetchAt = async (time: string, headers = {}) => {
    clock.advance(at(time) - clock.now());
    const response = await device.fetchManifest(headers);
    const etag = response.headers.get('etag') ?? '';
    const body = await response.text();
    const claims = body === '' ? undefined : decodeJwt(body);
    const expires = claims?.exp === undefined ? undefined : formatInstant(claims.exp * 1000);
    return {
      status: response.status,
      etag,
      version: (claims?.['manifest'] as { version?: string })?.version,
      expires,
    };
  };

  const before = await fetchAt('2026-01-01T02:29:00Z');
  expect(before).toMatchObject({ status: 200, version: undefined });
  const first = await fetchAt('2026-01-01T02:30:00Z', { 'If-None-Match': before.etag });
  expect(first).toMatchObject({ status: 200, version: '1.0.0', expires: '2026-01-01T06:30:00Z' });
  expect(await fetchAt('2026-01-01T06:29:59Z', { 'If-None-Match': first.etag })).toMatchObject({
    status: 304,
  });
  const after = await fetchAt('2026-01-01T06:30:00Z', { 'If-None-Match': first.etag });
  expect(after).toMatchObject({ status: 200, version: undefined });
  const second = await fetchAt('2026-01-02T03:00:00Z', { 'If-None-Match': first.etag });
  expect(second).toMatchObject({ status: 200, version: '1.0.0', expires: '2026-01-02T06:30:00Z' });
  expect(second.etag).not.toBe(first.etag);

  // Once it has begun, the window does not bound it any more.
  const revision = (await device.poll())?.revision;
  if (revision === undefined) throw new Error('nothing is assigned');
  await device.report({ attempt: { revision, state: 'installing' } });
  const begun = await fetchAt('2026-01-02T03:05:00Z', { 'If-None-Match': second.etag });
  expect(begun).toMatchObject({ status: 200, version: '1.0.0' });
  expect(at(begun.expires ?? '') > at('2026-01-02T12:00:00Z')).toBe(true);
  const late = await fetchAt('2026-01-02T07:00:00Z');
  expect(late).toMatchObject({ status: 200, version: '1.0.0' });
});
