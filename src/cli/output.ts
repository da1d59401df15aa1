/**
 * Text for a terminal or a pipe: colour, width, tables, bars. A terminal gets colour and lines that fit; a pipe gets
 * plain text that is never cut. What a command says is its own business.
 */
import { styleText } from 'node:util';
import { formatDuration, formatInstant, type Instant, SECOND } from '../core/model/time.ts';

export interface Output {
  write(text: string): void;
  /** Lines, each with a newline behind it. */
  lines(lines: readonly string[]): void;
  readonly isTerminal: boolean;
  /** Columns of the terminal; undefined in a pipe, where nothing is cut or wrapped. */
  readonly width: number | undefined;
  /** The text in a colour, where colours are wanted. */
  paint(style: Style, text: string): string;
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** The part of a writable stream that is used; `process.stdout` is one. */
interface OutputStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Of a terminal that does not say. */
const WIDTH_DEFAULT = 80;

export function createOutput(
  stream: OutputStream,
  env: Readonly<Record<string, string | undefined>>,
): Output {
  const isTerminal = stream.isTTY === true;
  const isColoured = wantsColour(isTerminal, env);
  return {
    write: (text) => void stream.write(text),
    lines: (lines) => void stream.write(lines.map((line) => `${line}\n`).join('')),
    isTerminal,
    // Read each time: people resize.
    get width() {
      return isTerminal ? stream.columns || WIDTH_DEFAULT : undefined;
    },
    paint: (style, text) => (isColoured ? styleText(style, text, { validateStream: false }) : text),
  };
}

/** FORCE_COLOR wins over NO_COLOR (https://no-color.org), as in Node itself. */
function wantsColour(isTerminal: boolean, env: Readonly<Record<string, string | undefined>>): boolean {
  const { FORCE_COLOR: force, NO_COLOR: no, TERM: term } = env;
  if (force !== undefined) return force !== '0' && force !== 'false';
  return isTerminal && !no && term !== 'dumb';
}

/** A cell with a style is painted after it was cut, so that cutting never splits an escape sequence. */
export type Cell = string | { readonly text: string; readonly style: Style };

const GAP = '  ';

/**
 * Rows in aligned columns. Where they do not fit, the widest columns give way, down to nothing but `…`. Widths count
 * code points: names and ids are ASCII here, and for what people write elsewhere near enough.
 */
export function table(
  rows: readonly (readonly Cell[])[],
  output: Pick<Output, 'width' | 'paint'>,
  indent = '',
): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, lengthOf(textOf(cell)));
    });
  }
  shrink(
    widths,
    (output.width ?? Number.POSITIVE_INFINITY) - indent.length - GAP.length * (widths.length - 1),
  );
  return rows.map((row) => {
    const cells = row.map((cell, column) => {
      const text = truncate(textOf(cell), widths[column] ?? 0);
      const padding = ' '.repeat((widths[column] ?? 0) - lengthOf(text));
      return (typeof cell === 'string' ? text : output.paint(cell.style, text)) + padding;
    });
    return (indent + cells.join(GAP)).trimEnd();
  });
}

function shrink(widths: number[], available: number): void {
  let excess = widths.reduce((sum, width) => sum + width, 0) - available;
  while (excess > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    const width = widths[widest] ?? 0;
    if (width <= 1) return;
    widths[widest] = width - 1;
    excess -= 1;
  }
}

function truncate(text: string, width: number): string {
  if (lengthOf(text) <= width) return text;
  return `${[...text].slice(0, Math.max(0, width - 1)).join('')}…`;
}

/** Text in lines of at most the output's width, broken between words; in a pipe one line. */
export function wrap(text: string, output: Pick<Output, 'width'>, indent = ''): string[] {
  const width = Math.max(20, (output.width ?? Number.POSITIVE_INFINITY) - indent.length);
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && lengthOf(line) + 1 + lengthOf(word) > width) {
      lines.push(indent + line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, indent + line];
}

/** `  name  text`, with the text's further lines below its first. */
export function hanging(
  name: string,
  text: string,
  nameWidth: number,
  out: Pick<Output, 'width' | 'paint'>,
): string[] {
  const indent = ' '.repeat(2 + nameWidth + 2);
  const [first = '', ...rest] = wrap(text, out, indent);
  return [`  ${out.paint('dim', name.padEnd(nameWidth))}  ${first.trimStart()}`, ...rest];
}

interface BarPart {
  readonly amount: number;
  readonly glyph: string;
  readonly style?: Style;
}

/**
 * Parts as a bar of exactly `cells` characters. Every part that is there gets a cell, however small: one failed device
 * of ten thousand is what people must see. A bar of nothing is dots.
 */
export function bar(parts: readonly BarPart[], cells: number, output: Pick<Output, 'paint'>): string {
  const total = parts.reduce((sum, part) => sum + part.amount, 0);
  if (total === 0) return output.paint('dim', '·'.repeat(cells));
  const shares = parts.map(({ amount }) => (amount * cells) / total);
  const widths = parts.map(({ amount }, index) =>
    amount === 0 ? 0 : Math.max(1, Math.floor(shares[index] ?? 0)),
  );
  const lacks = (index: number) => (shares[index] ?? 0) - (widths[index] ?? 0);
  for (
    let rest = cells - widths.reduce((sum, width) => sum + width, 0);
    rest !== 0;
    rest -= Math.sign(rest)
  ) {
    // What is missing goes to the part that lacks most; what is too much comes from the one with most to spare.
    const candidates = widths
      .keys()
      .filter((index) => (rest > 0 ? (shares[index] ?? 0) > 0 : (widths[index] ?? 0) > 1));
    const chosen = [...candidates].sort((a, b) => Math.sign(rest) * (lacks(b) - lacks(a)))[0];
    if (chosen === undefined) break;
    widths[chosen] = (widths[chosen] ?? 0) + Math.sign(rest);
  }
  return parts
    .map(({ glyph, style }, index) => {
      const text = glyph.repeat(widths[index] ?? 0);
      return style === undefined || text === '' ? text : output.paint(style, text);
    })
    .join('');
}

// Control characters, and the ones that turn the direction of text around.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/**
 * Text from elsewhere (a device's message, a commit's subject) as one line that cannot steer the terminal: an escape
 * sequence in it could repaint what the reader relies on.
 */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, '\uFFFD');
}

/** `2026-11-21T14:00:00Z (in 2h10m)`. */
export function formatWhen(at: Instant, now: Instant): string {
  return `${formatInstant(Math.round(at / SECOND) * SECOND)} (${formatRelative(at, now)})`;
}

export function formatRelative(at: Instant, now: Instant): string {
  const duration = Math.round((at - now) / SECOND) * SECOND;
  if (duration === 0) return 'now';
  return duration > 0 ? `in ${formatDuration(duration)}` : `${formatDuration(-duration)} ago`;
}

/** An object id short enough for a table, and long enough for git to find it. */
export function shortOid(oid: string): string {
  return oid.slice(0, 10);
}

function textOf(cell: Cell): string {
  return typeof cell === 'string' ? cell : cell.text;
}

function lengthOf(text: string): number {
  return [...text].length;
}
