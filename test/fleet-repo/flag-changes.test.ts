import { expect, test } from 'vitest';
import { flagChanges } from '../../src/fleet-repo/flag-changes.ts';
import type { Git, Oid } from '../../src/git/git.ts';
import { createMemoryRepository } from '../../src/git/memory.ts';
import { withChanges } from '../../src/git/tree.ts';

type Files = Readonly<Record<string, string | null>>;

/** Commits one after the other, each with these files changed. */
async function history(git: Git, ...changes: readonly Files[]): Promise<readonly Oid[]> {
  const commits: Oid[] = [];
  let tree: Oid | undefined;
  for (const files of changes) {
    const content = new Map<string, { mode: string; oid: Oid } | null>();
    for (const [path, text] of Object.entries(files)) {
      const oid = text === null ? undefined : await git.writeBlob(Buffer.from(text));
      content.set(path, oid === undefined ? null : { mode: '100644', oid });
    }
    tree = await withChanges(git, tree, content);
    const parents = commits.slice(-1);
    commits.push(await git.writeCommit({ tree, parents, message: 'Change\n', at: commits.length }));
  }
  return commits;
}

const STORY: readonly Files[] = [
  { 'fleet/fleet.yaml': 'f' },
  { 'fleet/flags/mesh.yaml': 'off' },
  { 'fleet/rollouts/hub.yaml': 'h', 'ops/hub.yaml': 'o' },
  { 'fleet/flags/mesh.yaml': 'on' },
  { 'fleet/groups/lab.yaml': 'berlin' },
  { 'fleet/fleet.yaml': 'F' },
  { 'fleet/flags/mesh.yaml': null },
];

test('the commits that add, change and remove flags or the groups of their rules are counted, others are not', async () => {
  const git = createMemoryRepository();
  const commits = await history(git, ...STORY);
  const counts = await Promise.all(commits.map((head) => flagChanges(git, head, undefined)));
  expect(counts).toEqual([0, 1, 1, 2, 3, 3, 4]);
});

test('only what came after a commit is counted, and nothing after the head itself', async () => {
  const git = createMemoryRepository();
  const commits = await history(git, ...STORY);
  const head = commits.at(-1) ?? '';
  const counts = await Promise.all(commits.map((until) => flagChanges(git, head, until)));
  expect(counts).toEqual([4, 3, 3, 2, 1, 1, 0]);
});

test('the first commit of all counts where it brings flags', async () => {
  const git = createMemoryRepository();
  const [head = ''] = await history(git, { 'fleet/flags/mesh.yaml': 'off' });
  expect(await flagChanges(git, head, undefined)).toBe(1);
});

test('a commit that the history has lost is looked for no further than a thousand commits back', async () => {
  const git = createMemoryRepository();
  const files = Array.from({ length: 1003 }, (_, at) => ({ 'fleet/flags/mesh.yaml': String(at) }));
  const commits = await history(git, ...files);
  expect(await flagChanges(git, commits.at(-1) ?? '', 'f'.repeat(40))).toBe(1000);
  expect(await flagChanges(git, commits[999] ?? '', 'f'.repeat(40))).toBe(1000);
  expect(await flagChanges(git, commits[998] ?? '', 'f'.repeat(40))).toBe(999);
});

test('a merge counts once, for what it brings to the branch', async () => {
  const git = createMemoryRepository();
  const [base = '', ...rest] = await history(git, { 'fleet/fleet.yaml': 'f' }, ...STORY.slice(1, 4));
  const tip = rest.at(-1) ?? '';
  const { tree } = await git.commit(tip);
  const merge = await git.writeCommit({ tree, parents: [base, tip], message: 'Merge\n', at: 9 });
  expect(await flagChanges(git, merge, undefined)).toBe(1);
  expect(await flagChanges(git, tip, undefined)).toBe(2);
});
