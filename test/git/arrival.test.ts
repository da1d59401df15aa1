import { describe, expect, it } from 'vitest';
import { comesAfter, examineArrival } from '../../src/git/arrival.ts';
import type { Oid } from '../../src/git/git.ts';
import { createMemoryRepository } from '../../src/git/memory.ts';

const ABSENT = 'deadbeefdeadbeefdeadbeefdeadbeefdeadbeef';
const FOLDERS = ['fleet', 'ops'];

/** A repository, and commits in it whose files may be missing. */
function repository() {
  const git = createMemoryRepository();
  const commit = async (files: Readonly<Record<string, Oid>>, parents: readonly Oid[] = []) => {
    const folders = await Promise.all(
      Object.entries(files).map(async ([name, oid]) => ({
        name,
        mode: '040000',
        oid: await git.writeTree([{ name: 'file.yaml', mode: '100644', oid }]),
      })),
    );
    return await git.writeCommit({ tree: await git.writeTree(folders), parents, message: 'x\n', at: 0 });
  };
  return { git, commit };
}

describe('what a fetch brought', () => {
  it('is complete where the commits and the files of the folders are there', async () => {
    const { git, commit } = repository();
    const file = await git.writeBlob(Buffer.from('a: 1\n'));
    const first = await commit({ fleet: file });
    const tip = await commit({ fleet: file, ops: file, docs: ABSENT }, [first]);
    const seen = new Set<Oid>();
    await examineArrival(git, { tip, before: undefined, folders: FOLDERS }, seen);
    expect(seen).toEqual(new Set([first, tip]));
    await expect(examineArrival(git, { tip, before: undefined, folders: [''] }, seen)).rejects.toThrow(
      ABSENT,
    );
  });

  it.each(['fleet', 'ops'])('is not complete where a file of %s is missing', async (folder) => {
    const { git, commit } = repository();
    const seen = new Set<Oid>();
    const tip = await commit({ [folder]: ABSENT });
    await expect(examineArrival(git, { tip, before: undefined, folders: FOLDERS }, seen)).rejects.toThrow(
      ABSENT,
    );
    expect(seen).toEqual(new Set());
  });

  it('is not complete where a commit on the way is missing, also one that was merged', async () => {
    const { git, commit } = repository();
    const file = await git.writeBlob(Buffer.from('a: 1\n'));
    const before = await commit({ fleet: file }, [ABSENT]);
    const examine = (tip: Oid) => examineArrival(git, { tip, before, folders: FOLDERS }, new Set());
    // What is before the known tip was looked at when that arrived.
    await examine(await commit({ ops: file }, [before]));
    await expect(examine(await commit({ ops: file }, [before, ABSENT]))).rejects.toThrow(ABSENT);
  });

  it('is read only as far as it is new', async () => {
    const { git, commit } = repository();
    const before = await commit({ fleet: ABSENT });
    const file = await git.writeBlob(Buffer.from('a: 1\n'));
    const tip = await commit({ fleet: ABSENT, ops: file }, [before]);
    await examineArrival(git, { tip, before, folders: FOLDERS }, new Set());
    const indexed = new Set([ABSENT]);
    await examineArrival(git, { tip, before: undefined, folders: FOLDERS, indexed }, new Set());
  });
});

it('knows whether a commit comes after another, through merges too', async () => {
  const { git, commit } = repository();
  const base = await commit({});
  const left = await commit({}, [base]);
  const right = await git.writeCommit({
    tree: await git.writeTree([]),
    parents: [base],
    message: 'r\n',
    at: 0,
  });
  const merge = await commit({}, [left, right]);
  expect(await comesAfter(git, merge, right)).toBe(true);
  expect(await comesAfter(git, merge, merge)).toBe(true);
  expect(await comesAfter(git, left, right)).toBe(false);
  expect(await comesAfter(git, base, merge)).toBe(false);
});
