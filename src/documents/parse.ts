/**
 * Bytes → one YAML 1.2 document as plain data that knows where everything was written. Hostile bytes cost
 * bounded time and give one finding, never an exception. What the data means is not looked at here.
 */
import assert from 'node:assert/strict';
import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  type Pair,
  Parser,
  type Scalar,
  type YAMLMap,
} from 'yaml';
import { type Finding, type Position, show } from './problem.ts';
import type { RuleId } from './rules.ts';

/** Keys and indexes from the root of a document: `['spec', 'stages', 0]`. */
export type Path = readonly (string | number)[];

export interface ParsedYaml {
  /** Plain data. Mappings have no prototype, so that `__proto__` is a key like any other. */
  readonly value: unknown;
  /**
   * Where the value at `path` was written, or the closest value around it that exists. With `offset`, the character
   * of a text: as far as the way it was written allows, else where the text begins.
   */
  at(path: Path, offset?: number): Position;
  /** Where the key of the value at `path` was written; a list's entry and the root have none and give their own place. */
  keyAt(path: Path): Position;
  /** The scalar at `path` as it was written (`2.10`, where the value is the number 2.1). */
  sourceAt(path: Path): string | undefined;
}

type ParseResult =
  | { readonly ok: true; readonly yaml: ParsedYaml }
  | { readonly ok: false; readonly findings: readonly Finding[] };

/** No document that people write comes near these. */
export const PARSE_LIMITS = {
  sizeBytes: 1024 * 1024,
  /** With its long texts: lists of device ids, which are cheap to read where they stand in double quotes on one line. */
  withLongTextsBytes: 8 * 1024 * 1024,
  longTextLength: 4096,
  depth: 64,
  aliasedNodes: 10_000,
} as const;

/** Reads one document. A byte order mark and CRLF are fine; a second document in the file is not. */
export function parseYaml(content: Uint8Array): ParseResult {
  if (content.byteLength > PARSE_LIMITS.withLongTextsBytes) {
    return { ok: false, findings: [tooLarge(PARSE_LIMITS.withLongTextsBytes, content.byteLength)] };
  }
  const text = decodeUtf8(content);
  if (typeof text !== 'string') {
    return failed(
      'encoding',
      text,
      'the file must be UTF-8 text, found a byte that is not; save it as UTF-8',
    );
  }

  if (content.byteLength > PARSE_LIMITS.sizeBytes && !isLargeByTexts(text)) {
    return { ok: false, findings: [tooLarge(PARSE_LIMITS.sizeBytes, content.byteLength)] };
  }

  const read = readText(text);
  return read.ok ? { ok: true, yaml: locate(read, text) } : read;
}

/** Whether the document would be small without its long texts. */
function isLargeByTexts(text: string): boolean {
  let rest = 0;
  for (const token of new Lexer().lex(text)) {
    const isLong = token.length >= PARSE_LIMITS.longTextLength && token.startsWith('"');
    if (isLong && !token.includes('\n')) continue;
    rest += token.length;
    if (rest > PARSE_LIMITS.sizeBytes) return false;
  }
  return true;
}

/** A document's data and the tree that it was made of, which takes many times the memory of either text or data. */
interface ReadText {
  readonly ok: true;
  readonly value: unknown;
  readonly tree: SyntaxTree;
}

interface SyntaxTree {
  readonly root: unknown;
  /** What aliases stand for. */
  readonly targets: ReadonlyMap<unknown, Node>;
  positionOf(offset: number): Position;
}

type Failed = Extract<ParseResult, { readonly ok: false }>;

function readText(text: string): ReadText | Failed {
  const lines = new LineCounter();
  const positionOf = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const tooDeep = findTooDeep(tokens);
  if (tooDeep !== undefined) {
    return failed(
      'too-deep',
      positionOf(tooDeep),
      `values are nested at most ${PARSE_LIMITS.depth} deep; this goes deeper`,
    );
  }

  // Whether keys are unique is checked below: the library compares each with each, which a large file makes slow.
  const options = { uniqueKeys: false, resolveKnownTags: false, merge: false, lineCounter: lines } as const;
  const documents = [...new Composer(options).compose(tokens)];
  const [document, second] = documents;
  if (document === undefined || isUnwritten(document.contents)) {
    if (document?.errors.length) return unreadable(document, positionOf);
    return failed('no-document', START, 'the file holds no document; write one or delete the file');
  }
  const mistake = documents.find((candidate) => candidate.errors.length + candidate.warnings.length > 0);
  if (mistake !== undefined) return unreadable(mistake, positionOf);
  if (second !== undefined) {
    const position = positionOf(second.contents?.range?.[0] ?? second.range[0]);
    return failed(
      'one-document',
      position,
      'a file holds one document, found a second one; move it to a file of its own',
    );
  }
  const version = document.directives?.yaml;
  if (version?.explicit === true && version.version !== '1.2') {
    return failed(
      'yaml',
      START,
      `documents are YAML 1.2, found %YAML ${version.version}; take the line away`,
    );
  }
  return toData(document, positionOf);
}

const START: Position = { line: 1, column: 1 };

