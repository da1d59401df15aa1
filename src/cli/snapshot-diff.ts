/** `tidegate snapshot diff`: which documents differ between two snapshots, and what that means for devices. */

import { plural } from '../core/words.ts';
import { changedPaths } from '../git/tree.ts';
import { type FlagChange, flagChanges } from '../proposal/flag-changes.ts';
import { fleetChanges, type RolloutChange, rolloutChanges } from '../proposal/rollout-changes.ts';
import { EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { type Output, printable, type Style, shortOid, wrap } from './output.ts';
import { findSnapshot, openFleetRepository, type RepositoryOptions, readContent } from './repository.ts';

export interface SnapshotDiffOptions extends RepositoryOptions {
  readonly before: string;
  readonly after: string;
  readonly format: 'text' | 'json';
}

/** What `--format json` prints. */
export interface SnapshotDiff {
  readonly before: string;
  readonly after: string;
  readonly files: readonly { readonly path: string; readonly change: RolloutChange['change'] }[];
  /** Null where one of the two is not valid: then there is nothing to compare but files. */
  readonly fleet: readonly string[] | null;
  readonly rollouts: readonly RolloutChange[] | null;
  readonly flags: readonly FlagChange[] | null;
}

export async function run(options: SnapshotDiffOptions, io: Io): Promise<ExitCode> {
  const repository = await openFleetRepository(options);
  const [a, b] = [
    await findSnapshot(repository, options.before),
    await findSnapshot(repository, options.after),
  ];
  const [before, after] = [await readContent(repository.git, a), await readContent(repository.git, b)];
  const isComparable = before.desired !== undefined && after.desired !== undefined;
  const diff: SnapshotDiff = {
    before: a.snapshot,
    after: b.snapshot,
    files: (await changedPaths(repository.git, a.snapshot, b.snapshot)).map((file) => ({
      path: `fleet/${file.path}`,
      change: file.before === undefined ? 'added' : file.after === undefined ? 'removed' : 'changed',
    })),
    fleet: isComparable ? fleetChanges(before.desired, after.desired) : null,
    rollouts: isComparable ? rolloutChanges(before.desired, after.desired) : null,
    flags: isComparable ? flagChanges(before.desired, after.desired) : null,
  };
  if (options.format === 'json') io.out.write(`${JSON.stringify(diff, null, 2)}\n`);
  else io.out.lines(diffLines(diff, io.out));
  return EXIT.fine;
}

const MARKS: Readonly<Record<RolloutChange['change'], { mark: string; style: Style }>> = {
  added: { mark: '+', style: 'green' },
  removed: { mark: '-', style: 'red' },
  changed: { mark: '~', style: 'yellow' },
};

function diffLines(diff: SnapshotDiff, out: Output): string[] {
  const ids = `${shortOid(diff.before)} → ${shortOid(diff.after)}`;
  if (diff.files.length === 0) return [`${ids}: the same snapshot, so the same desired state`];
  const marked = (change: RolloutChange['change'], text: string) =>
    out.paint(MARKS[change].style, `${MARKS[change].mark} ${text}`);
  const lines = [
    out.paint('bold', `${ids}: ${plural(diff.files.length, 'file')} changed`),
    ...diff.files.map(({ path, change }) => `  ${marked(change, printable(path))}`),
    '',
  ];
  if (diff.rollouts === null || diff.fleet === null || diff.flags === null) {
    return [
      ...lines,
      'One of the two is not valid, so what they say cannot be compared; see tidegate snapshot show.',
    ];
  }
  for (const words of diff.fleet) lines.push(...wrap(`fleet: ${words}`, out));
  for (const { rollout, change, words } of diff.rollouts) {
    lines.push(marked(change, rollout), ...words.flatMap((each) => wrap(each, out, '    ')));
  }
  for (const { flag, change, words } of diff.flags) {
    lines.push(marked(change, `flag ${flag}`), ...words.flatMap((each) => wrap(each, out, '    ')));
  }
  if (diff.fleet.length + diff.rollouts.length + diff.flags.length === 0)
    lines.push('Nothing changes for devices.');
  return lines;
}
