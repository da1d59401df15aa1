/**
 * Problems as GitHub shows them on a pull request: workflow commands, a line each, which a runner reads from the output of a
 * step (https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands). Escaped as `@actions/core` does it.
 */
import type { Problem } from '../documents/problem.ts';
import type { ValidationReport } from './validation.ts';

/** A runner shows no more of each kind per step, and drops the others without a word. */
export const COMMANDS_MAX = 10;

/** First and last line, both counted from 1 and part of it. */
export type LineRange = readonly [first: number, last: number];

export interface CommandOptions {
  /** Where the fleet repository lies below the workspace: `` for the workspace itself, else as `fleets/homes`. */
  readonly folder: string;
  /** What the pull request changes, by file of the fleet repository: what is there comes first. */
  readonly changed?: ReadonlyMap<string, readonly LineRange[]>;
}

/** The commands, and a last line about those that are left out. */
export function workflowCommands(report: ValidationReport, options: CommandOptions): readonly string[] {
  const of = (severity: Problem['severity']) => report.problems.filter((each) => each.severity === severity);
  const kinds = [
    { command: 'error', problems: of('error') },
    { command: 'warning', problems: of('warning') },
    {
      command: 'notice',
      problems: report.allowed.map((each) => ({
        ...each,
        message: `allowed (${each.reason}): ${each.message}`,
      })),
    },
  ];
  const lines: string[] = [];
  const left: string[] = [];
  for (const { command, problems } of kinds) {
    const ordered = nearestFirst(problems, options.changed);
    for (const problem of ordered.slice(0, COMMANDS_MAX))
      lines.push(commandOf(command, problem, options.folder));
    const rest = ordered.length - COMMANDS_MAX;
    if (rest > 0) left.push(`${rest} more ${command}${rest === 1 ? '' : 's'}`);
  }
  if (left.length > 0) {
    lines.push(
      `${left.join(', ')} in the output of tidegate validate: GitHub shows ${COMMANDS_MAX} of a kind`,
    );
  }
  return lines;
}

/** A command that is about no file. */
export function workflowCommand(command: 'error' | 'warning' | 'notice', message: string): string {
  return `::${command}::${escapeData(message)}`;
}

/** On changed lines, then in changed files, then elsewhere; each in their order. */
function nearestFirst(problems: readonly Problem[], changed: CommandOptions['changed']): readonly Problem[] {
  if (changed === undefined) return problems;
  const distance = ({ file, line }: Problem): number => {
    const ranges = changed.get(file);
    if (ranges === undefined) return 2;
    return ranges.some(([first, last]) => first <= line && line <= last) ? 0 : 1;
  };
  return [...problems].sort((a, b) => distance(a) - distance(b));
}

function commandOf(command: string, { file, line, column, rule, message }: Problem, folder: string): string {
  const path = folder === '' ? file : `${folder}/${file}`;
  const properties = { file: path, line, col: column, title: rule };
  const written = Object.entries(properties).map(([key, value]) => `${key}=${escapeProperty(String(value))}`);
  return `::${command} ${written.join(',')}::${escapeData(message)}`;
}

function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}
