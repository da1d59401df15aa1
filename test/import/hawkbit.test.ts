import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { translateWindow } from '../../src/import/quartz.ts';
import { fromHawkbit, NOW, problemsOf, saidOf, specOf } from './translated.ts';

const read = async (name: string) =>
  JSON.parse(await readFile(new URL(`exports/${name}.json`, import.meta.url), 'utf8'));
const EXPORT = await Promise.all(['hawkbit-rollouts', 'hawkbit-groups', 'hawkbit-repository'].map(read));

const SET = {
  id: 1,
  name: 'Pump',
  version: '1.0',
  modules: [{ id: 2, name: 'os', version: '1.0', type: 'os', vendor: 'Acme' }],
};

interface Group {
  readonly percent?: number;
  readonly targets?: number;
  readonly [member: string]: unknown;
}

/** A rollout with groups, and the set that it installs. */
function exported(groups: readonly Group[], rollout: object = {}): object[] {
  const written = groups.map(({ percent, targets, ...rest }, at) => ({
    id: 10 + at,
    name: `group-${at + 1}`,
    targetPercentage: percent ?? 100,
    totalTargets: targets ?? 0,
    _links: { self: { href: `https://h.example/rest/v1/rollouts/5/deploygroups/${10 + at}` } },
    ...rest,
  }));
  const defaults = { id: 5, name: 'R', createdBy: 'ines', distributionSetId: 1, targetFilterQuery: 'id==*' };
  return [SET, { ...defaults, status: 'ready', totalTargets: 100, ...rollout }, ...written];
}

function sizesOf(groups: readonly Group[]): readonly unknown[] {
  const { stages } = specOf(fromHawkbit(exported(groups)), 'Rollout');
  return stages.map(({ size }: { size: string }) => size);
}

test('what several files hold is put together, and validates as it stands', () => {
  const imported = fromHawkbit(EXPORT);
  expect(problemsOf(imported)).toEqual([]);
  expect(imported.documents.map(({ path }) => path)).toEqual([
    'fleet/devices/imported.yaml',
    'fleet/distribution-sets/pump-2.7.0.yaml',
    'fleet/groups/long-pipes.yaml',
    'fleet/rollouts/pump-firmware-2.7.yaml',
  ]);
  expect(specOf(imported, 'Rollout')).toEqual({
    owner: 'ines',
    distributionSet: 'pump@2.7.0',
    targetCondition:
      "tags.product = 'pump' AND (tags.hw = 'B' OR tags.hw = 'C') AND STARTSWITH(deviceId, 'pump-')",
    priority: 1,
    start: 'manual',
    gates: { unresponsive: { use: 'unresponsive' }, rollbacks: { use: 'rollback-rate' } },
    stages: [
      { name: 'test-benches', size: '10%', successThreshold: '100%', errorThreshold: 1 },
      { name: 'half-of-the-rest', size: '55%', successThreshold: '90%', errorThreshold: '5%', approvals: 1 },
      { name: 'everyone', size: 'all', successThreshold: '90%', errorThreshold: '5%' },
    ],
    installWindow: { cron: '30 1 * * 1-5', duration: '3h', timezone: 'Etc/GMT-1' },
    onFailure: 'pause',
  });
});

test('artifacts are found by the id of their module, with hash, size and where the mirror has them', () => {
  const [controller, radio] = specOf(fromHawkbit(EXPORT), 'DistributionSet').modules;
  expect(controller).toMatchObject({ name: 'controller', version: '2.7.0', type: 'os' });
  expect(controller.artifacts).toEqual([
    {
      name: 'pump-controller-2.7.0.swu',
      sha256: '7b1f3d5e9a8c6b4d2f0e1c3a5b7d9f8e6c4a2b0d1f3e5c7a9b8d6f4e2c0a1b3d',
      sizeBytes: 7_340_032,
      urls: ['https://cdn.example/files/pump%20controller%202.7.0.swu'],
    },
  ]);
  expect(radio).toEqual({ name: 'radio', version: '1.1', type: 'application' });
});

test('targets become devices with their attributes and tags, and without their token', () => {
  const imported = fromHawkbit(EXPORT);
  expect(specOf(imported, 'DeviceList')).toEqual({
    devices: [
      { id: 'pump-001', tags: { product: 'pump', hw: 'B', pipes: 'long', Beta: 'true', type: 'pump' } },
    ],
  });
  expect(JSON.stringify(imported)).not.toContain('6f1b9c2d4e8a7305');
  expect(saidOf(imported)).toContain('act /2/targets/content/0/securityToken');
});

