/** S4.91 and S4.92: what follows from a breach, leaf by leaf, on a virtual clock and through the whole loop. */
import { describe, expect, test } from 'vitest';
import { standingOf } from '../../src/core/assign/standing.ts';
import { count, emptyTally } from '../../src/core/assign/tally.ts';
import { ladderOf, rungOf } from '../../src/core/gates/severity.ts';
import type { EventGate, Gate, ObservationGate, ShareGate } from '../../src/core/model/gate.ts';
import type { Revision, RolloutName } from '../../src/core/model/ids.ts';
import { DAY, HOUR, type Instant, MINUTE } from '../../src/core/model/time.ts';
import { fleetCounts } from '../../src/core/status.ts';
import { deviceOf, programOf, reportOf } from '../core/assign/program.ts';
import { attemptOf } from '../core/plan/attempts.ts';
import { type CrashingFleet, startCrashing } from '../simulation/crashing-fleet.ts';
import { kiosk, rollout } from '../simulation/fleet-files.ts';

const STEP = 10 * MINUTE;
const BAD = '2.0.0';

/** Devices with the bad version crash `rate` times an hour until `healed`; others once in 100 hours. */
interface Story {
  readonly rate: number;
  healedAt: Instant;
}

const GATE = (ladder: string) =>
  `{health: healthy, rollbacks: {share: rolledBack, above: 50%}, crashes: {events: crash, rate: 0.01, margin: 1, ladder: ${ladder}}}`;
const MODERATE = '[{from: 0, severity: moderate, action: monitor, within: 48h}]';
const CRITICAL = '[{from: 0, severity: critical, action: rollBack, within: 4h}]';

async function breached(ladder: string): Promise<{ fleet: CrashingFleet; story: Story }> {
  const story: Story = { rate: 0.15, healedAt: Number.POSITIVE_INFINITY };
  const fleet = await startCrashing({
    devices: 60,
    spec: {
      gates: GATE(ladder),
      stages:
        '[{name: canary, size: 20%, soak: 48h}, {name: half, size: 50%, soak: 1h}, {name: fleet, size: all}]',
    },
    crashes: (_device, version, now) => (version === BAD && now < story.healedAt ? story.rate : 0),
  });
  await fleet.release(BAD);
  for (let hours = 0; hours < 24 && (await fleet.status()).breach === undefined; hours += 1)
    await fleet.advance(HOUR, STEP);
  expect((await fleet.status()).breach).toBeDefined();
  return { fleet, story };
}

