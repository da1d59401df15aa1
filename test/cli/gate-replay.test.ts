/** Hours that people write down, and what a gate makes of them. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { chanceOfAtLeast } from '../../src/core/estimate/poisson.ts';
import { document, fleetFiles, repositoryOf, run, temporaryFolder, writeFiles } from './fixture.ts';

const KNOWN = '{events: crash, rate: 0.002, margin: 1}';
const CONTROL = '{events: crash, margin: 1}';

/** A working folder with one Gate document, `crashes`, and the rows in a file. */
async function folderWith(
  gate: string,
  rows: string,
  files: Readonly<Record<string, string>> = {},
): Promise<string> {
  const folder = await temporaryFolder();
  await writeFiles(folder, {
    'fleet/gates/crashes.yaml': document('Gate', 'crashes', gate),
    'seen.yaml': rows,
    ...files,
  });
  return folder;
}

function replay(folder: string, gate = 'crashes', ...args: readonly string[]) {
  const file = join(folder, 'seen.yaml');
  return run(['gate', 'replay', gate, '--repo', folder, '--observations', file, ...args], {
    columns: 80,
    env: { NO_COLOR: '1' },
  });
}

interface Replayed {
  readonly state: string;
  readonly because: string;
  readonly ratio: number | null;
  readonly evidence: number | null;
  readonly haltsAtTick: number | null;
  readonly seen: { readonly treated: { readonly rate: number } };
  readonly ticks: readonly { readonly halts: boolean }[];
}

async function replayed(gate: string, rows: string): Promise<Replayed> {
  const { exit, out, err } = await replay(await folderWith(gate, rows), 'crashes', '--format', 'json');
  expect([exit, err]).toEqual([0, '']);
  return JSON.parse(out) as Replayed;
}

/** One hour. */
const hour = (treated: readonly [number, number], control?: readonly [number, number]) =>
  `rows: [{at: 2026-03-01T06:00:00Z, treated: {incidents: ${treated[0]}, hours: ${treated[1]}}${
    control === undefined ? '' : `, control: {incidents: ${control[0]}, hours: ${control[1]}}`
  }}]`;

describe('evidence', () => {
  test('S4.19 forty crashes where ten are expected halt the canary, on evidence of 2.8e10', async () => {
    const { state, evidence, haltsAtTick } = await replayed(KNOWN, hour([40, 5000]));
    expect(state).toBe('halts');
    expect(haltsAtTick).toBe(0);
    expect(evidence?.toPrecision(12)).toBe('28294178108.8');
    expect(Math.abs(chanceOfAtLeast(40, 10) - 7.3416363e-13)).toBeLessThan(1e-18);
  });

  test('S4.19 eleven crashes where ten are expected halt nothing', async () => {
    const { state, evidence, haltsAtTick } = await replayed(KNOWN, hour([11, 5000]));
    expect([state, haltsAtTick]).toEqual(['holds', null]);
    expect(evidence).toBeLessThan(1);
    expect(chanceOfAtLeast(11, 10)).toBeGreaterThan(0.4);
  });

  test('S4.18 observed 40 of 10 are 4 times as many', async () => {
    expect((await replayed(KNOWN, hour([40, 5000]))).ratio).toBe(4);
    expect((await replayed(KNOWN, hour([41, 5000]))).ratio).toBe(4.1);
  });

  test('twenty where ten are expected come close to a halt, and one more is one', async () => {
    const twenty = await replayed(KNOWN, hour([20, 5000]));
    expect(twenty.evidence?.toPrecision(12)).toBe('17.5283921272');
    expect(twenty.state).toBe('holds');
    expect((await replayed(KNOWN, hour([21, 5000]))).state).toBe('halts');
    // The same twenty halt whoever accepts more false halts.
    expect((await replayed(KNOWN, `alpha: 10%\n${hour([20, 5000])}`)).state).toBe('halts');
  });

  test('against untouched devices 40 in 5,000 hours are too much where there 190 come in 95,000', async () => {
    const { state, evidence, ratio } = await replayed(CONTROL, hour([40, 5000], [190, 95_000]));
    expect([state, ratio]).toEqual(['halts', 4]);
    expect(evidence?.toPrecision(12)).toBe('3313751464.61');
  });

  test('and are none where there they come as often', async () => {
    const { state, evidence, ratio } = await replayed(CONTROL, hour([40, 5000], [760, 95_000]));
    expect([state, ratio]).toEqual(['holds', 1]);
    expect(evidence).toBeLessThan(1);
  });

  test('S4.30 three reboots of two devices in twelve hours are 0.125 per device-hour', async () => {
    const folder = await folderWith('{events: reboot, rate: 0.02}', `rows:\n${rebooting()}`);
    expect((await replay(folder)).out).toContain('3 reboot in 24 device-hours: 0.125 per device-hour');
    const { out } = await replay(folder, 'crashes', '--format', 'json');
    expect((JSON.parse(out) as Replayed).seen.treated.rate).toBe(0.125);
    expect((await replayed('{events: reboot, rate: 0.02}', hour([1, 2]))).seen.treated.rate).toBe(0.5);
  });
});