test('what is not carried over is listed with its place', () => {
  expect(saidOf(fromHawkbit(EXPORT))).toEqual(
    expect.arrayContaining([
      'refused /2/targetfilters/content/1/query',
      'refused /0/content/1/targetFilterQuery',
      'act /2/distributionsets/content/0/modules/1',
      'act /0/content/0/forcetime',
      'act /1/content/2/confirmationRequired',
      'know /0/content/0/weight',
    ]),
  );
});

describe('percentages of groups', () => {
  test('of what is left, as the reference has them, add up to shares of all', () => {
    expect(sizesOf([{ percent: 10 }, { percent: 50 }, { percent: 100 }])).toEqual(['10%', '55%', 'all']);
    expect(
      sizesOf([{ percent: 20 }, { percent: 25 }, { percent: 33.3333 }, { percent: 50 }, { percent: 100 }]),
    ).toEqual(['20%', '40%', '60%', '80%', 'all']);
  });

  test('of all, as newer servers write them, are told by adding up to 100', () => {
    expect(sizesOf([{ percent: 10 }, { percent: 40 }, { percent: 50 }])).toEqual(['10%', '50%', 'all']);
    expect(sizesOf([{ percent: 33.333332 }, { percent: 33.333332 }, { percent: 33.333332 }])).toEqual([
      '33.3333%',
      '66.6667%',
      'all',
    ]);
  });

  test('give way to how many targets the groups came to', () => {
    const groups = [
      { percent: 50, targets: 5 },
      { percent: 50, targets: 45 },
      { percent: 100, targets: 150 },
    ];
    expect(sizesOf(groups)).toEqual(['2.5%', '25%', 'all']);
  });

  test('groups that are not in the files are taken as equally large, and it is said', () => {
    const imported = fromHawkbit(exported([], { totalGroups: 4 }));
    expect(specOf(imported, 'Rollout').stages).toEqual({ split: 4 });
    expect(saidOf(imported)).toContain('act /1/totalGroups');
  });

  test('one group of everything is said to be one', () => {
    const imported = fromHawkbit(exported([{ percent: 100 }]));
    expect(specOf(imported, 'Rollout').stages).toEqual([{ name: 'group-1', size: 'all' }]);
    expect(imported.notCarried.some(({ why }) => why.includes('everything at once'))).toBe(true);
  });
});

describe('the beginning of a rollout', () => {
  const beginning = (rollout: object) => {
    const { start, suspend, stages } = specOf(
      fromHawkbit(exported([{ percent: 10 }, {}], rollout)),
      'Rollout',
    );
    return { start, suspend, approvals: stages[0].approvals };
  };

  test('waits for a commit, whatever was running', () => {
    expect(beginning({ status: 'running', startAt: NOW - 1000 })).toEqual({ start: 'manual' });
  });

  test('is the instant for which it was set, where that is to come', () => {
    expect(beginning({ startAt: NOW + 86_400_000 })).toEqual({ start: '2026-01-02T00:00:00Z' });
  });

  test('asks for the approval for which it waited, and stays suspended where it was', () => {
    expect(beginning({ status: 'waiting_for_approval' })).toMatchObject({ approvals: 1 });
    expect(beginning({ status: 'paused' })).toMatchObject({ suspend: true });
    expect(beginning({ status: 'approval_denied' })).toMatchObject({ suspend: true });
  });
});

test.each([
  ['downloads only', exported([], { type: 'downloadonly' }), 'refused /1/type'],
  [
    'has a set that is not in the files',
    exported([], { distributionSetId: 77 }),
    'refused /1/distributionSetId',
  ],
])('a rollout that %s is not made', (_what, value, said) => {
  const imported = fromHawkbit(value);
  expect(imported.documents.map(({ kind }) => kind)).toEqual(['DistributionSet']);
  expect(saidOf(imported)).toContain(said);
});

test('a file without a SHA-256 refuses its set', () => {
  const artifact = {
    id: 3,
    hashes: { sha1: 'a', md5: 'b' },
    size: 4,
    providedFilename: 'x',
    _links: { self: { href: 'https://h.example/rest/v1/softwaremodules/2/artifacts/3' } },
  };
  const imported = fromHawkbit([SET, artifact]);
  expect(imported.documents).toEqual([]);
  expect(saidOf(imported)).toContain('refused /1/hashes');
});

