/** hawkBit's queries as conditions, checked by what they match. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileCondition } from '../../src/core/target/condition.ts';
import { translateRsql } from '../../src/import/rsql.ts';

function conditionOf(query: string, nameIsId = false): string {
  const translated = translateRsql(query, { nameIsId });
  return translated.ok ? translated.condition : `refused, ${translated.message}`;
}

test.each([
  ['controllerId==pump-7', "deviceId = 'pump-7'"],
  ['id==pump-*', "STARTSWITH(deviceId, 'pump-')"],
  ['attribute.hw==B', "tags.hw = 'B'"],
  ['attribute.hw!=B', "NOT tags.hw = 'B'"],
  ['attribute.hw==B*', "STARTSWITH(tags.hw, 'B')"],
  ['attribute.hw!=B*', "NOT STARTSWITH(tags.hw, 'B')"],
  ['attribute.hw=in=(B,C)', "tags.hw = 'B' OR tags.hw = 'C'"],
  ['attribute.hw=out=(B,C)', "NOT (tags.hw = 'B' OR tags.hw = 'C')"],
  ['attribute.hw==*', "STARTSWITH(tags.hw, '')"],
  ['attribute.hw=is=null', "NOT STARTSWITH(tags.hw, '')"],
  ['attribute.hw=not=null', "STARTSWITH(tags.hw, '')"],
  ["attribute.hw==''", "NOT STARTSWITH(tags.hw, '') OR tags.hw = ''"],
  ['metadata.floor==3;group==east', "tags.floor = '3' AND tags.group = 'east'"],
  ['type==pump,targettype.key==valve', "tags.type = 'pump' OR tags.type = 'valve'"],
  ['tag==Beta', "tags.Beta = 'true'"],
  ['tag!=Beta;tag.name=in=(a,b)', "NOT tags.Beta = 'true' AND (tags.a = 'true' OR tags.b = 'true')"],
  ['name==*', "STARTSWITH(tags.name, '')"],
  ['id==*', '*'],
  ['id==*;attribute.a==b', "tags.a = 'b'"],
  ['id==*,attribute.a==b', '*'],
  ['(attribute.a==b,attribute.c==d);attribute.e==f', "(tags.a = 'b' OR tags.c = 'd') AND tags.e = 'f'"],
  ['attribute.a==b,attribute.c==d;attribute.e==f', "tags.a = 'b' OR tags.c = 'd' AND tags.e = 'f'"],
  ['attribute.a==b and attribute.c==d or attribute.e==f', "tags.a = 'b' AND tags.c = 'd' OR tags.e = 'f'"],
  [`attribute.a=="b";attribute.c=='d'`, "tags.a = 'b' AND tags.c = 'd'"],
  [`attribute.a=='it\\'s'`, "tags.a = 'it''s'"],
  [`attribute.a=='5\\*'`, "tags.a = '5*'"],
])('%s is %s', (query, condition) => {
  expect(conditionOf(query)).toBe(condition);
});

test('name==foo*;attribute.x==y is about ids where targets are called as their ids', () => {
  expect(conditionOf('name==foo*;attribute.x==y', true)).toBe("STARTSWITH(deviceId, 'foo') AND tags.x = 'y'");
  expect(conditionOf('name==foo*;attribute.x==y')).toBe("STARTSWITH(tags.name, 'foo') AND tags.x = 'y'");
});

describe('refused, with the column and the reason', () => {
  test.each([
    ['attribute.hw==a*b', /column 15: a wildcard stands at the end/],
    ['attribute.hw==*b', /column 15: a wildcard stands at the end/],
    ['lastcontrollerrequestat=le=1700000000000', /column 1: =le= compares by size/],
    ['lastcontrollerrequestat==1700000000000', /column 1: .*silent devices are gates/],
    ['attribute.a==b;createdat<5', /column 16: < compares by size/],
    ['installedds.name==Pump', /column 1: .*what a device runs/],
    ['updatestatus!=in_sync', /column 1: .*follows from what it reports/],
    ['attribute.site=="Berlin 1"', /column 17: a value may have letters/],
    ['tag==B*', /tags are named in full/],
    ['id!=*', /matches no device/],
    ['attribute.a==', /column 14: expected a value, found the end/],
    ['attribute.a=b', /column 12: expected an operator/],
    ['(attribute.a==b', /column 16: expected "\)", found the end/],
    ['attribute.a==b)', /column 15: expected ; or , or the end/],
    ["attribute.a=='b", /closes this one/],
    ['', /expected a query/],
    ['colour==red', /a device is chosen by id/],
  ])('%s', (query, expected) => {
    expect(conditionOf(query)).toMatch(expected);
  });

  test('nothing that is nested without end', () => {
    expect(conditionOf('('.repeat(5000))).toMatch(/at most 4096 characters/);
    expect(conditionOf('('.repeat(200))).toMatch(/nest at most 64 deep/);
  });
});

test('a translated query matches the targets that hawkBit matches, missing attributes included', () => {
  const value = fc.constantFrom('a', 'b', 'ab');
  const comparison = fc.record({
    key: fc.constantFrom('x', 'y'),
    operator: fc.constantFrom('==', '!='),
    value,
    star: fc.boolean(),
  });
  type Comparison = { key: string; operator: string; value: string; star: boolean };
  const target = fc.dictionary(fc.constantFrom('x', 'y'), value);
  // In hawkBit what is missing differs from everything.
  const matches = (each: Comparison, tags: Record<string, string>) => {
    const found = tags[each.key];
    const is = found !== undefined && (each.star ? found.startsWith(each.value) : found === each.value);
    return each.operator === '==' ? is : !is;
  };
  const write = (each: Comparison) =>
    `attribute.${each.key}${each.operator}${each.value}${each.star ? '*' : ''}`;
  fc.assert(
    fc.property(
      fc.array(fc.array(comparison, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 3 }),
      target,
      (groups, tags) => {
        const query = groups.map((group) => group.map(write).join(';')).join(',');
        const expected = groups.some((group) => group.every((each) => matches(each, tags)));
        expect(compileCondition(conditionOf(query)).matches({ id: 'd', tags })).toBe(expected);
      },
    ),
  );
});
