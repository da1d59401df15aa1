import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CONDITION_LIMITS,
  compileCondition,
  compileSelection,
  parseCondition,
  parseSelection,
  type Targeted,
} from '../../../src/core/target/condition.ts';

const FLEET: readonly Targeted[] = [
  { id: 'linuxprod1', tags: { environment: 'prod', location: 'westus', operator: 'John' } },
  { id: 'linuxprod2', tags: { environment: 'prod', location: 'eastus', operator: 'John' } },
  { id: 'linuxtest1', tags: { environment: 'test', location: 'westus', operator: 'Jane' } },
  { id: "operator'sDevice", tags: { environment: 'test', location: 'northeurope' } },
  { id: 'untagged', tags: {} },
];

describe('Azure IoT Edge target conditions', () => {
  it("S3.18 the five of Azure's examples select the right devices", () => {
    check("deviceId ='linuxprod1'", ['linuxprod1']);
    check("tags.environment ='prod'", ['linuxprod1', 'linuxprod2']);
    check("tags.environment = 'prod' AND tags.location = 'westus'", ['linuxprod1']);
    check("tags.environment = 'prod' OR tags.location = 'westus'", [
      'linuxprod1',
      'linuxprod2',
      'linuxtest1',
    ]);
    check("tags.operator = 'John' AND tags.environment = 'prod' NOT deviceId = 'linuxprod1'", ['linuxprod2']);
  });

  it('S3.18 parentheses overrule AND over OR, and NOT binds tightest', () => {
    check("tags.environment = 'prod' AND tags.location = 'westus' OR deviceId = 'untagged'", [
      'linuxprod1',
      'untagged',
    ]);
    check("tags.environment = 'prod' AND (tags.location = 'westus' OR deviceId = 'untagged')", [
      'linuxprod1',
    ]);
    check("NOT deviceId = 'untagged' AND tags.environment = 'prod'", ['linuxprod1', 'linuxprod2']);
    check("NOT (deviceId = 'untagged' OR tags.environment = 'prod')", ['linuxtest1', "operator'sDevice"]);
  });

  it('S3.19 a space before the equals sign parses, and so do none and many', () => {
    check("deviceId ='linuxprod1'", ['linuxprod1']);
    check("deviceId='linuxprod2'", ['linuxprod2']);
    check("\n  deviceId \t =\n 'linuxtest1' ", ['linuxtest1']);
  });

  it('S3.20 one tag selects its devices, another value others', () => {
    check("tags.environment ='prod'", ['linuxprod1', 'linuxprod2']);
    check("tags.environment ='test'", ['linuxtest1', "operator'sDevice"]);
    check("tags.environment ='Prod'", []);
  });

  it('S3.21 AND intersects', () => {
    check("tags.environment = 'prod' AND tags.location = 'westus'", ['linuxprod1']);
    check("tags.environment = 'prod' AND tags.location = 'northeurope'", []);
  });

  it('S3.22 OR unites', () => {
    check("tags.environment = 'prod' OR tags.location = 'westus'", [
      'linuxprod1',
      'linuxprod2',
      'linuxtest1',
    ]);
    check("tags.environment = 'none' OR tags.location = 'westus'", ['linuxprod1', 'linuxtest1']);
  });

  it('S3.23 a NOT after a clause means AND NOT', () => {
    check("tags.operator = 'John' AND tags.environment = 'prod' NOT deviceId = 'linuxprod1'", ['linuxprod2']);
    check("tags.operator = 'John' AND tags.environment = 'prod' NOT deviceId = 'linuxprod2'", ['linuxprod1']);
    check("deviceId = 'untagged' OR tags.environment = 'prod' NOT tags.location = 'eastus'", [
      'linuxprod1',
      'untagged',
    ]);
  });

  it('S3.24 double quotes are refused with the column', () => {
    refuse('tags.a = "x"', 9, 'column 10', 'single quotes', 'double quote');
    refuse('"tags.a" = \'x\'', 0, 'column 1');
    refuse('tags.a = \'say "x"\'', 13, 'column 14');
    refuse("tags.a = 'x\"'", 11, 'column 12');
  });

  it('S3.25 a quote inside a value is written twice', () => {
    check("deviceId='operator''sDevice'", ["operator'sDevice"]);
    check("deviceId='operator''''sDevice'", []);
    check("NOT deviceId='operator''sDevice' AND tags.environment = 'test'", ['linuxtest1']);
    refuse("deviceId='operator'sDevice'", 26, 'written twice');
    refuse("deviceId='operator'sDevice", 19, 'found "sDevice"', 'written twice');
    refuse("deviceId='operator", 9, 'column 10', 'closes');
  });

  it('S3.26 letters, digits and -:.+%_#*?!(),=@;$ are allowed in a value', () => {
    for (const character of 'abcxyzABCXYZ0123456789-:.+%_#*?!(),=@;$') {
      expect(select(`deviceId = 'x${character}y'`, [{ id: `x${character}y`, tags: {} }])).toHaveLength(1);
    }
  });

  it('S3.26 every other ASCII character in a value is refused with its column', () => {
    const allowed = /[A-Za-z0-9\-:.+%_#*?!(),=@;$\x27]/;
    for (let code = 0; code < 128; code++) {
      const character = String.fromCharCode(code);
      if (!allowed.test(character)) refuse(`deviceId = 'x${character}y'`, 13, 'column 14');
    }
    for (const character of [' ', '/', '&', '<', '\\', 'é', '😀'])
      refuse(`tags.a='${character}'`, 8, 'column 9');
  });

  it('S3.27 only tags and deviceId may be used', () => {
    refuse("properties.x = '1'", 0, 'column 1', 'deviceId or tags.<name>', 'found "properties.x"');
    refuse("tags.a = '1' AND properties.reported.x = '1'", 17, 'column 18');
    refuse("moduleId = 'x'", 0, 'moduleId');
    refuse("tags = 'x'", 0, 'tags.<name>');
  });

  it('S3.28 a device without the tag matches no comparison with it, and raises no error', () => {
    const untagged = [{ id: 'untagged', tags: {} }];
    for (const comparison of [
      "tags.a = 'x'",
      "tags.a <> 'x'",
      "tags.a != 'x'",
      "tags.a IN ['x']",
      "STARTSWITH(tags.a, '')",
      "tags.a STARTSWITH 'x'",
    ]) {
      expect(select(comparison, untagged), comparison).toEqual([]);
      expect(select(`NOT ${comparison}`, untagged), comparison).toEqual(['untagged']);
    }
    expect(select("tags.a <> 'x'", [{ id: 'tagged', tags: { a: 'y' } }])).toEqual(['tagged']);
    expect(select("tags.a = ''", [{ id: 'empty', tags: { a: '' } }])).toEqual(['empty']);
  });

  it('S3.28 names that every object inherits are no tags, unless the device has them', () => {
    for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
      const own = JSON.parse(`{"${name}": "x"}`) as Record<string, string>;
      expect(
        select(`tags.${name} <> 'y'`, [
          { id: 'plain', tags: {} },
          { id: 'own', tags: own },
        ]),
      ).toEqual(['own']);
    }
  });
});

