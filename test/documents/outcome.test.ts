import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Sample } from '../../src/core/gates/probe.ts';
import type { Fraction, Threshold } from '../../src/core/model/desired.ts';
import type {
  ApprovalGate,
  Baseline,
  BreachAction,
  EventGate,
  ExpressionGate,
  Gate,
  Method,
  MetricGate,
  ObservationGate,
  PrometheusGate,
  Rung,
  Severity,
  ShareGate,
  WebhookGate,
} from '../../src/core/model/gate.ts';
import type { CommitId, Revision, RolloutName, Score, SnapshotId } from '../../src/core/model/ids.ts';
import { type Artifact, type Manifest, type Module, revisionOf } from '../../src/core/model/manifest.ts';
import type {
  Admission,
  Attempt,
  Breach,
  Cause,
  Cluster,
  Concern,
  ExpressionVerdict,
  Restored,
  RolloutState,
  StageCounts,
  StageGateVerdict,
  StageOutcome,
  StageVerdict,
  Transition,
} from '../../src/core/model/outcome.ts';
import { DAY, HOUR } from '../../src/core/model/time.ts';
import { decodeOutcome, encodeOutcome, outcomePath } from '../../src/documents/outcome.ts';

const MANIFEST: Manifest = {
  distributionSet: 'thermostat@2.6.0',
  product: 'thermostat',
  version: '2.6.0',
  modules: [
    {
      name: 'telemetry',
      version: '2.6.0',
      type: 'application',
      status: 'running',
      restartPolicy: 'always',
      image: 'registry.example/telemetry:2.6.0',
      env: { INTERVAL: '10s', LEVEL: 'no' },
    },
  ],
};

const ATTEMPT: Attempt = {
  rollout: 'thermostat-firmware' as RolloutName,
  attempt: 3,
  revision: revisionOf(MANIFEST),
  manifest: MANIFEST,
  snapshot: 'a'.repeat(40) as SnapshotId,
  commit: 'b'.repeat(40) as CommitId,
  condition: "tags.environment = 'prod'",
  seed: 'rollout-42',
  createdAt: Date.UTC(2026, 2, 1, 6),
  state: 'rolledBack',
  cause: 'errorThreshold',
  stages: [
    {
      name: 'canary',
      state: 'failed',
      openedAt: Date.UTC(2026, 2, 1, 6),
      epoch: 'b2f5ff47',
      condition: "tags.environment = 'prod'",
      unit: 'device',
      size: '1',
      admits: { kind: 'list', scores: ['24203cc52042b78d' as Score] },
      units: 1,
      devices: 1,
      successThreshold: { kind: 'share', share: { numerator: 95, denominator: 100 } },
      errorThreshold: { kind: 'share', share: { numerator: 1, denominator: 3 } },
      soakMs: 6 * HOUR,
      minExposureHours: 0.5,
      stuckAfterMs: 3 * DAY,
      gates: [{ name: 'telemetry', kind: 'expression', expression: 'gap < 10s && drops == 0' }],
      alpha: 0.05,
      closedAt: Date.UTC(2026, 2, 1, 7, 30, 0, 250),
      verdict: {
        at: Date.UTC(2026, 2, 1, 7, 30, 0, 250),
        verdict: 'halt',
        counts: { pending: 0, installing: 0, verifying: 0, succeeded: 0, failed: 1 },
        gates: [{ name: 'telemetry', expression: 'gap < 10s && drops == 0', holds: 0, fails: 1, missing: 0 }],
        failures: [{ category: 'install.disk-full', devices: 1 }],
        silent: [],
        because: '1 of 1 devices failed; fewer than a third may',
      },
    },
  ],
  history: [{ at: Date.UTC(2026, 2, 1, 6), state: 'running', cause: 'started', stage: 'canary' }],
  appliedOperations: [],
  restored: { main: 'none', timeToRestoreMs: 3_723_004 },
  learnings: 'The canary had no battery-powered device.\nNext time it has two.\n',
};

