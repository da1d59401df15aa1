import fc from 'fast-check';
import { expect, test } from 'vitest';
import { observedFrom, readObservations } from '../../../src/core/gates/outside.ts';
import { HOUR, MINUTE, SECOND } from '../../../src/core/model/time.ts';

const NOW = Date.UTC(2026, 0, 2);

test('any window of posted numbers halts that begins with a stage, as if each were looked at by itself', () => {
  const minute = fc.record({ at: fc.nat({ max: 60 }), sum: fc.nat({ max: 5 }) });
  const given = fc.record({
    posted: fc.uniqueArray(minute, { selector: ({ at }) => at, maxLength: 30 }),
    window: fc.integer({ min: 1, max: 20 }),
    above: fc.nat({ max: 20 }),
    opened: fc.nat({ max: 60 }),
  });
  fc.assert(
    fc.property(given, ({ posted, window, above, opened }) => {
      const minutes = posted.map(({ at, sum }) => ({ at: NOW - at * MINUTE, sum }));
      const from = NOW - opened * MINUTE;
      const gate = {
        name: 'g',
        kind: 'observations',
        metric: 'm',
        windowMs: window * MINUTE,
        above,
      } as const;
      const isTooMuch = minutes.some(({ at: first }) => {
        const within = minutes.filter(
          ({ at }) => at >= Math.max(first, from) && at < first + window * MINUTE,
        );
        return within.reduce((total, { sum }) => total + sum, 0) > above;
      });
      const { state } = readObservations(gate, minutes, { from, now: NOW });
      expect(state === 'halts').toBe(isTooMuch);
      const isHeard = posted.some(({ at }) => at < window);
      if (!isTooMuch) expect(state).toBe(isHeard ? 'holds' : 'missing');
    }),
    { numRuns: 2000 },
  );
});

test('a stage is judged from the minute on that it opened in, and after a decision from the next one', () => {
  const openedAt = NOW + 30 * SECOND;
  expect(observedFrom({ openedAt })).toBe(NOW);
  const sinceAt = NOW + HOUR + 10 * SECOND;
  const watch = { sinceAt, hourAt: NOW + HOUR, less: {} };
  expect(observedFrom({ openedAt, watch })).toBe(NOW + HOUR + MINUTE);
});
