/**
 * Gate expressions: CEL over the signals of one device's latest report, with duration literals (`gap < 10s`).
 *
 * A gate must never pass for want of knowledge, so it is stricter than CEL in three ways: every signal it names must
 * be there, even where && or || would not look at it; every signal must be of a kind that fits, wherever it stands;
 * and what is not a number never compares as one. There are no macros, conversions or regular expressions: what a
 * gate costs is bounded by its length.
 *
 * An expression is first translated: each signal, number and duration becomes an identifier of its own, so that CEL
 * sees typed variables and no name can be mistaken for one of CEL's. It is then type-checked for the kinds of values
 * that a report holds, once per combination of kinds.
 *
 * Statistical gates are not here.
 */
import type { ASTNode, ParseResult } from '@marcbachmann/cel-js';
import { Duration, Environment } from '@marcbachmann/cel-js/evaluator';
import { LRUCache } from 'lru-cache';
import type { SignalValue } from '../model/device.ts';
import { type DurationMs, parseDuration, SECOND } from '../model/time.ts';
import { catchMistake, Mistake, type Mistaken, remember } from '../source-text.ts';

export interface CompiledGate {
  readonly expression: string;
  /** The signals that it names, in order of appearance. A dotted name is one signal: `battery.level`. */
  readonly signals: readonly string[];
  /** Never throws. */
  evaluate(signals: Signals): GateResult;
}

/** Of one report: never changed once it is there. */
type Signals = Readonly<Record<string, SignalValue>>;

export type GateResult =
  | { readonly kind: 'holds' }
  | { readonly kind: 'fails' }
  | { readonly kind: 'missing'; readonly signals: readonly string[] }
  | { readonly kind: 'error'; readonly message: string };

export type GateCompilation = { readonly ok: true; readonly gate: CompiledGate } | Mistaken;

/** Bounds on what one gate may cost. A report has no more signals than this either. */
export const GATE_LIMITS = { length: 1024, signals: 64, nodes: 512, depth: 32 } as const;

/** Every expected error is returned; nothing is thrown. */
export const compileGate = remember((expression: string): GateCompilation => {
  if (expression.length > GATE_LIMITS.length) {
    const message = `a gate has at most ${GATE_LIMITS.length} characters, found ${expression.length}; split it into several gates`;
    return { ok: false, message, offset: GATE_LIMITS.length };
  }
  return catchMistake(() => ({ ok: true, gate: compile(expression) }));
});

/** The gate of an expression that was validated before: an invalid one is a bug, and throws. */
export function compiledGate(expression: string): CompiledGate {
  const result = compileGate(expression);
  if (result.ok) return result.gate;
  throw new Error(`gate should have been validated: ${result.message}; found ${JSON.stringify(expression)}`);
}

function compile(expression: string): CompiledGate {
  const translation = translate(expression);
  const anyKind = check(translation, []);
  if (!anyKind.ok) throw new Mistake(originalOffset(translation, anyKind.offset), anyKind.message);
  refuseStructures(translation, anyKind.run.ast);

  const signals = [...translation.signals.keys()];
  const variables = signals.map((signal, index) => {
    return { signal, name: variable(index), fits: acceptedKinds(translation, signal, index) };
  });
  const programs = new LRUCache<string, Checked>({ max: 32 });
  /** Most devices report the same kinds as the one before. */
  let lastKinds: { readonly kinds: readonly Kind[]; readonly program: Checked } | undefined;
  const programFor = (kinds: readonly Kind[]): Checked => {
    if (lastKinds?.kinds.every((kind, index) => kind === kinds[index])) return lastKinds.program;
    const key = kinds.join();
    const program = programs.get(key) ?? check(translation, kinds);
    programs.set(key, program);
    lastKinds = { kinds, program };
    return program;
  };

  const evaluate = (reported: Signals): GateResult => {
    if (!signals.every((signal) => Object.hasOwn(reported, signal))) {
      return { kind: 'missing', signals: signals.filter((signal) => !Object.hasOwn(reported, signal)) };
    }

    const kinds: Kind[] = [];
    const values: Record<string, unknown> = {};
    for (const { signal, name, fits } of variables) {
      const value = reported[signal];
      const reading = read(value, fits);
      if (reading === undefined) return { kind: 'error', message: unfit(signal, value, fits) };
      kinds.push(reading.kind);
      values[name] = reading.value;
    }
    const program = programFor(kinds);
    if (!program.ok) return { kind: 'error', message: `${program.message} (${listKinds(signals, kinds)})` };
    return run(program.run, values);
  };

  // A report is judged for each rollout and stage that the device is in, one after another and by the same gates.
  let last: { readonly reported: Signals; readonly result: GateResult } | undefined;
  return {
    expression,
    signals,
    evaluate(reported) {
      if (last?.reported !== reported) last = { reported, result: evaluate(reported) };
      return last.result;
    },
  };
}