describe('a RolloutOutcome document', () => {
  it('reads like something people can review', () => {
    expect(
      encodeOutcome(ATTEMPT),
    ).toBe(`# Tidegate writes this file and reads it back: do not edit it. Learnings belong in ops/ on main.
apiVersion: tidegate.dev/v1
kind: RolloutOutcome
metadata:
  name: thermostat-firmware-3
spec:
  rollout: thermostat-firmware
  attempt: 3
  state: rolledBack
  cause: errorThreshold
  createdAt: 2026-03-01T06:00:00Z
  revision: ${ATTEMPT.revision}
  snapshot: ${'a'.repeat(40)}
  commit: ${'b'.repeat(40)}
  condition: tags.environment = 'prod'
  seed: rollout-42
  restored:
    main: none
    timeToRestore: 3723004ms
  learnings: |
    The canary had no battery-powered device.
    Next time it has two.
  history:
    - at: 2026-03-01T06:00:00Z
      state: running
      cause: started
      stage: canary
  appliedOperations: []
  stages:
    - name: canary
      state: failed
      openedAt: 2026-03-01T06:00:00Z
      closedAt: 2026-03-01T07:30:00.250Z
      epoch: b2f5ff47
      condition: tags.environment = 'prod'
      unit: device
      size: "1"
      units: 1
      devices: 1
      successThreshold: 95%
      errorThreshold:
        numerator: 1
        denominator: 3
      soak: 6h
      minExposureHours: 0.5
      stuckAfter: 3d
      verdict:
        at: 2026-03-01T07:30:00.250Z
        verdict: halt
        because: 1 of 1 devices failed; fewer than a third may
        counts:
          pending: 0
          installing: 0
          verifying: 0
          succeeded: 0
          failed: 1
        gates:
          - name: telemetry
            expression: gap < 10s && drops == 0
            holds: 0
            fails: 1
            missing: 0
        failures:
          - category: install.disk-full
            devices: 1
        silent: []
      gates:
        - name: telemetry
          expression: gap < 10s && drops == 0
      admits:
        kind: list
        scores:
          - 24203cc52042b78d
  manifest:
    distributionSet: thermostat@2.6.0
    product: thermostat
    version: 2.6.0
    modules:
      - name: telemetry
        version: 2.6.0
        type: application
        status: running
        restartPolicy: always
        image: registry.example/telemetry:2.6.0
        env:
          INTERVAL: 10s
          LEVEL: no
`);
  });

  it('comes back as it was', () => {
    expect(decoded(encodeOutcome(ATTEMPT))).toStrictEqual(ATTEMPT);
  });

  it('is not written where it could not be read again', () => {
    expect(() => encodeOutcome({ ...ATTEMPT, attempt: 0 })).toThrow(
      /thermostat-firmware-0 .*\/spec\/attempt/,
    );
    expect(() => encodeOutcome({ ...ATTEMPT, createdAt: Number.NaN })).toThrow('Invalid time value');
    expect(() => encodeOutcome({ ...ATTEMPT, createdAt: Date.UTC(10_000, 0) })).toThrow('/spec/createdAt');
    expect(() => encodeOutcome({ ...ATTEMPT, mood: 'bad' } as Attempt)).toThrow('mood');
  });

  it('lies at a path that names rollout, attempt and revision', () => {
    const hex = ATTEMPT.revision.slice('sha256:'.length);
    expect(outcomePath(ATTEMPT)).toBe(`rollouts/thermostat-firmware/3-${hex.slice(0, 12)}.yaml`);
  });

  it('any attempt comes back exactly, through the bytes of a git blob', () => {
    fc.assert(
      fc.property(attempts(), (attempt) => {
        const bytes = Buffer.from(encodeOutcome(attempt), 'utf8');
        expect(decoded(bytes.toString('utf8'))).toStrictEqual(attempt);
      }),
    );
  });

  it('a list of a hundred thousand scores is one line, and comes back exactly', () => {
    const scores = Array.from({ length: 100_000 }, (_, n) => n.toString(16).padStart(16, '0') as Score);
    const [stage] = ATTEMPT.stages;
    if (stage === undefined) throw expect.unreachable();
    const attempt: Attempt = { ...ATTEMPT, stages: [{ ...stage, admits: { kind: 'list', scores } }] };
    const text = encodeOutcome(attempt);
    expect(text.split('\n').length).toBeLessThan(200);
    expect(decoded(text)).toStrictEqual(attempt);
    expect(decodeOutcome(text.replace(scores.join(''), scores.join('').slice(1)))).toMatchObject({
      ok: false,
      message: expect.stringContaining('expected scores of 16 digits each'),
    });
  });

  it('equal attempts are equal texts, whatever the order of their keys', () => {
    fc.assert(
      fc.property(attempts(), (attempt) => {
        const text = encodeOutcome(attempt);
        expect(encodeOutcome(reversed(attempt))).toBe(text);
        expect(encodeOutcome(decoded(text))).toBe(text);
        expect(text.endsWith('\n')).toBe(true);
      }),
    );
  });

  it('thresholds are percentages only where reading them gives the same two numbers', () => {
    expect(threshold({ kind: 'share', share: { numerator: 95, denominator: 100 } })).toBe('95%');
    expect(threshold({ kind: 'share', share: { numerator: 5, denominator: 1000 } })).toBe('0.5%');
    expect(threshold({ kind: 'share', share: { numerator: 950, denominator: 1000 } })).toBe('95.0%');
    expect(threshold({ kind: 'share', share: { numerator: 19, denominator: 20 } })).toEqual({
      numerator: 19,
      denominator: 20,
    });
    expect(threshold({ kind: 'count', count: 3 })).toBe(3);
  });
});

