/** Blocks as GitHub's markdown. Whatever stands in documents is text and nothing else: it links to nobody and calls nobody. */
import type { Block } from './block.ts';

export function markdownOf(blocks: readonly Block[]): string {
  return `${blocks.map(markdownFor).join('\n\n')}\n`;
}

function markdownFor(block: Block): string {
  switch (block.kind) {
    case 'heading':
      return `${'#'.repeat(block.level + 2)} ${escaped(block.text)}`;
    case 'text':
      return escaped(block.text);
    case 'list':
      return block.items.map((item) => `- ${escaped(item)}`).join('\n');
    case 'table': {
      const aligned = block.head.map((_, column) => (block.numbers.includes(column) ? '--:' : '---'));
      const rows = [block.head, ...block.rows].map((row) => line(row.map(escaped)));
      return [rows[0], line(aligned), ...rows.slice(1)].join('\n');
    }
  }
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

/**
 * Text in which nothing is markup. A zero-width space behind `@` and `#` keeps names from being mentions and numbers from being links to
 * issues; URLs are not made into links for the same reason.
 */
export function escaped(text: string): string {
  return text
    .replaceAll(/[\r\n\t]+/g, ' ')
    .replaceAll(/[\\`*_{}[\]<>|~]/g, (character) => (character === '<' ? '&lt;' : `\\${character}`))
    .replaceAll(/([@#])(?=\S)/g, '$1\u200B')
    .replaceAll(/(https?|ftp|www)(:\/\/|\.)/gi, '$1\u200B$2')
    .replace(/^(\s*)([-+>]|\d+\.)(?=\s)/, '$1\\$2');
}