/** What is wrong with a document of so many bytes, whoever refuses to read it. */
export function tooLarge(mostBytes: number, foundBytes: number): Finding {
  const message = `a document has at most ${mostBytes} bytes, found ${foundBytes}; split it`;
  return { ...START, rule: 'too-large', severity: 'error', message };
}

function failed(rule: RuleId, position: Position, message: string): Failed {
  return { ok: false, findings: [{ ...position, rule, severity: 'error', message }] };
}

/** Only the first mistake: those after it are mostly its consequences. */
function unreadable(document: Document, positionOf: (offset: number) => Position): Failed {
  const [first] = [...document.errors, ...document.warnings];
  const { code, message = 'the file is not YAML', pos = [0] } = first ?? {};
  const said =
    OWN_WORDS[code ?? ''] ??
    `${message}; ${NEXT_STEPS[code ?? ''] ?? 'correct this place, or the line above it'}`;
  return failed('yaml', positionOf(pos[0]), said);
}

/** What to do about what the library has words for. */
const NEXT_STEPS: Readonly<Record<string, string>> = {
  BAD_DQ_ESCAPE: 'double the backslash, or use single quotes',
  BAD_INDENT: 'indent it like its neighbours',
  BAD_SCALAR_START: 'put the value in quotes',
  MISSING_CHAR: 'add what is missing here or in the line above it: a colon behind a key, a quote, a bracket',
};

/** What the library says in words that only its author understands. */
const OWN_WORDS: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'indentation must be spaces, found a tab; replace it with spaces',
  TAG_RESOLVE_FAILED: 'YAML tags are not used in documents; take the tag away',
  BLOCK_AS_IMPLICIT_KEY:
    'a second ": " on the line makes this ambiguous; put the value in quotes or on a line of its own',
};

/** The text without its byte order mark, or the place of the first byte that is not UTF-8. */
function decodeUtf8(content: Uint8Array): string | Position {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return firstInvalidByte(content);
  }
}

function firstInvalidByte(content: Uint8Array): Position {
  const lenient = new TextDecoder('utf-8').decode(content);
  const encoder = new TextEncoder();
  const bom = content[0] === 0xef && content[1] === 0xbb && content[2] === 0xbf ? 3 : 0;
  let bytes = bom;
  let line = 1;
  let column = 1;
  for (const character of lenient) {
    // The replacement character stands for the bad byte, unless it was written as such.
    if (
      character === '\uFFFD' &&
      !(content[bytes] === 0xef && content[bytes + 1] === 0xbf && content[bytes + 2] === 0xbd)
    )
      break;
    bytes += encoder.encode(character).byteLength;
    column += character.length;
    if (character === '\n') {
      line += 1;
      column = 1;
    }
  }
  return { line, column };
}

/** The offset of the first token that is nested too deeply. Without recursion: this guards what recurses afterwards. */
function findTooDeep(roots: readonly CST.Token[]): number | undefined {
  const pending: { readonly token: CST.Token; readonly depth: number }[] = roots.map((token) => ({
    token,
    depth: 0,
  }));
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { token, depth } = next;
    if (token.type === 'document') {
      if (token.value !== undefined) pending.push({ token: token.value, depth });
    } else if ('items' in token) {
      if (depth >= PARSE_LIMITS.depth) return token.offset;
      for (const item of token.items) {
        if (item.key != null) pending.push({ token: item.key, depth: depth + 1 });
        if (item.value !== undefined) pending.push({ token: item.value, depth: depth + 1 });
      }
    }
  }
  return undefined;
}

