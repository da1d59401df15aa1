import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { holdFolder } from '../../src/store/folder-lock.ts';

const MODULE = new URL('../../src/store/folder-lock.ts', import.meta.url).href;

test('a folder has one holder at a time, and a killed one gives it back', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-lock-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const program = `
    const { holdFolder } = await import(${JSON.stringify(MODULE)});
    console.log(holdFolder(${JSON.stringify(folder)}) === undefined ? 'refused' : 'held');
    setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = await once(holder.stdout, 'data');
  expect(String(said).trim()).toBe('held');
  expect(holdFolder(folder)).toBeUndefined();

  holder.kill('SIGKILL');
  await once(holder, 'exit');
  const lock = holdFolder(folder);
  expect(lock).toBeDefined();
  lock?.release();
  expect(holdFolder(folder)?.release()).toBeUndefined();
});
