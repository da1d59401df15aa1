import { describe, expect, test } from 'vitest';
import type { Problem } from '../../src/documents/problem.ts';
import type { ValidationReport } from '../../src/proposal/validation.ts';
import { type CommandOptions, workflowCommands } from '../../src/proposal/workflow-commands.ts';

function problem(change: Partial<Problem> = {}): Problem {
  return {
    file: 'fleet/rollouts/kiosk.yaml',
    line: 3,
    column: 7,
    rule: 'no-gates',
    severity: 'error',
    message: 'no gates',
    ...change,
  };
}

function check(
  problems: readonly Problem[],
  expected: readonly string[],
  options: Partial<CommandOptions> & { readonly allowed?: ValidationReport['allowed'] } = {},
): void {
  const { allowed = [], ...rest } = options;
  const report = { valid: false, documents: 1, errors: 0, warnings: 0, problems, allowed };
  expect(workflowCommands(report, { folder: '', ...rest })).toEqual(expected);
}

describe('a workflow command', () => {
  test('has the place, the rule as its title, and the message', () => {
    check(
      [problem(), problem({ severity: 'warning', line: 4 })],
      [
        '::error file=fleet/rollouts/kiosk.yaml,line=3,col=7,title=no-gates::no gates',
        '::warning file=fleet/rollouts/kiosk.yaml,line=4,col=7,title=no-gates::no gates',
      ],
    );
  });

  test('cannot be left by what a file or a message is called', () => {
    check(
      [problem({ file: 'fleet/a,b:100%.yaml', message: '50%: one,\r\n::error::two' })],
      ['::error file=fleet/a%2Cb%3A100%25.yaml,line=3,col=7,title=no-gates::50%25: one,%0D%0A::error::two'],
    );
  });

  test('names the file from the root of the workspace', () => {
    check(
      [problem()],
      ['::error file=fleets/homes/fleet/rollouts/kiosk.yaml,line=3,col=7,title=no-gates::no gates'],
      {
        folder: 'fleets/homes',
      },
    );
  });

  test('is a notice for what is allowed, with the reason', () => {
    check(
      [],
      ['::notice file=fleet/rollouts/kiosk.yaml,line=3,col=7,title=no-gates::allowed (lab only): no gates'],
      { allowed: [{ ...problem(), reason: 'lab only' }] },
    );
  });
});

describe('GitHub shows ten of a kind', () => {
  const many = (count: number, change: Partial<Problem> = {}) =>
    Array.from({ length: count }, (_, index) => problem({ line: index + 1, ...change }));
  const linesOf = (commands: readonly string[]) =>
    commands.flatMap((each) => /^::error .*line=(\d+)/.exec(each)?.[1] ?? []).map(Number);
  const commandsFor = (problems: readonly Problem[], changed: CommandOptions['changed']) =>
    workflowCommands(
      { valid: false, documents: 1, errors: 0, warnings: 0, problems, allowed: [] },
      { folder: '', ...(changed === undefined ? {} : { changed }) },
    );

  test('the others are counted in one line', () => {
    const commands = commandsFor([...many(12), ...many(11, { severity: 'warning' })], undefined);
    expect(commands).toHaveLength(21);
    expect(linesOf(commands)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(commands.at(-1)).toBe(
      '2 more errors, 1 more warning in the output of tidegate validate: GitHub shows 10 of a kind',
    );
  });

  test('those on changed lines come first, then those in changed files', () => {
    const elsewhere = many(9, { file: 'fleet/fleet.yaml' }).map((each) => ({
      ...each,
      line: each.line + 100,
    }));
    const changed = new Map([['fleet/rollouts/kiosk.yaml', [[4, 5] as const, [8, 8] as const]]]);
    const commands = commandsFor([...elsewhere, ...many(9)], changed);
    expect(linesOf(commands)).toEqual([4, 5, 8, 1, 2, 3, 6, 7, 9, 101]);
  });
});
