import { expect, test } from 'vitest';
import { ALL_CIRCUMSTANCES, paceOf, thatMakeIt } from '../../../src/core/estimate/circumstances.ts';

test('S4.90 four circumstances shorten a stage and four lengthen it', () => {
  expect(thatMakeIt('shorter', ALL_CIRCUMSTANCES)).toEqual([
    'emergency',
    'cosmetic',
    'extensiveTests',
    'strongRollback',
  ]);
  expect(thatMakeIt('longer', ALL_CIRCUMSTANCES)).toEqual([
    'safetyCritical',
    'firstMajor',
    'incidentHistory',
    'weakRollback',
  ]);
});

test('S4.90 they say which way only where they agree', () => {
  expect(paceOf(['emergency', 'cosmetic'])).toBe('shorter');
  expect(paceOf(['firstMajor'])).toBe('longer');
  expect(paceOf(['emergency', 'weakRollback'])).toBeUndefined();
  expect(paceOf([])).toBeUndefined();
});
