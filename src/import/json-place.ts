/** A value in a JSON file, and where it stands: what is read from exports of other systems, and what messages point at. */

/** A value that nobody has vouched for. Whatever is asked of it that it is not, is undefined or empty. */
export class JsonPlace {
  readonly value: unknown;
  readonly file: string;
  /** RFC 6901: `/content/modulesContent`; empty for the whole document. */
  readonly pointer: string;

  constructor(value: unknown, file: string, pointer = '') {
    this.value = value;
    this.file = file;
    this.pointer = pointer;
  }

  /** What stands further in; its value is undefined where nothing does. */
  at(...steps: readonly (string | number)[]): JsonPlace {
    let { value, pointer } = this as { value: unknown; pointer: string };
    for (const step of steps) {
      const isThere = typeof value === 'object' && value !== null && Object.hasOwn(value, step);
      value = isThere ? (value as Record<string | number, unknown>)[step] : undefined;
      pointer += `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`;
    }
    return new JsonPlace(value, this.file, pointer);
  }

  has(key: string): boolean {
    return this.isMapping && Object.hasOwn(this.value as object, key);
  }

  get isMapping(): boolean {
    return typeof this.value === 'object' && this.value !== null && !Array.isArray(this.value);
  }

  get isList(): boolean {
    return Array.isArray(this.value);
  }

  /** Absent, or there and null: exports write both for what is not set. */
  get isNothing(): boolean {
    return this.value === undefined || this.value === null;
  }

  /** Without what no document can hold: a NUL, or half a surrogate pair, which JSON can. */
  get text(): string | undefined {
    return typeof this.value === 'string' ? storable(this.value) : undefined;
  }

  /** A text, or a number, true or false as one. */
  get scalar(): string | undefined {
    const isPlain = typeof this.value === 'number' || typeof this.value === 'boolean';
    return isPlain ? String(this.value) : this.text;
  }

  get number(): number | undefined {
    return typeof this.value === 'number' && Number.isFinite(this.value) ? this.value : undefined;
  }

  get entries(): readonly (readonly [string, JsonPlace])[] {
    if (!this.isMapping) return [];
    return Object.keys(this.value as object).map((key) => [key, this.at(key)] as const);
  }

  get items(): readonly JsonPlace[] {
    return Array.isArray(this.value) ? this.value.map((_, index) => this.at(index)) : [];
  }
}

function storable(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\ufffd');
}

export type ReadJson =
  | { readonly ok: true; readonly places: readonly JsonPlace[] }
  /** `message` continues a sentence that begins with the file's name. */
  | { readonly ok: false; readonly message: string };

/** The JSON values of a file: one, or several after each other, as they are when answers of an API were appended. */
export function readJson(text: string, file: string): ReadJson {
  const source = text.replace(/^\uFEFF/, '');
  if (source.trim() === '') return { ok: false, message: 'is empty' };
  const whole = parse(source);
  if (whole.ok) return { ok: true, places: [new JsonPlace(whole.value, file)] };
  const parts = topLevelParts(source);
  const values = parts.map(parse);
  if (parts.length < 2 || !values.every((each) => each.ok)) return { ok: false, message: whole.message };
  return { ok: true, places: values.map(({ value }, at) => new JsonPlace(value, `${file} (${at + 1})`)) };
}

type Parsed =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly message: string; readonly value?: undefined };

function parse(text: string): Parsed {
  try {
    return { ok: true, value: JSON.parse(text) as unknown };
  } catch (error) {
    // The engine's own words quote the text, which may hold a password.
    const said = error instanceof Error ? error.message : '';
    const position = /at position (\d+)/.exec(said)?.[1];
    if (position === undefined) return { ok: false, message: 'is no JSON, or ends before its end' };
    const before = text.slice(0, Number(position)).split('\n');
    const column = (before.at(-1) ?? '').length + 1;
    return {
      ok: false,
      message: `is no JSON: it breaks off or errs in line ${before.length}, column ${column}`,
    };
  }
}

/** The text cut behind every bracket that closes an outermost one. */
function topLevelParts(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/gs)) {
    if (token === '{' || token === '[') depth++;
    if (token !== '}' && token !== ']') continue;
    depth--;
    if (depth > 0) continue;
    parts.push(text.slice(start, index + 1));
    start = index + 1;
    depth = 0;
  }
  return text.slice(start).trim() === '' ? parts : [...parts, text.slice(start)];
}
