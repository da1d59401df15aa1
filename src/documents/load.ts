/**
 * Files of a snapshot → desired state, or everything that is wrong with them. Files are read one by one (and
 * remembered), then looked at together. No I/O: whoever has a folder or a git tree brings the files.
 */
import type * as Desired from '../core/model/desired.ts';
import type { CommitId, Revision, RolloutName, SnapshotId } from '../core/model/ids.ts';
import { canonicalJson, revisionOf, sha256Hex } from '../core/model/manifest.ts';
import type { Report, SourceDocument } from './document.ts';
import { PLACES } from './kinds.ts';
import {
  checkCondition,
  checkDistributionSet,
  checkGate,
  checkStageNames,
  manifestOf,
  normaliseDevices,
  normaliseFleet,
  normaliseRollout,
} from './normalise.ts';
import { compareProblems, type Problem } from './problem.ts';
import { type DocumentCache, readDocument } from './read.ts';
import { type Claim, type Index, indexDocuments, resolveRollout } from './references.ts';
import { reportUnenforced } from './unenforced.ts';

export { createDocumentCache, type DocumentCache } from './read.ts';

export interface SourceFile {
  /** From the root of the repository: `fleet/rollouts/kiosk.yaml`. */
  readonly path: string;
  readonly content: Uint8Array;
  /** Equal for equal content: what a cache remembers the document by. */
  readonly blob?: string;
  /** Git's mode; absent: a file. */
  readonly mode?: string;
}

export interface LoadedState {
  /** Undefined iff one of the problems is an error. */
  readonly desired: Desired.DesiredState | undefined;
  /** In order of file, line and column. */
  readonly problems: readonly Problem[];
  /** The files that define each rollout: its own first, then its distribution set's, group's, gates' and stage plan's. */
  readonly paths: ReadonlyMap<RolloutName, readonly string[]>;
  readonly distributionSetFiles: ReadonlyMap<string, string>;
}

/** Files outside `fleet/` and files that are not YAML are none of its business. */
export function loadDesired(
  files: readonly SourceFile[],
  at: { readonly snapshot: SnapshotId; readonly commit: CommitId },
  cache?: DocumentCache,
): LoadedState {
  const problems: Problem[] = [];
  const report = reportInto(problems);
  const claims = readAll(files, 'fleet/', problems, cache);
  const index = indexDocuments(claims, report);
  for (const { document } of claims) if (document !== undefined) reportUnenforced(document, report);

  const fleetDocument = theFleet(claims, index, problems, report);
  const fleet = fleetDocument && normaliseFleet(fleetDocument, index, report);
  checkShared(index, fleetDocument, report);
  const rollouts = new Map<RolloutName, Desired.Rollout>();
  const paths = new Map<RolloutName, readonly string[]>();
  for (const document of index.all('Rollout')) {
    const resolved = resolveRollout(document, index);
    const rollout = normaliseRollout(resolved, report);
    paths.set(document.name as RolloutName, resolved.files);
    if (rollout !== undefined) rollouts.set(rollout.name, rollout);
  }
  const devices = normaliseDevices(index.all('DeviceList'), report);

  problems.sort(compareProblems);
  const sets = index.all('DistributionSet');
  const distributionSetFiles = new Map(sets.map(({ name, file }) => [name, file]));
  if (fleet === undefined || problems.some(({ severity }) => severity === 'error')) {
    return { desired: undefined, problems, paths, distributionSetFiles };
  }
  const distributionSets = new Map<string, Revision>(
    sets.map(({ name, data }) => [name, revisionOf(manifestOf(data))]),
  );
  return {
    desired: { ...at, fleet, rollouts, distributionSets, devices, flags: new Map(), sites: new Map() },
    problems,
    paths,
    distributionSetFiles,
  };
}

/**
 * What people did to rollouts, from the files below `ops/`. An entry with a problem adds nothing, and takes nothing from
 * the others: a typing error must not keep a rollout from being paused. A file that is no Operation at all adds nothing.
 */
export function loadOperations(
  files: readonly SourceFile[],
  cache?: DocumentCache,
): { readonly operations: Desired.Operations; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const claims = readAll(files, 'ops/', problems, cache);
  const report = reportInto(problems);
  const index = indexDocuments(claims, report);
  const documents = index.all('Operation');
  const entries = documents.flatMap((document) => operationsOf(document, checkOperations(document, report)));
  const learnings = documents.flatMap(({ name, data }) =>
    (data.spec.learnings ?? []).map(({ attempt, text }): [string, string] => [`${name}/${attempt}`, text]),
  );
  problems.sort(compareProblems);
  return { operations: { entries, learnings: joined(learnings) }, problems };
}

