/** Values for which gates hold. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compiledGate } from '../../src/core/gates/expression.ts';
import { healthySignals } from '../../src/simulate/healthy-signals.ts';

function check(...expressions: readonly string[]): void {
  const healthy = healthySignals(expressions);
  expect(healthy.ok).toBe(true);
  if (!healthy.ok) return;
  for (const expression of expressions) {
    expect([expression, compiledGate(expression).evaluate(healthy.signals)]).toEqual([
      expression,
      { kind: 'holds' },
    ]);
  }
}

test('all gates of the example hold with one set of values', () => {
  check(
    'runtime_healthy && adapter_connected',
    'gap < 10s && drops == 0',
    'acceptance_suite_passed',
    'restarts_last_hour == 0',
  );
});

test('values lie on the right side of what is compared', () => {
  check('battery > 20 && battery < 95', 'mode == "heating"', 'uptime >= 30m', '!degraded', 'load / 2 > 0.4');
});

test('two gates over one signal are met together', () => {
  check('level > 3', 'level < 5');
  check('level >= 10', 'level != 10');
});

test('what is known stays as it is', () => {
  const healthy = healthySignals(['battery > 20', 'drops == 0'], { battery: 77 });
  expect(healthy).toEqual({ ok: true, signals: { battery: 77, drops: 0 } });
});

test('a gate that no value meets is named with its signals', () => {
  expect(healthySignals(['fine', 'a > 3 && a < 3'])).toEqual({
    ok: false,
    expression: 'a > 3 && a < 3',
    signals: ['a'],
  });
  expect(healthySignals(['drops == 0'], { drops: 3 })).toMatchObject({ ok: false, expression: 'drops == 0' });
});

test('whatever bounds a gate names, a value between them is found', () => {
  const bounds = fc.tuple(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 1, max: 1000 }));
  fc.assert(
    fc.property(bounds, ([low, width]) => {
      check(`x >= ${low} && x <= ${low + width}`);
    }),
  );
});
