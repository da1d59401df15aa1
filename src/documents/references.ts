/**
 * How documents find each other: which are there, under which names and in which folders, and what a rollout's
 * references lead to. What a reference leads to is not judged here.
 */
import { isKind, nameOf, type Place, type Report, type SourceDocument, whereIs } from './document.ts';
import { type Kind, PLACES } from './kinds.ts';
import { isPreset, PRESETS, presetDocument } from './presets.ts';
import { show } from './problem.ts';
import { closest } from './suggest.ts';
import type { GateEntry, Rollout, Selection, Stage, StageEntry, TargetCondition } from './types.generated.ts';

/** The documents of a snapshot by kind and name. Of several with one name, the first. */
export interface Index {
  all<K extends Kind>(kind: K): readonly SourceDocument<K>[];
  find<K extends Kind>(kind: K, name: string): SourceDocument<K> | undefined;
  /**
   * The document that a place names: the fleet's own, or else a preset. Where there is none, that is reported; where there is
   * one that is not valid, its own problems say enough.
   */
  follow<K extends Kind>(place: Place, kind: K, name: string): SourceDocument<K> | undefined;
}

/** A file that says what it is, whether or not the rest of it is valid. */
export interface Claim {
  readonly file: string;
  readonly kind: Kind;
  readonly name: string;
  readonly document?: SourceDocument;
}

/** A text and where it was written. */
export interface Written {
  readonly text: string;
  readonly place: Place;
}

interface WrittenGate {
  readonly name: string;
  readonly rule: GateEntry;
  readonly place: Place;
}

/** What a rollout's references lead to. What leads nowhere was reported and is absent. */
export interface ResolvedRollout {
  readonly document: SourceDocument<'Rollout'>;
  readonly distributionSet?: SourceDocument<'DistributionSet'>;
  readonly condition?: Written;
  /** Its own, then those that its stage plan brings along, but for the names that it has itself. */
  readonly gates: readonly WrittenGate[];
  readonly stages?:
    | {
        readonly list: readonly StageEntry[];
        readonly place: Place;
        /** The condition of each stage that has one of its own; undefined as well where its group was not found. */
        readonly wheres: readonly (Written | undefined)[];
        /** The names of the gates that the stage plan brings along; absent where it brings none. */
        readonly brought?: readonly string[];
      }
    | { readonly split: number };
  /** The files that define it: its own first, then what it refers to. */
  readonly files: readonly string[];
}

/** Reports documents in the wrong folder and names that are taken. */
export function indexDocuments(claims: readonly Claim[], report: Report): Index {
  const byKind = new Map<Kind, Map<string, Claim>>();
  for (const claim of claims) {
    const { document, kind, name } = claim;
    const names = byKind.get(kind) ?? new Map<string, Claim>();
    byKind.set(kind, names);
    const first = names.get(name);
    if (document !== undefined) {
      reportMisplaced(document, report);
      if (first !== undefined) reportTaken(document, first, report);
    }
    if (first === undefined) names.set(name, claim);
  }

  const find = <K extends Kind>(kind: K, name: string): SourceDocument<K> | undefined => {
    const document = byKind.get(kind)?.get(name)?.document;
    return document !== undefined && isKind(document, kind) ? document : undefined;
  };
  return {
    find,
    all(kind) {
      return [...(byKind.get(kind)?.keys() ?? [])].flatMap((name) => find(kind, name) ?? []);
    },
    follow(place, kind, name) {
      const names = byKind.get(kind);
      if (names?.has(name) === true) return find(kind, name);
      const preset = presetDocument(kind, name);
      if (preset === undefined) reportMissing(place, kind, name, [...(names?.keys() ?? [])], report);
      return preset;
    },
  };
}

export function resolveRollout(
  document: SourceDocument<'Rollout'>,
  index: Index,
  report: Report,
): ResolvedRollout {
  const { spec } = document.data;
  const files = new Set([document.file]);
  const follow = <K extends Kind>(
    path: Place['path'],
    kind: K,
    name: string,
  ): SourceDocument<K> | undefined => {
    const found = index.follow({ document, path }, kind, name);
    // A preset lies in no repository: no commit changes it, and none takes it back.
    if (found !== undefined && !isPreset(found)) files.add(found.file);
    return found;
  };

  const distributionSet = follow(['spec', 'distributionSet'], 'DistributionSet', spec.distributionSet);
  const place = { document, path: ['spec', 'targetCondition'] };
  const condition = resolveCondition(spec.targetCondition, place, follow);
  const own = resolveGates(document, { follow, report });
  const stages: Rollout['spec']['stages'] = spec.stages;
  const plan = typeof stages === 'string' ? follow(['spec', 'stages'], 'StagePlan', stages) : undefined;
  const brought = plan === undefined ? [] : gatesOfPlan(plan, index, files);
  const resolvedStages = resolveStages(document, plan, { follow, quietly: quietly(index, files) });
  return {
    document,
    ...(distributionSet === undefined ? {} : { distributionSet }),
    ...(condition === undefined ? {} : { condition }),
    gates: [...own, ...brought.filter(({ name }) => spec.gates?.[name] === undefined)],
    ...(resolvedStages === undefined ? {} : { stages: resolvedStages }),
    files: [...files],
  };
}

type Follow = <K extends Kind>(path: Place['path'], kind: K, name: string) => SourceDocument<K> | undefined;

