/** `tidegate snapshot list`: the snapshots that outcomes name, and the branch's own. */
import type { CommitId, SnapshotId } from '../core/model/ids.ts';
import type { RolloutState } from '../core/model/outcome.ts';
import { formatInstant, type Instant } from '../core/model/time.ts';
import { entryAt } from '../git/tree.ts';
import { EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { type Cell, shortOid, table } from './output.ts';
import {
  commitIfThere,
  type FleetRepository,
  knownGoods,
  openFleetRepository,
  type RepositoryOptions,
} from './repository.ts';

export interface SnapshotListOptions extends RepositoryOptions {
  readonly format: 'text' | 'json';
}

/** An entry of what `--format json` prints. */
export interface ListedSnapshot {
  readonly snapshot: SnapshotId;
  readonly commit: CommitId;
  /** When the commit was made; of a commit that is gone, when the first attempt was. */
  readonly at: string;
  /** Whether the branch wants it now. */
  readonly head: boolean;
  readonly rollouts: readonly {
    readonly rollout: string;
    readonly attempt: number;
    readonly state: RolloutState;
    readonly distributionSet: string;
    readonly knownGood: boolean;
  }[];
}

export async function run(options: SnapshotListOptions, io: Io): Promise<ExitCode> {
  const repository = await openFleetRepository(options);
  const snapshots = await listSnapshots(repository);
  if (options.format === 'json') io.out.write(`${JSON.stringify(snapshots, null, 2)}\n`);
  else if (snapshots.length === 0)
    io.out.lines([`no snapshots: branch ${options.branch} has no folder fleet/`]);
  else io.out.lines([...table(rowsOf(snapshots, options.branch), io.out), ...legendOf(snapshots)]);
  return EXIT.fine;
}

/** Newest first. */
async function listSnapshots(repository: FleetRepository): Promise<readonly ListedSnapshot[]> {
  const { git, branch, outcomes } = repository;
  const attempts = [...outcomes.values()].flat().sort((a, b) => a.createdAt - b.createdAt);
  const known = new Set(knownGoods(outcomes));
  const tip = await git.branch(branch);
  const head = tip === undefined ? undefined : await git.commit(tip);
  const wanted = head === undefined ? undefined : (await entryAt(git, head.tree, 'fleet'))?.oid;

  const listed: (ListedSnapshot & { readonly time: Instant })[] = [];
  for (const [snapshot, group] of Map.groupBy(attempts, (attempt) => attempt.snapshot)) {
    const [first] = group;
    if (first === undefined) continue;
    const time = (await commitIfThere(git, first.commit))?.committedAt ?? first.createdAt;
    const rollouts = group.map((attempt) => ({
      rollout: attempt.rollout,
      attempt: attempt.attempt,
      state: attempt.state,
      distributionSet: attempt.manifest.distributionSet,
      knownGood: known.has(attempt),
    }));
    listed.push({
      snapshot,
      commit: first.commit,
      at: formatInstant(time),
      head: snapshot === wanted,
      rollouts,
      time,
    });
  }
  if (head !== undefined && wanted !== undefined && !listed.some(({ snapshot }) => snapshot === wanted)) {
    const time = head.committedAt;
    const ids = { snapshot: wanted as SnapshotId, commit: head.oid as CommitId };
    listed.push({ ...ids, at: formatInstant(time), head: true, rollouts: [], time });
  }
  // Built from old to new, and sorting keeps the order of equal times.
  return listed
    .sort((a, b) => a.time - b.time)
    .reverse()
    .map(({ time: _, ...rest }) => rest);
}

function rowsOf(snapshots: readonly ListedSnapshot[], branch: string): Cell[][] {
  const head = ['SNAPSHOT', 'COMMIT', 'COMMITTED (UTC)', 'ROLLOUT', 'ATTEMPT'];
  const rows: Cell[][] = [head.map((text) => ({ text, style: 'dim' }))];
  for (const { snapshot, commit, at, head: isHead, rollouts } of snapshots) {
    const start = [shortOid(snapshot), shortOid(commit), at.replace('T', ' ').slice(0, 16)];
    const lines: Cell[][] = rollouts.map(({ rollout, attempt, state, knownGood }) => [
      rollout,
      knownGood ? { text: `${attempt} ${state} ✓`, style: 'green' } : `${attempt} ${state}`,
    ]);
    if (isHead) lines.unshift([{ text: `← ${branch}`, style: 'bold' }]);
    rows.push(...lines.map((line, index) => [...(index === 0 ? start : ['', '', '']), ...line]));
  }
  return rows;
}

function legendOf(snapshots: readonly ListedSnapshot[]): string[] {
  const isNeeded = snapshots.some(({ rollouts }) => rollouts.some(({ knownGood }) => knownGood));
  return isNeeded ? ['', '✓ known-good: what the devices of the rollout go back to'] : [];
}
