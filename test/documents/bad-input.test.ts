/** What files may hold that are no documents: one problem each, at its place, and never an exception. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadDesired, loadOperations, type SourceFile } from '../../src/documents/load.ts';
import type { Problem } from '../../src/documents/problem.ts';
import { AT, FLEET, problemsOf, ROLLOUT, SET, source } from './sources.ts';

const FILE = 'fleet/flags/night-setback.yaml';
const FLAG = `apiVersion: tidegate.dev/v1
kind: Flag
metadata: {name: night-setback}
spec: {owner: hvac-apps, values: {on: true, off: false}, default: off}
`;

function problemsIn(content: string | Uint8Array): readonly Problem[] {
  const { problems } = loadDesired([source('fleet/fleet.yaml', FLEET), source(FILE, content)], AT);
  return problems;
}

/** `line:column rule: message` of the only problem. */
function check(content: string | Uint8Array, place: string, message: RegExp): void {
  const said = problemsIn(content).map(
    (problem) => `${problem.line}:${problem.column} ${problem.rule}: ${problem.message}`,
  );
  expect(said).toHaveLength(1);
  expect(said[0]?.slice(0, place.length)).toBe(place);
  expect(said[0]).toMatch(message);
  // Each says what to do.
  expect(said[0]).toContain(';');
}

describe('what is no YAML', () => {
  test.each<[what: string, text: string, place: string, message: RegExp]>([
    ['a bracket that is not closed', 'a: [1, 2\n', '2:1 yaml', /end with a \]/],
    ['a quote that is not closed', 'a: "b\n', '2:1 yaml', /closing "quote/],
    ['a key between two columns', 'a:\n  b: 1\n c: 2\n', '3:1 yaml', /same column/],
    ['a tab for a space', 'a:\n\tb: 1\n', '2:1 yaml', /must be spaces, found a tab/],
    ['two colons on a line', 'a: b: c\n', '1:4 yaml', /put the value in quotes/],
    ['an entry of a list among keys', '- a\nb: 1\n', '2:1 yaml', /./],
    ['a text that begins with @', 'a: @b\n', '1:4 yaml', /put the value in quotes/],
    ['an escape that there is not', 'a: "\\q"\n', '1:5 yaml', /double the backslash/],
    ['a tag', 'a: !!python/object x\n', '1:4 yaml', /tags are not used/],
    ['a tag of our own', 'a: !include other.yaml\n', '1:4 yaml', /tags are not used/],
    ['an alias of nothing', 'a: *b\n', '1:4 yaml', /nothing before this is called "&b"/],
    ['a merge key', 'a: &x {b: 1}\nc: {<<: *x}\n', '2:5 yaml', /merge keys/],
    ['a mapping as a key', '? {a: 1}\n: b\n', '1:3 yaml', /a key must be a text/],
    ['a list as a key', '? [a]\n: b\n', '1:3 yaml', /a key must be a text/],
    ['nothing as a key', '? \n: b\n', '1:3 yaml', /a key must be a text/],
    ['a key twice', 'a: 1\nb: 2\na: 3\n', '3:1 duplicate-key', /"a" is on line 1 already/],
    ['another version of YAML', '%YAML 1.1\n---\na: 1\n', '1:1 yaml', /YAML 1\.2, found %YAML 1\.1/],
    ['a directive that there is not', '%FOO bar\n---\na: 1\n', '1:1 yaml', /%FOO/],
    ['half a character as an escape', 'a: "\\ud800"\n', '1:4 yaml', /surrogate pair/],
    ['a NUL as an escape', 'a: "\\0"\n', '1:4 yaml', /NUL/],
    ['a NUL', 'a: x\0b\n', '1:4 yaml', /NUL/],
    ['line ends of old Macs', 'a: 1\rb: 2\r', '1:4 yaml', /./],
    ['a byte order mark in the middle', `${FLAG}\uFEFF`, '5:1 yaml', /./],
  ])('%s', (_, text, place, message) => {
    check(text, place, message);
  });
});

