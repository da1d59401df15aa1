import { expect, test } from 'vitest';
import { steadyClock } from '../src/clock.ts';
import { HOUR, MINUTE, SECOND } from '../src/core/model/time.ts';

const START = Date.UTC(2026, 0, 1);

/** A machine whose wall clock can be set; time passes on it as `pass` says. */
function machine() {
  let elapsed = 12_345;
  let wall = START;
  const clock = steadyClock({ wall: () => wall, elapsed: () => elapsed, sleep: async () => {} });
  return {
    clock,
    set(change: number) {
      wall += change;
    },
    pass(duration: number) {
      elapsed += duration;
      wall += duration;
    },
    /** Seconds by seconds, looking at the clock as a busy server does. */
    run(duration: number) {
      for (let at = 0; at < duration; at += SECOND) {
        this.pass(SECOND);
        clock.now();
      }
    },
  };
}

test('a clock that runs on is followed, with what time servers correct', () => {
  const { clock, set, pass } = machine();
  pass(HOUR);
  expect(clock.now()).toBe(START + HOUR);
  set(-30 * SECOND);
  expect(clock.now()).toBe(START + HOUR - 30 * SECOND);
  expect(clock.doubt()).toBeUndefined();
  expect(clock.timesSet()).toBe(0);
});

test.each([
  ['ahead', 72 * HOUR],
  ['back', -3 * HOUR],
])('a jump %s is not believed for ten minutes, and says so', (direction, jump) => {
  const each = machine();
  each.run(MINUTE);
  each.set(jump);
  expect(each.clock.now()).toBe(START + MINUTE);
  expect(each.clock.doubt()).toContain(
    `the clock jumped ${direction} by ${Math.abs(jump) / HOUR === 72 ? '3d' : '3h'}`,
  );
  each.run(9 * MINUTE);
  expect(each.clock.now()).toBe(START + 10 * MINUTE);
  expect(each.clock.doubt()).toContain('taken over in 1m');

  each.run(2 * MINUTE);
  expect(each.clock.now()).toBe(START + 12 * MINUTE + jump);
  expect(each.clock.doubt()).toBeUndefined();
  expect(each.clock.timesSet()).toBe(1);
});

test('a clock that is set right again in time was never believed', () => {
  const { clock, set, run } = machine();
  const each = { clock, set, run };
  each.set(24 * HOUR);
  clock.now();
  expect(clock.doubt()).toBeDefined();
  set(-24 * HOUR);
  expect(clock.doubt()).toBeUndefined();
  expect(clock.timesSet()).toBe(0);
});

test('a clock that keeps jumping is never believed', () => {
  const each = machine();
  for (let jump = 0; jump < 10; jump++) {
    each.set(HOUR);
    each.run(5 * MINUTE);
  }
  expect(each.clock.doubt()).toBeDefined();
  expect(each.clock.now()).toBe(START + 50 * MINUTE);
});
