/**
 * Puts a stage into the list that a Rollout file declares, in place of one of the same name or besides the others, and changes nothing
 * else: comments and layout stay where the way the list is written allows it.
 */
import { isDeepStrictEqual } from 'node:util';
import { isMap, isScalar, isSeq, type ParsedNode, parseDocument, type YAMLSeq } from 'yaml';
import { dataOf, flow, lastCharacter, plain, WRITTEN, withLine } from './edit.ts';
import type { Stage } from './types.generated.ts';

/** The list after the edit; undefined where it cannot be edited so, or the file is another rollout's. */
export function setStage(
  text: string,
  given: {
    readonly rollout: string;
    readonly stage: Stage;
    /** The name of the stage that comes after it; absent: it is the last. */
    readonly before?: string;
    /** For a rollout that has none. */
    readonly seed?: string;
  },
): string | undefined {
  const { rollout, stage, before, seed } = given;
  const old = dataOf(text);
  const stages = old?.spec?.stages;
  if (old?.kind !== 'Rollout' || old.metadata?.name !== rollout || !Array.isArray(stages)) return undefined;
  const others = stages.filter((each) => nameOfStage(each) !== stage.name);
  const at = before === undefined ? others.length : others.findIndex((each) => nameOfStage(each) === before);
  if (at === -1) return undefined;
  const spec = {
    ...old.spec,
    stages: others.toSpliced(at, 0, stage),
    ...(seed === undefined ? {} : { seed }),
  };
  const expected = plain({ ...old, spec });
  const seeded = seed === undefined ? text : withLine(text, 'seed', seed);
  const isFree = others.length === stages.length;
  const cleared = seeded === undefined || isFree ? seeded : withoutEntry(seeded, stage.name);
  const edited = cleared === undefined ? undefined : withEntry(cleared, at, flow(stage));
  if (edited !== undefined && isDeepStrictEqual(plain(dataOf(edited)), expected)) return edited;
  const written = rewritten(text, spec);
  return isDeepStrictEqual(plain(dataOf(written)), expected) ? written : undefined;
}

/** A stage is a mapping with a name, or one key that is its name. */
function nameOfStage(entry: unknown): string | undefined {
  if (typeof entry !== 'object' || entry === null) return undefined;
  if ('name' in entry) return String(entry.name);
  return Object.keys(entry)[0];
}

type List = YAMLSeq.Parsed<ParsedNode>;

function stagesIn(text: string): List | undefined {
  const list = parseDocument(text).getIn(['spec', 'stages'], true);
  return isSeq<ParsedNode>(list) ? (list as List) : undefined;
}

/** The entry before the one that is at this place now, as people write one. */
function withEntry(text: string, at: number, entry: string): string | undefined {
  const list = stagesIn(text);
  if (list === undefined) return undefined;
  const [next, last] = [list.items[at], list.items.at(-1)];
  if (last === undefined) return undefined;
  if (list.flow === true) {
    if (next !== undefined) return `${text.slice(0, next.range[0])}${entry}, ${text.slice(next.range[0])}`;
    return `${text.slice(0, last.range[1])}, ${entry}${text.slice(last.range[1])}`;
  }
  const dash = dashOf(text, last);
  if (dash === undefined) return undefined;
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  const line = `${dash}${entry}${newline}`;
  if (next !== undefined) {
    const start = beginningOf(text, next);
    return text.slice(0, start) + line + text.slice(start);
  }
  const end = endOf(text, last);
  return `${text.slice(0, end)}${text[end - 1] === '\n' ? '' : newline}${line}${text.slice(end)}`;
}

function withoutEntry(text: string, name: string): string | undefined {
  const list = stagesIn(text);
  const found = list?.items.find((item) => nameOfStage(item.toJSON()) === name);
  // Of a list in brackets the commas would have to go with it.
  if (list === undefined || list.flow === true || found === undefined || list.items.length < 2)
    return undefined;
  const start = text.lastIndexOf('\n', found.range[0] - 1) + 1;
  return text.slice(0, start) + text.slice(endOf(text, found));
}

/** What stands before the entries of a list with a dash per entry. */
function dashOf(text: string, { range }: ParsedNode): string | undefined {
  const start = text.lastIndexOf('\n', range[0] - 1) + 1;
  return /^([ ]*-[ ]+)$/.exec(text.slice(start, range[0]))?.[1];
}

/** Where the entry's lines begin: comments right above it are its own. */
function beginningOf(text: string, { range }: ParsedNode): number {
  let start = text.lastIndexOf('\n', range[0] - 1) + 1;
  for (;;) {
    const above = text.lastIndexOf('\n', start - 2) + 1;
    if (start === 0 || !/^\s*#/.test(text.slice(above, start))) return start;
    start = above;
  }
}

/** Where the line after the entry begins: a comment behind it is its own. */
function endOf(text: string, node: ParsedNode): number {
  const end = text.indexOf('\n', lastCharacter(node));
  return end === -1 ? text.length : end + 1;
}

/** However the list is written: the list anew, with comments and the order of keys. */
function rewritten(
  text: string,
  spec: { readonly stages: readonly unknown[]; readonly seed?: unknown },
): string {
  const document = parseDocument(text);
  const list = document.getIn(['spec', 'stages'], true);
  const known = new Map(
    isSeq<ParsedNode>(list) ? list.items.map((item) => [nameOfStage(item.toJSON()), item]) : [],
  );
  const names = spec.stages.map(nameOfStage);
  const added = (entry: unknown) => document.createNode(entry, { flow: true });
  if (isSeq(list)) {
    list.items = spec.stages.map((entry, at) => {
      const node = known.get(names[at]);
      return node !== undefined && isDeepStrictEqual(plain(node.toJSON()), plain(entry))
        ? node
        : added(entry);
    });
  }
  if (spec.seed !== undefined) document.setIn(['spec', 'seed'], spec.seed);
  return document.toString(WRITTEN);
}

/** Whether `spec.stages` of the text is a list at all; else what it is. */
export function stagesSource(text: string): 'list' | { readonly plan: string } | 'split' | undefined {
  const stages = parseDocument(text).getIn(['spec', 'stages'], true);
  if (isSeq(stages)) return 'list';
  if (isScalar(stages)) return { plan: String(stages.value) };
  return isMap(stages) ? 'split' : undefined;
}
