/**
 * What a request's body may be: JSON, of a bounded size, in the shape that a schema says. What the values mean is
 * left to whoever asked for them.
 */
import { Ajv2020, type ErrorObject, type SchemaObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { problem } from './problem.ts';

/** A body that was read, or the problem to answer with. */
export type BodyResult<T> = { readonly kind: 'ok'; readonly body: T } | Refusal;
type Refusal = { readonly kind: 'refused'; readonly response: Response };

export type Schema<T> = ValidateFunction<T>;

const utf8 = new TextDecoder('utf-8', { fatal: true });
const ajv = new Ajv2020({ verbose: true, allowUnionTypes: true });

/** Every leaf of the schema has a `description` that completes the sentence "expected …". */
export function compileSchema<T>(schema: SchemaObject): Schema<T> {
  return ajv.compile<T>(schema);
}

export interface BodyLimits<T> {
  readonly maxBytes: number;
  readonly schema: Schema<T>;
}

/** Reads at most `maxBytes`: a larger body is refused without being kept. */
export async function readJson<T>(request: Request, limits: BodyLimits<T>): Promise<BodyResult<T>> {
  const wrongType = judgeMediaType(request.headers);
  return wrongType ?? (await parseBody(readBytes(request, limits.maxBytes), limits));
}

/** What `reading` ends with: the body's bytes, undefined where there were more than `maxBytes`, or a rejection. */
export async function parseBody<T>(
  reading: Promise<Uint8Array | undefined>,
  { maxBytes, schema }: BodyLimits<T>,
): Promise<BodyResult<T>> {
  let bytes: Uint8Array | undefined;
  try {
    bytes = await reading;
  } catch {
    // The client hung up or sent no HTTP. Nobody may hear this, but it is no fault of ours.
    return refused('invalid-json', 'expected a whole body, found one that broke off', 'send it again');
  }
  if (bytes === undefined) {
    return refused('body-too-large', `expected at most ${maxBytes} bytes`, 'send less at once');
  }
  let body: unknown;
  try {
    body = JSON.parse(utf8.decode(bytes));
  } catch (error) {
    const found = error instanceof SyntaxError ? error.message : 'bytes that are not UTF-8';
    return refused(
      'invalid-json',
      `expected JSON in UTF-8, found ${excerpt(found)}`,
      'encode the body again',
    );
  }
  return schema(body) ? { kind: 'ok', body } : refuseShape(schema.errors?.[0]);
}

function judgeMediaType(headers: Headers): Refusal | undefined {
  const type = headers.get('content-type') ?? '';
  if (type.split(';')[0]?.trim().toLowerCase() !== 'application/json') {
    const found = type === '' ? 'none' : excerpt(type);
    return refused('not-json', `expected Content-Type application/json, found ${found}`, 'set the header');
  }
  const encoding = headers.get('content-encoding') ?? 'identity';
  if (encoding.toLowerCase() === 'identity') return undefined;
  return refused(
    'not-json',
    `expected no Content-Encoding, found ${excerpt(encoding)}`,
    'send it uncompressed',
  );
}

/** The body's bytes, or undefined where there are more than `maxBytes`. The declared length is not relied on. */
async function readBytes(request: Request, maxBytes: number): Promise<Uint8Array | undefined> {
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) return undefined;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > maxBytes) return undefined; // Leaving the loop cancels the stream.
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Where the body departs from its schema, as a JSON pointer, and how. */
function refuseShape(error: ErrorObject | undefined): Refusal {
  if (error === undefined) throw new TypeError('a schema refused a body without saying why');
  const { pointer, expected, found } = departure(error);
  const detail = `${pointer === '' ? 'the body' : pointer}: expected ${expected}, found ${found}`;
  return refused('invalid-body', detail, 'correct this value', { pointer, expected, found });
}

function departure(error: ErrorObject): { pointer: string; expected: string; found: string } {
  const { instancePath: at, keyword, params, parentSchema, data } = error;
  const expected =
    typeof parentSchema?.['description'] === 'string' ? parentSchema['description'] : error.message;
  const inside = (key: unknown) =>
    `${at}/${excerpt(String(key).replaceAll('~', '~0').replaceAll('/', '~1'))}`;
  switch (keyword) {
    case 'required': {
      const key = String(params['missingProperty']);
      const description: unknown = parentSchema?.['properties']?.[key]?.description;
      return { pointer: inside(key), expected: String(description ?? 'a value'), found: 'nothing' };
    }
    case 'additionalProperties': {
      const known = Object.keys(parentSchema?.['properties'] ?? {}).join(', ');
      const pointer = inside(params['additionalProperty']);
      return { pointer, expected: `no keys but ${known}`, found: 'another key' };
    }
    default: {
      // The schema of `propertyNames` judges a key: the pointer leads to it, as what is wrong is the key itself.
      const pointer = error.propertyName === undefined ? at : inside(error.propertyName);
      return { pointer, expected: expected ?? 'another value', found: describe(data) };
    }
  }
}

/** A value short enough for a message. Arrays and objects are only named: they may be nested without end. */
function describe(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'object' && value !== null) return `an object of ${Object.keys(value).length}`;
  // JSON.stringify would call a number beyond the range of doubles null.
  return excerpt(typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? 'nothing'));
}

function excerpt(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 80)}…`;
}

function refused(
  code: 'invalid-json' | 'invalid-body' | 'body-too-large' | 'not-json',
  detail: string,
  next: string,
  extensions: Readonly<Record<string, string>> = {},
): Refusal {
  return { kind: 'refused', response: problem(code, { detail, next, extensions }) };
}
