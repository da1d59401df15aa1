/** Packing without a git binary, cut off at every step. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { repackInProcess } from '../../../src/git/isomorphic/repack.ts';
import { createBareRepository, openRepository } from '../../../src/git/local.ts';
import { listPacks } from '../../../src/git/packs.ts';
import { commitOn, filesOf, nativeGit } from '../remote-fixture.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidegate-repack-'));
});
afterEach(async () => {
  await rm(root, { recursive: true });
});

/** A signal that is aborted when it is asked for the n-th time. */
function abortedAt(n: number): AbortSignal {
  let asked = 0;
  return {
    throwIfAborted() {
      asked += 1;
      if (asked >= n) throw new Error('aborted');
    },
  } as AbortSignal;
}

it('loses nothing and leaves nothing behind wherever it is aborted', async () => {
  const bare = join(root, 'fleet.git');
  await createBareRepository(bare, { defaultBranch: 'main' });
  const git = await openRepository(bare);
  let tip: string | undefined;
  for (let n = 1; n <= 6; n += 1) {
    const to = await commitOn(git, tip, `n${n}`);
    await git.moveBranch({ branch: 'main', from: tip, to });
    tip = to;
    // The last one stays loose.
    if (n < 6) await nativeGit(bare, 'repack', '-d', '-q');
  }
  await git.close();
  const before = await listPacks(bare);
  expect(before.size).toBe(5);

  let aborted = 0;
  for (;;) {
    const packing = repackInProcess(bare, abortedAt(aborted + 1));
    const end = await packing.then(
      () => 'done',
      (error: unknown) => String(error),
    );
    await nativeGit(bare, 'fsck', '--full', '--strict');
    if (end === 'done') break;
    expect(end).toMatch(/aborted/);
    expect(await listPacks(bare)).toEqual(before);
    aborted += 1;
  }
  expect(aborted).toBeGreaterThan(20);
  expect((await listPacks(bare)).size).toBe(2);
  expect(await nativeGit(bare, 'rev-list', '--count', 'main')).toBe('6');
  const again = await openRepository(bare);
  expect(Object.keys(await filesOf(again, 'main'))).toEqual(['n1', 'n2', 'n3', 'n4', 'n5', 'n6']);
  await again.close();
});
