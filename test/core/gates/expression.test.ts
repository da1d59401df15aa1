import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compiledGate,
  compileGate,
  GATE_LIMITS,
  type GateResult,
} from '../../../src/core/gates/expression.ts';
import type { SignalValue } from '../../../src/core/model/device.ts';
import { parseDuration } from '../../../src/core/model/time.ts';

type Signals = Readonly<Record<string, SignalValue>>;

const HOLDS: GateResult = { kind: 'holds' };
const FAILS: GateResult = { kind: 'fails' };

describe("BootCtrl's gates", () => {
  it('S5.5 health holds in exactly one of the four cases', () => {
    const gate = 'runtime_healthy && adapter_connected';
    check(gate, { runtime_healthy: true, adapter_connected: true }, HOLDS);
    check(gate, { runtime_healthy: true, adapter_connected: false }, FAILS);
    check(gate, { runtime_healthy: false, adapter_connected: true }, FAILS);
    check(gate, { runtime_healthy: false, adapter_connected: false }, FAILS);
  });

  it('S5.5 with || instead it holds in three of the four', () => {
    const gate = 'runtime_healthy || adapter_connected';
    check(gate, { runtime_healthy: true, adapter_connected: true }, HOLDS);
    check(gate, { runtime_healthy: true, adapter_connected: false }, HOLDS);
    check(gate, { runtime_healthy: false, adapter_connected: true }, HOLDS);
    check(gate, { runtime_healthy: false, adapter_connected: false }, FAILS);
  });

  it('S5.6 telemetry holds at 9.9 s without drops, and fails at 10 s or with one drop', () => {
    const gate = 'gap < 10s && drops == 0';
    check(gate, { gap: '9.9s', drops: 0 }, HOLDS);
    check(gate, { gap: '10s', drops: 0 }, FAILS);
    check(gate, { gap: '9.9s', drops: 1 }, FAILS);
  });

  it('S5.6 units are parsed, whatever the limit and however the device spells its duration', () => {
    const gate = 'gap <= 1h30m && drops < 3';
    check(gate, { gap: '90m', drops: 2 }, HOLDS);
    check(gate, { gap: '5400s', drops: 0.5 }, HOLDS);
    check(gate, { gap: '5400001ms', drops: 0 }, FAILS);
    check(gate, { gap: '1.5h', drops: 3 }, FAILS);
    check('gap < 9900ms', { gap: '9.9s' }, FAILS);
    check('gap < 9900ms', { gap: '9899ms' }, HOLDS);
    check('uptime > 2d', { uptime: '49h' }, HOLDS);
    check('uptime > 2d', { uptime: '2d' }, FAILS);
    check('gap < duration("10s")', { gap: '9.9s' }, HOLDS);
    check("gap + 1s < duration ( '10s' )", { gap: '9s' }, FAILS);
  });

  it('S5.7 a missing signal is not a passed gate', () => {
    check('acceptance_suite_passed', { acceptance_suite_passed: true }, HOLDS);
    check('acceptance_suite_passed', { acceptance_suite_passed: false }, FAILS);
    check('acceptance_suite_passed', {}, { kind: 'missing', signals: ['acceptance_suite_passed'] });
  });

  it('S5.7 a signal is missed even where && and || would not look at it', () => {
    check('a || b', { a: true }, { kind: 'missing', signals: ['b'] });
    check('a && b', { a: false }, { kind: 'missing', signals: ['b'] });
    check('a ? b : c', { a: true, b: true }, { kind: 'missing', signals: ['c'] });
    check('!a || b && c', { b: false }, { kind: 'missing', signals: ['a', 'c'] });
  });

  it('S5.7 names that every object inherits are missing unless they were reported', () => {
    for (const name of ['constructor', 'toString', '__proto__', 'valueOf']) {
      check(name, {}, { kind: 'missing', signals: [name] });
      check(name, JSON.parse(`{"${name}": true}`) as Signals, HOLDS);
    }
  });
});

