import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Assignment, assign } from '../../../src/core/assign/assign.ts';
import { explain } from '../../../src/core/assign/explain.ts';
import { standingOf } from '../../../src/core/assign/standing.ts';
import type { InstallWindow, SiteOverride } from '../../../src/core/model/desired.ts';
import type { DeviceRecord } from '../../../src/core/model/device.ts';
import type { Program, ProgramRollout } from '../../../src/core/model/program.ts';
import { DAY, formatInstant, HOUR, type Instant, MINUTE } from '../../../src/core/model/time.ts';
import {
  candidate,
  deviceOf,
  NOBODY,
  programOf,
  reportOf,
  revision,
  revisionOf,
  stageOf,
} from './program.ts';

const NIGHT: InstallWindow = { cron: '0 2 * * *', durationMs: 4 * HOUR };
const NOON = Date.UTC(2026, 4, 1, 12);
const TWO = Date.UTC(2026, 4, 1, 2);
const SIX = Date.UTC(2026, 4, 1, 6);
const KNOWN_GOOD = { ...revisionOf(1), condition: "tags.product = 'kiosk'" };
const open = stageOf();
const closed = stageOf({ admits: NOBODY });

type Said = Parameters<typeof reportOf>[0];

/** `3 by 06:00` for an offer that the window bounds, `3` for one that it does not, `-` for nothing. */
function text(assignment: Assignment): string {
  if (assignment.kind === 'nothing') return '-';
  const { revision: given, installBy } = assignment;
  return `${given.attempt}${installBy === undefined ? '' : ` by ${formatInstant(installBy).slice(11, 16)}`}`;
}

const given = (rollout: Partial<ProgramRollout>, said: Said | undefined, now: Instant): string =>
  text(
    assign(
      programOf({ installWindow: NIGHT, ...rollout }),
      deviceOf('d', said === undefined ? undefined : reportOf(said)),
      now,
    ),
  );

/** Attempt 1 is known-good, 2 was given up or rolled back, 3 is the candidate. What it gets at noon, and at two. */
describe('with a window from two to six a device is given', () => {
  const inStage = { knownGood: KNOWN_GOOD, candidate: candidate(3, [open]) };
  const outside = { knownGood: KNOWN_GOOD, candidate: candidate(3, [closed]) };
  const emergency = { knownGood: KNOWN_GOOD, candidate: candidate(3, [open], { emergency: true }) };
  const rows: readonly (readonly [string, Partial<ProgramRollout>, Said | undefined, string, string])[] = [
    ['the candidate by six, known-good until then', inStage, { running: 1 }, '1', '3 by 06:00'],
    ['what it runs of the candidate', inStage, { running: 3 }, '3', '3'],
    ['what it installs of the candidate', inStage, { running: 1, installing: 3 }, '3', '3'],
    ['the candidate again by six, where it failed', inStage, { running: 1, failed: 3 }, '1', '3 by 06:00'],
    ['nothing until two, where it runs something else', inStage, { running: 9 }, '-', '3 by 06:00'],
    ['nothing until two, never heard of', inStage, undefined, '-', '3 by 06:00'],
    ['known-good by six, outside the stages', outside, { running: 9 }, '-', '1 by 06:00'],
    ['known-good by six, as a newcomer', { knownGood: KNOWN_GOOD }, undefined, '-', '1 by 06:00'],
    ['what it installs of known-good', outside, { running: 9, installing: 1 }, '1', '1'],
    ['what it runs of known-good', outside, { running: 1 }, '1', '1'],
    ['what it has, outside the stages', outside, { running: 3 }, '3', '3'],
    [
      'what it has, while paused',
      { knownGood: KNOWN_GOOD, candidate: candidate(3, [open], { offers: false }) },
      { running: 3 },
      '3',
      '3',
    ],
    [
      'what it kept of an attempt given up',
      { ...inStage, kept: [candidate(2, [open])] },
      { running: 2 },
      '2',
      '3 by 06:00',
    ],
    ['an emergency at any time', emergency, { running: 1 }, '3', '3'],
    [
      'known-good at once, where it runs what was rolled back',
      { knownGood: KNOWN_GOOD, withdrawn: revisionOf(2) },
      { running: 2 },
      '1',
      '1',
    ],
    [
      'known-good at once, where it installs that',
      { knownGood: KNOWN_GOOD, withdrawn: revisionOf(2) },
      { running: 9, installing: 2 },
      '1',
      '1',
    ],
    [
      'known-good at once, and the next attempt at night',
      { ...inStage, withdrawn: revisionOf(2) },
      { running: 2 },
      '1',
      '3 by 06:00',
    ],
    [
      'nothing, where it runs what was withdrawn without a known-good',
      { withdrawn: revisionOf(2) },
      { running: 2 },
      '-',
      '-',
    ],
  ];
  test.each(rows)('%s', (_what, rollout, said, atNoon, atTwo) => {
    expect(given(rollout, said, NOON)).toBe(atNoon);
    expect(given(rollout, said, TWO)).toBe(atTwo);
    expect(given(rollout, said, SIX - 1)).toBe(atTwo);
    expect(given(rollout, said, SIX)).toBe(atNoon);
  });
});

