/**
 * What somebody saw, hour by hour, as `gate replay --observations` takes it: YAML or JSON, in words or as the lists that outcomes keep.
 * The first mistake is thrown, with its place; a replay of half of the hours would be worse than none.
 */
import { hourOf, type MeasuredGate, type Row } from '../core/gates/exposure.ts';
import type { Instant } from '../core/model/time.ts';
import type { Path } from './parse.ts';
import { parseYaml } from './parse.ts';
import { show } from './problem.ts';
import { parseInstant, parseShare } from './quantity.ts';

export interface ObservedRows {
  /** The gate's own, where it is said: 0 to 1, both excluded. */
  readonly alpha?: number;
  /** What the known-good attempt had. */
  readonly previous?: number;
  /** In order of time, at least one. */
  readonly rows: readonly Row[];
}

/** `file:line:column: ` and a sentence. */
export class ObservedRowsError extends Error {
  override readonly name = 'ObservedRowsError';
  readonly code = 'observed-rows';
}

/** Throws {@link ObservedRowsError}. `file`: what messages call it. */
export function parseObservedRows(content: Uint8Array, gate: MeasuredGate, file: string): ObservedRows {
  const parsed = parseYaml(content);
  if (!parsed.ok) {
    const [first] = parsed.findings;
    throw new ObservedRowsError(`${file}:${first?.line ?? 1}:${first?.column ?? 1}: ${first?.message}`);
  }
  const { yaml } = parsed;
  const refuse: Refuse = (path, message) => {
    const { line, column } = yaml.at(path);
    return new ObservedRowsError(`${file}:${line}:${column}: ${message}`);
  };
  if (!isMapping(yaml.value)) {
    throw refuse(
      [],
      `the file must be a mapping with rows, found ${show(yaml.value)}; write rows: and a list`,
    );
  }
  refuseOthers(yaml.value, [], ['alpha', 'previous', 'rows'], refuse);
  const { alpha, previous, rows } = yaml.value;
  return {
    ...(alpha === undefined ? {} : { alpha: alphaOf(alpha, refuse) }),
    ...(previous === undefined ? {} : { previous: previousOf(previous, gate, refuse) }),
    rows: rowsOf(rows, gate, refuse),
  };
}

type Refuse = (path: Path, message: string) => ObservedRowsError;
type Mapping = Readonly<Record<string, unknown>>;

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refuseOthers(mapping: Mapping, path: Path, known: readonly string[], refuse: Refuse): void {
  const strange = Object.keys(mapping).find((key) => !known.includes(key));
  if (strange === undefined) return;
  throw refuse([...path, strange], `"${strange}" means nothing here; there are ${known.join(', ')}`);
}

function alphaOf(written: unknown, refuse: Refuse): number {
  const share = typeof written === 'string' ? parseShare(written) : undefined;
  const alpha = share === undefined ? 0 : share.numerator / share.denominator;
  if (alpha > 0 && alpha < 1) return alpha;
  throw refuse(['alpha'], `alpha must be above 0% and below 100%, found ${show(written)}; write 5%`);
}

function previousOf(written: unknown, gate: MeasuredGate, refuse: Refuse): number {
  if (gate.against.kind !== 'previous') {
    throw refuse(
      ['previous'],
      `previous belongs to gates with against: previous, which ${gate.name} is not; take it away`,
    );
  }
  if (typeof written === 'number' && Number.isFinite(written) && written > 0) return written;
  const what = gate.kind === 'events' ? 'incidents per device-hour' : 'the mean';
  throw refuse(
    ['previous'],
    `previous must be a number above 0 (${what} of the known-good attempt), found ${show(written)}`,
  );
}

function rowsOf(written: unknown, gate: MeasuredGate, refuse: Refuse): readonly Row[] {
  if (!Array.isArray(written) || written.length === 0) {
    throw refuse(['rows'], `rows must be a list of at least one hour, found ${show(written)}; add one`);
  }
  let before: Instant | undefined;
  return written.map((each: unknown, index): Row => {
    const path = ['rows', index];
    const row = Array.isArray(each)
      ? listedRow(each, path, gate, refuse)
      : writtenRow(each, path, gate, refuse);
    const [at] = row;
    if (before !== undefined && hourOf(at) <= hourOf(before)) {
      throw refuse(
        path,
        hourOf(at) === hourOf(before)
          ? 'this is the same hour (UTC) as the row before; add the two up'
          : 'this hour is before that of the row before; sort the rows by time',
      );
    }
    before = at;
    return row;
  });
}

