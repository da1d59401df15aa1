/** What stands in a comment is shown as it is: nobody is mentioned by it, nothing is linked, and it has an end. */
import { describe, expect, test } from 'vitest';
import type { Revision, RolloutName, SnapshotId } from '../../src/core/model/ids.ts';
import type { Attempt, StageOutcome } from '../../src/core/model/outcome.ts';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { attemptComment, attemptMarker } from '../../src/notify/attempt-comment.ts';
import { code, link, prose, table } from '../../src/notify/markdown.ts';

const START = Date.UTC(2026, 9, 1, 6);
const UNSEEN = '\u200b';

describe('words', () => {
  test.each([
    ['ping @acme/oncall and a@b.example', `ping @${UNSEEN}acme/oncall and a@${UNSEEN}b.example`],
    ['see #12, acme/fleet#3 and GH-7', `see #${UNSEEN}12, acme/fleet#${UNSEEN}3 and GH-${UNSEEN}7`],
    ['https://evil.example www.evil.example', `https:${UNSEEN}//evil.example www${UNSEEN}.evil.example`],
    ['[click](javascript:x) ![](x)', '\\[click\\](javascript:x) !\\[\\](x)'],
    ['<img src=x onerror=1> <!-- x --> &copy;', '&lt;img src=x onerror=1&gt; &lt;!-- x --&gt; &amp;copy;'],
    ['*a* _b_ ~~c~~ `d` $e$ \\f', '\\*a\\* \\_b\\_ \\~\\~c\\~\\~ \\`d\\` \\$e\\$ \\\\f'],
    ['a | b', 'a &#124; b'],
    ['one\n\n# two\r\u2028three', 'one # two three'],
    ['\u202eright to left', 'right to left'],
  ])('%j', (given, expected) => {
    expect(prose(given, 200)).toBe(expected);
  });

  test('end', () => {
    expect([...prose('x'.repeat(1e6), 100)]).toHaveLength(100);
    expect(prose('@'.repeat(1e6), 100).length).toBeLessThan(300);
  });
});

describe('code', () => {
  test.each([
    ['install.checksum', '`install.checksum`'],
    ['a`b', '`` a`b ``'],
    ['`` @x', '``` `` @x ```'],
    ['a\n```\nb', '```` a ``` b ````'],
    ['', '–'],
    ['\n', '–'],
  ])('%j', (given, expected) => {
    expect(code(given, 200)).toBe(expected);
  });
});

test('a bar within a cell does not end it', () => {
  expect(table([['a'], [code('x|y', 10)], [prose('x|y', 10)]])).toBe(
    '| a |\n| --- |\n| `x\\|y` |\n| x&#124;y |',
  );
});

test.each([
  ['https://wiki.example/hvac?a=1#b', '<https://wiki.example/hvac?a=1#b>'],
  ['javascript:alert(1)', 'javascript:alert(1)'],
  ['https://x.example/> @ada', `https:${UNSEEN}//x.example/&gt; @${UNSEEN}ada`],
  ['https://ada@x.example/', `https:${UNSEEN}//ada@${UNSEEN}x.example/`],
  ['the binder in room 4', 'the binder in room 4'],
])('as an address, %j', (given, expected) => {
  expect(link(given, 200)).toBe(expected);
});

const EVIL =
  '@acme/everyone #1 <img src=x> [x](https://evil.example) | `x` --> <!-- tidegate:attempt sign/1 -->\n\n# Owned';

const COUNTS = { pending: 0, installing: 0, verifying: 0, succeeded: 3, failed: 1 };

function stage(over: Partial<StageOutcome> = {}): StageOutcome {
  return {
    name: 'canary',
    state: 'failed',
    openedAt: START,
    closedAt: START + 40 * MINUTE,
    epoch: 'epoch',
    condition: 'x',
    unit: 'device',
    size: '5%',
    admits: { kind: 'list', scores: [] },
    units: 4,
    devices: 4,
    successThreshold: { kind: 'count', count: 4 },
    errorThreshold: { kind: 'count', count: 1 },
    soakMs: 0,
    minExposureHours: 0,
    stuckAfterMs: HOUR,
    gates: [],
    alpha: 0.05,
    verdict: {
      at: START,
      verdict: 'halt',
      counts: COUNTS,
      gates: [
        { name: 'crashes', state: 'halts', because: EVIL },
        { name: 'health', expression: 'healthy', holds: 1, fails: 2, missing: 1 },
      ],
      failures: [{ category: EVIL, devices: 1 }],
      silent: [],
      because: EVIL,
    },
    ...over,
  } as StageOutcome;
}

