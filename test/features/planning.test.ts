/** What the textbook works out by hand, from the command that people run. Each example has a second case with other figures. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { StageForecast } from '../../src/core/estimate/forecast.ts';
import type { PlanReport } from '../../src/proposal/examination.ts';
import { document, repositoryOf, run, temporaryFolder, writeFiles } from '../cli/fixture.ts';

const HOUR = 3_600_000;

interface Fleet {
  readonly devices?: number;
  readonly cells?: readonly { readonly devices: number; readonly tags: Readonly<Record<string, string>> }[];
  readonly planning?: string;
  readonly stages: string;
  readonly gates?: string;
  readonly rest?: string;
  readonly sizeBytes?: number;
  readonly others?: Readonly<Record<string, string>>;
  /** The file as it was before: undefined, it was not there; unless given, it installed another version. */
  readonly before?: string | undefined;
}

function rollout({ stages, gates = '{health: ok}', rest = '' }: Fleet, version: string): string {
  return `apiVersion: tidegate.dev/v1
kind: Rollout
metadata: {name: thermostat}
spec:
  owner: hvac
  distributionSet: thermostat@${version}
  targetCondition: tags.product = 'thermostat'
  priority: 10
  gates: ${gates}
  stages: ${stages}
${rest}`;
}

function set(version: string, sizeBytes: number): string {
  const digit = version.startsWith('1') ? 'a' : 'b';
  return document(
    'DistributionSet',
    `thermostat@${version}`,
    `{modules: [{name: app, version: ${version}, type: firmware, artifacts: [{name: app.bin, sha256: ${digit.repeat(64)}, sizeBytes: ${sizeBytes}, urls: ["https://cdn.example/app-${version}.bin"]}]}]}`,
  );
}

/** A working folder whose commit installed 1.0.0, and whose files want 2.0.0; with a census beside it. */
async function proposed(fleet: Fleet): Promise<readonly string[]> {
  const { sizeBytes = 1_000_000, planning = '{}', others = {} } = fleet;
  const folder = await repositoryOf({
    'fleet/fleet.yaml': document('Fleet', 'homes', `{planning: ${planning}}`),
    'fleet/distribution-sets/1.yaml': set('1.0.0', sizeBytes),
    'fleet/distribution-sets/2.yaml': set('2.0.0', sizeBytes),
    ...('before' in fleet && fleet.before === undefined
      ? {}
      : { 'fleet/rollouts/thermostat.yaml': fleet.before ?? rollout(fleet, '1.0.0') }),
    ...others,
  });
  await writeFiles(folder, { 'fleet/rollouts/thermostat.yaml': rollout(fleet, '2.0.0') });
  const cells = fleet.cells ?? [{ devices: fleet.devices ?? 0, tags: { product: 'thermostat' } }];
  const devices = cells.reduce((sum, cell) => sum + cell.devices, 0);
  const census = { at: '2026-11-20T00:00:00Z', devices, omitted: {}, rates: {}, cells };
  const beside = await temporaryFolder();
  await writeFiles(beside, { 'census.json': JSON.stringify(census) });
  return ['plan', folder, '--census', join(beside, 'census.json')];
}

async function reportOf(fleet: Fleet): Promise<PlanReport> {
  const { out, err } = await run([...(await proposed(fleet)), '--format', 'json']);
  expect(err).toBe('');
  return JSON.parse(out);
}

async function stagesOf(fleet: Fleet): Promise<readonly StageForecast[]> {
  const report = await reportOf(fleet);
  return report.proposal?.rollouts[0]?.forecast?.stages ?? [];
}

const rulesOf = async (fleet: Fleet) => (await reportOf(fleet)).problems.map(({ rule }) => rule);
const messagesOf = async (fleet: Fleet, rule: string) =>
  (await reportOf(fleet)).problems.filter((problem) => problem.rule === rule).map(({ message }) => message);

const events = (stage: StageForecast | undefined) => stage?.gates.find(({ events: found }) => found)?.events;

