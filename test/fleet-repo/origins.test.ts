/** Which commit brought an entry of `ops/`, in histories of every shape. */
import { describe, expect, test } from 'vitest';
import { createDocumentCache, loadOperations } from '../../src/documents/load.ts';
import { withFiles } from '../../src/fleet-repo/operations.ts';
import { findOrigins, type Origins } from '../../src/fleet-repo/origins.ts';
import type { Git, Oid } from '../../src/git/git.ts';
import { createMemoryRepository } from '../../src/git/memory.ts';

const HEAD = 'apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: kiosk}\nspec:\n  operations:\n';
const ops = (...by: readonly string[]) =>
  HEAD + by.map((name) => `  - {action: approve, attempt: 1, stage: fleet, by: ${name}}\n`).join('');

/** The id of the one entry by somebody. */
function idOf(name: string): string {
  const content = new TextEncoder().encode(ops(name));
  return loadOperations([{ path: 'ops/kiosk.yaml', content }]).operations.entries[0]?.id ?? '';
}

/** Commits a version of the file on any parents; counts the commits that are read. */
function repository() {
  const memory = createMemoryRepository();
  let reads = 0;
  let at = 0;
  const git: Git = {
    ...memory,
    commit: (oid) => {
      reads += 1;
      return memory.commit(oid);
    },
  };
  return {
    git,
    reads: () => reads,
    async commit(text: string, ...parents: readonly Oid[]): Promise<Oid> {
      const base = await memory.writeTree([]);
      const tree = await withFiles(memory, base, [
        { path: 'ops/kiosk.yaml', before: undefined, after: text },
      ]);
      at += 1000;
      return await memory.writeCommit({ tree, parents, message: `${at}\n`, at });
    },
    async origins(head: Oid, names: readonly string[], before?: Origins): Promise<Origins> {
      const entries = names.map(idOf);
      return await findOrigins(git, {
        head: await memory.commit(head),
        entries,
        before,
        cache: createDocumentCache(),
      });
    },
  };
}

describe('an entry was brought', () => {
  test('by the commit that has it and whose parents have not', async () => {
    const { commit, origins } = repository();
    const first = await commit(ops('ada'));
    const second = await commit(ops('ada', 'bo'), first);
    const third = await commit(`${ops('ada', 'bo')}  # Thanks.\n`, second);
    const { byEntry } = await origins(third, ['ada', 'bo']);
    expect([...byEntry]).toEqual([
      [idOf('ada'), [first]],
      [idOf('bo'), [second]],
    ]);
  });

  test('by a commit on a merged branch, not by the merge', async () => {
    const { commit, origins } = repository();
    const base = await commit(ops('cy'));
    const branch = await commit(ops('cy', 'ada'), base);
    const other = await commit(ops('cy', 'bo'), base);
    const merge = await commit(ops('cy', 'bo', 'ada'), other, branch);
    const { byEntry } = await origins(merge, ['ada', 'bo']);
    expect([...byEntry.values()]).toEqual([[branch], [other]]);
  });

  test('by the merge itself, where neither side has it', async () => {
    const { commit, origins } = repository();
    const base = await commit(ops('cy'));
    const merge = await commit(ops('cy', 'ada'), await commit(`# a\n${ops('cy')}`, base), base);
    expect((await origins(merge, ['ada'])).byEntry.get(idOf('ada'))).toEqual([merge]);
  });

  test('by what main had first, where branches brought it independently', async () => {
    const { commit, origins } = repository();
    const base = await commit(ops('cy'));
    const [left, right] = [
      await commit(ops('cy', 'ada'), base),
      await commit(`# b\n${ops('cy', 'ada')}`, base),
    ];
    const merge = await commit(ops('cy', 'ada'), left, right);
    expect((await origins(merge, ['ada'])).byEntry.get(idOf('ada'))).toEqual([left]);
  });

  test('by whoever brought it back, where it was taken away in between', async () => {
    const { commit, origins } = repository();
    const first = await commit(ops('ada', 'bo'));
    const before = await origins(first, ['ada']);
    const back = await commit(ops('bo', 'ada'), await commit(ops('bo'), first));
    // What was known of the older commit does not hold for the newer one.
    expect((await origins(back, ['ada'], before)).byEntry.get(idOf('ada'))).toEqual([back]);
  });

  test('by a merge that names a commit from before it was taken away, and by what is built on that', async () => {
    const { commit, origins } = repository();
    const base = await commit(ops('cy'));
    const approved = await commit(ops('cy', 'ada'), base);
    const withdrawn = await commit(ops('cy'), approved);
    const merge = await commit(ops('cy', 'ada'), withdrawn, approved);
    expect((await origins(merge, ['ada'])).byEntry.get(idOf('ada'))).toEqual([merge]);
    const hidden = await commit(`# hidden\n${ops('cy', 'ada')}`, approved);
    const again = await commit(ops('cy', 'ada'), withdrawn, hidden);
    expect((await origins(again, ['ada'])).byEntry.get(idOf('ada'))).toEqual([hidden]);
  });

  test('by nobody here, where it was written for another repository', async () => {
    const { commit, origins } = repository();
    const elsewhere = await commit(ops('ada'), await commit(`# elsewhere\n${ops('bo')}`));
    const here = await commit(ops('cy'));
    const merge = await commit(ops('cy', 'ada'), here, elsewhere);
    expect((await origins(merge, ['ada'])).byEntry.get(idOf('ada'))).toEqual([]);
  });

  test('by a commit of a branch that was brought up to date before it was merged', async () => {
    const { commit, origins } = repository();
    const base = await commit(ops('cy'));
    const approval = await commit(ops('cy', 'ada'), base);
    const main = await commit(ops('cy', 'bo'), base);
    const updated = await commit(ops('cy', 'bo', 'ada'), approval, main);
    const merge = await commit(ops('cy', 'bo', 'ada'), main, updated);
    expect((await origins(merge, ['ada', 'bo'])).byEntry.get(idOf('ada'))).toEqual([approval]);
  });

  test('too long ago to be known', async () => {
    const { commit, origins } = repository();
    let head = await commit(ops('ada'));
    for (let n = 0; n < 1000; n++) head = await commit(ops('ada'), head);
    expect((await origins(head, ['ada'])).byEntry.get(idOf('ada'))).toEqual([]);
  });
});

test('a later look stops where the one before it began', async () => {
  const { commit, origins, reads } = repository();
  const first = await commit(ops('ada'));
  let head = first;
  for (let n = 0; n < 50; n++) head = await commit(`# ${n}\n${ops('ada')}`, head);
  const before = await origins(head, ['ada']);
  const looked = reads();
  head = await commit(ops('ada', 'bo'), head);
  const { byEntry } = await origins(head, ['ada', 'bo'], before);
  expect([...byEntry.values()]).toEqual([[first], [head]]);
  expect(reads() - looked).toBeLessThan(5);
});
