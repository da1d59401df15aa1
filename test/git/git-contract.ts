/** What every engine of the git port promises. The golden ids were made by native git. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GitObjectError } from '../../src/git/errors.ts';
import type { Git, Oid, TreeEntry } from '../../src/git/git.ts';

const HELLO = 'ce013625030ba8dba906f756967f9e9ca394464a';
const EMPTY_TREE = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';
const ABSENT = 'deadbeefdeadbeefdeadbeefdeadbeefdeadbeef';
const AT = Date.UTC(2025, 0, 1);

export interface OpenedGit {
  readonly git: Git;
  close(): Promise<void>;
}

/** `goesBack`: whether a branch may be moved to where it does not lead. */
export function describeGit(
  engine: string,
  open: () => Promise<OpenedGit>,
  { goesBack }: { readonly goesBack: boolean } = { goesBack: true },
): void {
  describe(`git contract: ${engine}`, () => {
    let opened: OpenedGit;
    let git: Git;
    beforeEach(async () => {
      opened = await open();
      git = opened.git;
    });
    afterEach(async () => {
      await git.close();
      await opened.close();
    });

    const commitOf = async (message: string, parents: readonly Oid[] = []) =>
      await git.writeCommit({ tree: await git.writeTree([]), parents, message: `${message}\n`, at: AT });

    it('gives objects the ids that git gives them', async () => {
      expect(await git.writeBlob(Buffer.from('hello\n'))).toBe(HELLO);
      expect(await git.writeTree([])).toBe(EMPTY_TREE);
      const inner = await git.writeTree([{ name: 'a.b', mode: '100644', oid: HELLO }]);
      expect(inner).toBe(GOLDEN.inner);
      const entries = [
        { name: 'a0', mode: '120000', oid: HELLO },
        { name: 'a', mode: '040000', oid: inner },
        { name: 'a.b', mode: '100755', oid: HELLO },
      ];
      expect(await git.writeTree(entries)).toBe(GOLDEN.outer);
      const message = 'Open stage canary\n\nRollout: thermostat\n';
      expect(await git.writeCommit({ tree: inner, parents: [], message, at: AT })).toBe(GOLDEN.commit);
    });

    it('reads back any content', async () => {
      const property = fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (content) => {
        expect(await git.blob(await git.writeBlob(content))).toStrictEqual(content);
      });
      await fc.assert(property, { numRuns: 20 });
    });

    it('keeps its own copy of what is written and hands out copies', async () => {
      const content = Uint8Array.of(1, 2, 3);
      const oid = await git.writeBlob(content);
      content[0] = 9;
      (await git.blob(oid))[1] = 9;
      expect(await git.blob(oid)).toStrictEqual(Uint8Array.of(1, 2, 3));
    });

    it('lists a tree in git’s order, folders as if their names ended with a slash', async () => {
      const folder = await git.writeTree([{ name: 'x', mode: '100644', oid: HELLO }]);
      const names = ['a0', 'a', 'a-', 'é', 'B'];
      const entries = names.map((name) =>
        name === 'a' ? { name, mode: '040000', oid: folder } : { name, mode: '100644', oid: HELLO },
      );
      const listed = await git.tree(await git.writeTree(entries));
      expect(listed.map(({ name }) => name)).toEqual(['B', 'a-', 'a', 'a0', 'é']);
      expect(listed.find(({ name }) => name === 'a')).toEqual({ name: 'a', mode: '040000', oid: folder });
    });

    it('gives equal entries equal trees, whatever their order and their names’ bytes', async () => {
      const byte = fc.integer({ min: 1, max: 255 }).filter((value) => value !== 0x2f && value !== 0x2e);
      const name = fc.array(byte, { minLength: 1, maxLength: 6 });
      const mode = fc.constantFrom('100644', '100755', '120000', '160000', '040000');
      const entries = fc.uniqueArray(fc.record({ bytes: name, mode }), {
        selector: ({ bytes }) => bytes.join(),
      });
      const property = fc.asyncProperty(entries, async (list) => {
        const tree = list.map((entry) => ({ name: asName(entry.bytes), mode: entry.mode, oid: HELLO }));
        const oid = await git.writeTree(tree);
        expect(await git.writeTree(tree.toReversed())).toBe(oid);
        expect(sorted(await git.tree(oid))).toEqual(sorted(tree));
      });
      await fc.assert(property, { numRuns: 20 });
    });

    it.each([
      ['a slash', [{ name: 'a/b', mode: '100644', oid: HELLO }]],
      ['a reserved name', [{ name: '.Git', mode: '100644', oid: HELLO }]],
      ['an unknown mode', [{ name: 'a', mode: '100600', oid: HELLO }]],
      ['half an id', [{ name: 'a', mode: '100644', oid: 'ce01' }]],
      ['one name twice', ['100644', '040000'].map((mode) => ({ name: 'a', mode, oid: HELLO }))],
    ])('does not write a tree with %s', async (_, entries) => {
      await expect(git.writeTree(entries)).rejects.toThrow(/tree/);
    });

    it('reads back a commit with its parents, its author and its time in whole seconds', async () => {
      const parents = [await commitOf('one'), await commitOf('two')];
      const tree = await git.writeTree([]);
      const message = 'Subject\n\nBody with ü.\n\nRollout: x\n';
      const oid = await git.writeCommit({ tree, parents, message, at: AT + 1999 });
      const author = 'Tidegate <tidegate@localhost>';
      expect(await git.commit(oid)).toEqual({ oid, tree, parents, message, author, committedAt: AT + 1000 });
    });

    it('throws for an object that is missing, of another type, or named by no id', async () => {
      const blob = await git.writeBlob(Buffer.from('hello\n'));
      const commit = await commitOf('one');
      for (const read of [() => git.commit(ABSENT), () => git.tree(ABSENT), () => git.blob(ABSENT)]) {
        await expect(read()).rejects.toMatchObject({ name: 'GitObjectError', oid: ABSENT });
      }
      await expect(git.commit(blob)).rejects.toThrow(/must be a commit, found a blob/);
      await expect(git.tree(commit)).rejects.toThrow(/must be a tree, found a commit/);
      await expect(git.blob(EMPTY_TREE)).rejects.toThrow(GitObjectError);
      await expect(git.blob('../../HEAD')).rejects.toThrow(GitObjectError);
    });

    it('moves a branch only from where it is', async () => {
      const first = await commitOf('one');
      const second = await commitOf('two', [first]);
      expect(await git.branch('outcomes')).toBeUndefined();
      const move = (from: Oid | undefined, to: Oid) => git.moveBranch({ branch: 'outcomes', from, to });

      expect(await move(first, second)).toEqual({ kind: 'lost' });
      expect(await move(undefined, first)).toEqual({ kind: 'moved' });
      expect(await move(undefined, second)).toEqual({ kind: 'lost' });
      expect(await git.branch('outcomes')).toBe(first);
      expect(await move(first, second)).toEqual({ kind: 'moved' });
      expect(await move(first, second)).toEqual({ kind: 'lost' });
      expect((await move(second, first)).kind).toBe(goesBack ? 'moved' : 'refused');
      expect(await git.branch('outcomes')).toBe(goesBack ? first : second);
    });

    it('never points a branch at what is no commit', async () => {
      for (const to of [ABSENT, await git.writeTree([])]) {
        await expect(git.moveBranch({ branch: 'main', from: undefined, to })).rejects.toThrow(GitObjectError);
      }
      expect(await git.branch('main')).toBeUndefined();
    });

    it('lets exactly one of several concurrent moves win', async () => {
      const base = await commitOf('base');
      const rivals = await Promise.all([1, 2, 3, 4, 5].map((n) => commitOf(`rival ${n}`, [base])));
      for (const from of [undefined, base]) {
        const branch = from === undefined ? 'new' : 'old';
        if (from !== undefined) await git.moveBranch({ branch, from: undefined, to: from });
        const results = await Promise.all(rivals.map((to) => git.moveBranch({ branch, from, to })));
        expect(results.map(({ kind }) => kind).sort()).toEqual(['lost', 'lost', 'lost', 'lost', 'moved']);
        expect(await git.branch(branch)).toBe(rivals[results.findIndex(({ kind }) => kind === 'moved')]);
      }
    });

    it('loses no commit when several writers append to one branch', async () => {
      const append = async (writer: number) => {
        for (let turn = 0; turn < 4; ) {
          const from = await git.branch('log');
          const to = await commitOf(`${writer}.${turn}`, from === undefined ? [] : [from]);
          if ((await git.moveBranch({ branch: 'log', from, to })).kind === 'moved') turn += 1;
        }
      };
      await Promise.all([1, 2, 3].map(append));
      const messages: string[] = [];
      for (let oid = await git.branch('log'); oid !== undefined; ) {
        const { message, parents } = await git.commit(oid);
        messages.push(message);
        oid = parents[0];
      }
      expect(messages).toHaveLength(12);
      expect(new Set(messages).size).toBe(12);
    });

    it('refuses a branch whose name is a folder of another’s, and says which', async () => {
      const to = await commitOf('one');
      const create = (branch: string) => git.moveBranch({ branch, from: undefined, to });
      expect(await create('tidegate/rollback/a')).toEqual({ kind: 'moved' });
      expect(await create('tidegate/rollback/b')).toEqual({ kind: 'moved' });
      for (const branch of ['tidegate', 'tidegate/rollback/a/1']) {
        const reason = expect.stringContaining('tidegate/rollback/a');
        expect(await create(branch)).toEqual({ kind: 'refused', reason });
        expect(await git.branch(branch)).toBeUndefined();
      }
    });

    it.each([
      '',
      '/x',
      'x//y',
      '../x',
      'a..b',
      'x.lock',
      'x.lock/y',
      '.x',
      'x.',
      'a b',
      'a~1',
      'a@{1}',
      '-x',
      'HEAD',
      'a\nb',
    ])('refuses %j as a branch’s name', async (branch) => {
      const result = await git.moveBranch({ branch, from: undefined, to: await commitOf('one') });
      expect(result).toEqual({ kind: 'refused', reason: expect.stringMatching(/is no branch name for git/) });
      expect(await git.branch(branch)).toBeUndefined();
    });

    it('tells a watcher of every moved branch, until it is closed', async () => {
      const onChange = vi.fn();
      const watch = await git.watch(onChange);
      let from: Oid | undefined;
      for (const message of ['one', 'two', 'three']) {
        const calls = onChange.mock.calls.length;
        const to = await commitOf(message, from === undefined ? [] : [from]);
        await git.moveBranch({ branch: 'deep/er', from, to });
        await vi.waitFor(() => expect(onChange.mock.calls.length).toBeGreaterThan(calls), { timeout: 3000 });
        from = to;
      }
      await watch.close();
      const calls = onChange.mock.calls.length;
      await git.moveBranch({ branch: 'deep/er', from, to: await commitOf('four') });
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(onChange).toHaveBeenCalledTimes(calls);
    });
  });
}

const GOLDEN = {
  inner: 'ed0354f3d3f0ccf79130c3e2dc887b008599a439',
  outer: 'edc48f53dec601199adaaddd5edfb54fa71193b8',
  commit: '97d3d3f4cb4996a043bd794fe45cfa3302efac05',
};

/** Bytes as the port spells them: text where they are UTF-8, else each high byte as a lone surrogate. */
function asName(bytes: readonly number[]): string {
  const text = Buffer.from(bytes).toString();
  if (Buffer.from(text).equals(Buffer.from(bytes))) return text;
  return String.fromCharCode(...bytes.map((byte) => (byte < 0x80 ? byte : 0xdc00 + byte)));
}

function sorted(entries: readonly TreeEntry[]): readonly TreeEntry[] {
  return entries.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
