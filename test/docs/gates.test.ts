/** The page about gates against the schemas, ladders and presets that it describes. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { compileGate } from '../../src/core/gates/expression.ts';
import {
  NUISANCE_LADDER,
  SILENCE_LADDER,
  STANDARD_LADDER,
  TRIAGE_LADDER,
} from '../../src/core/gates/severity.ts';
import { parseDuration } from '../../src/core/model/time.ts';
import { GATE_DEFAULTS } from '../../src/documents/gates.ts';
import { PRESETS } from '../../src/documents/presets.ts';
import { load, problemsOf, ROLLOUT, replaced, SET } from '../documents/sources.ts';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const page = read('docs/gates.md');

/** The text below a heading of the second order. */
function section(heading: string): string {
  const [, text = ''] = page.split(`\n## ${heading}\n`);
  return text.split('\n## ')[0] ?? '';
}

/** Cells of every row below a table's head. */
function rows(text: string): readonly (readonly string[])[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| ?-/.test(line))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

const spans = (cell = '') => [...cell.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span);

const properties: Record<string, unknown> = JSON.parse(read('schemas/definitions.schema.json')).$defs.gateRule
  .properties;

test('every option of a gate has a row, and every row is one', () => {
  const options = rows(section('Writing one')).flatMap(([name]) => spans(name).slice(0, 1));
  expect([...options].sort()).toEqual(Object.keys(properties).sort());
});

test('every default is the one that holds', () => {
  const said = new Map(rows(section('Writing one')).map(([name, value]) => [spans(name)[0], value]));
  for (const name of ['margin', 'haltRatio', 'window', 'every', 'for'] as const)
    expect([name, said.get(name)]).toEqual([name, `\`${GATE_DEFAULTS[name]}\``]);
  expect(said.get('method')).toBe('`sequential`');
  expect(said.get('against')).toBe('`control`');
  expect(said.get('worse')).toBe('`higher`');
});

test('S4.92 the table of the ladders is theirs', () => {
  let ladder = '';
  const said = new Map<string, unknown[]>();
  for (const [name, from, severity, action, within] of rows(section('What a breach does'))) {
    if (within === undefined || from === 'from') continue;
    ladder = spans(name)[0] ?? ladder;
    const rung = { from: Number(from), severity, action: spans(action)[0], withinMs: parseDuration(within) };
    said.set(ladder, [...(said.get(ladder) ?? []), rung]);
  }
  expect(Object.fromEntries(said)).toEqual({
    standard: STANDARD_LADDER,
    silence: SILENCE_LADDER,
    triage: TRIAGE_LADDER,
    nuisance: NUISANCE_LADDER,
  });
});

test('the tables of the presets name each of them once', () => {
  const shown = rows(section('Presets')).flatMap(([name]) => spans(name));
  expect([...shown].sort()).toEqual(PRESETS.map(({ name }) => name).sort());
});

describe('the examples', () => {
  test.each(
    rows(section('Which one?').split('And how it decides')[0] ?? '').flatMap(([, , as]) => spans(as)),
  )('the gate %s is one', (text) => {
    if (!text.startsWith('{')) expect(compileGate(text)).toMatchObject({ ok: true });
    else
      expect(
        problemsOf(
          load({
            'fleet/rollouts/kiosk.yaml': gated(text).replace(
              '- canary: 1 site',
              '- {name: canary, size: 1 site, soak: 1h}',
            ),
          }),
        ),
      ).toEqual([]);
  });

  test('the documents load together', () => {
    const documents = [...page.matchAll(/^```yaml\n(apiVersion:[\s\S]*?)^```/gm)].map(
      ([, text = '']) => text,
    );
    const folders: Record<string, string> = { Rollout: 'rollouts', Gate: 'gates', StagePlan: 'stages' };
    const files = documents.map((text, at) => {
      const kind = /^kind: (\w+)/m.exec(text)?.[1] ?? '';
      return [`fleet/${folders[kind]}/example-${at}.yaml`, text];
    });
    expect(files).toHaveLength(3);
    const loaded = load({ 'fleet/distribution-sets/thermostat.yaml': SET, ...Object.fromEntries(files) });
    expect(problemsOf(loaded)).toEqual([]);
  });
});

function gated(gate: string): string {
  return replaced(ROLLOUT, 'health: runtime_healthy', `it: ${gate}`);
}
