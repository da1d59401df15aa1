/** `tidegate plan`: figures for a stage, and for the pace of a rollout. */
import { describe, expect, test } from 'vitest';
import { run } from './fixture.ts';

const STAGE = ['--devices', '1000', '--failure-rate', '0.5%', '--mttf', '4h'];
const duration = (...args: readonly string[]) => run(['plan', 'duration', ...args]);
const durationJson = async (...args: readonly string[]) => {
  const { out, exit } = await duration(...args, '--format', 'json');
  expect(exit).toBe(0);
  return JSON.parse(out);
};

const COST = ['--fast', '9d', '--slow', '6w', '--affected-fast', '10000', '--affected-slow', '1000'];
const AMOUNTS = ['--cost-per-device', '200', '--delay-cost', '80000'];
const cost = (...args: readonly string[]) => run(['plan', 'cost', ...args]);
const HOUR = 3_600_000;

describe('plan duration', () => {
  test('S4.87 says for 1,000 devices at 0.5 % and 4 h what shows when', async () => {
    expect(await duration(...STAGE)).toEqual({
      exit: 0,
      err: '',
      out: `1,000 devices, 0.5% of which fail after 4h on average

  expected failures  5; at least 2 with a chance of 95.96%
  first failure      after 0.8h on average: MTTF ÷ (devices × failure rate) = 4h ÷ (1,000 × 0.5%)
  minimum            4h: the MTTF, by when 63.21% of the failures have shown
  recommended        12h: 3 × MTTF, by when 95.02% of the failures have shown; 95% have after 11.98h
  stage canary       6h by the rule of thumb

A stage may be shorter if the release mends an emergency, the change is cosmetic, it has been tested extensively or rollback is strong (quick, automatic, proven).
A stage should be longer if the devices are safety-critical, it is the first major release, earlier releases had incidents or rollback is weak (slow, manual, untried).
`,
    });
  });

  test('S4.87 says for 125 devices at 99 % that more of them would show more', async () => {
    const { out } = await duration(...STAGE, '--devices', '125', '--confidence', '99%');
    expect(out).toContain(
      '0.625; at least 2 with a chance of 13.02%; more devices would make that likelier, more time would not\n',
    );
    expect(out).toContain('  first failure      after 6.4h on average');
    expect(out).toContain('  recommended        20h: 5 × MTTF, by when 99.3262% ');
    expect(out).toContain('; 99% have after 18.42h\n');
  });

  test('S4.88 takes its minimum from the class of bug', async () => {
    const { out } = await duration(...STAGE, '--bug-class', 'moderate');
    expect(out).toContain('  minimum            48h, that of every moderate bug\n');
    expect(out).toContain('  bug class          moderate: such bugs take 48h to 72h to show\n');
    expect(await durationJson(...STAGE, '--bug-class', 'catastrophic')).toMatchObject({
      minimumMs: 6 * HOUR,
      recommendedMs: 12 * HOUR,
      bugClass: { class: 'catastrophic', minMs: 6 * HOUR, maxMs: 12 * HOUR },
    });
    expect(await durationJson(...STAGE, '--bug-class', 'rare')).toMatchObject({
      minimumMs: 168 * HOUR,
      bugClass: { class: 'rare', maxMs: null },
    });
  });

  test('S4.89 says what the kind of stage lasts, and why not its base', async () => {
    const args = ['--devices', '1250', '--rare-bug-rate', '0.2', '--safety-critical'];
    expect((await duration(...STAGE, ...args)).out).toContain(
      '  stage canary       18h by the rule of thumb: 6h × 2 (rare bugs are likely, 20% being above 10%) × 1.5 (safety-critical)\n',
    );
    const alpha = ['--stage', 'alpha', '--devices', '50', '--rare-bug-rate', '5%'];
    expect((await durationJson(...STAGE, ...alpha)).adaptive).toEqual({
      stage: 'alpha',
      durationMs: 12 * HOUR,
      baseMs: 24 * HOUR,
      factors: [{ factor: 0.5, reason: 'small stage' }],
    });
  });

  test('S4.90 says what the circumstances speak for', async () => {
    const shorter = await duration(...STAGE, '--emergency', '--strong-rollback');
    expect(shorter.out).toContain(
      'Shorter: the release mends an emergency and rollback is strong (quick, automatic, proven). The minimum of 4h may do.\n',
    );
    expect(shorter.out).toContain('A stage may be shorter if the change is cosmetic or it has been tested');
    const longer = await duration(...STAGE, '--first-major');
    expect(longer.out).toContain('Longer: it is the first major release. Take more than 12h.\n');
    const both = await duration(...STAGE, '--cosmetic', '--incident-history');
    expect(both.out).toContain('They disagree: 12h stays the figure to begin with.\n');
    expect(await durationJson(...STAGE, '--cosmetic', '--incident-history')).toMatchObject({
      pace: null,
      shorter: ['cosmetic'],
      longer: ['incidentHistory'],
    });
    const every = ['--cosmetic', '--emergency', '--extensive-tests', '--strong-rollback'];
    expect((await duration(...STAGE, ...every)).out).not.toContain('may be shorter');
  });

  test.each([
    ['S4.21', '1250', '25000', '1,250 devices; going on reaches 23,750 more, 19 times as many'],
    ['S4.21', '2500', '10000', '2,500 devices; going on reaches 7,500 more, 3 times as many'],
    ['S4.22', '1250', '25000', 'halting prevents 95% of the damage'],
    ['S4.22', '2500', '10000', 'halting prevents 75% of the damage'],
  ])('%s says what halting at %s of %s spares', async (_row, devices, fleet, words) => {
    const { out } = await duration(...STAGE, '--devices', devices, '--fleet-size', fleet);
    expect(out).toContain('  halting here       affects ');
    expect(out).toContain(words);
  });

  test('times of less than six minutes keep their digits', async () => {
    const { out } = await duration('--devices', '10', '--failure-rate', '100%', '--mttf', '5m');
    expect(out).toContain('  first failure      after 30s on average');
    expect(out).toContain('  recommended        0.25h: 3 × MTTF');
  });

  test.each([
    [['--failure-rate', '0.5'], 'It must be a percentage above 0% and at most 100%, as 0.5%'],
    [['--failure-rate', '0%'], 'It must be a percentage above 0%'],
    [['--devices', '0'], 'It must be a positive whole number.'],
    [['--mttf', '0h'], 'It must be a duration such as 90m, 4h or 6w.'],
    [['--mttf', '4'], 'It must be a duration such as 90m, 4h or 6w.'],
    [['--rare-bug-rate', '20'], 'It must be a number from 0 to 1 or a percentage, as 0.2 or 20%.'],
    [['--stage', 'gamma'], 'Allowed choices are alpha, beta, canary, early, regional, full.'],
    [['--bug-class', 'odd'], 'Allowed choices are catastrophic, moderate, rare.'],
    [['--strong-rollback', '--weak-rollback'], "cannot be used with option '--strong-rollback'"],
    [['--confidence', '100%'], '--confidence must be below 100%'],
    [['--fleet-size', '20'], '--fleet-size must be at least the 1,000 --devices of the stage, found 20'],
  ])('%j is wrong use', async (args, message) => {
    const { exit, out, err } = await duration(...STAGE, ...args);
    expect({ exit, out }).toEqual({ exit: 2, out: '' });
    expect(err).toContain(message);
  });
});

