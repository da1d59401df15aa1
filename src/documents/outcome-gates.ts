/** Gates and what they saw, as they lie in an outcome: durations and instants as text, everything else as it is. */
import type { Row } from '../core/gates/exposure.ts';
import type { Sample } from '../core/gates/probe.ts';
import type { ExpressionGate, Gate, StageGate } from '../core/model/gate.ts';
import type { Breach, Concern, GateVerdict, StageGateVerdict, StageOutcome } from '../core/model/outcome.ts';
import { type Instant, parseDuration } from '../core/model/time.ts';
import { readDuration, readInstant, writeDuration, writeInstant } from './outcome-values.ts';

/** An expression has no kind: it is what outcomes had before there were others. */
type GateDocument =
  | Omit<ExpressionGate, 'kind'>
  | { readonly name: string; readonly kind: StageGate['kind'] };

export function gateToDocument(gate: Gate): GateDocument {
  if (gate.kind === 'expression') return { name: gate.name, expression: gate.expression };
  return withText(gate) as GateDocument;
}

export function gateFromDocument(document: GateDocument): Gate {
  if (!('kind' in document)) return { ...document, kind: 'expression' };
  return withDurations(document) as Gate;
}

/** `forMs: 7200000` becomes `for: 2h`, however deep. */
function withText(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withText);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) =>
      key.endsWith('Ms') ? [key.slice(0, -2), writeDuration(each)] : [key, withText(each)],
    ),
  );
}

const DURATIONS: ReadonlySet<string> = new Set(['for', 'window', 'every', 'after', 'within']);

function withDurations(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withDurations);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) =>
      DURATIONS.has(key) && typeof each === 'string' && parseDuration(each) !== undefined
        ? [`${key}Ms`, readDuration(each)]
        : [key, withDurations(each)],
    ),
  );
}

type RowDocument = readonly [string, number, number, number, number];

function rowToDocument([at, ...amounts]: Row): RowDocument {
  return [writeInstant(at), ...amounts];
}

function rowFromDocument([at, ...amounts]: RowDocument): Row {
  return [readInstant(at), ...amounts];
}

type VerdictDocument =
  | Exclude<GateVerdict, StageGateVerdict>
  | (Omit<StageGateVerdict, 'rows' | 'before' | 'afterMs' | 'observations' | 'samples'> & {
      readonly after?: string;
      readonly rows?: readonly RowDocument[];
      readonly before?: readonly RowDocument[];
      readonly observations?: readonly (readonly [string, number])[];
      readonly samples?: readonly (Omit<Sample, 'at'> & { readonly at: string })[];
    });

export function verdictToDocument(verdict: GateVerdict): VerdictDocument {
  if (!('state' in verdict)) return verdict;
  const { rows, before, afterMs, observations, samples, ...unchanged } = verdict;
  return {
    ...unchanged,
    ...(afterMs === undefined ? {} : { after: writeDuration(afterMs) }),
    ...(rows === undefined ? {} : { rows: rows.map(rowToDocument) }),
    ...(before === undefined ? {} : { before: before.map(rowToDocument) }),
    ...(observations === undefined
      ? {}
      : { observations: observations.map(([at, sum]) => [writeInstant(at), sum] as const) }),
    ...(samples === undefined
      ? {}
      : { samples: samples.map(({ at, ...said }) => ({ at: writeInstant(at), ...said })) }),
  };
}

export function verdictFromDocument(document: VerdictDocument): GateVerdict {
  if (!('state' in document)) return document;
  const { rows, before, after, observations, samples, ...unchanged } = document;
  return {
    ...unchanged,
    ...(after === undefined ? {} : { afterMs: readDuration(after) }),
    ...(rows === undefined ? {} : { rows: rows.map(rowFromDocument) }),
    ...(before === undefined ? {} : { before: before.map(rowFromDocument) }),
    ...(observations === undefined
      ? {}
      : { observations: observations.map(([at, sum]) => [readInstant(at), sum] as const) }),
    ...(samples === undefined
      ? {}
      : { samples: samples.map(({ at, ...said }) => ({ at: readInstant(at), ...said }) as Sample) }),
  };
}

type Watch = NonNullable<StageOutcome['watch']>;

export function watchToDocument({ sinceAt, hourAt, less }: Watch) {
  return { sinceAt: writeInstant(sinceAt), hourAt: writeInstant(hourAt), less: mapped(less, rowToDocument) };
}

export function watchFromDocument({ sinceAt, hourAt, less }: ReturnType<typeof watchToDocument>): Watch {
  return { sinceAt: readInstant(sinceAt), hourAt: readInstant(hourAt), less: mapped(less, rowFromDocument) };
}

function mapped<A, B>(record: Readonly<Record<string, A>>, of: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, of(value)]));
}

export function breachToDocument({ at, decideBy, ...unchanged }: Breach) {
  return { ...unchanged, at: writeInstant(at), ...optional('decideBy', decideBy, writeInstant) };
}

export function breachFromDocument({
  at,
  decideBy,
  ...unchanged
}: ReturnType<typeof breachToDocument>): Breach {
  return { ...unchanged, at: readInstant(at), ...optional('decideBy', decideBy, readInstant) };
}

function optional<Key extends string, A, B>(
  key: Key,
  value: A | undefined,
  of: (value: A) => B,
): { [K in Key]?: B } {
  return (value === undefined ? {} : { [key]: of(value) }) as { [K in Key]?: B };
}

export function concernToDocument({ at, reviewBy, ...unchanged }: Concern) {
  return { ...unchanged, at: writeInstant(at), reviewBy: writeInstant(reviewBy) };
}

export function concernFromDocument({
  at,
  reviewBy,
  ...unchanged
}: ReturnType<typeof concernToDocument>): Concern {
  return { ...unchanged, at: readInstant(at), reviewBy: readInstant(reviewBy as string) as Instant };
}
