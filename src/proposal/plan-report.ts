/**
 * What `tidegate plan` has to say, as a value: it is read from a checkout here, printed as JSON as it stands, and made into text and
 * markdown by others. What the fleet is, is looked for in the order in which it is exact: what was asked for, the census of the record,
 * the devices that the documents declare.
 */

import type { Census } from '../core/model/census.ts';
import type { DesiredState } from '../core/model/desired.ts';
import type { Outcomes } from '../core/model/outcome.ts';
import { formatInstant, type Instant } from '../core/model/time.ts';
import { PLACES } from '../documents/kinds.ts';
import { compareProblems, type Problem } from '../documents/problem.ts';
import { readDocument } from '../documents/read.ts';
import { changedSets } from '../reconcile/changed-sets.ts';
import { frozenStages } from '../reconcile/frozen-stages.ts';
import { mootOperations } from '../reconcile/moot-operations.ts';
import type { Checkout } from './checkout.ts';
import type { ListedDevice } from './device-list.ts';
import { type Lint, lint } from './lints.ts';
import {
  type FleetSource,
  fleetOfCensus,
  fleetOfDevices,
  fleetOfDocuments,
  type KnownFleet,
} from './population.ts';
import { type Proposal, propose } from './proposal.ts';

export interface PlanReport {
  /** Whether the documents are valid; with errors nothing else is known. */
  readonly valid: boolean;
  readonly base: { readonly name: string; readonly commit: string; readonly snapshot: string } | null;
  /** Where the fleet's numbers come from. */
  readonly fleet:
    | (Omit<FleetSource, 'at'> & { readonly from?: string; readonly at?: string; readonly devices: number })
    | null;
  /** The branch that the record was read from; null: there is none. */
  readonly record: string | null;
  readonly proposal: Proposal | null;
  /** Errors, and what is worth a look, in order of file, line and column. */
  readonly problems: readonly Problem[];
}

/** Who the fleet is, where somebody says so. */
export type AskedFleet =
  | { readonly kind: 'census'; readonly census: Census; readonly from: string }
  | { readonly kind: 'devices'; readonly devices: readonly ListedDevice[]; readonly from: string };

export interface PlanQuestion {
  readonly checkout: Checkout;
  readonly fleet?: AskedFleet | undefined;
  /** Problems that were found by others: what is signed, and what commits changed. */
  readonly problems?: readonly Problem[];
  readonly now: Instant;
}

export function planReport({ checkout, fleet: asked, problems: others = [], now }: PlanQuestion): PlanReport {
  const { base, record, head } = checkout;
  const { desired } = head;
  const { outcomes } = record;
  const known = [
    ...head.problems,
    ...checkout.operationProblems,
    ...others,
    ...(desired === undefined ? [] : againstRecord(checkout, desired, outcomes)),
  ];
  const common = {
    base: base === undefined ? null : { name: base.name, commit: base.commit, snapshot: base.snapshot },
    record: record.name ?? null,
  };
  const isValid = !known.some(({ severity }) => severity === 'error');
  if (desired === undefined)
    return { valid: false, ...common, fleet: null, proposal: null, problems: known.sort(compareProblems) };
  const states = [...(base?.desired === undefined ? [] : [base.desired]), desired];
  const fleet = fleetFor(asked, checkout, states);
  const { proposal, allotment } = propose({
    base: base?.desired,
    head: desired,
    outcomes,
    population: fleet.population,
    rates: fleet.rates,
    now,
  });
  const lints = lint({ head: desired, proposal, allotment }).map((each) => placed(each, checkout));
  return {
    valid: isValid,
    ...common,
    fleet: sourceOf(fleet, proposal.devices),
    proposal,
    problems: [...known, ...lints].sort(compareProblems),
  };
}

/** What only the record can tell: sets that were changed after they were installed, edits that come too late. */
function againstRecord(
  { head, operations }: Checkout,
  desired: DesiredState,
  outcomes: Outcomes,
): readonly Problem[] {
  return [
    ...changedSets({ desired, distributionSetFiles: head.distributionSetFiles }, outcomes),
    ...frozenStages(head, outcomes),
    ...mootOperations(operations.entries, { rollouts: desired.rollouts, outcomes }),
  ];
}

function fleetFor(
  asked: AskedFleet | undefined,
  { record }: Checkout,
  states: readonly DesiredState[],
): KnownFleet {
  if (asked?.kind === 'census') return fleetOfCensus(asked.census, asked.from);
  if (asked?.kind === 'devices')
    return fleetOfDevices(asked.devices, { kind: 'devices', from: asked.from }, states);
  if (record.census !== undefined) return fleetOfCensus(record.census, record.name ?? 'outcomes');
  return fleetOfDocuments(states);
}

function sourceOf({ source }: KnownFleet, devices: number): PlanReport['fleet'] {
  if (source.kind !== 'census') return { ...source, devices };
  return { ...source, at: formatInstant(source.at), devices };
}

/** The place in the rollout's file, or the closest that is there: stages of a plan are written elsewhere. */
function placed({ rollout, path, rule, message }: Lint, { head, files }: Checkout): Problem {
  // A rollout that is gone has no file any more.
  const file = [...head.paths].find(([name]) => name === rollout)?.[1][0] ?? PLACES.Fleet;
  const source = files.find((each) => each.path === file);
  const document = source && readDocument(source).document;
  const { line, column } = document?.yaml.at(path) ?? { line: 1, column: 1 };
  return { file, line, column, rule, severity: 'warning', message };
}
