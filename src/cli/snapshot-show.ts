/** `tidegate snapshot show`: what is in a snapshot. */
import { shortRevision } from '../core/model/ids.ts';
import { formatInstant } from '../core/model/time.ts';
import { formatProblem } from '../documents/problem.ts';
import { EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { type Cell, type Output, printable, table, wrap } from './output.ts';
import {
  findSnapshot,
  knownGoods,
  type NamedSnapshot,
  openFleetRepository,
  type RepositoryOptions,
  readContent,
  type SnapshotContent,
} from './repository.ts';

export interface SnapshotShowOptions extends RepositoryOptions {
  readonly snapshot: string;
  readonly format: 'text' | 'json';
}

export async function run(options: SnapshotShowOptions, io: Io): Promise<ExitCode> {
  const repository = await openFleetRepository(options);
  const found = await findSnapshot(repository, options.snapshot);
  const content = await readContent(repository.git, found);
  const knownGoodOf = knownGoods(repository.outcomes).filter(({ snapshot }) => snapshot === found.snapshot);
  if (options.format === 'json') {
    const { documents, problems, desired } = content;
    const rollouts = [...(desired?.rollouts.values() ?? [])].map(
      ({ name, revision, manifest, condition, priority }) => ({
        rollout: name,
        distributionSet: manifest.distributionSet,
        revision,
        targetCondition: condition,
        priority,
      }),
    );
    const report = {
      snapshot: found.snapshot,
      commit: found.commit?.oid ?? null,
      valid: desired !== undefined,
      knownGoodOf: knownGoodOf.map(({ rollout, attempt }) => ({ rollout, attempt })),
      rollouts,
      documents: documents.map(({ kind, ...rest }) => ({ kind: kind ?? null, ...rest })),
      problems,
    };
    io.out.write(`${JSON.stringify(report, null, 2)}\n`);
  } else {
    io.out.lines([
      `${io.out.paint('bold', `snapshot ${found.snapshot}`)}${found.name === found.snapshot ? '' : ` (the tree of ${found.name})`}`,
      ...commitLines(found, io.out),
      ...knownGoodOf.map(({ rollout, attempt }) =>
        io.out.paint('green', `✓ known-good of ${rollout} (attempt ${attempt})`),
      ),
      ...contentLines(content, io.out),
    ]);
  }
  return content.desired === undefined ? EXIT.problems : EXIT.fine;
}

function commitLines({ commit }: NamedSnapshot, out: Output): string[] {
  if (commit === undefined) return [];
  const subject = printable(commit.message.split('\n')[0] ?? '');
  const author = printable(commit.author.replace(/ <.*/, ''));
  return [
    `commit   ${commit.oid}`,
    out.paint('dim', `         ${formatInstant(commit.committedAt)} ${author}: ${subject}`),
  ];
}

function contentLines({ desired, problems, documents }: SnapshotContent, out: Output): string[] {
  const head: Cell[] = ['KIND', 'NAME', 'FILE'].map((text) => ({ text, style: 'dim' }));
  const rows = documents.map(({ kind, name, file }) => [kind ?? '?', printable(name), printable(file)]);
  const lines = ['', ...table([head, ...rows], out)];
  for (const { name, manifest, revision, priority, condition } of desired?.rollouts.values() ?? []) {
    const installs = `installs ${manifest.distributionSet} (${shortRevision(revision)}), priority ${priority}`;
    lines.push('', out.paint('bold', name), `  ${installs}`, ...wrap(`where ${condition}`, out, '  '));
  }
  if (problems.length === 0) return lines;
  const said = problems.flatMap((problem) => wrap(printable(formatProblem(problem)), out, '  '));
  return [...lines, '', out.paint('yellow', 'What validate says of it:'), ...said];
}