/** Twelve hours of two devices, with reboots in three of them. */
function rebooting(): string {
  return Array.from({ length: 12 }, (_, index) => {
    const at = new Date(Date.UTC(2026, 2, 1, index)).toISOString();
    return `- [${at}, ${index % 4 === 1 ? 1 : 0}, 2, 0, 0]\n`;
  }).join('');
}

describe('S4.20 a threshold halts at more than its ratio', () => {
  const threshold = (more = '') => `{events: crash, rate: 0.002, method: threshold${more}}`;

  test.each([
    ['2 unless said', '', 21, 20],
    ['2', ', haltRatio: 2', 21, 20],
    ['3', ', haltRatio: 3', 31, 30],
  ])('%s', async (_name, more, beyond, within) => {
    expect((await replayed(threshold(more), hour([beyond, 5000]))).state).toBe('halts');
    expect((await replayed(threshold(more), hour([within, 5000]))).state).toBe('holds');
  });

  test('which lasts: the hour in which it has lasted is marked', async () => {
    const rows = [25, 5, 25, 25, 25]
      .map((crashes, index) => `- [2026-03-01T0${index}:00:00Z, ${crashes}, 5000, 0, 0]\n`)
      .join('');
    const found = await replayed(threshold(', for: 3h'), `rows:\n${rows}`);
    expect([found.state, found.haltsAtTick]).toEqual(['halts', 4]);
    const shorter = await replayed(threshold(', for: 2h'), `rows:\n${rows}`);
    expect(shorter.haltsAtTick).toBe(3);
  });
});

const TWO_HOURS = `rows:
- {at: 2026-03-01T06:00:00Z, treated: {incidents: 15, hours: 2500}, control: {incidents: 90, hours: 47500}}
- {at: 2026-03-01T07:00:00Z, treated: {incidents: 25, hours: 2500}, control: {incidents: 100, hours: 47500}}
`;

test('is shown hour by hour, in lines that fit', async () => {
  expect(await replay(await folderWith(CONTROL, TWO_HOURS))).toEqual({
    exit: 0,
    err: '',
    out: `gate crashes
  rule  crash per device-hour up to 1 times that of untouched devices

HOUR (UTC)        INCIDENTS  HOURS  UNTOUCHED   HOURS  RATIO  EVIDENCE
2026-03-01 06:00         15  2,500         90  47,500   3.17       171  ✗ halts
2026-03-01 07:00         25  2,500        100  47,500   4.00      10^9
Ratio and evidence are of all hours up to that one.

  in all     40 crash in 5,000 device-hours: 0.008 per device-hour
  untouched  190 crash in 95,000 device-hours: 0.002 per device-hour

✗ halts: 40 crash in 5,000 device-hours, 4.0 times the rate of untouched devices
(190 in 95,000); the evidence that this is too much is 10^9, and halts at 20
`,
  });
});

test('json is the same on every run, and the same whether rows are mappings or lists, YAML or JSON', async () => {
  const lists = `{"rows": [["2026-03-01T06:00:00Z", 15, 2500, 90, 47500], ["2026-03-01T07:00:00Z", 25, 2500, 100, 47500]]}`;
  const json = async (rows: string) =>
    (await replay(await folderWith(CONTROL, rows), 'crashes', '--format', 'json')).out;
  const first = await json(TWO_HOURS);
  expect(await json(TWO_HOURS)).toBe(first);
  expect(await json(lists)).toBe(first);
  expect(JSON.parse(first)).toEqual({
    gate: 'crashes',
    rule: 'crash per device-hour up to 1 times that of untouched devices',
    state: 'halts',
    because: expect.stringContaining('40 crash in 5,000 device-hours'),
    logEvidence: expect.closeTo(Math.log(3_313_751_464.61), 9),
    evidence: expect.closeTo(3_313_751_464.61, 1),
    ratio: 4,
    haltsAtTick: 0,
    seen: {
      treated: { incidents: 40, hours: 5000, rate: 0.008 },
      control: { incidents: 190, hours: 95_000, rate: 0.002 },
    },
    ticks: [
      expect.objectContaining({
        at: '2026-03-01T06:00:00Z',
        treated: { incidents: 15, hours: 2500 },
        control: { incidents: 90, hours: 47_500 },
        halts: true,
      }),
      expect.objectContaining({ ratio: 4, halts: true }),
    ],
  });
});

