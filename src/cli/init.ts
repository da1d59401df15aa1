/**
 * `tidegate init`: a fleet repository to start from. It is the example repository, with the schemas beside it so that
 * editors check documents without a network. What is there already is never touched; a folder that has a fleet gets
 * nothing at all, because the example's documents would join it.
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
  await refuseSecondFleet(folder);
  const made: string[] = [];
  const kept: string[] = [];
  for (const [path, content] of files) {
    const isNew = await writeUnlessThere(join(folder, path), content);
    (isNew ? made : kept).push(path);
  }
  const hasGit = await exists(join(folder, '.git'));
  io.out.lines([...madeLines(folder, made, io), ...keptLines(kept, io), ...nextSteps(folder, hasGit)]);
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

/** The YAML extension's settings: a schema for every place that documents have, and how documents are written. */
function editorSettings(): string {
  const schemas = KINDS.map((kind) => {
    const place = PLACES[kind];
    return [
      `${SCHEMA_FOLDER}/${kebabCase(kind)}.schema.json`,
      place.endsWith('/') ? `${place}**/*.yaml` : place,
    ];
  });
  const settings = {
    'yaml.schemas': Object.fromEntries(schemas),
    'yaml.validate': true,
    'yaml.hover': true,
    'yaml.completion': true,
    'yaml.format.enable': true,
    // As in the example: what editors put into place then makes no difference to review.
    'yaml.format.bracketSpacing': false,
    'yaml.format.printWidth': 120,
    'files.eol': '\n',
    'files.insertFinalNewline': true,
    '[yaml]': { 'editor.tabSize': 2, 'editor.insertSpaces': true, 'editor.detectIndentation': false },
  };
  return `${JSON.stringify(settings, null, 2)}\n`;
}

/** What lies in `fleet/` is one fleet: documents of two are neither. */
async function refuseSecondFleet(folder: string): Promise<void> {
  const entries = await readdir(join(folder, 'fleet'), { recursive: true }).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw error;
  });
  const [document] = entries.filter((path) => /\.ya?ml$/.test(path)).sort();
  if (document === undefined) return;
  throw new CommandError(
    `${join(folder, 'fleet', document)} is there already, so ${folder} has a fleet and stays as it is; choose another folder`,
  );
}

/** Exclusively, so that nothing is overwritten even where somebody else was faster than any look before. */
async function writeUnlessThere(path: string, content: string): Promise<boolean> {
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeFile(path, content, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
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

function madeLines(folder: string, made: readonly string[], { out }: Io): string[] {
  const shown = made.filter((path) => !path.startsWith(`${SCHEMA_FOLDER}/`));
  const schemas = made.length - shown.length;
  return [
    `${out.paint('green', '✓')} a fleet repository is in ${out.paint('bold', folder)}:`,
    ...shown.map((path) => `    ${path}`),
    ...(schemas === 0 ? [] : [`    ${SCHEMA_FOLDER}/ with ${schemas} schemas for your editor`]),
    '',
  ];
}

function keptLines(kept: readonly string[], { out }: Io): string[] {
  if (kept.length === 0) return [];
  return [
    `${out.paint('yellow', 'kept')} as they were there already:`,
    ...kept.map((path) => `    ${path}`),
    '',
  ];
}

function nextSteps(folder: string, hasGit: boolean): string[] {
  const bare = join(folder, '..', 'fleet.git');
  const begin = hasGit ? '' : `git -C ${folder} init -b main && `;
  return [
    'Next: put your own devices and versions into the documents, then',
    ...[
      `npx tidegate validate ${folder}`,
      `${begin}git -C ${folder} add . && git -C ${folder} commit -m "Describe the fleet"`,
      `git clone --bare ${folder} ${bare}        # what the server reads and commits to`,
      `npx tidegate serve --repo ${bare}`,
    ].map((line) => `    ${line}`),
    '',
    'On GitHub: write the hash of your release of Tidegate into .github/workflows/tidegate.yml, and your people into .github/CODEOWNERS.',
  ];
}