describe('signals of the wrong kind never pass', () => {
  it('a number is not a duration, and the error says which signal and what was expected', () => {
    fault('gap < 10s', { gap: 3 }, 'gap', 'a duration such as "3.2s"', 'the number 3');
    fault('gap < 10s', { gap: 'soon' }, 'gap', 'a duration', 'the text "soon"');
    fault('gap < 10s', { gap: true }, 'gap', 'a duration', 'the boolean true');
    fault('drops == 0', { drops: '0' }, 'drops', 'a number', 'the text "0"');
    fault('healthy', { healthy: 'true' }, 'healthy', 'true or false');
    fault('healthy', { healthy: 1 }, 'healthy', 'true or false', 'the number 1');
  });

  it('not even where || would not have looked at them', () => {
    fault('healthy || gap < 10s', { healthy: true, gap: 3 }, 'gap');
    fault('gap < 10s || healthy', { healthy: true, gap: 3 }, 'gap');
    fault('!(gap > 10s)', { gap: 3 }, 'gap');
    fault('gap != 10s', { gap: 3 }, 'gap');
  });

  it('NaN and infinities are errors, reported or computed', () => {
    for (const drops of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      fault('drops != 1', { drops }, 'drops', 'a number', String(drops));
    }
    fault('errors / requests != 1', { errors: 0, requests: 0 }, 'not a finite number');
    fault('!(errors / requests > 0.1)', { errors: 5, requests: 0 }, 'not a finite number');
    fault('a * a > 1', { a: 1e200 }, 'not a finite number');
    check('requests == 0 || errors / requests < 0.1', { errors: 0, requests: 0 }, HOLDS);
  });

  it('two signals must be of one kind', () => {
    check('gap < limit', { gap: '9s', limit: '10s' }, HOLDS);
    check('gap < limit', { gap: 11, limit: 10 }, FAILS);
    fault(
      'gap < limit',
      { gap: '9s', limit: 10 },
      'duration < number',
      'gap is a duration',
      'limit is a number',
    );
    fault('gap < limit', { gap: '9s', limit: 'soon' }, 'duration < text');
  });

  it('what no type has is an error as well', () => {
    const reported = { drops: Object.create(null) } as Signals;
    fault('drops == 0', reported, 'drops', 'a value of type object');
  });
});

describe('expressions', () => {
  it('numbers are numbers, whole or not', () => {
    check('errors / requests < 1 / 100', { errors: 9, requests: 1000 }, HOLDS);
    check('errors / requests < 1 / 100', { errors: 10, requests: 1000 }, FAILS);
    check('drops + 1 <= 2.5 && -drops < 0', { drops: 1.5 }, HOLDS);
    check('drops % 2 == 1', { drops: 3 }, HOLDS);
    check('drops in [0, 1.5e0, 0x10]', { drops: 16 }, HOLDS);
    check('drops in [0, 1.5e0, 0x10]', { drops: 1 }, FAILS);
    check('temperature > -1e-3', { temperature: 0 }, HOLDS);
  });

  it('a text that looks like a duration stays a text where it is compared with texts', () => {
    check('mode == "10s"', { mode: '10s' }, HOLDS);
    check('mode == "10s"', { mode: '10000ms' }, FAILS);
    check('mode == 10s', { mode: '10000ms' }, HOLDS);
    check('version.startsWith("2.") && !version.contains(\'-rc\')', { version: '2.6.0' }, HOLDS);
    check('version.startsWith("2.") && !version.contains(\'-rc\')', { version: '2.6.0-rc1' }, FAILS);
    check('slot in ["a", "b"]', { slot: 'b' }, HOLDS);
  });

  it('texts and comments are left as they are', () => {
    check('mode == "gap < 10s"', { mode: 'gap < 10s' }, HOLDS);
    check("mode == 'it\\'s 5s'", { mode: "it's 5s" }, HOLDS);
    check('mode == r"\\d 5s" // drops < 10s', { mode: '\\d 5s' }, HOLDS);
    check('mode == """a "5s" b"""', { mode: 'a "5s" b' }, HOLDS);
  });

  it('names its signals in order, each once, dotted names in one piece', () => {
    const gate = compiledGate(
      'battery.level > 20 && (gap < 10s || battery.level > 90) && mode.endsWith("x")',
    );
    expect(gate.signals).toEqual(['battery.level', 'gap', 'mode']);
    check('battery.level > 20', { 'battery.level': 21 }, HOLDS);
    check('battery.level > 20', { battery: 21 }, { kind: 'missing', signals: ['battery.level'] });
  });

  it("names that CEL keeps for itself are signals too, and cannot be mistaken for CEL's own", () => {
    check('int < 3 && cel && package', { int: 2, cel: true, package: true }, HOLDS);
    check('signal1 && constant0 && signal0 == 0', { signal0: 0, signal1: true, constant0: true }, HOLDS);
  });

  it('the same expression is compiled once', () => {
    expect(compiledGate('drops == 0')).toBe(compiledGate('drops == 0'));
    expect(() => compiledGate('1 + 1')).toThrow(/should have been validated: column 1.*true or false/);
  });
});