test('evidence that has gone again is no reason to believe that nothing would have halted', async () => {
  const rows = 'rows:\n- [2026-03-01T06:00:00Z, 20, 2500, 0, 0]\n- [2026-03-01T07:00:00Z, 0, 50000, 0, 0]\n';
  const { out } = await replay(await folderWith(KNOWN, rows));
  expect(out).toContain('✓ holds');
  expect(out.replaceAll('\n', ' ')).toContain(
    'a rollout would have been halted after the hour of 2026-03-01T06:00:00Z',
  );
});

test('metrics have sums and counts', async () => {
  const rows = Array.from(
    { length: 20 },
    (_, index) =>
      `- {at: ${new Date(Date.UTC(2026, 2, 1, index)).toISOString()}, treated: {sum: 900, count: 100}, control: {sum: 500, count: 100}}\n`,
  ).join('');
  const folder = await folderWith('{metric: drain, margin: 1}', `rows:\n${rows}`);
  const { out } = await replay(folder);
  expect(out).toContain('2026-03-01 00:00     9     100          5     100');
  expect(out).toContain('✗ halts');
  expect(out).toContain('in all     2,000 values of drain, 9 on average');
});

describe('which gate', () => {
  const rollout = (gates: string, alpha = '5%') => ({
    ...fleetFiles(),
    'fleet/rollouts/thermostat-firmware.yaml': `apiVersion: tidegate.dev/v1
kind: Rollout
metadata: {name: thermostat-firmware}
spec:
  owner: hvac-oncall
  distributionSet: thermostat@2.5.0
  targetCondition: tags.product = 'thermostat'
  priority: 10
  alpha: ${alpha}
  gates: ${gates}
  stages: [{canary: 1 site}, {fleet: all}]
`,
  });

  test("a rollout's, with its share of the rollout's α", async () => {
    const gates = `{crashes: ${KNOWN}, restarts: {events: restart, rate: 0.01}}`;
    const folder = await folderWith(KNOWN, hour([21, 5000]), rollout(gates));
    expect((await replay(folder)).out).toContain('✗ halts');
    const own = (await replay(folder, 'thermostat-firmware.crashes')).out;
    expect(own).toContain('✓ holds');
    expect(own).toContain('halts at 40');
    const generous = await folderWith(KNOWN, hour([21, 5000]), rollout(gates, '20%'));
    expect((await replay(generous, 'thermostat-firmware.crashes')).out).toContain('✗ halts');
  });

  test('a preset, unless the fleet has a gate of its own by that name', async () => {
    const rows = hour([50, 5000], [190, 95_000]);
    const folder = await folderWith(KNOWN, rows);
    expect((await replay(folder, 'crash-2x')).out).toContain('more than 2 times halts');
    const own = document('Gate', 'crash-2x', '{events: crash, method: threshold, haltRatio: 6}');
    const other = await folderWith(KNOWN, rows, { 'fleet/gates/crash-2x.yaml': own });
    expect((await replay(other, 'crash-2x')).out).toContain('more than 6 times halts');
  });

  test('also one that is only committed', async () => {
    const files = { ...fleetFiles(), 'fleet/gates/crashes.yaml': document('Gate', 'crashes', KNOWN) };
    const repository = await repositoryOf(files);
    const seen = await folderWith(CONTROL, hour([40, 5000]));
    const args = ['--observations', join(seen, 'seen.yaml')];
    const { exit, out } = await run([
      'gate',
      'replay',
      'crashes',
      '--repo',
      join(repository, '.git'),
      ...args,
    ]);
    expect(exit).toBe(0);
    expect(out).toContain('4.0 times the 10 that were expected');
  });

  test.each([
    ['crashs', 'did you mean crashes?'],
    ['thermostat-firmware.health', 'looks at runtime_healthy'],
    ['thermostat-firmware.signoff', 'looks at 2 approvals'],
    ['thermostat-firmware.crashs', 'did you mean thermostat-firmware.crashes?'],
  ])('%s is none that can be replayed', async (name, said) => {
    const gates = '{health: runtime_healthy, signoff: {approval: 2}, crashes: {use: crashes}}';
    const folder = await folderWith(KNOWN, hour([40, 5000]), rollout(gates));
    const { exit, err } = await replay(folder, name);
    expect(exit).toBe(2);
    expect(err).toContain(said);
  });

  test('one with a mistake says where', async () => {
    const folder = await folderWith('{events: crash, haltRatio: 2}', hour([40, 5000]));
    const { exit, err } = await replay(folder);
    expect(exit).toBe(2);
    expect(err).toContain('fleet/gates/crashes.yaml:4:');
    expect(err).toContain('haltRatio belongs to method: threshold');
  });
});

