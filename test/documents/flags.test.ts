import { describe, expect, test } from 'vitest';
import type { Flag } from '../../src/core/model/flag.ts';
import { desiredOf, load, problemsOf, replaced } from './sources.ts';

const FLAG = `apiVersion: tidegate.dev/v1
kind: Flag
metadata: {name: new_sensor_algorithm}
spec:
  owner: apps
  values: {on: true, off: false}
  default: off
  rules:
  - {targetCondition: "tags.site = 'berlin'", variant: on}
  - {percentage: 10%, variant: on}
`;

const GROUP = `apiVersion: tidegate.dev/v1
kind: Group
metadata: {name: lab}
spec: {targetCondition: tags.environment = 'lab'}
`;

const PATH = 'fleet/flags/sensor.yaml';

function loadFlag(text: string, replacement: string, others: Readonly<Record<string, string>> = {}) {
  return load({ [PATH]: replaced(FLAG, text, replacement), ...others });
}

function flagOf(loaded: ReturnType<typeof load>): Flag {
  expect(problemsOf(loaded)).toEqual([]);
  const [flag, ...others] = desiredOf(loaded).flags.values();
  expect(others).toEqual([]);
  if (flag === undefined) throw new Error('there is no flag');
  return flag;
}

describe('a valid flag', () => {
  test('becomes a flag of the desired state, with exact shares and without a warning', () => {
    expect(flagOf(load({ [PATH]: FLAG }))).toEqual({
      name: 'new_sensor_algorithm',
      enabled: true,
      values: { on: true, off: false },
      default: 'off',
      rules: [
        {
          condition: "tags.site = 'berlin'",
          ppm: 1_000_000,
          split: [{ variant: 'on', upToPpm: 1_000_000 }],
        },
        { ppm: 100_000, split: [{ variant: 'on', upToPpm: 1_000_000 }] },
      ],
      seed: 'new_sensor_algorithm',
    });
  });

  test('may be off, and may have a seed of its own', () => {
    const { enabled, seed } = flagOf(
      loadFlag('  default: off', '  default: off\n  enabled: false\n  seed: A1'),
    );
    expect({ enabled, seed }).toEqual({ enabled: false, seed: 'A1' });
  });

  test('may be as plain as a value', () => {
    const rules = FLAG.slice(FLAG.indexOf('  rules:'));
    expect(flagOf(loadFlag(rules, '')).rules).toEqual([]);
  });

  test('takes its condition from a group', () => {
    const loaded = loadFlag(`"tags.site = 'berlin'"`, '{group: lab}', { 'fleet/groups/lab.yaml': GROUP });
    expect(flagOf(loaded).rules[0]?.condition).toBe("tags.environment = 'lab'");
  });

  test('divides devices by a split, up to which part of a million each', () => {
    const split = replaced(
      replaced(FLAG, '{on: true, off: false}', '{A: 1, b_2: 2.5, c.3-x: -3, off: 0}'),
      FLAG.slice(FLAG.indexOf('  rules:')),
      '  rules:\n  - {percentage: 0.0001%, split: {A: 33.3333%, b_2: 33.3333 %, c.3-x: 33.3334%}}\n',
    );
    expect(flagOf(load({ [PATH]: split })).rules).toEqual([
      {
        ppm: 1,
        split: [
          { variant: 'A', upToPpm: 333_333 },
          { variant: 'b_2', upToPpm: 666_666 },
          { variant: 'c.3-x', upToPpm: 1_000_000 },
        ],
      },
    ]);
  });
});

