import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect, test } from 'vitest';
import { KINDS, kebabCase } from '../../src/documents/kinds.ts';
import { DEFAULTS, STAGE_DEFAULTS } from '../../src/documents/normalise.ts';

type Schema = { readonly [key: string]: unknown };

const names = ['definitions', ...KINDS.map(kebabCase)];
const schemas: ReadonlyMap<string, Schema> = new Map(
  names.map((name) => [
    name,
    JSON.parse(readFileSync(new URL(`../../schemas/${name}.schema.json`, import.meta.url), 'utf8')),
  ]),
);
const ajv = new Ajv2020({ allowUnionTypes: true });
for (const schema of schemas.values()) ajv.addSchema(schema);

/** Every schema inside a schema, with the JSON pointer to it. */
function* subschemas(node: unknown, pointer: string): Generator<readonly [string, Schema]> {
  if (typeof node !== 'object' || node === null) return;
  const schema = node as Schema;
  // A property may be called "type", too: then it holds a schema.
  const isSchema = ['type', '$ref', 'enum', 'const'].some((key) => key in schema && isPlain(schema[key]));
  if (isSchema) yield [pointer, schema];
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'examples' || key === 'if') continue;
    yield* subschemas(value, `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`);
  }
}

function isPlain(value: unknown): boolean {
  return typeof value === 'string' || Array.isArray(value);
}

/** With what the definition says that a reference leads to. */
function followed(schema: Schema): Schema {
  const reference = schema['$ref'];
  if (typeof reference !== 'string') return schema;
  const definitions = schemas.get('definitions')?.['$defs'] as Record<string, Schema>;
  return { ...definitions[reference.split('/').at(-1) ?? ''], ...schema };
}

for (const name of names) {
  const all = [...subschemas(schemas.get(name), '#')];

  test(`${name}: every property has a description, and every value with a form has an example`, () => {
    const bare = all.filter(
      ([pointer, schema]) => /\/properties\/[^/]+$/.test(pointer) && !followed(schema)['description'],
    );
    expect(bare.map(([pointer]) => pointer)).toEqual([]);
    const without = all.filter(([pointer, schema]) => {
      const {
        const: constant,
        examples,
        type,
      } = followed(schema) as Schema & { const?: unknown; examples?: unknown };
      const isMapping = type === 'object' && !pointer.includes('$defs');
      return (
        constant === undefined && examples === undefined && !isMapping && pointer.includes('/properties/')
      );
    });
    expect(without.map(([pointer]) => pointer)).toEqual([]);
  });

  test(`${name}: every example and default is valid where it stands`, () => {
    for (const [pointer, schema] of all) {
      const examples = [
        ...((schema['examples'] as unknown[] | undefined) ?? []),
        ...('default' in schema ? [schema['default']] : []),
      ];
      if (examples.length === 0) continue;
      const validate = ajv.compile({
        $ref: `https://tidegate.dev/schemas/${name}.schema.json${encodeURI(pointer)}`,
      });
      for (const example of examples)
        expect([pointer, example, validate(example)]).toEqual([pointer, example, true]);
    }
  });

  test(`${name}: no mapping takes unknown keys`, () => {
    const open = all.filter(
      ([, schema]) => 'properties' in schema && schema['additionalProperties'] !== false,
    );
    expect(open.map(([pointer]) => pointer)).toEqual([]);
  });
}

test('the defaults that editors show are the ones that are filled in', () => {
  const shown = new Map<string, unknown>();
  for (const [name, schema] of schemas) {
    for (const [pointer, { default: value }] of subschemas(schema, '#')) {
      if (value !== undefined) shown.set(`${name} ${pointer.split('/').at(-1)}`, value);
    }
  }
  const { stratifyBy, ...scalars } = STAGE_DEFAULTS;
  expect(stratifyBy).toEqual([]);
  for (const [key, value] of Object.entries(scalars))
    expect([key, shown.get(`definitions ${key}`)]).toEqual([key, value]);
  expect(shown.get('rollout successThreshold')).toBe(STAGE_DEFAULTS.successThreshold);
  expect(shown.get('rollout errorThreshold')).toBe(STAGE_DEFAULTS.errorThreshold);
  expect(shown.get('rollout start')).toBe(DEFAULTS.start);
  expect(shown.get('rollout onFailure')).toBe(DEFAULTS.onFailure);
  expect(shown.get('fleet pollInterval')).toBe(DEFAULTS.pollInterval);
  expect(shown.get('distribution-set status')).toBe(DEFAULTS.moduleStatus);
  expect(shown.get('distribution-set restartPolicy')).toBe(DEFAULTS.restartPolicy);
});
