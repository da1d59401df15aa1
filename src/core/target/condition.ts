/**
 * Target conditions: which devices a rollout is for. The language is Azure IoT Edge's (`deviceId`, `tags.*`, `=`, AND,
 * OR, NOT, single quotes, `*` alone for every device) with IoT Hub's `<>`, `!=`, `IN [..]` and `STARTSWITH(..)`. Device
 * twins' properties are not in it: a device must not choose its rollout by what it says of itself.
 *
 *     or         = and { OR and }
 *     and        = unary { AND unary | NOT unary }          a NOT b is a AND NOT b, as Azure has it
 *     unary      = NOT unary | '(' or ')' | comparison
 *     comparison = operand ( '=' | '<>' | '!=' ) text
 *                | operand IN '[' text { ',' text } ']'
 *                | operand STARTSWITH text | STARTSWITH '(' operand ',' text ')'
 *     operand    = deviceId | tags.<name>                   a name may have dots: tags.location.region
 *
 * Keywords are case-insensitive; names and values are not. A comparison with a tag that the device does not have is
 * false, whatever its operator; NOT of it is true.
 */
import { catchMistake, Mistake, type Mistaken, remember } from '../source-text.ts';
import { type Need, needsOf } from './needs.ts';

export interface Condition {
  readonly source: string;
  /** Equal for conditions that differ only in spacing, case of keywords and redundant parentheses. */
  readonly canonical: string;
  matches(device: Targeted): boolean;
  /** What a device must have to be matched; the more there is, the fewer devices come into question. */
  readonly needs: readonly Need[];
  /** The tags that it looks at; undefined among them: the device's id. */
  readonly reads: ReadonlySet<string | undefined>;
  /** Whether it looks at the device's id. */
  readonly namesDevices: boolean;
  /** The canonical form in short: of long lists only the beginning. */
  readonly summary: string;
}

/** As much of a device as a condition may look at. */
export interface Targeted {
  readonly id: string;
  readonly tags: Readonly<Record<string, string>>;
}

export type ParsedCondition = { readonly ok: true; readonly condition: Condition } | Mistaken;

/** Bounds on what one condition may cost; the longest real ones have a few dozen clauses. */
export const CONDITION_LIMITS = { sourceLength: 4096, nesting: 64, listLength: 1000 } as const;

/**
 * A condition that lists devices may be as long as the file that it is in: it is looked at when its stage opens, and never
 * when a device polls.
 */
export const SELECTION_LIMITS = { sourceLength: 8 * 1024 * 1024, idsLength: 1_000_000 } as const;

/** Every expected error is returned; nothing is thrown. */
export const parseCondition = remember((source: string): ParsedCondition => {
  if (source.length > CONDITION_LIMITS.sourceLength) return tooLong(source, CONDITION_LIMITS.sourceLength);
  return read(source, CONDITION_LIMITS.listLength);
});

/** As {@link parseCondition}, of a condition that may list any number of device ids. */
export function parseSelection(source: string): ParsedCondition {
  return source.length <= CONDITION_LIMITS.sourceLength ? parseCondition(source) : parseLong(source);
}

/** Such texts are few and take megabytes. */
const LONG_REMEMBERED = 8;

const parseLong = remember((source: string): ParsedCondition => {
  if (source.length > SELECTION_LIMITS.sourceLength) return tooLong(source, SELECTION_LIMITS.sourceLength);
  const parsed = read(source, SELECTION_LIMITS.idsLength);
  // A condition over tags is looked at at every poll.
  return parsed.ok && !parsed.condition.namesDevices
    ? tooLong(source, CONDITION_LIMITS.sourceLength)
    : parsed;
}, LONG_REMEMBERED);

function tooLong({ length }: string, most: number): Mistaken {
  const message = `a target condition has at most ${most} characters, found ${length}; give the devices a tag of their own and compare that`;
  return { ok: false, message, offset: most };
}

/** `idsLength`: how many device ids one list may have. */
function read(source: string, idsLength: number): ParsedCondition {
  return catchMistake(() => {
    const expression = parse(tokenize(source), idsLength);
    const reads = new Set(operandsOf(expression));
    const condition = {
      source,
      canonical: format(expression),
      matches: compile(expression),
      needs: needsOf(expression),
      reads,
      namesDevices: reads.has(undefined),
      summary: format(expression, listedInShort),
    };
    return { ok: true, condition };
  });
}

