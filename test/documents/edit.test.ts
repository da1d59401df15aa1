import { describe, expect, test } from 'vitest';
import { setDistributionSet } from '../../src/documents/edit.ts';
import { ROLLOUT, replaced } from './sources.ts';

const VALUE = 'distributionSet: thermostat@2.6.0';

describe('setDistributionSet', () => {
  test.each([
    [
      'a plain value and its comment',
      'distributionSet:   thermostat@2.6.0   # since May',
      'distributionSet:   thermostat@2.5.0   # since May',
    ],
    ['single quotes', "distributionSet: 'thermostat@2.6.0'", "distributionSet: 'thermostat@2.5.0'"],
    ['double quotes', 'distributionSet: "thermostat@2.6.0"', 'distributionSet: "thermostat@2.5.0"'],
    [
      'an anchor that nobody uses',
      'distributionSet: &set thermostat@2.6.0',
      'distributionSet: &set thermostat@2.5.0',
    ],
  ])('changes %s and no other byte', (_, before, after) => {
    const text = `# above\n${replaced(ROLLOUT, VALUE, before)}\n\n# below`;
    expect(setDistributionSet(text, 'thermostat@2.5.0')).toBe(text.replace(before, after));
  });

  test('keeps CRLF, a byte order mark, and the same name in a comment', () => {
    const text = `\uFEFF# thermostat@2.6.0 is out\n${ROLLOUT}`.replaceAll('\n', '\r\n');
    const expected = text.replace(VALUE, 'distributionSet: thermostat@2.5.0');
    expect(setDistributionSet(text, 'thermostat@2.5.0')).toBe(expected);
  });

  test('changes a rollout on one line', () => {
    const text = '{kind: Rollout, spec: {distributionSet: a@1, owner: me}}';
    expect(setDistributionSet(text, 'a@2')).toBe('{kind: Rollout, spec: {distributionSet: a@2, owner: me}}');
  });

  test.each([
    ['no Rollout', replaced(ROLLOUT, 'kind: Rollout', 'kind: Gate')],
    ['no such key', replaced(ROLLOUT, VALUE, 'runbook: https://wiki.example')],
    ['no text', replaced(ROLLOUT, VALUE, 'distributionSet: [a]')],
    ['a block', replaced(ROLLOUT, VALUE, 'distributionSet: >-\n    thermostat@2.6.0')],
    [
      'an alias',
      replaced(
        ROLLOUT,
        'owner: oncall\n  distributionSet: thermostat@2.6.0',
        'owner: &x thermostat@2.6.0\n  distributionSet: *x',
      ),
    ],
    [
      'an anchor that others use',
      replaced(ROLLOUT, VALUE, 'distributionSet: &x thermostat@2.6.0\n  seed: *x'),
    ],
    ['no YAML', 'kind: Rollout\nspec: ['],
  ])('leaves a document alone whose value is %s', (_, text) => {
    expect(setDistributionSet(text, 'thermostat@2.5.0')).toBeUndefined();
  });

  test('refuses a name that the document could not hold', () => {
    expect(setDistributionSet(ROLLOUT, 'a: b')).toBeUndefined();
    expect(setDistributionSet(ROLLOUT, 'x # y')).toBeUndefined();
  });
});
