/** The long-lived reading process: it may die, and it is not left behind. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Git } from '../../../src/git/git.ts';
import { createBareRepository, openRepository } from '../../../src/git/local.ts';
import { createNativeEngine } from '../../../src/git/native/engine.ts';

const run = promisify(execFile);
let root: string;
let git: Git;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidegate-batch-'));
  await createBareRepository(join(root, 'fleet.git'), { defaultBranch: 'main' });
  // A git that writes down its process id.
  const { stdout } = await run('sh', ['-c', 'command -v git']);
  await writeFile(join(root, 'git'), `#!/bin/sh\necho $$ >> ${root}/pids\nexec ${stdout.trim()} "$@"\n`);
  await chmod(join(root, 'git'), 0o755);
  const env = { ...process.env, PATH: `${root}:${process.env['PATH']}` };
  git = await openRepository(join(root, 'fleet.git'), { engine: createNativeEngine({ env }) });
});
afterEach(async () => {
  await git.close();
  await rm(root, { recursive: true });
});

async function processes(): Promise<number[]> {
  return (await readFile(join(root, 'pids'), 'utf8')).trim().split('\n').map(Number);
}

function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

it('reads everything with one process, whatever comes at once', async () => {
  const contents = Array.from({ length: 200 }, (_, n) => Buffer.from('x'.repeat(n * 997)));
  const oids = await Promise.all(contents.map((content) => git.writeBlob(content)));
  const read = await Promise.all(oids.map((oid) => git.blob(oid)));
  for (const [n, content] of contents.entries())
    expect(Buffer.compare(Buffer.from(read[n] ?? []), content)).toBe(0);
  expect(await processes()).toHaveLength(1);
});

it('goes on with a new process where the old one was killed, also in the middle', async () => {
  const oids = await Promise.all(
    Array.from({ length: 50 }, (_, n) => git.writeBlob(Buffer.from('y'.repeat(n * 5000)))),
  );
  await git.blob(oids[0] ?? '');
  const [first = 0] = await processes();
  const reading = Promise.all(oids.map((oid) => git.blob(oid)));
  process.kill(first, 'SIGKILL');
  expect((await reading).map(({ length }) => length)).toEqual(oids.map((_, n) => n * 5000));
  expect(await processes()).toHaveLength(2);
});

it('lets several corrupt objects spoil nothing for the others that are asked for at once', async () => {
  const contents = Array.from({ length: 30 }, () => randomBytes(3000));
  const oids = await Promise.all(contents.map((content) => git.writeBlob(content)));
  const isCorrupt = (n: number) => n % 5 === 2;
  for (const [n, oid] of oids.entries()) {
    const path = join(root, 'fleet.git/objects', oid.slice(0, 2), oid.slice(2));
    await chmod(path, 0o644);
    // Half an object ends git, not only its answer.
    if (isCorrupt(n)) await truncate(path, 1500);
  }
  const read = await Promise.allSettled(oids.map((oid) => git.blob(oid)));
  for (const [n, result] of read.entries()) {
    if (isCorrupt(n))
      expect(result).toMatchObject({ status: 'rejected', reason: { name: 'GitObjectError' } });
    else
      expect(
        result.status === 'fulfilled' && Buffer.from(result.value).equals(contents[n] ?? Buffer.of()),
      ).toBe(true);
  }
  expect((await processes()).length).toBeGreaterThan(1);
});

it('leaves no process behind when it is closed', async () => {
  await git.blob(await git.writeBlob(Buffer.from('x')));
  const [pid = 0] = await processes();
  expect(runs(pid)).toBe(true);
  await git.close();
  await vi.waitFor(() => expect(runs(pid)).toBe(false));
  await expect(git.blob(await git.writeBlob(Buffer.from('x')))).rejects.toThrow(/closed/);
});

it('does not keep a program alive that forgot to close it', async () => {
  const oid = await git.writeBlob(Buffer.from('x'));
  const module = (name: string) => JSON.stringify(join(import.meta.dirname, '../../../src/git', name));
  const script = `
    const { openRepository } = await import(${module('local.ts')});
    const { createNativeEngine } = await import(${module('native/engine.ts')});
    const git = await openRepository(${JSON.stringify(join(root, 'fleet.git'))}, { engine: createNativeEngine() });
    console.log((await git.blob('${oid}')).length);`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { timeout: 30_000 });
  expect(stdout.trim()).toBe('1');
});