/** The selection of a source that was validated before: an invalid one is a bug, and throws. */
export function compileSelection(source: string): Condition {
  return validated(parseSelection(source), source);
}

/** The condition of a source that was validated before: an invalid one is a bug, and throws. */
export function compileCondition(source: string): Condition {
  return validated(parseCondition(source), source);
}

function validated(parsed: ParsedCondition, source: string): Condition {
  if (parsed.ok) return parsed.condition;
  throw new Error(
    `target condition should have been validated: ${parsed.message}; found ${JSON.stringify(source)}`,
  );
}

interface Token {
  readonly kind: 'word' | 'text' | 'symbol' | 'end';
  /** A text's value without its quotes; anything else as written. */
  readonly value: string;
  readonly offset: number;
}

const SPACE = /\s+/y;
/** Numbers count as words, so that the parser can say what is wrong with an unquoted one. */
const WORD = /[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*/y;
const SYMBOL = /<>|!=|[=()[\],*]/y;
/** What Azure allows in a value; a quote is written twice. */
const TEXT_CHARACTER = /[A-Za-z0-9\-:.+%_#*?!(),=@;$]/;

function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0];
  };
  while (at < source.length) {
    const space = take(SPACE);
    if (space !== undefined) {
      at += space.length;
      continue;
    }
    if (source[at] === "'") {
      const { value, end } = readText(source, at);
      tokens.push({ kind: 'text', value, offset: at });
      at = end;
      continue;
    }
    const word = take(WORD);
    const value = word ?? take(SYMBOL);
    if (value === undefined) throw new Mistake(at, strayCharacter(source, at));
    tokens.push({ kind: word === undefined ? 'symbol' : 'word', value, offset: at });
    at += value.length;
  }
  tokens.push({ kind: 'end', value: '', offset: at });
  return tokens;
}

function readText(source: string, start: number): { value: string; end: number } {
  let value = '';
  for (let at = start + 1; at < source.length; at++) {
    const character = characterAt(source, at);
    if (character === "'") {
      if (source[at + 1] !== "'") return { value, end: at + 1 };
      at++;
    } else if (!TEXT_CHARACTER.test(character)) {
      throw new Mistake(
        at,
        `a value may have letters A-Z, digits and -:.+%_#*?!(),=@;$ (and a single quote written twice), found ${quoted(character)}; choose another tag value`,
      );
    }
    value += character;
  }
  throw new Mistake(
    start,
    "expected a single quote that closes this one, found the end; inside a value a quote is written twice, as in 'operator''sDevice'",
  );
}

function strayCharacter(source: string, at: number): string {
  const character = characterAt(source, at);
  if (character === '"') return `values stand in single quotes, found a double quote; write 'x', not "x"`;
  return `expected deviceId, tags.<name>, an operator or a value in single quotes, found ${quoted(character)}; remove it`;
}

/** The whole character at `at`, so that an emoji is not shown as half of one. */
function characterAt(source: string, at: number): string {
  return String.fromCodePoint(source.codePointAt(at) ?? 0);
}

type Expression =
  | { readonly kind: 'every' }
  | { readonly kind: 'equals' | 'differs' | 'startsWith'; readonly operand: Operand; readonly value: string }
  | { readonly kind: 'in'; readonly operand: Operand; readonly values: readonly string[] }
  | { readonly kind: 'not'; readonly inner: Expression }
  /** Two or more; none of them has the same kind. */
  | { readonly kind: 'and' | 'or'; readonly parts: readonly Expression[] };

/** A tag's name, or undefined for the device's id. */
interface Operand {
  readonly tag: string | undefined;
}

