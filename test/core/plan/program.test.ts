import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DesiredState, Rollout } from '../../../src/core/model/desired.ts';
import type { CommitId, RolloutName, SnapshotId } from '../../../src/core/model/ids.ts';
import type { Attempt, RolloutState } from '../../../src/core/model/outcome.ts';
import { buildProgram } from '../../../src/core/plan/program.ts';
import { attemptOf, CONDITION, stageOutcome } from './attempts.ts';

function rolloutOf(name: string, priority = 10): Rollout {
  const { manifest, revision } = attemptOf();
  return {
    name: name as RolloutName,
    labels: {},
    owner: 'ada',
    manifest,
    revision,
    condition: CONDITION,
    priority,
    start: { kind: 'onMerge' },
    suspend: false,
    gates: [],
    alpha: 0.05,
    evidence: {},
    stages: [],
    onFailure: 'ladder',
  };
}

function desiredOf(...rollouts: readonly Rollout[]): DesiredState {
  return {
    snapshot: 'f'.repeat(40) as SnapshotId,
    commit: 'c'.repeat(40) as CommitId,
    fleet: { name: 'test', pollIntervalMs: 60_000, timezone: 'UTC', require: [] },
    rollouts: new Map(rollouts.map((rollout) => [rollout.name, rollout])),
    distributionSets: new Map(),
    devices: new Map(),
    flags: new Map(),
    sites: new Map(),
  };
}

/** Attempts 1, 2, 3 … that went as far as these states, each with an open stage. */
function history(...states: readonly RolloutState[]): readonly Attempt[] {
  return states.map((state, at) => attemptOf({ attempt: at + 1, state, stages: [stageOutcome()] }));
}

/** What devices can be given: `2` the candidate, `(2)` one that makes no offers, `kept`, `good`, `withdrawn`. */
function summary(...states: readonly RolloutState[]): string {
  const program = buildProgram(
    desiredOf(rolloutOf('kiosk')),
    new Map([['kiosk' as RolloutName, history(...states)]]),
  );
  const { candidate, kept, knownGood, withdrawn } = program.rollouts[0] ?? { kept: [] };
  return [
    ...(candidate === undefined
      ? []
      : [candidate.offers ? `${candidate.attempt}` : `(${candidate.attempt})`]),
    ...kept.map(({ attempt }) => `kept ${attempt}`),
    ...(knownGood === undefined ? [] : [`good ${knownGood.attempt}`]),
    ...(withdrawn === undefined ? [] : [`withdrawn ${withdrawn.attempt}`]),
  ].join(', ');
}

describe('the program of a rollout', () => {
  test.each<[string, ...RolloutState[]]>([
    ['1', 'running'],
    ['1', 'waitingForApproval'],
    ['(1)', 'paused'],
    ['(1)', 'stopped'],
    ['good 1', 'succeeded'],
    ['2, good 1', 'succeeded', 'running'],
    ['(2), good 1', 'succeeded', 'paused'],
    ['3, kept 2, good 1', 'succeeded', 'superseded', 'running'],
    ['4, kept 3, kept 2, good 1', 'succeeded', 'superseded', 'stopped', 'running'],
    ['kept 2, good 1', 'succeeded', 'superseded'],
    ['good 1, withdrawn 2', 'succeeded', 'rolledBack'],
    ['good 1, withdrawn 3', 'succeeded', 'superseded', 'rolledBack'],
    ['3, good 1, withdrawn 2', 'succeeded', 'rolledBack', 'running'],
    ['good 3', 'succeeded', 'rolledBack', 'succeeded'],
    ['withdrawn 1', 'rolledBack'],
  ])('is %s', (expected, ...states) => {
    expect(summary(...states)).toBe(expected);
  });

  test('has no candidate before its first stage opens, and is there all the same for those below', () => {
    const program = buildProgram(desiredOf(rolloutOf('kiosk')), new Map());
    expect(program.rollouts).toEqual([expect.not.objectContaining({ candidate: expect.anything() })]);
  });
});

test('larger priority first, then the more recently created, then the name; whatever the order of the files', () => {
  const rollouts = [
    rolloutOf('c', 20),
    rolloutOf('new', 10),
    rolloutOf('b', 10),
    rolloutOf('a', 10),
    rolloutOf('old', 10),
    rolloutOf('z', 5),
  ];
  const created: Record<string, number> = { c: 1, b: 5, a: 5, old: 2, z: 9 };
  const outcomes = new Map(
    Object.entries(created).map(([name, createdAt]) => [
      name as RolloutName,
      [attemptOf({ rollout: name as RolloutName, createdAt })],
    ]),
  );
  fc.assert(
    fc.property(fc.shuffledSubarray(rollouts, { minLength: rollouts.length }), (shuffled) => {
      const names = buildProgram(desiredOf(...shuffled), outcomes).rollouts.map(({ name }) => name);
      expect(names).toEqual(['c', 'new', 'a', 'b', 'old', 'z']);
    }),
  );
});
