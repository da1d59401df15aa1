/** BootCtrl, and the textbook's remote downgrade: going back to a known-good snapshot, and what is written down. */
import { execFile } from 'node:child_process';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import { openRepository } from '../../src/git/local.ts';
import { readFiles } from '../../src/git/tree.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { git, repositoryOf, run } from '../cli/fixture.ts';
import {
  distributionSet,
  FLEET,
  release,
  rollout,
  type SpokenDevice,
  type WatchedFleet,
  watchFleet,
} from './watched-fleet.ts';

const PROD = { environment: 'prod' };
const STAGES = { stages: [{ name: 'canary', size: 2 }, { fleet: 'all' }] };

/** A fleet that runs 1.0.0, known to be good. Versions that end in `-bad` are unhealthy wherever they run. */
async function goodFleet(seed: string, devices = 6): Promise<WatchedFleet> {
  const fleet = await watchFleet(seed, {
    world: { signals: (_device, manifest) => ({ healthy: manifest?.version.endsWith('-bad') !== true }) },
  });
  await fleet.commit('First', FLEET, release('1.0.0', STAGES));
  await fleet.simulation.enrol(...identities(devices, () => PROD));
  await tickUntil(fleet, 'succeeded');
  return fleet;
}

async function tickUntil(fleet: WatchedFleet, state: string): Promise<void> {
  for (let ticks = 0; ticks < 50; ticks++) {
    if ((await fleet.rollout()).state === state) return;
    await fleet.tick();
  }
  throw new Error(`it never was ${state}: ${(await fleet.rollout()).reason}`);
}

/** The content of every file of a snapshot. */
async function bytesOf(fleet: WatchedFleet, snapshot: string): Promise<ReadonlyMap<string, string>> {
  const { git: repository } = fleet.simulation;
  const files = await readFiles(repository, snapshot, '');
  return new Map(
    await Promise.all(
      files.map(
        async ({ path, oid }) => [path, Buffer.from(await repository.blob(oid)).toString('hex')] as const,
      ),
    ),
  );
}

async function subjects(fleet: WatchedFleet, attempt: number): Promise<readonly string[]> {
  const log = await fleet.log('outcomes');
  const own = log.filter(({ message }) => message.includes(`\nAttempt: ${attempt}\n`));
  return own.map(({ message }) => (message.split('\n')[0] ?? '').replace('edge: ', ''));
}

test('S5.1 plan, deploy, monitor, and roll back when needed stand in the outcome log in this order', async () => {
  const fleet = await goodFleet('S5.1');
  expect(await subjects(fleet, 1)).toEqual([
    'attempt 1 of edge@1.0.0 is ready',
    'stage canary opens for 2 devices',
    'stage canary passed',
    'stage fleet opens for 4 devices',
    'stage fleet passed',
    'attempt 1 succeeded: edge@1.0.0 is known-good',
  ]);
  await fleet.commit('Second', release('1.1.0-bad', STAGES));
  await tickUntil(fleet, 'rolledBack');
  await fleet.tick();
  await fleet.tick();
  expect(await subjects(fleet, 2)).toEqual([
    'attempt 2 of edge@1.1.0-bad is ready',
    'stage canary opens for 2 devices',
    'attempt 2 failed, back to known-good of attempt 1',
    'main wants known-good again',
    'every device has left the failed revision, 5m after the decision',
  ]);
});

test('S5.14 a rollback brings the known-good snapshot back, byte for byte, over whatever was edited since', async () => {
  const fleet = await goodFleet('S5.14');
  const good = await fleet.snapshot();
  const bytes = await bytesOf(fleet, good);
  await fleet.commit(
    'Widen',
    rollout('1.0.0', { ...STAGES, targetCondition: "NOT tags.environment = 'lab'", owner: 'new' }),
  );
  await fleet.commit('Second', release('1.1.0-bad', { ...STAGES, priority: 3 }));
  expect(await fleet.snapshot()).not.toBe(good);
  await tickUntil(fleet, 'rolledBack');
  await fleet.tick();
  expect(await fleet.snapshot()).toBe(good);
  expect(await bytesOf(fleet, await fleet.snapshot())).toEqual(bytes);
  expect((await fleet.status()).snapshot).toBe(good);
  expect((await fleet.outcomes())[1]?.spec.restored).toMatchObject({ main: 'agrees', snapshot: good });
});

