/** Problems of documents, a line each. */
import { join } from 'node:path';
import type { Problem } from '../documents/problem.ts';
import { type Output, printable } from './output.ts';

/** Places are printed as seen from the present folder, so that terminals and editors make links of them. */
export function problemLines(problems: readonly Problem[], path: string, out: Output): string[] {
  return problems.map(({ file, line, column, severity, message, rule }) => {
    const place = out.paint('bold', printable(`${join(path, file)}:${line}:${column}:`));
    const colour = severity === 'error' ? 'red' : 'yellow';
    return `${place} ${out.paint(colour, `${severity}:`)} ${printable(message)} ${out.paint('dim', `(${rule})`)}`;
  });
}
