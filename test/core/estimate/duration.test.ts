import { describe, expect, test } from 'vitest';
import {
  BUG_CLASSES,
  type BugClass,
  shareShown,
  stageDuration,
} from '../../../src/core/estimate/duration.ts';
import { DAY, HOUR } from '../../../src/core/model/time.ts';

const hours = (ms: number) => ms / HOUR;

describe('S4.87 a stage lasts three times the mean time to failure, not until the first failure', () => {
  test('1,000 devices, 0.5 % of which fail after 4 h', () => {
    const found = stageDuration({ devices: 1000, failureRatio: 0.005, mttfMs: 4 * HOUR, confidence: 0.95 });
    expect(found.expectedFailures).toBe(5);
    expect(hours(found.firstFailureMs)).toBe(0.8);
    expect(found.chanceOfTwo).toBeCloseTo(0.9596, 4);
    expect(hours(found.minimumMs)).toBe(4);
    expect(hours(found.exactMs)).toBeCloseTo(11.98, 2);
    expect(hours(found.recommendedMs)).toBe(12);
    expect(found.shownByRecommended).toBeCloseTo(0.9502, 4);
  });

  test('250 devices, 2 % of which fail after 10 h, with a confidence of 99 %', () => {
    const found = stageDuration({ devices: 250, failureRatio: 0.02, mttfMs: 10 * HOUR, confidence: 0.99 });
    expect(found.expectedFailures).toBe(5);
    expect(hours(found.firstFailureMs)).toBe(2);
    expect(hours(found.minimumMs)).toBe(10);
    expect(hours(found.exactMs)).toBeCloseTo(46.05, 2);
    expect(hours(found.recommendedMs)).toBe(50);
    expect(found.shownByRecommended).toBeCloseTo(0.9933, 4);
  });

  test('fewer devices make two failures less likely, and the stage no longer', () => {
    const found = stageDuration({ devices: 300, failureRatio: 0.005, mttfMs: 4 * HOUR, confidence: 0.95 });
    expect(found.expectedFailures).toBe(1.5);
    expect(found.chanceOfTwo).toBeCloseTo(0.4422, 4);
    expect(hours(found.recommendedMs)).toBe(12);
  });
});

describe('S4.88 the class of bug sets the minimum', () => {
  test.each<[BugClass, number, number | undefined]>([
    ['catastrophic', 6 * HOUR, 12 * HOUR],
    ['moderate', 48 * HOUR, 72 * HOUR],
    ['rare', 7 * DAY, undefined],
  ])('%s bugs', (bugClass, minMs, maxMs) => {
    expect(BUG_CLASSES[bugClass]).toEqual({ minMs, maxMs });
    // One hour of MTTF recommends three: less than any class takes.
    const bug = { devices: 1000, failureRatio: 0.005, mttfMs: HOUR, confidence: 0.95 };
    expect(stageDuration({ ...bug, bugClass })).toMatchObject({ minimumMs: minMs, recommendedMs: minMs });
    expect(stageDuration(bug)).toMatchObject({ minimumMs: HOUR, recommendedMs: 3 * HOUR });
  });

  test('a longer mean time to failure outweighs it', () => {
    const bug = { devices: 1000, failureRatio: 0.005, mttfMs: 60 * HOUR, confidence: 0.95 };
    const found = stageDuration({ ...bug, bugClass: 'moderate' });
    expect(found).toMatchObject({ minimumMs: 60 * HOUR, recommendedMs: 180 * HOUR });
  });
});

test('of the failures 63 % have shown after one MTTF, and 86 % after two', () => {
  expect(shareShown(0, HOUR)).toBe(0);
  expect(shareShown(HOUR, HOUR)).toBeCloseTo(0.632, 3);
  expect(shareShown(2 * HOUR, HOUR)).toBeCloseTo(0.865, 3);
});