test('S5.14 what others committed since stays, and this rollout is known-good again byte for byte', async () => {
  const fleet = await goodFleet('S5.14 others');
  const bytes = await bytesOf(fleet, await fleet.snapshot());
  await fleet.commit('Second', release('1.1.0-bad', STAGES));
  const lab = { distributionSet: 'lab@7.0.0', targetCondition: "tags.environment = 'lab'" };
  await fleet.commit('Lab', distributionSet('lab', '7.0.0'), rollout('', lab, { name: 'lab' }));
  await tickUntil(fleet, 'rolledBack');
  await fleet.tick();
  const after = await bytesOf(fleet, await fleet.snapshot());
  expect([...after.keys()].filter((path) => !bytes.has(path))).toEqual([
    'distribution-sets/lab-7.0.0.yaml',
    'rollouts/lab.yaml',
  ]);
  for (const [path, content] of bytes) expect(after.get(path), path).toBe(content);
});

test('S5.15 known-good is the last snapshot that passed, not the last one that was wanted', async () => {
  const fleet = await goodFleet('S5.15');
  const good = await fleet.snapshot();
  // Healthy as far as it came, but its soak never ended: it has no pass record.
  const slow = { stages: [{ name: 'canary', size: 2, soak: '6h' }, { fleet: 'all' }] };
  await fleet.commit('Second', release('1.1.0', slow));
  await fleet.tick();
  await fleet.tick();
  expect(await fleet.rollout()).toMatchObject({ state: 'running', devices: { healthy: 6 } });
  await fleet.commit('Third', release('1.2.0-bad', STAGES));
  await tickUntil(fleet, 'rolledBack');
  await fleet.tick();
  await fleet.tick();
  expect((await fleet.outcomes()).map(({ spec }) => spec.state)).toEqual([
    'succeeded',
    'superseded',
    'rolledBack',
  ]);
  expect((await fleet.outcomes())[2]?.spec.restored.knownGood).toMatchObject({ attempt: 1, snapshot: good });
  expect(await fleet.snapshot()).toBe(good);
  expect(fleet.simulation.devices.map((device) => device.runs()?.version)).toEqual(Array(6).fill('1.0.0'));
});

test('S5.15 with no snapshot that passed nothing is chosen: offers stop and devices keep what they run', async () => {
  const fleet = await watchFleet('S5.15 none', { world: { signals: () => ({ healthy: false }) } });
  const commit = await fleet.commit('First', FLEET, release('1.0.0', STAGES));
  await fleet.simulation.enrol(...identities(6, () => PROD));
  await tickUntil(fleet, 'rolledBack');
  for (let ticks = 0; ticks < 6; ticks++) await fleet.tick();
  expect((await fleet.outcomes())[0]?.spec.restored).toMatchObject({ main: 'none' });
  expect((await fleet.log('main')).map(({ oid }) => oid)).toEqual([commit]);
  expect(fleet.simulation.devices.filter((device) => device.runs() !== undefined)).toHaveLength(2);
  expect((await fleet.devices()).filter(({ assignment }) => assignment !== null)).toEqual([]);
});

test.each([40, 15])(
  'S5.26 after a rollback every one of %i devices runs the snapshot again, with green gates',
  async (count) => {
    const fleet = await goodFleet(`S5.26 ${count}`, count);
    const good = await fleet.snapshot();
    const half = {
      stages: [{ name: 'half', size: '50%', errorThreshold: 3 }, { fleet: 'all' }],
      onFailure: 'rollback',
    };
    await fleet.commit('Second', release('1.1.0-bad', half));
    await fleet.tick();
    const hit = fleet.simulation.devices.filter((device) => device.runs()?.version === '1.1.0-bad');
    expect(hit.length).toBeGreaterThan(2);
    await tickUntil(fleet, 'rolledBack');
    await fleet.tick();
    await fleet.tick();
    expect(fleet.simulation.devices.map((device) => device.runs()?.version)).toEqual(
      Array(count).fill('1.0.0'),
    );
    expect(await fleet.rollout()).toMatchObject({
      devices: { target: count, healthy: count, unhealthy: 0, unknown: 0 },
      knownGood: { attempt: 1, snapshot: good },
      restored: { main: 'agrees', snapshot: good },
    });
    expect((await fleet.status()).devices.status).toMatchObject({ inSync: count });
    expect((await fleet.outcomes())[1]?.spec.restored.timeToRestore).toBe('5m');
  },
);

