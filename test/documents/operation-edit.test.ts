import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addOperations, newOperations, type OperationEntry } from '../../src/documents/edit.ts';
import { loadOperations } from '../../src/documents/load.ts';
import { source } from './sources.ts';

const PAUSE: OperationEntry = { action: 'pause', attempt: 2, by: 'ada', reason: 'Calls from site 12.' };
const LINE = '{action: pause, attempt: 2, by: ada, reason: Calls from site 12.}';
const HEAD = 'apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: kiosk}\nspec:\n';

describe('an entry is added', () => {
  test.each([
    ['below flow entries', `  operations:\n  - {action: resume, attempt: 1, by: bo}  # Sorry.\n`, '  - '],
    [
      'with their indentation',
      `  operations:\n      -   {action: resume, attempt: 1, by: bo}\n`,
      '      -   ',
    ],
    [
      'below an entry of several lines',
      `  operations:\n  - action: resume\n    attempt: 1\n    by: bo\n    reason: |\n      Two\n      lines.\n`,
      '  - ',
    ],
    ['where the last line does not end', `  operations:\n  - {action: resume, attempt: 1, by: bo}`, '  - '],
    [
      'before comments and keys that follow',
      `  # What we did.\n  operations:\n  - {action: resume, attempt: 1, by: bo}\n`,
      '  - ',
      '  # What we learnt.\n  learnings: []\n',
    ],
  ])('%s, and no other byte changes', (_where, above, dash, below = '') => {
    const ended = above.endsWith('\n') ? above : `${above}\n`;
    expect(addOperations(`${HEAD}${above}${below}`, [PAUSE])).toBe(`${HEAD}${ended}${dash}${LINE}\n${below}`);
  });

  test('with CRLF in a file that has it', () => {
    const text = `${HEAD}  operations:\n  - {action: resume, attempt: 1, by: bo}\n`.replaceAll('\n', '\r\n');
    expect(addOperations(text, [PAUSE])).toBe(`${text}  - ${LINE}\r\n`);
  });

  test.each([
    ['an empty list', '  # None yet.\n  operations: []\n'],
    ['no list', '  # None yet.\n  learnings: []\n'],
    ['a list on one line', '  # None yet.\n  operations: [{action: resume, attempt: 1, by: bo}]\n'],
  ])('where there is %s, and comments stay', (_what, spec) => {
    const edited = addOperations(`${HEAD}${spec}`, [PAUSE, PAUSE]) ?? '';
    expect(edited).toContain('# None yet.');
    const { operations, problems } = loadOperations([source('ops/kiosk.yaml', edited)]);
    expect(problems).toEqual([]);
    expect(operations.entries.slice(-2)).toMatchObject([PAUSE, PAUSE]);
  });

  test.each([
    ['no Operation', HEAD.replace('Operation', 'Rollout')],
    ['an empty spec', HEAD],
    ['no YAML', ': ['],
    ['a list that is an alias', `${HEAD}  learnings: &l [{attempt: 1, text: x}]\n  operations: *l\n`],
  ])('never to %s', (_what, text) => {
    expect(addOperations(text, [PAUSE])).toBeUndefined();
  });

  test('as it was meant, whatever people write into it', () => {
    const texts = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
      .filter((text) => text.trim() !== '');
    fc.assert(
      fc.property(texts, texts, fc.boolean(), (by, reason, isNew) => {
        const entry: OperationEntry = { action: 'cancel', attempt: 1, by, reason };
        const before = newOperations('kiosk', [PAUSE]);
        const text = isNew ? newOperations('kiosk', [PAUSE, entry]) : addOperations(before, [entry]);
        // A text that YAML cannot hold is refused, never changed.
        if (text === undefined) return;
        const { operations, problems } = loadOperations([source('ops/kiosk.yaml', text)]);
        if (problems.length > 0) return expect(isNew).toBe(true);
        expect(operations.entries.at(-1)).toMatchObject({ by, reason });
        expect(operations.entries[0]).toMatchObject(PAUSE);
      }),
    );
  });
});

test('a new file is as people write one', () => {
  expect(newOperations('kiosk', [PAUSE])).toBe(`${HEAD}  operations:\n  - ${LINE}\n`);
  expect(newOperations('2026', [PAUSE])).toContain('metadata: {name: "2026"}');
});
