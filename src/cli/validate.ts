/** `tidegate validate`: prints what is wrong with a working folder, and what a rule is about. */
import { join, relative } from 'node:path';
import manifest from '../../package.json' with { type: 'json' };
import { plural } from '../core/words.ts';
import { rulePage } from '../documents/rule-page.ts';
import { isRule, RULE_IDS, RULES } from '../documents/rules.ts';
import { didYouMean } from '../documents/suggest.ts';
import { examine } from '../proposal/examination.ts';
import { sarifLog } from '../proposal/sarif.ts';
import type { ValidationReport } from '../proposal/validation.ts';
import { workflowCommands } from '../proposal/workflow-commands.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { type Output, printable } from './output.ts';
import { problemLines } from './problem-text.ts';

type Format = 'text' | 'json' | 'github' | 'sarif';

export interface ValidateOptions {
  /** The root of a fleet repository's working folder. */
  readonly path: string;
  /** What `trust/` is compared with, commit by commit. */
  readonly base?: string;
  /** Warnings fail, too. */
  readonly strict?: boolean;
  /** Prints the page of this rule, and looks at nothing. */
  readonly explain?: string;
  readonly format: Format;
}

export async function run(options: ValidateOptions, io: Io): Promise<ExitCode> {
  const { path, base, strict, explain, format } = options;
  if (explain !== undefined) return explainRule(explain, format, io);
  const question = { path, base, isStrict: strict, now: io.clock.now(), env: io.env };
  const examined = await examine(question);
  if (!examined.ok) throw new CommandError(examined.message);
  const report = examined.validation;
  PRINT[format](report, path, io);
  return report.valid ? EXIT.fine : EXIT.problems;
}

const PRINT: Readonly<Record<Format, (report: ValidationReport, path: string, io: Io) => void>> = {
  text: (report, path, { out }) => out.lines(reportLines(report, path, out)),
  json: (report, _path, { out }) => out.write(`${JSON.stringify(report, null, 2)}\n`),
  github: (report, path, { out, env }) =>
    out.lines([...workflowCommands(report, { folder: folderIn(path, env) }), verdictLine(report, out)]),
  sarif: (report, path, { out, env }) => {
    const log = sarifLog(report, { version: manifest.version, folder: folderIn(path, env) });
    out.write(`${JSON.stringify(log, null, 2)}\n`);
  },
};

function explainRule(text: string, format: Format, { out }: Io): ExitCode {
  if (!isRule(text))
    throw new CommandError(`there is no rule "${printable(text)}"; ${didYouMean(text, RULE_IDS)}`);
  out.write(
    format === 'json' ? `${JSON.stringify({ id: text, ...RULES[text] }, null, 2)}\n` : rulePage(text),
  );
  return EXIT.fine;
}

/** Where the repository lies in the workspace of a runner, or else in the present folder: what its services count paths from. */
function folderIn(path: string, { GITHUB_WORKSPACE: workspace = '.' }: Io['env']): string {
  const folder = relative(workspace, path).replaceAll('\\', '/');
  return folder.startsWith('..') ? '' : folder;
}

function reportLines(report: ValidationReport, path: string, out: Output): string[] {
  const lines = problemLines(report.problems, path, out);
  if (lines.length > 0) lines.push('');
  if (report.problems.some(({ rule }) => rule === 'schema' || rule === 'yaml')) {
    lines.push(
      'What documents say of each other is checked once each of them is right; more may follow.',
      '',
    );
  }
  const [first] = report.problems;
  if (first !== undefined) {
    lines.push(`Why, with an example: tidegate validate --explain ${first.rule}`, '');
  }
  for (const { file, line, column, rule, reason } of report.allowed) {
    lines.push(
      out.paint('dim', printable(`${join(path, file)}:${line}:${column}: allows ${rule}: ${reason}`)),
    );
  }
  if (report.allowed.length > 0) lines.push('');
  lines.push(verdictLine(report, out));
  return lines;
}

function verdictLine(report: ValidationReport, out: Output): string {
  const { documents, errors, warnings, allowed } = report;
  const found = [
    ...(errors === 0 ? [] : [plural(errors, 'error')]),
    ...(warnings === 0 ? [] : [plural(warnings, 'warning')]),
  ].join(' and ');
  const verdict = report.valid ? out.paint('green', '✓ valid') : out.paint('red', '✗ not valid');
  const also = allowed.length === 0 ? '' : `, ${allowed.length} allowed`;
  return `${verdict}: ${found === '' ? 'no problems' : found} in ${plural(documents, 'document')}${also}`;
}
