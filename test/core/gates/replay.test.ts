/** What was recorded of a gate is said again from the record alone; what was changed in it is found. */
import { describe, expect, test } from 'vitest';
import { readObservations, readPrometheus, readWebhook } from '../../../src/core/gates/outside.ts';
import type { Sample } from '../../../src/core/gates/probe.ts';
import { type GateReading, haltTogether } from '../../../src/core/gates/reading.ts';
import { KEPT_MAX, replayVerdict } from '../../../src/core/gates/replay.ts';
import { type DeviceShares, readShare } from '../../../src/core/gates/share.ts';
import type {
  ObservationGate,
  PrometheusGate,
  ShareGate,
  StageGate,
  WebhookGate,
} from '../../../src/core/model/gate.ts';
import type { Attempt, StageGateVerdict, StageOutcome, Transition } from '../../../src/core/model/outcome.ts';
import { HOUR, MINUTE } from '../../../src/core/model/time.ts';

const OPENED = Date.UTC(2026, 2, 1, 6);
const AT = OPENED + 8 * HOUR + 20 * MINUTE;

const DEVICES: DeviceShares = {
  afterMs: 3 * HOUR,
  attempted: 40,
  failed: 9,
  rolledBack: 3,
  reached: 50,
  silent: 12,
  control: 200,
  controlSilent: 4,
};

/** The verdict as an outcome has it, and judged again. */
function judged(
  gate: StageGate,
  recorded: GateReading | StageGateVerdict,
  given: { readonly history?: readonly Transition[]; readonly others?: readonly StageGateVerdict[] } = {},
) {
  const { history = [], others = [] } = given;
  const extra = others.map(({ name }): StageGate => ({ name, kind: 'share', of: 'failed', limit: ALLOWED }));
  const stage = {
    name: 'canary',
    openedAt: OPENED,
    alpha: 0.05,
    gates: [gate, ...extra],
    verdict: { at: AT, verdict: 'halt', gates: [recorded, ...others] },
  } as unknown as StageOutcome;
  return replayVerdict({ history } as unknown as Attempt, stage, gate.name);
}

const ALLOWED = { kind: 'allowed', share: 0.1 } as const;

describe('shares are judged again from their counts', () => {
  test.each([
    ['failed', { of: 'failed', limit: { kind: 'above', share: 0.2 } }],
    ['that bet', { of: 'failed', limit: ALLOWED }],
    ['back by themselves', { of: 'rolledBack', limit: { kind: 'above', share: 0.1 } }],
    ['silent', { of: 'silent', limit: { kind: 'drop', share: 0.1 } }],
    ['silent by points', { of: 'silent', limit: { kind: 'drop', points: 0.05 } }],
    ['none at all', { of: 'failed', limit: ALLOWED, none: true }],
  ] as const)('%s', (_name, { of, limit, ...more }) => {
    const gate: ShareGate = { name: 'devices', kind: 'share', of, limit };
    const seen = 'none' in more ? { ...DEVICES, attempted: 0, failed: 0 } : DEVICES;
    const [recorded = { name: '', state: 'holds', because: '' }] = haltTogether(
      [readShare(gate, seen, 0.05)],
      0.05,
    );
    const again = judged(gate, recorded);
    expect(again?.differences).toEqual([]);
    expect(again?.replay.reading).toEqual(recorded);

    const { counts = [0, 0, 0, 0] } = recorded;
    const fewer = judged(gate, { ...recorded, counts: [counts[0] + 1, counts[1] + 2, counts[2], counts[3]] });
    expect(fewer?.differences).not.toEqual([]);
  });

  test('of silent ones also for how long nothing was heard of them', () => {
    const gate: ShareGate = {
      name: 'away',
      kind: 'share',
      of: 'silent',
      limit: { kind: 'above', share: 0.1 },
    };
    const recorded = readShare(gate, DEVICES, 0.05);
    expect(recorded.because).toContain('for 3h');
    expect(judged(gate, recorded)?.replay.reading.because).toBe(recorded.because);
    const { afterMs: _afterMs, ...older } = recorded;
    expect(judged({ ...gate, afterMs: 5 * HOUR }, older)?.replay.reading.because).toContain('for 5h');
    expect(judged(gate, older)).toMatchObject({ differences: [], replay: { reading: { state: 'halts' } } });
  });

  test('with those that bet beside them: they halt together, and the one that says most is named', () => {
    const gate: ShareGate = { name: 'devices', kind: 'share', of: 'failed', limit: ALLOWED };
    const strong = { ...DEVICES, failed: 20 };
    const [own, other] = haltTogether(
      [readShare(gate, strong, 0.025), { name: 'other', state: 'holds', because: '', logEvidence: 0 }],
      0.05,
    ) as [GateReading, GateReading];
    expect(own.state).toBe('halts');
    expect(judged(gate, own, { others: [other] })?.replay.reading).toEqual(own);
    // Had the other one said more, it would be the one that halts.
    const louder = { ...other, logEvidence: 99 };
    expect(judged(gate, own, { others: [louder] })?.differences.map(({ what }) => what)).toEqual(['state']);
  });
});

