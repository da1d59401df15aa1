/**
 * `tidegate init`: a fleet repository to start from. It is the example repository, with the schemas beside it so that
 * editors check documents without a network. What is there already is never touched.
 */
import { access, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { KINDS, kebabCase, PLACES } from '../documents/kinds.ts';
import { isAbsent } from '../durable-fs.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';

export interface InitOptions {
  readonly folder: string;
}

const EXAMPLE = fileURLToPath(new URL('../../fleet-repo-example', import.meta.url));
const SCHEMAS = fileURLToPath(new URL('../../schemas', import.meta.url));
/** Where the schemas lie in the new repository. */
export const SCHEMA_FOLDER = '.tidegate/schemas';

export async function run({ folder }: InitOptions, io: Io): Promise<ExitCode> {
  const files = await newRepository();
  await refuseToOverwrite(folder, files.keys());
  for (const [path, content] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    // Exclusively, in case somebody else was faster than the look above.
    await writeFile(join(folder, path), content, { flag: 'wx' });
  }
  io.out.lines(nextSteps(folder, [...files.keys()], io));
  return EXIT.fine;
}

/** What a new fleet repository holds: contents by path, in order of path. */
export async function newRepository(): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for (const path of await filesBelow(EXAMPLE)) {
    files.set(path, withSchemasOf(path, await readFile(join(EXAMPLE, path), 'utf8')));
  }
  for (const path of await filesBelow(SCHEMAS)) {
    files.set(`${SCHEMA_FOLDER}/${path}`, await readFile(join(SCHEMAS, path), 'utf8'));
  }
  files.set('.vscode/settings.json', editorSettings());
  if (!files.keys().some((path) => path.startsWith('ops/'))) files.set('ops/.gitkeep', '');
  return new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));
}

/** The example's documents name the schemas of this checkout; a new repository has its own. */
function withSchemasOf(path: string, text: string): string {
  const schemas = posix.relative(posix.dirname(path), SCHEMA_FOLDER);
  return text.replace(/^(# yaml-language-server: \$schema=)\S*?([a-z-]+\.schema\.json)$/m, `$1${schemas}/$2`);
}

/** The YAML extension's settings: a schema for every place that documents have. */
function editorSettings(): string {
  const schemas = KINDS.map((kind) => {
    const place = PLACES[kind];
    return [
      `${SCHEMA_FOLDER}/${kebabCase(kind)}.schema.json`,
      place.endsWith('/') ? `${place}**/*.yaml` : place,
    ];
  });
  return `${JSON.stringify({ 'yaml.schemas': Object.fromEntries(schemas) }, null, 2)}\n`;
}

async function refuseToOverwrite(folder: string, paths: Iterable<string>): Promise<void> {
  const taken: string[] = [];
  for (const path of paths) if (await exists(join(folder, path))) taken.push(path);
  const [first, ...others] = taken;
  if (first === undefined) return;
  const more = others.length === 0 ? '' : ` and ${others.length} more`;
  throw new CommandError(
    `${join(folder, first)}${more} is there already and stays as it is; choose another folder`,
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

function nextSteps(folder: string, paths: readonly string[], { out }: Io): string[] {
  const documents = paths.filter((path) => path.startsWith('fleet/'));
  const bare = join(folder, '..', 'fleet.git');
  return [
    `${out.paint('green', '✓')} a fleet repository is in ${out.paint('bold', folder)}:`,
    ...documents.map((path) => `    ${path}`),
    '    and a README, the schemas for your editor, and ops/ for what you do to a running rollout',
    '',
    'Next: put your own devices and versions into the documents, then',
    ...[
      `npx tidegate validate ${folder}`,
      `git -C ${folder} init -b main && git -C ${folder} add . && git -C ${folder} commit -m "Describe the fleet"`,
      `git clone --bare ${folder} ${bare}        # what the server reads and commits to`,
      `npx tidegate serve --repo ${bare}`,
    ].map((line) => `    ${line}`),
  ];
}
