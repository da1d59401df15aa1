/** What a plan says, on a terminal or in a pipe. */
import type { Block } from '../proposal/block.ts';
import { type Cell, type Output, printable, table, wrap } from './output.ts';

export function blockLines(blocks: readonly Block[], out: Output): string[] {
  return blocks.flatMap((block, index) => [
    // A list belongs to the heading above it.
    ...(index === 0 || blocks[index - 1]?.kind === 'heading' ? [] : ['']),
    ...linesOf(block, out),
  ]);
}

function linesOf(block: Block, out: Output): string[] {
  switch (block.kind) {
    case 'heading':
      return [out.paint(block.level === 1 ? 'bold' : 'dim', printable(block.text))];
    case 'text':
      return wrap(printable(block.text), out);
    case 'list':
      return block.items.flatMap((item) => bulletLines(printable(item), out));
    case 'table': {
      const widths = block.head.map((name, column) =>
        Math.max(name.length, ...block.rows.map((row) => [...(row[column] ?? '')].length)),
      );
      const aligned = (row: readonly string[]) =>
        row.map((cell, column) =>
          block.numbers.includes(column) ? cell.padStart(widths[column] ?? 0) : cell,
        );
      const head = aligned(block.head).map((text): Cell => ({ text, style: 'dim' }));
      return table([head, ...block.rows.map((row) => aligned(row.map(printable)))], out, '  ');
    }
  }
}

function bulletLines(text: string, out: Output): string[] {
  const colour = text.startsWith('error:') ? 'red' : text.startsWith('warning:') ? 'yellow' : undefined;
  const [first = '', ...rest] = wrap(text, out, '    ');
  const line = `  - ${first.trimStart()}`;
  return [
    colour === undefined ? line : line.replace(/(error|warning):/, (word) => out.paint(colour, word)),
    ...rest,
  ];
}
