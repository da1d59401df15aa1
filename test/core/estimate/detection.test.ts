import { describe, expect, test } from 'vitest';
import {
  growthToFind,
  sightOfCount,
  sightOfEvents,
  sightOfShares,
} from '../../../src/core/estimate/detection.ts';
import type { EventGate, ShareGate } from '../../../src/core/model/gate.ts';

const PER_DAY = 0.0002 / 24;
const threshold: EventGate = {
  name: 'crashes',
  kind: 'events',
  event: 'crash',
  against: { kind: 'control' },
  method: { kind: 'threshold', haltRatio: 3, forMs: 0 },
};
const known: EventGate = {
  ...threshold,
  against: { kind: 'known', value: 1 },
  method: { kind: 'sequential', margin: 1 },
};
const control: EventGate = { ...known, against: { kind: 'control' } };
const seen = (treatedHours: number, ratePerHour: number, controlHours = 0) => ({
  treatedHours,
  controlHours,
  ratePerHour,
  incidentsMax: 1e6,
});

describe('what a gate over events can see', () => {
  test('a threshold halts above its multiple, and one incident may be above it', () => {
    const day = sightOfEvents(threshold, seen(1250 * 24, PER_DAY), 0.05);
    expect(day).toMatchObject({ expected: 0.25, haltsAt: 1 });
    expect(day.falseHaltChance).toBeCloseTo(1 - Math.exp(-0.25), 12);
    const next = sightOfEvents(threshold, seen(12_500 * 24, PER_DAY), 0.05);
    expect(next).toMatchObject({ expected: 2.5, haltsAt: 8 });
    expect(next.falseHaltChance).toBeCloseTo(0.00425, 5);
  });

  test('what is exactly the multiple does not halt', () => {
    expect(sightOfEvents(threshold, seen(100, 0.02), 0.05)).toMatchObject({ expected: 2, haltsAt: 7 });
  });

  test('evidence halts at the number with which E reaches 1/α', () => {
    // E(20, 10) = 17.5 and E(21, 10) is above 20: the golden values of the e-process.
    expect(sightOfEvents(known, seen(100, 0.1), 0.05)).toMatchObject({ expected: 10, haltsAt: 21 });
    expect(sightOfEvents(known, seen(100, 0.1), 1 / 17.5)).toMatchObject({ haltsAt: 20 });
  });

  test('a smaller share of α takes more incidents, and a control arm more than a rate that is known', () => {
    const alone = sightOfEvents(known, seen(100, 0.1), 0.05).haltsAt ?? 0;
    expect(sightOfEvents(known, seen(100, 0.1), 0.025).haltsAt).toBeGreaterThan(alone);
    expect(sightOfEvents(control, seen(100, 0.1, 1900), 0.05).haltsAt).toBeGreaterThanOrEqual(alone);
  });

  test('with hardly any control arm its rate is used', () => {
    expect(sightOfEvents(control, seen(100, 0.1, 5), 0.05)).toEqual(
      sightOfEvents(known, seen(100, 0.1), 0.05),
    );
  });

  test('more exposure never sees less', () => {
    const ratios = [1, 2, 5, 10, 50].map(
      (factor) =>
        sightOfEvents(control, seen(500 * factor, 0.01, 5000 * factor), 0.05).smallestRatio ?? Infinity,
    );
    expect([...ratios].sort((a, b) => b - a)).toEqual(ratios);
  });

  test('what cannot be counted cannot halt', () => {
    const few = { ...seen(10, 0.001), incidentsMax: 1 };
    expect(sightOfEvents(known, few, 0.05)).toEqual({ expected: 0.01, falseHaltChance: 0 });
    expect(sightOfEvents(known, seen(0, 0.001), 0.05)).toEqual({ expected: 0, falseHaltChance: 0 });
    expect(sightOfEvents(threshold, seen(10, 0), 0.05)).toEqual({ expected: 0, falseHaltChance: 0 });
  });

  test('the growth it asks for is enough, and not much more than enough', () => {
    const small = { ...seen(1000, 0.002, 20_000), incidentsMax: 500 };
    const growth = growthToFind(control, small, { ratio: 2, alpha: 0.05 }) ?? Number.NaN;
    const grown = (factor: number) =>
      sightOfEvents(
        control,
        { ...small, treatedHours: 1000 * factor, controlHours: 20_000 * factor, incidentsMax: 500 * factor },
        0.05,
      ).smallestRatio ?? Infinity;
    expect(grown(growth)).toBeLessThanOrEqual(2);
    expect(grown(growth * 0.9)).toBeGreaterThan(2);
    expect(growthToFind(control, small, { ratio: 1000, alpha: 0.05 })).toBe(1);
  });
});

describe('what a share can see', () => {
  test('is the share that reaches the limit in four of five cases', () => {
    // P(X ≥ 1) = 1 − (1 − p)^8 = 0.8.
    expect(sightOfCount(1, 8).smallestShare).toBeCloseTo(1 - 0.2 ** (1 / 8), 5);
    expect(sightOfCount(9, 8)).toEqual({ haltsAt: 9, devices: 8 });
  });

  test('keeps its digits where most of many devices fail', () => {
    const { smallestShare = 0 } = sightOfCount(180_000, 200_000);
    expect(smallestShare).toBeGreaterThan(0.9);
    expect(smallestShare).toBeLessThan(0.902);
  });

  test('above a share halts with the next device, and bets halt by evidence', () => {
    const gate: ShareGate = {
      name: 'back',
      kind: 'share',
      of: 'rolledBack',
      limit: { kind: 'above', share: 0.1 },
    };
    expect(sightOfShares(gate, 100, 0.05)).toMatchObject({ haltsAt: 11, devices: 100 });
    const bets: ShareGate = { ...gate, limit: { kind: 'allowed', share: 0.1 } };
    expect(sightOfShares(bets, 100, 0.05)?.haltsAt).toBeGreaterThan(11);
    expect(sightOfShares({ ...gate, limit: { kind: 'drop', points: 0.05 } }, 100, 0.05)).toBeUndefined();
  });
});