describe("IoT Hub's operators", () => {
  it('<> and != differ from one value', () => {
    check("tags.environment <> 'prod'", ['linuxtest1', "operator'sDevice"]);
    check("tags.environment != 'prod'", ['linuxtest1', "operator'sDevice"]);
  });

  it('IN takes any of a list', () => {
    check("tags.location IN ['westus','northeurope']", ['linuxprod1', 'linuxtest1', "operator'sDevice"]);
    check("deviceId in [ 'untagged' ]", ['untagged']);
    refuse('tags.location IN []', 18, 'single quotes');
    refuse("tags.location IN ['a' 'b']", 22, 'commas');
    refuse("tags.location IN ('a')", 17, '[');
  });

  it('STARTSWITH reads both ways round', () => {
    check("STARTSWITH(tags.location, 'west')", ['linuxprod1', 'linuxtest1']);
    check("startswith(deviceId, 'linuxprod')", ['linuxprod1', 'linuxprod2']);
    check("tags.location STARTSWITH 'east'", ['linuxprod2']);
    refuse("STARTSWITH(tags.location 'west')", 25, 'expected ","');
  });

  it('nested tag names are one name', () => {
    const devices = [{ id: 'a', tags: { 'location.region': 'eu' } }];
    expect(select("tags.location.region = 'eu'", devices)).toEqual(['a']);
    expect(select("tags.location = 'eu'", devices)).toEqual([]);
  });

  it('* alone is every device', () => {
    check(
      ' * ',
      FLEET.map(({ id }) => id),
    );
    refuse("* AND tags.a = 'x'", 0, 'stands alone');
    refuse("tags.a = 'x' OR *", 16, 'stands alone');
  });

  it('keywords are case-insensitive, names and values are not', () => {
    check("tags.environment = 'prod' and not tags.location = 'eastus'", ['linuxprod1']);
    check("Tags.environment = 'prod'", undefined);
    check("deviceid = 'linuxprod1'", undefined);
    check("tags.Environment = 'prod'", []);
    // A tag may be called like a keyword.
    expect(select("tags.and = 'x' AND tags.NOT = 'y'", [{ id: 'a', tags: { and: 'x', NOT: 'y' } }])).toEqual([
      'a',
    ]);
  });
});

