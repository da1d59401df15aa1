/** `tidegate validate`: everything that is wrong with the documents of a working folder, committed or not. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CommitId, SnapshotId } from '../core/model/ids.ts';
import { readFolder } from '../documents/folder.ts';
import { loadDesired, loadOperations } from '../documents/load.ts';
import { compareProblems, type Problem } from '../documents/problem.ts';
import { isAbsent } from '../durable-fs.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { type Output, plural, printable } from './output.ts';
import { trustProblems } from './validate-trust.ts';

export interface ValidateOptions {
  /** The root of a fleet repository's working folder. */
  readonly path: string;
  /** What `trust/` is compared with, commit by commit. */
  readonly base?: string;
  readonly format: 'text' | 'json';
}

/** What `--format json` prints. */
export interface ValidationReport {
  readonly valid: boolean;
  readonly documents: number;
  readonly errors: number;
  readonly warnings: number;
  /** In order of file, line and column; files are relative to the repository. */
  readonly problems: readonly Problem[];
}

export async function run(options: ValidateOptions, io: Io): Promise<ExitCode> {
  const report = await validateFolder(options, io);
  if (options.format === 'json') io.out.write(`${JSON.stringify(report, null, 2)}\n`);
  else io.out.lines(reportLines(report, options.path, io.out));
  return report.valid ? EXIT.fine : EXIT.problems;
}

async function validateFolder({ path, base }: ValidateOptions, io: Io): Promise<ValidationReport> {
  if (!(await isFolder(join(path, 'fleet')))) {
    const next = 'name the root of a fleet repository, or make one with tidegate init';
    throw new CommandError(`${path} has no folder fleet/; ${next}`);
  }
  const files = await readFolder(path);
  // Nothing is committed yet, so there is no id; problems do not depend on one.
  const { problems } = loadDesired(files, { snapshot: '' as SnapshotId, commit: '' as CommitId });
  const trust = await trustProblems({ path, base, files }, io);
  const all = [...problems, ...loadOperations(files).problems, ...trust].sort(compareProblems);
  const errors = all.filter(({ severity }) => severity === 'error').length;
  return {
    valid: errors === 0,
    documents: files.filter((file) => /\.ya?ml$/.test(file.path)).length,
    errors,
    warnings: all.length - errors,
    problems: all,
  };
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

/** Places are printed as seen from the present folder, so that terminals and editors make links of them. */
function reportLines(report: ValidationReport, path: string, out: Output): string[] {
  const lines = report.problems.map(({ file, line, column, severity, message, rule }) => {
    const place = out.paint('bold', printable(`${join(path, file)}:${line}:${column}:`));
    const colour = severity === 'error' ? 'red' : 'yellow';
    return `${place} ${out.paint(colour, `${severity}:`)} ${printable(message)} ${out.paint('dim', `(${rule})`)}`;
  });
  if (lines.length > 0) lines.push('');
  if (report.problems.some(({ rule }) => rule === 'schema' || rule === 'yaml')) {
    lines.push(
      'What documents say of each other is checked once each of them is right; more may follow.',
      '',
    );
  }
  const { documents, errors, warnings } = report;
  const found = [
    ...(errors === 0 ? [] : [plural(errors, 'error')]),
    ...(warnings === 0 ? [] : [plural(warnings, 'warning')]),
  ].join(' and ');
  const verdict = report.valid ? out.paint('green', '✓ valid') : out.paint('red', '✗ not valid');
  lines.push(`${verdict}: ${found === '' ? 'no problems' : found} in ${plural(documents, 'document')}`);
  return lines;
}
