/**
 * Files of a snapshot → desired state, or everything that is wrong with them. Files are read one by one (and
 * remembered), then looked at together. No I/O: whoever has a folder or a git tree brings the files.
 *
 * A load of many files takes seconds. It is written step by step: commands do it at once, a server in turns.
 */

import type * as Desired from '../core/model/desired.ts';
import type { Flag } from '../core/model/flag.ts';
import type { CommitId, Revision, RolloutName, SnapshotId } from '../core/model/ids.ts';
import { canonicalJson, sha256Hex } from '../core/model/manifest.ts';
import { atOnce, type Stepwise } from '../turns.ts';
import {
  type Allowance,
  type Allowances,
  type AllowedProblem,
  allowancesOf,
  isEmergency,
  reportUnused,
  sift,
} from './allowances.ts';
import { type ParsedDocument, type Report, reportInto, type SourceDocument } from './document.ts';
import { normaliseFlag } from './flags.ts';
import { normaliseGate } from './gates.ts';
import { PLACES } from './kinds.ts';
import { createMemory } from './memory.ts';
import {
  checkCondition,
  checkDistributionSet,
  checkStagePlan,
  checkWindow,
  DEFAULTS,
  normaliseDevices,
  normaliseFleet,
  normaliseRollout,
  releaseOf,
} from './normalise.ts';
import { checkOwner, checkPlanPolicy, checkPolicy } from './policy.ts';
import { compareProblems, type Finding, type Problem } from './problem.ts';
import { type DocumentCache, readDocument } from './read.ts';
import { type Claim, type Index, indexDocuments, resolveRollout, whereIn } from './references.ts';
import { type Policy, RULES, severityOf } from './rules.ts';
import { normaliseSites } from './sites.ts';
import { reportUnenforced } from './unenforced.ts';
import type { Validation } from './validate.ts';

export { createDocumentCache, type DocumentCache } from './read.ts';

interface NamedFile {
  /** From the root of the repository: `fleet/rollouts/kiosk.yaml`. */
  readonly path: string;
  /** Git's mode; absent: a file. */
  readonly mode?: string;
  readonly sizeBytes?: number;
}

export interface SourceFile extends NamedFile {
  readonly content: Uint8Array;
  /** Equal for equal content: what a cache remembers the document by. */
  readonly blob?: string;
  /** Why the content is not here. */
  readonly unread?: Finding;
}

/** A file that has been read already. */
export interface ReadFile extends NamedFile {
  readonly validation: Validation;
}

export interface LoadedState {
  /** Undefined iff one of the problems is an error. */
  readonly desired: Desired.DesiredState | undefined;
  /** In order of file, line and column. */
  readonly problems: readonly Problem[];
  /** What would be among the problems, if the documents did not say why it is right. */
  readonly allowed: readonly AllowedProblem[];
  /** Allowances of what documents alone do not show: for whoever looks at more. */
  readonly allowances: Allowances;
  /** The files that define each rollout: its own first, then its distribution set's, group's, gates' and stage plan's. */
  readonly paths: ReadonlyMap<RolloutName, readonly string[]>;
  readonly distributionSetFiles: ReadonlyMap<string, string>;
}

/** Where a snapshot lies in git. */
export interface SnapshotPlace {
  readonly snapshot: SnapshotId;
  readonly commit: CommitId;
}

export interface LoadOptions {
  readonly cache?: DocumentCache;
  /** What problems of the class `policy` are, in place of what the Fleet document says. */
  readonly policy?: Policy | undefined;
}

/** Files outside `fleet/` and files that are not YAML are none of its business. */
export function loadDesired(
  files: readonly (SourceFile | ReadFile)[],
  at: SnapshotPlace,
  options?: LoadOptions,
): LoadedState {
  return atOnce(loadingDesired(files, at, options));
}