describe('a text that is no outcome is refused with what is wrong', () => {
  it('a manifest that is not the revision', () => {
    const text = encodeOutcome(ATTEMPT).replace('INTERVAL: 10s', 'INTERVAL: 11s');
    refused(text, '/spec/manifest', `expected the manifest of ${ATTEMPT.revision}`, 'found that of sha256:');
  });

  it('a name that is not its own', () => {
    refused(
      edited('name: thermostat-firmware-3', 'name: thermostat-firmware-4'),
      '/metadata/name',
      'thermostat-firmware-3',
    );
  });

  it('unknown, missing and wrong values, with their place', () => {
    refused(edited('cause: errorThreshold', 'cause: because'), '/spec/cause', 'errorThreshold', '"because"');
    refused(edited('state: rolledBack', 'state: rolledBack\n  mood: bad'), '/spec', 'mood');
    refused(edited('  seed: rollout-42\n', ''), '/spec', "'seed'");
    refused(edited('attempt: 3', 'attempt: 0'), '/spec/attempt', '>= 1', 'found 0');
    refused(edited('soak: 6h', 'soak: 6 hours'), '/spec/stages/0/soak', '"6 hours"');
    refused(
      edited('successThreshold: 95%', 'successThreshold: most'),
      '/spec/stages/0/successThreshold',
      '95%',
      '"most"',
    );
    refused(edited('kind: RolloutOutcome', 'kind: Rollout'), '/kind', 'RolloutOutcome');
    refused(edited('24203cc52042b78d', 'device-000001'), '/spec/stages/0/admits', 'found');
  });

  it('instants and durations that are none', () => {
    refused(
      edited('createdAt: 2026-03-01', 'createdAt: 2026-02-31'),
      'expected an instant',
      '2026-02-31T06:00:00Z',
    );
    refused(edited('createdAt: 2026-03-01', 'createdAt: 2026-13-01'), 'expected an instant');
    refused(edited('soak: 6h', 'soak: 99999999999w'), 'expected a duration', '99999999999w');
  });

  it('what is not YAML, or more than data', () => {
    refused('', '/');
    refused('spec: [', 'line 1');
    refused('['.repeat(100_000), 'RolloutOutcome: ');
    refused(`${encodeOutcome(ATTEMPT)}---\n{}\n`, 'multiple documents');
    refused(edited('seed: rollout-42', 'seed: rollout-42\n  seed: rollout-43'), 'unique');
    refused(edited('seed: rollout-42', 'seed: !secret rollout-42'), '!secret');
    refused(
      edited('learnings: |', 'seed: *anchor\n  learnings: |').replace(
        '  seed: rollout-42',
        '  excluding: &anchor x',
      ),
      'Alias',
    );
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json()), (text) => {
        expect(decodeOutcome(text).ok).toBe(false);
      }),
    );
    const text = encodeOutcome(ATTEMPT);
    fc.assert(
      fc.property(fc.nat(text.length), fc.nat(40), fc.string(), (at, length, instead) => {
        decodeOutcome(text.slice(0, at) + instead + text.slice(at + length));
      }),
    );
  });
});

function decoded(text: string): Attempt {
  const result = decodeOutcome(text);
  if (!result.ok) throw new Error(`${result.message}\n${text}`);
  return result.attempt;
}

function edited(from: string, to: string): string {
  const text = encodeOutcome(ATTEMPT);
  expect(text).toContain(from);
  return text.replace(from, to);
}

function refused(text: string, ...said: readonly string[]): void {
  const result = decodeOutcome(text);
  if (result.ok) throw new Error(`should have been refused: ${text}`);
  for (const part of said) expect(result.message).toContain(part);
}