/** The condition written at `place`, or the one of the group that is named there. */
export function resolveCondition(
  written: TargetCondition | Selection,
  place: Place,
  follow: Follow,
): Written | undefined {
  if (typeof written === 'string') return { text: written, place };
  const group = follow([...place.path, 'group'], 'Group', written.group);
  const path = ['spec', 'targetCondition'];
  return group && { text: group.data.spec.targetCondition, place: { document: group, path } };
}

/** The gates that a stage plan brings along. What is wrong with them is said where the plan itself is looked at, once. */
function gatesOfPlan(
  plan: SourceDocument<'StagePlan'>,
  index: Index,
  files: Set<string>,
): readonly WrittenGate[] {
  return resolveGates(plan, { follow: quietly(index, files), report: () => undefined });
}

/** Follows without a word. */
function quietly(index: Index, files: Set<string>): Follow {
  return (_path, kind, name) => {
    const found = index.find(kind, name) ?? presetDocument(kind, name);
    if (found !== undefined && !isPreset(found)) files.add(found.file);
    return found;
  };
}

/** The gates of a rollout or a stage plan, with those that they only name. */
export function resolveGates(
  document: SourceDocument<'Rollout'> | SourceDocument<'StagePlan'>,
  { follow, report }: { readonly follow: Follow; readonly report: Report },
): readonly WrittenGate[] {
  return Object.entries(document.data.spec.gates ?? {}).flatMap(([name, gate]): WrittenGate[] => {
    const path = ['spec', 'gates', name];
    if (typeof gate === 'string' || gate.use === undefined)
      return [{ name, rule: gate, place: { document, path } }];
    const [more] = Object.keys(gate).filter((key) => key !== 'use');
    if (more !== undefined) {
      const message = `a gate that uses a document has nothing of its own, found ${more}; change the document, or write the whole gate here`;
      report({ document, path: [...path, more], key: true }, 'gate', message);
    }
    const used = follow([...path, 'use'], 'Gate', gate.use);
    if (used === undefined) return [];
    return [{ name, rule: used.data.spec, place: { document: used, path: ['spec'] } }];
  });
}

function resolveStages(
  document: SourceDocument<'Rollout'>,
  plan: SourceDocument<'StagePlan'> | undefined,
  { follow, quietly }: { readonly follow: Follow; readonly quietly: Follow },
): ResolvedRollout['stages'] {
  const stages: Rollout['spec']['stages'] = document.data.spec.stages;
  const path = ['spec', 'stages'];
  if (Array.isArray(stages)) {
    const place = { document, path };
    return { list: stages, place, wheres: resolveWheres(stages, place, follow) };
  }
  if (typeof stages === 'object') return stages;
  if (plan === undefined) return undefined;
  const { gates, stages: list } = plan.data.spec;
  const place = { document: plan, path };
  return {
    list,
    place,
    // What is wrong with them is said where the plan is looked at.
    wheres: resolveWheres(list, place, quietly),
    ...(gates === undefined ? {} : { brought: Object.keys(gates) }),
  };
}

/** The conditions that stages have of their own, one for each stage. */
export function resolveWheres(
  list: readonly StageEntry[],
  place: Place,
  follow: Follow,
): readonly (Written | undefined)[] {
  return list.map((entry, at) => {
    const where = whereIn(entry);
    if (where === undefined) return undefined;
    return resolveCondition(where, { ...place, path: [...place.path, at, 'where'] }, follow);
  });
}

/** What the stage says itself; undefined where it says nothing. */
export function whereIn(entry: StageEntry): Selection | undefined {
  return 'name' in entry ? (entry as Stage).where : undefined;
}

function reportMisplaced(document: SourceDocument, report: Report): void {
  const { file, kind } = document;
  const place = PLACES[kind];
  const isThere = place.endsWith('/') ? file.startsWith(place) : file.replace(/\.yml$/, '.yaml') === place;
  if (isThere) return;
  const message = `a ${kind} belongs in ${place}, found it in ${file}; move it there`;
  report({ document, path: ['kind'] }, 'folder', message);
}

function reportTaken(document: SourceDocument, first: Claim, report: Report): void {
  const there = first.document === undefined ? first.file : whereIs({ document: first.document, path: NAME });
  const message = `the ${document.kind} ${show(document.name)} is in ${there} already; rename or delete one of the two`;
  report({ document, path: NAME }, 'duplicate-name', message);
}

const NAME = ['metadata', 'name'];

function reportMissing(
  place: Place,
  kind: Kind,
  name: string,
  names: readonly string[],
  report: Report,
): void {
  const presets = PRESETS.filter((preset) => preset.kind === kind);
  const meant = closest(name, [...names, ...presets.map((preset) => preset.name)]);
  const next =
    meant !== undefined
      ? `did you mean ${show(meant)}?`
      : `add it to ${PLACES[kind]}${names.length > 0 ? ` or use one of ${list(names)}` : ''}${presets.length > 0 ? '; tidegate preset list shows those that need no file' : ''}`;
  report(
    place,
    'reference',
    `${nameOf(place.path)} names the ${kind} ${show(name)}, which does not exist; ${next}`,
  );
}

function list(names: readonly string[]): string {
  const shown = [...names].sort().slice(0, 5).join(', ');
  return names.length > 5 ? `${shown}, …` : shown;
}