describe('mistakes are answered with where, what was expected and what to do', () => {
  it('names the column of each', () => {
    refuse('', 0, 'column 1', 'write * for every device');
    refuse('   ', 0, 'column 1');
    refuse('tags.a = 5', 9, "write '5'");
    refuse("tags.a == 'x'", 8, 'found "="');
    refuse('tags.a', 6, 'expected =, <>, !=, IN or STARTSWITH', 'the end');
    refuse("(tags.a = 'x'", 13, 'expected ")"', 'column 1');
    refuse("tags.a = 'x')", 12, 'found ")"');
    refuse("tags.a = 'x' OR", 15, 'the end');
    refuse("tags.a = 'x' tags.b = 'y'", 13, 'expected AND, OR, NOT or the end');
    refuse("'x' = tags.a", 0, "found the value 'x'");
    refuse("tags.a = 'x' ; tags.b = 'y'", 13, 'found ";"');
  });

  it('bounds the length, and reads a condition exactly as long as allowed', () => {
    const value = (length: number) => `deviceId = '${'x'.repeat(length - "deviceId = ''".length)}'`;
    expect(parseCondition(value(4096)).ok).toBe(true);
    refuse(value(4097), 4096, 'at most 4096 characters, found 4097');
  });

  it('bounds the nesting, and reads a condition exactly as deep as allowed', () => {
    const parentheses = (depth: number) => `${'('.repeat(depth)}deviceId = 'x'${')'.repeat(depth)}`;
    expect(parseCondition(parentheses(64)).ok).toBe(true);
    refuse(parentheses(65), 64, 'at most 64 deep');
    expect(parseCondition(`${'NOT '.repeat(64)}deviceId = 'x'`).ok).toBe(true);
    refuse(`${'NOT '.repeat(65)}deviceId = 'x'`, 4 * 64, 'at most 64 deep');
    // What lies side by side does not nest.
    expect(parseCondition(Array.from({ length: 100 }, () => "(NOT deviceId = 'x')").join(' AND ')).ok).toBe(
      true,
    );
  });

  it('bounds lists, and reads one exactly as long as allowed', () => {
    const list = (length: number) => `deviceId IN [${Array.from({ length }, () => "''").join(',')}]`;
    expect(parseCondition(list(CONDITION_LIMITS.listLength)).ok).toBe(true);
    refuse(list(1001), 'deviceId IN ['.length + 3000, 'at most 1000 values');
  });

  it('reads lists of a hundred thousand devices where a selection is meant, and long conditions over tags nowhere', () => {
    const ids = Array.from({ length: 100_000 }, (_, n) => `device-${n}`);
    const source = `tags.a = 'x' AND deviceId IN [${ids.map((id) => `'${id}'`).join(', ')}]`;
    expect(parseCondition(source).ok).toBe(false);
    const selection = compileSelection(source);
    expect(compileSelection(source)).toBe(selection);
    expect(selection.namesDevices).toBe(true);
    expect(selection.summary).toBe(
      "tags.a = 'x' AND deviceId IN ['device-0', 'device-1', 'device-2', and 99997 more]",
    );
    expect(selection.matches({ id: 'device-99999', tags: { a: 'x' } })).toBe(true);
    expect(selection.matches({ id: 'device-100000', tags: { a: 'x' } })).toBe(false);
    const tags = Array.from({ length: 500 }, (_, n) => `tags.a = 'value-${n}'`).join(' OR ');
    expect(parseSelection(tags)).toMatchObject({ ok: false, offset: 4096 });
    expect(parseSelection("tags.a = 'x'")).toBe(parseCondition("tags.a = 'x'"));
  });

  it('compileCondition throws where the source was not validated, and remembers where it was', () => {
    expect(() => compileCondition('tags.a = "x"')).toThrow(/should have been validated: column 10/);
    expect(compileCondition("tags.a = 'x'")).toBe(compileCondition("tags.a = 'x'"));
    expect(compileCondition("tags.a = 'x'").matches({ id: 'a', tags: { a: 'x' } })).toBe(true);
  });

  it('answers whatever it is given, and points into it', () => {
    const pieces = fc.constantFrom(
      "'",
      '"',
      '(',
      ')',
      '*',
      ' ',
      'NOT',
      'AND',
      'OR',
      'IN',
      '[',
      ']',
      ',',
      '=',
      '<>',
      'tags.a',
      'deviceId',
      "'v'",
      '😀',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(pieces).map((list) => list.join(' ')),
        ),
        (source) => {
          const result = parseCondition(source);
          if (result.ok) return;
          expect(result.offset).toBeGreaterThanOrEqual(0);
          expect(result.offset).toBeLessThanOrEqual(source.length);
          expect(result.message).toContain(`column ${result.offset + 1}`);
        },
      ),
    );
  });
});

