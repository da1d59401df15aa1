/**
 * hawkBit's queries (RSQL, of which FIQL is the older spelling) → target conditions.
 *
 *     or         = and { ( ',' | or ) and }
 *     and        = constraint { ( ';' | and ) constraint }
 *     constraint = '(' or ')' | selector operator value | selector operator '(' value { ',' value } ')'
 *
 * A device is chosen here by its id and its tags, never by what it says or when it was heard of last, and of wildcards
 * there is the one at the end. What asks for more is refused with the column: a condition that means something else
 * would reach other devices. hawkBit's tags have no value; here they have the value `true`.
 */
import { catchMistake, Mistake, type Mistaken } from '../core/source-text.ts';
import { parseCondition } from '../core/target/condition.ts';
import { tagNameFrom } from './names.ts';

export interface RsqlOptions {
  /** Whether a target's name is its controller id; otherwise it is a tag `name`. */
  readonly nameIsId: boolean;
}

export type Translated =
  | {
      readonly ok: true;
      readonly condition: string;
      /** Tags that devices must have been given, by the field of hawkBit that they stand for. */
      readonly tags: ReadonlyMap<string, string>;
    }
  | Mistaken;

/** The value of what is only there or not. */
export const TAGGED = 'true';

const SOURCE_LENGTH = 4096;
const NESTING = 64;

/** Every expected error is returned; nothing is thrown. */
export function translateRsql(source: string, options: RsqlOptions): Translated {
  if (source.length > SOURCE_LENGTH) {
    const message = `a query has at most ${SOURCE_LENGTH} characters here, found ${source.length}; give the devices a tag and compare that`;
    return { ok: false, message, offset: SOURCE_LENGTH };
  }
  return catchMistake(() => {
    const tags = new Map<string, string>();
    const expression = parse(source, { ...options, tags });
    const written = expression.kind === 'every' ? '*' : expression.text;
    const parsed = parseCondition(written);
    if (!parsed.ok)
      throw new Mistake(0, `as a target condition it would be ${written}, in ${parsed.message}`);
    return { ok: true as const, condition: parsed.condition.canonical, tags };
  });
}

/** A condition in our language; `every` is kept apart, because `*` stands alone there. */
type Expression = { readonly kind: 'every' } | { readonly kind: 'some'; readonly text: string };

interface Context extends RsqlOptions {
  readonly tags: Map<string, string>;
}

