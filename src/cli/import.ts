/**
 * `tidegate import azure` and `tidegate import hawkbit`: what another system exported, as documents of ours. The
 * translators are pure and lie in `src/import`; here files are read, written where nothing is yet, and told about.
 */
import { access, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { CommitId, SnapshotId } from '../core/model/ids.ts';
import { plural } from '../core/words.ts';
import { readFolder } from '../documents/folder.ts';
import { PLACES } from '../documents/kinds.ts';
import { loadDesired, type SourceFile } from '../documents/load.ts';
import { compareProblems, formatProblem, type Problem } from '../documents/problem.ts';
import { isAbsent } from '../durable-fs.ts';
import { azureDeployments, importAzure } from '../import/azure.ts';
import { documentText } from '../import/document-text.ts';
import { hawkbitObjects, importHawkbit } from '../import/hawkbit.ts';
import type { Imported, NotCarried, Weight } from '../import/imported.ts';
import { type JsonPlace, readJson } from '../import/json-place.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import { SCHEMA_FOLDER } from './init.ts';
import type { Io } from './io.ts';
import { type Cell, type Output, printable, table, wrap } from './output.ts';

export interface ImportOptions {
  readonly system: 'azure' | 'hawkbit';
  readonly files: readonly string[];
  /** The root of the fleet repository's working folder. */
  readonly into: string;
  readonly owner?: string;
  /** hawkBit: where devices get artifacts. */
  readonly mirror?: string;
  readonly dryRun?: boolean;
  readonly format: 'text' | 'json';
}

/** A file of the repository, and what becomes of it. */
interface PlannedFile {
  readonly kind: string;
  readonly name: string;
  readonly from: string;
  readonly path: string;
  readonly text: string;
  /** `same` and `taken`: it is there already, with this content or another; it stays as it is. */
  readonly state: 'new' | 'same' | 'taken';
}

/** Far more than any export, and little enough to read at once. */
const FILE_BYTES = 64 * 1024 * 1024;

export async function run(options: ImportOptions, io: Io): Promise<ExitCode> {
  const places: JsonPlace[] = [];
  for (const file of options.files) places.push(...(await read(file)));
  const imported = translate(places, options, io);
  const planned = await plan(imported, options.into);
  const problems = await problemsWith(planned, options.into);
  if (!options.dryRun) {
    for (const { path, text, state } of planned)
      if (state === 'new') await write(join(options.into, path), text);
  }
  report({ imported, planned, problems, options }, io.out);
  const isWhole =
    imported.notCarried.every(({ weight }) => weight !== 'refused') &&
    planned.every(({ state }) => state !== 'taken') &&
    problems.every(({ severity }) => severity !== 'error');
  return isWhole ? EXIT.fine : EXIT.problems;
}

async function read(file: string): Promise<readonly JsonPlace[]> {
  const next = 'export it anew, and import that';
  try {
    const { size } = await stat(file);
    if (size > FILE_BYTES) {
      throw new CommandError(
        `${file} has ${Math.ceil(size / 1024 / 1024)} MiB, more than 64; export in parts`,
      );
    }
    const json = readJson(new TextDecoder().decode(await readFile(file)), basename(file));
    if (json.ok) return json.places;
    throw new CommandError(`${file} ${json.message}; ${next}`);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    if (isAbsent(error)) throw new CommandError(`there is no file ${file}`);
    throw new CommandError(
      `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

function translate(places: readonly JsonPlace[], options: ImportOptions, io: Io): Imported {
  const { system, owner } = options;
  const found = { azure: azureDeployments(places), hawkbit: hawkbitObjects(places) };
  if (found[system].length === 0) throw new CommandError(nothingFound(places, options, found));
  if (system === 'azure') return importAzure(found.azure, { ...(owner === undefined ? {} : { owner }) });
  return importHawkbit(found.hawkbit, {
    now: io.clock.now(),
    ...(owner === undefined ? {} : { owner }),
    ...(options.mirror === undefined ? {} : { mirror: options.mirror }),
  });
}

function nothingFound(
  places: readonly JsonPlace[],
  { system, files }: ImportOptions,
  found: Readonly<Record<ImportOptions['system'], readonly unknown[]>>,
): string {
  const where = files.join(', ');
  const other = system === 'azure' ? 'hawkbit' : 'azure';
  if (found[other].length > 0) {
    return `${where} is not an export of ${NAMES[system]} but of ${NAMES[other]}; use tidegate import ${other}`;
  }
  const isEmpty = places.every(
    (place) => place.items.length === 0 && (place.isList || place.at('content').isList),
  );
  if (isEmpty) return `${where} holds an empty list; export what is to be imported`;
  return `${where} holds nothing that ${NAMES[system]} exports; expected ${EXPECTED[system]}`;
}

const NAMES = { azure: 'Azure IoT Edge', hawkbit: 'hawkBit' } as const;

const EXPECTED = {
  azure: 'what az iot edge deployment show or list prints, or a deployment manifest',
  hawkbit:
    'answers of its Management API: rollouts, deploygroups, distributionsets, artifacts, targetfilters, targets',
} as const;

async function plan({ documents }: Imported, into: string): Promise<readonly PlannedFile[]> {
  const schemas = (await exists(join(into, SCHEMA_FOLDER))) ? SCHEMA_FOLDER : undefined;
  const planned: PlannedFile[] = [];
  if (documents.length > 0 && !(await exists(join(into, PLACES.Fleet)))) {
    const fleet = {
      kind: 'Fleet',
      name: 'fleet',
      path: PLACES.Fleet,
      from: 'Every fleet has one of these.',
    } as const;
    const text = documentText({ ...fleet, metadata: { name: 'fleet' }, spec: {} }, schemas);
    planned.push({ ...fleet, text, state: 'new' });
  }
  for (const document of documents) {
    const { kind, name, from, path } = document;
    const text = documentText({ ...document, from: `Imported from ${from}.` }, schemas);
    planned.push({ kind, name, from, path, text, state: await stateOf(join(into, path), text) });
  }
  return planned;
}

async function stateOf(path: string, text: string): Promise<PlannedFile['state']> {
  if (!(await exists(path))) return 'new';
  return (await readFile(path, 'utf8')) === text ? 'same' : 'taken';
}

/** What `tidegate validate` would say of the repository with the new files in it. */
async function problemsWith(planned: readonly PlannedFile[], into: string): Promise<readonly Problem[]> {
  const there: readonly SourceFile[] = (await exists(into)) ? await readFolder(into) : [];
  const fresh = planned
    .filter(({ state }) => state === 'new')
    .map(({ path, text }) => ({ path, content: new TextEncoder().encode(text), mode: '100644' }));
  const { problems } = loadDesired([...there, ...fresh], {
    snapshot: '' as SnapshotId,
    commit: '' as CommitId,
  });
  return [...problems].sort(compareProblems);
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  // Exclusively, in case somebody else was faster than the look before.
  await writeFile(path, text, { flag: 'wx' });
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

interface Result {
  readonly imported: Imported;
  readonly planned: readonly PlannedFile[];
  readonly problems: readonly Problem[];
  readonly options: ImportOptions;
}

function report(result: Result, out: Output): void {
  const { imported, planned, problems, options } = result;
  if (options.format === 'json') {
    const documents = planned.map(({ text, ...rest }) => ({ ...rest, ...(options.dryRun ? { text } : {}) }));
    const { notCarried } = imported;
    out.write(
      `${JSON.stringify({ dryRun: options.dryRun === true, documents, notCarried, problems }, null, 2)}\n`,
    );
    return;
  }
  if (options.dryRun) {
    for (const { path, text } of planned) out.lines([out.paint('bold', `# ${path}`), text]);
  }
  out.lines([
    ...madeLines(result, out),
    ...notCarriedLines(imported.notCarried, out),
    ...problems.map(
      (problem) => `${out.paint('yellow', `${problem.severity}:`)} ${printable(formatProblem(problem))}`,
    ),
    ...(problems.length > 0 ? [''] : []),
    ...closing(result, out),
  ]);
}

function madeLines({ planned, options }: Result, out: Output): string[] {
  if (planned.length === 0) return ['Nothing could be made.', ''];
  const states: Readonly<Record<PlannedFile['state'], Cell>> = {
    new: { text: options.dryRun ? 'would be written' : 'written', style: 'green' },
    same: 'is there already',
    taken: { text: 'NOT written: is there with other content', style: 'yellow' },
  };
  const rows = planned.map(({ kind, name, from, path, state }): Cell[] => [
    kind,
    { text: name, style: 'bold' },
    path,
    states[state],
    { text: printable(from), style: 'dim' },
  ]);
  return [...table(rows, out), ''];
}

const HEADINGS: readonly (readonly [Weight, string])[] = [
  ['refused', 'Not imported'],
  ['act', 'Not carried over; something is to be done'],
  ['know', 'Different here; good to know'],
];

const PLACES_SHOWN = 5;

function notCarriedLines(notCarried: readonly NotCarried[], out: Output): string[] {
  return HEADINGS.flatMap(([weight, heading]) => {
    const groups = Map.groupBy(
      notCarried.filter((each) => each.weight === weight),
      ({ why, next }) => `${why}\n${next}`,
    );
    if (groups.size === 0) return [];
    const lines = [...groups.values()].flatMap((same) => {
      const [first] = same;
      if (first === undefined) return [];
      return [
        // What is the same of many places is said once.
        ...same
          .slice(0, PLACES_SHOWN)
          .map(({ file, pointer }) => `  ${out.paint('bold', printable(`${file}#${pointer}`))}`),
        ...(same.length > PLACES_SHOWN
          ? [`  and ${same.length - PLACES_SHOWN} more; --format json lists them`]
          : []),
        ...wrap(printable(first.why), out, '    '),
        ...wrap(`→ ${printable(first.next)}`, out, '    '),
      ];
    });
    return [out.paint('bold', `${heading}:`), ...lines, ''];
  });
}

function closing({ planned, problems, options }: Result, out: Output): string[] {
  if (planned.length === 0) return [`${out.paint('red', '✗')} no file was written`];
  const written = planned.filter(({ state }) => state === 'new').length;
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const verdict =
    errors === 0
      ? `${out.paint('green', '✓')} the repository is valid with ${written === 1 ? 'it' : 'them'}`
      : `${out.paint('red', '✗')} the repository is not valid with ${written === 1 ? 'it' : 'them'}`;
  const done = `${plural(written, 'file')} ${options.dryRun ? 'would be written' : 'written'} below ${options.into}`;
  return [`${done}; ${written === 0 ? 'nothing changed' : verdict}`];
}
