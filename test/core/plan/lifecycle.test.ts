import { describe, expect, test } from 'vitest';
import type { RolloutState, StageState } from '../../../src/core/model/outcome.ts';
import {
  enter,
  enterStage,
  ROLLOUT_TRANSITIONS,
  STAGE_TRANSITIONS,
} from '../../../src/core/plan/lifecycle.ts';
import { attemptOf, stageOutcome } from './attempts.ts';

const STATES = Object.keys(ROLLOUT_TRANSITIONS) as RolloutState[];
const STAGE_STATES = Object.keys(STAGE_TRANSITIONS) as StageState[];

describe('an attempt', () => {
  test('enters what the table allows, remembers it, and throws for everything else', () => {
    for (const from of STATES) {
      for (const to of STATES) {
        const attempt = attemptOf({ state: from });
        const move = () => enter(attempt, to, { cause: 'operator', at: 7 });
        if (ROLLOUT_TRANSITIONS[from].includes(to)) {
          expect(move()).toMatchObject({ state: to, cause: 'operator' });
          expect(move().history).toEqual([...attempt.history, { at: 7, state: to, cause: 'operator' }]);
        } else expect(move).toThrow(`${from} → ${to} is not a transition`);
      }
    }
  });

  test('never leaves success or a rollback, and nothing that ended starts again', () => {
    const reachable = (from: RolloutState): RolloutState[] => [...ROLLOUT_TRANSITIONS[from]];
    expect(reachable('succeeded')).toEqual([]);
    expect(reachable('rolledBack')).toEqual([]);
    for (const ended of ['stopped', 'superseded'] as const) expect(reachable(ended)).toEqual(['rolledBack']);
  });
});

test('a stage enters what the table allows, keeps the others, and throws for everything else', () => {
  for (const from of STAGE_STATES) {
    for (const to of STAGE_STATES) {
      const attempt = attemptOf({ stages: [stageOutcome({ name: 'first' }), stageOutcome({ state: from })] });
      const move = () => enterStage(attempt, 1, to, { tolerated: 2 });
      if (STAGE_TRANSITIONS[from].includes(to)) {
        expect(move().stages[1]).toMatchObject({ state: to, tolerated: 2 });
        expect(move().stages[0]).toBe(attempt.stages[0]);
      } else expect(move).toThrow(`${from} → ${to} is not a transition`);
    }
  }
  expect(() => enterStage(attemptOf(), 0, 'passed')).toThrow('no stage 0 is open');
});