/** Signals are single values: what looks into one is a mistake, and CEL would find it only while evaluating. */
function refuseStructures(translation: Translation, node: unknown): void {
  if (Array.isArray(node)) for (const part of node) refuseStructures(translation, part);
  if (!isNode(node)) return;
  if (node.op === '.' || node.op === '[]' || node.op === 'map') {
    throw new Mistake(
      originalOffset(translation, node.start),
      'gates have no maps, fields or indexes; write a dotted signal in one piece, as in battery.level',
    );
  }
  refuseStructures(translation, node.args);
}

function isNode(value: unknown): value is ASTNode {
  return typeof value === 'object' && value !== null && 'op' in value;
}

function run(program: ParseResult, values: Record<string, unknown>): GateResult {
  try {
    const result = program(values);
    if (typeof result === 'boolean') return { kind: result ? 'holds' : 'fails' };
    return {
      kind: 'error',
      message: `a gate must be true or false, found ${typeof result}; compare it with something`,
    };
  } catch (error) {
    return { kind: 'error', message: summaryOf(error) };
  }
}

// Kinds of values. CEL tells int from double and neither compares with the other in every position; to a device both
// are JSON numbers. So gates have a number type of their own, whose arithmetic refuses what is not finite.

type Kind = 'boolean' | 'number' | 'text' | 'duration';

const KINDS: Readonly<Record<Kind, { readonly celType: string; readonly expected: string }>> = {
  boolean: { celType: 'bool', expected: 'true or false' },
  number: { celType: 'number', expected: 'a number' },
  text: { celType: 'string', expected: 'a text' },
  duration: { celType: 'google.protobuf.Duration', expected: 'a duration such as "3.2s"' },
};
const ALL_KINDS: readonly Kind[] = ['boolean', 'number', 'text', 'duration'];

class Numeric {
  readonly value: number;
  constructor(value: number) {
    if (!Number.isFinite(value)) throw new Error('the result is not a finite number (a division by zero?)');
    this.value = value;
  }
}

const base = new Environment({
  limits: {
    maxAstNodes: GATE_LIMITS.nodes,
    maxDepth: GATE_LIMITS.depth,
    maxListElements: 64,
    maxCallArguments: 1,
  },
})
  .registerType('number', Numeric)
  .registerOperator('-number: number', (a: Numeric) => new Numeric(-a.value))
  .registerOperator('number + number: number', (a: Numeric, b: Numeric) => new Numeric(a.value + b.value))
  .registerOperator('number - number: number', (a: Numeric, b: Numeric) => new Numeric(a.value - b.value))
  .registerOperator('number * number: number', (a: Numeric, b: Numeric) => new Numeric(a.value * b.value))
  .registerOperator('number / number: number', (a: Numeric, b: Numeric) => new Numeric(a.value / b.value))
  .registerOperator('number % number: number', (a: Numeric, b: Numeric) => new Numeric(a.value % b.value))
  .registerOperator('number == number', (a: Numeric, b: Numeric) => a.value === b.value)
  .registerOperator('number < number', (a: Numeric, b: Numeric) => a.value < b.value)
  .registerOperator('number <= number', (a: Numeric, b: Numeric) => a.value <= b.value)
  .registerOperator('number > number', (a: Numeric, b: Numeric) => a.value > b.value)
  .registerOperator('number >= number', (a: Numeric, b: Numeric) => a.value >= b.value);

function celDuration(duration: DurationMs): Duration {
  return new Duration(Math.floor(duration / SECOND), (duration % SECOND) * 1_000_000);
}

/**
 * A reported value as CEL gets it, or undefined where it is of no kind that fits. A text that is a duration is one
 * where the gate treats the signal as one; where it compares it with texts, it stays a text.
 */
function read(
  value: SignalValue | undefined,
  fits: readonly Kind[],
): { kind: Kind; value: unknown } | undefined {
  if (typeof value === 'boolean' && fits.includes('boolean')) return { kind: 'boolean', value };
  if (typeof value === 'number' && Number.isFinite(value) && fits.includes('number')) {
    return { kind: 'number', value: new Numeric(value) };
  }
  if (typeof value === 'string') {
    const duration = fits.includes('duration') ? parseDuration(value) : undefined;
    if (duration !== undefined) return { kind: 'duration', value: celDuration(duration) };
    if (fits.includes('text')) return { kind: 'text', value };
  }
  return undefined;
}

