/** A problem: what is wrong with a document, where, and what to do about it. Problems are collected, never thrown. */
import type { RuleId, Severity } from './rules.ts';

export interface Problem {
  /** Path inside the repository: `fleet/rollouts/kiosk.yaml`. */
  readonly file: string;
  /** Both count from 1; columns are UTF-16 code units, as editors count them. */
  readonly line: number;
  readonly column: number;
  /** Stable name of the rule that was broken, for filters and annotations: `unknown-key`. */
  readonly rule: RuleId;
  readonly severity: Severity;
  /** What was expected and found, and the next step, without the place. */
  readonly message: string;
}

/** A problem of a text whose path is not known yet: the same blob may lie at several. */
export type Finding = Omit<Problem, 'file'>;

export interface Position {
  readonly line: number;
  readonly column: number;
}

/** `file:line:column: message`, which editors and terminals make a link of. */
export function formatProblem(problem: Problem): string {
  return `${problem.file}:${problem.line}:${problem.column}: ${problem.message}`;
}

/** Order of file, line and column; what is at one place keeps its order. */
export function compareProblems(a: Problem, b: Problem): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line || a.column - b.column;
}

/** What is wrong with a text, without the column inside it: that would contradict the column in the file, the better one. */
export function withoutColumn(message: string): string {
  return message.replace(/^column [0-9]+: /, '');
}

/** A value as messages show it: short, on one line. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`;
  if (typeof value === 'object') return showMapping(Object.keys(value).length);
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length <= SHOWN_LENGTH ? text : `${text.slice(0, SHOWN_LENGTH)}…`;
}

const SHOWN_LENGTH = 60;

function showMapping(keys: number): string {
  if (keys === 0) return 'an empty mapping';
  return `a mapping of ${keys} ${keys === 1 ? 'key' : 'keys'}`;
}
