import { expect, test } from 'vitest';
import type { Score } from '../../../src/core/model/ids.ts';
import { bucketPpm, HIGHEST_SCORE, scoreBetween, scoreOf } from '../../../src/core/select/score.ts';

test('a score is the golden one, and another device or seed has another', () => {
  expect(scoreOf('rollout-42', 'device-000001')).toBe('24203cc52042b78d');
  expect(scoreOf('rollout-42', 'device-000002')).not.toBe('24203cc52042b78d');
  expect(scoreOf('rollout-43', 'device-000001')).not.toBe('24203cc52042b78d');
});

test('the seed and the unit cannot be shifted into each other', () => {
  expect(scoreOf('ab', 'c')).not.toBe(scoreOf('a', 'bc'));
});

test('a bucket is the score in parts per million, rounded down', () => {
  expect(bucketPpm('24203cc52042b78d' as Score)).toBe(141_116);
  expect(bucketPpm('0000000000000000' as Score)).toBe(0);
  expect(bucketPpm(HIGHEST_SCORE)).toBe(999_999);
});

test('buckets of many devices are spread evenly', () => {
  const tenths = new Array<number>(10).fill(0);
  for (let n = 0; n < 20_000; n++) {
    const tenth = Math.floor(bucketPpm(scoreOf('even', `device-${n}`)) / 100_000);
    tenths[tenth] = (tenths[tenth] ?? 0) + 1;
  }
  // χ² with 9 degrees of freedom: 27.9 is exceeded once in a thousand.
  const chiSquare = tenths.reduce((sum, count) => sum + (count - 2000) ** 2 / 2000, 0);
  expect(chiSquare).toBeLessThan(27.9);
});

test('the way between two scores is walked evenly and its ends are exact', () => {
  const from = '4000000000000000' as Score;
  expect(scoreBetween(from, HIGHEST_SCORE, 0)).toBe(from);
  expect(scoreBetween(from, HIGHEST_SCORE, 1)).toBe(HIGHEST_SCORE);
  expect(bucketPpm(scoreBetween(from, HIGHEST_SCORE, 0.5))).toBe(624_999);
});