describe('a mistake in the file is said with its place and the next step', () => {
  const AT = 'at: 2026-03-01T06:00:00Z';
  const arm = (treated: string) => `rows:\n- {${AT}, treated: ${treated}}\n`;

  test.each([
    ['negative', arm('{incidents: -1, hours: 5}'), ':2:', 'incidents must be a whole number, 0 or more'],
    ['in parts', arm('{incidents: 1.5, hours: 5}'), ':2:', 'found 1.5'],
    [
      'infinite',
      arm('{incidents: 1, hours: .inf}'),
      ':2:',
      'hours must be a number of device-hours, 0 or more',
    ],
    ['not a number', arm('{incidents: 1, hours: .nan}'), ':2:', 'found NaN'],
    ['a text', arm('{incidents: "1", hours: 5}'), ':2:', 'found "1"'],
    ['lacking', arm('{incidents: 1}'), ':2:', 'hours must be'],
    [
      'of another kind',
      arm('{sum: 1, count: 5}'),
      ':2:',
      '"sum" means nothing here; there are incidents, hours',
    ],
    ['no row', 'rows: [3]', ':1:', 'a row has at, treated and perhaps control'],
    ['a short list', 'rows: [[2026-03-01T06:00:00Z, 1, 5]]', ':1:', 'five of them, found 3'],
    ['without time', 'rows: [{treated: {incidents: 1, hours: 5}}]', ':1:', 'at must be an instant such as'],
    ['a day that is none', 'rows: [[2026-02-30T06:00:00Z, 1, 5, 0, 0]]', ':1:', 'at must be an instant'],
    ['empty', '', ':1:', 'no document'],
    ['without rows', 'alpha: 5%', ':1:', 'rows must be a list of at least one hour'],
    ['with no rows', 'rows: []', ':1:', 'rows must be a list of at least one hour'],
    ['a list', '- 1', ':1:', 'the file must be a mapping with rows'],
    [
      'of no α',
      `alpha: 0.05\n${arm('{incidents: 1, hours: 5}')}`,
      ':1:',
      'alpha must be above 0% and below 100%',
    ],
    ['of an α of all', `alpha: 100%\n${arm('{incidents: 1, hours: 5}')}`, ':1:', 'found "100%"'],
    ['with more', `rate: 3\n${arm('{incidents: 1, hours: 5}')}`, ':1:', '"rate" means nothing here'],
    ['with previous', `previous: 3\n${arm('{incidents: 1, hours: 5}')}`, ':1:', 'take it away'],
    [
      'repeated',
      `rows:\n- [2026-03-01T06:00:00Z, 1, 5, 0, 0]\n- [2026-03-01T06:30:00Z, 1, 5, 0, 0]\n`,
      ':3:',
      'the same hour (UTC) as the row before',
    ],
    [
      'unsorted',
      `rows:\n- [2026-03-01T06:00:00Z, 1, 5, 0, 0]\n- [2026-03-01T05:00:00Z, 1, 5, 0, 0]\n`,
      ':3:',
      'sort the rows by time',
    ],
    ['no YAML', 'rows: [', ':1:', 'seen.yaml'],
  ])('%s', async (_name, rows, place, said) => {
    const { exit, out, err } = await replay(await folderWith(KNOWN, rows));
    expect([exit, out]).toEqual([2, '']);
    expect(err).toContain(`seen.yaml${place}`);
    expect(err).toContain(said);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });

  test('a gate against the known-good attempt needs its rate', async () => {
    const previous = '{events: crash, against: previous, margin: 1}';
    const { exit, err } = await replay(await folderWith(previous, hour([40, 5000])));
    expect(exit).toBe(2);
    expect(err).toContain('add previous: and its incidents per device-hour');
    expect((await replayed(previous, `previous: 0.002\n${hour([40, 5000])}`)).ratio).toBe(4);
    const none = await replay(await folderWith(previous, `previous: 0\n${hour([40, 5000])}`));
    expect(none.err).toContain('previous must be a number above 0');
  });

  test('a file that is not there, and options that do not go together', async () => {
    const folder = await folderWith(KNOWN, hour([40, 5000]));
    const gate = ['gate', 'replay', 'crashes', '--repo', folder];
    const away = await run([...gate, '--observations', join(folder, 'gone.yaml')]);
    expect([away.exit, away.err]).toEqual([2, expect.stringContaining('gone.yaml is not there')]);
    expect((await run(gate)).err).toContain('found neither');
    expect((await run([...gate, '--observations', 'x', '--outcome', 'y'])).err).toContain('found both');
    expect((await run([...gate, '--observations', 'x', '--stage', 'y'])).err).toContain('--stage belongs to');
  });
});
