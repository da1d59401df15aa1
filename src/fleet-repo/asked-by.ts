/**
 * Which commit of main asked for an attempt. An attempt names the tip that was in force when it was made; where several commits came
 * at once, the one that asked for it is further back: the last that changed its rollout's documents.
 */
import type { CommitId, SnapshotId } from '../core/model/ids.ts';
import type { Attempt } from '../core/model/outcome.ts';
import { type DocumentCache, loadingDesired } from '../documents/load.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Git, Oid } from '../git/git.ts';
import { changedPaths } from '../git/tree.ts';
import { inTurns } from '../turns.ts';
import { readDocuments } from './snapshot.ts';

/** So many commits at once are believable. */
const COMMITS_MAX = 50;

/** The attempt's own commit, where no other is found. */
export async function commitThatAsked(
  git: Git,
  { rollout, commit }: Pick<Attempt, 'rollout' | 'commit'>,
  cache: DocumentCache,
): Promise<Oid> {
  try {
    const { tree } = await git.commit(commit);
    const files = await readDocuments(git, { tree, folder: 'fleet', cache });
    const at = { snapshot: '' as SnapshotId, commit: '' as CommitId };
    const { paths } = await inTurns(loadingDesired(files, at));
    const own = new Set(paths.get(rollout) ?? []);
    let next: Oid = commit;
    for (let seen = 0; seen < COMMITS_MAX; seen++) {
      const { tree: after, parents } = await git.commit(next);
      const [parent] = parents;
      if (parent === undefined) return next;
      const before = (await git.commit(parent)).tree;
      const changed = await changedPaths(git, before, after, 'fleet');
      if (changed.some(({ path }) => own.has(path))) return next;
      next = parent;
    }
    return commit;
  } catch (error) {
    // History was rewritten, or this copy of it begins later.
    if (error instanceof GitObjectError) return commit;
    throw error;
  }
}