function threshold(successThreshold: Threshold): unknown {
  const stages = ATTEMPT.stages.map((stage) => ({ ...stage, successThreshold }));
  const document = parse(encodeOutcome({ ...ATTEMPT, stages })) as {
    spec: { stages: { successThreshold: unknown }[] };
  };
  return document.spec.stages[0]?.successThreshold;
}

function reversed<T>(value: T): T {
  if (Array.isArray(value)) return value.map(reversed) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, inner]) => [key, reversed(inner)]),
  ) as T;
}

/** Attempts with every field of the model there or, if it may be absent, not. */
function attempts(): fc.Arbitrary<Attempt> {
  const tricky = [
    'no',
    'null',
    '~',
    '1e3',
    '- a',
    'a: b',
    '# a',
    ' a ',
    'a\n\n b\n',
    '\ta',
    "'",
    '"',
    '%',
    '---',
    '<<',
  ];
  const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 30 }), fc.constantFrom(...tricky));
  const texts = fc.dictionary(fc.oneof(text, fc.constantFrom('__proto__', 'name', 'constructor')), text, {
    maxKeys: 4,
    noNullPrototype: true,
  });
  const few = <T>(item: fc.Arbitrary<T>) => fc.array(item, { maxLength: 2 });
  const digit = fc.constantFrom(...'0123456789abcdef');
  const hex = (length: number) => fc.string({ unit: digit, minLength: length, maxLength: length });
  const score = hex(16) as fc.Arbitrary<Score>;
  const snapshot = hex(40) as fc.Arbitrary<SnapshotId>;
  const commit = hex(40) as fc.Arbitrary<CommitId>;
  const revision = hex(64).map((digits) => `sha256:${digits}` as Revision);
  const count = fc.oneof(fc.nat(), fc.maxSafeNat());
  const positive = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
  const hours = fc.double({ min: 0, noNaN: true, noDefaultInfinity: true });
  const instant = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) });
  const wholeHours = fc.nat(1000).map((amount) => amount * HOUR);
  const duration = fc.oneof(fc.nat(), wholeHours, fc.maxSafeNat());

  const denominator = fc.oneof(positive, fc.constantFrom(1, 10, 100, 1000, 100_000_000, 1_000_000_000));
  const limit: fc.Arbitrary<Threshold> = fc.oneof(
    record<Threshold & { kind: 'count' }>({ kind: fc.constant('count'), count }),
    record<Threshold & { kind: 'share' }>({
      kind: fc.constant('share'),
      share: record<Fraction>({ numerator: count, denominator }),
    }),
  );
  const gateName = fc.constantFrom('crashes', 'a.b', '__proto__');
  const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
  const severity = fc.constantFrom<Severity>('low', 'moderate', 'high', 'critical');
  const action = fc.constantFrom<BreachAction>('continue', 'monitor', 'pause', 'rollBack');
  const ladder = fc.array(record<Rung>({ from: number, severity, action, withinMs: duration }), {
    minLength: 1,
    maxLength: 2,
  });
  const against = fc.oneof(
    record<Extract<Baseline, { kind: 'known' }>>({ kind: fc.constant('known'), value: number }),
    fc.constantFrom<Baseline>({ kind: 'control' }, { kind: 'previous' }),
  );
  const method = fc.oneof(
    record<Extract<Method, { kind: 'sequential' }>>({ kind: fc.constant('sequential'), margin: number }),
    record<Extract<Method, { kind: 'threshold' }>>({
      kind: fc.constant('threshold'),
      haltRatio: number,
      forMs: duration,
    }),
  );
  const limitOf = ([kind, amount]: readonly [
    'allowed' | 'above' | 'drop' | 'points',
    number,
  ]): ShareGate['limit'] =>
    kind === 'points' ? { kind: 'drop', points: amount } : ({ kind, share: amount } as ShareGate['limit']);
  const share = fc.tuple(fc.constantFrom('allowed', 'above', 'drop', 'points'), number).map(limitOf);
  const gate: fc.Arbitrary<Gate> = fc.oneof(
    record<ExpressionGate>({ name: text, kind: fc.constant('expression'), expression: text }),
    record<EventGate>({ name: text, kind: fc.constant('events'), event: text, against, method, ladder }, [
      'ladder',
    ]),
    record<MetricGate>(
      {
        name: text,
        kind: fc.constant('metric'),
        signal: text,
        against,
        method,
        worse: fc.constantFrom('higher', 'lower'),
        range: record({ from: number, to: number }),
        ladder,
      },
      ['range', 'ladder'],
    ),
    record<ShareGate>(
      {
        name: text,
        kind: fc.constant('share'),
        of: fc.constantFrom('failed', 'rolledBack', 'silent'),
        limit: share,
        afterMs: duration,
        ladder,
      },
      ['afterMs', 'ladder'],
    ),
    record<ObservationGate>(
      {
        name: text,
        kind: fc.constant('observations'),
        metric: text,
        windowMs: duration,
        above: number,
        ladder,
      },
      ['ladder'],
    ),
    record<PrometheusGate>(
      {
        name: text,
        kind: fc.constant('prometheus'),
        query: text,
        limit: record<PrometheusGate['limit']>({ kind: fc.constantFrom('above', 'below'), value: number }),
        forMs: duration,
        everyMs: duration,
        ladder,
      },
      ['ladder'],
    ),
    record<WebhookGate>({ name: text, kind: fc.constant('webhook'), url: text, everyMs: duration, ladder }, [
      'ladder',
    ]),
    record<ApprovalGate>({ name: text, kind: fc.constant('approval'), count: positive, ladder }, ['ladder']),
  );
  const row = fc.tuple(instant, number, number, number, number);
  const sample = fc.oneof(
    record<Extract<Sample, { kind: 'value' }>>({ at: instant, kind: fc.constant('value'), value: number }),
    record<Extract<Sample, { kind: 'verdict' }>>({
      at: instant,
      kind: fc.constant('verdict'),
      verdict: fc.constantFrom('pass', 'halt', 'wait'),
      because: text,
    }),
    record<Extract<Sample, { kind: 'trouble' }>>({
      at: instant,
      kind: fc.constant('trouble'),
      because: text,
    }),
  );
  const gateVerdict = fc.oneof(
    record<ExpressionVerdict>({ name: text, expression: text, holds: count, fails: count, missing: count }),
    record<StageGateVerdict>(
      {
        name: text,
        state: fc.constantFrom('holds', 'halts', 'missing'),
        because: text,
        ratio: number,
        logEvidence: number,
        previous: number,
        rows: few(row),
        before: few(row),
        counts: fc.tuple(count, count, count, count),
        afterMs: duration,
        observations: few(fc.tuple(instant, number)),
        samples: few(sample),
      },
      ['ratio', 'logEvidence', 'previous', 'rows', 'before', 'counts', 'afterMs', 'observations', 'samples'],
    ),
  );
  const breach = record<Breach>(
    {
      at: instant,
      gate: text,
      severity,
      action,
      ratio: number,
      because: text,
      owner: text,
      runbook: text,
      decideBy: instant,
      clusters: few(record<Cluster>({ tag: text, value: text, failed: count, devices: count })),
    },
    ['gate', 'ratio', 'runbook', 'decideBy', 'clusters'],
  );
  const concern = record<Concern>({ at: instant, gate: text, severity, because: text, reviewBy: instant });
  const admits: fc.Arbitrary<Admission> = fc.oneof(
    record<Admission & { kind: 'list' }>(
      { kind: fc.constant('list'), scores: few(score), rampMs: duration },
      ['rampMs'],
    ),
    record<Admission & { kind: 'upTo' }>(
      { kind: fc.constant('upTo'), score, rampFrom: score, rampMs: duration, also: few(score) },
      ['rampFrom', 'rampMs', 'also'],
    ),
  );
  const verdict = record<StageVerdict>(
    {
      at: instant,
      epoch: text,
      verdict: fc.constantFrom('pass', 'halt', 'undecided'),
      counts: record<StageCounts>({
        pending: count,
        installing: count,
        verifying: count,
        succeeded: count,
        failed: count,
      }),
      gates: few(gateVerdict),
      failures: few(record<StageVerdict['failures'][number]>({ category: text, devices: count })),
      silent: few(score),
      because: text,
    },
    ['epoch'],
  );
  const stage = record<StageOutcome>(
    {
      name: text,
      state: fc.constantFrom('scheduled', 'running', 'passed', 'failed'),
      openedAt: instant,
      epoch: text,
      condition: text,
      where: text,
      whereDigest: hex(64).map((digest) => `sha256:${digest}`),
      unit: text,
      size: text,
      admits,
      units: count,
      devices: count,
      successThreshold: limit,
      errorThreshold: limit,
      soakMs: duration,
      minExposureHours: hours,
      stuckAfterMs: duration,
      gates: few(gate),
      soakMaxMs: duration,
      alpha: fc.double({ min: 0.0001, max: 0.9999, noNaN: true }),
      slow: fc.constant(true as const),
      watch: record<NonNullable<StageOutcome['watch']>>({
        sinceAt: instant,
        hourAt: instant,
        less: fc.dictionary(gateName, row, { maxKeys: 2, noNullPrototype: true }),
      }),
      tolerated: count,
      closedAt: instant,
      verdict,
    },
    ['where', 'whereDigest', 'soakMaxMs', 'slow', 'watch', 'tolerated', 'closedAt', 'verdict'],
  );
  const artifact = record<Artifact>(
    {
      name: text,
      sha256: hex(64),
      sizeBytes: count,
      urls: few(text),
      securityEpoch: count,
      hardwareIds: few(text),
    },
    ['securityEpoch', 'hardwareIds'],
  );
  const module = record<Module>(
    {
      name: text,
      version: text,
      type: text,
      status: fc.constantFrom('running', 'stopped'),
      restartPolicy: fc.constantFrom('always', 'on-failure', 'on-unhealthy', 'never'),
      image: text,
      registryCredential: text,
      env: texts,
      artifacts: few(artifact),
    },
    ['image', 'registryCredential', 'env', 'artifacts'],
  );
  const manifest = record<Manifest>(
    { distributionSet: text, product: text, version: text, modules: few(module), routes: texts },
    ['routes'],
  );
  const state = fc.constantFrom(...STATES);
  const cause = fc.constantFrom(...CAUSES);
  const knownGood = record<NonNullable<Restored['knownGood']>>({
    attempt: positive,
    revision,
    snapshot,
    commit,
  });
  const restored = record<Restored>(
    {
      knownGood,
      main: fc.constantFrom('pending', 'agrees', 'diverged', 'none'),
      branch: text,
      pullRequest: text,
      commit,
      snapshot,
      completedAt: instant,
      timeToRestoreMs: duration,
    },
    ['knownGood', 'branch', 'pullRequest', 'commit', 'snapshot', 'completedAt', 'timeToRestoreMs'],
  );
  const attempt = record<Attempt>(
    {
      rollout: fc.constantFrom('a', 'thermostat-firmware', 'hub.v2') as fc.Arbitrary<RolloutName>,
      attempt: positive,
      revision,
      manifest,
      snapshot,
      commit,
      condition: text,
      excluding: text,
      seed: text,
      createdAt: instant,
      state,
      cause,
      stages: few(stage),
      history: few(record<Transition>({ at: instant, state, cause, stage: text }, ['stage'])),
      appliedOperations: few(text),
      exclude: text,
      breach,
      concerns: few(concern),
      restored,
      learnings: text,
    },
    ['excluding', 'exclude', 'breach', 'concerns', 'restored'],
  );
  return attempt.map((fields) => ({ ...fields, revision: revisionOf(fields.manifest) }));
}