describe('the canonical spelling', () => {
  it('ignores spacing, the case of keywords and redundant parentheses, and nothing else', () => {
    const canonical = "tags.a = 'x' AND NOT tags.b = 'y' OR deviceId IN ['p', 'q']";
    expect(canonicalOf("((tags.a='x')  not (tags.b ='y')) or (deviceId in['p','q'])")).toBe(canonical);
    expect(canonicalOf("tags.a = 'x' AND (NOT tags.b = 'y' OR deviceId IN ['p', 'q'])")).not.toBe(canonical);
    expect(canonicalOf("tags.a = 'X' AND NOT tags.b = 'y' OR deviceId IN ['p', 'q']")).not.toBe(canonical);
    expect(canonicalOf("tags.a = 'x' AND (tags.b = 'y' AND tags.c = 'z')")).toBe(
      canonicalOf("tags.a = 'x' AND tags.b = 'y' AND tags.c = 'z'"),
    );
  });

  it('is a condition that means the same, and its own canonical spelling', () => {
    fc.assert(
      fc.property(conditions(), devices(), (model, device) => {
        const condition = compileCondition(model.source);
        const again = compileCondition(condition.canonical);
        expect(again.canonical).toBe(condition.canonical);
        expect(again.matches(device)).toBe(condition.matches(device));
      }),
    );
  });

  it('a parsed condition decides as the model it was written from', () => {
    fc.assert(
      fc.property(conditions(), devices(), (model, device) => {
        expect(compileCondition(model.source).matches(device)).toBe(model.matches(device));
      }),
    );
  });
});