/** {@link loadDesired}, step by step. */
export function* loadingDesired(
  files: readonly (SourceFile | ReadFile)[],
  { snapshot, commit }: SnapshotPlace,
  { cache, policy }: LoadOptions = {},
): Stepwise<LoadedState> {
  const found: Problem[] = [];
  const report = reportInto(found);
  const claims = yield* readAll(files, 'fleet/', found, cache);
  const index = indexDocuments(claims, report);
  for (const { document } of claims) {
    if (document !== undefined) reportUnenforced(document, report);
    yield;
  }

  const fleetDocument = theFleet(claims, index, found, report);
  const fleet = fleetDocument && normaliseFleet(fleetDocument, index, report);
  yield* checkShared(index, fleetDocument, report);
  const rollouts = new Map<RolloutName, Desired.Rollout>();
  const paths = new Map<RolloutName, readonly string[]>();
  for (const document of index.all('Rollout')) {
    const resolved = resolveRollout(document, index, report);
    const rollout = normaliseRollout(resolved, report);
    paths.set(document.name as RolloutName, resolved.files);
    checkPolicy(resolved, rollout, report);
    if (rollout === undefined) continue;
    rollouts.set(rollout.name, rollout);
    if (fleet !== undefined) checkWindow(document, rollout, fleet, report);
    yield;
  }
  const sites = yield* normaliseSites(index.all('Site'), fleet, report);
  const devices = yield* normaliseDevices(index.all('DeviceList'), report);
  const flags = new Map<string, Flag>();
  for (const document of index.all('Flag')) {
    checkOwner(document, report);
    flags.set(document.name, normaliseFlag(document, index, report));
    yield;
  }

  const { problems, allowed, allowances } = yield* judged(found, claims, {
    report,
    policy: policy ?? fleetDocument?.data.spec.policy ?? DEFAULTS.policy,
  });
  const sets = index.all('DistributionSet');
  const distributionSetFiles = new Map(sets.map(({ name, file }) => [name, file]));
  if (fleet === undefined || problems.some(({ severity }) => severity === 'error')) {
    return { desired: undefined, problems, allowed, allowances, paths, distributionSetFiles };
  }
  const distributionSets = new Map<string, Revision>();
  for (const set of sets) {
    distributionSets.set(set.name, releaseOf(set).revision);
    yield;
  }
  return {
    desired: { snapshot, commit, fleet, rollouts, distributionSets, devices, flags, sites },
    problems,
    allowed,
    allowances,
    paths,
    distributionSetFiles,
  };
}

/** What is left of what was found once the documents have said what they allow, each as grave as the fleet takes it. */
function* judged(
  found: Problem[],
  claims: readonly Claim[],
  { policy, report }: { readonly policy: Policy; readonly report: Report },
): Stepwise<Pick<LoadedState, 'problems' | 'allowed' | 'allowances'>> {
  const documents = claims.flatMap(({ document }) => document ?? []);
  const annotations = documents.flatMap((document) => allowancesOf(document, report));
  yield;
  const emergencies = new Set(documents.filter(isEmergency).map(({ file }) => file));
  const { unused } = sift(found, { annotations, emergencies });
  const isDecided = ({ rule }: Allowance) => RULES[rule].source === 'documents';
  // Not everything was looked for in a document that is wrong.
  const broken = new Set(found.filter(({ severity }) => severity === 'error').map(({ file }) => file));
  for (const allowance of unused) {
    if (isDecided(allowance) && !broken.has(allowance.place.document.file)) reportUnused(allowance, report);
  }
  yield;
  found.sort(compareProblems);
  const graded = found.map((problem) => ({ ...problem, severity: severityOf(problem.rule, policy) }));
  const { problems, allowed } = sift(graded, { annotations, emergencies });
  const open = unused.filter((allowance) => !isDecided(allowance));
  return { problems, allowed, allowances: { annotations: open, emergencies } };
}

export interface LoadedOperations {
  readonly operations: Desired.Operations;
  readonly problems: readonly Problem[];
}

const rememberEntries = createMemory<readonly Desired.Operation[]>();

/**
 * What people did to rollouts, from the files below `ops/`. An entry with a problem adds nothing, and takes nothing from
 * the others: a typing error must not keep a rollout from being paused. A file that is no Operation at all adds nothing.
 */
export function loadOperations(
  files: readonly (SourceFile | ReadFile)[],
  cache?: DocumentCache,
): LoadedOperations {
  return atOnce(loadingOperations(files, cache));
}

/** {@link loadOperations}, step by step. */
export function* loadingOperations(
  files: readonly (SourceFile | ReadFile)[],
  cache?: DocumentCache,
): Stepwise<LoadedOperations> {
  const problems: Problem[] = [];
  const claims = yield* readAll(files, 'ops/', problems, cache);
  const report = reportInto(problems);
  const index = indexDocuments(claims, report);
  const entries: Desired.Operation[] = [];
  const learnings: [string, string][] = [];
  for (const document of index.all('Operation')) {
    const { name, data } = document;
    // No rule about operations is one that can be allowed.
    for (const allowance of allowancesOf(document, report)) reportUnused(allowance, report);
    const own = rememberEntries(document, [], report, (told) =>
      operationsOf(document, checkOperations(document, told)),
    );
    entries.push(...own);
    for (const { attempt, text } of data.spec.learnings ?? []) learnings.push([`${name}/${attempt}`, text]);
    yield;
  }
  problems.sort(compareProblems);
  return { operations: { entries, learnings: joined(learnings) }, problems };
}

