import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Git, Oid } from '../../src/git/git.ts';
import { createMemoryRepository } from '../../src/git/memory.ts';
import {
  changedPaths,
  EMPTY_TREE,
  entryAt,
  firstParentLog,
  type PathContent,
  readFiles,
  withChanges,
} from '../../src/git/tree.ts';

type Files = Readonly<Record<string, string>>;

/** A tree of files with these texts. */
async function treeOf(git: Git, files: Files): Promise<Oid> {
  return await withChanges(git, undefined, await changesOf(git, files));
}

async function changesOf(
  git: Git,
  files: Readonly<Record<string, string | null>>,
): Promise<Map<string, PathContent | null>> {
  const changes = new Map<string, PathContent | null>();
  for (const [path, text] of Object.entries(files)) {
    changes.set(path, text === null ? null : { mode: '100644', oid: await git.writeBlob(Buffer.from(text)) });
  }
  return changes;
}

/** What a tree holds, as path and text. */
async function textsOf(git: Git, tree: Oid, prefix = ''): Promise<Files> {
  const texts: Record<string, string> = {};
  for (const { path, oid } of await readFiles(git, tree, prefix))
    texts[path] = Buffer.from(await git.blob(oid)).toString();
  return texts;
}

/** The same repository, counting the trees that are read. */
function counting(git: Git): Git & { readonly treesRead: Oid[] } {
  const treesRead: Oid[] = [];
  return {
    ...git,
    treesRead,
    tree: (oid) => {
      treesRead.push(oid);
      return git.tree(oid);
    },
  };
}

const FLEET: Files = {
  'README.md': 'r',
  'fleet/fleet.yaml': 'f',
  'fleet/rollouts/hub.yaml': 'h',
  'fleet/rollouts/thermostat.yaml': 't',
  'ops/thermostat.yaml': 'o',
};

describe('readFiles', () => {
  it('lists everything below a folder by its full path, in order', async () => {
    const git = createMemoryRepository();
    const tree = await treeOf(git, FLEET);
    expect(await textsOf(git, tree)).toEqual(FLEET);
    const inFleet = (await readFiles(git, tree, 'fleet')).map(({ path }) => path);
    expect(inFleet).toEqual([
      'fleet/fleet.yaml',
      'fleet/rollouts/hub.yaml',
      'fleet/rollouts/thermostat.yaml',
    ]);
    expect(await readFiles(git, tree, 'fleet/')).toHaveLength(3);
    expect(await textsOf(git, tree, 'fleet/fleet.yaml')).toEqual({ 'fleet/fleet.yaml': 'f' });
    expect(await readFiles(git, tree, 'fleet/missing')).toEqual([]);
    expect(await readFiles(git, tree, 'README.md/x')).toEqual([]);
  });

  it('does not take fleet2 for fleet', async () => {
    const git = createMemoryRepository();
    const tree = await treeOf(git, { 'fleet/a': '1', 'fleet2/b': '2' });
    expect(await textsOf(git, tree, 'fleet')).toEqual({ 'fleet/a': '1' });
  });
});

describe('entryAt', () => {
  it('finds files and folders, and nothing where nothing is', async () => {
    const git = createMemoryRepository();
    const tree = await treeOf(git, FLEET);
    const rollouts = await entryAt(git, tree, 'fleet/rollouts');
    expect(rollouts).toMatchObject({ name: 'rollouts', mode: '040000' });
    expect(rollouts?.oid).toBe(await treeOf(git, { 'hub.yaml': 'h', 'thermostat.yaml': 't' }));
    expect(await entryAt(git, tree, 'README.md')).toMatchObject({ mode: '100644' });
    expect(await entryAt(git, tree, '')).toEqual({ name: '', mode: '040000', oid: tree });
    for (const path of ['nope', 'fleet/nope', 'README.md/nope', 'nope/nope']) {
      expect(await entryAt(git, tree, path)).toBeUndefined();
    }
    await expect(entryAt(git, tree, '/fleet')).rejects.toThrow(/must not begin with a slash/);
  });
});

