/** What gates read, to the last digit of their limits. Each is a preset, or written as a person would write it. */
import { describe, expect, test } from 'vitest';
import { readMeasured, WATCH_ALL } from '../../../src/core/gates/measured.ts';
import type { GateReading } from '../../../src/core/gates/reading.ts';
import { type DeviceShares, readShare } from '../../../src/core/gates/share.ts';
import type { EventGate, Gate, MetricGate, ShareGate } from '../../../src/core/model/gate.ts';
import { HOUR } from '../../../src/core/model/time.ts';
import { load, ROLLOUT, replaced, rolloutOf } from '../../documents/sources.ts';

/** The gate as a rollout has it that writes this. */
function gateOf<Kind extends Gate['kind']>(kind: Kind, written: string): Extract<Gate, { kind: Kind }> {
  const text = replaced(ROLLOUT, 'health: runtime_healthy', `it: ${written}`);
  const [gate] = rolloutOf(load({ 'fleet/rollouts/kiosk.yaml': text })).gates;
  if (gate?.kind !== kind) throw new Error(`${written} is no gate over ${kind}`);
  return gate as Extract<Gate, { kind: Kind }>;
}

/** Of one hour: what the new revision had, in how much; and untouched devices. */
function measured(gate: EventGate | MetricGate, ...hours: readonly (readonly number[])[]): GateReading {
  const measure = gate.kind === 'events' ? `event:${gate.event}` : `metric:${gate.signal}`;
  const arm = (sum: number, over: number) =>
    gate.kind === 'events'
      ? { hours: over, measures: new Map([[measure, { sum, count: sum }]]) }
      : { hours: 0, measures: new Map([[measure, { sum, count: over }]]) };
  const closed = hours.map(([own = 0, ownOver = 0, other = 0, otherOver = 0], at) => ({
    at: at * HOUR,
    treated: arm(own, ownOver),
    control: arm(other, otherOver),
    stages: new Map(),
  }));
  return readMeasured(gate, {
    exposure: { closed, open: [] },
    watch: WATCH_ALL,
    previous: {},
    alpha: 0.05,
  });
}

const SHARES: DeviceShares = {
  afterMs: HOUR,
  attempted: 100,
  failed: 0,
  rolledBack: 0,
  reached: 100,
  silent: 0,
  control: 100,
  controlSilent: 0,
};

function shared(gate: ShareGate, seen: Partial<DeviceShares>): GateReading {
  return readShare(gate, { ...SHARES, ...seen }, 0.05);
}

test('S4.30 three reboots of two devices in twelve hours are 0.125 per device-hour', () => {
  const gate = (rate: number) =>
    gateOf('events', `{events: reboot, rate: ${rate}, method: threshold, haltRatio: 1}`);
  const hours = [3, 2 * 12, 0, 0];
  const reading = measured(gate(0.125), hours);
  expect(reading).toMatchObject({ ratio: 1, state: 'holds' });
  expect(reading.because).toContain('3 reboot in 24 device-hours');
  // A rate that is a thousandth lower is exceeded: what is read is 0.125 and no more.
  expect(measured(gate(0.124875), hours).state).toBe('halts');
});

test('S4.31 of 95 of 100 devices heard of, 95 % are heard of', () => {
  const above = gateOf('share', '{share: silent, above: 5%}');
  expect(shared(above, { silent: 5 })).toMatchObject({ state: 'holds', counts: [5, 100, 0, 100] });
  expect(shared(above, { silent: 6 }).state).toBe('halts');
  const reading = shared(gateOf('share', '{use: connectivity}'), { silent: 5 });
  expect(reading.because).toContain(
    '95 % of the devices are heard of, of untouched ones 100 %: 5 points less',
  );
});

