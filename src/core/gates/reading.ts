/**
 * What the gates of a stage say now. Each gives a reading: a state, and a sentence why. Gates that bet share the rollout's α: they halt
 * together, when the mean of their evidence reaches 1/α, and the one that says most is named.
 */
import { type Gate, isExpression, isSequential, type ShareGate, type StageGate } from '../model/gate.ts';
import type { DurationMs, Instant } from '../model/time.ts';
import type { Evidence } from './evidence.ts';
import type { Exposure } from './exposure.ts';
import { type Previous, readMeasured, type Watch } from './measured.ts';
import { type ObservedMinute, readObservations, readPrometheus, readWebhook } from './outside.ts';
import type { Sample } from './probe.ts';
import { type DeviceShares, readShare } from './share.ts';
import { evidenceText, figure } from './words.ts';

export interface GateReading {
  readonly name: string;
  /** `missing`: it cannot say that all is well, so the stage does not pass; it does not halt either. */
  readonly state: 'holds' | 'halts' | 'missing';
  /** A sentence. */
  readonly because: string;
  /** How many times what it is held against was seen. */
  readonly ratio?: number;
  /** Natural logarithm of the e-value, of gates that bet. */
  readonly logEvidence?: number;
  /** It is certain that it is not twice as bad. */
  readonly certified?: boolean;
  readonly evidence?: Evidence;
  /** Devices that are so, of how many; and of untouched ones. */
  readonly counts?: readonly [number, number, number, number];
  /** Of those that are silent: for how long. */
  readonly afterMs?: DurationMs;
  readonly observations?: readonly (readonly [Instant, number])[];
  readonly samples?: readonly Sample[];
}

/** What is seen of one attempt and stage. */
export interface Seen {
  readonly now: Instant;
  /** The first minute of what was posted that counts. */
  readonly observedFrom: Instant;
  readonly alpha: number;
  readonly exposure: Exposure;
  readonly watch: Watch;
  /** By gate. */
  readonly previous: (gate: StageGate) => Previous;
  /** `afterMs`: how long nothing was heard of those who are silent, where the gate says. */
  readonly shares: (afterMs: DurationMs | undefined) => DeviceShares;
  readonly observations: (metric: string) => readonly ObservedMinute[];
  /** By gate. */
  readonly samples: (gate: StageGate) => readonly Sample[];
  /** Approvals given to the gate. */
  readonly approvals: (gate: StageGate) => number;
}

/** The readings of all gates but expressions, in their order. */
export function readGates(gates: readonly Gate[], seen: Seen): readonly GateReading[] {
  const ofStage = gates.filter((gate): gate is StageGate => !isExpression(gate));
  const bets = ofStage.filter(isSequential).length;
  const alpha = seen.alpha / Math.max(1, bets);
  return haltTogether(
    ofStage.map((gate) => readGate(gate, seen, alpha)),
    seen.alpha,
  );
}

function readGate(gate: StageGate, seen: Seen, alpha: number): GateReading {
  const { exposure, watch, now, observedFrom: from } = seen;
  switch (gate.kind) {
    case 'events':
    case 'metric':
      return readMeasured(gate, { exposure, watch, alpha, previous: seen.previous(gate) });
    case 'share':
      return readFurther(gate, seen.shares(gate.afterMs), watch, alpha);
    case 'observations':
      return readObservations(gate, seen.observations(gate.metric), { from, now });
    case 'prometheus':
      return readPrometheus(gate, seen.samples(gate), now);
    case 'webhook':
      return readWebhook(gate, seen.samples(gate), now);
    case 'approval': {
      const given = seen.approvals(gate);
      const state = given >= gate.count ? 'holds' : 'missing';
      return { name: gate.name, state, because: `${given} of ${gate.count} approvals given` };
    }
  }
}

/** Of devices that have been decided upon there is nothing more to say; and if nobody came after them, that is all there is. */
function readFurther(gate: ShareGate, shares: DeviceShares, watch: Watch, alpha: number): GateReading {
  const reading = readShare(gate, further(gate, shares, watch), alpha);
  if (reading.state !== 'missing' || watch.less[gate.name] === undefined) return reading;
  return { ...reading, state: 'holds', because: 'no further device has tried since it was decided upon' };
}

/** The devices beyond those that have been decided upon. */
function further(gate: ShareGate, shares: DeviceShares, { less }: Watch): DeviceShares {
  const [, bad = 0, all = 0] = less[gate.name] ?? [];
  if (gate.of === 'silent') return { ...shares, silent: Math.max(0, shares.silent - bad) };
  return {
    ...shares,
    [gate.of]: Math.max(0, shares[gate.of] - bad),
    attempted: Math.max(0, shares.attempted - all),
  };
}

/** Σ wₖEₖ ≥ 1/α with equal weights, by logarithms: an e-value may be beyond every number. */
export function haltTogether(readings: readonly GateReading[], alpha: number): readonly GateReading[] {
  const logs = readings.flatMap(({ logEvidence }) => (logEvidence === undefined ? [] : [logEvidence]));
  if (logs.length === 0) return readings;
  const most = Math.max(...logs);
  const sum = logs.reduce((total, log) => total + Math.exp(log - most), 0);
  const mean = most + Math.log(sum / logs.length);
  if (mean < -Math.log(alpha)) return readings;
  const strongest = readings.findIndex(({ logEvidence }) => logEvidence === most);
  const together =
    logs.length === 1
      ? ''
      : `; that of ${logs.length} gates together is ${evidenceText(mean)}, and halts at ${figure(1 / alpha)}`;
  return readings.map((reading, index) =>
    index === strongest ? { ...reading, state: 'halts', because: `${reading.because}${together}` } : reading,
  );
}