describe('what is no document', () => {
  test.each<[what: string, text: string, place: string, message: RegExp]>([
    ['nothing', '', '1:1 no-document', /write one or delete/],
    ['a comment', '# later\n', '1:1 no-document', /./],
    ['the beginning of one', '---\n', '1:1 no-document', /./],
    ['a second one', `${FLAG}---\n${FLAG}`, '6:1 one-document', /a file of its own/],
    ['a text', 'hello\n', '1:1 schema', /must be a mapping with apiVersion/],
    ['a list', '- a\n', '1:1 schema', /found a list of 1/],
    ['a mapping of something else', 'a: 1\n', '1:1 schema', /kind must be one of Fleet/],
    ['a document of another program', 'apiVersion: v1\nkind: Pod\n', '2:7 schema', /found "Pod"/],
  ])('%s', (_, text, place, message) => {
    check(text, place, message);
  });

  test.each<[what: string, bytes: Uint8Array, place: string]>([
    ['Latin-1', Uint8Array.of(0x61, 0x3a, 0x20, 0xe9, 0x0a), '1:4 encoding'],
    ['UTF-16', Uint8Array.of(0xff, 0xfe, 0x61, 0, 0x3a, 0), '1:1 encoding'],
    ['half a character at the end', Uint8Array.of(0x61, 0x3a, 0x0a, 0x62, 0xc3), '2:2 encoding'],
    ['a byte order mark, then rubbish', Uint8Array.of(0xef, 0xbb, 0xbf, 0x61, 0xff), '1:2 encoding'],
  ])('%s', (_, bytes, place) => {
    check(bytes, place, /must be UTF-8/);
  });
});

describe('what would cost too much', () => {
  const many = (count: number, text: (at: number) => string) =>
    Array.from({ length: count }, (_, at) => text(at));

  test.each<[what: string, text: string, place: string]>([
    ['brackets without end', '['.repeat(500_000), '1:65 too-deep'],
    ['keys in keys', many(100, (at) => `${' '.repeat(at)}a:`).join('\n'), '65:65 too-deep'],
    ['a value that contains itself', 'a: &a [*a]\n', '1:8 too-deep'],
    [
      'aliases of aliases',
      ['a: &a [x, x, x, x, x, x, x, x, x, x]', ...many(8, (at) => alias(at))].join('\n'),
      '4:36 aliases',
    ],
    ['a text of more than a document may have', `a: ${'x'.repeat(2 ** 20)}`, '1:1 too-large'],
  ])('%s', (_, text, place) => {
    check(text, place, /at most/);
  });

  function alias(at: number): string {
    const [before, name] = ['abcdefgh'[at], 'bcdefghi'[at]];
    return `${name}: &${name} [${many(10, () => `*${before}`).join(', ')}]`;
  }

  test('of a huge text a message shows the beginning', () => {
    const [problem] = problemsIn(FLAG.replace('kind: Flag', `kind: ${'x'.repeat(1_000_000)}`));
    expect(problem?.message.length).toBeLessThan(300);
  });

  test('of a file with a thousand mistakes a hundred are listed, and the others counted', () => {
    const keys = many(1000, (at) => `  wrong-${at}: 1\n`).join('');
    const problems = problemsIn(
      `${FLAG.replace(/spec:.*\n/, '')}spec:\n  owner: a\n  values: {on: true}\n  default: on\n${keys}`,
    );
    expect(problems).toHaveLength(101);
    expect(problems.map(({ rule }) => rule)).toContain('too-many');
  });
});

describe('what is unusual and right', () => {
  test.each([
    ['line ends of Windows', FLAG.replaceAll('\n', '\r\n')],
    ['a byte order mark', `\uFEFF${FLAG}`],
    ['tabs within a line', FLAG.replace('{name: ', '{\tname:\t')],
    [
      'JSON',
      JSON.stringify({
        apiVersion: 'tidegate.dev/v1',
        kind: 'Flag',
        metadata: { name: 'a' },
        spec: { owner: 'b', values: { on: 1 }, default: 'on' },
      }),
    ],
    ['an anchor and its alias', FLAG.replace('on: true', 'on: &on true').replace('off: false', 'off: *on')],
    ['the end of a document', `---\n${FLAG}...\n`],
  ])('%s', (_, text) => {
    expect(problemsIn(text)).toEqual([]);
  });
});

