/**
 * Everything that is wrong with a working folder of a fleet repository, committed or not: what a pull request is judged by.
 * How that is shown is the business of whoever asks: a command, or an action of a forge.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Operations } from '../core/model/desired.ts';
import type { CommitId, SnapshotId } from '../core/model/ids.ts';
import type { Instant } from '../core/model/time.ts';
import { type AllowedProblem, reportUnused, sift } from '../documents/allowances.ts';
import { reportInto } from '../documents/document.ts';
import { largeFiles } from '../documents/file-sizes.ts';
import { readFolder } from '../documents/folder.ts';
import { type LoadedState, loadingDesired, loadOperations, type SourceFile } from '../documents/load.ts';
import { compareProblems, type Problem } from '../documents/problem.ts';
import { RULES, type RuleId, severityOf } from '../documents/rules.ts';
import { isAbsent } from '../durable-fs.ts';
import { inTurns } from '../turns.ts';
import { trustProblems } from './trust-problems.ts';

export interface ValidationQuestion {
  /** The root of a fleet repository's working folder. */
  readonly path: string;
  /** What `trust/` is compared with, commit by commit. */
  readonly base?: string | undefined;
  /** Warnings are enough for it not to be valid. */
  readonly isStrict?: boolean | undefined;
  /** What else to look for, with more at hand than the folder. */
  readonly lints?: readonly Lint[];
  readonly now: Instant;
  /** The environment that git is found and run in. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Looks for more: the problems that it found, and the rules that it looked for, so that allowances of those can be judged. */
export type Lint = (
  read: ReadFolder,
) => Promise<{ readonly looked: readonly RuleId[]; readonly problems: readonly Problem[] }>;

/** The folder as it was read. */
export interface ReadFolder {
  readonly files: readonly SourceFile[];
  readonly loaded: LoadedState;
  readonly operations: Operations;
}

export interface ValidationReport {
  readonly valid: boolean;
  /** Files that were read as documents. */
  readonly documents: number;
  readonly errors: number;
  readonly warnings: number;
  /** In order of file, line and column; files are relative to the repository. */
  readonly problems: readonly Problem[];
  /** What the documents allow, each with their reason. */
  readonly allowed: readonly AllowedProblem[];
}

/** A report; or, where the question cannot be answered, why not, as a sentence with the next step. */
export type Validated =
  | { readonly ok: true; readonly report: ValidationReport }
  | { readonly ok: false; readonly message: string };

/** What a file in trust/ weighs counts, too; what it says is looked at elsewhere. */
const FOLDERS = ['fleet', 'ops', 'trust'];

/** The rules that are looked for here, besides those about documents. */
const LOOKED: readonly RuleId[] = ['document-folder', 'large-file', 'blob-too-large'];

export async function validateFolder(question: ValidationQuestion): Promise<Validated> {
  const { path, base, lints = [], isStrict = false } = question;
  if (!(await isFolder(join(path, 'fleet')))) {
    const next = 'name the root of a fleet repository, or make one with tidegate init';
    return { ok: false, message: `${path} has no folder fleet/; ${next}` };
  }
  const files = await readFolder(path, FOLDERS);
  // Nothing is committed yet, so there is no id; problems do not depend on one.
  const at = { snapshot: '' as SnapshotId, commit: '' as CommitId };
  // In turns: within one, nothing that was parsed could be let go of, and a large repository is many times its text.
  const loaded = await inTurns(loadingDesired(files, at, { policy: 'enforce' }));
  const trust = await trustProblems({ ...question, base, files });
  if (trust === undefined) {
    const next = 'fetch it (in a workflow: actions/checkout with fetch-depth: 0), or name another';
    return { ok: false, message: `there is no commit "${base}" here to compare with; ${next}` };
  }
  const { operations, problems: ofOperations } = loadOperations(files);
  const further = await Promise.all(lints.map((lint) => lint({ files, loaded, operations })));
  const looked = [...LOOKED, ...further.flatMap((lint) => lint.looked)];
  const more = allowing(
    loaded,
    [...ofOperations, ...trust, ...largeFiles(files), ...further.flatMap((lint) => lint.problems)],
    looked,
  );
  const problems = [...loaded.problems, ...more.problems].map(asProposed).sort(compareProblems);
  const allowed = [...loaded.allowed, ...more.allowed].map(asProposed).sort(compareProblems);
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const warnings = problems.length - errors;
  const documents = files.filter((file) => /^(?:fleet|ops)\/.*\.ya?ml$/.test(file.path)).length;
  const valid = errors === 0 && !(isStrict && warnings > 0);
  return { ok: true, report: { valid, documents, errors, warnings, problems, allowed } };
}

/** What else was found, without what documents allow, and with the allowances that allow none of it. */
function allowing(
  { allowances }: LoadedState,
  found: readonly Problem[],
  looked: readonly RuleId[],
): { readonly problems: readonly Problem[]; readonly allowed: readonly AllowedProblem[] } {
  const { problems, allowed, unused } = sift(found, allowances);
  const own = [...problems];
  const report = reportInto(own);
  for (const allowance of unused.filter(({ rule }) => looked.includes(rule))) reportUnused(allowance, report);
  return { problems: own, allowed };
}

/** A pull request is where policy is enforced, whatever the fleet makes of what has been merged. */
function asProposed<P extends Problem>(problem: P): P {
  const { rule, message } = problem;
  // What other libraries say of an expression ends without a next step.
  const said = message.includes(';') ? message : `${message}; ${RULES[rule].fix}`;
  return { ...problem, severity: severityOf(rule, 'enforce'), message: said };
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}
