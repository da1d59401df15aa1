import { describe, expect, test } from 'vitest';
import { expectedIncidents, incidentRatio } from '../../../src/core/estimate/incidents.ts';
import { HOUR, MINUTE } from '../../../src/core/model/time.ts';

describe('S4.16 devices × rate × hours is what is to be expected', () => {
  test('25,000 meters that crash 0.002 times an hour: 50 an hour', () => {
    expect(expectedIncidents({ devices: 25_000, ratePerDeviceHour: 0.002, durationMs: HOUR })).toBe(50);
  });

  test('40,000 that crash half as often, in 90 minutes: 60', () => {
    const durationMs = 90 * MINUTE;
    expect(expectedIncidents({ devices: 40_000, ratePerDeviceHour: 0.001, durationMs })).toBe(60);
  });
});

describe('S4.17 a canary is to be compared with what as many devices have anyway', () => {
  test('1,250 devices in 4 h: 10 crashes', () => {
    expect(expectedIncidents({ devices: 1250, ratePerDeviceHour: 0.002, durationMs: 4 * HOUR })).toBe(10);
  });

  test('500 devices in 6 h, at 0.003: 9', () => {
    expect(expectedIncidents({ devices: 500, ratePerDeviceHour: 0.003, durationMs: 6 * HOUR })).toBe(9);
  });
});

describe('S4.18 observed ÷ expected says how much worse it is', () => {
  test('40 where 10 are expected: 4 times', () => {
    expect(incidentRatio({ observed: 40, expected: 10 })).toBe(4);
  });

  test('3 where 12 are expected: a quarter', () => {
    expect(incidentRatio({ observed: 3, expected: 12 })).toBe(0.25);
  });

  test('where nothing is expected nothing is as always, and one is more than any multiple', () => {
    expect(incidentRatio({ observed: 0, expected: 0 })).toBe(1);
    expect(incidentRatio({ observed: 1, expected: 0 })).toBe(Number.POSITIVE_INFINITY);
  });
});