const THERMOSTATS: Fleet = {
  devices: 250_000,
  sizeBytes: 1_800_000,
  planning:
    '{rates: {crash: 0.02%/d}, analysisTime: 90m, rollbackFailures: 0.3%, supportCapacity: 500, link: 0.5 Mbit/s, transferOverhead: 1.5625}',
  gates:
    '{crashes: {events: crash, method: threshold, haltRatio: 3}, rollbacks: {share: rolledBack, above: 2%}}',
  stages: `
  - {name: canary, size: 0.5%, mode: incremental, soak: 6h}
  - {name: early, size: 5%, mode: incremental, soak: 24h}
  - {name: quarter, size: 25%, mode: incremental, soak: 48h}
  - {name: fleet, size: all, soak: 72h}`,
};

describe('the thermostats', () => {
  test('S4.57 S4.58 S4.59 1.8 MB are 14.4 Mbit, which take 28.8 s at 0.5 Mbit/s and 45 s with what comes on top', async () => {
    const { proposal } = await reportOf(THERMOSTATS);
    expect(proposal?.rollouts[0]?.forecast?.download).toEqual({
      sizeBytes: 1_800_000,
      transfer: { bits: 14_400_000, linkMs: 28_800, likelyMs: 45_000 },
    });
    const { out } = await run(await proposed(THERMOSTATS));
    expect(out).toContain('14.4 Mbit take a device 28.8 s, about 45 s with what comes on top');
    const other = await reportOf({
      ...THERMOSTATS,
      sizeBytes: 500_000,
      planning: '{link: 250 kbit/s, transferOverhead: 2}',
    });
    expect(other.proposal?.rollouts[0]?.forecast?.download.transfer).toEqual({
      bits: 4_000_000,
      linkMs: 16_000,
      likelyMs: 32_000,
    });
  });

  test('S4.60 S4.61 S4.62 the stages have 1,250, 12,500 and 62,500 devices for 6, 24 and 48 hours', async () => {
    const report = await reportOf(THERMOSTATS);
    const forecast = report.proposal?.rollouts[0]?.forecast;
    expect(forecast?.stages.map(({ reach }) => reach.devices).slice(0, 3)).toEqual([1250, 12_500, 62_500]);
    expect(forecast?.timelines.least.stages.map(({ soakMs }) => soakMs / HOUR)).toEqual([6, 24, 48, 72]);
    const other = await stagesOf({ ...THERMOSTATS, devices: 25_001 });
    expect(other.map(({ reach }) => reach.devices)).toEqual([126, 1251, 6251, 17_373]);
  });

  test('S4.63 the last stage has 173,750 devices where shares are of their own, and 187,500 where each contains the ones before', async () => {
    expect((await stagesOf(THERMOSTATS))[3]?.reach.devices).toBe(173_750);
    const nested = { ...THERMOSTATS, stages: THERMOSTATS.stages.replaceAll('incremental', 'cumulative') };
    const stages = await stagesOf(nested);
    expect(stages.map(({ reach }) => reach.devices)).toEqual([1250, 11_250, 50_000, 187_500]);
    expect(stages.map(({ reach }) => reach.reached)).toEqual([1250, 12_500, 62_500, 250_000]);
  });

  test('S4.64 S4.65 a canary expects 0.25 crashes a day and pauses above 0.75; in its six hours it is a quarter of that, and one crash is beyond it', async () => {
    const canary = events((await stagesOf(THERMOSTATS))[0]);
    expect(canary?.ownPerDay).toMatchObject({ incidents: 0.25, limit: 0.75 });
    expect(canary?.ownPerDay.falseHaltChance).toBeCloseTo(0.2212, 4);
    expect(canary?.own).toMatchObject({ incidents: 0.0625, limit: 0.1875 });
    expect(canary?.own.falseHaltChance).toBeCloseTo(0.0606, 4);
    const { out } = await run(await proposed(THERMOSTATS));
    expect(out).toMatch(/canary {3}crashes {2}0\.0625 \(pause above 0\.1875\) +0\.25 \(pause above 0\.75\)/);
    const warnings = await messagesOf(THERMOSTATS, 'underpowered-stage');
    expect(warnings.join('\n')).toContain('a single incident is beyond the limit of gate crashes');
    expect(warnings.join('\n')).toContain('a chance of 6.06% (22.12% in a day)');
    // Twelve times the rate, and nothing is underpowered about it.
    const other = {
      ...THERMOSTATS,
      planning: '{rates: {crash: 2.4%/d}}',
      gates: '{crashes: {events: crash, method: threshold, haltRatio: 3}}',
    };
    expect(events((await stagesOf(other))[0])).toMatchObject({
      own: { incidents: 7.5, limit: 22.5 },
      haltsAt: 23,
    });
    expect(await rulesOf(other)).not.toContain('underpowered-stage');
  });

  test('S4.66 S4.67 the second stage expects 2.5 crashes and pauses above 7.5', async () => {
    const early = events((await stagesOf(THERMOSTATS))[1]);
    expect(early?.own).toMatchObject({ incidents: 2.5, limit: 7.5 });
    expect(early?.own.falseHaltChance).toBeCloseTo(0.00425, 5);
    const other = { ...THERMOSTATS, gates: '{crashes: {events: crash, method: threshold, haltRatio: 2}}' };
    expect(events((await stagesOf(other))[1])?.own).toMatchObject({ incidents: 2.5, limit: 5 });
  });

  test('S4.68 taking it back leaves 3.75 tickets of the canary and 37.5 of the second stage, which support can take', async () => {
    const stages = await stagesOf(THERMOSTATS);
    expect(stages[0]?.ownSupport).toEqual({ tickets: 3.75, returned: 1246.25, daysOfSupport: 0.0075 });
    expect(stages[1]?.ownSupport.tickets).toBe(37.5);
    expect(stages[1]?.ownSupport.daysOfSupport).toBeLessThan(1);
    const other = await stagesOf({
      ...THERMOSTATS,
      planning: '{rollbackFailures: 8%, supportCapacity: 500}',
    });
    expect(other[1]?.ownSupport).toEqual({ tickets: 1000, returned: 11_500, daysOfSupport: 2 });
  });

  test('S4.70 it takes 150 hours, which are 6.25 days, and 6.5 with an hour and a half to look at each stage', async () => {
    const { proposal } = await reportOf(THERMOSTATS);
    const timelines = proposal?.rollouts[0]?.forecast?.timelines;
    expect((timelines?.least.endsAfterMs ?? 0) / HOUR).toBe(150);
    expect((timelines?.analysed.endsAfterMs ?? 0) / HOUR).toBe(156);
    const { out } = await run(await proposed(THERMOSTATS));
    expect(out).toContain('It takes at least 6d6h, 6d12h with the time to look at each stage');
    const other = await reportOf({
      ...THERMOSTATS,
      planning: '{analysisTime: 1h}',
      stages: THERMOSTATS.stages.replace('24h', '36h'),
    });
    expect((other.proposal?.rollouts[0]?.forecast?.timelines.analysed.endsAfterMs ?? 0) / HOUR).toBe(166);
  });

  test('S4.71 a bad canary is 1,250 homes, of which 1,246.25 come back by themselves and 3.75 do not', async () => {
    const canary = (await stagesOf(THERMOSTATS))[0];
    expect(canary?.reach.reachedMax).toBe(1250);
    expect(canary?.support).toMatchObject({ returned: 1246.25, tickets: 3.75 });
    const { out } = await run(await proposed(THERMOSTATS));
    expect(out).toContain('1,246.25 + 3.75');
    const other = (
      await stagesOf({ ...THERMOSTATS, devices: 40_000, planning: '{rollbackFailures: 1%}' })
    )[0];
    expect(other?.support).toMatchObject({ returned: 198, tickets: 2 });
  });

  test('S4.51 one table has the whole calculation: devices, expectations, limits, tickets and times', async () => {
    const { out, exit } = await run(await proposed(THERMOSTATS));
    expect(exit).toBe(0);
    await expect(
      out
        .replaceAll(/\([0-9a-f]{10}\)/g, '(…)')
        .replaceAll(/\/\S+census\.json/g, 'census.json')
        .replaceAll(/\([0-9a-f]{12}\)/g, '(…)'),
    ).toMatchFileSnapshot('golden/plan-thermostats.txt');
  });
});