function unfit(signal: string, value: unknown, fits: readonly Kind[]): string {
  const expected = fits.map((kind) => KINDS[kind].expected).join(' or ');
  const found =
    typeof value === 'string' ? `the text ${JSON.stringify(value.slice(0, 40))}` : describe(value);
  return `${signal}: expected ${expected}, found ${found}; change what devices report or what the gate expects`;
}

function describe(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return `the ${typeof value} ${value}`;
  return `a value of type ${typeof value}`;
}

function listKinds(signals: readonly string[], kinds: readonly Kind[]): string {
  return signals.map((signal, index) => `${signal} is a ${kinds[index]}`).join(', ');
}

/** The kinds that a signal may have with the others left open. None: the expression contradicts itself. */
function acceptedKinds(translation: Translation, signal: string, index: number): readonly Kind[] {
  const others: (Kind | undefined)[] = [...translation.signals].map(() => undefined);
  const accepted = ALL_KINDS.filter((kind) => check(translation, others.with(index, kind)).ok);
  if (accepted.length > 0) return accepted;
  throw new Mistake(
    translation.signals.get(signal) ?? 0,
    `no value of ${signal} fits every place that it has; use it as one kind only: true or false, number, text or duration`,
  );
}

type Checked =
  | { readonly ok: true; readonly run: ParseResult }
  /** The offset is one of the translated text. */
  | { readonly ok: false; readonly message: string; readonly offset: number };

/** Type-checks the expression for these kinds of its signals. An undefined one is left open. */
function check({ cel, signals, constants }: Translation, kinds: readonly (Kind | undefined)[]): Checked {
  const environment = constants.clone();
  for (const index of [...signals.keys()].keys()) {
    const kind = kinds[index];
    environment.registerVariable(variable(index), kind === undefined ? 'dyn' : KINDS[kind].celType);
  }
  try {
    const program = environment.parse(cel);
    const { valid, type, error } = program.check();
    if (!valid) return { ok: false, message: summaryOf(error), offset: offsetOf(error) };
    if (type === 'bool' || type === 'dyn') return { ok: true, run: program };
    const message = `a gate must be true or false, found a ${inOurWords(type ?? 'value')}; compare it with something, as in gap < 10s`;
    return { ok: false, message, offset: 0 };
  } catch (error) {
    return { ok: false, message: summaryOf(error), offset: offsetOf(error) };
  }
}

/** The first line of CEL's message; the lines after it quote the translated text. */
function summaryOf(error: unknown): string {
  const [summary = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
  return inOurWords(summary.replace('no such overload: ', 'gates know no '));
}

function offsetOf(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('range' in error)) return 0;
  const { range } = error as { readonly range?: { readonly start: number } };
  return range?.start ?? 0;
}

function inOurWords(celText: string): string {
  const text = celText.replace(/\b[A-Z]{2,}\b/g, (token) => TOKENS.get(token) ?? token);
  return ALL_KINDS.reduce((known, kind) => known.replaceAll(KINDS[kind].celType, kind), text);
}

/** CEL's parser names tokens; people know them by their looks. */
const TOKENS: ReadonlyMap<string, string> = new Map([
  ['EOF', 'the end'],
  ['IDENTIFIER', 'a name'],
  ['NUMBER', 'a number'],
  ['STRING', 'a text'],
  ['LPAREN', '"("'],
  ['RPAREN', '")"'],
  ['LBRACKET', '"["'],
  ['RBRACKET', '"]"'],
  ['RBRACE', '"}"'],
  ['DOT', '"."'],
  ['COMMA', '","'],
  ['COLON', '":"'],
  ['QUESTION', '"?"'],
  ['PLUS', '"+"'],
  ['MULTIPLY', '"*"'],
  ['DIVIDE', '"/"'],
  ['MODULO', '"%"'],
  ['EQ', '"=="'],
  ['NE', '"!="'],
  ['LT', '"<"'],
  ['LE', '"<="'],
  ['GT', '">"'],
  ['GE', '">="'],
  ['AND', '"&&"'],
  ['OR', '"||"'],
  ['IN', '"in"'],
]);

