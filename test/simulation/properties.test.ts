/**
 * Random histories of a small fleet. After every step each promise of promises.ts is looked at; in the end people make
 * order, and the fleet must arrive where main wants it. A counterexample that was found is in properties-found.test.ts.
 * TIDEGATE_FUZZ_RUNS raises the number of histories.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { createChaos, wishFiles } from './chaos.ts';
import { FLEET } from './fleet-files.ts';
import { command, play } from './history.ts';

const RUNS = Number(process.env['TIDEGATE_FUZZ_RUNS'] ?? 25);

test('whatever happens, every promise holds and the fleet converges', { timeout: 3_600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 4, maxLength: 20 }), async (history) => {
      await play(history);
    }),
    { numRuns: RUNS, endOnFailure: false },
  );
});

const WISH = { stages: 1, condition: 0, priority: 10, suspend: false, onFailure: 'rollback' } as const;

/** What outcomes says after a good, a better and a bad release, with devices that enrol and poll in this order. */
async function recordOf(ids: readonly string[]): Promise<string> {
  const chaos = await createChaos({ seed: 'order', onPoll: async () => undefined });
  await chaos.commit('Begin', { 'fleet/fleet.yaml': FLEET });
  await chaos.settle();
  const tags = { product: 'kiosk' };
  await chaos.enrol(...ids.map((id) => ({ id: id as DeviceId, tags })));
  for (const version of ['1.0.0', '1.1.0', '1.2.0-bad']) {
    await chaos.commit(`Release ${version}`, wishFiles('kiosk', { ...WISH, version }));
    await chaos.advance(4);
  }
  return JSON.stringify([...chaos.service().reconciler.state().outcomes]);
}

test('equal histories give equal outcomes, whatever the order of the devices', async () => {
  const ids = Array.from({ length: 7 }, (_, n) => `device-${n}`);
  const record = await recordOf(ids);
  expect(record).toContain('rolledBack');
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray(ids, { minLength: ids.length }), async (order) => {
      expect(await recordOf(order)).toBe(record);
    }),
    { numRuns: 6 },
  );
});
