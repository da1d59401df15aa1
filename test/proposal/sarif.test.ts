import { describe, expect, test } from 'vitest';
import type { Problem } from '../../src/documents/problem.ts';
import { RULE_IDS } from '../../src/documents/rules.ts';
import { RESULTS_MAX, sarifLog } from '../../src/proposal/sarif.ts';
import type { ValidationReport } from '../../src/proposal/validation.ts';

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

function logOf(problems: readonly Problem[], allowed: ValidationReport['allowed'] = [], folder = '') {
  const report = { valid: false, documents: 1, errors: 0, warnings: 0, problems, allowed };
  // As whoever uploads it reads it.
  return JSON.parse(JSON.stringify(sarifLog(report, { version: '1.2.3', folder })));
}

const resultsOf = (...args: Parameters<typeof logOf>) => logOf(...args).runs[0].results;

describe('the log', () => {
  test('is SARIF 2.1.0 of one run, with columns as editors count them', () => {
    const log = logOf([]);
    expect(log).toMatchObject({ version: '2.1.0', $schema: expect.stringContaining('sarif-2.1.0') });
    expect(log.runs).toHaveLength(1);
    const [run] = log.runs;
    expect(run).toMatchObject({
      columnKind: 'utf16CodeUnits',
      results: [],
      invocations: [{ executionSuccessful: true }],
      tool: { driver: { name: 'Tidegate', semanticVersion: '1.2.3' } },
    });
    expect(Object.keys(run.originalUriBaseIds)).toEqual(['%SRCROOT%']);
  });

  test('describes every rule as far as GitHub reads it', () => {
    const { rules } = logOf([]).runs[0].tool.driver;
    expect(rules.map(({ id }: { id: string }) => id)).toEqual(RULE_IDS);
    for (const rule of rules) {
      expect(rule).toEqual({
        id: expect.stringMatching(/^[a-z-]+$/),
        shortDescription: { text: expect.stringMatching(/^.{1,1024}$/) },
        fullDescription: { text: expect.stringMatching(/^.{1,1024}$/) },
        helpUri: `https://tidegate.dev/rules/${rule.id}`,
        help: { text: expect.stringMatching(/\S/), markdown: expect.stringContaining('## What to do') },
        defaultConfiguration: { level: expect.stringMatching(/^(error|warning)$/) },
        properties: {
          tags: ['fleet', expect.stringMatching(/^(error|policy|advice)$/)],
          'problem.severity': expect.stringMatching(/^(error|warning)$/),
        },
      });
    }
  });

  test('keeps to the number of results that GitHub takes, the gravest first, and says how many are left', () => {
    const problems = [
      ...Array.from({ length: RESULTS_MAX }, () => problem({ severity: 'warning', rule: 'no-soak' })),
      problem(),
    ];
    const [run] = logOf(problems).runs;
    expect(run.results).toHaveLength(RESULTS_MAX);
    expect(run.results[0].ruleId).toBe('no-gates');
    expect(run.invocations[0].toolExecutionNotifications[0].message.text).toMatch(/^1 more problem/);
  });
});

describe('a result', () => {
  test('names its rule by id and index, and its place by an address below the root', () => {
    const [result] = resultsOf([problem({ file: 'fleet/rollouts/über kiosk#1.yaml' })], [], 'fleets/homes');
    expect(RULE_IDS[result.ruleIndex]).toBe(result.ruleId);
    expect(result).toMatchObject({ ruleId: 'no-gates', level: 'error', message: { text: 'no gates' } });
    expect(result.locations).toEqual([
      {
        physicalLocation: {
          artifactLocation: {
            uri: 'fleets/homes/fleet/rollouts/%C3%BCber%20kiosk%231.yaml',
            uriBaseId: '%SRCROOT%',
          },
          region: { startLine: 3, startColumn: 7 },
        },
      },
    ]);
  });

  test('that is allowed is suppressed, with the reason', () => {
    const [result] = resultsOf([], [{ ...problem(), reason: 'lab only' }]);
    expect(result.suppressions).toEqual([
      { kind: 'inSource', status: 'accepted', justification: 'lab only' },
    ]);
    expect(resultsOf([problem()])[0].suppressions).toBeUndefined();
  });

  test('has a fingerprint that stays when lines come or go, and differs from those of others', () => {
    const prints = (...problems: readonly Problem[]): string[] =>
      resultsOf(problems).map(
        (result: { partialFingerprints: Record<string, string> }) =>
          result.partialFingerprints['tidegateProblem/v1'],
      );
    const onLine = (line: number) => problem({ line, message: `the name is taken on line ${line - 2}` });
    expect(prints(onLine(9))).toEqual(prints(onLine(12)));
    expect(
      new Set(prints(problem(), problem({ line: 9 }), problem({ rule: 'one-stage' }), problem({ file: 'b' })))
        .size,
    ).toBe(4);
  });
});
