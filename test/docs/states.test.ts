/** docs/states.md against the code: every state, transition, cause, count and status is in its table, and nothing else. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import outcome from '../../schemas/rollout-outcome.schema.json' with { type: 'json' };
import { emptyRolloutTally, emptyStageTally } from '../../src/core/assign/tally.ts';
import { ROLLOUT_TRANSITIONS, STAGE_TRANSITIONS } from '../../src/core/plan/lifecycle.ts';
import { DEVICE_STATUSES } from '../../src/core/status.ts';

const STATES = readFileSync(new URL('../../docs/states.md', import.meta.url), 'utf8');

/** The rows of the tables below a heading whose first column is called `first`: cell by cell. */
function rows(heading: string, first: string): string[][] {
  const section = STATES.split(/^## /m).find((each) => each.startsWith(`${heading}\n`)) ?? '';
  const tables = section.split(/\n\n+/).filter((block) => block.startsWith(`| ${first} |`));
  return tables.flatMap((table) =>
    table
      .trim()
      .split('\n')
      .slice(2)
      .map((row) =>
        row
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      ),
  );
}

/** The words in backquotes. */
function words(cell: string | undefined): string[] {
  return [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, word = '']) => word);
}

function firstWords(table: readonly string[][]): string[] {
  return table.flatMap(([first]) => words(first));
}

test.each([
  ['S1.20', 'Rollouts', ROLLOUT_TRANSITIONS],
  ['S1.28', 'Stages', STAGE_TRANSITIONS],
] as const)(
  '%s the table of %s lists every state with exactly the states it goes to',
  (_row, heading, table) => {
    const written = rows(heading, 'state').map((row) => [words(row[0])[0], words(row[3])]);
    expect(Object.fromEntries(written)).toEqual(table);
    expect(written).toHaveLength(Object.keys(table).length);
  },
);

test('the table of causes lists every cause once, with states that there are', () => {
  const causes = rows('Rollouts', 'cause');
  expect(firstWords(causes).sort()).toEqual([...outcome.$defs.cause.enum].sort());
  const states = causes.map(([, of]) => (of ?? '').split(':')[0]).flatMap(words);
  expect(states.filter((state) => !Object.hasOwn(ROLLOUT_TRANSITIONS, state))).toEqual([]);
});

test('the tables of counts list every count of a stage and of a rollout', () => {
  const {
    newcomers: _newcomers,
    onWithdrawn: _onWithdrawn,
    stages: _stages,
    controlHeard: _controlHeard,
    ...counts
  } = emptyRolloutTally();
  const expected = [...Object.keys(emptyStageTally().counts), ...Object.keys(counts)];
  expect(firstWords(rows('Counts', 'count'))).toEqual(expected);
});

test('S1.30 the table of devices lists every status, and every status of a hawkBit target once', () => {
  const table = rows('Devices', 'status');
  expect(firstWords(table).sort()).toEqual([...DEVICE_STATUSES].sort());
  const hawkbit = table.flatMap((row) => words(row[2]));
  expect(hawkbit.sort()).toEqual(['error', 'in_sync', 'pending', 'registered', 'unknown']);
});

test.each([
  [
    'S1.20',
    'hawkBit, rollout',
    `creating waiting_for_approval approval_denied ready starting running paused stopping stopped finished deleting
    deleted error_creating error_starting`,
    ROLLOUT_TRANSITIONS,
  ],
  ['S1.28', 'hawkBit, group', 'ready scheduled running finished error', STAGE_TRANSITIONS],
] as const)('%s each state of a %s has a line, and each of ours is in one', (_row, first, states, table) => {
  const lines = rows("hawkBit's names", first);
  expect(firstWords(lines)).toEqual(states.split(/\s+/));
  const ours = new Set(lines.flatMap(([, here]) => words(here)));
  expect(Object.keys(table).filter((state) => !ours.has(state))).toEqual([]);
});