describe('mistakes are refused when the gate is compiled, with their place in what was written', () => {
  it('what is not true or false', () => {
    refuse('1 + 1', 0, 'true or false', 'number');
    refuse('10s', 0, 'true or false', 'duration');
    refuse('"x"', 0, 'true or false', 'text');
    refuse('drops + 1', 0, 'true or false');
  });

  it('kinds that never fit', () => {
    refuse('1 < 2s', 0, 'number < duration');
    refuse('ok && 1h == "1h"', 6, 'duration == text');
    refuse('gap < 10s && gap < 10', 0, 'no value of gap');
    refuse('ok && (late ? 1 : on)', 18, 'no value of on');
  });

  it('syntax, behind literals that grow and shrink in translation', () => {
    refuse('gap < 10s && drops ==', 21, 'column 22', 'the end');
    refuse('a.very.long.name < 1w && @', 25, 'Unexpected character');
    refuse('(gap < duration("1h30m") && ok', 30, 'the end');
    refuse('', 0, 'the end');
    refuse('mode == "open', 8, 'Unterminated');
    refuse('mode == "\\q"', 9, 'escape');
    refuse('gap < 10s &&\n  drops ** 2', 22, 'Unexpected token: "*"');
  });

  it('numbers with a wrong unit', () => {
    refuse('gap < 10sec', 6, '"10sec"', '10s, 9900ms, 1h30m or 2d');
    refuse('gap < 10 s', 9);
    refuse('gap < 10us', 6, '"10us"');
    refuse('gap < duration("soon")', 6, '"soon"');
    refuse('drops < 1e999', 8);
  });

  it('functions, macros and structures', () => {
    refuse('[1, 2].exists(x, x == drops)', 7, 'found exists');
    refuse('has(a.b)', 0, 'found has');
    refuse('a.b.matches("(x+)+$")', 4, 'found matches');
    refuse('size(mode) > 3', 0, 'found size');
    refuse('(a).b < 3', 1, 'battery.level');
    refuse('a["x"]', 0, 'battery.level');
    refuse('{"a": 1} == a', 0, 'battery.level');
  });

  it('bounds length, depth, size and the number of signals', () => {
    const spaced = (length: number) => `ok${' '.repeat(length - 2)}`;
    expect(compileGate(spaced(GATE_LIMITS.length)).ok).toBe(true);
    refuse(spaced(1025), 1024, 'at most 1024 characters, found 1025');
    const nested = (depth: number) => `${'('.repeat(depth)}ok${')'.repeat(depth)}`;
    expect(compileGate(nested(31)).ok).toBe(true);
    refuse(nested(32), 32, 'maxDepth');
    expect(compileGate(`${'!'.repeat(511)}ok`).ok).toBe(true);
    refuse(`${'!'.repeat(512)}ok`, 0, 'maxAstNodes');
    const many = (count: number) => Array.from({ length: count }, (_, index) => `s${index}`).join('&&');
    expect(compileGate(many(64)).ok).toBe(true);
    refuse(many(65), many(64).length + 2, 'at most 64 signals');
  });
});