describe('withChanges', () => {
  const changed = async (before: Files, changes: Readonly<Record<string, string | null>>) => {
    const git = createMemoryRepository();
    const tree = await withChanges(git, await treeOf(git, before), await changesOf(git, changes));
    return await textsOf(git, tree);
  };

  it('sets, replaces and removes', async () => {
    expect(await changed({ a: '1', 'b/c': '2', 'b/d': '3' }, { a: null, 'b/c': '4', 'e/f/g': '5' })).toEqual({
      'b/c': '4',
      'b/d': '3',
      'e/f/g': '5',
    });
  });

  it('empties folders away, up to the tree without entries', async () => {
    const git = createMemoryRepository();
    const tree = await treeOf(git, { 'a/b/c': '1', d: '2' });
    expect(await withChanges(git, tree, new Map([['a/b/c', null]]))).toBe(await treeOf(git, { d: '2' }));
    const none = new Map([
      ['a/b/c', null],
      ['d', null],
    ]);
    expect(await withChanges(git, tree, none)).toBe(EMPTY_TREE);
    expect(await withChanges(git, undefined, new Map())).toBe(EMPTY_TREE);
    const emptied = new Map([['a', { mode: '040000', oid: EMPTY_TREE }]]);
    expect(await withChanges(git, tree, emptied)).toBe(await treeOf(git, { d: '2' }));
  });

  it('sets a whole folder, with changes inside it on top', async () => {
    const git = createMemoryRepository();
    const good = await treeOf(git, { 'x.yaml': 'good', 'y.yaml': 'good' });
    const tree = await treeOf(git, { 'fleet/x.yaml': 'bad', 'fleet/z.yaml': 'bad', ops: 'o' });
    const changes = new Map<string, PathContent | null>([
      ['fleet/y.yaml', null],
      ['fleet', { mode: '040000', oid: good }],
    ]);
    const restored = await withChanges(git, tree, changes);
    expect(await textsOf(git, restored)).toEqual({ 'fleet/x.yaml': 'good', ops: 'o' });
    const whole = await withChanges(git, tree, new Map([['fleet', { mode: '040000', oid: good }]]));
    expect((await entryAt(git, whole, 'fleet'))?.oid).toBe(good);
    expect(await textsOf(git, await withChanges(git, tree, new Map([['fleet', null]])))).toEqual({
      ops: 'o',
    });
  });

  it('lets a file become a folder and a folder a file', async () => {
    expect(await changed({ a: '1' }, { 'a/b': '2' })).toEqual({ 'a/b': '2' });
    expect(await changed({ 'a/b': '1', 'a/c': '1' }, { a: '2' })).toEqual({ a: '2' });
    expect(await changed({ a: '1' }, { 'a/b': null })).toEqual({ a: '1' });
  });

  it('reads and writes nothing that it does not change', async () => {
    const git = createMemoryRepository();
    const tree = await treeOf(git, FLEET);
    const counted = counting(git);
    const same = await withChanges(
      counted,
      tree,
      await changesOf(git, { 'ops/thermostat.yaml': 'o', 'ops/x': null }),
    );
    expect(same).toBe(tree);
    expect(counted.treesRead).toHaveLength(2);
  });

  it('refuses a path with an empty name, and the top itself', async () => {
    const git = createMemoryRepository();
    await expect(withChanges(git, undefined, new Map([['a//b', null]]))).rejects.toThrow(/two in a row/);
    await expect(withChanges(git, undefined, new Map([['', null]]))).rejects.toThrow(/below the top/);
  });
});

