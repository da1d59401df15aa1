import { expect, test } from 'vitest';
import { assign } from '../../src/core/assign/assign.ts';
import { SECOND } from '../../src/core/model/time.ts';
import { confirmedProgram } from '../../src/reconcile/confirmation.ts';
import type { PublishedProgram } from '../../src/store/store.ts';
import {
  CONDITION,
  candidate,
  deviceOf,
  programOf,
  reportOf,
  revisionOf,
  stageOf,
} from '../core/assign/program.ts';

const program = programOf({
  candidate: candidate(2, [stageOf()]),
  knownGood: { ...revisionOf(1), condition: CONDITION },
});
const published: PublishedProgram = { version: 7, flagsVersion: 1, program };

/** What a device that runs attempt `running` gets when the program was last confirmed `agoMs` ago. */
function assigned(agoMs: number, running: number): number | undefined {
  const served = confirmedProgram(() => ({ published, confirmedAt: 1000 }), { now: () => 1000 + agoMs });
  const device = deviceOf('a', reportOf({ running }));
  const assignment = assign((served() as PublishedProgram).program, device, 0);
  return assignment.kind === 'revision' ? assignment.revision.attempt : undefined;
}

test('a program that was confirmed in the last 30 s is served as it is', () => {
  expect(assigned(0, 1)).toBe(2);
  expect(assigned(30 * SECOND, 1)).toBe(2);
});

test('one that was not makes no new offers, and takes nothing from anybody', () => {
  expect(assigned(30 * SECOND + 1, 1)).toBe(1);
  expect(assigned(30 * SECOND + 1, 2)).toBe(2);
});

test('it is one object as long as nothing about it changes', () => {
  let now = 0;
  const served = confirmedProgram(() => ({ published, confirmedAt: 0 }), { now: () => now });
  expect(served()).toBe(published);
  now = 31 * SECOND;
  expect(served()).not.toBe(published);
  expect(served()).toBe(served());
});
