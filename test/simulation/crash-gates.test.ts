/** Gates over crashes in the whole loop: devices report, the server judges, outcomes tell. */
import { expect, test } from 'vitest';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { startCrashing } from './crashing-fleet.ts';

const SPEC = {
  gates: '{health: healthy, crashes: {events: crash, margin: 1}}',
  stages: '[{name: canary, size: 20%, soak: 24h}, {name: fleet, size: all, soak: 24h}]',
};

test('a canary that crashes ten times as often as untouched devices is rolled back, on evidence', async () => {
  const fleet = await startCrashing({
    devices: 100,
    spec: SPEC,
    crashes: (_device, version) => (version === '2.0.0' ? 0.2 : 0.02),
  });
  await fleet.release('2.0.0');
  await fleet.advance(12 * HOUR, 10 * MINUTE);
  const { state, cause, attempts } = await fleet.status();
  const attempt = attempts.at(-1);
  expect([state, cause]).toEqual(['rolledBack', 'gate']);
  expect(attempt?.breach).toMatchObject({ gate: 'crashes', severity: 'critical', action: 'rollBack' });
  expect(fleet.running('2.0.0')).toEqual([]);
  const verdict = attempt?.stages[0]?.verdict?.gates.find(({ name }) => name === 'crashes');
  expect(verdict).toMatchObject({ state: 'halts' });
  expect(verdict).toHaveProperty('rows');
});

test('a release that is as good as what ran before passes, and its gate says how sure it is', async () => {
  const fleet = await startCrashing({ devices: 100, spec: SPEC, crashes: () => 0.02 });
  await fleet.release('2.0.0');
  await fleet.advance(12 * HOUR, 10 * MINUTE);
  const { gates } = await fleet.status();
  expect(gates.find(({ name }) => name === 'crashes')).toMatchObject({ state: 'holds', stage: 'canary' });
  await fleet.advance(60 * HOUR, 10 * MINUTE);
  expect((await fleet.status()).state).toBe('succeeded');
});