describe('what is wrong with a flag is said where it is', () => {
  function check(text: string, replacement: string, ...expected: readonly string[]): void {
    const loaded = loadFlag(text, replacement);
    expect(problemsOf(loaded)).toEqual(expected.map((problem) => `${PATH}:${problem}`));
    expect(loaded.desired).toBeUndefined();
  }

  test('a key with a letter that OpenFeature does not have', () => {
    check(
      'name: new_sensor_algorithm',
      'name: new sensor',
      '3:18: metadata.name must be a key of at most 128 letters, digits, dots, dashes and underscores that begins with a letter or digit, found "new sensor"; for example name: new_sensor_algorithm',
    );
  });
  test('values of more than one type', () => {
    check(
      '{on: true, off: false}',
      '{on: true, off: 0}',
      '6:27: the values of a flag are of one type: "on" is true, found 0; write them alike',
    );
  });
  test('a value that is neither', () => {
    check(
      '{on: true, off: false}',
      '{on: true, off: [1]}',
      '6:27: spec.values.off must be true, false, a number or a text, found a list of 1; for example off: true',
    );
  });
  test('a number that cannot be said', () => {
    check(
      '{on: true, off: false}',
      '{on: .nan, off: .inf}',
      '6:16: spec.values.on must be true, false, a number or a text, found NaN; put it in quotes: ".nan"',
      '6:27: spec.values.off must be true, false, a number or a text, found Infinity; put it in quotes: ".inf"',
    );
  });
  test('a number that would arrive as another', () => {
    check(
      '{on: true, off: false}',
      '{on: 9007199254740993, off: 0}',
      '6:16: a number of this size is rounded to 9007199254740992; put the values in quotes',
    );
  });
  test('a default that is no variant', () => {
    check('default: off', 'default: Off', '7:12: spec.values has no variant "Off"; did you mean "off"?');
  });
  test('a rule for a variant that there is not', () => {
    check(
      'percentage: 10%, variant: on',
      'percentage: 10%, variant: blue',
      '10:32: spec.values has no variant "blue"; add it there, or use one of on, off',
    );
  });
  test('a split with a variant that there is not', () => {
    check(
      'percentage: 10%, variant: on',
      'split: {on: 50%, offf: 50%}',
      '10:23: spec.values has no variant "offf"; did you mean "off"?',
    );
  });
  test('a split of more than there is', () => {
    check(
      'percentage: 10%, variant: on',
      'split: {on: 50%, off: 50.0001%}',
      '10:6: the shares of a split are at most 100% together, found 100.0001%; lower one of them',
    );
  });
  test('a variant and a split in one rule', () => {
    check(
      'percentage: 10%, variant: on',
      'split: {on: 50%}, variant: on',
      '10:24: spec.rules[1] has no key "variant"; it takes targetCondition, percentage, split',
    );
  });
  test('neither a variant nor a split', () => {
    check(
      'percentage: 10%, variant: on',
      'percentage: 10%',
      '10:5: spec.rules[1] needs the key "variant" (the variant that they get); for example variant: on',
    );
  });
  test('a condition that cannot be read, at the character', () => {
    const loaded = loadFlag(`tags.site = 'berlin'`, `tags.site == 'berlin'`);
    expect(problemsOf(loaded)).toHaveLength(1);
    expect(loaded.problems[0]).toMatchObject({ file: PATH, line: 9, column: 35, rule: 'condition' });
  });
  test('a group that there is not', () => {
    check(
      `"tags.site = 'berlin'"`,
      '{group: lab}',
      '9:31: spec.rules[0].targetCondition.group names the Group "lab", which does not exist; add it to fleet/groups/',
    );
  });
  test('a second flag of one key', () => {
    const loaded = load({ [PATH]: FLAG, 'fleet/flags/z.yaml': FLAG });
    expect(problemsOf(loaded)).toEqual([
      `fleet/flags/z.yaml:3:18: the Flag "new_sensor_algorithm" is in ${PATH}:3:18 already; rename or delete one of the two`,
    ]);
  });
});

describe('a rule that no device comes to is a warning', () => {
  const RULES = FLAG.slice(FLAG.indexOf('  rules:'));
  function check(rules: readonly string[], expected: readonly string[]): void {
    const text = `  rules:\n${rules.map((rule) => `  - ${rule}\n`).join('')}`;
    const loaded = loadFlag(RULES, text);
    const next = 'takes all that it is for; put it before that one, or remove it';
    expect(problemsOf(loaded)).toEqual(
      expected.map((place) => {
        const [at, taker] = place.split(' by ');
        return `${PATH}:${at}: no device comes to this rule: the one on line ${taker} ${next}`;
      }),
    );
    expect(loaded.problems.every(({ severity }) => severity === 'warning')).toBe(true);
    expect(loaded.desired).toBeDefined();
  }

  test('after one for every device', () => {
    check(['{variant: on}', `{targetCondition: "tags.site = 'berlin'", variant: off}`], ['10:5 by 9']);
  });
  test('after one for the same devices', () => {
    const berlin = `targetCondition: "tags.site = 'berlin'"`;
    check([`{${berlin}, variant: on}`, `{${berlin}, percentage: 5%, variant: off}`], ['10:5 by 9']);
  });
  test('after one with a share that contains its own', () => {
    check(['{percentage: 10%, variant: on}', '{percentage: 10%, variant: off}'], ['10:5 by 9']);
  });
  test('after a split that leaves nobody over', () => {
    check(['{split: {on: 50%, off: 50%}}', '{variant: on}'], ['10:5 by 9']);
  });

  test('not where some are left, nor where the share is 0% for now', () => {
    check(['{percentage: 10%, variant: on}', '{percentage: 11%, variant: off}'], []);
    check(['{split: {on: 50%, off: 49.9999%}}', '{variant: on}'], []);
    check([`{targetCondition: "tags.site = 'berlin'", variant: off}`, '{variant: on}'], []);
    check(['{variant: on}', '{percentage: 0%, variant: off}'], []);
  });
});