describe('of the next rollout a device gets', () => {
  const higher = { installWindow: NIGHT, candidate: candidate(3, [open]) };
  const lower = { name: 'base' as never, knownGood: KNOWN_GOOD };
  const device = (said: Said) => deviceOf('d', reportOf(said));

  test('nothing while the higher one waits for its window: that would be an install', () => {
    const program = programOf(higher, lower);
    expect(text(assign(program, device({ running: 9 }), NOON))).toBe('-');
    expect(assign(program, device({ running: 9 }), TWO)).toMatchObject({ rollout: 'kiosk' });
    // Who is taken is the same day and night, and so is what plans are made of.
    for (const now of [NOON, TWO]) {
      expect(standingOf(program, device({ running: 9 }), now).rollouts[1]?.shadowedBy).toBe('kiosk');
    }
  });

  test('its own, where the higher one would have nothing for the device at night either', () => {
    const program = programOf({ ...higher, candidate: candidate(3, [closed]) }, lower);
    expect(assign(program, device({ running: 9 }), NOON)).toMatchObject({ rollout: 'base' });
  });

  test('the way back from what was rolled back, whatever waits above', () => {
    const program = programOf(higher, { ...lower, withdrawn: revisionOf(2) });
    const failing = device({ running: 2 });
    expect(assign(program, failing, NOON)).toMatchObject({ rollout: 'base', revision: { attempt: 1 } });
    const standing = standingOf(program, failing, NOON);
    expect(standing.assignment).toMatchObject({ rollout: 'base' });
    expect(explain(program, standing, [])).toEqual({
      summary: 'gets kiosk@1 from base, attempt 1',
      rollouts: [
        { rollout: 'kiosk', reason: 'it waits for its install window, which opens at 2026-05-02T02:00:00Z' },
        { rollout: 'base', reason: 'known-good of attempt 1, in place of one that was rolled back' },
      ],
    });
    expect(assign(program, failing, TWO)).toMatchObject({ rollout: 'kiosk' });
  });
});

test('a device that waits is pending, and is told for what and until when', () => {
  const program = programOf({ installWindow: NIGHT, candidate: candidate(3, [open]) });
  const standing = standingOf(program, deviceOf('d', reportOf({ running: 9 })), NOON);
  expect(standing.status).toBe('pending');
  expect(standing.rollouts[0]?.stage?.progress.state).toBe('pending');
  expect(explain(program, standing, [])).toEqual({
    summary: 'gets nothing and keeps what it runs: its install window is closed',
    rollouts: [
      { rollout: 'kiosk', reason: 'it waits for its install window, which opens at 2026-05-02T02:00:00Z' },
    ],
  });
});

test('a device on known-good that waits is in sync, and is told so, too', () => {
  const program = programOf({ installWindow: NIGHT, knownGood: KNOWN_GOOD, candidate: candidate(3, [open]) });
  const standing = standingOf(program, deviceOf('d', reportOf({ running: 1 })), NOON);
  expect(standing.status).toBe('inSync');
  expect(explain(program, standing, []).rollouts[0]?.reason).toBe(
    'known-good of attempt 1; it waits for its install window, which opens at 2026-05-02T02:00:00Z',
  );
});