const SENSORS = [
  '--devices',
  '15000',
  '--size',
  '512KB',
  '--changed',
  '15%',
  '--overhead',
  '8%',
  '--retries',
  '3%',
];
const COSTS = ['--cost-per-mb', '0.50', '--tooling', '2000'];
async function traffic(...args: readonly string[]) {
  const { out, exit } = await run(['plan', 'traffic', ...args, '--format', 'json']);
  expect(exit).toBe(0);
  return JSON.parse(out);
}

describe('the sensors', () => {
  test('S4.73 full images are 0.5 MB, 0.515 with retries, 7,725 MB an update, 30,900 MB a year and $15,450', async () => {
    const full = {
      mbPerDevice: 0.5,
      mbWithRetries: 0.515,
      mbPerUpdate: 7725,
      mbPerYear: 30_900,
      costPerYear: 15_450,
    };
    expect((await traffic(...SENSORS, ...COSTS)).full).toEqual(full);
    const other = await traffic(...SENSORS, ...COSTS, '--retries', '10%', '--updates-per-year', '2');
    expect(other.full).toEqual({
      mbPerDevice: 0.5,
      mbWithRetries: 0.55,
      mbPerUpdate: 8250,
      mbPerYear: 16_500,
      costPerYear: 8250,
    });
  });

  test('S4.74 a delta is 76.8 KB + 6.14 KB = 82.94 KB, 16.2 % of the image', async () => {
    const savings = await traffic(...SENSORS, ...COSTS);
    expect(savings).toMatchObject({ changedKb: 76.8, overheadKb: 6.14, deltaKb: 82.94 });
    expect(savings.sizeRatio).toBeCloseTo(0.162, 3);
    expect(savings.savedRatio).toBeCloseTo(0.838, 3);
    expect(await traffic(...SENSORS, ...COSTS, '--changed', '25%')).toMatchObject({
      changedKb: 128,
      overheadKb: 10.24,
      deltaKb: 138.24,
    });
  });

  test('S4.75 deltas are 0.081 MB, 0.083 with retries, 1,245 MB an update, 4,980 MB a year and $2,490, with tooling $4,490', async () => {
    const savings = await traffic(...SENSORS, ...COSTS);
    expect(savings.delta).toEqual({
      mbPerDevice: 0.081,
      mbWithRetries: 0.083,
      mbPerUpdate: 1245,
      mbPerYear: 4980,
      costPerYear: 2490,
    });
    expect(savings.deltaCost).toBe(4490);
    expect((await traffic(...SENSORS, ...COSTS, '--devices', '30000', '--tooling', '3000')).deltaCost).toBe(
      7980,
    );
  });

  test('S4.76 that saves $10,960, 71 % of the cost, and returns 244 % of what deltas cost', async () => {
    const savings = await traffic(...SENSORS, ...COSTS);
    expect(savings.saved).toBe(10_960);
    expect(savings.savedCostRatio).toBeCloseTo(0.7094, 4);
    expect(savings.returnRatio).toBeCloseTo(2.441, 3);
    const { out } = await run(['plan', 'traffic', ...SENSORS, ...COSTS]);
    expect(out).toContain('delta: it saves $10,960 a year, 70.94% of what full images cost');
    expect((await traffic(...SENSORS, ...COSTS, '--tooling', '5470')).saved).toBe(7490);
  });

  test('S4.77 it pays from 2,315 devices on', async () => {
    expect((await traffic(...SENSORS, ...COSTS)).breakEvenDevices).toBe(2315);
    expect((await traffic(...SENSORS, ...COSTS, '--devices', '2315')).recommended).toBe('delta');
    expect(await traffic(...SENSORS, ...COSTS, '--devices', '2314')).toMatchObject({
      recommended: 'full',
      because: 'cost',
    });
    expect((await traffic(...SENSORS, ...COSTS, '--tooling', '1000')).breakEvenDevices).toBe(1158);
  });

  test('S4.81 a delta that is half of the image or more is not worth making, however much of it is cheap', async () => {
    expect(await traffic(...SENSORS, '--changed', '15%')).toMatchObject({ recommended: 'delta' });
    expect(await traffic(...SENSORS, '--changed', '55%')).toMatchObject({
      recommended: 'full',
      because: 'size',
    });
    expect(await traffic(...SENSORS, '--changed', '46%')).toMatchObject({ recommended: 'delta' });
    expect(await traffic(...SENSORS, '--changed', '55%', '--worth-below', '70%')).toMatchObject({
      recommended: 'delta',
    });
    const { out } = await run(['plan', 'traffic', ...SENSORS, '--changed', '55%']);
    expect(out).toContain(
      'full: a delta of 59.4% of the image is hardly smaller; deltas are for less than 50%',
    );
  });

  test('S4.82 images of which 14 to 27 % change save 70 to 85 % of a download', async () => {
    for (const changed of ['14%', '20%', '27%']) {
      const { savedRatio } = await traffic(...SENSORS, '--changed', changed);
      expect(savedRatio).toBeGreaterThan(0.7);
      expect(savedRatio).toBeLessThan(0.85);
    }
  });
});

