/** Words for an operator: how far a gate is from a decision, and what a breach or a concern asks of whom. */
import { expect, test } from 'vitest';
import type { ExplainedRollout } from '../../src/cli/gate-explain.ts';
import { gateLines } from '../../src/cli/gate-explain-text.ts';
import { NOW, run } from './fixture.ts';

const GATE = {
  name: 'crashes',
  stage: 'canary',
  rule: 'crash per device-hour up to 1.25 times 0.002',
  state: 'holds',
  because: '3 crash in 24 device-hours',
} as const;

const ROLLOUT: ExplainedRollout = {
  name: 'kiosk',
  state: 'running',
  attempt: 2,
  stage: 'canary',
  owner: 'kiosk-oncall',
  gates: [GATE],
  concerns: [],
};

const text = (more: Partial<ExplainedRollout>) =>
  gateLines([{ ...ROLLOUT, ...more }], NOW, { width: 80, paint: (_style, said) => said }).join('\n');

test.each([
  [
    { incidentsToHalt: 7, hoursToCertain: 9 },
    '7 more within the next hour would halt it; after 9 more hours of',
  ],
  [{ incidentsToHalt: 1200 }, 'outlook   1,200 more within the next hour would halt it'],
  [{ hoursToCertain: 1 }, 'after one more hour of what is normal it is certain that it is not'],
  [{ hoursToCertain: 0 }, 'outlook   it is certain that it is not twice as bad'],
])('%j', (outlook, said) => {
  expect(text({ gates: [{ ...GATE, ...outlook }] })).toContain(said);
});

test('what halts needs nothing more to halt, and what has no outlook has none', () => {
  expect(text({ gates: [{ ...GATE, state: 'halts', incidentsToHalt: 1 }] })).not.toContain('outlook');
  expect(text({})).not.toContain('outlook');
});

test('a breach says who decides by when, where the failures are, and when devices are back', () => {
  const breach = {
    at: '2026-11-21T06:00:00Z',
    gate: 'crashes',
    severity: 'critical',
    action: 'rollBack',
    because: 'gate crashes: 40 crash in 5,000 device-hours',
    owner: 'kiosk-oncall',
    runbook: 'https://wiki.example/kiosks',
    decideBy: '2026-11-21T10:00:00Z',
    clusters: [{ tag: 'hardwareRevision', value: 'rev-b', failed: 12, devices: 30 }],
  } as const;
  expect(text({ state: 'rolledBack', gates: [], breach })).toBe(`kiosk, attempt 2, stage canary: rolled back
  no gates are judged any more: the attempt has ended; tidegate gate replay GATE
  --outcome kiosk/2 shows what was recorded

! breach of gate crashes, critical: devices go back at once
  at       2026-11-21T06:00:00Z (2h ago)
  because  gate crashes: 40 crash in 5,000 device-hours
  where    12 of 30 devices with hardwareRevision rev-b are affected
  owner    kiosk-oncall
  runbook  https://wiki.example/kiosks
  back by  2026-11-21T10:00:00Z (in 2h): by then all devices should have
           returned`);
  const { decideBy: _decideBy, gate: _gate, ...open } = breach;
  const held = text({ state: 'paused', breach: { ...open, action: 'pause' } });
  expect(held).toContain('! breach of the error threshold, critical: nothing new is offered');
  expect(held).toContain('kiosk-oncall decides, without a deadline');
  expect(held).not.toContain('count anew');
});

test('a concern says by when somebody looks at it', () => {
  const concern = {
    at: '2026-11-21T06:00:00Z',
    gate: 'crashes',
    severity: 'low',
    because: 'gate crashes: 12 crash',
    reviewBy: '2026-11-28T06:00:00Z',
  } as const;
  expect(
    text({ concerns: [concern] }),
  ).toContain(`! concern about gate crashes, low: it goes on, and is looked at
  at       2026-11-21T06:00:00Z (2h ago)
  because  gate crashes: 12 crash
  look by  2026-11-28T06:00:00Z (in 6d22h)`);
});

test('where there are no gates it says why', () => {
  const { attempt: _attempt, stage: _stage, ...bare } = ROLLOUT;
  const lines = (rollout: ExplainedRollout) =>
    gateLines([rollout], NOW, { width: 80, paint: (_, said) => said });
  expect(lines({ ...bare, state: 'unknown', gates: [] })[1]).toBe('  no gates yet: there is no attempt');
  expect(lines({ ...bare, attempt: 1, gates: [] })[1]).toBe('  no gates yet: no stage is open');
  expect(text({ gates: [] })).toContain('stage canary has no gates');
  expect(gateLines([], NOW, { width: 80, paint: (_, said) => said })).toEqual(['no rollouts']);
});

test('without a server it says what to do', async () => {
  const { exit, err } = await run(['gate', 'explain', '--server', 'http://127.0.0.1:1']);
  expect([exit, err]).toEqual([2, expect.stringContaining('start it (tidegate serve)')]);
});