/** Every YAML document below `folder` that says what it is. */
function readAll(
  files: readonly SourceFile[],
  folder: string,
  problems: Problem[],
  cache: DocumentCache | undefined,
): readonly Claim[] {
  const claims: Claim[] = [];
  const ordered = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  for (const file of ordered) {
    // The folder itself may be a link, too.
    if (!`${file.path}/`.startsWith(folder)) continue;
    const special = file.mode === undefined ? undefined : SPECIAL_MODES[file.mode];
    if (special !== undefined) {
      const message = `${special} is never followed, so that a snapshot is all there is; put the files here instead`;
      problems.push({ file: file.path, line: 1, column: 1, rule: 'link', severity: 'error', message });
      continue;
    }
    if (!/\.ya?ml$/.test(file.path)) continue;
    const { kind, name, document, findings } = readDocument(file, cache);
    for (const finding of findings) problems.push({ file: file.path, ...finding });
    if (kind === undefined || name === undefined) continue;
    claims.push({
      file: file.path,
      kind,
      name,
      ...(document && { document: { ...document, file: file.path } }),
    });
  }
  return claims;
}

const SPECIAL_MODES: Readonly<Record<string, string>> = {
  '120000': 'a symbolic link',
  '160000': 'a submodule',
};

/** The one Fleet document; none or several are a problem. */
function theFleet(
  claims: readonly Claim[],
  index: Index,
  problems: Problem[],
  report: Report,
): SourceDocument<'Fleet'> | undefined {
  const [fleet, ...others] = index.all('Fleet');
  for (const other of others) {
    const message = `there is one Fleet, in ${fleet?.file}, found a second one; delete one of the two`;
    report({ document: other, path: ['kind'] }, 'fleet', message);
  }
  const isThere =
    claims.some(({ kind }) => kind === 'Fleet') ||
    problems.some(({ file }) => /^fleet\/fleet\.ya?ml$/.test(file));
  if (!isThere) {
    const message =
      'the fleet has no Fleet document; create this file with kind: Fleet and metadata: {name: <name>}, spec: {}';
    problems.push({ file: PLACES.Fleet, line: 1, column: 1, rule: 'fleet', severity: 'error', message });
  }
  return fleet;
}

/** Documents that rollouts share are judged once, not once for each that uses them. */
function checkShared(index: Index, fleet: SourceDocument<'Fleet'> | undefined, report: Report): void {
  for (const document of index.all('DistributionSet')) checkDistributionSet(document, fleet, report);
  for (const document of index.all('Gate')) {
    const place = { document, path: ['spec', 'expression'] };
    checkGate({ text: document.data.spec.expression, place }, report);
  }
  for (const document of index.all('Group')) {
    const place = { document, path: ['spec', 'targetCondition'] };
    checkCondition({ text: document.data.spec.targetCondition, place }, report);
  }
  for (const document of index.all('StagePlan')) {
    checkStageNames(document.data.spec.stages, { document, path: ['spec', 'stages'] }, report);
  }
}

type Entry = NonNullable<SourceDocument<'Operation'>['data']['spec']['operations']>[number];

/** The entries that can be obeyed. An approval or a promotion of no stage in particular would wait for ever and say nothing. */
function checkOperations(document: SourceDocument<'Operation'>, report: Report): readonly Entry[] {
  // Places are those of the file, which may have more entries than are right.
  const written = (document.yaml.value as typeof document.data).spec.operations ?? [];
  return (document.data.spec.operations ?? []).filter((entry) => {
    const { action, stage } = entry;
    if ((action !== 'approve' && action !== 'promote') || stage !== undefined) return true;
    const message = `${action} is about one stage, found none; add stage: <the stage's name>`;
    const path = ['spec', 'operations', written.indexOf(entry), 'action'];
    report({ document, path }, 'operation-stage', message);
    return false;
  });
}

/** The id says which rollout, which entry, and the how-manieth of equal ones: adding below never changes those above. */
function operationsOf(
  document: SourceDocument<'Operation'>,
  entries: readonly Entry[],
): readonly Desired.Operation[] {
  const { name, file, yaml } = document;
  const written = (yaml.value as typeof document.data).spec.operations ?? [];
  const seen = new Map<string, number>();
  return entries.map((entry) => {
    const text = canonicalJson(entry);
    const nth = (seen.get(text) ?? 0) + 1;
    seen.set(text, nth);
    const id = sha256Hex(canonicalJson({ rollout: name, entry, nth })).slice(0, 16);
    const place = { file, ...yaml.at(['spec', 'operations', written.indexOf(entry)]) };
    return { ...entry, id, rollout: name as RolloutName, place };
  });
}

/** Several texts about one attempt become paragraphs of one. */
function joined(texts: readonly (readonly [string, string])[]): ReadonlyMap<string, string> {
  const all = new Map<string, string>();
  for (const [key, text] of texts) {
    const before = all.get(key);
    all.set(key, before === undefined ? text : `${before}\n\n${text}`);
  }
  return all;
}

function reportInto(problems: Problem[]): Report {
  return ({ document, path, key, offset }, rule, message, severity = 'error') => {
    const { yaml, file } = document;
    const position = key === true ? yaml.keyAt(path) : yaml.at(path, offset);
    problems.push({ file, ...position, rule, severity, message });
  };
}
