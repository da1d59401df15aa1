/** What is committed for runners: the bundle is what the sources give, and holds no more than it needs. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const bundled = await readFile(join(ROOT, 'dist/action/index.js'), 'utf8');
const licences = await readFile(join(ROOT, 'dist/action/licenses.txt'), 'utf8');
const packages = [...licences.matchAll(/^(\S+) \d+\.\d+\.\d+ \(.+\)$/gm)].map(([, name]) => name);

test('the committed bundle is what the sources give', async () => {
  const { stderr } = await promisify(execFile)(process.execPath, ['scripts/bundle-action.ts', '--check'], {
    cwd: ROOT,
  });
  expect(stderr).toBe('');
});

test('it imports nothing but Node, and names no path of this machine', () => {
  const imported = [...bundled.matchAll(/^import .* from "([^"]+)";$/gm)].map(([, name = '']) => name);
  expect(imported.filter((name) => !name.startsWith('node:'))).toEqual([]);
  expect(bundled).not.toContain(ROOT);
});

test('neither a database, a command line nor an HTTP client of others is in it, and what is has its notice', () => {
  for (const name of [
    'pg',
    'commander',
    'undici',
    '@hono/node-server',
    '@actions/core',
    '@actions/http-client',
  ])
    expect(packages).not.toContain(name);
  for (const name of ['ajv', 'yaml', 'isomorphic-git', '@marcbachmann/cel-js', 'hono', 'luxon'])
    expect(packages).toContain(name);
});
