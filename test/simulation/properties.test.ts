/**
 * Random histories of a small fleet. After every step each promise of promises.ts is looked at; in the end people make
 * order, and the fleet must arrive where main wants it. A counterexample that was found is in properties-found.test.ts.
 * TIDEGATE_FUZZ_RUNS raises the number of histories.
 */
import fc from 'fast-check';
import { test } from 'vitest';
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
