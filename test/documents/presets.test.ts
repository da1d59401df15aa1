/** What comes with Tidegate, and what a fleet makes of it. */
import { expect, test } from 'vitest';
import { DAY, HOUR } from '../../src/core/model/time.ts';
import { PRESETS, presetDocument } from '../../src/documents/presets.ts';
import { load, problemsOf, ROLLOUT, replaced, rolloutOf } from './sources.ts';

const STAGES = ROLLOUT.slice(ROLLOUT.indexOf('  stages:'));

/** The rollout with these gates and stages, as lines of its spec. */
function rolloutOn(stages: string, gates = '{health: runtime_healthy}', more = ''): string {
  return replaced(
    replaced(ROLLOUT, STAGES, `  stages: ${stages}\n${more}`),
    '  gates:\n    health: runtime_healthy',
    `  gates: ${gates}`,
  );
}

function loadWith(text: string, files: Record<string, string> = {}) {
  return load({ 'fleet/rollouts/kiosk.yaml': text, ...files });
}

const soaksOf = (stages: string, more = '') =>
  rolloutOf(loadWith(rolloutOn(stages, undefined, more))).stages.map(
    ({ name, soakMs, soakMaxMs = soakMs }) => [name, soakMs, soakMaxMs],
  );

test('no two presets have one name, and each says when to use it', () => {
  const names = PRESETS.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  for (const { kind, name } of PRESETS)
    expect([name, presetDocument(kind, name)?.data.spec.description]).toEqual([name, expect.any(String)]);
});

test.each(PRESETS.map(({ kind, name }) => [kind, name] as const))(
  'a rollout can name the %s %s, and a fleet can have it as its own',
  (kind, name) => {
    const text =
      kind === 'StagePlan'
        ? rolloutOn(name)
        : rolloutOn('[{name: canary, size: 1%, soak: 1h}, {fleet: all}]', `{health: {use: ${name}}}`);
    const bare = loadWith(text);
    expect(problemsOf(bare)).toEqual([]);
    const preset = PRESETS.find((each) => each.name === name)?.text ?? '';
    const copied = loadWith(text, {
      [`fleet/${kind === 'Gate' ? 'gates' : 'stages'}/${name}.yaml`]: preset,
    });
    expect(problemsOf(copied)).toEqual([]);
    expect(rolloutOf(copied)).toEqual(rolloutOf(bare));
  },
);

test('S4.29 the textbook canary soaks 1–2 h, 6–12 h, 24 h and 3–7 d at 1 %, 5 %, 25 % and all', () => {
  expect(soaksOf('textbook-canary')).toEqual([
    ['canary', HOUR, 2 * HOUR],
    ['early', 6 * HOUR, 12 * HOUR],
    ['quarter', 24 * HOUR, 24 * HOUR],
    ['fleet', 3 * DAY, 7 * DAY],
  ]);
  const { stages } = rolloutOf(loadWith(rolloutOn('textbook-canary')));
  expect(stages.map(({ size }) => size)).toEqual([
    { kind: 'share', share: { numerator: 1, denominator: 100 } },
    { kind: 'share', share: { numerator: 5, denominator: 100 } },
    { kind: 'share', share: { numerator: 25, denominator: 100 } },
    { kind: 'all' },
  ]);
});

test('S4.86 from alpha to full: sizes within their bounds, soaks and allowed crashes as the table has them', () => {
  const { stages, gates } = rolloutOf(loadWith(rolloutOn('alpha-to-full')));
  const allowed = new Map(
    gates.map((gate) => [gate.name, 'method' in gate && 'margin' in gate.method && gate.method.margin]),
  );
  const table = [
    // name, least and most (devices, or a share), soak, times the crashes
    ['alpha', 10, 50, 24 * HOUR, 48 * HOUR, 2],
    ['beta', 0.01, 0.05, 3 * DAY, 7 * DAY, 2],
    ['canary', 0.01, 0.05, 6 * HOUR, 24 * HOUR, 2],
    ['early', 0.05, 0.25, 24 * HOUR, 72 * HOUR, 1.5],
    ['regional', 0.25, 0.5, 3 * DAY, 7 * DAY, 1.5],
    ['full', 0.5, 1, 7 * DAY, 14 * DAY, 1.2],
  ] as const;
  expect(stages.map(({ name }) => name)).toEqual(table.map(([name]) => name));
  for (const [at, [, least, most, min, max, times]] of table.entries()) {
    const stage = stages[at];
    const { size } = stage ?? {};
    const amount =
      size?.kind === 'count'
        ? size.count
        : size?.kind === 'share'
          ? size.share.numerator / size.share.denominator
          : 1;
    expect(amount).toBeGreaterThanOrEqual(least);
    expect(amount).toBeLessThanOrEqual(most);
    expect(stage).toMatchObject({ soakMs: min, soakMaxMs: max });
    expect(stage?.gates.map((name) => allowed.get(name))).toEqual([false, times].slice(-2));
  }
  expect(stages[0]).toMatchObject({ errorThreshold: { kind: 'count', count: 1 } });
});

