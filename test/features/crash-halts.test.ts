/** What a halt does, and what it leaves behind. */
import { expect, test } from 'vitest';
import { assign } from '../../src/core/assign/assign.ts';
import type { Attempt } from '../../src/core/model/outcome.ts';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { createService } from '../../src/service.ts';
import { createDirectClient } from '../../src/simulate/direct-client.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { type CrashingFleet, startCrashing } from '../simulation/crashing-fleet.ts';

const STEP = 10 * MINUTE;
const PAUSE = '[{from: 0, severity: high, action: pause, within: 24h}]';
const BACK = '[{from: 0, severity: critical, action: rollBack, within: 2h}]';

const crashing = (ladder: string, more: { readonly healthy?: number; readonly bad?: number } = {}) =>
  startCrashing({
    devices: 60,
    spec: {
      gates: `{health: healthy, crashes: {events: crash, margin: 1, ladder: ${ladder}}}`,
      stages: '[{name: canary, size: 20%, soak: 24h}, {name: fleet, size: all}]',
    },
    crashes: (_device, version) => (version === '2.0.0' ? (more.bad ?? 0.3) : (more.healthy ?? 0.01)),
  });

async function untilBreach(fleet: CrashingFleet): Promise<void> {
  for (let steps = 0; steps < 24 * 6 && (await fleet.status()).breach === undefined; steps += 1)
    await fleet.advance(STEP, STEP);
  expect((await fleet.status()).breach).toBeDefined();
}

test('S4.24 after the pass that sees too many crashes, no device is offered what it did not have', async () => {
  const fleet = await crashing(PAUSE);
  await fleet.release('2.0.0');
  await untilBreach(fleet);
  const had = new Set(fleet.running('2.0.0'));
  expect(had.size).toBe(12);
  const { published } = fleet.service.reconciler.state();
  for (const { id } of fleet.devices) {
    const device = await fleet.store.device(id);
    if (published === undefined || device === undefined) throw new Error(`${id} is gone`);
    const assignment = assign(published.program, device, fleet.clock.now());
    const version = assignment.kind === 'revision' ? assignment.revision.manifest.version : undefined;
    expect(version).toBe(had.has(id) ? '2.0.0' : '1.0.0');
  }
  await fleet.advance(6 * HOUR, STEP);
  expect(new Set(fleet.running('2.0.0'))).toEqual(had);
});

test('S4.23 a rollback records how long it took until the last device had left, here within two hours', async () => {
  const fleet = await crashing(BACK);
  await fleet.release('2.0.0');
  await untilBreach(fleet);
  await fleet.advance(3 * HOUR, STEP);
  const { restored } = (await fleet.status()).attempts.at(-1) as Attempt;
  expect(fleet.running('2.0.0')).toEqual([]);
  expect(restored?.timeToRestoreMs).toBeGreaterThan(0);
  expect(restored?.timeToRestoreMs).toBeLessThanOrEqual(2 * HOUR);
});

test('S5.13 a hundred failures of several kinds are in buckets, the largest first, unknown ones among them', async () => {
  const categories = ['install.disk-full', 'download.timeout', undefined, 'boot.kernel-panic'] as const;
  const shares = [50, 30, 15, 5];
  const fleet = await startCrashing({
    devices: 100,
    spec: {
      gates: '{health: healthy}',
      errorThreshold: '100',
      onFailure: 'pause',
      stages: '[{name: fleet, size: all}]',
    },
    crashes: () => 0,
    install: ({ id }, { version }) => {
      if (version !== '2.0.0') return { takesMs: 5 * MINUTE };
      let n = Number(id.slice(-3)) || 100;
      const bucket = shares.findIndex((share) => {
        n -= share;
        return n <= 0;
      });
      const category = categories[bucket];
      return {
        takesMs: 5 * MINUTE,
        failure: category === undefined ? { message: 'it broke' } : { category },
      };
    },
  });
  await fleet.release('2.0.0');
  await fleet.advance(2 * HOUR, STEP);
  const expected = [
    { category: 'install.disk-full', devices: 50 },
    { category: 'download.timeout', devices: 30 },
    { category: 'uncategorised', devices: 15 },
    { category: 'boot.kernel-panic', devices: 5 },
  ];
  const { state, stages, attempts } = await fleet.status();
  expect(state).toBe('paused');
  expect(stages[0]?.failures).toEqual(expected);
  expect(attempts.at(-1)?.stages[0]?.verdict?.failures).toEqual(expected);
});

test('evidence that was half way to a halt outlives the store: it is in the record, and counting goes on from there', async () => {
  const fleet = await crashing(PAUSE, { bad: 0.05 });
  await fleet.release('2.0.0');
  const stage = async () => (await fleet.status()).attempts.at(-1)?.stages[0];
  for (let steps = 0; steps < 20 * 6 && (await stage())?.verdict === undefined; steps += 1)
    await fleet.advance(STEP, STEP);
  const recorded = (await stage())?.verdict?.gates.find(({ name }) => name === 'crashes');
  if (recorded === undefined || !('rows' in recorded)) throw new Error('nothing was recorded');
  const incidents = recorded.rows?.reduce((sum, row) => sum + row[1], 0) ?? 0;
  expect((await fleet.status()).state).toBe('running');
  expect(incidents).toBeGreaterThan(2);

  // The database is gone; devices enrol again and report, and the record is what is left.
  const { git, keys, clock } = fleet;
  const service = createService({
    git,
    store: createMemoryStore({ epoch: 'another' }),
    keys,
    clock,
    randomHex: () => '0'.repeat(32),
  });
  const settle = async () => {
    while ((await service.reconciler.pass()).again);
  };
  await settle();
  for (const device of fleet.devices) {
    const client = await createDirectClient(service, device);
    await client.report({
      bootId: 'anew',
      seq: 1,
      generation: 0,
      ...(device.running() === undefined ? {} : { running: device.running() as never }),
      signals: { healthy: true },
      exposureHours: 0.1,
      events: {},
    });
  }
  await settle();
  const response = await service.app.request('/api/rollouts/kiosk');
  const { gates } = (await response.json()) as { gates: { name: string; because: string }[] };
  const said = gates.find(({ name }) => name === 'crashes')?.because ?? '';
  expect(said).toMatch(new RegExp(`^${incidents} crash in `));
  await service.close();
});