describe('S4.91 the decision tree', () => {
  test('critical: rolled back at once, and nobody keeps it', async () => {
    const { fleet } = await breached(CRITICAL);
    expect(await fleet.status()).toMatchObject({
      state: 'rolledBack',
      cause: 'gate',
      breach: { severity: 'critical' },
    });
    await fleet.advance(HOUR, STEP);
    expect(fleet.running(BAD)).toEqual([]);
    expect((await fleet.status()).restored?.timeToRestoreMs).toBeLessThanOrEqual(2 * HOUR);
  });

  test('moderate: expansion is held and watching goes on, a state of its own, with an owner, a deadline and telemetry', async () => {
    const { fleet } = await breached(MODERATE);
    const before = fleet.running(BAD);
    const { state, breach, gates } = await fleet.status();
    expect(state).toBe('monitoring');
    expect(breach).toMatchObject({
      severity: 'moderate',
      owner: 'kiosk-oncall',
      clusters: expect.any(Array),
    });
    const held = Date.parse(String(breach?.decideBy)) - Date.parse(String(breach?.at));
    expect(held).toBe(48 * HOUR);
    // Devices that have it keep it, nobody else gets it, and what they do is still judged.
    await fleet.advance(6 * HOUR, STEP);
    expect(fleet.running(BAD)).toEqual(before);
    expect(gates.find(({ name }) => name === 'crashes')).toHaveProperty('because');
    const candidate = fleet.service.reconciler.state().published?.program.rollouts[0]?.candidate;
    expect(candidate).toMatchObject({ offers: false, telemetry: 'debug' });
  });

  test('root cause found to be high: the revert rolls back', async () => {
    const { fleet } = await breached(MODERATE);
    await fleet.release('1.0.0');
    await fleet.advance(HOUR, STEP);
    expect((await fleet.status()).attempts.at(-1)).toMatchObject({ state: 'rolledBack', cause: 'reverted' });
    expect(fleet.running(BAD)).toEqual([]);
  });

  test('root cause found to be low: resumed by a person, and monitored from then on', async () => {
    const { fleet, story } = await breached(MODERATE);
    story.healedAt = 0;
    await fleet.operate('{action: resume, attempt: 2, by: ada}');
    expect((await fleet.status()).state).toBe('running');
    await fleet.advance(3 * DAY, STEP);
    expect((await fleet.status()).state).toBe('succeeded');
  });

  test('what a person resumed in spite of counts in no later stage either', async () => {
    const { fleet, story } = await breached(MODERATE);
    story.healedAt = 0;
    await fleet.operate('{action: resume, attempt: 2, by: ada}');
    const half = async () => (await fleet.status()).stages.find(({ name }) => name === 'half');
    for (let hours = 0; hours < 60 && (await half())?.state === 'scheduled'; hours += 1)
      await fleet.advance(HOUR, STEP);
    const { gates } = await fleet.status();
    expect(gates.find(({ name }) => name === 'crashes')).toMatchObject({
      stage: 'half',
      because: expect.stringMatching(/^0 crash in /),
    });
  });

  test('no cause after 48 h and stable: it goes on by itself, through a fifth of the next stage', async () => {
    const { fleet, story } = await breached(MODERATE);
    story.healedAt = fleet.clock.now();
    await fleet.advance(47 * HOUR, STEP);
    expect((await fleet.status()).state).toBe('monitoring');
    await fleet.advance(2 * HOUR, STEP);
    const resumed = await fleet.status();
    expect(resumed).toMatchObject({ state: 'running', cause: 'deadline' });
    await fleet.advance(50 * HOUR, STEP);
    const { attempts } = await fleet.status();
    const slow = attempts.at(-1)?.stages[1];
    // A half would have been 18 more of 60 devices; a fifth of that share is 10 % of them.
    expect(slow).toMatchObject({ name: 'half-slow-1', slow: true, units: 6 });
    await fleet.advance(4 * DAY, STEP);
    expect((await fleet.status()).state).toBe('succeeded');
  });

  test('no cause after 48 h and not stable: rolled back, and quarantined in every rollout', async () => {
    const { fleet } = await breached(MODERATE);
    await fleet.advance(49 * HOUR, STEP);
    expect(await fleet.status()).toMatchObject({ state: 'rolledBack', cause: 'deadline' });
    await fleet.advance(2 * HOUR, STEP);
    expect(fleet.running(BAD)).toEqual([]);
    // Another rollout with the same image is refused with the place where it failed.
    await fleet.commit('The same again', {
      ...kiosk(BAD),
      ...rollout(BAD, { priority: '20', targetCondition: "tags.region = 'nowhere'" }, 'lobby'),
    });
    await fleet.settle();
    const response = await fleet.service.app.request('/api/rollouts/lobby');
    const { state, reason } = (await response.json()) as { state: string; reason: string };
    expect(state).toBe('unknown');
    expect(reason).toMatch(/quarantined: it failed in attempt 2 of kiosk/);
  });

  test('the forced decision comes between 48 and 72 hours, and never without a deadline that was told', async () => {
    const deadlines = (['low', 'moderate'] as const).map((severity) => {
      const rung = ladderOf(EVENTS).find((each) => each.severity === severity);
      return rung?.withinMs;
    });
    expect(deadlines).toEqual([72 * HOUR, 48 * HOUR]);
  });
});

const EVENTS: EventGate = {
  name: 'crashes',
  kind: 'events',
  event: 'crash',
  against: { kind: 'control' },
  method: { kind: 'sequential', margin: 1.25 },
};
const SILENT: ShareGate = {
  name: 'silence',
  kind: 'share',
  of: 'silent',
  limit: { kind: 'above', share: 0.05 },
};
const TICKETS: ObservationGate = {
  name: 'tickets',
  kind: 'observations',
  metric: 't',
  windowMs: 4 * HOUR,
  above: 100,
};

