/**
 * What the commands that operate rollouts have in common: they look at the newest commit and at `outcomes`, say what they
 * would change, and make exactly one commit, or say why not.
 */
import { userInfo } from 'node:os';
import type { DesiredState, Operation, Rollout } from '../core/model/desired.ts';
import type { RolloutName } from '../core/model/ids.ts';
import { type Attempt, isFinished, type Outcomes } from '../core/model/outcome.ts';
import type { Instant } from '../core/model/time.ts';
import type { OperationEntry } from '../documents/edit.ts';
import { createDocumentCache, type DocumentCache } from '../documents/load.ts';
import { commitOnNewest, type Draft, type FileChange } from '../fleet-repo/operations.ts';
import { OUTCOMES_BRANCH, readOutcomes } from '../fleet-repo/outcomes.ts';
import { openWorkplace, type Workplace } from '../fleet-repo/workplace.ts';
import type { Commit, Git, Oid } from '../git/git.ts';
import { signerAt } from '../reconcile/approvals.ts';
import { readWanted } from '../reconcile/desired.ts';
import {
  appliedOperations,
  type Moot,
  pendingOperations,
  type Situation,
  unknownRollout,
} from '../reconcile/moot-operations.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { hanging, type Output, printable, shortOid, wrap } from './output.ts';

export interface OperationOptions {
  readonly repo: string;
  readonly branch: string;
  readonly reason?: string;
  readonly by?: string;
  readonly dryRun: boolean;
  readonly format: 'text' | 'json';
}

/** The fleet as its newest commit and its outcomes have it. */
export interface View extends Situation {
  readonly git: Git;
  readonly head: Commit;
  /** Undefined where no valid snapshot is near; operations that need none go on. */
  readonly desired: DesiredState | undefined;
  /** Entries of `ops/` that no attempt has applied yet. */
  readonly pending: readonly Operation[];
  /** Whether there is a record at all. */
  readonly hasRecord: boolean;
  /** Ids of the entries that some attempt has applied. */
  readonly applied: ReadonlySet<string>;
  readonly at: Instant;
  readonly cache: DocumentCache;
  /** Who asks. */
  readonly by: string;
  /** Whether an approval made here would be signed so that it counts. */
  readonly canSign: boolean;
}

/** The one commit that a command makes. */
export interface Change extends Draft {
  readonly files: readonly FileChange[];
  readonly entries: readonly (OperationEntry & { readonly rollout: RolloutName })[];
  /** Sign it even if git is not configured to sign every commit. */
  readonly sign: boolean;
  /** What a person should know before relying on it. */
  readonly warnings: readonly string[];
  /** What happens next, in sentences. */
  readonly next: readonly string[];
}

/** What `--format json` prints. */
export interface Printed {
  readonly dryRun: boolean;
  readonly commit: string | null;
  readonly branch: string;
  readonly place: string;
  readonly subject: string;
  readonly files: readonly string[];
  readonly operations: Change['entries'];
  readonly warnings: readonly string[];
  readonly next: readonly string[];
}

/** Says what was changed, or, without a commit, what would be. */
export type Printer<C extends Change> = (change: C, commit: string | undefined, at: Printing) => void;

export interface Printing {
  readonly options: OperationOptions;
  readonly io: Io;
  readonly workplace: Workplace;
}

/** Draws the change for the newest commit, again for as long as somebody else commits first, and makes it. */
export async function operate<C extends Change>(
  options: OperationOptions,
  io: Io,
  draw: (view: View) => Promise<C>,
  print: Printer<C> = printChange,
): Promise<ExitCode> {
  const { repo, branch } = options;
  const person = { env: io.env, mayAsk: io.err.width !== undefined, signal: io.interrupted() };
  const identity = `${plain(options.by ?? io.env['USER'] ?? 'Tidegate')} <tidegate@localhost>`;
  const workplace = await openWorkplace({ repo, branch, person, identity });
  try {
    const by = whoAsks(options, io, workplace);
    const cache = createDocumentCache();
    const drawn = async (head: Commit) =>
      await draw(await look(workplace, { head, branch, cache, by, at: io.clock.now() }));
    if (options.dryRun) {
      const tip = await workplace.git.branch(branch);
      if (tip === undefined)
        throw new CommandError(
          `${workplace.place} has no branch ${branch}; ${NAME_BRANCH}; nothing was changed`,
        );
      print(await drawn(await workplace.git.commit(tip)), undefined, { options, io, workplace });
      return EXIT.fine;
    }
    const made = await commitOnNewest(workplace.git, {
      branch,
      place: workplace.place,
      at: io.clock.now(),
      draw: drawn,
      writeCommit: (commit, { sign }) => workplace.writeCommit(commit, { sign }),
    });
    switch (made.kind) {
      case 'committed':
        print(await withSignatureChecked(workplace.git, made), made.commit, { options, io, workplace });
        return EXIT.fine;
      case 'lost':
        throw new CommandError(`others keep committing to ${branch} of ${workplace.place}; try again`);
      case 'refused':
        throw new CommandError(`${made.reason}; nothing was changed`);
    }
  } finally {
    await workplace.close();
  }
}