interface Translation {
  readonly cel: string;
  /** Each signal's first offset in the expression, in order of appearance. */
  readonly signals: ReadonlyMap<string, number>;
  /** Knows the number and duration literals. */
  readonly constants: Environment;
  /** Where each token stands in `cel` and in the expression. */
  readonly tokens: readonly {
    readonly celOffset: number;
    readonly offset: number;
    readonly length: number;
  }[];
}

const TEXT =
  /[bBrR]?(?:"""(?:\\.|[^\\])*?"""|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')/sy;
const COMMENT = /\/\/[^\n]*/y;
/** CEL's own way to write a duration. */
const DURATION_CALL = /duration\s*\(\s*(?:"([^"]*)"|'([^']*)')\s*\)/y;
const CALL = /([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\.|)([A-Za-z_]\w*)(\s*\()/y;
const NAME = /[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*/y;
/** Anything that begins like a number, so that `10sec` is one mistake and not a number beside a signal. */
const LITERAL = /[0-9](?:\w|\.[0-9]|(?<=[eE])[+-](?=[0-9]))*/y;
const NUMBER = /^(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$/;

const KEYWORDS: ReadonlySet<string> = new Set(['true', 'false', 'null', 'in']);
const METHODS: ReadonlySet<string> = new Set(['startsWith', 'endsWith', 'contains']);

function translate(expression: string): Translation {
  let cel = '';
  let at = 0;
  const tokens: { celOffset: number; offset: number; length: number }[] = [];
  const signals = new Map<string, number>();
  const constants = base.clone();
  let constantCount = 0;

  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(expression);
  };
  const put = (length: number, translated: string): void => {
    tokens.push({ celOffset: cel.length, offset: at, length });
    cel += translated;
    at += length;
  };
  const putConstant = (length: number, type: string, value: unknown): void => {
    const name = `constant${constantCount++}`;
    constants.registerConstant(name, type, value);
    put(length, name);
  };
  const putDuration = (length: number, text: string): void => {
    const duration = parseDuration(text);
    if (duration === undefined) {
      throw new Mistake(
        at,
        `expected a number or a duration, found ${JSON.stringify(text)}; durations are written 10s, 9900ms, 1h30m or 2d`,
      );
    }
    putConstant(length, KINDS.duration.celType, celDuration(duration));
  };
  const putSignal = (name: string): void => {
    if (!signals.has(name)) signals.set(name, at);
    if (signals.size > GATE_LIMITS.signals) {
      throw new Mistake(
        at,
        `a gate names at most ${GATE_LIMITS.signals} signals; split it into several gates`,
      );
    }
    put(name.length, variable([...signals.keys()].indexOf(name)));
  };

  while (at < expression.length) {
    const verbatim = take(TEXT) ?? take(COMMENT);
    const durationCall = take(DURATION_CALL);
    const call = take(CALL);
    const [name] = take(NAME) ?? [];
    const [literal] = take(LITERAL) ?? [];
    if (verbatim !== null) put(verbatim[0].length, verbatim[0]);
    else if (durationCall !== null)
      putDuration(durationCall[0].length, durationCall[1] ?? durationCall[2] ?? '');
    else if (call !== null) {
      const [, receiver = '', method = '', parenthesis = ''] = call;
      if (receiver !== '') putSignal(receiver.slice(0, -1));
      if (receiver !== '') put(1, '.');
      // After a keyword the parenthesis opens a group: `x in (y)`.
      if (!METHODS.has(method) && !KEYWORDS.has(method)) {
        throw new Mistake(
          at,
          `gates have only the functions startsWith, endsWith and contains, found ${method}; report a signal that says what you want to know`,
        );
      }
      put(method.length + parenthesis.length, method + parenthesis);
    } else if (name !== undefined && KEYWORDS.has(name)) put(name.length, name);
    else if (name !== undefined) putSignal(name);
    else if (literal !== undefined && NUMBER.test(literal) && Number.isFinite(Number(literal))) {
      putConstant(literal.length, KINDS.number.celType, new Numeric(Number(literal)));
    } else if (literal !== undefined) putDuration(literal.length, literal);
    else put(1, expression.charAt(at));
  }
  put(0, '');
  return { cel, signals, constants, tokens };
}

function variable(index: number): string {
  return `signal${index}`;
}

/** The offset in the expression of an offset in its translation. */
function originalOffset({ tokens }: Translation, celOffset: number): number {
  const token = tokens.findLast((candidate) => candidate.celOffset <= celOffset);
  if (token === undefined) return 0;
  return token.offset + Math.min(celOffset - token.celOffset, token.length);
}
