/** A repository in memory as a bare one on disk, object by object, so that commands find there what a simulation decided. */
import { join } from 'node:path';
import type { Git, Oid } from '../../src/git/git.ts';
import { openRepository } from '../../src/git/local.ts';
import type { MemoryRepository } from '../../src/git/memory.ts';
import { entryAt, withChanges } from '../../src/git/tree.ts';
import { git, temporaryFolder } from './fixture.ts';

export async function writtenRepository(from: MemoryRepository): Promise<string> {
  const folder = join(await temporaryFolder(), 'fleet.git');
  await git('.', 'init', '--quiet', '--bare', '--initial-branch=main', folder);
  const to = await openRepository(folder);
  const copied = new Set<Oid>();
  for (const [branch, tip] of from.branches()) {
    await copyCommits(from, to, tip, copied);
    await to.moveBranch({ branch, from: undefined, to: tip });
  }
  await to.close();
  return folder;
}

async function copyCommits(from: Git, to: Git, tip: Oid, copied: Set<Oid>): Promise<void> {
  const oldestFirst: Oid[] = [];
  for (let next: Oid | undefined = tip; next !== undefined && !copied.has(next); ) {
    oldestFirst.unshift(next);
    next = (await from.commit(next)).parents[0];
  }
  for (const oid of oldestFirst) {
    const { tree, parents, message, committedAt, signature } = await from.commit(oid);
    await copyTree(from, to, tree, copied);
    const sign = signature === undefined ? {} : { sign: () => signature.armoured };
    const same = await to.writeCommit({ tree, parents, message, at: committedAt, ...sign });
    if (same !== oid) throw new Error(`commit ${oid} became ${same}`);
    copied.add(oid);
  }
}

async function copyTree(from: Git, to: Git, tree: Oid, copied: Set<Oid>): Promise<void> {
  if (copied.has(tree)) return;
  copied.add(tree);
  const entries = await from.tree(tree);
  for (const { mode, oid } of entries) {
    if (mode === '040000') await copyTree(from, to, oid, copied);
    else if (!copied.has(oid)) {
      copied.add(oid);
      await to.writeBlob(await from.blob(oid));
    }
  }
  await to.writeTree(entries);
}

/** Changes a file at the tip of the branch, as somebody does who may write there. */
export async function tamper(
  folder: string,
  { branch, path, edit }: { branch: string; path: string; edit: (text: string) => string },
): Promise<void> {
  const repository = await openRepository(folder);
  const tip = await repository.branch(branch);
  const { tree } = await repository.commit(tip ?? '');
  const entry = await entryAt(repository, tree, path);
  const before = new TextDecoder().decode(await repository.blob(entry?.oid ?? ''));
  const after = edit(before);
  if (after === before) throw new Error(`nothing in ${path} was changed`);
  const oid = await repository.writeBlob(new TextEncoder().encode(after));
  const changed = await withChanges(repository, tree, new Map([[path, { mode: '100644', oid }]]));
  const message = 'Nothing to see here\n';
  const commit = await repository.writeCommit({ tree: changed, parents: [tip ?? ''], message, at: 0 });
  await repository.moveBranch({ branch, from: tip, to: commit });
  await repository.close();
}