test('S4.32 battery drain is the mean of the new revision over the mean of untouched devices', () => {
  const gate = gateOf('metric', '{use: battery-drain}');
  // 4 devices drain 6 on average, 10 others 5; the numbers of devices do not matter.
  expect(measured(gate, [24, 4, 50, 10]).ratio).toBeCloseTo(1.2, 12);
  expect(measured(gate, [24, 4, 50, 10]).because).toContain(
    'battery_drain is 6 on average, 1.20 times that of untouched devices (5)',
  );
  expect(measured(gate, [24, 4, 0, 0])).toMatchObject({ state: 'missing' });
});

test('S4.33 a gate over a number is accepted, whichever number it is', () => {
  expect(gateOf('metric', '{use: sensor-drift}')).toMatchObject({ signal: 'sensor_drift', worse: 'higher' });
  expect(
    gateOf('metric', '{metric: co2.ppm_error, mean: 12.5, worse: lower, range: [-50, 50]}'),
  ).toMatchObject({
    signal: 'co2.ppm_error',
    against: { kind: 'known', value: 12.5 },
    worse: 'lower',
    range: { from: -50, to: 50 },
  });
});

test('S4.35 the rollback rate is the devices that went back over those that tried', () => {
  const gate = gateOf('share', '{use: rollback-rate}');
  expect(shared(gate, { rolledBack: 3, attempted: 40, reached: 90 })).toMatchObject({
    counts: [3, 40, 0, 100],
    state: 'holds',
  });
  expect(shared(gate, { rolledBack: 3, attempted: 40 }).because).toContain(
    '3 of 40 devices went back by themselves (7.5 %)',
  );
  expect(shared(gate, { attempted: 0 }).state).toBe('missing');
});

test.each([
  ['S4.36', 'crash-2x', 20, 'holds'],
  ['S4.36', 'crash-2x', 21, 'halts'],
  ['S4.69', 'crash-3x', 30, 'holds'],
  ['S4.69', 'crash-3x', 31, 'halts'],
] as const)('%s %s with %d crashes where untouched devices have 10: %s', (_row, use, crashes, state) => {
  const gate = gateOf('events', `{use: ${use}}`);
  // In an uneven number of hours, so that rates are no round numbers.
  expect(measured(gate, [crashes, 333, 10, 333])).toMatchObject({ state, ratio: crashes / 10 });
});

test('S4.36 against a rate that is known: twice it holds, and more halts', () => {
  const gate = gateOf('events', '{events: crash, rate: 0.002, method: threshold, haltRatio: 2}');
  expect(measured(gate, [4, 1000, 0, 0]).state).toBe('holds');
  expect(measured(gate, [4, 999.9, 0, 0]).state).toBe('halts');
});

describe('S4.37 connectivity, of 1,000 devices and as many untouched ones of which 95 % are heard of', () => {
  const control = { reached: 1000, control: 1000, controlSilent: 50 };
  test.each([
    ['{points: 5}', 90.0, 'holds'],
    ['{points: 5}', 89.9, 'halts'],
    ['{share: 5%}', 90.3, 'holds'],
    ['{share: 5%}', 90.2, 'halts'],
  ])('drop: %s, and %d %% are: it %s', (drop, heard, state) => {
    const gate = gateOf('share', `{share: silent, drop: ${drop}}`);
    expect(shared(gate, { ...control, silent: Math.round(1000 - 10 * heard) }).state).toBe(state);
  });

  test('the preset counts points', () => {
    const gate = gateOf('share', '{use: connectivity}');
    expect(shared(gate, { ...control, silent: 100 }).state).toBe('holds');
    expect(shared(gate, { ...control, silent: 101 }).state).toBe('halts');
  });
});

test.each([
  ['S4.38', 'battery-drain', 1.2, 'holds'],
  ['S4.38', 'battery-drain', 1.21, 'halts'],
  ['S4.69', 'heating-runtime', 1.15, 'holds'],
  ['S4.69', 'heating-runtime', 1.16, 'halts'],
] as const)('%s %s at %d times that of untouched devices %s', (_row, use, times, state) => {
  const gate = gateOf('metric', `{use: ${use}}`);
  // A sum as additions make it, with what they round away.
  const sum = Array.from({ length: 1000 }, () => times * 0.1).reduce((a, b) => a + b, 0);
  expect(measured(gate, [sum, 1000, 100, 1000]).state).toBe(state);
});

