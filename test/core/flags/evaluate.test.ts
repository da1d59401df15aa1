import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { evaluateFlag, evaluateFlags, WHOLE_PPM } from '../../../src/core/flags/evaluate.ts';
import type { Flag, FlagRule } from '../../../src/core/model/flag.ts';
import { bucketPpm, scoreOf } from '../../../src/core/select/score.ts';

const PERCENT = WHOLE_PPM / 100;

function flagOf(rules: readonly FlagRule[], over: Partial<Flag> = {}): Flag {
  const values = { on: true, off: false };
  return { name: 'mesh', enabled: true, values, default: 'off', rules, seed: 'mesh', ...over };
}

/** A rule that gives `on` to a share of those that match. */
function ruleOf(percent: number, condition?: string): FlagRule {
  const split = [{ variant: 'on', upToPpm: WHOLE_PPM }];
  return { ...(condition === undefined ? {} : { condition }), ppm: percent * PERCENT, split };
}

function deviceOf(id: string, tags: Readonly<Record<string, string>> = {}) {
  return { id, tags };
}

const FLEET = Array.from({ length: 20_000 }, (_, at) => deviceOf(`device-${at}`));

function devicesWith(flag: Flag, variant: string): ReadonlySet<string> {
  return new Set(
    FLEET.filter((device) => evaluateFlag(flag, device).variant === variant).map(({ id }) => id),
  );
}

/** By at most one in a hundred of the fleet. */
function expectNear(share: number | undefined, expected: number): void {
  expect(share).toBeGreaterThan(expected - 0.01);
  expect(share).toBeLessThan(expected + 0.01);
}

describe('the reason says how the value came about', () => {
  function check(flag: Flag, expected: { variant: string; reason: string }): void {
    const device = deviceOf('device-1', { site: 'berlin' });
    const value = expected.variant === 'on';
    expect(evaluateFlag(flag, device)).toEqual({ ...expected, value });
  }

  test('without rules every device gets the default, which is static', () => {
    check(flagOf([]), { variant: 'off', reason: 'STATIC' });
  });
  test('a first rule for every device is static, too', () => {
    check(flagOf([ruleOf(100)]), { variant: 'on', reason: 'STATIC' });
  });
  test('a condition that matches targets the device', () => {
    check(flagOf([ruleOf(100, "tags.site = 'berlin'")]), { variant: 'on', reason: 'TARGETING_MATCH' });
  });
  test('what is left after others were targeted is no static value', () => {
    const rules = [ruleOf(100, "tags.site = 'paris'"), ruleOf(100)];
    check(flagOf(rules), { variant: 'on', reason: 'TARGETING_MATCH' });
  });
  test('a device that no rule is for gets the default', () => {
    check(flagOf([ruleOf(100, "tags.site = 'paris'")]), { variant: 'off', reason: 'DEFAULT' });
    check(flagOf([ruleOf(0)]), { variant: 'off', reason: 'DEFAULT' });
  });
  test('a share chooses by the place of the device', () => {
    const percent = bucketPpm(scoreOf('mesh', 'device-1')) / PERCENT;
    check(flagOf([ruleOf(percent + 0.0001)]), { variant: 'on', reason: 'SPLIT' });
    check(flagOf([ruleOf(percent)]), { variant: 'off', reason: 'DEFAULT' });
  });
  test('the kill switch gives every device the default, whatever the rules say', () => {
    check(flagOf([ruleOf(100)], { enabled: false }), { variant: 'off', reason: 'DISABLED' });
  });
});

test('the first rule that is for the device decides', () => {
  const values = { a: 'A', b: 'B', c: 'C' };
  const rule = (variant: string, condition: string) => ({
    condition,
    ppm: WHOLE_PPM,
    split: [{ variant, upToPpm: WHOLE_PPM }],
  });
  const rules = [rule('a', "deviceId = 'one'"), rule('b', "tags.site = 'berlin'")];
  const flag = flagOf(rules, { values, default: 'c' });
  const variants = [
    deviceOf('one', { site: 'berlin' }),
    deviceOf('two', { site: 'berlin' }),
    deviceOf('three'),
  ].map((device) => evaluateFlag(flag, device).value);
  expect(variants).toEqual(['A', 'B', 'C']);
});