/** The document's data, with aliases followed as far as the limits allow. */
function toData(document: Document, positionOf: (offset: number) => Position): ReadText | Failed {
  const findings: Finding[] = [];
  const report = (rule: RuleId, node: unknown, message: string): void => {
    findings.push({ ...positionOf(startOf(node)), rule, severity: 'error', message });
  };
  // The library resolves an alias by walking the whole document, which many aliases make slow.
  const anchored = new Map<string, Node>();
  const targets = new Map<unknown, Node>();
  let aliasedNodes = 0;
  const value = dataOf(document.contents, 0, undefined);
  if (findings.length > 0) return { ok: false, findings };
  return { ok: true, value, tree: { root: document.contents, targets, positionOf } };

  /** `alias` is the outermost alias that led here. */
  function dataOf(node: unknown, depth: number, alias: Node | undefined): unknown {
    if (alias !== undefined && ++aliasedNodes > PARSE_LIMITS.aliasedNodes) {
      if (aliasedNodes === PARSE_LIMITS.aliasedNodes + 1) {
        report(
          'aliases',
          alias,
          `aliases may stand for at most ${PARSE_LIMITS.aliasedNodes} values; write the values out`,
        );
      }
      return null;
    }
    if (depth > PARSE_LIMITS.depth) {
      report(
        'too-deep',
        alias ?? node,
        `values are nested at most ${PARSE_LIMITS.depth} deep; this alias goes deeper`,
      );
      // One finding is enough, and what contains itself would give no end of them.
      aliasedNodes = Number.POSITIVE_INFINITY;
      return null;
    }
    if (isAlias(node)) {
      const target = targets.get(node) ?? anchored.get(node.source);
      if (target === undefined) {
        report('yaml', node, `nothing before this is called ${show(`&${node.source}`)}; write the value out`);
        return null;
      }
      targets.set(node, target);
      return dataOf(target, depth + 1, alias ?? node);
    }
    if (isNode(node) && node.anchor !== undefined && alias === undefined) anchored.set(node.anchor, node);
    if (isMap(node)) return mappingOf(node, depth, alias);
    if (isSeq(node)) return node.items.map((item) => dataOf(item, depth + 1, alias));
    if (!isScalar(node)) return null;
    const scalar = node.value;
    if (typeof scalar === 'string' && (!scalar.isWellFormed() || scalar.includes('\0'))) {
      report(
        'yaml',
        node,
        'texts must be Unicode without NUL, found half a surrogate pair or a NUL; take it out',
      );
    }
    return scalar;
  }

  function mappingOf(map: YAMLMap, depth: number, alias: Node | undefined): unknown {
    const seen = new Map<string, Pair>();
    const data: Record<string, unknown> = Object.create(null);
    for (const pair of map.items) {
      const key = keyOf(pair);
      if (key === undefined) {
        report('yaml', pair.key ?? map, 'a key must be a text; put it in quotes');
        continue;
      }
      if (key === '<<') {
        report(
          'yaml',
          pair.key,
          'documents have no merge keys (<<), which YAML 1.2 does not know; write the keys out',
        );
        continue;
      }
      const first = seen.get(key);
      if (first !== undefined && alias === undefined) {
        const { line } = positionOf(startOf(first.key));
        report('duplicate-key', pair.key, `the key "${key}" is on line ${line} already; keep one of the two`);
        continue;
      }
      seen.set(key, pair);
      data[key] = dataOf(pair.value, depth + 1, alias);
    }
    return data;
  }
}

/** A key as text: numbers and the like as they were written. */
function keyOf(pair: Pair): string | undefined {
  if (!isScalar(pair.key) || pair.key.value === null) return undefined;
  return typeof pair.key.value === 'string' ? pair.key.value : (pair.key.source ?? String(pair.key.value));
}

function startOf(node: unknown): number {
  return (node as Node | null)?.range?.[0] ?? 0;
}

/** Places are asked for where there is a problem, which is seldom: the tree may go, and is made again when it is missed. */
function locate({ value, tree }: ReadText, text: string): ParsedYaml {
  let kept = new WeakRef(tree);
  const theTree = (): SyntaxTree => {
    const known = kept.deref();
    if (known !== undefined) return known;
    const again = readText(text);
    assert(again.ok, 'a text that was read once can be read again');
    kept = new WeakRef(again.tree);
    return again.tree;
  };
  /** The node at the end of the path as far as it exists, and its key where it has one. */
  const find = (path: Path): { key: unknown; node: unknown; positionOf: SyntaxTree['positionOf'] } => {
    const { root, targets, positionOf } = theTree();
    let found: { key: unknown; node: unknown } = { key: undefined, node: root };
    for (const step of path) {
      const parent = targets.get(found.node) ?? found.node;
      if (isMap(parent)) {
        const pair = parent.items.find((candidate) => keyOf(candidate) === step);
        if (pair === undefined) break;
        found = { key: pair.key, node: pair.value };
      } else if (isSeq(parent) && typeof step === 'number' && step < parent.items.length) {
        found = { key: undefined, node: parent.items[step] };
      } else break;
    }
    return { ...found, positionOf };
  };
  return {
    value,
    at(path, offset) {
      const { key, node, positionOf } = find(path);
      // `key:` with nothing behind it: the key is where people look.
      if (isUnwritten(node)) return positionOf(startOf(key));
      const within = offset !== undefined && isScalar(node) ? offsetInSource(node, text, offset) : 0;
      return positionOf(startOf(node) + within);
    },
    keyAt(path) {
      const { key, node, positionOf } = find(path);
      return positionOf(startOf(key ?? node));
    },
    sourceAt(path) {
      const { node } = find(path);
      return isScalar(node) ? node.source : undefined;
    },
  };
}

/** Nothing was written here, which YAML reads as null. */
function isUnwritten(node: unknown): boolean {
  return node == null || (isScalar(node) && node.value === null && !node.source);
}

/** How far behind the start of the scalar's source the character `offset` of its value was written; 0 where that is not plain. */
function offsetInSource(scalar: Scalar, text: string, offset: number): number {
  const [start = 0, end = 0] = scalar.range ?? [];
  const source = text.slice(start, end);
  if (source === scalar.value) return offset;
  const inner = source.slice(1, -1);
  if (inner === scalar.value) return 1 + offset;
  if (scalar.type === 'QUOTE_SINGLE' && inner.replaceAll("''", "'") === scalar.value) {
    let at = 0;
    for (let passed = 0; passed < offset; passed++) at += inner.startsWith("''", at) ? 2 : 1;
    return 1 + at;
  }
  return 0;
}