/** A condition together with what it should decide, built side by side. */
interface Model {
  readonly source: string;
  matches(device: Targeted): boolean;
}

const NAMES = ['a', 'b', 'constructor'];
const VALUES = ['x', 'y', "it's", ''];

function devices(): fc.Arbitrary<Targeted> {
  const tags = fc.dictionary(fc.constantFrom(...NAMES), fc.constantFrom(...VALUES));
  return fc.record({ id: fc.constantFrom(...VALUES), tags });
}

function conditions(): fc.Arbitrary<Model> {
  const keyword = (word: string) => fc.constantFrom(word, word.toLowerCase());
  const value = fc.constantFrom(...VALUES);
  const tag = fc.constantFrom(...NAMES);
  const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;
  const own = (device: Targeted, name: string) =>
    Object.hasOwn(device.tags, name) ? device.tags[name] : undefined;
  const comparison: fc.Arbitrary<Model> = fc.oneof(
    fc.tuple(tag, value).map(([name, text]) => ({
      source: `tags.${name}=${literal(text)}`,
      matches: (device: Targeted) => own(device, name) === text,
    })),
    fc.tuple(tag, value, fc.constantFrom('<>', '!=')).map(([name, text, operator]) => ({
      source: `tags.${name} ${operator} ${literal(text)}`,
      matches: (device: Targeted) => own(device, name) !== undefined && own(device, name) !== text,
    })),
    fc.tuple(fc.array(value, { minLength: 1, maxLength: 3 }), keyword('IN')).map(([texts, word]) => ({
      source: `deviceId ${word} [${texts.map(literal).join(', ')}]`,
      matches: (device: Targeted) => texts.includes(device.id),
    })),
    fc.tuple(tag, value, keyword('STARTSWITH')).map(([name, text, word]) => ({
      source: `${word}(tags.${name}, ${literal(text)})`,
      matches: (device: Targeted) => own(device, name)?.startsWith(text) ?? false,
    })),
  );
  const { condition } = fc.letrec<{ condition: Model }>((tie) => ({
    condition: fc.oneof(
      { maxDepth: 4 },
      comparison,
      fc.tuple(tie('condition'), keyword('NOT')).map(([inner, word]) => ({
        source: `${word} (${inner.source})`,
        matches: (device: Targeted) => !inner.matches(device),
      })),
      fc.tuple(tie('condition'), tie('condition'), keyword('AND')).map(([left, right, word]) => ({
        source: `(${left.source}) ${word} (${right.source})`,
        matches: (device: Targeted) => left.matches(device) && right.matches(device),
      })),
      fc.tuple(tie('condition'), tie('condition'), keyword('OR')).map(([left, right, word]) => ({
        source: `(${left.source} ${word} ${right.source})`,
        // Unparenthesised sides: OR binds loosest, so each side keeps its meaning.
        matches: (device: Targeted) => left.matches(device) || right.matches(device),
      })),
    ),
  }));
  return condition;
}

function check(source: string, ids: readonly string[] | undefined): void {
  if (ids === undefined) expect(parseCondition(source).ok, source).toBe(false);
  else expect(select(source, FLEET), source).toEqual(ids);
}

function select(source: string, devices: readonly Targeted[]): string[] {
  const result = parseCondition(source);
  if (!result.ok) throw new Error(`${source}: ${result.message}`);
  return devices.filter((device) => result.condition.matches(device)).map(({ id }) => id);
}

function refuse(source: string, offset: number, ...said: readonly string[]): void {
  const result = parseCondition(source);
  if (result.ok) throw new Error(`should have been refused: ${source}`);
  expect(result.offset, `${source}: ${result.message}`).toBe(offset);
  for (const part of said) expect(result.message).toContain(part);
}

function canonicalOf(source: string): string {
  return compileCondition(source).canonical;
}