/** A commit that had to be signed, and is, by a key that does not count. */
async function withSignatureChecked<C extends Change>(
  git: Git,
  { draft, commit: oid }: { readonly draft: C; readonly commit: Oid },
): Promise<C> {
  if (!draft.sign) return draft;
  const signer = await signerAt(git, await git.commit(oid));
  if ('name' in signer) return draft;
  const warning =
    `THIS APPROVAL WILL NOT COUNT: the commit ${signer.refused}. Have your key listed there, or sign with one that is ` +
    '(git config user.signingKey), and approve again.';
  return { ...draft, warnings: [...draft.warnings, warning] };
}

const NAME_BRANCH = 'name the one that people change with --branch';

/** What may stand in an identity. */
function plain(name: string): string {
  return name.replaceAll(/[<>\p{Cc}]/gu, '').trim() || 'Tidegate';
}

function whoAsks({ by }: OperationOptions, { env }: Io, { user }: Workplace): string {
  const name = by ?? user ?? env['USER'] ?? userInfo().username;
  if (name.trim() !== '' && name.length <= BY_LENGTH_MAX) return name;
  throw new CommandError(`who asks must be a name of 1 to ${BY_LENGTH_MAX} characters; say it with --by`);
}

/** As the schema has it. */
const BY_LENGTH_MAX = 128;

async function look(
  { git, canSign }: Workplace,
  given: { head: Commit; branch: string; cache: DocumentCache; by: string; at: Instant },
): Promise<View> {
  const { head, branch, cache, by, at } = given;
  const record = await git.branch(OUTCOMES_BRANCH);
  const outcomes = await readOutcomes(git, record, new Map());
  const { desired, operations } = await readWanted(git, { branch, cache, outcomes, before: undefined });
  const pending = pendingOperations(operations.entries, outcomes);
  const applied = appliedOperations(outcomes);
  const rollouts = desired?.rollouts ?? new Map<RolloutName, Rollout>();
  const hasRecord = record !== undefined;
  return { git, head, desired, rollouts, outcomes, hasRecord, pending, applied, at, cache, by, canSign };
}

/** The rollout that was named, with its attempts. Throws {@link CommandError} where there is none, or no attempt yet. */
export function rolloutNamed(
  view: View,
  written: string,
): {
  readonly name: RolloutName;
  readonly rollout: Rollout | undefined;
  readonly attempts: readonly Attempt[];
  readonly latest: Attempt;
} {
  const name = written as RolloutName;
  const rollout = view.rollouts.get(name);
  const attempts = view.outcomes.get(name) ?? [];
  if (rollout === undefined && attempts.length === 0) throw refused(unknownRollout(name, view));
  const latest = attempts.at(-1);
  if (latest !== undefined) return { name, rollout, attempts, latest };
  const why = view.hasRecord
    ? `the server has not read the commit that asks for it; see tidegate status ${name}`
    : `there is no branch ${OUTCOMES_BRANCH}; start a server, or if one runs, see in its log how to set the branch back`;
  throw problem(`${name} has no attempt yet: ${why}`);
}

/** Rollouts under way, in order of name. */
export function underWay(outcomes: Outcomes, rollouts: View['rollouts']): readonly Attempt[] {
  return [...outcomes.values()]
    .flatMap((attempts) => attempts.at(-1) ?? [])
    .filter((latest) => !isFinished(latest) && rollouts.has(latest.rollout))
    .sort((a, b) => (a.rollout < b.rollout ? -1 : 1));
}

/** The command did its work and found that there is nothing to do, or nothing that may be done. */
export function problem(message: string): CommandError {
  return new CommandError(message, EXIT.problems);
}