test.each<[string, Gate, number | undefined, string, string, number]>([
  ['crash 1.9×', EVENTS, 1.9, 'low', 'pause', 72 * HOUR],
  ['crash 2×', EVENTS, 2, 'moderate', 'monitor', 48 * HOUR],
  ['crash 4.99×', EVENTS, 4.99, 'moderate', 'monitor', 48 * HOUR],
  ['crash 0.01 % → 0.05 %, which is 5×', EVENTS, 0.0005 / 0.0001, 'high', 'pause', 24 * HOUR],
  ['crash 10×', EVENTS, 10, 'critical', 'rollBack', 4 * HOUR],
  ['unresponsive', SILENT, 1.1, 'critical', 'rollBack', HOUR],
  ['tickets 2×', TICKETS, 2, 'moderate', 'pause', 24 * HOUR],
])('S4.92 %s', (_what, gate, ratio, severity, action, withinMs) => {
  expect(rungOf(ladderOf(gate), ratio)).toMatchObject({ severity, action, withinMs });
});

test('S4.83 a fleet that requires hardware-in-the-loop evidence starts nothing without it', async () => {
  const required =
    'apiVersion: tidegate.dev/v1\nkind: Fleet\nmetadata: {name: test-fleet}\nspec: {pollInterval: 30m, require: [hil]}\n';
  const fleet = await startCrashing({ devices: 4, spec: {}, crashes: () => 0 });
  await fleet.commit('Require it', { 'fleet/fleet.yaml': required });
  await fleet.release(BAD);
  await fleet.advance(HOUR, STEP);
  const waiting = await fleet.status();
  expect(waiting).toMatchObject({
    state: 'ready',
    reason: expect.stringContaining('requires evidence of hil for kiosk@2.0.0'),
  });
  const [[path, text] = ['', '']] = Object.entries(kiosk(BAD));
  await fleet.commit('Bring it', {
    [path]: text.replace('spec:\n', 'spec:\n  evidence: {hil: https://ci.example/hil/2.0.0}\n'),
  });
  await fleet.settle();
  expect((await fleet.status()).state).toBe('running');
});

test('S4.91 on day six a fleet of 100,000 runs what was decided: 92,500 the stable version, 7,500 the new one, nobody anything else', () => {
  // A canary of 5 % and a batch of 2.5 % (the source calls 2,500 of 100,000 "5 %") have the new version, and it is held.
  const attempts = [
    attemptOf({ attempt: 1, state: 'succeeded' }),
    attemptOf({ attempt: 2, state: 'monitoring' }),
  ];
  const [stable, fresh] = attempts.map(({ revision }) => revision);
  const program = { ...programOf({}), knownRevisions: attempts.map(({ revision }) => revision) };
  const tally = emptyTally();
  for (let n = 0; n < 100_000; n += 1) {
    const device = deviceOf(`device-${n}`, {
      ...reportOf({}),
      running: (n < 7_500 ? fresh : stable) as Revision,
    });
    count(tally, standingOf(program, device, 0), 1);
  }
  const { versions } = fleetCounts(tally, new Map([['kiosk' as RolloutName, attempts]]));
  expect(versions.map(({ name, devices }) => [name, devices])).toEqual([
    ['kiosk@1', 92_500],
    ['kiosk@2', 7_500],
  ]);
});

test('S4.92 stragglers are listed: devices that do not run what they are assigned, and nobody else', async () => {
  const fleet = await startCrashing({
    devices: 12,
    spec: { gates: '{health: healthy}', stages: '[{name: fleet, size: all}]' },
    crashes: () => 0,
    // Two of them never install the new version.
    install: ({ id }, { version }) => ({
      takesMs: version === BAD && /00000[12]$/.test(id) ? 30 * DAY : 5 * MINUTE,
    }),
  });
  await fleet.release(BAD);
  await fleet.advance(2 * HOUR, STEP);
  const get = async (path: string) => (await (await fleet.service.app.request(path)).json()) as never;
  const { devices } = (await get('/api/devices?straggling=true')) as { devices: { id: string }[] };
  expect(devices.map(({ id }) => id)).toEqual(['device-000001', 'device-000002']);
  const status = (await get('/api/status')) as { devices: { versions: { name: string; devices: number }[] } };
  expect(status.devices.versions).toMatchObject([
    { name: 'kiosk@2.0.0', devices: 10 },
    { name: 'kiosk@1.0.0', devices: 2 },
  ]);
});