function parse(tokens: readonly Token[], idsLength: number): Expression {
  let position = 0;
  let nesting = 0;

  const peek = (): Token => {
    const token = tokens[position];
    if (token === undefined) throw new Error('the parser never reads past the end token');
    return token;
  };
  const next = (): Token => {
    const token = peek();
    if (token.kind !== 'end') position++;
    return token;
  };
  const takeKeyword = (keyword: string): boolean => {
    if (!isKeyword(peek(), keyword)) return false;
    position++;
    return true;
  };
  const takeSymbol = (symbol: string): boolean => {
    if (!isSymbol(peek(), symbol)) return false;
    position++;
    return true;
  };
  const expectSymbol = (symbol: string, hint: string): void => {
    if (!takeSymbol(symbol))
      throw new Mistake(peek().offset, `expected "${symbol}", found ${describe(peek())}; ${hint}`);
  };

  function parseOr(): Expression {
    const parts = [parseAnd()];
    while (takeKeyword('OR')) parts.push(parseAnd());
    return join('or', parts);
  }

  function parseAnd(): Expression {
    const parts = [parseUnary()];
    while (takeKeyword('AND') || isKeyword(peek(), 'NOT')) parts.push(parseUnary());
    return join('and', parts);
  }

  function parseUnary(): Expression {
    const start = peek();
    if (takeKeyword('NOT')) return nested(start, () => ({ kind: 'not', inner: parseUnary() }));
    if (takeSymbol('(')) {
      return nested(start, () => {
        const inner = parseOr();
        expectSymbol(')', `close the parenthesis of column ${start.offset + 1}`);
        return inner;
      });
    }
    return parseComparison();
  }

  /** Recursion, here and over the compiled closures, is as deep as the condition is nested. */
  function nested(start: Token, parseInner: () => Expression): Expression {
    nesting++;
    if (nesting > CONDITION_LIMITS.nesting) {
      throw new Mistake(
        start.offset,
        `parentheses and NOT nest at most ${CONDITION_LIMITS.nesting} deep; write the condition flatter`,
      );
    }
    const inner = parseInner();
    nesting--;
    return inner;
  }

  function parseComparison(): Expression {
    if (takeKeyword('STARTSWITH')) {
      expectSymbol('(', "write STARTSWITH(tags.x, 'v')");
      const operand = parseOperand();
      expectSymbol(',', "write STARTSWITH(tags.x, 'v')");
      const value = parseText();
      expectSymbol(')', "write STARTSWITH(tags.x, 'v')");
      return { kind: 'startsWith', operand, value };
    }
    const operand = parseOperand();
    if (takeSymbol('=')) return { kind: 'equals', operand, value: parseText() };
    if (takeSymbol('<>') || takeSymbol('!=')) return { kind: 'differs', operand, value: parseText() };
    if (takeKeyword('STARTSWITH')) return { kind: 'startsWith', operand, value: parseText() };
    if (takeKeyword('IN')) return { kind: 'in', operand, values: parseList(operand) };
    throw new Mistake(
      peek().offset,
      `expected =, <>, !=, IN or STARTSWITH, found ${describe(peek())}; write deviceId = 'x'`,
    );
  }

  function parseOperand(): Operand {
    const token = next();
    if (token.kind === 'word') {
      if (token.value === 'deviceId') return { tag: undefined };
      if (token.value.startsWith('tags.')) return { tag: token.value.slice('tags.'.length) };
    }
    if (isSymbol(token, '*')) {
      throw new Mistake(token.offset, '* means every device and stands alone; remove it or the rest');
    }
    throw new Mistake(
      token.offset,
      `expected deviceId or tags.<name>, found ${describe(token)}; devices are chosen by their id and tags only, as in tags.environment = 'prod'`,
    );
  }

  function parseText(): string {
    const token = next();
    if (token.kind === 'text') return token.value;
    throw new Mistake(
      token.offset,
      `expected a value in single quotes, found ${describe(token)}; write '${token.kind === 'word' ? token.value : 'prod'}'`,
    );
  }

  function parseList({ tag }: Operand): string[] {
    const most = tag === undefined ? idsLength : CONDITION_LIMITS.listLength;
    expectSymbol('[', "write IN ['a', 'b']");
    const values: string[] = [];
    do {
      const { offset } = peek();
      values.push(parseText());
      if (values.length > most) {
        throw new Mistake(
          offset,
          `a list has at most ${most} values; give the devices a tag of their own and compare that`,
        );
      }
    } while (takeSymbol(','));
    expectSymbol(']', "separate the list's values with commas and close it");
    return values;
  }

  if (peek().kind === 'end')
    throw new Mistake(0, 'expected a condition, found nothing; write * for every device');
  if (isSymbol(peek(), '*') && tokens[1]?.kind === 'end') return { kind: 'every' };
  const expression = parseOr();
  const rest = peek();
  if (rest.kind !== 'end') {
    throw new Mistake(
      rest.offset,
      `expected AND, OR, NOT or the end, found ${describe(rest)}; inside a value a quote is written twice, as in 'operator''sDevice'`,
    );
  }
  return expression;
}

