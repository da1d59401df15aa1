/**
 * A file of devices: what an inventory exports. JSON (a list of {id, tags}), one such object per line, CSV with the column `id` and a
 * column per tag, or a DeviceList document. Only tags are looked at, and ids where a condition asks for them.
 */
import { parse as parseYamlText } from 'yaml';

export interface ListedDevice {
  readonly id: string;
  readonly tags: Readonly<Record<string, string>>;
}

export type ParsedDevices =
  | { readonly ok: true; readonly devices: readonly ListedDevice[] }
  /** `line` counts from 1. */
  | { readonly ok: false; readonly line?: number; readonly message: string };

export function parseDevices(text: string): ParsedDevices {
  const content = text.replace(/^\uFEFF/, '');
  const start = content.trimStart();
  if (start === '') return { ok: false, message: 'the file is empty' };
  try {
    if (start.startsWith('[')) return fromList(JSON.parse(start));
    if (start.startsWith('{')) return fromLines(content);
    if (/^(apiVersion|kind|metadata|spec|-|#|%|devices)/.test(start)) return fromYaml(start);
    return fromCsv(content);
  } catch (error) {
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    return { ok: false, message: `it cannot be read: ${why}` };
  }
}

function fromYaml(text: string): ParsedDevices {
  // biome-ignore lint/suspicious/noExplicitAny: what somebody wrote is looked at step by step.
  const value: any = parseYamlText(text, { maxAliasCount: 100 });
  return fromList(Array.isArray(value) ? value : (value?.spec?.devices ?? value?.devices));
}

function fromLines(text: string): ParsedDevices {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  // One object over several lines is a document of its own kind.
  try {
    return fromList(lines.map((line) => JSON.parse(line)));
  } catch (error) {
    const whole: unknown = (() => {
      try {
        return JSON.parse(text);
      } catch {
        throw error;
      }
    })();
    return fromList((whole as { devices?: unknown }).devices);
  }
}

function fromList(value: unknown): ParsedDevices {
  if (!Array.isArray(value))
    return {
      ok: false,
      message: 'expected a list of devices, each with id and tags; see tidegate plan --help',
    };
  const devices: ListedDevice[] = [];
  for (const [at, each] of (value as readonly unknown[]).entries()) {
    const device = deviceOf(each);
    if (typeof device === 'string') return { ok: false, message: `device ${at + 1} of the list ${device}` };
    devices.push(device);
  }
  return { ok: true, devices };
}

function deviceOf(value: unknown): ListedDevice | string {
  if (typeof value !== 'object' || value === null) return 'is no mapping with id and tags';
  const { id, tags = {} } = value as { id?: unknown; tags?: unknown };
  if (typeof id !== 'string' || id === '') return 'has no id';
  if (typeof tags !== 'object' || tags === null || Array.isArray(tags))
    return `(${id}) has tags that are no mapping`;
  const texts: Record<string, string> = {};
  for (const [name, tag] of Object.entries(tags)) {
    if (typeof tag === 'string') texts[name] = tag;
    else if (typeof tag === 'number' || typeof tag === 'boolean') texts[name] = String(tag);
    else if (tag !== null) return `(${id}) has a tag ${name} that is no text`;
  }
  return { id, tags: texts };
}

/** One device per line, with quotes as in RFC 4180; also semicolons, which spreadsheets write where the comma is a decimal sign. */
function fromCsv(text: string): ParsedDevices {
  const [header = '', ...lines] = text.split(/\r?\n/);
  const separator = header.includes(',')
    ? ','
    : header.includes(';')
      ? ';'
      : header.includes('\t')
        ? '\t'
        : ',';
  const columns = cellsOf(header, separator).map((name) => name.trim());
  const idAt = columns.findIndex((name) => /^(id|deviceId|device_id|device|controllerId)$/i.test(name));
  if (idAt === -1) {
    const found = columns.slice(0, 5).join(', ');
    return {
      ok: false,
      line: 1,
      message: `the first line of a CSV names its columns, one of them id; found ${found}`,
    };
  }
  const devices: ListedDevice[] = [];
  for (const [at, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const cells = cellsOf(line, separator);
    const id = cells[idAt]?.trim() ?? '';
    if (id === '') return { ok: false, line: at + 2, message: 'the device has no id' };
    if (cells.length > columns.length) {
      const message = `expected ${columns.length} columns, found ${cells.length}`;
      return { ok: false, line: at + 2, message };
    }
    const tags: Record<string, string> = {};
    for (const [column, name] of columns.entries()) {
      const value = cells[column]?.trim() ?? '';
      if (column !== idAt && value !== '') tags[name.replace(/^tags\./, '')] = value;
    }
    devices.push({ id, tags });
  }
  return { ok: true, devices };
}

function cellsOf(line: string, separator: string): readonly string[] {
  if (!line.includes('"')) return line.split(separator);
  const cells: string[] = [];
  let [cell, isQuoted] = ['', false];
  for (let at = 0; at < line.length; at++) {
    const character = line[at];
    if (isQuoted && character === '"' && line[at + 1] === '"') {
      cell += '"';
      at += 1;
    } else if (character === '"') isQuoted = !isQuoted;
    else if (character === separator && !isQuoted) {
      cells.push(cell);
      cell = '';
    } else cell += character;
  }
  return [...cells, cell];
}
