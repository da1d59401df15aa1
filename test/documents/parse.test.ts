import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PARSE_LIMITS, parseYaml } from '../../src/documents/parse.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

function check(content: string | Uint8Array, expected: readonly string[]): void {
  const parsed = parseYaml(typeof content === 'string' ? bytes(content) : content);
  const found = parsed.ok
    ? []
    : parsed.findings.map(({ line, column, message }) => `${line}:${column}: ${message}`);
  expect(found).toEqual(expected);
}

function dataOf(text: string): unknown {
  const parsed = parseYaml(bytes(text));
  if (!parsed.ok) throw new Error(parsed.findings[0]?.message);
  return JSON.parse(JSON.stringify(parsed.yaml.value));
}

describe('what is read', () => {
  test('a byte order mark is skipped and does not move columns', () => {
    expect(dataOf('\uFEFFa: 1\n')).toEqual({ a: 1 });
    check('\uFEFFa: 1\na: 2\n', ['2:1: the key "a" is on line 1 already; keep one of the two']);
    check('\uFEFF{a: 1, a: 2}\n', ['1:8: the key "a" is on line 1 already; keep one of the two']);
  });

  test('CRLF ends lines', () => {
    expect(dataOf('a: 1\r\nb: two\r\n')).toEqual({ a: 1, b: 'two' });
    check('a: 1\r\nb: 1\r\n\tc: 1\r\n', [
      '3:1: indentation must be spaces, found a tab; replace it with spaces',
    ]);
  });

  test('words that older YAML took for truth values are texts', () => {
    expect(dataOf('a: [yes, on, off, 0o17, 1_000]\n')).toEqual({ a: ['yes', 'on', 'off', 15, '1_000'] });
  });

  test('an alias gives what its anchor holds', () => {
    expect(dataOf('a: &x {b: 1}\nc: *x\n')).toEqual({ a: { b: 1 }, c: { b: 1 } });
  });

  test('__proto__ is a key like any other', () => {
    const parsed = parseYaml(bytes('__proto__: {polluted: true}\n'));
    expect(parsed.ok && Object.keys(parsed.yaml.value as object)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('numbers keep the way they were written', () => {
    const parsed = parseYaml(bytes('version: 2.10\n'));
    expect(parsed.ok && [parsed.yaml.value, parsed.yaml.sourceAt(['version'])]).toEqual([
      { version: 2.1 },
      '2.10',
    ]);
  });
});

describe('what is refused', () => {
  test('bytes that are not UTF-8, at the first of them', () => {
    const text = 'the file must be UTF-8 text, found a byte that is not; save it as UTF-8';
    check(Uint8Array.from([...bytes('a: ä\nb: '), 0xff, 0x0a]), [`2:4: ${text}`]);
    check(Uint8Array.from([...bytes('a: \uFFFD'), 0xe4, 0x0a]), [`1:5: ${text}`]);
    check(Uint8Array.from([0xff, 0xfe, 0x61, 0x00]), [`1:1: ${text}`]);
    check(Uint8Array.from([0xef, 0xbb, 0xbf, 0x61, 0xc0]), [`1:2: ${text}`]);
  });

  test('more than 1 MiB', () => {
    const largest = `a: ${'x'.repeat(PARSE_LIMITS.sizeBytes - 3)}`;
    check(largest, []);
    check(`${largest}x`, ['1:1: a document has at most 1048576 bytes, found 1048577; split it']);
  });

  test('more than 1 MiB, but for lists that are texts in double quotes', () => {
    const list = (length: number) => `a: "${'x'.repeat(length)}"\n`;
    check(list(4 * 1024 * 1024), []);
    check(list(4 * 1024 * 1024).replaceAll('"', "'"), [expect.stringContaining('at most 1048576 bytes')]);
    check(list(8 * 1024 * 1024), [expect.stringContaining('at most 8388608 bytes')]);
    // Many short ones are as many parts as in any other document.
    check(`[${'"xxxxxxxx", '.repeat(100_000)}]`, [expect.stringContaining('at most 1048576 bytes')]);
  });

  test('nothing at all', () => {
    const message = '1:1: the file holds no document; write one or delete the file';
    for (const text of ['', '\n\n', '# nothing here\n', '---\n', '\uFEFF']) check(text, [message]);
  });

  test('a second document', () => {
    check('a: 1\n---\nb: 2\n', [
      '3:1: a file holds one document, found a second one; move it to a file of its own',
    ]);
  });

  test('a key that occurs twice, with both lines', () => {
    check('a:\n  b: 1\n  c: 1\n  b: 2\n', ['4:3: the key "b" is on line 2 already; keep one of the two']);
  });

  test('keys that are no texts', () => {
    check('? [a]\n: 1\n', ['1:3: a key must be a text; put it in quotes']);
    check('a: {null: 1}\n', ['1:5: a key must be a text; put it in quotes']);
  });

  test('tabs as indentation', () => {
    check('a:\n\tb: 1\n', ['2:1: indentation must be spaces, found a tab; replace it with spaces']);
  });

  test('only the first of several mistakes of syntax', () => {
    check('a: b: 1\nc: "x\n', [
      '1:4: a second ": " on the line makes this ambiguous; put the value in quotes or on a line of its own',
    ]);
  });

  test('tags, and directives that change what words mean', () => {
    check('a: !!binary aGVsbG8=\n', ['1:4: YAML tags are not used in documents; take the tag away']);
    check('%YAML 1.1\n---\na: yes\n', ['1:1: documents are YAML 1.2, found %YAML 1.1; take the line away']);
  });

  test('texts that are no Unicode', () => {
    const message = 'texts must be Unicode without NUL, found half a surrogate pair or a NUL; take it out';
    check('a: "\\ud800"\n', [`1:4: ${message}`]);
    check('a: ["\\0"]\n', [`1:5: ${message}`]);
  });

  test('nesting deeper than 64', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    check(nested(64), []);
    check(nested(65), ['1:65: values are nested at most 64 deep; this goes deeper']);
    check('[{a: '.repeat(20_000), ['1:161: values are nested at most 64 deep; this goes deeper']);
    check('- '.repeat(20_000), ['1:129: values are nested at most 64 deep; this goes deeper']);
  });

  test('aliases that name nothing, themselves, or a billion laughs', () => {
    check('a: *b\n', ['1:4: nothing before this is called "&b"; write the value out']);
    check('a: &x [*x]\n', ['1:8: values are nested at most 64 deep; this alias goes deeper']);
    const bomb = [...'bcdefghi'].reduce(
      (text, letter, at) =>
        `${text}${letter}: &${letter} [${Array(9).fill(`*${'abcdefgh'[at]}`).join(', ')}]\n`,
      'a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n',
    );
    check(bomb, ['5:8: aliases may stand for at most 10000 values; write the values out']);
  });
});

describe('positions', () => {
  const positionOf = (text: string, offset: number) => {
    const parsed = parseYaml(bytes(text));
    if (!parsed.ok) throw new Error('not YAML');
    const { line, column } = parsed.yaml.at(['a'], offset);
    return `${line}:${column}`;
  };

  test('a character of a text is where it was written, whatever the quotes', () => {
    expect(positionOf('a: x = 1\n', 2)).toBe('1:6');
    expect(positionOf('a: "x = 1"\n', 2)).toBe('1:7');
    expect(positionOf("a: 'x = ''y'' z'\n", 5)).toBe('1:11');
    expect(positionOf("a: 'x = ''y'' z'\n", 7)).toBe('1:14');
    expect(positionOf('a: &anchor x = 1\n', 2)).toBe('1:14');
  });

  test('where the text was folded or escaped, it is the start of the text', () => {
    expect(positionOf('a: "x \\u003d 1"\n', 4)).toBe('1:4');
    expect(positionOf('a: x\n  = 1\n', 2)).toBe('1:4');
    expect(positionOf('a: >-\n  x\n  = 1\n', 2)).toBe('1:4');
  });

  test('a value that is not there has the place of what is around it', () => {
    const parsed = parseYaml(bytes('a:\n  b: [1]\nc:\n'));
    if (!parsed.ok) throw new Error('not YAML');
    expect(parsed.yaml.at(['a', 'b', 0])).toEqual({ line: 2, column: 7 });
    expect(parsed.yaml.at(['a', 'b', 7, 'x'])).toEqual({ line: 2, column: 6 });
    expect(parsed.yaml.keyAt(['a', 'b'])).toEqual({ line: 2, column: 3 });
    expect(parsed.yaml.at(['c'])).toEqual({ line: 3, column: 1 });
  });
});

test('no bytes make it throw, and every finding has a place', () => {
  const fragments = fc.constantFrom(
    'a',
    ': ',
    '\n',
    '- ',
    '  ',
    '[',
    ']',
    '{',
    '}',
    ',',
    '&a',
    '*a',
    '"',
    "'",
    '#',
    '|',
    '>',
    '!',
    '%',
    '?',
    '---\n',
    '...\n',
    '\t',
    '\r',
    '\0',
    '\uFEFF',
    '@',
    '<<',
  );
  const text = fc.array(fragments, { maxLength: 60 }).map((parts) => bytes(parts.join('')));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), text), (content) => {
      const parsed = parseYaml(content);
      if (parsed.ok) return;
      expect(parsed.findings.length).toBeGreaterThan(0);
      for (const { line, column } of parsed.findings)
        expect(Math.min(line, column)).toBeGreaterThanOrEqual(1);
    }),
    { numRuns: 2000 },
  );
});