describe('observations', () => {
  const gate: ObservationGate = {
    name: 'calls',
    kind: 'observations',
    metric: 'calls',
    windowMs: 4 * HOUR,
    above: 100,
  };
  const minutes = [
    { at: OPENED + HOUR, sum: 60 },
    { at: OPENED + 2 * HOUR, sum: 50 },
    { at: AT - 10 * MINUTE, sum: 7 },
  ];

  test('are added up again', () => {
    const recorded = readObservations(gate, minutes, { from: OPENED, now: AT });
    expect(recorded).toMatchObject({ state: 'halts', ratio: 1.1 });
    expect(judged(gate, recorded)).toMatchObject({ differences: [], isWhole: true });
    const edited = { ...recorded, observations: recorded.observations?.slice(1) ?? [] };
    expect(judged(gate, edited)?.differences).toEqual([
      { what: 'state', recorded: 'halts', replayed: 'holds' },
      { what: 'ratio', recorded: 1.1, replayed: 0.5 },
    ]);
  });

  test('from when they counted anew', () => {
    const resumed: Transition = { at: OPENED + 90 * MINUTE, state: 'running', cause: 'resumed' };
    const anew = readObservations(gate, minutes, { from: resumed.at + MINUTE, now: AT });
    expect(anew).toMatchObject({ state: 'holds', ratio: 0.5 });
    expect(judged(gate, anew, { history: [resumed] })?.differences).toEqual([]);
    expect(judged(gate, anew)?.differences.map(({ what }) => what)).toEqual(['state', 'ratio']);
    // A pause that the verdict is for changes what counts from then on, and not what had counted.
    const paused: Transition = { at: AT, state: 'paused', cause: 'gate' };
    expect(judged(gate, anew, { history: [resumed, paused] })?.differences).toEqual([]);
    // What was before this stage opened was about another one.
    const before: Transition = { ...resumed, at: OPENED - MINUTE };
    expect(judged(gate, anew, { history: [before] })?.differences).not.toEqual([]);
  });
});

describe('answers of others', () => {
  const prometheus: PrometheusGate = {
    name: 'errors',
    kind: 'prometheus',
    query: 'errors',
    limit: { kind: 'above', value: 0.5 },
    forMs: 10 * MINUTE,
    everyMs: MINUTE,
  };
  const answers = (count: number): readonly Sample[] =>
    Array.from({ length: count }, (_, index) => ({
      at: AT - (count - index) * MINUTE,
      kind: 'value',
      value: 0.75,
    }));

  test('of Prometheus', () => {
    const recorded = readPrometheus(prometheus, answers(12), AT);
    expect(recorded.state).toBe('halts');
    expect(judged(prometheus, recorded)).toMatchObject({ differences: [], isWhole: true });
    const samples = answers(12).with(6, { at: AT - 6 * MINUTE, kind: 'value', value: 0.25 });
    expect(judged(prometheus, { ...recorded, samples })?.differences).toEqual([
      { what: 'state', recorded: 'halts', replayed: 'holds' },
    ]);
  });

  test('of which an outcome keeps only the last ones: it says so', () => {
    const patient = { ...prometheus, forMs: (KEPT_MAX + 50) * MINUTE };
    const recorded = readPrometheus(patient, answers(KEPT_MAX + 100), AT);
    const kept = { ...recorded, samples: answers(KEPT_MAX) };
    expect(judged(patient, kept)).toMatchObject({ isWhole: false, differences: [{ what: 'state' }] });
  });

  test('of a webhook', () => {
    const gate: WebhookGate = {
      name: 'budget',
      kind: 'webhook',
      url: 'https://checks.example',
      everyMs: MINUTE,
    };
    const samples: Sample[] = [{ at: AT - MINUTE, kind: 'verdict', verdict: 'halt', because: 'it is spent' }];
    const recorded = readWebhook(gate, samples, AT);
    expect(judged(gate, recorded)?.differences).toEqual([]);
    const other = { ...recorded, samples: [{ ...samples[0], verdict: 'pass' } as Sample] };
    expect(judged(gate, other)?.differences).toEqual([
      { what: 'state', recorded: 'halts', replayed: 'holds' },
    ]);
  });
});

test('approvals are what the record says', () => {
  const recorded: StageGateVerdict = { name: 'ok', state: 'missing', because: '0 of 1 approvals given' };
  const again = judged({ name: 'ok', kind: 'approval', count: 1 }, recorded);
  expect(again).toMatchObject({ differences: [], replay: { reading: recorded, ticks: [] } });
});

test('of what was not recorded nothing is said', () => {
  const recorded: StageGateVerdict = { name: 'other', state: 'holds', because: '' };
  expect(judged({ name: 'ok', kind: 'approval', count: 1 }, recorded)).toBeUndefined();
});