test.each([
  ['catastrophic', 6 * HOUR],
  ['moderate', 48 * HOUR],
  ['rare', 7 * DAY],
])('S4.88 bugClass: %s makes soaks that are shorter as long as such bugs take', (bugClass, leastMs) => {
  const list = '[{canary: 1 site}, {name: fleet, size: all, soak: {min: 1h, max: 3h}}]';
  expect(soaksOf(list, `  bugClass: ${bugClass}\n`)).toEqual([
    ['canary', leastMs, leastMs],
    ['fleet', leastMs, leastMs],
  ]);
});

test('S4.88 a soak that is longer stays, and a stage may say another class than its rollout', () => {
  const list =
    '[{name: canary, size: 1, soak: 7h}, {name: half, size: 50%, soak: {min: 1h, max: 30d}, bugClass: rare}, {name: fleet, size: all, soak: 6h}]';
  expect(soaksOf(list, '  bugClass: catastrophic\n')).toEqual([
    ['canary', 7 * HOUR, 7 * HOUR],
    ['half', 7 * DAY, 30 * DAY],
    ['fleet', 6 * HOUR, 6 * HOUR],
  ]);
});

test('a class that does not exist is named with those that do', () => {
  const [problem] = problemsOf(loadWith(rolloutOn('[{fleet: all}]', undefined, '  bugClass: terrible\n')));
  expect(problem).toContain('bugClass must be catastrophic, moderate or rare, found "terrible"');
});

const PLAN = `apiVersion: tidegate.dev/v1
kind: StagePlan
metadata: {name: ours}
spec:
  gates:
    crashes: {use: crash-rate}
    reboots: {events: reboot}
  stages:
  - {name: canary, size: 1, gates: [crashes]}
  - {name: fleet, size: all}
`;

test('the gates of a stage plan judge the stages that list them, the rollout’s own every stage', () => {
  const loaded = loadWith(rolloutOn('ours'), { 'fleet/stages/ours.yaml': PLAN });
  const { gates, stages } = rolloutOf(loaded);
  expect(gates.map(({ name }) => name)).toEqual(['health', 'crashes', 'reboots']);
  expect(stages.map((stage) => stage.gates)).toEqual([
    ['health', 'crashes'],
    ['health', 'crashes', 'reboots'],
  ]);
});

test('a gate of the rollout takes the place of the plan’s with its name', () => {
  const text = rolloutOn('ours', '{crashes: {events: app-crash}}');
  const { gates, stages } = rolloutOf(loadWith(text, { 'fleet/stages/ours.yaml': PLAN }));
  expect(gates).toMatchObject([
    { name: 'crashes', event: 'app-crash' },
    { name: 'reboots', event: 'reboot' },
  ]);
  expect(stages.map((stage) => stage.gates)).toEqual([['crashes'], ['crashes', 'reboots']]);
});

test('what is wrong with the gates of a plan is said there, once, however many use it', () => {
  const broken = PLAN.replace('[crashes]', '[crashs]')
    .replace('crash-rate', 'crash-rat')
    .replace('{events: reboot}', '{events: reboot, haltRatio: 3}');
  const second = rolloutOn('ours').replace('name: kiosk', 'name: second');
  const problems = problemsOf(
    loadWith(rolloutOn('ours'), { 'fleet/stages/ours.yaml': broken, 'fleet/rollouts/second.yaml': second }),
  );
  expect(problems).toEqual([
    expect.stringContaining(
      'fleet/stages/ours.yaml:6:20: spec.gates.crashes.use names the Gate "crash-rat", which does not exist; did you mean "crash-rate"?',
    ),
    expect.stringContaining('haltRatio belongs to method: threshold'),
    expect.stringContaining(
      'the stage names the gate "crashs", which the plan does not have (it has crashes, reboots)',
    ),
  ]);
});

test('a fleet’s own gate comes before the preset of its name, also in a preset’s plan', () => {
  const own = `apiVersion: tidegate.dev/v1
kind: Gate
metadata: {name: crash-rate}
spec: {events: app-crash}
`;
  const loaded = loadWith(rolloutOn('textbook-canary'), { 'fleet/gates/crash-rate.yaml': own });
  expect(rolloutOf(loaded).gates.find(({ name }) => name === 'crashes')).toMatchObject({
    event: 'app-crash',
  });
  expect([...(loaded.paths.values().next().value ?? [])]).toEqual([
    'fleet/rollouts/kiosk.yaml',
    'fleet/distribution-sets/thermostat.yaml',
    'fleet/gates/crash-rate.yaml',
  ]);
});

test('a name that neither the fleet nor Tidegate has is a problem that says where to look', () => {
  const [problem] = problemsOf(loadWith(rolloutOn('everything-at-once')));
  expect(problem).toContain('tidegate preset list shows those that need no file');
});

test('a rollout whose stage plan brings gates has gates, and one whose plan brings none has none', () => {
  const bare = (plan: string) => replaced(rolloutOn(plan), '  gates: {health: runtime_healthy}\n', '');
  expect(problemsOf(loadWith(bare('textbook-canary')))).toEqual([]);
  expect(problemsOf(loadWith(bare('by-site')))).toEqual([
    expect.stringContaining('the rollout has no gates'),
  ]);
});