/** Keyed by the model's own values, so that one that it gains is not forgotten here. */
const STATES = keys<RolloutState>({
  waitingForApproval: true,
  ready: true,
  running: true,
  monitoring: true,
  paused: true,
  succeeded: true,
  stopped: true,
  rolledBack: true,
  superseded: true,
});
const CAUSES = keys<Cause>({
  created: true,
  approvalNeeded: true,
  started: true,
  approved: true,
  resumed: true,
  suspended: true,
  operator: true,
  errorThreshold: true,
  gate: true,
  deadline: true,
  stuck: true,
  reverted: true,
  replaced: true,
  removed: true,
  passed: true,
});

function keys<K extends string>(all: Record<K, true>): K[] {
  return Object.keys(all) as K[];
}

type OptionalKey<T> = { [K in keyof T]-?: object extends Pick<T, K> ? K : never }[keyof T];

/** Plain objects. A field that the model gains, optional or not, must be named here, or this does not compile. */
function record<T extends object>(
  fields: { readonly [K in keyof T]-?: fc.Arbitrary<Exclude<T[K], undefined>> },
  optional: readonly OptionalKey<T>[] = [],
): fc.Arbitrary<T> {
  const requiredKeys = (Object.keys(fields) as (keyof T)[]).filter(
    (key) => !(optional as readonly (keyof T)[]).includes(key),
  );
  return fc.record(fields as { [K in keyof T]: fc.Arbitrary<T[K]> }, {
    requiredKeys,
    noNullPrototype: true,
  }) as fc.Arbitrary<T>;
}
