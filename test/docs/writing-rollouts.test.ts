/** The page about rollouts against the schemas and parsers that it describes. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { compileGate } from '../../src/core/gates/expression.ts';
import { parseCondition } from '../../src/core/target/condition.ts';
import { DEFAULTS, STAGE_DEFAULTS } from '../../src/documents/normalise.ts';
import { parseYaml } from '../../src/documents/parse.ts';
import { validate } from '../../src/documents/validate.ts';

type Schema = { readonly [key: string]: Schema } & { readonly properties: Readonly<Record<string, Schema>> };

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const page = read('docs/writing-rollouts.md');
const rollout = JSON.parse(read('schemas/rollout.schema.json')) as Schema;
const flag = JSON.parse(read('schemas/flag.schema.json')) as Schema;
const definitions = JSON.parse(read('schemas/definitions.schema.json')) as Schema;

/** The text below a heading, up to the next one. */
function section(heading: string): string {
  const [, text = ''] = page.split(`\n## ${heading}\n`);
  return text.split('\n## ')[0] ?? '';
}

/** Cells by the first cell's first code span; `\|` is a bar inside a cell. */
function rows(text: string): ReadonlyMap<string, readonly string[]> {
  const lines = text.split('\n').filter((line) => line.startsWith('| `'));
  return new Map(
    lines.map((line) => {
      const [name = '', ...cells] = line.split(/(?<!\\)\|/).slice(1, -1);
      return [code(name)[0] ?? '', cells.map((cell) => cell.trim())];
    }),
  );
}

function code(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span.replaceAll('\\|', '|'));
}

describe('the fields', () => {
  const { spec } = rollout.properties;
  const stage = definitions['$defs']?.['stage'];

  test('every field of a Rollout has a row, and every row is a field', () => {
    expect([...rows(section('The rollout')).keys()].sort()).toEqual(
      Object.keys(spec?.properties ?? {}).sort(),
    );
  });

  test('every field of a stage has a row, and every row is a field', () => {
    expect([...rows(section('Stages')).keys()].sort()).toEqual(Object.keys(stage?.properties ?? {}).sort());
  });

  test('every field of a Flag and of its rules has a row, and every row is one', () => {
    const rule = ['flagVariant', 'flagSplit'].flatMap((kind) =>
      Object.keys(definitions['$defs']?.[kind]?.properties ?? {}),
    );
    const fields = [...Object.keys(flag.properties['spec']?.properties ?? {}), ...new Set(rule)];
    expect([...rows(section('Feature flags')).keys()].sort()).toEqual(fields.sort());
  });

  test('every field of an install window and every key of a site has a row, and every row is one', () => {
    const site = JSON.parse(read('schemas/site.schema.json')) as Schema;
    const keys = (schema: Schema | undefined) => Object.keys(schema?.properties ?? {}).sort();
    expect([...rows(section('Install windows')).keys()].sort()).toEqual(
      keys(definitions['$defs']?.['installWindow']),
    );
    expect([...rows(section('Sites')).keys()].sort()).toEqual(
      keys(site.properties['spec']?.properties['overrides']),
    );
  });

  test('what is required is said to be', () => {
    const required = (table: ReadonlyMap<string, readonly string[]>) =>
      [...table].filter(([, [value]]) => value === 'required').map(([name]) => name);
    expect(required(rows(section('The rollout')))).toEqual(spec?.['required']);
    expect(required(rows(section('Stages')))).toEqual(stage?.['required']);
    expect(required(rows(section('Feature flags')))).toEqual(flag.properties['spec']?.['required']);
  });

  test('every default is the one that holds', () => {
    const ofRollout = rows(section('The rollout'));
    expect(ofRollout.get('start')?.[0]).toBe(`\`${DEFAULTS.start}\``);
    expect(ofRollout.get('onFailure')?.[0]).toBe(`\`${DEFAULTS.onFailure}\``);
    expect(ofRollout.get('suspend')?.[0]).toBe('`false`');
    const ofStages = rows(section('Stages'));
    for (const [name, value] of Object.entries(STAGE_DEFAULTS)) {
      const written = Array.isArray(value) ? 'none' : `\`${String(value)}\``;
      expect(ofStages.get(name)?.[0], name).toBe(written);
    }
    for (const name of ['successThreshold', 'errorThreshold'] as const) {
      expect(ofRollout.get(name)?.[0]).toBe(`\`${STAGE_DEFAULTS[name]}\``);
    }
  });
});

describe('the examples', () => {
  const documents = [...page.matchAll(/^```yaml\n(apiVersion:[\s\S]*?)^```/gm)].map(([, text = '']) => text);

  test.each(documents.map((text) => [/^kind: (\w+)/m.exec(text)?.[1] ?? '', text]))(
    'the %s is valid as it stands',
    (kind, text) => {
      const parsed = parseYaml(new TextEncoder().encode(text));
      if (!parsed.ok) throw new Error(JSON.stringify(parsed.findings));
      expect(validate(parsed.yaml)).toMatchObject({ kind, findings: [] });
    },
  );

  const conditions = examplesIn(section('Target conditions')).filter((text) => text.includes("'"));
  test.each(conditions)('the condition %s is one', (text) => {
    expect(parseCondition(text)).toMatchObject({ ok: true });
  });

  const gates = examplesIn(section('Gates'));
  test.each(gates)('the gate %s is one', (text) => {
    expect(compileGate(text)).toMatchObject({ ok: true });
  });

  test('none of them is overlooked', () => {
    expect(documents).toHaveLength(6);
    expect(conditions).toHaveLength(6);
    expect(gates).toHaveLength(7);
  });
});

/** What the last cell of each row shows. */
function examplesIn(text: string): string[] {
  return [...text.matchAll(/^\|.*\| (.*) \|$/gm)].flatMap(([, cell = '']) => code(cell));
}
