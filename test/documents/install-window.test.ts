import { describe, expect, test } from 'vitest';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { FLEET, load, problemsOf, ROLLOUT, replaced, rolloutOf } from './sources.ts';

const FILE = 'fleet/rollouts/kiosk.yaml';

/** The rollout with this window on its ninth line, in a fleet with these settings. */
function withWindow(window: string, fleet = '{}') {
  return load({
    [FILE]: replaced(ROLLOUT, '  priority: 10', `  priority: 10\n  installWindow: ${window}`),
    'fleet/fleet.yaml': replaced(FLEET, 'spec: {}', `spec: ${fleet}`),
  });
}

describe('a window is taken over', () => {
  test.each([
    ['{cron: "0 2 * * *", duration: 4h}', { cron: '0 2 * * *', durationMs: 4 * HOUR }],
    [
      '{cron: "30 22 * * fri", duration: 90m, timezone: Europe/Berlin}',
      { cron: '30 22 * * fri', durationMs: 90 * MINUTE, timezone: { zone: 'Europe/Berlin' } },
    ],
    [
      '{cron: "0 0 29 2 *", duration: 7d, timezone: {tag: zone}}',
      { cron: '0 0 29 2 *', durationMs: 7 * 24 * HOUR, timezone: { tag: 'zone' } },
    ],
  ])('%s', (window, expected) => {
    const loaded = withWindow(window);
    expect(problemsOf(loaded)).toEqual([]);
    expect(rolloutOf(loaded).installWindow).toEqual(expected);
  });
});

describe('a window that is wrong is an error, at the word that is', () => {
  test.each([
    ['{cron: "0 25 * * *", duration: 4h}', '9:28: the hour must be 0 to 23, found "25"'],
    [
      "{cron: '0 2 * * funday', duration: 4h}",
      '9:34: the day of the week must be 0 to 7 or sun to sat, found "funday"',
    ],
    ['{cron: "0 2 30 2 *", duration: 4h}', '9:30: no year has such a day, found "0 2 30 2 *"'],
    [
      '{cron: "0 2 * *", duration: 4h}',
      '9:25: spec.installWindow.cron must be a cron expression of five fields, found "0 2 * *"; for example cron: 0 2 * * *',
    ],
    ['{cron: "0 2 * * *", duration: 0s}', '9:48: spec.installWindow.duration must be 1m to 7d, found "0s"'],
    [
      '{cron: "0 2 * * *", duration: 169h}',
      '9:48: spec.installWindow.duration must be 1m to 7d, found "169h"',
    ],
    [
      '{cron: "0 2 * * *", duration: 4h, timezone: Europe/Berln}',
      '9:62: there is no time zone "Europe/Berln"; did you mean "Europe/Berlin"?',
    ],
    [
      '{cron: "0 2 * * *", duration: 4h, timezone: Mars/Phobos}',
      '9:62: there is no time zone "Mars/Phobos"; write an IANA name such as Europe/Berlin',
    ],
  ])('%s', (window, problem) => {
    const loaded = withWindow(window);
    expect(problemsOf(loaded)).toEqual([`${FILE}:${problem}`]);
    expect(loaded.desired).toBeUndefined();
  });
});

test('a window that is shorter than the poll interval is a warning', () => {
  const window = '{cron: "0 2 * * *", duration: 10m}';
  const loaded = withWindow(window);
  expect(problemsOf(loaded)).toEqual([
    `${FILE}:9:48: devices ask every 15m and may miss an install window of 10m; make the window longer or pollInterval shorter`,
  ]);
  expect(loaded.problems[0]?.severity).toBe('warning');
  expect(problemsOf(withWindow(window, '{pollInterval: 10m}'))).toEqual([]);
});

describe("the fleet's time zone", () => {
  const zoneOf = (spec: string) => load({ 'fleet/fleet.yaml': replaced(FLEET, 'spec: {}', `spec: ${spec}`) });

  test('is UTC unless it says otherwise', () => {
    expect(zoneOf('{}').desired?.fleet.timezone).toBe('UTC');
    expect(zoneOf('{timezone: America/Lima}').desired?.fleet.timezone).toBe('America/Lima');
  });
  test('is one that exists', () => {
    expect(problemsOf(zoneOf('{timezone: America/Lma}'))).toEqual([
      'fleet/fleet.yaml:4:18: there is no time zone "America/Lma"; did you mean "America/Lima"?',
    ]);
  });
});
