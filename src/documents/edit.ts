/** Changes one value in a text that people wrote, and nothing else: comments, layout and line ends stay as they are. */
import { isDeepStrictEqual } from 'node:util';
import { Document, isMap, isScalar, isSeq, type ParsedNode, parseDocument, YAMLMap } from 'yaml';
import { canonicalJson } from '../core/model/manifest.ts';
import { parseYaml } from './parse.ts';
import type { Operation } from './types.generated.ts';

/**
 * The Rollout file with another `spec.distributionSet`; undefined where that value is not one that can be replaced
 * alone (no Rollout, no such key, an alias or an anchor that others use, a block scalar).
 */
export function setDistributionSet(text: string, name: string): string | undefined {
  const before = dataOf(text);
  if (before?.kind !== 'Rollout' || before.spec?.distributionSet === undefined) return undefined;
  const node = parseDocument(text).getIn(['spec', 'distributionSet'], true);
  const quote = isScalar(node) ? QUOTES[node.type ?? ''] : undefined;
  if (!isScalar(node) || node.range == null || quote === undefined) return undefined;
  const [start, end] = node.range;
  const edited = text.slice(0, start) + quote + name + quote + text.slice(end);

  // Reading it back proves that the name fits its quotes and that no alias carried the change elsewhere.
  before.spec.distributionSet = name;
  return JSON.stringify(dataOf(edited)) === JSON.stringify(before) ? edited : undefined;
}

/**
 * The Rollout file with the condition in `spec.exclude`, besides what is there: a line below the target condition, or the value that is there
 * replaced. The same text where it excludes that already; undefined where it is another rollout's, or cannot be edited so.
 */
export function setExclusion(
  text: string,
  { rollout, condition }: { readonly rollout: string; readonly condition: string },
): string | undefined {
  const before = dataOf(text);
  if (before?.kind !== 'Rollout' || before.metadata?.name !== rollout || !before.spec) return undefined;
  const { exclude } = before.spec;
  if (exclude !== undefined && typeof exclude !== 'string') return undefined;
  if (exclude === condition || exclude?.includes(`(${condition})`)) return text;
  const wanted = exclude === undefined ? condition : `(${exclude}) OR (${condition})`;
  const edited = exclude === undefined ? withLine(text, 'exclude', wanted) : withValue(text, wanted);
  if (edited === undefined) return undefined;
  const expected = { ...before, spec: { ...before.spec, exclude: wanted } };
  return isDeepStrictEqual(plain(dataOf(edited)), plain(expected)) ? edited : undefined;
}

/** Mappings have no prototype here, and the order of keys is people's. */
export function plain(data: unknown): unknown {
  return data === undefined ? undefined : JSON.parse(JSON.stringify(data));
}

/** A key of `spec` on a line of its own, below the target condition and indented as that. */
export function withLine(text: string, key: string, value: string): string | undefined {
  const spec = parseDocument(text).get('spec', true);
  if (!isMap<ParsedNode, ParsedNode | null>(spec) || spec.flow) return undefined;
  const pair = spec.items.find((each) => isScalar(each.key) && each.key.value === 'targetCondition');
  const [start] = pair?.key.range ?? [];
  if (start === undefined || pair?.value?.range == null) return undefined;
  const lineStart = text.lastIndexOf('\n', start) + 1;
  const indent = text.slice(lineStart, start);
  if (indent.trim() !== '') return undefined;
  const lineEnd = text.indexOf('\n', lastCharacter(pair.value));
  const at = lineEnd === -1 ? text.length : lineEnd + 1;
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  return `${text.slice(0, at)}${lineEnd === -1 ? newline : ''}${indent}${key}: ${JSON.stringify(value)}${newline}${text.slice(at)}`;
}

function withValue(text: string, condition: string): string | undefined {
  const node = parseDocument(text).getIn(['spec', 'exclude'], true);
  if (!isScalar(node) || node.range == null || QUOTES[node.type ?? ''] === undefined) return undefined;
  const [start, end] = node.range;
  return text.slice(0, start) + JSON.stringify(condition) + text.slice(end);
}

const QUOTES: Readonly<Record<string, string>> = { PLAIN: '', QUOTE_SINGLE: "'", QUOTE_DOUBLE: '"' };