/** An entry that would have no effect is not written. */
export function refused({ rule, what, next }: Moot): CommandError {
  const isAboutTheEntry =
    rule === 'operation-attempt' || rule === 'operation-over' || rule === 'operation-early';
  return problem(`${what}; ${isAboutTheEntry ? 'tidegate status shows where the rollout stands' : next}`);
}

/** A commit message: what, why, and trailers. */
export function messageOf(given: {
  readonly subject: string;
  readonly body?: readonly (string | undefined)[];
  readonly trailers: readonly (readonly [string, string | number | undefined])[];
}): string {
  const trailers = given.trailers.flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}: ${value}`],
  );
  const paragraphs = [given.subject, ...(given.body ?? []), trailers.join('\n')];
  return `${paragraphs.filter((paragraph) => paragraph !== undefined && paragraph !== '').join('\n\n')}\n`;
}

export function printChange(change: Change, commit: string | undefined, at: Printing): void {
  const { options, io } = at;
  if (options.format === 'json') {
    io.out.write(`${JSON.stringify(printed(change, commit, at), null, 2)}\n`);
    return;
  }
  printText(change, commit, at, io.out);
}

/** What `--format json` prints of a change. */
export function printed(
  change: Change,
  commit: string | undefined,
  { options, workplace }: Printing,
): Printed {
  return {
    dryRun: options.dryRun,
    commit: commit ?? null,
    branch: options.branch,
    place: workplace.place,
    subject: subjectOf(change),
    files: change.files.map(({ path }) => path),
    operations: change.entries,
    warnings: change.warnings,
    next: nextOf(change, commit, workplace),
  };
}

function subjectOf({ message }: Change): string {
  return message.split('\n', 1)[0] ?? '';
}

function nextOf(change: Change, commit: string | undefined, { clone }: Workplace): readonly string[] {
  return [...change.next, ...(clone === undefined || commit === undefined ? [] : [PULL])];
}

/** For people, on `out`; warnings go where errors do. */
export function printText(
  change: Change,
  commit: string | undefined,
  { options, io, workplace }: Printing,
  out: Output,
): void {
  const { place } = workplace;
  for (const warning of change.warnings) {
    io.err.lines(hanging(io.err.paint('yellow', 'warning'), printable(warning), 'warning'.length, io.err));
  }
  if (commit === undefined) {
    out.lines([
      ...wrap(`Would commit to ${options.branch} of ${place}:`, out),
      '',
      ...change.message
        .trimEnd()
        .split('\n')
        .map((line) => `    ${printable(line)}`.trimEnd()),
      ...change.files.flatMap((file) => ['', ...fileLines(file, out)]),
    ]);
    return;
  }
  out.lines([
    out.paint('green', `✓ ${printable(subjectOf(change))}`),
    ...wrap(`${shortOid(commit)} on ${options.branch} of ${place}`, out, '  '),
    ...nextOf(change, commit, workplace).flatMap((sentence) => wrap(printable(sentence), out, '  ')),
  ]);
}

const PULL = 'Your clone is as it was: git pull brings it up to date.';

const CONTEXT_LINES = 2;

/** What differs between a file's first and last changed lines, with a little around it. */
function fileLines({ path, before, after }: FileChange, out: Output): string[] {
  const [old, now] = [linesOf(before ?? ''), linesOf(after)];
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1;
  let tail = 0;
  while (tail < old.length - head && tail < now.length - head && old.at(-1 - tail) === now.at(-1 - tail))
    tail += 1;
  const around = (lines: readonly string[]) => lines.map((line) => `      ${shown(line)}`.trimEnd());
  return [
    out.paint('bold', `    ${printable(path)}${before === undefined ? ' (new)' : ''}`),
    ...around(old.slice(Math.max(0, head - CONTEXT_LINES), head)),
    ...old.slice(head, old.length - tail).map((line) => out.paint('red', `    - ${shown(line)}`)),
    ...now.slice(head, now.length - tail).map((line) => out.paint('green', `    + ${shown(line)}`)),
    ...around(old.slice(old.length - tail).slice(0, CONTEXT_LINES)),
  ];
}

/** A list of thousands of devices is one line. */
const LINE_LENGTH_MAX = 400;

function shown(line: string): string {
  return printable(line.length <= LINE_LENGTH_MAX ? line : `${line.slice(0, LINE_LENGTH_MAX)}…`);
}

function linesOf(text: string): string[] {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}
