/**
 * How far a long command is: one line on standard error that is drawn over again, and gone when the command ends. Only on a
 * terminal: a pipe gets nothing, and neither does one that cannot move its cursor.
 */
import { realNow } from '../clock.ts';
import type { Output } from './output.ts';

export interface Progress {
  /** `done`: 0 to 1; what lies outside is cut off. Cheap: it draws about ten times in a second, however often it is called. */
  update(done: number, text: string): void;
  /** Takes the line away. */
  close(): void;
}

const REDRAW_MS = 100;
const BAR_CELLS = 24;
const CLEAR_LINE = '\r\u001b[K';

export function createProgress(
  err: Output,
  env: Readonly<Record<string, string | undefined>>,
  now: () => number = realNow,
): Progress {
  const isShown = err.isTerminal && env['TERM'] !== 'dumb';
  let drawnAt = Number.NEGATIVE_INFINITY;
  let isDrawn = false;
  return {
    update(done, text) {
      if (!isShown || now() - drawnAt < REDRAW_MS) return;
      drawnAt = now();
      isDrawn = true;
      const filled = Math.round(Math.min(1, Math.max(0, done)) * BAR_CELLS);
      const bar = err.paint('cyan', '█'.repeat(filled)) + err.paint('dim', '░'.repeat(BAR_CELLS - filled));
      const room = Math.max(0, (err.width ?? 0) - BAR_CELLS - 2);
      err.write(`${CLEAR_LINE}${bar} ${text.slice(0, room)}`);
    },
    close() {
      if (isDrawn) err.write(CLEAR_LINE);
      isDrawn = false;
    },
  };
}
