/** The way back for some of the devices only: a hardware revision or a region. */
import { expect, test } from 'vitest';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { type CrashingFleet, startCrashing } from '../simulation/crashing-fleet.ts';

const STEP = 10 * MINUTE;
const SPEC = {
  // However many times as often it is, somebody is to look first.
  gates:
    '{health: healthy, crashes: {events: crash, margin: 1, ladder: [{from: 0, severity: moderate, action: monitor, within: 48h}]}}',
  stages: '[{name: canary, size: 40%, soak: 24h, successThreshold: 90%}, {name: fleet, size: all, soak: 1h}]',
};

/** Revision b does not stand 2.0.0; every second device has it, and every third is in the south. */
const cohortFleet = () =>
  startCrashing({
    devices: 60,
    spec: SPEC,
    tagsOf: (n) => ({ hardwareRevision: n % 2 === 0 ? 'b' : 'a', region: n % 3 === 0 ? 'south' : 'north' }),
    crashes: ({ tags }, version) => (version === '2.0.0' && tags['hardwareRevision'] === 'b' ? 0.12 : 0.01),
  });

const versions = (fleet: CrashingFleet, tag: string, value: string) =>
  new Set(fleet.devices.filter(({ tags }) => tags[tag] === value).map((device) => device.runs()?.version));

test('S4.28 a hardware revision returns, the others keep the new version and go on', async () => {
  const fleet = await cohortFleet();
  await fleet.release('2.0.0');
  for (let hours = 0; hours < 24 && (await fleet.status()).breach === undefined; hours += 1)
    await fleet.advance(HOUR, STEP);
  const { state, breach } = await fleet.status();
  expect(['monitoring', 'paused']).toContain(state);
  expect(breach?.clusters?.[0]).toMatchObject({ tag: 'hardwareRevision', value: 'b' });
  const before = fleet.running('2.0.0').length;
  expect(before).toBeGreaterThan(10);

  await fleet.release('2.0.0', { exclude: "tags.hardwareRevision = 'b'" });
  await fleet.advance(HOUR, STEP);
  expect(versions(fleet, 'hardwareRevision', 'b')).toEqual(new Set(['1.0.0']));
  const kept = fleet.devices
    .filter(({ tags }) => tags['hardwareRevision'] === 'a')
    .filter((device) => device.runs()?.version === '2.0.0');
  expect(kept.length).toBeGreaterThan(5);

  await fleet.operate('{action: resume, attempt: 2, by: ada}');
  await fleet.advance(30 * HOUR, STEP);
  expect((await fleet.status()).state).toBe('succeeded');
  expect(versions(fleet, 'hardwareRevision', 'a')).toEqual(new Set(['2.0.0']));
  expect(versions(fleet, 'hardwareRevision', 'b')).toEqual(new Set(['1.0.0']));

  // Mended for revision b: those are newcomers, and the stages run for them alone.
  await fleet.release('2.0.0');
  await fleet.advance(HOUR, STEP);
  const again = await fleet.status();
  expect(again.attempt).toBe(3);
  expect(again.attempts.at(-1)?.stages[0]?.units).toBeLessThanOrEqual(30);
});

test('S4.28 a region returns after the rollout has succeeded, and nobody else does', async () => {
  const fleet = await startCrashing({
    devices: 30,
    spec: { ...SPEC, gates: '{health: healthy}', stages: '[{name: fleet, size: all}]' },
    tagsOf: (n) => ({ region: n % 3 === 0 ? 'south' : 'north' }),
    crashes: () => 0,
  });
  await fleet.release('2.0.0');
  await fleet.advance(8 * HOUR, STEP);
  expect((await fleet.status()).state).toBe('succeeded');
  await fleet.release('2.0.0', { exclude: "tags.region = 'south'" });
  await fleet.advance(2 * HOUR, STEP);
  expect(versions(fleet, 'region', 'south')).toEqual(new Set(['1.0.0']));
  expect(versions(fleet, 'region', 'north')).toEqual(new Set(['2.0.0']));
});

test('an exclusion that is still in the file after its attempt was taken back returns nobody any further', async () => {
  const fleet = await startCrashing({
    devices: 20,
    spec: {
      gates: '{health: healthy}',
      stages: '[{name: canary, size: 50%, soak: 24h}, {name: fleet, size: all}]',
    },
    tagsOf: (n) => ({ region: n % 2 === 0 ? 'south' : 'north' }),
    crashes: () => 0,
  });
  await fleet.release('2.0.0');
  await fleet.advance(HOUR, STEP);
  const exclude = "tags.region = 'south'";
  await fleet.release('2.0.0', { exclude });
  await fleet.advance(HOUR, STEP);
  expect(versions(fleet, 'region', 'south')).toEqual(new Set(['1.0.0']));
  await fleet.release('1.0.0', { exclude });
  await fleet.advance(2 * HOUR, STEP);
  const { attempts, devices } = await fleet.status();
  expect(attempts.at(-1)).toMatchObject({ state: 'rolledBack', cause: 'reverted' });
  expect(attempts[0]).not.toHaveProperty('exclude');
  expect(devices).toMatchObject({ actual: 20, healthy: 20 });
});