test('weights: 0 is positive here, and of equal ones the later is the larger', () => {
  const rollout = (id: number, weight: number | undefined, createdAt: number) => ({
    id,
    name: `R${id}`,
    distributionSetId: 1,
    targetFilterQuery: 'id==*',
    createdAt,
    ...(weight === undefined ? {} : { weight }),
  });
  const imported = fromHawkbit([
    SET,
    rollout(5, 0, 1),
    rollout(6, 500, 9),
    rollout(7, 500, 2),
    rollout(8, undefined, 3),
  ]);
  const found = imported.documents
    .filter(({ kind }) => kind === 'Rollout')
    .map(({ name, spec }) => [name, spec['priority']]);
  expect(found).toEqual([
    ['r5', 1],
    ['r6', 502],
    ['r7', 501],
    ['r8', 1001],
  ]);
});

describe('maintenance windows', () => {
  test.each([
    ['0 0 2 * * ?', '02:00:00', '+00:00', '0 2 * * *', '2h', 'UTC'],
    ['0 30 1 ? * 2-6', '00:45:00', '-05:00', '30 1 * * 1-5', '45m', 'Etc/GMT+5'],
    ['0 0 22 ? * MON,SUN *', '04:00:00', '+10:00', '0 22 * * mon,sun', '4h', 'Etc/GMT-10'],
  ])('%s for %s at %s', (schedule, duration, offset, cron, length, timezone) => {
    const translated = translateWindow({ schedule, duration, timezone: offset });
    expect(translated).toEqual({ ok: true, window: { cron, duration: length, timezone } });
  });

  test.each([
    ['0 0 2 L * ?', '02:00:00', '+00:00', /without L/],
    ['0 0 2 8 3 ? 2026', '02:00:00', '+00:00', /years/],
    ['0 0 2 * * ?', '00:00:10', '+00:00', /a minute at least/],
    ['0 0 2 * * ?', '02:00:00', '+05:30', /no whole hour/],
  ])('%s for %s at %s is refused', (schedule, duration, timezone, message) => {
    expect(translateWindow({ schedule, duration, timezone })).toMatchObject({
      ok: false,
      message: expect.stringMatching(message),
    });
  });
});

test('whatever is in the answers, what is made of it validates', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      '',
      'Ä b',
      'x'.repeat(300),
      "a'b",
      '../../x',
      '1.2.3',
      '7',
      '\ud800',
      'a\u0000b\u001b[1m',
    ),
  );
  const number = fc.oneof(fc.integer({ min: -1, max: 3 }), fc.double());
  const condition = fc.record({
    condition: fc.constant('THRESHOLD'),
    expression: fc.oneof(text, fc.constantFrom('0', '50')),
  });
  const artifact = fc.record({
    id: fc.integer({ min: 1, max: 3 }),
    hashes: fc.record({ sha256: fc.constantFrom('a'.repeat(64), 'B'.repeat(64), 'short') }),
    providedFilename: text,
    size: number,
  });
  const module = fc.record({
    id: fc.integer({ min: 1, max: 3 }),
    name: text,
    version: text,
    type: text,
    artifacts: fc.array(artifact, { maxLength: 3 }),
  });
  const group = fc.record({
    name: text,
    targetPercentage: number,
    totalTargets: number,
    successCondition: condition,
    errorCondition: condition,
  });
  const set = fc.record({
    id: fc.constantFrom(1, 2),
    name: text,
    version: text,
    description: text,
    modules: fc.array(module, { maxLength: 3 }),
  });
  const rollout = fc.record({
    id: fc.integer({ min: 1, max: 9 }),
    name: text,
    description: text,
    createdBy: text,
    distributionSetId: fc.constantFrom(1, 2),
    targetFilterQuery: fc.constantFrom('id==*', 'attribute.a==b', 'nonsense', 'tag==x,name==y*'),
    status: fc.constantFrom('ready', 'paused', 'waiting_for_approval', 'x'),
    startAt: fc.oneof(number, fc.constant(NOW + 1), fc.constant(1e300)),
    weight: number,
    totalGroups: number,
    groups: fc.array(group, { maxLength: 4 }),
  });
  const target = fc.record({
    controllerId: text,
    name: text,
    attributes: fc.dictionary(text, text),
    tags: fc.array(text),
  });
  const answers = fc.array(fc.oneof(set, rollout, target), { maxLength: 8 });
  fc.assert(
    fc.property(answers, (all) => {
      const imported = fromHawkbit(all);
      expect(problemsOf(imported)).toEqual([]);
      const paths = imported.documents.map(({ path }) => path);
      expect(new Set(paths).size).toBe(paths.length);
      expect(paths.filter((path) => path.includes('..'))).toEqual([]);
    }),
    { numRuns: 200 },
  );
});
