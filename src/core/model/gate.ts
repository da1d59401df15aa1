/**
 * What a stage is judged by. An expression says of one device whether it is well; the other kinds look at the stage as a whole,
 * against what was known before, against the devices that were left alone, or against what somebody else measures.
 */
import type { DurationMs } from './time.ts';

export type Gate = ExpressionGate | StageGate;

/** Judged per stage; an {@link ExpressionGate} is judged per device, where it stands. */
export type StageGate =
  | EventGate
  | MetricGate
  | ShareGate
  | ObservationGate
  | PrometheusGate
  | WebhookGate
  | ApprovalGate;

interface Named {
  /** Unique within the rollout. */
  readonly name: string;
}

/** What a gate that is judged per stage may have besides. */
interface OfStage extends Named {
  /** What a breach does, by its extent; absent: what is usual for its kind (src/core/gates/severity.ts). */
  readonly ladder?: Ladder;
}

export type Severity = 'low' | 'moderate' | 'high' | 'critical';

/**
 * What a breach does. `continue`: it is noted, and looked at within the time. `monitor` and `pause`: nothing new is offered until somebody has
 * decided; while it monitors, devices tell more. `rollBack`: devices return at once.
 */
export type BreachAction = 'continue' | 'monitor' | 'pause' | 'rollBack';

export interface Rung {
  /** From this many times the baseline on. */
  readonly from: number;
  readonly severity: Severity;
  readonly action: BreachAction;
  /** By when it has to be decided, or devices have to be back. */
  readonly withinMs: DurationMs;
}

/** In ascending order of `from`. */
export type Ladder = readonly Rung[];

/** A CEL expression over the signals of one device's latest report. */
export interface ExpressionGate extends Named {
  readonly kind: 'expression';
  readonly expression: string;
}

/** What is seen is held against this. */
export type Baseline =
  /** Known beforehand: incidents per device-hour, or a metric's mean. */
  | { readonly kind: 'known'; readonly value: number }
  /** The devices that the rollout has not reached, in the same hours. */
  | { readonly kind: 'control' }
  /** What the known-good attempt's outcome recorded of its own devices. */
  | { readonly kind: 'previous' };

/**
 * How it is decided. `sequential` bets (src/core/gates/e-process.ts) and may be looked at on every pass: what is up to `margin`
 * times the baseline halts with a probability of at most α. `threshold` halts as soon as more than `haltRatio` times the baseline
 * is seen, however little was seen.
 */
export type Method =
  | { readonly kind: 'sequential'; readonly margin: number }
  | {
      readonly kind: 'threshold';
      readonly haltRatio: number;
      /** It must be so in each of the last whole hours of this time; 0: over all that was seen. */
      readonly forMs: DurationMs;
    };

/** Incidents per device-hour: crashes, restarts, protocol errors. */
export interface EventGate extends OfStage {
  readonly kind: 'events';
  /** As reports name it under `events`. */
  readonly event: string;
  readonly against: Baseline;
  readonly method: Method;
}

/** The mean of a numeric signal: battery drain, latency, a sensor's drift. */
export interface MetricGate extends OfStage {
  readonly kind: 'metric';
  readonly signal: string;
  readonly against: Baseline;
  readonly method: Method;
  /** `higher`: more of it is worse. */
  readonly worse: 'higher' | 'lower';
  /** What one device may say; beyond it, it is cut off. */
  readonly range?: { readonly from: number; readonly to: number };
}

/** What share of a stage's devices: `failed` and `rolledBack` of those that tried, `silent` of those that were reached. */
export interface ShareGate extends OfStage {
  readonly kind: 'share';
  readonly of: 'failed' | 'rolledBack' | 'silent';
  readonly limit: /** Sequential: devices are trials, and this share of them may be so. 0 to 1, both excluded. */
    | { readonly kind: 'allowed'; readonly share: number }
    /** More than this share, 0 to 1. */
    | { readonly kind: 'above'; readonly share: number }
    /** The share of devices that are not so lies this much below that of the control arm: percentage points, or a share of it. */
    | { readonly kind: 'drop'; readonly points: number }
    | { readonly kind: 'drop'; readonly share: number };
  /** `silent`: how long nothing was heard of a device; absent: three poll intervals, an hour at least. */
  readonly afterMs?: DurationMs;
}

/** A number that others post to us: tickets, calls, complaints. */
export interface ObservationGate extends OfStage {
  readonly kind: 'observations';
  readonly metric: string;
  /** The sum over any window of this length since the stage opened. */
  readonly windowMs: DurationMs;
  readonly above: number;
}

/** A query that must give one number. */
export interface PrometheusGate extends OfStage {
  readonly kind: 'prometheus';
  readonly query: string;
  readonly limit: { readonly kind: 'above' | 'below'; readonly value: number };
  /** It must have been beyond the limit for so long, at every look. */
  readonly forMs: DurationMs;
  readonly everyMs: DurationMs;
}

/** Somebody else's judgement. */
export interface WebhookGate extends OfStage {
  readonly kind: 'webhook';
  readonly url: string;
  readonly everyMs: DurationMs;
}

/** People's judgement: the stage does not pass before so many have approved this gate. */
export interface ApprovalGate extends OfStage {
  readonly kind: 'approval';
  readonly count: number;
}

export function isExpression(gate: Gate): gate is ExpressionGate {
  return gate.kind === 'expression';
}

/** Gates whose evidence grows with what is seen and which share one α. */
export function isSequential(gate: Gate): boolean {
  if (gate.kind === 'events' || gate.kind === 'metric') return gate.method.kind === 'sequential';
  return gate.kind === 'share' && gate.limit.kind === 'allowed';
}
