/**
 * Foreign text in the markdown of a forge: it is shown as it is, and does nothing. It mentions nobody, refers to nothing, links nowhere,
 * makes no table, picture or heading, and has an end.
 *
 * GitHub looks for mentions, references and addresses in what was rendered, so escaping does not keep it from finding them; a space that
 * nobody sees does, and so does code.
 *
 * https://github.github.com/gfm/, https://docs.github.com/en/get-started/writing-on-github
 */
import { excerpt } from '../request.ts';

const UNSEEN_SPACE = '\u200b';

/** Words, in the middle of a line. */
export function prose(text: string, lengthMax: number): string {
  return excerpt(text, lengthMax)
    .replaceAll('@', `@${UNSEEN_SPACE}`)
    .replaceAll(/#(?=[0-9])|\bGH-(?=[0-9])/gi, (mark) => mark + UNSEEN_SPACE)
    .replaceAll(/:(?=\/\/)|\bwww(?=\.)/gi, (mark) => mark + UNSEEN_SPACE)
    .replaceAll(/[\\`*_[\]~$]/g, (mark) => `\\${mark}`)
    .replaceAll(/[&<>|]/g, (mark) => ENTITIES[mark] ?? mark);
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '|': '&#124;' };

/** As code: names, commands, what devices said. */
export function code(text: string, lengthMax: number): string {
  const line = excerpt(text, lengthMax);
  if (line === '') return '–';
  const runs = line.match(/`+/g) ?? [];
  const fence = '`'.repeat(1 + Math.max(0, ...runs.map(({ length }) => length)));
  const pad = runs.length > 0 ? ' ' : '';
  return `${fence}${pad}${line}${pad}${fence}`;
}

/** Cells are markdown; a bar within code would end the cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows.map((row) => row.map((cell) => cell.replaceAll('|', '\\|')));
  return [head, head.map(() => '---'), ...body].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

/** An address as a link, if it is one that can be followed and has nothing in it that markdown reads; else as words. */
export function link(address: string, lengthMax: number): string {
  const isPlain = /^https?:\/\/[A-Za-z0-9][A-Za-z0-9.:/?&=%#,;+~_-]*$/.test(address);
  return isPlain && address.length <= lengthMax ? `<${address}>` : prose(address, lengthMax);
}