describe('the window is', () => {
  const rollout = { candidate: candidate(3, [open]) };
  const opensAt = (program: Program, tags: Record<string, string>): string => {
    const assignment = assign(program, { ...deviceOf('d'), tags: { product: 'kiosk', ...tags } }, NOON);
    if (assignment.kind === 'revision') return text(assignment);
    return assignment.until === undefined ? 'never' : formatInstant(assignment.until).slice(5, 16);
  };
  const withSites = (sites: Record<string, SiteOverride>, window?: InstallWindow): Program => ({
    ...programOf({ ...rollout, ...(window === undefined ? {} : { installWindow: window }) }),
    sites,
  });

  test("in the fleet's time zone, its own, or that of the device's tag", () => {
    const inLima: Program = { ...programOf({ ...rollout, installWindow: NIGHT }), timezone: 'America/Lima' };
    expect(opensAt(inLima, {})).toBe('05-02T07:00');
    const ofTag = { ...NIGHT, timezone: { tag: 'zone' } };
    expect(opensAt(withSites({}, ofTag), { zone: 'Asia/Tokyo' })).toBe('05-01T17:00');
    expect(opensAt(withSites({}, ofTag), { zone: 'Mars/Phobos' })).toBe('05-02T02:00');
    expect(opensAt(withSites({}, { ...NIGHT, timezone: { zone: 'Asia/Tokyo' } }), {})).toBe('05-01T17:00');
  });

  test("the site's, instead of the rollout's, and also where that has none", () => {
    const evening = { cron: '0 20 * * *', durationMs: HOUR };
    const sites = { berlin: { installWindow: evening } };
    expect(opensAt(withSites(sites, NIGHT), { site: 'berlin' })).toBe('05-01T20:00');
    expect(opensAt(withSites(sites, NIGHT), { site: 'lima' })).toBe('05-02T02:00');
    expect(opensAt(withSites(sites), { site: 'berlin' })).toBe('05-01T20:00');
    expect(opensAt(withSites(sites), { site: 'lima' })).toBe('3');
    expect(opensAt(withSites(sites), { site: 'constructor' })).toBe('3');
    expect(opensAt(withSites({ berlin: { pollIntervalMs: HOUR } }, NIGHT), { site: 'berlin' })).toBe(
      '05-02T02:00',
    );
  });

  test('no window at all, where neither has one', () => {
    expect(assign(withSites({}), deviceOf('d'), NOON)).not.toHaveProperty('until');
    expect(assign(withSites({}), deviceOf('d'), NOON)).not.toHaveProperty('installBy');
  });
});

test("a device polls at its site's pace, which its own tags as overridden name", () => {
  const program = { ...programOf({}), sites: { berlin: { pollIntervalMs: HOUR } } };
  const at = (tags: Record<string, string>) =>
    assign(program, { ...deviceOf('d'), tags }, NOON).pollIntervalMs;
  expect(at({ site: 'berlin' })).toBe(HOUR);
  expect(at({ site: 'lima' })).toBeUndefined();
  const moved = {
    ...program,
    devices: { d: { tags: { site: 'berlin' }, retired: false, revoked: false } } as never,
  };
  expect(assign(moved, deviceOf('d'), NOON).pollIntervalMs).toBe(HOUR);
});

