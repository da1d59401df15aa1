/**
 * Writes dist/action/: the GitHub Action as one file that a runner's Node runs without node_modules, and the licences of what is in
 * it. With `--check` it writes nothing and exits 1 where a file is stale. Equal sources give equal bytes, on every path: it is not
 * minified, so that people can read what they run and a review shows what changed.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FOLDER = 'dist/action';
const BANNER =
  '// Made by scripts/bundle-action.ts from src/action/; do not edit. The licences of what is in it: licenses.txt.';

const files = await bundle();
if (process.argv.includes('--check')) {
  const stale: string[] = [];
  for (const [name, text] of files) {
    const written = await readFile(join(ROOT, FOLDER, name), 'utf8').catch(unlessAbsent);
    if (written !== text) stale.push(name);
  }
  if (stale.length > 0) {
    console.error(`${FOLDER}/ is not what the sources give (${stale.join(', ')}); run: npm run generate`);
    process.exitCode = 1;
  }
} else {
  await mkdir(join(ROOT, FOLDER), { recursive: true });
  for (const [name, text] of files) await writeFile(join(ROOT, FOLDER, name), text);
}

async function bundle(): Promise<ReadonlyMap<string, string>> {
  const build = await rolldown({
    cwd: ROOT,
    input: 'src/action/main.ts',
    platform: 'node',
    // A linked node_modules is one that lies there.
    resolve: { symlinks: false },
    logLevel: 'warn',
  });
  const { output } = await build.generate({
    format: 'esm',
    banner: BANNER,
    codeSplitting: false,
    minify: false,
  });
  await build.close();
  const [chunk, ...more] = output;
  if (more.length > 0)
    throw new Error(`expected one file, found ${output.map((each) => each.fileName).join(', ')}`);
  const beyond = chunk.imports.filter((name) => !name.startsWith('node:'));
  if (beyond.length > 0) throw new Error(`expected to import nothing but Node, found ${beyond.join(', ')}`);
  if (chunk.code.includes(ROOT)) throw new Error('the path of this checkout is in the bundle');
  return new Map([
    ['index.js', chunk.code],
    ['licenses.txt', await licencesOf(Object.keys(chunk.modules))],
  ]);
}

/** Of every package of which something is in the bundle. */
async function licencesOf(modules: readonly string[]): Promise<string> {
  const folders = new Set(
    modules.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []),
  );
  const texts = await Promise.all([...folders].map(licenceOf));
  return texts.sort().join(`\n${'-'.repeat(80)}\n\n`);
}

async function licenceOf(folder: string): Promise<string> {
  const { name, version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  const notices = (await readdir(folder))
    .filter((each) => /^(?:licen[cs]e|copying|notice)/i.test(each))
    .sort();
  const texts = await Promise.all(notices.map((each) => readFile(join(folder, each), 'utf8')));
  return `${name} ${version} (${license})\n\n${texts.map((text) => text.replaceAll('\r\n', '\n').trim()).join('\n\n')}\n`;
}

function unlessAbsent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
