import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bar, createOutput, formatWhen, printable, table, wrap } from '../../src/cli/output.ts';

const terminal = (columns: number) => ({ write: () => true, isTTY: true, columns });
const pipe = { write: () => true };
const plain = (width?: number) => ({ width, paint: (_style: string, text: string) => text });

describe('colour', () => {
  const painted = (stream: Parameters<typeof createOutput>[0], env: Record<string, string>) =>
    createOutput(stream, env).paint('red', 'x') !== 'x';

  test.each([
    ['a terminal', terminal(80), {}, true],
    ['a pipe', pipe, {}, false],
    ['a terminal with NO_COLOR', terminal(80), { NO_COLOR: '1' }, false],
    ['a terminal with an empty NO_COLOR', terminal(80), { NO_COLOR: '' }, true],
    ['a dumb terminal', terminal(80), { TERM: 'dumb' }, false],
    ['a pipe with FORCE_COLOR', pipe, { FORCE_COLOR: '1' }, true],
    ['a terminal with FORCE_COLOR=0', terminal(80), { FORCE_COLOR: '0' }, false],
  ])('%s', (_name, stream, env, expected) => {
    expect(painted(stream, env)).toBe(expected);
  });
});

test('a pipe has no width, and a terminal that does not say has 80 columns', () => {
  expect(createOutput(pipe, {}).width).toBeUndefined();
  expect(createOutput(terminal(132), {}).width).toBe(132);
  expect(createOutput(terminal(0), {}).width).toBe(80);
});

describe('tables', () => {
  const rows = [
    ['NAME', 'CONDITION', 'N'],
    ['kiosk', "tags.product = 'kiosk' AND tags.environment = 'prod'", '12'],
  ];

  test('a pipe gets every character', () => {
    expect(table(rows, plain())).toEqual([
      'NAME   CONDITION                                             N',
      "kiosk  tags.product = 'kiosk' AND tags.environment = 'prod'  12",
    ]);
  });

  test('the widest column gives way to the terminal', () => {
    expect(table(rows, plain(32), '  ')).toEqual([
      '  NAME   CONDITION            N',
      "  kiosk  tags.product = 'ki…  12",
    ]);
  });

  test('no line is wider than the terminal, and colour changes no width', () => {
    const cell = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme-ascii' });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(cell, cell, cell), { minLength: 1 }),
        fc.integer({ min: 10, max: 120 }),
        (cells, width) => {
          const coloured = { width, paint: createOutput(terminal(width), {}).paint };
          const lines = table(
            cells.map((row) => row.map((text) => ({ text, style: 'red' as const }))),
            coloured,
          );
          for (const line of lines) expect(stripVTControlCharacters(line).length).toBeLessThanOrEqual(width);
        },
      ),
    );
  });
});

describe('wrapping', () => {
  test('breaks between words and indents every line', () => {
    expect(wrap('stage canary waits for three more reports', plain(24), '  ')).toEqual([
      '  stage canary waits for',
      '  three more reports',
    ]);
  });

  test('loses no word', () => {
    const words = fc.array(fc.stringMatching(/^[a-z]{1,30}$/), { minLength: 1 });
    fc.assert(
      fc.property(words, fc.integer({ min: 1, max: 80 }), (given, width) => {
        expect(wrap(given.join(' '), plain(width)).join(' ')).toBe(given.join(' '));
      }),
    );
  });
});

describe('bars', () => {
  const glyphs = ['a', 'b', 'c', 'd', 'e'];
  const draw = (...amounts: number[]) =>
    bar(
      amounts.map((amount, index) => ({ amount, glyph: glyphs[index] ?? '?' })),
      20,
      plain(),
    );

  test.each([
    [[0, 0], '····················'],
    [[10, 10], 'aaaaaaaaaabbbbbbbbbb'],
    [[9999, 1], 'aaaaaaaaaaaaaaaaaaab'],
    [[1, 9999], 'abbbbbbbbbbbbbbbbbbb'],
    [[1, 1, 1], 'aaaaaaabbbbbbbcccccc'],
  ])('%j', (amounts, expected) => {
    expect(draw(...amounts)).toBe(expected);
  });

  test('have exactly their length, and a cell for everything that is there and for nothing else', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1_000_000), { minLength: 5, maxLength: 5 }), (amounts) => {
        const drawn = draw(...amounts);
        expect(drawn).toHaveLength(20);
        amounts.forEach((amount, index) => {
          const isShown = drawn.includes(glyphs[index] ?? '?');
          expect(isShown).toBe(amount > 0);
        });
      }),
    );
  });
});

test('text from elsewhere cannot steer the terminal', () => {
  expect(printable('disk \u001b[2J\u0007full\n\u202Efake')).toBe('disk �[2J�full��fake');
  expect(printable('Zürich ✓ 東京')).toBe('Zürich ✓ 東京');
});

test('instants are absolute and relative', () => {
  const now = Date.UTC(2026, 10, 21, 8);
  expect(formatWhen(now + 7_800_400, now)).toBe('2026-11-21T10:10:00Z (in 2h10m)');
  expect(formatWhen(now - 90_000, now)).toBe('2026-11-21T07:58:30Z (1m30s ago)');
  expect(formatWhen(now + 400, now)).toBe('2026-11-21T08:00:00Z (now)');
});
