/**
 * How often the flags have changed, as the history tells: the version of flags goes on from here after the store that
 * counted it was lost. Each change may be counted once too often, never once too little: devices refuse to go back.
 */
import type { Commit, Git, Oid } from '../git/git.ts';
import { entryAt, firstParentLog } from '../git/tree.ts';

/** A history that was looked through this far back says enough: nobody rolls back flags by a thousand commits. */
const COMMITS_MAX = 1000;

/** What decides about flags: the documents themselves, and the groups that their rules may name. */
const FOLDERS = ['fleet/flags', 'fleet/groups'];

/**
 * The commits that touch flags, from `head` by first parents back to (not including) `until`; to the root or a thousand
 * commits back where `until` is undefined or no longer in the history.
 */
export async function flagChanges(git: Git, head: Oid, until: Oid | undefined): Promise<number> {
  const log = await firstParentLog(git, head, ({ oid }) => oid === until, COMMITS_MAX);
  const before = log.at(-1)?.parents[0];
  let after: string | undefined;
  let count = 0;
  for (const commit of before === undefined ? log : [...log, await git.commit(before)]) {
    const content = await contentOf(git, commit);
    if (after !== undefined && content !== after) count += 1;
    after = content;
  }
  // Nothing lies before the first commit of all: what it has, it brought.
  const isFirst = before === undefined && after !== undefined;
  return isFirst && after !== NOTHING ? count + 1 : count;
}

/** Equal for commits with the same flags and groups. */
async function contentOf(git: Git, { tree }: Commit): Promise<string> {
  const entries = await Promise.all(FOLDERS.map((folder) => entryAt(git, tree, folder)));
  return entries.map((entry) => entry?.oid).join();
}

const NOTHING = FOLDERS.map(() => '').join();