test.each([
  ['S4.39', '{use: rollback-rate}', 10, 'holds'],
  ['S4.39', '{use: rollback-rate}', 11, 'halts'],
  ['S4.69', '{share: rolledBack, above: 2%}', 2, 'holds'],
  ['S4.69', '{share: rolledBack, above: 2%}', 3, 'halts'],
] as const)('%s %s, and %d of 100 went back: %s', (_row, written, rolledBack, state) => {
  expect(shared(gateOf('share', written), { rolledBack }).state).toBe(state);
});

describe('S5.35 a figure that has to be bad for three hours', () => {
  const gate = gateOf('metric', '{use: kpi}');
  const [good, bad] = [
    [10, 10, 20, 20],
    [9, 10, 20, 20],
  ];
  test.each([
    ['one of them', [good, bad, good], 'holds'],
    ['two of them', [good, bad, bad], 'holds'],
    ['all of them', [good, bad, bad, bad], 'halts'],
    ['three with a good one between', [bad, bad, good, bad], 'holds'],
  ])('%s: it %s', (_, hours, state) => {
    expect(measured(gate, ...hours).state).toBe(state);
  });

  test('1.1 times is not yet bad', () => {
    const edge = [10, 11, 20, 20];
    expect(measured(gate, edge, edge, edge).state).toBe('holds');
  });
});

describe('what is not above zero', () => {
  const lower = (more = '') => gateOf('metric', `{metric: kpi, worse: lower, ${more}}`);
  const higher = (more = '') => gateOf('metric', `{metric: heat, ${more}}`);

  test('a figure that has come down to zero is worse than any multiple', () => {
    const gate = lower('method: threshold');
    expect(measured(gate, [1, 100, 100, 100]).state).toBe('halts');
    expect(measured(gate, [0, 100, 100, 100])).toMatchObject({
      state: 'halts',
      ratio: Number.POSITIVE_INFINITY,
    });
    expect(measured(gate, [0, 100, 100, 100]).because).toContain('kpi is 0 on average, against that of');
    expect(measured(gate, [-5, 100, 100, 100]).state).toBe('halts');
  });

  test.each([
    ['higher', -100],
    ['higher', 0],
    ['lower', -100],
  ])('a threshold where %s is worse says that it has no multiple of %d', (worse, control) => {
    const gate = worse === 'higher' ? higher('method: threshold') : lower('method: threshold');
    expect(measured(gate, [50, 100, control, 100])).toMatchObject({
      state: 'missing',
      because: expect.stringContaining('of which nothing is a multiple; use method: sequential'),
    });
  });

  test('where all is zero nothing is wrong', () => {
    expect(measured(higher('method: threshold'), [0, 100, 0, 100]).state).toBe('holds');
  });

  test('a margin allows more also where it is below zero', () => {
    // Minus ten degrees: what is as cold goes on for days, what is warm is found within a day.
    const hours = (mean: number, count: number) =>
      Array.from({ length: count }, (_, n) => [100 * (mean + (n % 3) / 10), 100, -1000, 100]);
    const gate = higher('margin: 1.25');
    expect(measured(gate, ...hours(-10, 72)).logEvidence).toBeLessThan(0);
    expect(measured(gate, ...hours(2, 24)).logEvidence).toBeGreaterThan(Math.log(20));
    const down = lower('margin: 1.25');
    expect(measured(down, ...hours(-10, 72)).logEvidence).toBeLessThan(0);
    expect(measured(down, ...hours(-20, 24)).logEvidence).toBeGreaterThan(Math.log(20));
  });
});
