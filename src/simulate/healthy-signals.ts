/**
 * What healthy devices report, guessed from the gates themselves: values for which every expression holds. They are looked for
 * among what the expressions compare with, and just beside it; an expression is judged by the code that judges it for devices.
 */
import { type CompiledGate, compiledGate } from '../core/gates/expression.ts';
import type { SignalValue } from '../core/model/device.ts';
import { formatDuration, parseDuration } from '../core/model/time.ts';

export type HealthySignals =
  | { readonly ok: true; readonly signals: Readonly<Record<string, SignalValue>> }
  /** No values were found for which this expression holds, beside those before it. */
  | { readonly ok: false; readonly expression: string; readonly signals: readonly string[] };

/** Values that are tried in vain before an expression is given up. */
const TRIES_MAX = 20_000;

/** `given`: values that are known; they are never changed. */
export function healthySignals(
  expressions: readonly string[],
  given: Readonly<Record<string, SignalValue>> = {},
): HealthySignals {
  const gates = [...new Set(expressions)].map(compiledGate);
  // Those with few signals settle what the others have left to choose.
  gates.sort((a, b) => a.signals.length - b.signals.length || (a.expression < b.expression ? -1 : 1));
  const values = gates.map(({ expression }) => valuesIn(expression));
  let tries = TRIES_MAX;
  let farthest = 0;

  function from(index: number, known: Readonly<Record<string, SignalValue>>): typeof known | undefined {
    const gate = gates[index];
    if (gate === undefined) return known;
    farthest = Math.max(farthest, index);
    for (const signals of ways(gate, known, values[index] ?? [])) {
      if (--tries < 0) return undefined;
      if (gate.evaluate(signals).kind !== 'holds') continue;
      const all = from(index + 1, signals);
      if (all !== undefined) return all;
    }
    return undefined;
  }

  const signals = from(0, given);
  if (signals !== undefined) return { ok: true, signals };
  const gate = gates[farthest];
  return { ok: false, expression: gate?.expression ?? '', signals: gate?.signals ?? [] };
}

/** Every choice of values for the gate's signals that are not known yet. */
function* ways(
  gate: CompiledGate,
  known: Readonly<Record<string, SignalValue>>,
  values: readonly SignalValue[],
): Generator<Readonly<Record<string, SignalValue>>> {
  const open = gate.signals.filter((signal) => !Object.hasOwn(known, signal));
  const chosen = open.map(() => 0);
  for (;;) {
    yield {
      ...known,
      ...Object.fromEntries(open.map((signal, at) => [signal, values[chosen[at] ?? 0] ?? true])),
    };
    // Counts up, the last signal first.
    let at = open.length - 1;
    while (at >= 0 && chosen[at] === values.length - 1) chosen[at--] = 0;
    if (at < 0) return;
    chosen[at] = (chosen[at] ?? 0) + 1;
  }
}

/** `10s`, `0.5`, `'ok'`: what a signal may be compared with. */
const LITERAL = /"([^"]*)"|'([^']*)'|\b([0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d|w)?)\b/g;

/** The plainest first: `true`, nothing wrong, then what stands in the expression and what lies beside it. */
function valuesIn(expression: string): readonly SignalValue[] {
  const values: SignalValue[] = [true, 0, '0s', false];
  for (const [, double, single, literal] of expression.matchAll(LITERAL)) {
    const text = double ?? single;
    if (text !== undefined) values.push(text);
    else if (literal !== undefined) {
      const duration = parseDuration(literal);
      const number = Number(literal);
      if (duration !== undefined) values.push(...around(duration).map(formatDuration));
      else if (Number.isFinite(number)) values.push(...around(number), number - 1, number + 1);
    }
  }
  values.push(1, '1s', 'ok');
  return [...new Set(values)];
}

function around(value: number): readonly number[] {
  return [value / 2, value, value * 2];
}