test.each([
  { key: 'onFail', value: 'rollback' },
  { key: 'onFail', value: 'pause' },
  { key: 'onFailure', value: 'rollback' },
  { key: 'onFailure', value: 'pause' },
])('S5.27 $key: $value decides whether the revert commit is written', async ({ key, value }) => {
  const fleet = await goodFleet(`S5.27 ${key} ${value}`);
  const good = await fleet.snapshot();
  const bad = await fleet.commit('Ship it', release('1.1.0-bad', { ...STAGES, [key]: value }));
  await tickUntil(fleet, value === 'pause' ? 'paused' : 'rolledBack');
  for (let ticks = 0; ticks < 6; ticks++) await fleet.tick();
  const last = (await fleet.log('main')).at(-1);
  if (value === 'pause') {
    expect(last?.oid).toBe(bad);
    expect((await fleet.rollout()).state).toBe('paused');
  } else {
    expect(last?.message).toMatch(/^Revert "Ship it"\n\n/);
    expect(last?.message).toContain(`\nThis reverts commit ${bad}.\n`);
    expect(await fleet.snapshot()).toBe(good);
  }
});

test('S5.28 an outcome names its snapshot, and for each stage the verdict with the values of its gates', async () => {
  const fleet = await watchFleet('S5.28', {
    world: {
      signals: (_device, manifest) => ({ healthy: true, drops: manifest?.version === '1.1.0' ? 3 : 0 }),
    },
  });
  const spec = { ...STAGES, gates: { health: 'healthy', telemetry: 'drops == 0' } };
  await fleet.commit('First', FLEET, release('1.0.0', spec));
  const first = await fleet.snapshot();
  await fleet.simulation.enrol(...identities(5, () => PROD));
  await tickUntil(fleet, 'succeeded');
  await fleet.commit('Second', release('1.1.0', spec));
  const second = await fleet.snapshot();
  await tickUntil(fleet, 'rolledBack');

  const [passed, halted] = await fleet.outcomes();
  const gate = (name: string, expression: string, holds: number, fails: number) => ({
    ...{ name, expression, holds, fails, missing: 0 },
  });
  expect(passed?.spec.snapshot).toBe(first);
  expect(passed?.spec.stages).toMatchObject([
    {
      name: 'canary',
      verdict: {
        verdict: 'pass',
        gates: [gate('health', 'healthy', 2, 0), gate('telemetry', 'drops == 0', 2, 0)],
      },
    },
    {
      name: 'fleet',
      verdict: {
        verdict: 'pass',
        gates: [gate('health', 'healthy', 3, 0), gate('telemetry', 'drops == 0', 3, 0)],
      },
    },
  ]);
  expect(halted?.spec.snapshot).toBe(second);
  expect(halted?.spec.stages).toMatchObject([
    {
      name: 'canary',
      verdict: {
        verdict: 'halt',
        gates: [gate('health', 'healthy', 2, 0), gate('telemetry', 'drops == 0', 0, 2)],
      },
    },
  ]);
  const halting = (await fleet.log('outcomes')).find(({ message }) => message.includes('\nVerdict: halt\n'));
  expect(halting?.message).toContain(`\nSnapshot: ${second}\n`);
  expect(halting?.message).toContain('\nStage: canary\n');
});

test('S5.29 an outcome has a place for learnings; what people write there in ops/ stays through all that follows', async () => {
  const fleet = await goodFleet('S5.29');
  await fleet.commit('Second', release('1.1.0-bad', STAGES));
  await tickUntil(fleet, 'rolledBack');
  await fleet.tick();
  const learnings = async () => (await fleet.outcomes()).map(({ spec }) => spec.learnings);
  expect(await learnings()).toEqual(['', '']);

  const learnt = (text: string) => ({
    'ops/edge.yaml': `apiVersion: tidegate.dev/v1
kind: Operation
metadata: {name: edge}
spec:
  learnings:
  - attempt: 2
    text: ${text}
`,
  });
  await fleet.commit('Learn', learnt('The acceptance suite now cuts the power.'));
  expect(await learnings()).toEqual(['', 'The acceptance suite now cuts the power.']);
  await fleet.commit('Learn more', learnt('It was the bootloader.'));
  expect(await learnings()).toEqual(['', 'It was the bootloader.']);
  await fleet.commit('Third', release('1.2.0', { ...STAGES, gates: { health: 'healthy == true' } }));
  await tickUntil(fleet, 'succeeded');
  await fleet.commit('Tidy up', { 'ops/edge.yaml': null });
  await fleet.tick();
  expect(await learnings()).toEqual(['', 'It was the bootloader.', '']);
});

