/**
 * Writes src/documents/types.generated.ts from the schemas of the document kinds; with `--check` it writes nothing
 * and exits 1 where the file is not what the schemas give.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { compile } from 'json-schema-to-typescript';
import { KINDS, kebabCase } from '../src/documents/kinds.ts';

const OUTPUT = new URL('../src/documents/types.generated.ts', import.meta.url);
const BANNER = '/** Generated from schemas/ by `npm run generate`; do not edit. */';

type Schema = Record<string, unknown>;

/** Of no use to the type generator. A property may be called `title` too: that one holds a schema and stays. */
const DROPPED = new Set(['$schema', '$id', 'title']);

const generated = await generate();
if (process.argv.includes('--check')) {
  const current = await readFile(OUTPUT, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  if (current !== generated) {
    console.error('src/documents/types.generated.ts is not what schemas/ give; run: npm run generate');
    process.exitCode = 1;
  }
} else {
  await writeFile(OUTPUT, generated);
}

/** One module with a type per kind and per shared definition, and their union `Document`. */
async function generate(): Promise<string> {
  const shared = await readSchema('definitions');
  const definitions: Schema = { ...(shared['$defs'] as Schema) };
  for (const kind of KINDS) definitions[kind] = await readSchema(kebabCase(kind));
  const bundle = { $defs: definitions, oneOf: KINDS.map((kind) => ({ $ref: `#/$defs/${kind}` })) };
  return compile(forTypes(bundle) as Schema, 'Document', {
    bannerComment: BANNER,
    additionalProperties: false,
    ignoreMinAndMaxItems: true,
    unknownAny: true,
    style: { singleQuote: true, printWidth: 110 },
  });
}

async function readSchema(name: string): Promise<Schema> {
  return JSON.parse(await readFile(new URL(`../schemas/${name}.schema.json`, import.meta.url), 'utf8'));
}

/**
 * The schema in the words that the type generator knows. It would name types after titles, which are written for
 * messages here; a reference with remarks beside it would become a type of its own; and it has no `if`.
 */
function forTypes(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(forTypes);
  if (typeof node !== 'object' || node === null) return node;
  const schema = node as Schema;
  if (typeof schema['$ref'] === 'string') {
    return { $ref: schema['$ref'].replace('definitions.schema.json', '') };
  }
  if ('if' in schema)
    return { description: schema['description'], anyOf: [schema['then'], schema['else']].map(forTypes) };
  const kept = Object.entries(schema).filter(
    ([key, value]) => !DROPPED.has(key) || typeof value === 'object',
  );
  return Object.fromEntries(kept.map(([key, value]) => [key, forTypes(value)]));
}