test('the share of a rule is the golden place of DESIGN, so that anybody can compute it', () => {
  const device = deviceOf('device-000001');
  const flagWith = (ppm: number) => flagOf([{ ...ruleOf(100), ppm }], { seed: 'rollout-42' });
  expect(evaluateFlag(flagWith(141_116), device).value).toBe(false);
  expect(evaluateFlag(flagWith(141_117), device).value).toBe(true);
});

test('a share that grows keeps everybody, whatever it grows from and to', () => {
  fc.assert(
    fc.property(fc.nat(100), fc.nat(100), fc.string(), (one, other, id) => {
      const [small, large] = [Math.min(one, other), Math.max(one, other)];
      const isOn = (percent: number) => evaluateFlag(flagOf([ruleOf(percent)]), deviceOf(id)).value;
      expect(isOn(small) === true && isOn(large) === false).toBe(false);
    }),
  );
});

describe('a split', () => {
  const values = { blue: 'b', green: 'g', none: '-' };
  const split = [
    { variant: 'blue', upToPpm: 500_000 },
    { variant: 'green', upToPpm: 800_000 },
  ];
  const flagWith = (percent: number) =>
    flagOf([{ ppm: percent * PERCENT, split }], { values, default: 'none' });

  test('divides the devices by its shares, and leaves the rest to the next rule', () => {
    const shares = ['blue', 'green', 'none'].map(
      (variant) => devicesWith(flagWith(100), variant).size / FLEET.length,
    );
    for (const [at, expected] of [0.5, 0.3, 0.2].entries()) expectNear(shares[at], expected);
  });

  test('that reaches more devices changes nobody’s variant', () => {
    for (const variant of ['blue', 'green']) {
      const [few, many] = [devicesWith(flagWith(10), variant), devicesWith(flagWith(40), variant)];
      expect(few.size).toBeGreaterThan(0);
      expect(many.size).toBeGreaterThan(few.size);
      expect([...few].filter((id) => !many.has(id))).toEqual([]);
    }
  });

  test('divides also a small share evenly', () => {
    const [blue, green] = ['blue', 'green'].map((variant) => devicesWith(flagWith(10), variant).size);
    expectNear((blue ?? 0) / FLEET.length, 0.05);
    expectNear((green ?? 0) / FLEET.length, 0.03);
  });

  test('whose variant has no device gives it to none', () => {
    const nobody = [
      { variant: 'blue', upToPpm: 0 },
      { variant: 'green', upToPpm: WHOLE_PPM },
    ];
    const flag = flagOf([{ ppm: WHOLE_PPM, split: nobody }], { values, default: 'none' });
    expect(devicesWith(flag, 'green').size).toBe(FLEET.length);
  });
});

test('flags with one seed choose the same devices, flags with two choose independently', () => {
  const half = [ruleOf(50)];
  const mesh = devicesWith(flagOf(half), 'on');
  const together = devicesWith(flagOf(half, { name: 'sleep' }), 'on');
  const apart = devicesWith(flagOf(half, { name: 'sleep', seed: 'sleep' }), 'on');
  expect(together).toEqual(mesh);
  const both = [...mesh].filter((id) => apart.has(id)).length;
  expectNear(both / FLEET.length, 0.25);
});

test('all flags are evaluated, in their order', () => {
  const flags = [flagOf([], { name: 'a' }), flagOf([ruleOf(100)], { name: 'b' })];
  const evaluated = evaluateFlags(flags, deviceOf('device-1'));
  expect([...evaluated].map(([name, { value }]) => [name, value])).toEqual([
    ['a', false],
    ['b', true],
  ]);
});

test('a flag that was not validated is a bug, and says which', () => {
  const flag = flagOf([], { default: 'of' });
  expect(() => evaluateFlag(flag, deviceOf('device-1'))).toThrow('flag mesh should have been validated');
});
