/**
 * What `tidegate plan` has to say, as a value: it is read from a checkout here, printed as JSON as it stands, and made into text and
 * markdown by others. What the fleet is, is looked for in the order in which it is exact: what was asked for, the census of the record,
 * the devices that the documents declare.
 */
import type { Census } from '../core/model/census.ts';
import type { DesiredState } from '../core/model/desired.ts';
import type { Outcomes } from '../core/model/outcome.ts';
import { formatInstant } from '../core/model/time.ts';
import { PLACES } from '../documents/kinds.ts';
import type { Problem } from '../documents/problem.ts';
import { readDocument } from '../documents/read.ts';
import { changedSets } from '../reconcile/changed-sets.ts';
import { frozenStages } from '../reconcile/frozen-stages.ts';
import { mootOperations } from '../reconcile/moot-operations.ts';
import type { ListedDevice } from './device-list.ts';
import { ProposalError } from './errors.ts';
import { type FleetLint, LINT_RULES, lint } from './lints.ts';
import {
  type FleetSource,
  fleetOfCensus,
  fleetOfDevices,
  fleetOfDocuments,
  type KnownFleet,
} from './population.ts';
import { type Proposal, propose } from './proposal.ts';
import { type FleetRecord, readSurroundings, type Surroundings } from './surroundings.ts';
import {
  type Lint,
  type ReadFolder,
  type ValidationQuestion,
  type ValidationReport,
  validateFolder,
} from './validation.ts';

export interface PlanReport {
  /** Whether the documents are valid. */
  readonly valid: boolean;
  readonly base: { readonly name: string; readonly commit: string; readonly snapshot: string } | null;
  /** Where the fleet's numbers come from. */
  readonly fleet:
    | (Omit<FleetSource, 'at'> & { readonly from?: string; readonly at?: string; readonly devices: number })
    | null;
  /** The branch that the record was read from; null: there is none. */
  readonly record: string | null;
  /** Null where the documents have errors: then nothing else is known. */
  readonly proposal: Proposal | null;
  /** What is wrong or worth a look, in order of file, line and column. */
  readonly problems: ValidationReport['problems'];
  /** What the documents allow, each with their reason. */
  readonly allowed: ValidationReport['allowed'];
}

/** Who the fleet is, where somebody says so. */
export type AskedFleet =
  | { readonly kind: 'census'; readonly census: Census; readonly from: string }
  | { readonly kind: 'devices'; readonly devices: readonly ListedDevice[]; readonly from: string };

export interface Examined {
  readonly validation: ValidationReport;
  readonly plan: PlanReport;
  /** What the plan was worked out from, besides the folder. */
  readonly around: Surroundings;
}

export interface ExaminationQuestion extends Omit<ValidationQuestion, 'lints'> {
  /** The branch that is compared with where no base is named; absent: then nothing is. */
  readonly branch?: string;
  readonly fleet?: AskedFleet | undefined;
}

/** Or why the question cannot be answered, as a sentence with the next step. */
export async function examine(
  question: ExaminationQuestion,
): Promise<({ readonly ok: true } & Examined) | { readonly ok: false; readonly message: string }> {
  let around: Surroundings;
  try {
    around = await readSurroundings({ path: question.path, base: question.base, branch: question.branch });
  } catch (error) {
    if (error instanceof ProposalError) return { ok: false, message: error.message };
    throw error;
  }
  let known: Pick<PlanReport, 'fleet' | 'proposal'> = { fleet: null, proposal: null };
  const lintFleet: Lint = async (read) => {
    const { desired } = read.loaded;
    if (desired === undefined) return { looked: [], problems: [] };
    const planned = plan({ ...read, desired }, around, question);
    known = { fleet: planned.fleet, proposal: planned.proposal };
    return { looked: planned.fleet.devices > 0 ? LINT_RULES : [], problems: planned.problems };
  };
  const validated = await validateFolder({ ...question, lints: [lintFleet] });
  if (!validated.ok) return validated;
  const { base, record } = around;
  const { valid, problems, allowed } = validated.report;
  return {
    ok: true,
    validation: validated.report,
    around,
    plan: {
      valid,
      base: base === undefined ? null : { name: base.name, commit: base.commit, snapshot: base.snapshot },
      ...known,
      record: record.name ?? null,
      problems,
      allowed,
    },
  };
}

type SoundFolder = ReadFolder & { readonly desired: DesiredState };

function plan(
  read: SoundFolder,
  { base, record }: Surroundings,
  { fleet: asked, now }: ExaminationQuestion,
): {
  readonly fleet: NonNullable<PlanReport['fleet']>;
  readonly proposal: Proposal;
  readonly problems: readonly Problem[];
} {
  const { desired, loaded } = read;
  const { outcomes } = record;
  const states = [...(base?.desired === undefined ? [] : [base.desired]), desired];
  const fleet = fleetFor(asked, record, states);
  const { proposal, all, allotment } = propose({
    base: base?.desired,
    head: desired,
    outcomes,
    population: fleet.population,
    rates: fleet.rates,
    now,
  });
  // What the documents alone show is said already.
  const isKnown = ({ rule, file }: Problem) =>
    loaded.problems.some((problem) => problem.rule === rule && problem.file === file);
  const lints = lint({ head: desired, proposal: { ...proposal, rollouts: all }, allotment }).map((each) =>
    placed(each, read),
  );
  return {
    fleet: sourceOf(fleet, proposal.devices),
    proposal,
    problems: [...againstRecord(read, outcomes), ...lints.filter((each) => !isKnown(each))],
  };
}

/** What only the record can tell: sets that were changed after they were installed, edits that come too late. */
function againstRecord({ loaded, operations, desired }: SoundFolder, outcomes: Outcomes): readonly Problem[] {
  return [
    ...changedSets({ desired, distributionSetFiles: loaded.distributionSetFiles }, outcomes),
    ...frozenStages(loaded, outcomes),
    ...mootOperations(operations.entries, { rollouts: desired.rollouts, outcomes }),
  ];
}

function fleetFor(
  asked: AskedFleet | undefined,
  record: FleetRecord,
  states: readonly DesiredState[],
): KnownFleet {
  if (asked?.kind === 'census') return fleetOfCensus(asked.census, asked.from);
  if (asked?.kind === 'devices')
    return fleetOfDevices(asked.devices, { kind: 'devices', from: asked.from }, states);
  if (record.census !== undefined) return fleetOfCensus(record.census, record.name ?? 'outcomes');
  return fleetOfDocuments(states);
}

function sourceOf({ source }: KnownFleet, devices: number): NonNullable<PlanReport['fleet']> {
  if (source.kind !== 'census') return { ...source, devices };
  const { at, ...rest } = source;
  // Somebody's own census need not say when it was.
  return { ...rest, ...(at === 0 ? {} : { at: formatInstant(at) }), devices };
}

/** The place in the rollout's file, or the closest that is there: stages of a plan are written elsewhere. */
function placed({ rollout, path, rule, message }: FleetLint, { loaded, files }: ReadFolder): Problem {
  // A rollout that is gone has no file any more.
  const file = [...loaded.paths].find(([name]) => name === rollout)?.[1][0] ?? PLACES.Fleet;
  const source = files.find((each) => each.path === file);
  const document = source && readDocument(source).document;
  const { line, column } = document?.yaml.at(path) ?? { line: 1, column: 1 };
  return { file, line, column, rule, severity: 'warning', message };
}
