import { describe, expect, test } from 'vitest';
import { assign } from '../../../src/core/assign/assign.ts';
import { standingOf } from '../../../src/core/assign/standing.ts';
import type { ProgramRollout } from '../../../src/core/model/program.ts';
import { candidate, deviceOf, NOBODY, programOf, reportOf, revisionOf, stageOf } from './program.ts';

const KNOWN_GOOD = { ...revisionOf(1), condition: "tags.product = 'kiosk'" };
const open = stageOf();
const closed = stageOf({ admits: NOBODY });

/** Attempt 1 is known-good, 2 was given up, 3 is the candidate. What the device says → which attempt it is given. */
describe('a device is given', () => {
  const runs = (running: number) => reportOf({ running });
  const rows: readonly [
    string,
    Partial<ProgramRollout>,
    ReturnType<typeof reportOf> | undefined,
    number | undefined,
  ][] = [
    ['the candidate, in an open stage', { candidate: candidate(3, [open]) }, runs(1), 3],
    ['known-good, outside', { candidate: candidate(3, [closed]) }, runs(1), 1],
    ['the candidate that it runs, outside', { candidate: candidate(3, [closed]) }, runs(3), 3],
    [
      'the candidate that it installs, outside',
      { candidate: candidate(3, [closed]) },
      reportOf({ running: 1, installing: 3 }),
      3,
    ],
    [
      'known-good, outside, once the candidate failed on it',
      { candidate: candidate(3, [closed]) },
      reportOf({ running: 1, failed: 3 }),
      1,
    ],
    ['no new offer, while paused', { candidate: candidate(3, [open], { offers: false }) }, runs(1), 1],
    ['what it has, while paused', { candidate: candidate(3, [open], { offers: false }) }, runs(3), 3],
    [
      'what it installs, while paused',
      { candidate: candidate(3, [open], { offers: false }) },
      reportOf({ running: 1, installing: 3 }),
      3,
    ],
    [
      'the attempt given up that took it in',
      { candidate: candidate(3, [closed]), kept: [candidate(2, [open])] },
      runs(2),
      2,
    ],
    [
      'known-good, where the attempt given up never took it in',
      { candidate: candidate(3, [closed]), kept: [candidate(2, [closed])] },
      runs(2),
      1,
    ],
    [
      'the candidate rather than what it kept',
      { candidate: candidate(3, [open]), kept: [candidate(2, [open])] },
      runs(2),
      3,
    ],
    ['known-good after a rollback', { withdrawn: revisionOf(3) }, runs(3), 1],
    ['known-good, whatever it runs', {}, runs(9), 1],
    ['known-good, never heard of', {}, undefined, 1],
  ];
  test.each(rows)('%s', (_what, rollout, report, attempt) => {
    const program = programOf({ knownGood: KNOWN_GOOD, ...rollout });
    const assignment = assign(program, deviceOf('d', report), 1);
    expect(assignment.kind === 'revision' ? assignment.revision.attempt : undefined).toBe(attempt);
  });

  test('nothing, where there is neither stage nor known-good, and then the next rollout', () => {
    const waiting = { candidate: candidate(3, [closed]) };
    expect(assign(programOf(waiting), deviceOf('d'), 1)).toEqual({ kind: 'nothing' });
    const both = programOf(waiting, { name: 'base' as never, knownGood: KNOWN_GOOD });
    expect(assign(both, deviceOf('d'), 1)).toMatchObject({ rollout: 'base' });
    expect(standingOf(both, deviceOf('d'), 1).rollouts.map((each) => each.shadowedBy)).toEqual([
      undefined,
      undefined,
    ]);
  });

  test('nothing of a lower rollout while a higher one has something', () => {
    const base = { name: 'base' as never, candidate: candidate(2, [open]) };
    const both = programOf({ knownGood: KNOWN_GOOD }, base);
    expect(assign(both, deviceOf('d'), 1)).toMatchObject({ rollout: 'kiosk' });
    expect(standingOf(both, deviceOf('d'), 1).rollouts[1]?.shadowedBy).toBe('kiosk');
  });

  test('nothing once it is retired or its tags are overridden away, and something again with tags that match', () => {
    const program = programOf({ knownGood: KNOWN_GOOD });
    const say = (device: object) => ({
      ...program,
      devices: { d: { tags: {}, retired: false, revoked: false, ...device } } as never,
    });
    expect(assign(say({ retired: true }), deviceOf('d'), 1).kind).toBe('nothing');
    expect(assign(say({ tags: { product: null } }), deviceOf('d'), 1).kind).toBe('nothing');
    expect(assign(say({ tags: { product: 'kiosk' } }), { ...deviceOf('d'), tags: {} }, 1).kind).toBe(
      'revision',
    );
  });
});
