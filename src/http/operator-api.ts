/**
 * The operators' API: what is in force, how far each rollout is, and why a device has what it has. It reads what the
 * reconciler saw last and the store, and changes nothing: the only way to change the fleet is a commit. No answer
 * holds a device's key, or the seed by which a device could steer its way into a canary.
 */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { Hono } from 'hono';
import type { Clock } from '../clock.ts';
import { explain } from '../core/assign/explain.ts';
import { isRevertible } from '../core/assign/revertible.ts';
import { type DeviceStatus, type Standing, standingOf } from '../core/assign/standing.ts';
import { type Subject, subjectOf } from '../core/assign/subject.ts';
import { NO_EXPOSURE } from '../core/gates/exposure.ts';
import type { DeviceRecord, ReportedState } from '../core/model/device.ts';
import { DEVICE_ID_PATTERN, type DeviceId, type Revision, type RolloutName } from '../core/model/ids.ts';
import {
  type Attempt,
  knownGoodOf,
  type RolloutState,
  type StageCounts,
  type StageOutcome,
} from '../core/model/outcome.ts';
import type { Program } from '../core/model/program.ts';
import { formatInstant, type Instant } from '../core/model/time.ts';
import { attemptKey } from '../core/plan/contract.ts';
import { outlooksOf } from '../core/plan/gates.ts';
import {
  DEVICE_STATUSES,
  fleetCounts,
  ROLLOUT_STATES,
  type RolloutStatus,
  rolloutStatuses,
} from '../core/status.ts';
import type { ReconcilerState } from '../reconcile/reconciler.ts';
import type { Store } from '../store/store.ts';
import { expiriesOf, expiring } from '../trust/tuf/expiry.ts';
import type { RepositoryState } from '../trust/tuf/repository.ts';
import { problem } from './problem.ts';

