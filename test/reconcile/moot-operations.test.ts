/** Entries of `ops/` that have no effect: found where they stand, through the status that people look at. */
import { describe, expect, test } from 'vitest';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { createSimulation, identities, type Simulation } from '../../src/simulate/simulation.ts';
import { FLEET, kiosk, rollout, WORLD } from '../simulation/fleet-files.ts';

const HEAD = 'apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: kiosk}\nspec:\n  operations:\n';

/** Attempt 1 succeeded, attempt 2 has its canary open. */
async function fleetInSecondAttempt(): Promise<Simulation> {
  const fleet = await createSimulation({
    startAt: Date.UTC(2026, 0, 1),
    seed: 'moot',
    world: WORLD,
    wire: 'direct',
  });
  await fleet.commit('First', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') });
  await fleet.settle();
  await fleet.enrol(...identities(6, () => ({ product: 'kiosk' })));
  await fleet.advance(4 * HOUR);
  await fleet.commit('Second', { ...kiosk('1.1.0'), ...rollout('1.1.0') });
  await fleet.advance(6 * MINUTE);
  return fleet;
}

async function problemsWith(fleet: Simulation, ...entries: readonly string[]): Promise<readonly string[]> {
  await fleet.commit('Operate', {
    'ops/kiosk.yaml': HEAD + entries.map((entry) => `  - ${entry}\n`).join(''),
  });
  await fleet.settle();
  return problems(fleet);
}

async function problems(fleet: Simulation): Promise<readonly string[]> {
  const response = await fleet.service.app.request('/api/status');
  const status = (await response.json()) as {
    headInForce: boolean;
    problems: {
      file: string;
      line: number;
      column: number;
      rule: string;
      severity: string;
      message: string;
    }[];
  };
  expect(status.headInForce).toBe(true);
  return status.problems.map(
    ({ file, line, column, rule, severity, message }) =>
      `${file}:${line}:${column} ${severity} ${rule}: ${message}`,
  );
}

const AT = 'ops/kiosk.yaml:6:5 warning';

describe('an entry that has no effect', () => {
  test.each([
    [
      '{action: pause, attempt: 7, by: ada}',
      `${AT} operation-attempt: kiosk has no attempt 7, the latest is 2; write the attempt that it is about`,
    ],
    [
      '{action: pause, attempt: 1, by: ada}',
      `${AT} operation-over: pause has no effect: attempt 1 is over (succeeded); write attempt: 2 if you mean that one`,
    ],
    [
      '{action: approve, attempt: 2, stage: btach, by: ada}',
      `${AT} operation-stage: attempt 2 has no stage btach; did you mean batch?`,
    ],
    [
      '{action: approve, attempt: 2, stage: batch, by: ada}',
      `${AT} operation-early: stage batch asks for no approval; take the entry away, or give the stage approvals first`,
    ],
    [
      '{action: promote, attempt: 2, stage: batch, by: ada}',
      `${AT} operation-early: stage batch is not open, and once it opens a promotion skips its soak and exposure; take the entry away if that is not meant`,
    ],
    [
      '{action: retry, attempt: 2, by: ada}',
      `${AT} operation-early: attempt 2 is running, and as soon as it fails a retry begins another one; take the entry away if that is not meant`,
    ],
    [
      '{action: retry, attempt: 1, by: ada}',
      `${AT} operation-over: there is nothing to retry in attempt 1: main wants kiosk@1.1.0, which did not fail there; take the entry away`,
    ],
    [
      '{action: promote, emergency: true, attempt: 2, by: ada}',
      `${AT} operation-emergency: an emergency has no effect here: kiosk@1.1.0 has not succeeded in this rollout before, and an emergency only goes back; let the stages decide, or promote them one by one`,
    ],
  ])('%s', async (entry, problem) => {
    expect(await problemsWith(await fleetInSecondAttempt(), entry)).toEqual([problem]);
  });

  test('about a rollout that is not there', async () => {
    const fleet = await fleetInSecondAttempt();
    await fleet.commit('Operate', {
      'ops/kisok.yaml': `${HEAD.replace('kiosk', 'kisok')}  - {action: pause, attempt: 1, by: ada}\n`,
    });
    await fleet.settle();
    expect(await problems(fleet)).toEqual([
      'ops/kisok.yaml:6:5 warning operation-rollout: there is no rollout kisok; did you mean kiosk?',
    ]);
  });
});

describe('an entry', () => {
  test.each([
    '{action: pause, attempt: 2, by: ada}',
    '{action: cancel, attempt: 2, by: ada}',
    '{action: approve, attempt: 2, stage: canary, by: ada}',
    '{action: promote, attempt: 2, stage: canary, by: ada}',
  ])('that was obeyed, or will be, or came true without it is none: %s', async (entry) => {
    const fleet = await fleetInSecondAttempt();
    expect(await problemsWith(fleet, entry)).toEqual([]);
    await fleet.advance(6 * HOUR);
    expect(await problems(fleet)).toEqual([]);
  });

  test('about the attempt that the same commit starts is none', async () => {
    const fleet = await fleetInSecondAttempt();
    await fleet.commit('Third, paused from the start', {
      ...kiosk('1.2.0'),
      ...rollout('1.2.0'),
      'ops/kiosk.yaml': `${HEAD}  - {action: pause, attempt: 3, by: ada}\n`,
    });
    await fleet.settle();
    expect(await problems(fleet)).toEqual([]);
    expect(fleet.events.filter(({ kind }) => kind === 'problems')).toEqual([]);
  });

  test('is judged anew when something has happened, without another commit', async () => {
    const fleet = await fleetInSecondAttempt();
    const entry = '{action: promote, attempt: 2, stage: batch, by: ada}';
    expect(await problemsWith(fleet, entry)).toHaveLength(1);
    await fleet.advance(2 * HOUR);
    expect(await problems(fleet)).toEqual([]);
  });
});

test('other stages for another revision are no edit of the open ones', async () => {
  const fleet = await fleetInSecondAttempt();
  const stages = '[{name: canary, size: 3}, {name: fleet, size: all}]';
  await fleet.commit('Third, more carefully', { ...kiosk('1.2.0'), ...rollout('1.2.0', { stages }) });
  await fleet.settle();
  expect(fleet.events.filter(({ kind }) => kind === 'problems')).toEqual([]);
  await fleet.commit('Too late', rollout('1.2.0', { stages: stages.replace('size: 3', 'size: 4') }));
  await fleet.settle();
  expect(await problems(fleet)).toEqual([
    'fleet/rollouts/kiosk.yaml:1:1 warning frozen-stage: stage canary is open in attempt 3 and stays as it was when it opened; ' +
      'this edit counts from the next attempt on, which begins when what is installed changes',
  ]);
});
