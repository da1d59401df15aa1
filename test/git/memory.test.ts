import { expect, it } from 'vitest';
import { createMemoryRepository } from '../../src/git/memory.ts';
import { describeGit } from './git-contract.ts';

describeGit('memory', async () => ({ git: createMemoryRepository(), close: async () => {} }));

const commitTo = async (git: ReturnType<typeof createMemoryRepository>, message: string) =>
  await git.writeCommit({ tree: await git.writeTree([]), parents: [], message, at: 0 });

it('refuses to move a protected branch until the protection is lifted', async () => {
  const git = createMemoryRepository();
  const to = await commitTo(git, 'one\n');
  git.refuseMoves('main', 'main is protected');
  expect(await git.moveBranch({ branch: 'main', from: undefined, to })).toEqual({
    kind: 'refused',
    reason: 'main is protected',
  });
  git.refuseMoves('main', undefined);
  expect(await git.moveBranch({ branch: 'main', from: undefined, to })).toEqual({ kind: 'moved' });
  expect(git.branches()).toEqual(new Map([['main', to]]));
});

it('writes commits in the name it was given, which changes their ids', async () => {
  const [ours, theirs] = [createMemoryRepository(), createMemoryRepository('Ada <ada@example.org>')];
  const oid = await commitTo(theirs, 'one\n');
  expect(oid).not.toBe(await commitTo(ours, 'one\n'));
  expect((await theirs.commit(oid)).author).toBe('Ada <ada@example.org>');
});