export interface OperatorApiOptions {
  readonly state: () => ReconcilerState;
  readonly store: Pick<Store, 'device' | 'devices'>;
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * How far one request looks for devices that a filter lets through: {@link SCAN_PAGES_MAX} pages of
 * {@link SCAN_PAGE}, with a turn for other requests after each. What lies beyond is the next request's.
 */
const SCAN_PAGE = 500;
const SCAN_PAGES_MAX = 20;
export const SCANNED_MAX = SCAN_PAGE * SCAN_PAGES_MAX;
export const DEVICES_LIMIT = { max: 1000, default: 100 } as const;

export function operatorApi(options: OperatorApiOptions): Hono {
  const app = new Hono();
  app.get('/api/status', () => fleetStatus(options.state(), options.clock.now()));
  app.get('/api/rollouts', (c) => listRollouts(options.state(), c.req.raw));
  app.get('/api/rollouts/:name', (c) => showRollout(options.state(), c.req.param('name')));
  app.get('/api/devices', (c) => listDevices(options, c.req.raw));
  app.get('/api/devices/:id', (c) => showDevice(options, c.req.param('id')));
  app.get('/api/snapshots', () => listSnapshots(options.state()));
  return app;
}

// GET /api/status

function fleetStatus(state: ReconcilerState, now: Instant): Response {
  const { wanted, tip, published, held, error, passedAt, tally } = state;
  const desired = wanted?.desired;
  return respond(
    {
      fleet: desired?.fleet.name ?? null,
      snapshot: desired?.snapshot ?? null,
      commit: desired?.commit ?? null,
      head: wanted?.head ?? null,
      headInForce: desired !== undefined && desired.commit === wanted?.head,
      problems: wanted?.problems ?? [],
      outcomesTip: tip ?? null,
      programVersion: published?.version ?? null,
      held,
      error,
      trust: state.tuf === undefined ? null : trustStatus(state.tuf, now),
      passedAt: passedAt ?? null,
      devices: fleetCounts(tally, state.outcomes),
      rollouts: statusesOf(state),
    },
    instantsAsText,
  );
}

function trustStatus(tuf: RepositoryState, now: Instant) {
  const [next] = expiriesOf(tuf);
  return {
    development: tuf.development,
    metadataVersion: tuf.version,
    rootVersion: tuf.root.version,
    nextExpiry: next ?? null,
    expiring: expiring(tuf, now),
  };
}

// GET /api/rollouts

function listRollouts(state: ReconcilerState, request: Request): Response {
  const query = readQuery(request, {
    label: {
      expected: 'key=value, several times if you like',
      repeats: true,
      accepts: (text) => text.includes('='),
    },
    state: oneOf(ROLLOUT_STATES),
  });
  if (query instanceof Response) return query;
  const [wantedState] = query.state;
  const labels = query.label.map(splitLabel);
  const rollouts = statusesOf(state).filter(
    (rollout) =>
      (wantedState === undefined || rollout.state === wantedState) &&
      labels.every(([key, value]) => Object.hasOwn(rollout.labels, key) && rollout.labels[key] === value),
  );
  return respond({ rollouts }, instantsAsText);
}

/** At the first `=`: a value may hold further ones. */
function splitLabel(text: string): readonly [key: string, value: string] {
  const at = text.indexOf('=');
  return [text.slice(0, at), text.slice(at + 1)];
}

// GET /api/rollouts/:name

function showRollout(state: ReconcilerState, name: string): Response {
  const rollout = statusesOf(state).find((each) => each.name === name);
  if (rollout === undefined) {
    const detail = `the snapshot in force has no rollout "${name}"`;
    return problem('not-found', { detail, next: 'GET /api/rollouts lists those that it has' });
  }
  const recorded = state.outcomes.get(rollout.name) ?? [];
  const attempts = recorded.map(({ seed: _seed, ...rest }) => ({
    ...rest,
    stages: rest.stages.map(inShort),
  }));
  return respond({ ...rollout, gates: withOutlooks(state, rollout, recorded), attempts }, instantsAsText);
}

/** A list that no person reads is what the outcome is for. */
const SCORES_SHOWN_MAX = 1000;

function inShort(stage: StageOutcome) {
  const { admits } = stage;
  if (admits.kind !== 'list' || admits.scores.length <= SCORES_SHOWN_MAX) return stage;
  const scores = admits.scores.slice(0, SCORES_SHOWN_MAX);
  return { ...stage, admits: { ...admits, scores, omitted: admits.scores.length - scores.length } };
}

/** How far each gate is from a decision: worked out where somebody asks, for it looks ahead hour by hour. */
function withOutlooks(state: ReconcilerState, { gates }: RolloutStatus, attempts: readonly Attempt[]) {
  const latest = attempts.at(-1);
  const { exposures, epoch } = state.seen ?? {};
  if (latest === undefined || epoch === undefined || gates.length === 0) return gates;
  const exposure = exposures?.get(attemptKey(latest)) ?? NO_EXPOSURE;
  const outlooks = outlooksOf(latest, { knownGood: knownGoodOf(attempts), exposure, epoch });
  return gates.map((gate) => ({ ...gate, ...outlooks.get(gate.name) }));
}

function statusesOf({ wanted, outcomes, tally, report, gates }: ReconcilerState): readonly RolloutStatus[] {
  const desired = wanted?.desired;
  return desired === undefined ? [] : rolloutStatuses({ desired, outcomes, tally, report, gates });
}

// GET /api/devices

interface DeviceSummary {
  readonly id: DeviceId;
  readonly status: DeviceStatus;
  readonly revertible: boolean;
  readonly reportedAt?: string;
  readonly running?: Revision;
  readonly assignment: AssignmentSummary | null;
  /** Where it stands in the open stage that contains it: of the rollout asked for, else of the one that assigns. */
  readonly progress?: {
    readonly rollout: RolloutName;
    readonly stage: string;
    readonly state: keyof StageCounts;
    readonly category?: string;
  };
}

interface AssignmentSummary {
  readonly rollout: RolloutName;
  readonly attempt: number;
  readonly revision: Revision;
  readonly distributionSet: string;
}

async function listDevices(api: OperatorApiOptions, request: Request): Promise<Response> {
  const { published, wanted } = api.state();
  const query = readQuery(request, {
    after: { expected: 'a device id', accepts: (text) => DEVICE_ID_PATTERN.test(text) },
    limit: { expected: `a whole number from 1 to ${DEVICES_LIMIT.max}`, accepts: isLimit },
    status: oneOf(DEVICE_STATUSES),
    revertible: oneOf(['true', 'false']),
    straggling: oneOf(['true', 'false']),
    rollout: {
      expected: 'the name of a rollout in force',
      accepts: (text) => wanted?.desired?.rollouts.has(text as RolloutName) === true,
    },
  });
  if (query instanceof Response) return query;
  if (published === undefined) return noProgram();
  const [status] = query.status;
  const [revertible] = query.revertible;
  const [straggling] = query.straggling;
  const rollout = query.rollout[0] as RolloutName | undefined;
  const { program } = published;
  const found = await findDevices(api, {
    program,
    after: query.after[0] as DeviceId | undefined,
    limit: Number(query.limit[0] ?? DEVICES_LIMIT.default),
    rollout,
    ...([status, rollout, revertible, straggling].every((each) => each === undefined)
      ? {}
      : {
          filter: (standing, { tags }) =>
            (status === undefined || standing.status === status) &&
            (revertible === undefined || String(isRevertible(tags)) === revertible) &&
            (straggling === undefined || String(isStraggling(standing)) === straggling) &&
            (rollout === undefined || standing.rollouts.some((each) => each.rollout === rollout)),
        }),
  });
  return respond(found);
}

/** It is assigned something, or will be, and does not run it. */
function isStraggling({ assignment, runs, status }: Standing): boolean {
  if (assignment.kind === 'nothing') return status === 'pending';
  return runs !== assignment.revision.revision;
}

function isLimit(text: string): boolean {
  return /^[1-9][0-9]{0,3}$/.test(text) && Number(text) <= DEVICES_LIMIT.max;
}

/** Up to `limit` devices after `after`. `next`, where there may be more, is the last one that was looked at. */
async function findDevices(
  { store, clock }: OperatorApiOptions,
  search: {
    readonly program: Program;
    readonly after: DeviceId | undefined;
    readonly limit: number;
    readonly rollout: RolloutName | undefined;
    readonly filter?: (standing: Standing, subject: Subject) => boolean;
  },
): Promise<{ readonly devices: readonly DeviceSummary[]; readonly next?: DeviceId }> {
  const { program, limit, filter, rollout } = search;
  const now = clock.now();
  const size = filter === undefined ? limit : SCAN_PAGE;
  const devices: DeviceSummary[] = [];
  let last = search.after;
  for (let page = 0; page < SCAN_PAGES_MAX; page++) {
    const records = await store.devices({ ...(last === undefined ? {} : { after: last }), limit: size });
    for (const record of records) {
      const standing = standingOf(program, record, now);
      last = record.id;
      if (filter?.(standing, subjectOf(program, record)) === false) continue;
      devices.push(summaryOf(program, record, { standing, rollout }));
      if (devices.length === limit) return { devices, next: last };
    }
    if (records.length < size) return { devices };
    await nextTurn();
  }
  return last === undefined ? { devices } : { devices, next: last };
}

function summaryOf(
  program: Program,
  record: DeviceRecord,
  at: { readonly standing: Standing; readonly rollout: RolloutName | undefined },
): DeviceSummary {
  const { report } = record;
  const assignment = assignmentOf(at.standing);
  const shown = at.rollout ?? assignment?.rollout;
  const inRollout = at.standing.rollouts.find((each) => each.rollout === shown);
  const candidate = program.rollouts.find((each) => each.name === shown)?.candidate;
  const stage = inRollout?.stage === undefined ? undefined : candidate?.stages[inRollout.stage.index];
  return {
    id: record.id,
    status: at.standing.status,
    revertible: isRevertible(subjectOf(program, record).tags),
    ...(report === undefined ? {} : { reportedAt: formatInstant(report.receivedAt) }),
    ...(report?.running === undefined ? {} : { running: report.running }),
    assignment,
    ...(inRollout?.stage === undefined || stage === undefined
      ? {}
      : {
          progress: {
            rollout: inRollout.rollout,
            stage: stage.name,
            state: inRollout.stage.progress.state,
            ...(inRollout.stage.progress.category === undefined
              ? {}
              : { category: inRollout.stage.progress.category }),
          },
        }),
  };
}

function assignmentOf({ assignment }: Standing): AssignmentSummary | null {
  if (assignment.kind === 'nothing') return null;
  const { attempt, revision, manifest } = assignment.revision;
  return { rollout: assignment.rollout, attempt, revision, distributionSet: manifest.distributionSet };
}

// GET /api/devices/:id

async function showDevice({ state, store, clock }: OperatorApiOptions, id: string): Promise<Response> {
  const { published, report } = state();
  if (published === undefined) return noProgram();
  const record = DEVICE_ID_PATTERN.test(id) ? await store.device(id as DeviceId) : undefined;
  if (record === undefined) {
    const next = 'check the id: GET /api/devices lists those that have enrolled';
    return problem('not-found', { detail: `no device "${id}" has enrolled`, next });
  }
  const { program } = published;
  const standing = standingOf(program, record, clock.now());
  const override = Object.hasOwn(program.devices, record.id) ? program.devices[record.id] : undefined;
  const { tags } = subjectOf(program, record);
  return respond({
    id: record.id,
    tags,
    enrolledAt: formatInstant(record.enrolledAt),
    status: standing.status,
    revertible: isRevertible(tags),
    ...(record.report === undefined ? {} : { report: reportOf(record.report) }),
    assignment: assignmentOf(standing),
    explanation: explain(program, standing, report, override),
  });
}

/** Without the windows by which reports count once. */
function reportOf({ boots, receivedAt, ...said }: ReportedState) {
  return { receivedAt: formatInstant(receivedAt), ...said, bootId: boots[0]?.bootId };
}

function noProgram(): Response {
  return problem('no-program', {
    detail: 'the fleet repository has not been read yet',
    next: 'try again later; GET /api/status says what is wrong with it',
    headers: { 'Retry-After': '10' },
  });
}

// GET /api/snapshots

interface SnapshotSummary {
  readonly snapshot: Attempt['snapshot'];
  readonly commit: Attempt['commit'];
  /** When the first attempt that came from it was made. */
  readonly createdAt: Instant;
  readonly inForce: boolean;
  readonly rollouts: readonly {
    readonly rollout: RolloutName;
    readonly attempt: number;
    readonly state: RolloutState;
    readonly revision: Revision;
    readonly distributionSet: string;
    /** This is what the rollout's devices go back to. */
    readonly knownGood: boolean;
  }[];
}

/** The snapshots that outcomes name, newest first. */
function listSnapshots({ outcomes, wanted }: ReconcilerState): Response {
  const bySnapshot = Map.groupBy([...outcomes.values()].flat(), (attempt) => attempt.snapshot);
  const snapshots = [...bySnapshot].map(([snapshot, unordered]): SnapshotSummary => {
    const attempts = unordered.sort((a, b) => a.createdAt - b.createdAt || (a.rollout < b.rollout ? -1 : 1));
    const [first] = attempts as [Attempt, ...Attempt[]];
    return {
      snapshot,
      commit: first.commit,
      createdAt: first.createdAt,
      inForce: snapshot === wanted?.desired?.snapshot,
      rollouts: attempts.map((attempt) => ({
        rollout: attempt.rollout,
        attempt: attempt.attempt,
        state: attempt.state,
        revision: attempt.revision,
        distributionSet: attempt.manifest.distributionSet,
        knownGood: attempt === knownGoodOf(outcomes.get(attempt.rollout) ?? []),
      })),
    };
  });
  snapshots.sort((a, b) => b.createdAt - a.createdAt || (a.snapshot < b.snapshot ? -1 : 1));
  return respond({ snapshots }, instantsAsText);
}

// Queries

interface Parameter {
  /** Completes the sentence "expected …". */
  readonly expected: string;
  readonly accepts: (text: string) => boolean;
  readonly repeats?: boolean;
}

function oneOf(values: readonly string[]): Parameter {
  return { expected: `one of ${values.join(', ')}`, accepts: (text) => values.includes(text) };
}

/** The values of each parameter, or the problem with the first one that is unknown, repeated or of no use. */
function readQuery<Name extends string>(
  request: Request,
  parameters: Readonly<Record<Name, Parameter>>,
): Readonly<Record<Name, readonly string[]>> | Response {
  const names = Object.keys(parameters) as Name[];
  const values = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, string[]>;
  for (const [key, text] of new URL(request.url).searchParams) {
    const name = names.find((each) => each === key);
    if (name === undefined) return invalidQuery(key, `no parameters but ${names.join(', ')}`, 'another one');
    const { expected, accepts, repeats } = parameters[name];
    if (values[name].length > 0 && repeats !== true) return invalidQuery(key, expected, 'it twice');
    if (!accepts(text)) return invalidQuery(key, expected, JSON.stringify(excerpt(text)));
    values[name].push(text);
  }
  return values;
}

function invalidQuery(name: string, expected: string, found: string): Response {
  const detail = `?${excerpt(name)}: expected ${expected}, found ${found}`;
  return problem('invalid-query', { detail, next: 'correct this parameter or leave it out' });
}

function excerpt(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 80)}…`;
}

// Answers

function respond(body: unknown, replacer?: (key: string, value: unknown) => unknown): Response {
  const headers = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' };
  return new Response(JSON.stringify(body, replacer), { headers });
}

/** The members of the model that hold instants, by their names. Not for what a device says: it names its signals itself. */
const INSTANT = /(?:^(at|until|\w+At)$)|By$/;
/** The furthest that the calendar reaches, ECMA-262 §21.4.1.1. What lies beyond never comes, and is left out. */
const INSTANT_MAX = 8.64e15;

function instantsAsText(key: string, value: unknown): unknown {
  if (typeof value !== 'number' || !INSTANT.test(key)) return value;
  return Math.abs(value) <= INSTANT_MAX ? formatInstant(value) : undefined;
}