const ladder = (...sizes: readonly string[]) =>
  sizes.map((size, at) => `\n  - {name: stage-${at + 1}, size: ${size}, soak: 24h}`).join('');

describe('stages', () => {
  test('S4.1 1 %, 5 %, 20 % and everyone contain each other, with health checks between', async () => {
    const stages = await stagesOf({ devices: 10_000, stages: ladder('1%', '5%', '20%', '100%') });
    expect(stages.map(({ reach }) => reach.reached)).toEqual([100, 500, 2000, 10_000]);
    expect(stages.map(({ reach }) => reach.devices)).toEqual([100, 400, 1500, 8000]);
    expect(stages.every(({ gates }) => gates.some(({ kind }) => kind === 'expression'))).toBe(true);
  });

  test('S4.2 1 %, 5 %, 25 % and everyone', async () => {
    const stages = await stagesOf({ devices: 10_000, stages: ladder('1%', '5%', '25%', 'all') });
    expect(stages.map(({ reach }) => reach.reached)).toEqual([100, 500, 2500, 10_000]);
  });

  const RINGS = (devices: number, stages = ' rings'): Fleet => ({ devices, stages });

  test('S4.52 the ring of insiders has 1 to 10 devices for a day to three', async () => {
    expect(await rulesOf(RINGS(50_000))).not.toContain('ring-size');
    const wide = ladder('12 devices', '5%', 'all').replace('stage-1', 'insiders');
    const rings = `\n  - {name: insiders, size: 12 devices, soak: 1h}\n  - {name: alpha, size: 100 devices, mode: cumulative, soak: 3d}\n  - {name: beta, size: 1000 devices, mode: cumulative, soak: 7d}\n  - {name: production, size: all, soak: 14d}`;
    expect(await messagesOf({ devices: 50_000, stages: rings }, 'ring-size')).toEqual([
      'the ring insiders has 12 devices, and such a ring 1 to 10; change it, or give the stage another name',
      'the ring insiders lasts 1h, and such a ring at least 1d; change it, or give the stage another name',
    ]);
    expect(await rulesOf({ devices: 50_000, stages: wide })).not.toContain('ring-size');
  });

  test('S4.53 the ring alpha has 10 to 100 devices for three days to seven', async () => {
    const stages = await stagesOf(RINGS(50_000));
    expect(stages.map(({ reach }) => reach.reached)).toEqual(
      [10, 110, 1000, 50_000].map((count, at) => (at === 1 ? 100 : count)),
    );
    const report = await reportOf(RINGS(50_000));
    const timelines = report.proposal?.rollouts[0]?.forecast?.timelines;
    expect(timelines?.least.stages.map(({ soakMs }) => soakMs / (24 * HOUR))).toEqual([1, 3, 7, 14]);
    expect(timelines?.longest.stages.map(({ soakMs }) => soakMs / (24 * HOUR))).toEqual([3, 7, 14, 28]);
  });

  test('S4.54 the ring beta has 100 to 1,000 devices: a fleet of 60 leaves it nobody', async () => {
    expect(await messagesOf(RINGS(60), 'ring-size')).toEqual([
      'the ring beta has 60 devices, and such a ring 100 to 1,000; change it, or give the stage another name',
    ]);
    expect(await rulesOf(RINGS(60))).toContain('empty-stage');
  });

  test('S4.55 production is everyone, after the others and in their order', async () => {
    const stages = await stagesOf(RINGS(5000));
    expect(stages.map(({ name }) => name)).toEqual(['insiders', 'alpha', 'beta', 'production']);
    expect(stages.at(-1)?.reach.reached).toBe(5000);
    const reached = stages.map(({ reach }) => reach.reached);
    expect([...reached].sort((a, b) => a - b)).toEqual(reached);
  });
});

