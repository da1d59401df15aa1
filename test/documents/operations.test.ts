import { describe, expect, test } from 'vitest';
import { loadOperations } from '../../src/documents/load.ts';
import { problemsOf, ROLLOUT, replaced, source } from './sources.ts';

const OPS = `apiVersion: tidegate.dev/v1
kind: Operation
metadata: {name: kiosk}
spec:
  operations:
  - {action: pause, attempt: 1, by: ada, reason: calls}
  - {action: resume, attempt: 1, by: ada}
  - {action: approve, attempt: 1, stage: batch, by: bo}
  learnings:
  - {attempt: 1, text: The suite now covers a power cut.}
`;

const entriesOf = (text: string) => loadOperations([source('ops/kiosk.yaml', text)]).operations.entries;

describe('operations', () => {
  test('are read in order, with their rollout', () => {
    expect(entriesOf(OPS).map(({ id, place, ...entry }) => entry)).toEqual([
      { rollout: 'kiosk', action: 'pause', attempt: 1, by: 'ada', reason: 'calls' },
      { rollout: 'kiosk', action: 'resume', attempt: 1, by: 'ada' },
      { rollout: 'kiosk', action: 'approve', attempt: 1, stage: 'batch', by: 'bo' },
    ]);
  });

  test('have ids that stay when entries are added below, reordered keys or moved around', () => {
    const ids = entriesOf(OPS).map(({ id }) => id);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{16}$/);
    expect(new Set(ids).size).toBe(3);
    const more = replaced(OPS, '  learnings:', '  - {action: pause, attempt: 2, by: bo}\n  learnings:');
    expect(
      entriesOf(more)
        .map(({ id }) => id)
        .slice(0, 3),
    ).toEqual(ids);
    const reordered = replaced(
      OPS,
      '{action: resume, attempt: 1, by: ada}',
      '{by: ada, attempt: 1, action: resume}',
    );
    expect(entriesOf(reordered).map(({ id }) => id)).toEqual(ids);
  });

  test('that are equal have ids of their own, and those of another rollout have others', () => {
    const entry = '  - {action: resume, attempt: 1, by: ada}\n';
    const twice = entriesOf(replaced(OPS, entry, entry + entry)).map(({ id }) => id);
    expect(new Set(twice).size).toBe(4);
    expect(twice[1]).toBe(entriesOf(OPS)[1]?.id);
    const other = entriesOf(replaced(OPS, 'name: kiosk', 'name: other')).map(({ id }) => id);
    expect(new Set([...other, ...twice]).size).toBe(7);
  });

  test('have the ids that sha256sum gives for their canonical JSON', () => {
    // printf '%s' '{"entry":{"action":"pause","attempt":1,"by":"ada","reason":"calls"},"nth":1,"rollout":"kiosk"}'
    expect(entriesOf(OPS)[0]?.id).toBe('569987a934fef92c');
  });

  test('learnings are found by rollout and attempt; several texts become paragraphs', () => {
    const { operations } = loadOperations([
      source('ops/kiosk.yaml', `${OPS}  - {attempt: 1, text: Ask site 12 first.}\n`),
    ]);
    expect([...operations.learnings]).toEqual([
      ['kiosk/1', 'The suite now covers a power cut.\n\nAsk site 12 first.'],
    ]);
  });

  test('a file that cannot be read adds nothing and takes nothing from the others', () => {
    const other = replaced(OPS, 'name: kiosk', 'name: other');
    const loaded = loadOperations([
      source('ops/broken.yaml', ': ['),
      source('ops/kiosk.yaml', replaced(OPS, 'action: resume', 'action: restart')),
      source('ops/link.yaml', 'kiosk.yaml', '120000'),
      source('ops/other.yaml', other),
    ]);
    expect(loaded.operations.entries.map(({ rollout }) => rollout)).toEqual([
      'kiosk',
      'kiosk',
      'other',
      'other',
      'other',
    ]);
    expect(problemsOf(loaded)).toEqual([
      expect.stringMatching(/^ops\/broken\.yaml:1:\d+: /),
      'ops/kiosk.yaml:7:14: spec.operations[1].action must be pause, resume, approve, promote, cancel or retry, found "restart"',
      expect.stringMatching(/^ops\/link\.yaml:1:1: a symbolic link/),
    ]);
  });

  test('two files for one rollout: the first counts', () => {
    const loaded = loadOperations([source('ops/b.yaml', OPS), source('ops/a.yaml', OPS)]);
    expect(loaded.operations.entries).toHaveLength(3);
    expect(problemsOf(loaded)).toEqual([
      'ops/b.yaml:3:18: the Operation "kiosk" is in ops/a.yaml:3:18 already; rename or delete one of the two',
    ]);
  });

  test('desired state has no place in ops/, nor operations outside', () => {
    expect(problemsOf(loadOperations([source('ops/kiosk.yaml', ROLLOUT)]))).toEqual([
      'ops/kiosk.yaml:2:7: a Rollout belongs in fleet/rollouts/, found it in ops/kiosk.yaml; move it there',
    ]);
    expect(problemsOf(loadOperations([source('fleet/rollouts/kiosk.yaml', ': [')]))).toEqual([]);
  });

  test('an approval or a promotion of no stage in particular is a problem, not a wait without end', () => {
    for (const action of ['approve', 'promote']) {
      const text = replaced(
        OPS,
        '{action: resume, attempt: 1, by: ada}',
        `{action: ${action}, attempt: 1, by: ada}`,
      );
      const { operations, problems } = loadOperations([source('ops/kiosk.yaml', text)]);
      expect(problems.map(({ line, column, rule }) => [line, column, rule])).toEqual([[7, 14, 'operation']]);
      expect(operations.entries.map(({ action: kept }) => kept)).toEqual(['pause', 'approve']);
    }
  });

  test('an emergency is a promotion of no stage in particular', () => {
    const withEntry = (entry: string) =>
      loadOperations([
        source('ops/kiosk.yaml', replaced(OPS, '{action: resume, attempt: 1, by: ada}', entry)),
      ]);
    const { operations, problems } = withEntry('{action: promote, emergency: true, attempt: 2, by: ada}');
    expect(problems).toEqual([]);
    expect(operations.entries[1]).toMatchObject({ action: 'promote', emergency: true });
    for (const wrong of [
      '{action: promote, emergency: true, stage: batch, attempt: 2, by: ada}',
      '{action: retry, emergency: true, attempt: 2, by: ada}',
      '{action: promote, emergency: false, attempt: 2, by: ada}',
    ]) {
      const loaded = withEntry(wrong);
      expect(loaded.operations.entries.map(({ action }) => action)).toEqual(['pause', 'approve']);
      expect(loaded.problems).toHaveLength(1);
    }
  });

  test('a wrong entry is a problem and keeps nobody from pausing', () => {
    const wrong = '{action: explode, attempt: 1, by: ada}';
    const text = replaced(OPS, '{action: resume, attempt: 1, by: ada}', wrong);
    const { operations, problems } = loadOperations([source('ops/kiosk.yaml', text)]);
    expect(problems.map(({ line, column, rule }) => [line, column, rule])).toEqual([[7, 14, 'schema']]);
    expect(operations.entries.map(({ action }) => action)).toEqual(['pause', 'approve']);
    expect(operations.learnings.size).toBe(1);
  });

  test('of a file that is wrong as a whole nothing is taken', () => {
    const text = replaced(OPS, 'kind: Operation', 'kind: Operation\nmore: true');
    const { operations, problems } = loadOperations([source('ops/kiosk.yaml', text)]);
    expect(problems).toHaveLength(1);
    expect(operations.entries).toEqual([]);
  });
});