const SPACE = /\s*/y;
/** Everything but what RSQL reserves. */
const WORD = /[^"'();,=!~<>\s]+/y;
const OPERATOR = /==|!=|=[a-z]+=|<=|>=|<|>/y;
const KEYWORD = /(and|or)(?=[\s(])/iy;

function parse(source: string, context: Context): Expression {
  let at = 0;
  let nesting = 0;
  const skip = () => {
    SPACE.lastIndex = at;
    at += SPACE.exec(source)?.[0].length ?? 0;
  };
  const take = (pattern: RegExp): string | undefined => {
    skip();
    pattern.lastIndex = at;
    const found = pattern.exec(source)?.[0];
    at += found?.length ?? 0;
    return found;
  };
  const takeJoiner = (symbol: string, word: string): boolean => {
    skip();
    if (source[at] === symbol) {
      at++;
      return true;
    }
    KEYWORD.lastIndex = at;
    if (KEYWORD.exec(source)?.[0].toLowerCase() !== word) return false;
    at += word.length;
    return true;
  };
  const found = () => (at >= source.length ? 'the end' : JSON.stringify(source[at]));

  function parseOr(): Expression {
    const parts = [parseAnd()];
    while (takeJoiner(',', 'or')) parts.push(parseAnd());
    return joined('OR', parts);
  }

  function parseAnd(): Expression {
    const parts = [parseConstraint()];
    while (takeJoiner(';', 'and')) parts.push(parseConstraint());
    return joined('AND', parts);
  }

  function parseConstraint(): Expression {
    skip();
    const start = at;
    if (source[at] !== '(') return parseComparison();
    at++;
    nesting++;
    if (nesting > NESTING) throw new Mistake(start, `parentheses nest at most ${NESTING} deep`);
    const inner = parseOr();
    skip();
    if (source[at] !== ')') throw new Mistake(at, `expected ")", found ${found()}`);
    at++;
    nesting--;
    return inner;
  }

  function parseComparison(): Expression {
    skip();
    const start = at;
    const selector = take(WORD);
    if (selector === undefined)
      throw new Mistake(at, `expected a field such as attribute.x, found ${found()}`);
    const operator = take(OPERATOR);
    if (operator === undefined) throw new Mistake(at, `expected an operator such as ==, found ${found()}`);
    skip();
    const values: Value[] = [];
    if (source[at] === '(') {
      do {
        at++;
        values.push(parseValue());
        skip();
      } while (source[at] === ',');
      if (source[at] !== ')') throw new Mistake(at, `expected "," or ")", found ${found()}`);
      at++;
    } else values.push(parseValue());
    return compare({ selector, operator, values, offset: start }, context);
  }

  function parseValue(): Value {
    skip();
    const offset = at;
    const quote = source[at];
    if (quote !== '"' && quote !== "'") {
      const text = take(WORD);
      if (text === undefined) throw new Mistake(at, `expected a value, found ${found()}`);
      return { text, offset };
    }
    let text = '';
    for (at++; at < source.length && source[at] !== quote; at++) {
      // A backslash takes the next character as it is; before a star it has to stay, for the wildcard's sake.
      if (source[at] === '\\') {
        at++;
        if (source[at] === '*') text += '\\';
      }
      text += source[at] ?? '';
    }
    if (source[at] !== quote)
      throw new Mistake(offset, `expected a ${quote} that closes this one, found the end`);
    at++;
    return { text, offset };
  }

  if (source.trim() === '')
    throw new Mistake(0, 'expected a query, found nothing; name==* means every target');
  const expression = parseOr();
  skip();
  if (at < source.length) throw new Mistake(at, `expected ; or , or the end, found ${found()}`);
  return expression;
}

interface Value {
  readonly text: string;
  readonly offset: number;
}

interface Comparison {
  readonly selector: string;
  readonly operator: string;
  readonly values: readonly Value[];
  readonly offset: number;
}

function compare(comparison: Comparison, context: Context): Expression {
  const { operator, values, offset } = comparison;
  const isNegated = NEGATED.has(operator);
  if (!isNegated && !POSITIVE.has(operator)) {
    throw new Mistake(
      offset,
      `${operator} compares by size, and a target condition compares texts; give the devices a tag`,
    );
  }
  const field = fieldOf(comparison, context);
  const [first] = values;
  const isNull = (operator === '=is=' || operator === '=not=') && first?.text === 'null';
  const parts = values.map((value) => (isNull ? present(field) : equals(field, value)));
  // `=is=null` asks for what is missing, so it is the other way round.
  const either = joined('OR', parts);
  return isNegated !== isNull ? negated(either, offset) : either;
}

const POSITIVE = new Set(['==', '=eq=', '=is=', '=in=']);
const NEGATED = new Set(['!=', '=ne=', '=not=', '=out=']);

type Field =
  | { readonly operand: string; readonly offset: number }
  | { readonly membership: (tag: string) => string; readonly offset: number };

const NOT_KNOWN_HERE: Readonly<Record<string, string>> = {
  updatestatus:
    'whether a device is up to date follows from what it reports, and a rollout goes on until all are',
  lastcontrollerrequestat:
    'when a device was heard of last does not choose it here; silent devices are gates over silence',
  assignedds: 'what a device is assigned follows from the rollouts',
  installedds: 'what a device runs does not choose it here; what a device must run before is not asked yet',
  ipaddress: "a device's address is its own word",
  createdat: 'when it was registered is not kept as a tag',
  createdby: 'who registered it is not kept as a tag',
  lastmodifiedat: 'when it was changed is not kept as a tag',
  lastmodifiedby: 'who changed it is not kept as a tag',
  description: 'descriptions of devices do not exist here',
  autoconfirm: 'consent of devices does not exist here',
};

function fieldOf({ selector, offset }: Comparison, { nameIsId, tags }: Context): Field {
  const [first = '', ...rest] = selector.split('.');
  const field = first.toLowerCase();
  const sub = rest.join('.');
  const tagged = (written: string): Field => {
    const name = tagNameFrom(written)?.replace(/\.+$/, '');
    if (name === undefined)
      throw new Mistake(offset, `${selector} has no letter that a tag's name could begin with`);
    tags.set(name, selector);
    return { operand: `tags.${name}`, offset };
  };
  if (field === 'id' || field === 'controllerid') return { operand: 'deviceId', offset };
  if (field === 'name') return nameIsId ? { operand: 'deviceId', offset } : tagged('name');
  if ((field === 'attribute' || field === 'metadata') && sub !== '') return tagged(sub);
  if (field === 'group' || field === 'type' || field === 'targettype')
    return tagged(field === 'group' ? 'group' : 'type');
  if (field === 'tag') {
    return {
      offset,
      membership(tag) {
        const name = tagNameFrom(tag)?.replace(/\.+$/, '');
        if (name === undefined)
          throw new Mistake(offset, 'this tag has no letter that a name could begin with');
        tags.set(name, `tag ${tag}`);
        return `tags.${name} = '${TAGGED}'`;
      },
    };
  }
  const why =
    NOT_KNOWN_HERE[field] ??
    'a device is chosen by id, name, attribute.<key>, metadata.<key>, tag, group and type';
  throw new Mistake(
    offset,
    `${selector} cannot be asked for: ${why}; give the devices a tag and compare that`,
  );
}

function equals(field: Field, { text, offset }: Value): Expression {
  const plain = text.replaceAll('\\*', ESCAPED);
  const star = plain.indexOf('*');
  const literal = plain.replaceAll('*', '').replaceAll(ESCAPED, '*');
  if ('membership' in field) {
    if (star !== -1 || text === '') {
      throw new Mistake(offset, 'tags are named in full here; write each of them, as tag=in=(a,b)');
    }
    return some(field.membership(literal));
  }
  const { operand } = field;
  if (text === '') return some(`(NOT ${operand} STARTSWITH '' OR ${operand} = '')`);
  if (star === -1) return some(`${operand} = ${quoted(literal, offset)}`);
  if (/^\*+$/.test(plain))
    return operand === 'deviceId' ? { kind: 'every' } : some(`${operand} STARTSWITH ''`);
  if (!/^[^*]+\*+$/.test(plain)) {
    throw new Mistake(
      offset,
      'a wildcard stands at the end here, as in kiosk-*; give the devices a tag and compare that',
    );
  }
  return some(`${operand} STARTSWITH ${quoted(literal, offset)}`);
}

/** Stands for a star that is meant as one; no query has it. */
const ESCAPED = '\u0000';

function present(field: Field): Expression {
  if ('membership' in field)
    throw new Mistake(field.offset, 'name the tag; whether there is any cannot be asked');
  return field.operand === 'deviceId' ? { kind: 'every' } : some(`${field.operand} STARTSWITH ''`);
}

function quoted(value: string, offset: number): string {
  const literal = `'${value.replaceAll("'", "''")}'`;
  const tried = parseCondition(`deviceId = ${literal}`);
  if (tried.ok) return literal;
  throw new Mistake(offset, tried.message.replace(/^column \d+: /, ''));
}

function some(text: string): Expression {
  return { kind: 'some', text };
}

function joined(word: 'AND' | 'OR', parts: readonly Expression[]): Expression {
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return first;
  const texts = parts.flatMap((part) => (part.kind === 'some' ? [`(${part.text})`] : []));
  const hasEvery = texts.length < parts.length;
  if (texts.length === 0 || (hasEvery && word === 'OR')) return { kind: 'every' };
  return some(texts.join(` ${word} `));
}

function negated(expression: Expression, offset: number): Expression {
  if (expression.kind === 'every') throw new Mistake(offset, 'this matches no device at all; leave it out');
  return some(`NOT (${expression.text})`);
}