describe('for every fleet, device and time', () => {
  const attempt = fc.constantFrom(1, 2, 3, 4, 9);
  const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
  const stages = fc.constantFrom([], [open], [closed], [closed, open]);
  const window = fc.record({
    cron: fc.constantFrom('0 2 * * *', '30 */6 * * *', '0 0 * * sun', '* * * * *'),
    durationMs: fc.constantFrom(MINUTE, HOUR, 7 * HOUR),
    timezone: fc.constantFrom({ tag: 'zone' }, { zone: 'Asia/Kolkata' }),
  });
  const rollout = fc
    .record({
      candidate: maybe(fc.record({ attempt, stages, offers: fc.boolean(), emergency: fc.boolean() })),
      kept: maybe(attempt),
      knownGood: maybe(attempt),
      withdrawn: maybe(attempt),
      installWindow: maybe(window),
    })
    .map((made): Partial<ProgramRollout> => {
      const { candidate: is, kept, knownGood, withdrawn, installWindow } = made;
      return {
        ...(is && {
          candidate: candidate(is.attempt, is.stages, { offers: is.offers, emergency: is.emergency }),
        }),
        ...(kept === undefined ? {} : { kept: [candidate(kept, [open])] }),
        ...(knownGood === undefined ? {} : { knownGood: { ...revisionOf(knownGood), condition: '*' } }),
        ...(withdrawn === undefined ? {} : { withdrawn: revisionOf(withdrawn) }),
        ...(installWindow && { installWindow }),
      };
    });
  const program = fc.record({ upper: rollout, lower: rollout, site: maybe(window) }).map(
    ({ upper, lower, site }): Program => ({
      ...programOf(upper, { ...lower, name: 'base' as never }),
      sites: site === undefined ? {} : { here: { installWindow: site } },
    }),
  );
  const device = fc
    .record({
      site: fc.constantFrom('here', 'there'),
      zone: fc.constantFrom('Europe/Berlin', 'America/Lima', 'nowhere'),
      report: maybe(
        fc.oneof(
          fc.record({ running: attempt }),
          fc.record({ running: attempt, installing: attempt }),
          fc.record({ running: attempt, failed: attempt }),
        ),
      ),
    })
    .map(
      ({ site, zone, report }): DeviceRecord => ({
        ...deviceOf('d', report === undefined ? undefined : reportOf(report)),
        tags: { product: 'kiosk', site, zone },
      }),
    );
  const time = fc.integer({ min: 0, max: (8 * DAY) / MINUTE }).map((minutes) => NOON + minutes * MINUTE);
  const has = ({ report }: DeviceRecord, attempt: number) =>
    report?.running === revision(attempt) ||
    (report?.attempt?.revision === revision(attempt) && report.attempt.state === 'installing');

  test('what begins an install is bound to an open window, but for emergencies and ways back', () => {
    fc.assert(
      fc.property(program, device, time, (within, asking, now) => {
        const bound = {
          ...within,
          rollouts: within.rollouts.filter((each) => each.installWindow !== undefined),
        };
        const assignment = assign(bound, asking, now);
        if (assignment.kind === 'nothing' || has(asking, assignment.revision.attempt)) {
          expect(assignment).not.toHaveProperty('installBy');
          return;
        }
        const from = bound.rollouts.find(({ name }) => name === assignment.rollout);
        const returns =
          assignment.placement.kind === 'knownGood' &&
          from?.withdrawn !== undefined &&
          has(asking, from.withdrawn.attempt);
        const urgent = assignment.placement.kind === 'candidate' && from?.candidate?.emergency === true;
        if (returns || urgent) return;
        // "* * * * *" never closes.
        if (assignment.installBy === undefined) expect(assignment.placement).not.toHaveProperty('until');
        else {
          expect(assignment.installBy).toBeGreaterThan(now);
          // A moment after, and the window has closed: the device is not offered it any more.
          const later = assign(bound, asking, assignment.installBy);
          // Known-good may be the very same attempt: it is returned to then, whatever the window.
          if (later.kind === 'revision' && 'returns' in later.placement) return;
          expect(later).not.toMatchObject({
            kind: 'revision',
            rollout: assignment.rollout,
            revision: { attempt: assignment.revision.attempt },
          });
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('the answer stays the same until the instant that it names', () => {
    fc.assert(
      fc.property(
        program,
        device,
        time,
        fc.integer({ min: 0, max: 999 }),
        (within, asking, now, permille) => {
          const assignment = assign(within, asking, now);
          const until = assignment.until ?? now + DAY;
          expect(until).toBeGreaterThan(now);
          const later = now + Math.floor(((until - now) * permille) / 1000);
          expect(text(assign(within, asking, later))).toBe(text(assignment));
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('what plans are made of does not depend on whether windows are open', () => {
    const planned = (within: Program, asking: DeviceRecord, now: Instant) =>
      standingOf(within, asking, now).rollouts.map(({ placement, health, progress, ...rest }) => rest);
    fc.assert(
      fc.property(program, device, time, time, (within, asking, one, other) => {
        expect(planned(within, asking, one)).toEqual(planned(within, asking, other));
      }),
      { numRuns: 1000 },
    );
  });

  test('the counts and the poll say the same', () => {
    fc.assert(
      fc.property(program, device, time, (within, asking, now) => {
        expect(text(standingOf(within, asking, now).assignment)).toBe(text(assign(within, asking, now)));
      }),
      { numRuns: 1000 },
    );
  });
});