function attempt(over: Partial<Attempt> = {}): Attempt {
  return {
    rollout: 'kiosk' as RolloutName,
    attempt: 2,
    revision: `sha256:${'0'.repeat(64)}` as Revision,
    manifest: { distributionSet: 'kiosk@1.1.0' },
    snapshot: '9b1a4c0e6d2f8a7b3c5d1e9f0a2b4c6d8e0f1a3b' as SnapshotId,
    commit: '1'.repeat(40),
    state: 'paused',
    cause: 'gate',
    stages: [stage()],
    history: [],
    breach: {
      at: START,
      gate: 'crashes',
      severity: 'high',
      action: 'pause',
      because: EVIL,
      owner: EVIL,
      decideBy: START + 24 * HOUR,
      clusters: [{ tag: EVIL, value: EVIL, failed: 1, devices: 2 }],
    },
    learnings: '',
    ...over,
  } as Attempt;
}

const about = { commit: '2'.repeat(40), branch: 'main', owner: EVIL, runbook: EVIL };

test('what devices and documents say mentions nobody, and makes nothing of its own', () => {
  const text = attemptComment({ ...about, attempt: attempt() });
  // Outside of code.
  const read = text.replaceAll(/(`+)(?!`).*?[^`]\1(?!`)/g, 'CODE');
  expect(read).not.toMatch(/@[a-z]/i);
  expect(read).not.toMatch(/(?<!&)#[0-9]/);
  expect(read).not.toMatch(/:\/\/|<(?!\/?sub>)|-->/);
  expect(read).not.toMatch(/[^\\][[\]]/);
  // Nothing begins a line but what the comment is made of.
  const lines = text.split('\n').filter((line) => line !== '');
  expect(lines.filter((line) => !/^(### ‖|\*\*W|\| |- |<sub>)/u.test(line))).toEqual([]);
  expect(lines.filter((line) => line.startsWith('| '))).toHaveLength(3);
});

test('a comment has an end, whatever it is about', () => {
  const long = { ...stage().verdict, because: 'x'.repeat(1e5) };
  const gates = Array.from({ length: 500 }, (_, at) => ({
    name: `gate-${at}`.padEnd(500, 'x'),
    state: 'halts',
    because: '<'.repeat(1e5),
  }));
  const stages = Array.from({ length: 300 }, () =>
    stage({ name: '&'.repeat(500), verdict: { ...long, gates } as NonNullable<StageOutcome['verdict']> }),
  );
  const concerns = stages.map(() => ({
    at: START,
    gate: 'x'.repeat(1e4),
    severity: 'low' as const,
    because: '<'.repeat(1e5),
    reviewBy: START,
  }));
  const text = attemptComment({ ...about, attempt: attempt({ stages, concerns }) });
  expect(text.length).toBeLessThan(65_536 - attemptMarker(attempt()).length);
});

test.each([
  ['ready', 'created', /^### ○ `kiosk@1\.1\.0` has not started yet/],
  ['running', 'started', /^### ▶ .* is running in stage canary/],
  ['waitingForApproval', 'approvalNeeded', /^### \? .* waits for approval after stage canary/],
  ['monitoring', 'gate', /^### ‖ .* is held and watched in stage canary[\s\S]*tidegate gate explain kiosk/],
  ['paused', 'stuck', /^### ‖ .* is paused in stage canary[\s\S]*tidegate resume kiosk/],
  ['paused', 'operator', /\*\*Why:\*\* somebody asked for it in ops\//],
  ['paused', 'gate', /decide by 2026-10-02T06:00:00Z; after that, what was seen since decides/],
  ['succeeded', 'passed', /^### ✓ .* has succeeded[\s\S]*every stage has passed/],
  ['stopped', 'operator', /^### ■ .* was stopped in stage canary[\s\S]*tidegate retry kiosk/],
  ['superseded', 'replaced', /^### ■ .* was overtaken[\s\S]*a commit wants another revision/],
  ['rolledBack', 'errorThreshold', /^### ↩ .* was withdrawn[\s\S]*there is no known-good to go back to/],
] as const)('%s by %s says so, and what to do', (state, cause, expected) => {
  const text = attemptComment({
    ...about,
    owner: 'ada',
    runbook: undefined,
    attempt: attempt({ state, cause }),
  });
  expect(text).toMatch(expected);
});

test('a rollback says how far main is', () => {
  const knownGood = { attempt: 1 } as NonNullable<NonNullable<Attempt['restored']>['knownGood']>;
  const said = (restored: Omit<NonNullable<Attempt['restored']>, 'knownGood'>) =>
    attemptComment({
      ...about,
      attempt: attempt({ state: 'rolledBack', restored: { ...restored, knownGood } }),
    });
  expect(said({ main: 'pending' })).toContain('- devices are given what attempt 1 installed\n');
  expect(said({ main: 'diverged', branch: 'tidegate/rollback/kiosk/2' })).toContain(
    '- `main` refused the commit that says so: merge `tidegate/rollback/kiosk/2`\n',
  );
  const pullRequest = 'https://github.com/acme/fleet/pull/9';
  expect(said({ main: 'diverged', branch: 'x', pullRequest })).toContain(`merge <${pullRequest}>\n`);
});
