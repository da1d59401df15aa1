/** What the gate commands say of a fleet that crashes: now, and again from the record. */
import { expect, onTestFinished, test } from 'vitest';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { listen } from '../../src/http/listen.ts';
import { git, run } from '../cli/fixture.ts';
import { tamper, writtenRepository } from '../cli/written-repository.ts';
import { type CrashingFleet, startCrashing } from './crashing-fleet.ts';

const GATES = `{
    health: healthy,
    crashes: {events: crash, margin: 1},
    broken: {share: failed, allowed: 10%},
    away: {share: silent, drop: {share: 50%}},
    drain: {metric: battery, mean: 5},
    sign-off: {approval: 1}
  }`;

/** Version 2.0.0 crashes several times as often as 1.0.0. */
async function crashingFleet(): Promise<CrashingFleet> {
  return await startCrashing({
    devices: 100,
    spec: {
      runbook: 'https://wiki.example/kiosks',
      onFailure: 'ladder',
      gates: GATES,
      stages: '[{name: canary, size: 20%, soak: 24h}, {name: fleet, size: all, soak: 24h}]',
    },
    crashes: (_device, version) => (version === '2.0.0' ? 0.06 : 0.02),
    signals: () => ({ battery: 5 }),
    tagsOf: (n) => ({ hardwareRevision: n % 3 === 0 ? 'rev-b' : 'rev-a' }),
  });
}

/** Runs commands in a terminal of 80 columns, at the fleet's time. */
const command = (fleet: CrashingFleet, ...args: readonly string[]) =>
  run(args, { columns: 80, env: { NO_COLOR: '1' }, now: fleet.clock.now() });

test('explains what gates say, how far they are from a decision, and what a breach asks of whom', async () => {
  const fleet = await crashingFleet();
  const listener = await listen(fleet.service.app, { host: '127.0.0.1', port: 0 });
  onTestFinished(() => listener.close());
  const explain = (...args: readonly string[]) =>
    command(fleet, 'gate', 'explain', ...args, '--server', listener.url);

  expect((await explain()).out).toContain('no gates are judged any more: the attempt has ended');

  await fleet.release('2.0.0');
  await fleet.advance(4 * HOUR, 10 * MINUTE);
  const early = await explain('kiosk', 'crashes');
  expect([early.exit, early.err]).toEqual([0, '']);
  expect(early.out).toMatch(/^kiosk, attempt 2, stage canary: running\n\n✓ crashes {2}holds\n/);
  expect(early.out).toContain('  looks at  crash per device-hour up to 1 times that of untouched devices\n');
  expect(early.out).toMatch(/outlook {3}[0-9]+ more within the next hour would halt it; after [0-9]+ more/);
  expect(early.out).not.toContain('broken');

  await fleet.advance(5 * HOUR, 10 * MINUTE);
  const { out } = await explain('kiosk');
  expect(out).toContain('kiosk, attempt 2, stage canary: paused\n  Since the breach gates count anew');
  expect(out).toContain('? sign-off  cannot say\n  looks at  one approval\n');
  expect(out).toContain('! breach of gate crashes, high: nothing new is offered\n');
  expect(out).toMatch(/where {6}[0-9]+ of [0-9]+ devices with hardwareRevision rev-[ab] are affected\n/);
  expect(out).toContain('  owner      kiosk-oncall\n  runbook    https://wiki.example/kiosks\n');
  expect(out).toContain('  decide by  2026-01-02T09:00:00Z (in ');
  expect(out.split('\n').filter((line) => line.length > 80)).toEqual([]);

  const { rollouts } = JSON.parse((await explain('kiosk', '--format', 'json')).out) as {
    rollouts: readonly { readonly gates: readonly object[] }[];
  };
  const { gates, breach } = await fleet.status();
  expect(rollouts).toEqual([
    expect.objectContaining({ name: 'kiosk', attempt: 2, stage: 'canary', state: 'paused', gates, breach }),
  ]);

  expect(await explain('kiosc')).toEqual({
    exit: 2,
    out: '',
    err: 'tidegate: no rollout "kiosc" is in force; did you mean kiosk?\n',
  });
  const unknown = await explain('kiosk', 'crashs');
  expect([unknown.exit, unknown.out]).toEqual([2, '']);
  expect(unknown.err).toContain('did you mean crashes?');
});