test('S5.31 a distribution set that was installed is immutable: other bytes under its name are refused', async () => {
  const fleet = await watchFleet('S5.31');
  const good = await fleet.commit('First', FLEET, release('1.0.0'));
  const device = await fleet.join('linux1', PROD);
  await fleet.simulation.settle();
  await device.obey();
  await fleet.tick();
  const served = await (await device.fetchManifest()).text();

  const modules = [
    { name: 'edge', version: '1.0.0', type: 'docker', image: 'registry.example/edge:1.0.0-other' },
  ];
  await fleet.commit('Other bytes', distributionSet('edge', '1.0.0', { modules }));
  const { commit, headInForce, problems } = await fleet.status();
  expect({ commit, headInForce }).toEqual({ commit: good, headInForce: false });
  expect(problems.filter(({ rule }) => rule !== 'one-stage')).toMatchObject([
    { rule: 'immutable-distribution-set', file: 'fleet/distribution-sets/edge-1.0.0.yaml' },
  ]);
  expect(await (await device.fetchManifest()).text()).toBe(served);
  // A label is nothing that a device gets, and a new version is a new name.
  await fleet.commit(
    'New version',
    distributionSet('edge', '1.0.0'),
    distributionSet('edge', '1.0.1', { modules }),
    rollout('1.0.1'),
  );
  expect((await fleet.status()).headInForce).toBe(true);
});

test('S5.31 a snapshot whose bytes are not those that its id digests is refused', async () => {
  const folder = await repositoryOf({ ...FLEET, ...release('1.0.0') } as Record<string, string>);
  const snapshot = await git(folder, 'rev-parse', 'main:fleet');
  const oid = await git(folder, 'rev-parse', 'main:fleet/distribution-sets/edge-1.0.0.yaml');
  const other = await git(folder, 'rev-parse', 'main:fleet/fleet.yaml');
  const verify = async () => {
    const { out } = await run(['snapshot', 'verify', snapshot, '--repo', folder, '--format', 'json']);
    return (JSON.parse(out) as { broken: { oid: string }[] }).broken.map((each) => each.oid);
  };
  expect(await verify()).toEqual([]);

  // The same id, another object's bytes.
  const pathOf = (id: string) => join(folder, '.git/objects', id.slice(0, 2), id.slice(2));
  await chmod(pathOf(oid), 0o600);
  await writeFile(pathOf(oid), await readFile(pathOf(other)));
  expect(await verify()).toEqual([oid]);
  await expect((await openRepository(folder)).blob(oid)).rejects.toThrow(oid);
  await expect(promisify(execFile)('git', ['-C', folder, 'fsck', '--full'])).rejects.toThrow();
});

test.each(['1.0.0', '4.2.1'])(
  'S4.25 after a revert devices are sent back to %s under a higher version',
  async (first) => {
    const fleet = await watchFleet(`S4.25 ${first}`);
    const artifacts = (version: string) => [
      {
        name: 'image',
        sha256: version.replaceAll('.', '').padEnd(64, 'a'),
        sizeBytes: 4096,
        urls: [`https://cdn.example/${version}`],
      },
    ];
    const shipped = (version: string) => ({
      ...distributionSet('edge', version, {
        modules: [{ name: 'edge', version, type: 'firmware', artifacts: artifacts(version) }],
      }),
      ...rollout(version),
    });
    const claims = async (device: SpokenDevice) =>
      decodeJwt<{
        generation: number;
        revision: string;
        manifest: { version: string; modules: { artifacts: unknown }[] };
      }>(await (await device.fetchManifest()).text());
    await fleet.commit('First', FLEET, shipped(first));
    const device = await fleet.join('linux1', PROD);
    await fleet.simulation.settle();
    await device.obey();
    await fleet.tick();
    const before = await claims(device);
    await fleet.commit('Second', shipped('5.0.0'));
    const between = await claims(device);
    expect(between.manifest.version).toBe('5.0.0');
    await device.obey();
    await fleet.tick();
    expect((await fleet.rollout()).state).toBe('succeeded');

    // People revert by hand: the old files come back in a new commit.
    await fleet.commit('Revert "Second"', shipped(first), {
      'fleet/distribution-sets/edge-5.0.0.yaml': null,
    });
    const after = await claims(device);
    expect(after.revision).toBe(before.revision);
    expect(after.manifest.modules[0]?.artifacts).toEqual(artifacts(first));
    expect(after.generation).toBeGreaterThan(between.generation);
    expect(between.generation).toBeGreaterThan(before.generation);
    // The device's own client accepts it: older content, but not an older assignment.
    expect((await device.poll())?.manifest.version).toBe(first);
  },
);