export type OperationEntry = NonNullable<Operation['spec']['operations']>[number];

/** A new Operation file with these entries. */
export function newOperations(rollout: string, entries: readonly OperationEntry[]): string {
  const metadata = flow({ name: rollout });
  const head = `apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: ${metadata}\nspec:\n  operations:\n`;
  return head + entries.map((entry) => `  - ${flow(entry)}\n`).join('');
}

/**
 * The Operation file with entries added after those that are there; undefined where that cannot be done without touching
 * more. An entry is a line of its own, as people write one.
 */
export function addOperations(text: string, entries: readonly OperationEntry[]): string | undefined {
  const before = dataOf(text);
  if (before?.kind !== 'Operation' || typeof (before.spec ?? undefined) !== 'object') return undefined;
  const edited = appended(text, entries) ?? rewritten(text, entries);
  const expected = {
    ...before,
    spec: { ...before.spec, operations: [...(before.spec?.operations ?? []), ...entries] },
  };
  return canonicalJson(dataOf(edited) ?? null) === canonicalJson(expected) ? edited : undefined;
}

/** A list with a dash per entry grows by lines below its last one. */
function appended(text: string, entries: readonly OperationEntry[]): string | undefined {
  const list = parseDocument(text).getIn(['spec', 'operations'], true);
  if (!isSeq<ParsedNode>(list) || list.flow) return undefined;
  const [first, last] = [list.items[0], list.items.at(-1)];
  if (first?.range == null || last?.range == null) return undefined;
  const lineStart = text.lastIndexOf('\n', first.range[0] - 1) + 1;
  const dash = /^([ ]*-[ ]+)/.exec(text.slice(lineStart, first.range[0]))?.[1];
  if (dash === undefined) return undefined;
  // The value's own end, and the rest of its line: a comment behind it is its own.
  const lineEnd = text.indexOf('\n', lastCharacter(last));
  const at = lineEnd === -1 ? text.length : lineEnd + 1;
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  const lines = entries.map((entry) => `${dash}${flow(entry)}${newline}`).join('');
  return `${text.slice(0, at)}${lineEnd === -1 ? newline : ''}${lines}${text.slice(at)}`;
}

/** The last character of a value. A block ends with its line end, which is not where the next line begins. */
export function lastCharacter(node: ParsedNode): number {
  if (node instanceof YAMLMap && !node.flow) {
    const value: ParsedNode | null | undefined = node.items.at(-1)?.value;
    if (value?.range != null) return lastCharacter(value);
  }
  return Math.max(node.range[0], node.range[1] - 1);
}

/** Whatever else there is instead of a list: written anew, with its comments and the order of its keys. */
function rewritten(text: string, entries: readonly OperationEntry[]): string {
  const document = parseDocument(text);
  const list = document.getIn(['spec', 'operations'], true);
  const nodes = entries.map((entry) => document.createNode(entry, { flow: true }));
  if (isSeq(list)) {
    if (list.items.length === 0) list.flow = false;
    for (const node of nodes) list.add(node);
  } else {
    document.setIn(['spec', 'operations'], document.createNode(nodes));
  }
  return document.toString(WRITTEN);
}

/** As one line in braces. */
export function flow(mapping: object): string {
  const document = new Document(mapping);
  if (isMap(document.contents)) document.contents.flow = true;
  return document.toString(WRITTEN).trimEnd();
}

export const WRITTEN = { lineWidth: 0, flowCollectionPadding: false } as const;

export interface Data {
  readonly kind?: unknown;
  readonly metadata?: { readonly name?: unknown };
  spec?: {
    exclude?: unknown;
    distributionSet?: unknown;
    readonly stages?: unknown;
    readonly seed?: unknown;
    readonly operations?: readonly unknown[] | null;
  } | null;
}

/** The document's data, as far as edits look at it; undefined where it cannot be read. */
export function dataOf(text: string): Data | undefined {
  const parsed = parseYaml(new TextEncoder().encode(text));
  if (!parsed.ok || typeof parsed.yaml.value !== 'object') return undefined;
  return parsed.yaml.value ?? undefined;
}