describe('plan cost', () => {
  test('S4.90 picks longer where a bug costs $2,000,000 and the slow rollout $280,000', async () => {
    expect(await cost(...COST, ...AMOUNTS)).toEqual({
      exit: 0,
      err: '',
      out: `longer: after a fast rollout a bug costs $2,000,000, more than the $280,000 of the slow one

  fast  9d   10,000 devices × $200                            = $2,000,000
  slow  42d  1,000 devices × $200 + $80,000 for 33d of delay  = $200,000 + $80,000 = $280,000

The delay is paid whether there is a bug or not: in the long run it pays if more than 4.44% of the releases have such a bug.
`,
    });
  });

  test('S4.90 picks shorter where a bug costs $15,000 and the slow rollout $81,500', async () => {
    const { exit, out } = await cost(...COST, '--cost-per-device', '1.50', '--delay-cost', '80000');
    expect(exit).toBe(0);
    expect(
      out,
    ).toBe(`shorter: after a fast rollout a bug costs $15,000, no more than the $81,500 of the slow one

  fast  9d   10,000 devices × $1.50                            = $15,000
  slow  42d  1,000 devices × $1.50 + $80,000 for 33d of delay  = $1,500 + $80,000 = $81,500
`);
  });

  test('S4.90 the same for programs', async () => {
    const { out } = await cost(...COST, ...AMOUNTS, '--format', 'json');
    expect(JSON.parse(out)).toEqual({
      fastMs: 216 * HOUR,
      slowMs: 1008 * HOUR,
      delayMs: 792 * HOUR,
      affectedFast: 10_000,
      affectedSlow: 1000,
      costPerDevice: 200,
      delayCost: 80_000,
      fastCost: 2_000_000,
      slowBugCost: 200_000,
      slowCost: 280_000,
      choice: 'longer',
      breakEvenRatio: 80_000 / 1_800_000,
    });
  });

  test.each([
    [['--slow', '9d'], '--slow must be longer than --fast, 9d; found 9d'],
    [['--cost-per-device', '$200'], 'It must be an amount as 200 or 0.50, without a sign or separators.'],
    [['--affected-slow', '1.5'], 'It must be a whole number, 0 or more.'],
  ])('%j is wrong use', async (args, message) => {
    const { exit, out, err } = await cost(...COST, ...AMOUNTS, ...args);
    expect({ exit, out }).toEqual({ exit: 2, out: '' });
    expect(err).toContain(message);
  });
});