describe('changedPaths', () => {
  it('names what was added, removed and changed, below a folder if asked to', async () => {
    const git = createMemoryRepository();
    const before = await treeOf(git, FLEET);
    const after = await withChanges(
      git,
      before,
      await changesOf(git, { 'README.md': null, 'fleet/new.yaml': 'n', 'fleet/rollouts/hub.yaml': 'H' }),
    );
    const kinds = async (prefix?: string) =>
      (await changedPaths(git, before, after, prefix)).map(
        (change) => `${change.before ? '-' : ''}${change.after ? '+' : ''} ${change.path}`,
      );
    expect(await kinds()).toEqual(['- README.md', '+ fleet/new.yaml', '-+ fleet/rollouts/hub.yaml']);
    expect(await kinds('fleet')).toEqual(['+ fleet/new.yaml', '-+ fleet/rollouts/hub.yaml']);
    expect(await kinds('fleet/rollouts/hub.yaml')).toEqual(['-+ fleet/rollouts/hub.yaml']);
    expect(await kinds('ops')).toEqual([]);
  });

  it('sees a changed mode, and a file that became a folder', async () => {
    const git = createMemoryRepository();
    const before = await treeOf(git, { run: 'x', thing: '1' });
    const oid = await git.writeBlob(Buffer.from('x'));
    const after = await withChanges(
      git,
      before,
      new Map<string, PathContent>([
        ['run', { mode: '100755', oid }],
        ['thing/inside', { mode: '100644', oid }],
      ]),
    );
    const thing = { mode: '100644', oid: await git.writeBlob(Buffer.from('1')) };
    expect(await changedPaths(git, before, after)).toEqual([
      { path: 'run', before: { mode: '100644', oid }, after: { mode: '100755', oid } },
      { path: 'thing', before: thing },
      { path: 'thing/inside', after: { mode: '100644', oid } },
    ]);
  });

  it('does not read folders that are equal', async () => {
    const git = createMemoryRepository();
    const before = await treeOf(git, FLEET);
    const after = await withChanges(git, before, await changesOf(git, { 'ops/thermostat.yaml': 'O' }));
    const counted = counting(git);
    expect(await changedPaths(counted, before, after)).toHaveLength(1);
    const untouched = (await entryAt(git, before, 'fleet'))?.oid;
    expect(counted.treesRead).toHaveLength(4);
    expect(counted.treesRead).not.toContain(untouched);
    expect(await changedPaths(counted, after, after)).toEqual([]);
    expect(counted.treesRead).toHaveLength(4);
  });

  it('applied as changes to the one tree gives the other, whatever both hold', async () => {
    const path = fc
      .array(fc.constantFrom('a', 'b', 'a.b', 'é', '\udce9'), { minLength: 1, maxLength: 3 })
      .map((names) => names.join('/'));
    const files = fc.dictionary(path, fc.constantFrom('1', '2', '3'), { maxKeys: 8 });
    const property = fc.asyncProperty(files, files, async (one, other) => {
      const git = createMemoryRepository();
      const [before, after] = [await treeOf(git, one), await treeOf(git, other)];
      const changes = await changedPaths(git, before, after);
      const asChanges = new Map(changes.map((change) => [change.path, change.after ?? null]));
      expect(await withChanges(git, before, asChanges)).toBe(after);
      expect(await treeOf(git, await textsOf(git, after))).toBe(after);
    });
    await fc.assert(property, { numRuns: 200 });
  });
});

describe('firstParentLog', () => {
  it('follows first parents up to a commit, a root or a limit', async () => {
    const git = createMemoryRepository();
    const commit = (message: string, ...parents: Oid[]) =>
      git.writeCommit({ tree: EMPTY_TREE, parents, message: `${message}\n`, at: 0 });
    const root = await commit('root');
    const side = await commit('side', root);
    const second = await commit('second', root);
    const merge = await commit('merge', second, side);
    const subjects = async (until: Oid | undefined, limit: number) =>
      (await firstParentLog(git, merge, ({ oid }) => oid === until, limit)).map(({ message }) =>
        message.trim(),
      );

    expect(await subjects(undefined, 10)).toEqual(['merge', 'second', 'root']);
    expect(await subjects(root, 10)).toEqual(['merge', 'second']);
    expect(await subjects(merge, 10)).toEqual([]);
    expect(await subjects(undefined, 2)).toEqual(['merge', 'second']);
  });
});
