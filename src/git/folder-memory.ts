/**
 * Folders that were read once are not read again: of those below a new commit, most are the ones of the commit before.
 * Ids are of content, so nothing here can be out of date. Whoever has to know whether an object is *there* (arrival.ts) asks
 * the repository itself.
 */
import { LRUCache } from 'lru-cache';
import type { Git, Oid, TreeEntry } from './git.ts';

/** Of all folders together; some 25 MiB. Below 20,000 files there are about as many, in each version what changed. */
const ENTRIES_MAX = 100_000;

export function rememberFolders(git: Git, entriesMax: number = ENTRIES_MAX): Git {
  const known = new LRUCache<Oid, readonly TreeEntry[]>({
    maxSize: entriesMax,
    sizeCalculation: (entries) => entries.length + 1,
  });
  return {
    ...git,
    async tree(oid) {
      const entries = known.get(oid) ?? (await git.tree(oid));
      known.set(oid, entries);
      return entries;
    },
  };
}
