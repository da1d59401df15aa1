/** Markdown that is cut where a reader can follow it: between blocks, or between the lines of a list or a table; never within one. */

export interface Room {
  readonly max: number;
  /** What a text takes of it. */
  readonly sizeOf: (text: string) => number;
  /** Where the rest is. */
  readonly rest: string;
}

/** Of the line that says what was left out. */
const NOTE_SIZE_MAX = 300;
/** A table without a row says nothing. */
const TABLE_LINES_MIN = 3;

/** Blocks, each without an empty line behind it, as one text; `last` is always there. */
export function fitted(blocks: readonly string[], last: string, room: Room): string {
  const whole = joined([...blocks, last]);
  if (room.sizeOf(whole) <= room.max) return whole;
  let left = room.max - room.sizeOf(last) - NOTE_SIZE_MAX;
  const kept: string[] = [];
  for (const [index, block] of blocks.entries()) {
    const size = room.sizeOf(block) + 2;
    if (size <= left) {
      kept.push(block);
      left -= size;
      continue;
    }
    const part = linesOf(block, left, room);
    if (part.lines.length > 0) kept.push(part.lines.join('\n'));
    const blocksLeft = blocks.length - index - (part.lines.length > 0 ? 1 : 0);
    const what = [
      ...(part.lines.length > 0 ? [counted(part.left, 'line')] : []),
      ...(blocksLeft > 0 ? [counted(blocksLeft, 'block')] : []),
    ].join(' and ');
    kept.push(`_Left out, as GitHub takes no more here: ${what}. ${room.rest}_`);
    break;
  }
  return joined([...kept, last]);
}

function joined(blocks: readonly string[]): string {
  return `${blocks.filter((block) => block !== '').join('\n\n')}\n`;
}

/** As many lines of a list or a table as there is room for; of anything else none. */
function linesOf(
  block: string,
  left: number,
  { sizeOf }: Room,
): { readonly lines: readonly string[]; readonly left: number } {
  const all = block.split('\n');
  const isTable = block.startsWith('| ');
  const none = { lines: [], left: all.length };
  if (!isTable && !block.startsWith('- ')) return none;
  const lines: string[] = [];
  let room = left - 2;
  for (const line of all) {
    room -= sizeOf(line) + 1;
    if (room < 0) break;
    lines.push(line);
  }
  return isTable && lines.length < TABLE_LINES_MIN ? none : { lines, left: all.length - lines.length };
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
