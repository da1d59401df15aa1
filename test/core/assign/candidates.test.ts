import fc from 'fast-check';
import { expect, test } from 'vitest';
import { rolloutsFor } from '../../../src/core/assign/candidates.ts';
import type { RolloutName } from '../../../src/core/model/ids.ts';
import { compileCondition } from '../../../src/core/target/condition.ts';
import { programOf, rolloutOf } from './program.ts';

const TAGS = ['product', 'ring', 'site'];
const VALUES = ['a', 'b', 'constructor'];

const operand = fc.constantFrom('deviceId', ...TAGS.map((tag) => `tags.${tag}`));
const value = fc.constantFrom(...VALUES).map((text) => `'${text}'`);
const { condition } = fc.letrec<{ condition: string }>((tie) => ({
  condition: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.tuple(operand, fc.constantFrom('=', '<>'), value).map((parts) => parts.join(' ')),
    fc
      .tuple(operand, fc.array(value, { minLength: 1, maxLength: 3 }))
      .map(([of, list]) => `${of} IN [${list.join(', ')}]`),
    fc.tuple(operand, value).map((parts) => parts.join(' STARTSWITH ')),
    tie('condition').map((inner) => `NOT (${inner})`),
    fc
      .tuple(fc.array(tie('condition'), { minLength: 2, maxLength: 3 }), fc.constantFrom(' AND ', ' OR '))
      .map(([parts, joint]) => parts.map((part) => `(${part})`).join(joint)),
  ),
}));
const device = fc.record({
  id: fc.constantFrom(...VALUES),
  tags: fc.dictionary(fc.constantFrom(...TAGS), fc.constantFrom(...VALUES)),
});

test('whatever the conditions: every rollout that matches a device comes into question for it, once and in order', () => {
  const conditions = fc.array(fc.oneof(condition, fc.constant('*')), { maxLength: 8 });
  fc.assert(
    fc.property(conditions, device, (sources, asked) => {
      const rollouts = sources.map((source, n) => rolloutOf({ condition: source }, `r${n}`));
      const found = rolloutsFor(programOf(...rollouts), asked).map(({ rollout }) => rollout.name);
      const matching = rollouts.filter((each) => compileCondition(each.condition).matches(asked));
      expect(found.filter((name) => matching.some((each) => each.name === name))).toEqual(
        matching.map(({ name }) => name),
      );
      expect(found).toEqual([...new Set(found)]);
    }),
    { numRuns: 2000 },
  );
});

test.each([
  ["tags.product = 'a'", true],
  ["tags.product = 'a' AND tags.ring <> 'b'", true],
  ["tags.product IN ['a', 'b']", true],
  ["tags.product = 'c'", false],
  ["tags.ring = 'x' AND tags.product = 'c'", false],
  ["tags.product = 'c' OR tags.product IN ['d', 'e']", false],
  ["tags.product = 'c' OR tags.ring = 'y'", true],
  ["NOT tags.product = 'a'", true],
  ["deviceId = 'else'", false],
  ['*', true],
])('%s comes into question: %s', (source, expected) => {
  const others = Array.from({ length: 3 }, (_, n) =>
    rolloutOf({ condition: `tags.ring = 'x' AND tags.site = 'z${n}'` }, `ring-${n}`),
  );
  const asked = { id: 'one', tags: { product: 'a', ring: 'x' } };
  const found = rolloutsFor(programOf(...others, rolloutOf({ condition: source }, 'asked')), asked);
  expect(found.map(({ rollout }) => rollout.name)).toEqual(expected ? ['asked' as RolloutName] : []);
});