function isKeyword(token: Token, keyword: string): boolean {
  return token.kind === 'word' && token.value.toUpperCase() === keyword;
}

function isSymbol(token: Token, symbol: string): boolean {
  return token.kind === 'symbol' && token.value === symbol;
}

/** Flattens what parentheses only seemed to group: a AND (b AND c) is a AND b AND c. */
function join(kind: 'and' | 'or', parts: readonly Expression[]): Expression {
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return first;
  return { kind, parts: parts.flatMap((part) => (part.kind === kind ? part.parts : [part])) };
}

function describe(token: Token): string {
  if (token.kind === 'end') return 'the end';
  return token.kind === 'text' ? `the value ${textLiteral(token.value)}` : quoted(token.value);
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

/** Devices are matched at every poll, so all that can be decided once is decided here. */
function compile(expression: Expression): (device: Targeted) => boolean {
  switch (expression.kind) {
    case 'every':
      return () => true;
    case 'equals': {
      const { value } = expression;
      return compare(expression.operand, (found) => found === value);
    }
    case 'differs': {
      const { value } = expression;
      return compare(expression.operand, (found) => found !== value);
    }
    case 'startsWith': {
      const { value } = expression;
      return compare(expression.operand, (found) => found.startsWith(value));
    }
    case 'in': {
      const values = new Set(expression.values);
      return compare(expression.operand, (found) => values.has(found));
    }
    case 'not': {
      const inner = compile(expression.inner);
      return (device) => !inner(device);
    }
    case 'and': {
      const parts = expression.parts.map(compile);
      return (device) => parts.every((part) => part(device));
    }
    case 'or': {
      const parts = expression.parts.map(compile);
      return (device) => parts.some((part) => part(device));
    }
  }
}

function operandsOf(expression: Expression): readonly (string | undefined)[] {
  switch (expression.kind) {
    case 'every':
      return [];
    case 'not':
      return operandsOf(expression.inner);
    case 'and':
    case 'or':
      return expression.parts.flatMap(operandsOf);
    default:
      return [expression.operand.tag];
  }
}

function compare({ tag }: Operand, test: (found: string) => boolean): (device: Targeted) => boolean {
  if (tag === undefined) return (device) => test(device.id);
  return (device) => {
    // Own properties only: no device is tagged `constructor` because every object inherits one.
    const found = Object.hasOwn(device.tags, tag) ? device.tags[tag] : undefined;
    return found !== undefined && test(found);
  };
}

/** A condition that is for these devices and nobody else; there is at least one. */
export function conditionOn(ids: readonly string[]): string {
  return `deviceId IN [${listed(ids)}]`;
}

/** How the values of a list are written. */
type List = (values: readonly string[]) => string;

function listed(values: readonly string[]): string {
  return values.map(textLiteral).join(', ');
}

const SHOWN_MAX = 5;

function listedInShort(values: readonly string[]): string {
  if (values.length <= SHOWN_MAX) return listed(values);
  const shown = SHOWN_MAX - 2;
  return `${listed(values.slice(0, shown))}, and ${values.length - shown} more`;
}

function format(expression: Expression, list: List = listed): string {
  switch (expression.kind) {
    case 'every':
      return '*';
    case 'equals':
      return `${formatOperand(expression.operand)} = ${textLiteral(expression.value)}`;
    case 'differs':
      return `${formatOperand(expression.operand)} <> ${textLiteral(expression.value)}`;
    case 'startsWith':
      return `STARTSWITH(${formatOperand(expression.operand)}, ${textLiteral(expression.value)})`;
    case 'in':
      return `${formatOperand(expression.operand)} IN [${list(expression.values)}]`;
    case 'not':
      return `NOT ${formatWithin(expression.inner, ['and', 'or'], list)}`;
    case 'and':
      return expression.parts.map((part) => formatWithin(part, ['or'], list)).join(' AND ');
    case 'or':
      return expression.parts.map((part) => format(part, list)).join(' OR ');
  }
}

function formatWithin(expression: Expression, looser: readonly Expression['kind'][], list: List): string {
  const text = format(expression, list);
  return looser.includes(expression.kind) ? `(${text})` : text;
}

function formatOperand({ tag }: Operand): string {
  return tag === undefined ? 'deviceId' : `tags.${tag}`;
}

function textLiteral(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