describe('what a plan warns of', () => {
  const MIXED = [
    { devices: 9500, tags: { product: 'thermostat', hardwareRevision: 'b', region: 'north' } },
    { devices: 500, tags: { product: 'thermostat', hardwareRevision: 'c', region: 'north' } },
  ];

  test('S5.20 a canary that may lack a hardware revision or region of the fleet is weak', async () => {
    const weak = await messagesOf(
      { cells: MIXED, stages: ladder('20 devices', '10%', 'all') },
      'weak-canary',
    );
    expect(weak).toHaveLength(1);
    // (9500 choose 20) ÷ (10000 choose 20)
    expect(weak[0]).toContain('may lack hardwareRevision c (500 devices, missing in 35.81% of draws)');
    expect(await rulesOf({ cells: MIXED, stages: ladder('100 devices', '10%', 'all') })).not.toContain(
      'weak-canary',
    );
    const stratified = ladder('20 devices', '10%', 'all').replace(
      'soak: 24h',
      'soak: 24h, stratifyBy: [hardwareRevision]',
    );
    expect(await rulesOf({ cells: MIXED, stages: stratified })).not.toContain('weak-canary');
    const absent = MIXED.map(({ devices, tags }) => ({
      devices,
      tags: { ...tags, region: tags.hardwareRevision === 'c' ? 'south' : 'north' },
    }));
    expect(
      await messagesOf({ cells: absent, stages: ladder('20 devices', '10%', 'all') }, 'weak-canary'),
    ).toHaveLength(2);
    const other = {
      cells: absent,
      stages: ladder('20 devices', '10%', 'all'),
      planning: '{coverTags: [region]}',
    };
    expect(await messagesOf(other, 'weak-canary')).toHaveLength(1);
  });

  const OTHER = (priority: number, condition: string) => ({
    'fleet/rollouts/other.yaml': rollout({ stages: ladder('1%', 'all') }, '1.0.0')
      .replace('name: thermostat}', 'name: other}')
      .replace('priority: 10', `priority: ${priority}`)
      .replace("tags.product = 'thermostat'", condition),
  });

  test('S3.41 a rollout that was widened over devices of a higher priority is shadowed there', async () => {
    const narrow = rollout({ stages: ladder('1%', 'all') }, '2.0.0').replace(
      "tags.product = 'thermostat'",
      "tags.hardwareRevision = 'b'",
    );
    const fleet = {
      cells: MIXED,
      stages: ladder('1%', 'all'),
      before: narrow,
      others: OTHER(20, "tags.hardwareRevision = 'c'"),
    };
    expect(await messagesOf(fleet, 'shadowed')).toEqual([
      '500 of the 10,000 devices that match get something else, by a rollout of higher precedence (other has 500); raise spec.priority above theirs, or narrow one of the conditions',
    ]);
    expect(await rulesOf({ ...fleet, others: OTHER(5, "tags.hardwareRevision = 'c'") })).not.toContain(
      'shadowed',
    );
  });

  test('S3.42 a revert that would leave devices with nothing is said before', async () => {
    const first = { cells: MIXED, stages: ladder('1%', 'all'), before: undefined };
    expect(await messagesOf(first, 'no-fallback')).toEqual([
      'it has no known-good yet, and no rollout of lower priority matches 10,000 of its devices: taking it back would leave them with what they run; add one that does, with a distribution set that is known to work',
    ]);
    expect(await rulesOf({ ...first, others: OTHER(5, '*') })).not.toContain('no-fallback');
    const half = { ...first, others: OTHER(5, "tags.hardwareRevision = 'b'") };
    expect((await messagesOf(half, 'no-fallback'))[0]).toContain('matches 500 of its devices');
  });
});