/** Valid documents of most kinds. */
const CORPUS: Readonly<Record<string, string>> = {
  'fleet/fleet.yaml': FLEET,
  'fleet/distribution-sets/thermostat.yaml': SET,
  'fleet/rollouts/kiosk.yaml': ROLLOUT,
  [FILE]: FLAG,
  'fleet/stages/careful.yaml': readFileSync(
    new URL('../../fleet-repo-example/fleet/stages/careful.yaml', import.meta.url),
    'utf8',
  ),
  'fleet/devices/exceptions.yaml': readFileSync(
    new URL('../../fleet-repo-example/fleet/devices/exceptions.yaml', import.meta.url),
    'utf8',
  ),
  'ops/kiosk.yaml': `apiVersion: tidegate.dev/v1
kind: Operation
metadata: {name: kiosk}
spec:
  operations:
  - {action: pause, attempt: 1, by: ada}
`,
};

function everyProblem(files: readonly SourceFile[]): readonly Problem[] {
  return [...loadDesired(files, AT).problems, ...loadOperations(files).problems];
}

/** The problems whose place is none of the file's. */
function strayed(files: readonly SourceFile[]): readonly Problem[] {
  const lines = new Map(
    files.map(({ path, content }) => [path, new TextDecoder('utf-8').decode(content).split('\n')]),
  );
  return everyProblem(files).filter(({ file, line, column }) => {
    // A Fleet that is missing is missing where it should be.
    const text = lines.get(file) ?? [''];
    return line < 1 || line > text.length || column < 1 || column > (text[line - 1]?.length ?? 0) + 1;
  });
}

const BITS = [
  ':',
  '-',
  '{',
  '}',
  '[',
  ']',
  '"',
  "'",
  '\n',
  '\t',
  ' ',
  '#',
  '&a',
  '*a',
  '|',
  '>',
  '<<: *a',
  '!!int',
  '\0',
  '\uFEFF',
  '\r',
  '%',
  '@',
  '0',
  'null',
  '~',
  '---\n',
  '? ',
  '\u2028',
  '💥',
];

interface Mutation {
  readonly kind: string;
  /** Where in the text, from 0 to 1. */
  readonly at: number;
  readonly length: number;
  readonly bit: string;
}

const mutation = fc.record({
  kind: fc.constantFrom('delete', 'insert', 'repeat', 'swap'),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.nat({ max: 40 }),
  bit: fc.oneof(fc.constantFrom(...BITS), fc.string({ unit: 'binary', maxLength: 4 })),
});

/** The text with a piece of it taken out, doubled, moved or put in. */
function mutated(text: string, { kind, at, length, bit }: Mutation): string {
  const start = Math.floor(at * text.length);
  const [before, piece, after] = [
    text.slice(0, start),
    text.slice(start, start + length),
    text.slice(start + length),
  ];
  switch (kind) {
    case 'delete':
      return before + after;
    case 'insert':
      return before + bit + piece + after;
    case 'repeat':
      return before + piece + piece + after;
    default:
      return after + piece + before;
  }
}

describe('whatever is in the files', () => {
  test('no bytes are answered with an exception, and every problem has a place in its file', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(
          strayed([source('fleet/fleet.yaml', FLEET), source(FILE, bytes), source('ops/kiosk.yaml', bytes)]),
        ).toEqual([]);
        expect(everyProblem([source(FILE, bytes)]).length).toBeGreaterThan(0);
      }),
    );
  });

  test('no valid repository that was damaged is, either', () => {
    const file = fc.constantFrom(...Object.keys(CORPUS));
    fc.assert(
      fc.property(fc.array(fc.tuple(file, mutation), { minLength: 1, maxLength: 6 }), (mutations) => {
        const texts = { ...CORPUS };
        for (const [path, change] of mutations) texts[path] = mutated(texts[path] ?? '', change);
        expect(strayed(Object.entries(texts).map(([path, text]) => source(path, text)))).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test('the corpus itself is right, so that what is found was put there', () => {
    const files = Object.entries(CORPUS).map(([path, text]) => source(path, text));
    expect(problemsOf({ problems: everyProblem(files) })).toEqual([]);
  });
});