test('a recorded halt is judged again to the same digits, and a row that was changed is found', async () => {
  const fleet = await crashingFleet();
  await fleet.release('2.0.0');
  await fleet.advance(9 * HOUR, 10 * MINUTE);
  const repo = await writtenRepository(fleet.git);
  const replay = (gate: string, ref: string, ...args: readonly string[]) =>
    command(fleet, 'gate', 'replay', gate, '--outcome', ref, '--repo', repo, ...args);

  const halted = await replay('crashes', 'kiosk');
  expect([halted.exit, halted.err]).toEqual([0, '']);
  expect(halted.out).toMatch(/^gate crashes of kiosk, attempt 2, stage canary\n/);
  expect(halted.out).toMatch(/ ✗ halts\nRatio and evidence are of all hours up to that one\.\n/);
  expect(halted.out).toContain('= as recorded at 2026-01-01T09:00:00Z, to the last digit\n');
  expect(halted.out.split('\n').filter((line) => line.length > 80)).toEqual([]);

  const recorded = (await fleet.status()).attempts
    .at(-1)
    ?.stages[0]?.verdict?.gates.find(({ name }) => name === 'crashes');
  const json = JSON.parse((await replay('crashes', 'kiosk/2', '--format', 'json')).out) as object;
  expect(json).toMatchObject({ state: 'halts', same: true, differences: [], whole: true, attempt: 2 });
  expect(recorded).toMatchObject({
    logEvidence: (json as { logEvidence: number }).logEvidence,
    ratio: (json as { ratio: number }).ratio,
    because: (json as { because: string }).because,
  });
  const commits = (await git(repo, 'log', '--format=%H %s', 'outcomes')).split('\n');
  const [pause = ''] = commits.find((line) => line.includes('is paused'))?.split(' ') ?? [];
  expect(JSON.parse((await replay('crashes', pause, '--format', 'json')).out)).toEqual(json);
  expect((await replay('crashes', pause.slice(0, 12))).out).toBe(halted.out);

  for (const gate of ['broken', 'away', 'drain', 'sign-off']) {
    const { exit, out } = await replay(gate, 'kiosk');
    expect([gate, exit]).toEqual([gate, 0]);
    expect(out).toContain('= as recorded at 2026-01-01T09:00:00Z');
  }

  const [, path = ''] = /(rollouts\/kiosk\/2-\S+\.yaml)/.exec(
    await git(repo, 'ls-tree', '-r', '--name-only', 'outcomes'),
  ) as RegExpExecArray;
  // The hour of 06:00 had two crashes.
  const edit = (text: string) => text.replace(/(- 2026-01-01T06:00:00Z\n\s+- )2\n/, '$11\n');
  await tamper(repo, { branch: 'outcomes', path, edit });
  const tampered = await replay('crashes', 'kiosk');
  expect(tampered.exit).toBe(1);
  expect(tampered.out).toContain('≠ the outcome of 2026-01-01T09:00:00Z says something else');
  expect(tampered.out).toMatch(/\n {2}ratio {8}recorded 5\.5[0-9]+, again 4\.9[0-9]+\n/);
  expect((await replay('crashes', pause)).exit).toBe(0);
  expect(await replay('drain', 'kiosk')).toMatchObject({ exit: 0 });
});

test('what cannot be judged again is said, with what was meant', async () => {
  const fleet = await crashingFleet();
  const repo = await writtenRepository(fleet.git);
  const replay = (gate: string, ref: string, ...args: readonly string[]) =>
    command(fleet, 'gate', 'replay', gate, '--outcome', ref, '--repo', repo, ...args);
  const main = await git(repo, 'rev-parse', 'main');
  const refused: [Promise<{ exit: number; err: string }>, string][] = [
    [replay('health', 'kiosk'), 'gate health is an expression, which each device is judged by'],
    [replay('helth', 'kiosk'), 'kiosk/1 has no gate "helth"; did you mean health?'],
    [replay('health', 'kiosc'), 'did you mean kiosk?'],
    [replay('health', 'kiosk/7'), 'kiosk has no attempt 7; there is attempt 1'],
    [
      replay('health', 'kiosk', '--stage', 'fleat'),
      'kiosk/1 has opened no stage "fleat"; did you mean fleet?',
    ],
    [replay('health', main), 'records no decision about an attempt'],
    [replay('health', '0000000'), 'has nothing called "0000000"'],
  ];
  for (const [running, said] of refused) {
    const { exit, err } = await running;
    expect([exit, err]).toEqual([2, expect.stringContaining(said)]);
  }
  await fleet.release('2.0.0');
  const young = await command(
    fleet,
    ...['gate', 'replay', 'crashes', '--outcome', 'kiosk', '--repo', await writtenRepository(fleet.git)],
  );
  expect([young.exit, young.err]).toEqual([
    2,
    expect.stringContaining('nothing is recorded of gate crashes'),
  ]);
});
