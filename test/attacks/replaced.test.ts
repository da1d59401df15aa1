/** `refs/replace/` in a repository that is served from a folder on this machine: whoever may push may push these, too. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openRepository } from '../../src/git/local.ts';
import { createNativeEngine } from '../../src/git/native/engine.ts';

test('an object is what its id says, whatever refs/replace names in its place', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-replace-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const bare = join(folder, 'fleet.git');
  const work = join(folder, 'work');
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', work, '-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
      encoding: 'utf8',
    }).trim();
  execFileSync('git', ['init', '--quiet', '--bare', bare]);
  execFileSync('git', ['init', '--quiet', '--initial-branch=main', work]);
  writeFileSync(join(work, 'a'), 'what Ada signed');
  git('add', '.');
  git('commit', '--quiet', '-m', 'one');
  const tree = git('rev-parse', 'HEAD^{tree}');
  git('push', '--quiet', bare, 'main');
  // Eve pushes a reference, and no commit to main.
  writeFileSync(join(work, 'a'), 'what Eve wants');
  git('add', '.');
  const evil = git('write-tree');
  git('replace', tree, evil);
  git('push', '--quiet', bare, 'refs/replace/*:refs/replace/*');
  const repository = await openRepository(bare, { engine: createNativeEngine() });
  onTestFinished(() => repository.close());
  const tip = await repository.commit((await repository.branch('main')) ?? '');
  const [entry] = await repository.tree(tip.tree);
  expect(Buffer.from(await repository.blob(entry?.oid ?? '')).toString()).toBe('what Ada signed');
});