describe('promises', () => {
  const names = ['a', 'b.c', 'constructor'];
  const literals = ['0', '1.5', '10s', '"x"', "'10s'", 'true'];
  const value: fc.Arbitrary<SignalValue> = fc.oneof(
    fc.boolean(),
    fc.double(),
    fc.string(),
    fc.constantFrom('10s', 'x', '1h'),
  );
  const piece = fc.constantFrom(
    ...names,
    ...literals,
    '&&',
    '||',
    '!',
    '(',
    ')',
    '<',
    '==',
    '!=',
    '+',
    '/',
    '-',
    'in',
    '[',
    ']',
    ',',
    '?',
    ':',
    '.',
  );

  it('never throws, whatever it is given, and points into it', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(' ')),
        ),
        fc.dictionary(fc.constantFrom(...names), value),
        (expression, signals) => {
          const result = compileGate(expression);
          if (result.ok) {
            expect(['holds', 'fails', 'missing', 'error']).toContain(result.gate.evaluate(signals).kind);
          } else {
            expect(result.offset).toBeGreaterThanOrEqual(0);
            expect(result.offset).toBeLessThanOrEqual(expression.length);
            expect(result.message).toContain(`column ${result.offset + 1}`);
          }
        },
      ),
    );
  });

  it('a gate holds only if every signal it names was reported', () => {
    const clause = fc
      .tuple(
        fc.constantFrom(...names),
        fc.constantFrom('', ' == true', ' || true', ' && false', ' < 1', ' < 10s'),
      )
      .map(([name, rest]) => `(${name}${rest})`);
    const gate = fc
      .tuple(clause, clause, fc.constantFrom('&&', '||'))
      .map(([a, b, operator]) => `${a} ${operator} ${b}`);
    fc.assert(
      fc.property(gate, fc.dictionary(fc.constantFrom(...names), value), (expression, signals) => {
        const result = compileGate(expression);
        if (!result.ok) return;
        const missing = result.gate.signals.filter((name) => !Object.hasOwn(signals, name));
        const outcome = result.gate.evaluate(signals);
        if (missing.length > 0) expect(outcome).toEqual({ kind: 'missing', signals: missing });
        else expect(outcome.kind).not.toBe('missing');
      }),
    );
  });

  it('durations compare by their length, not by their spelling', () => {
    const duration = fc
      .tuple(fc.nat(100_000), fc.constantFrom('ms', 's', 'm', 'h', 'd'))
      .map(([n, unit]) => `${n}${unit}`);
    fc.assert(
      fc.property(duration, duration, (reported, limit) => {
        const [length, bound] = [parseDuration(reported) ?? Number.NaN, parseDuration(limit) ?? Number.NaN];
        check(`gap < ${limit}`, { gap: reported }, length < bound ? HOLDS : FAILS);
        check(`gap == ${limit}`, { gap: reported }, length === bound ? HOLDS : FAILS);
      }),
    );
  });
});

function check(expression: string, signals: Signals, expected: GateResult): void {
  const result = compileGate(expression);
  if (!result.ok) throw new Error(`${expression}: ${result.message}`);
  expect(result.gate.evaluate(signals), `${expression} of ${JSON.stringify(signals)}`).toEqual(expected);
}

function fault(expression: string, signals: Signals, ...said: readonly string[]): void {
  const result = compiledGate(expression).evaluate(signals);
  if (result.kind !== 'error') throw new Error(`should be an error, found ${result.kind}: ${expression}`);
  for (const part of said) expect(result.message).toContain(part);
}

function refuse(expression: string, offset: number, ...said: readonly string[]): void {
  const result = compileGate(expression);
  if (result.ok) throw new Error(`should have been refused: ${expression}`);
  expect(result.offset, `${expression}: ${result.message}`).toBe(offset);
  for (const part of said) expect(result.message).toContain(part);
}
