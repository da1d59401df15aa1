/** Evidence that may be looked at at any time: golden values, and that bets are fair. What comes of it: operating-points.test.ts. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Arm,
  type Bets,
  betAgainstControl,
  betOnMean,
  betOnRate,
  betOnShare,
  logEvidence,
  noBets,
  ODDS_GRID,
  RATE_GRID,
  reaches,
  SAFE_GRID,
  STAKE_GRID,
} from '../../../src/core/gates/e-process.ts';

const ALPHA = 0.05;
const evidence = (bets: Bets) => Math.exp(logEvidence(bets));
const rate = (incidents: number, expected: number, grid = RATE_GRID) =>
  evidence(betOnRate(noBets(grid), { incidents, expected }, grid));
const control = (treated: Arm, untouched: Arm, margin = 1) =>
  evidence(betAgainstControl(noBets(RATE_GRID), { treated, control: untouched, margin }));

describe('golden values', () => {
  test('incidents at a known rate', () => {
    expect(rate(40, 10)).toBeCloseTo(28_294_178_108.8, 0);
    expect(rate(20, 10)).toBeCloseTo(17.528_392_127_2, 9);
    expect(rate(0, 0)).toBe(1);
    expect(rate(0, 10)).toBeLessThan(0.01);
  });

  test('incidents against a control', () => {
    const e = control({ incidents: 40, exposure: 5000 }, { incidents: 190, exposure: 95_000 });
    expect(e / 3_313_751_464.61).toBeCloseTo(1, 10);
    // A share that is exactly the control's says nothing for a regression.
    expect(control({ incidents: 10, exposure: 5000 }, { incidents: 190, exposure: 95_000 })).toBeLessThan(1);
  });

  test('a count in one interval is that count in many', () => {
    let bets = noBets(RATE_GRID);
    for (let hour = 0; hour < 20; hour += 1) bets = betOnRate(bets, { incidents: 1, expected: 0.5 });
    expect(evidence(bets)).toBeCloseTo(17.528_392_127_2, 9);
  });

  test('numbers of any size are no overflow', () => {
    expect(logEvidence(betOnRate(noBets(RATE_GRID), { incidents: 1e6, expected: 1 }))).toBeGreaterThan(2e6);
    expect(logEvidence(betOnRate(noBets(RATE_GRID), { incidents: 0, expected: 1e6 }))).toBeLessThan(-4e5);
    expect(reaches(betOnRate(noBets(RATE_GRID), { incidents: 1e6, expected: 1 }), ALPHA)).toBe(true);
  });
});

describe('a fair bet, whatever is bet on: its mean is 1 where things are exactly as bad as they may be', () => {
  /** Σ P(X = k) · E(k), over so many k that the rest is nothing. */
  const mean = (probability: (k: number) => number, value: (k: number) => number, most: number) => {
    let sum = 0;
    for (let k = 0; k <= most; k += 1) sum += probability(k) * value(k);
    return sum;
  };
  const logFactorial = (n: number) => {
    let sum = 0;
    for (let k = 2; k <= n; k += 1) sum += Math.log(k);
    return sum;
  };
  const poisson = (mu: number) => (k: number) => Math.exp(k * Math.log(mu) - mu - logFactorial(k));
  const binomial = (n: number, p: number) => (k: number) =>
    Math.exp(
      logFactorial(n) - logFactorial(k) - logFactorial(n - k) + k * Math.log(p) + (n - k) * Math.log(1 - p),
    );

  test('on a rate', () => {
    for (const mu of [0.1, 1, 7.5]) expect(mean(poisson(mu), (k) => rate(k, mu), 140)).toBeCloseTo(1, 6);
    for (const mu of [1, 20]) expect(mean(poisson(mu), (k) => rate(k, mu, SAFE_GRID), 140)).toBeCloseTo(1, 6);
  });

  test('on a rate against a control, given all that happened', () => {
    for (const [e1, e0, margin, all] of [
      [50, 950, 1, 30],
      [500, 500, 1.25, 12],
    ] as const) {
      const share = (margin * e1) / (margin * e1 + e0);
      const value = (k: number) =>
        control({ incidents: k, exposure: e1 }, { incidents: all - k, exposure: e0 }, margin);
      expect(mean(binomial(all, share), value, all)).toBeCloseTo(1, 8);
    }
  });

  test('on a share', () => {
    const value = (k: number) =>
      evidence(betOnShare(noBets(ODDS_GRID), { failures: k, trials: 60, allowed: 0.02 }));
    expect(mean(binomial(60, 0.02), value, 60)).toBeCloseTo(1, 8);
  });

  test('on a mean', () => {
    const coin = (p: number) =>
      p * evidence(betOnMean(noBets(STAKE_GRID), 1)) + (1 - p) * evidence(betOnMean(noBets(STAKE_GRID), -1));
    expect(coin(0.5)).toBeCloseTo(1, 12);
    expect(coin(0.4)).toBeLessThan(1);
    expect(evidence(betOnMean(noBets(STAKE_GRID), 50))).toBe(evidence(betOnMean(noBets(STAKE_GRID), 1)));
  });
});

test('more incidents are more evidence, more exposure is less, and no number breaks it', () => {
  fc.assert(
    fc.property(
      fc.nat(10_000),
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      fc.nat(10_000),
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      (x, e1, y, e0) => {
        const known = (incidents: number, expected: number) =>
          logEvidence(betOnRate(noBets(RATE_GRID), { incidents, expected }));
        expect(known(x + 1, e1)).toBeGreaterThan(known(x, e1));
        expect(known(x, e1 + 1)).toBeLessThan(known(x, e1));
        const two = betAgainstControl(noBets(RATE_GRID), {
          treated: { incidents: x, exposure: e1 },
          control: { incidents: y, exposure: e0 },
          margin: 1.25,
        });
        expect(Number.isNaN(logEvidence(two))).toBe(false);
      },
    ),
  );
});