/** Every YAML document below `folder` that says what it is. */
function* readAll(
  files: readonly (SourceFile | ReadFile)[],
  folder: string,
  problems: Problem[],
  cache: DocumentCache | undefined,
): Stepwise<readonly Claim[]> {
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
    if (file.mode === FOLDER_MODE) {
      const message = 'this is a folder, and it is called like a document; give it another name';
      problems.push({
        file: file.path,
        line: 1,
        column: 1,
        rule: 'document-folder',
        severity: 'warning',
        message,
      });
      continue;
    }
    if ('unread' in file && file.unread !== undefined) {
      problems.push({ file: file.path, ...file.unread });
      continue;
    }
    if (!/\.ya?ml$/.test(file.path)) continue;
    yield;
    const { kind, name, document, findings } =
      'validation' in file ? file.validation : readDocument(file, cache);
    for (const finding of findings) problems.push({ file: file.path, ...finding });
    if (kind === undefined || name === undefined) continue;
    claims.push({
      file: file.path,
      kind,
      name,
      ...(document && { document: placed(document, file.path) }),
    });
  }
  return claims;
}

/** The document in its file: the same object each time, so that what was made of it is known by it. */
function placed(document: ParsedDocument, file: string): SourceDocument {
  const known = sourceDocuments.get(document);
  if (known?.file === file) return known;
  const source = { ...document, file };
  sourceDocuments.set(document, source);
  return source;
}

const sourceDocuments = new WeakMap<ParsedDocument, SourceDocument>();

const FOLDER_MODE = '040000';

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
function* checkShared(
  index: Index,
  fleet: SourceDocument<'Fleet'> | undefined,
  report: Report,
): Stepwise<void> {
  for (const document of index.all('DistributionSet')) {
    rememberCheck(document, [fleet], report, (told) => checkDistributionSet(document, fleet, told));
    yield;
  }
  for (const document of index.all('Gate')) {
    rememberCheck(document, [], report, (told) => {
      normaliseGate(document.name, document.data.spec, { document, path: ['spec'] }, told);
    });
    yield;
  }
  for (const document of index.all('Group')) {
    const place = { document, path: ['spec', 'targetCondition'] };
    rememberCheck(document, [], report, (told) =>
      checkCondition({ text: document.data.spec.targetCondition, place }, told),
    );
    yield;
  }
  for (const document of index.all('StagePlan')) {
    const used = Object.values(document.data.spec.gates ?? {}).map((gate) =>
      typeof gate === 'string' || gate.use === undefined ? undefined : index.find('Gate', gate.use),
    );
    const groups = document.data.spec.stages.map((entry) => {
      const where = whereIn(entry);
      return typeof where === 'object' ? index.find('Group', where.group) : undefined;
    });
    rememberCheck(document, [...used, ...groups], report, (told) => {
      checkStagePlan(document, index, told);
      checkPlanPolicy(document, told);
    });
    yield;
  }
}

const rememberCheck = createMemory<void>();

type Entry = NonNullable<SourceDocument<'Operation'>['data']['spec']['operations']>[number];

/** The entries that can be obeyed. An approval or a promotion of no stage in particular would wait for ever and say nothing. */
function checkOperations(document: SourceDocument<'Operation'>, report: Report): readonly Entry[] {
  // Places are those of the file, which may have more entries than are right.
  const written = (document.yaml.value as typeof document.data).spec.operations ?? [];
  return (document.data.spec.operations ?? []).filter((entry) => {
    const message = stageProblem(entry);
    if (message === undefined) return true;
    const path = ['spec', 'operations', written.indexOf(entry), 'action'];
    report({ document, path }, 'operation', message);
    return false;
  });
}

function stageProblem({ action, stage, emergency }: Entry): string | undefined {
  if (emergency && action !== 'promote')
    return `only a promotion can be an emergency, found ${action}; leave emergency out`;
  if (emergency && stage !== undefined) {
    return `an emergency opens one stage of all devices, found the stage ${stage}; leave stage out`;
  }
  if (emergency || stage !== undefined || (action !== 'approve' && action !== 'promote')) return undefined;
  return `${action} is about one stage, found none; add stage: <the stage's name>`;
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