/** What an arm's two numbers are called, in the order in which a row has them. */
const NAMES = { events: ['incidents', 'hours'], metric: ['sum', 'count'] } as const;

function listedRow(row: readonly unknown[], path: Path, gate: MeasuredGate, refuse: Refuse): Row {
  if (row.length !== 5) {
    const [amount, over] = NAMES[gate.kind];
    throw refuse(
      path,
      `a row as a list is [at, ${amount}, ${over}, and both of untouched devices], five of them, found ${row.length}`,
    );
  }
  const [amount, over] = NAMES[gate.kind];
  const number = (index: number, name: typeof amount | typeof over) =>
    numberOf(row[index], [...path, index], name, refuse);
  return [
    instantOf(row[0], [...path, 0], refuse),
    number(1, amount),
    number(2, over),
    number(3, amount),
    number(4, over),
  ];
}

function writtenRow(row: unknown, path: Path, gate: MeasuredGate, refuse: Refuse): Row {
  if (!isMapping(row)) {
    throw refuse(path, `a row has at, treated and perhaps control, found ${show(row)}`);
  }
  refuseOthers(row, path, ['at', 'treated', 'control'], refuse);
  const { at, treated, control } = row;
  return [
    instantOf(at, [...path, 'at'], refuse),
    ...armOf(treated, [...path, 'treated'], gate, refuse),
    ...(control === undefined ? ([0, 0] as const) : armOf(control, [...path, 'control'], gate, refuse)),
  ];
}

function armOf(arm: unknown, path: Path, gate: MeasuredGate, refuse: Refuse): readonly [number, number] {
  const [amount, over] = NAMES[gate.kind];
  const example = gate.kind === 'events' ? '{incidents: 4, hours: 100}' : '{sum: 12.5, count: 40}';
  if (!isMapping(arm)) {
    throw refuse(
      path,
      `${path.at(-1)} must have ${amount} and ${over}, found ${show(arm)}; write ${example}`,
    );
  }
  refuseOthers(arm, path, [amount, over], refuse);
  const number = (name: typeof amount | typeof over) => numberOf(arm[name], [...path, name], name, refuse);
  return [number(amount), number(over)];
}

function instantOf(written: unknown, path: Path, refuse: Refuse): Instant {
  const at = typeof written === 'string' && RFC_3339.test(written) ? parseInstant(written) : undefined;
  if (at !== undefined) return at;
  throw refuse(path, `at must be an instant such as 2026-03-01T06:00:00Z, found ${show(written)}`);
}

const RFC_3339 =
  /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?(Z|[+-][0-9]{2}:[0-9]{2})$/;

/** Nobody sees more, and sums of what is below stay numbers. */
const MOST = 1e12;

/** What each number may be. A metric may well be negative; the rest is counted. */
const NUMBERS: Readonly<
  Record<'incidents' | 'hours' | 'sum' | 'count', { is: (value: number) => boolean; words: string }>
> = {
  incidents: { is: isCount, words: 'a whole number, 0 or more' },
  hours: { is: (value) => value >= 0, words: 'a number of device-hours, 0 or more' },
  sum: { is: () => true, words: 'a number' },
  count: { is: isCount, words: 'a whole number, 0 or more' },
};

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0;
}

function numberOf(written: unknown, path: Path, name: keyof typeof NUMBERS, refuse: Refuse): number {
  const { is, words } = NUMBERS[name];
  // −0 is 0, so that equal observations are equal texts.
  if (typeof written === 'number' && Math.abs(written) <= MOST && is(written)) return written + 0;
  throw refuse(path, `${name} must be ${words}, and at most ${MOST}, found ${show(written)}; correct it`);
}
