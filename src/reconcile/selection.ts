/**
 * What a stage would take in if it were put into a rollout now, and before which of the stages to come: answered by the counting that
 * opens stages, over a program in which the stages before it have opened. Nothing is decided here.
 */
import { isExcluded, isTakenAbove } from '../core/assign/assign.ts';
import { type Subject, subjectOf } from '../core/assign/subject.ts';
import type { Stage } from '../core/model/desired.ts';
import type { DeviceRecord } from '../core/model/device.ts';
import type { DeviceId, RolloutName, Score } from '../core/model/ids.ts';
import type { Program, ProgramCandidate } from '../core/model/program.ts';
import type { Instant } from '../core/model/time.ts';
import { type Resolved, type StageTaking, takingOf, willAdmit } from '../core/select/admission.ts';
import { compileCondition, compileSelection } from '../core/target/condition.ts';
import type { Reading } from '../store/store.ts';
import { type PopulationWant, type Within, whoEnters } from './count.ts';

export interface SelectionRequest {
  readonly rollout: RolloutName;
  /** The target condition. */
  readonly condition: string;
  /** The attempt, with the stages that have opened. */
  readonly candidate: ProgramCandidate;
  /** Declared stages that have not opened, in order, without one of the same name. */
  readonly coming: readonly Stage[];
  readonly takes: StageTaking;
  /** The devices that were asked for, where they were named: all of them must be fit, and match `within`. */
  readonly named?: { readonly ids: readonly DeviceId[]; readonly within?: string };
  /** Tags by whose values the devices are counted. */
  readonly tags: readonly string[];
  /** Whether the devices are listed. */
  readonly lists: boolean;
}

export interface Selection {
  /** Units that match the rollout and the stage's own condition, those already in included. */
  readonly matching: number;
  /** Units and devices that would enter. */
  readonly units: number;
  readonly devices: number;
  /** The name of the first stage to come that would take in more; absent: it comes last. */
  readonly before?: string;
  /** Devices that would enter by tag and value, the most frequent values first. */
  readonly tags: readonly TagCount[];
  /** In order. */
  readonly ids?: readonly DeviceId[];
  /** Named devices that cannot be taken; where there are any, nothing is selected. */
  readonly refused: readonly RefusedDevices[];
}

export interface TagCount {
  readonly tag: string;
  readonly value: string;
  readonly devices: number;
}

/** `elsewhere`: a rollout of higher precedence has them. */
export type Refusal = 'unknown' | 'retired' | 'notMatching' | 'elsewhere';

export interface RefusedDevices {
  readonly because: Refusal;
  readonly devices: number;
  /** The first of them, as they were named. */
  readonly ids: readonly DeviceId[];
}

/** So many devices of a kind are named. */
const REFUSED_SHOWN_MAX = 10;

export async function selectFrom(
  reading: Pick<Reading, 'pages'>,
  request: SelectionRequest,
  program: Program,
  now: Instant,
): Promise<Selection> {
  const given = { reading, request, now };
  const refused = await whoIsRefused(given, withCandidate(program, request, request.candidate));
  if (refused.length > 0) return { matching: 0, units: 0, devices: 0, tags: [], refused };
  let { candidate } = request;
  for (const next of [...request.coming, undefined]) {
    const opened = withCandidate(program, request, candidate);
    const outside: Outside[] = [];
    const found = await enters(given, opened, request.takes, ({ id, tags }, score) => {
      const values = request.tags.map((tag) => (Object.hasOwn(tags, tag) ? tags[tag] : undefined));
      outside.push({ id, score, values });
    });
    const before = next === undefined ? undefined : await comesBefore(given, opened, { next, found });
    if (next !== undefined && before?.isSmaller === true) {
      candidate = withStage(candidate, request, { ...next, admits: before.admits });
      continue;
    }
    const { units, devices, admits } = found.resolved;
    return {
      matching: found.units,
      units,
      devices,
      ...(next === undefined ? {} : { before: next.name }),
      ...describeEntering(request, outside, admits),
      refused,
    };
  }
  throw new Error('the last place is after all stages');
}

interface Given {
  readonly reading: Pick<Reading, 'pages'>;
  readonly request: SelectionRequest;
  readonly now: Instant;
}

function withCandidate(
  program: Program,
  { rollout, condition }: SelectionRequest,
  candidate: ProgramCandidate,
): Program {
  const rollouts = program.rollouts.map((each) =>
    each.name === rollout ? { ...each, condition, candidate } : each,
  );
  return { ...program, rollouts };
}

/** The candidate once the stage has opened, all of its ramp included. */
function withStage(
  candidate: ProgramCandidate,
  { condition }: SelectionRequest,
  { name, where, unit, admits }: Pick<Stage, 'name' | 'where' | 'unit'> & Pick<Resolved, 'admits'>,
): ProgramCandidate {
  // Of named devices the scores say it all, as in an outcome.
  const own = where === undefined || compileSelection(where).namesDevices ? {} : { where };
  const stage = { name, condition, ...own, unit, admits, rampStartedAt: 0, gates: [] };
  return { ...candidate, stages: [...candidate.stages, stage] };
}

function wantOf({ rollout, condition, candidate }: SelectionRequest, takes: StageTaking): PopulationWant {
  const { attempt, seed, excluding, exclude, stages } = candidate;
  return {
    kind: 'population',
    rollout,
    attempt,
    stage: stages.length,
    condition,
    ...(excluding === undefined ? {} : { excluding }),
    ...(exclude === undefined ? {} : { exclude }),
    seed,
    takes,
  };
}

function within({ request, now }: Given, program: Program): Within {
  const rollout = program.rollouts.find(({ name }) => name === request.rollout);
  return { program, rollout, now };
}

async function enters(
  given: Given,
  program: Program,
  takes: StageTaking,
  see?: (device: Subject, score: Score) => void,
) {
  const want = wantOf(given.request, takes);
  return await whoEnters(given.reading.pages(), { ...within(given, program), want }, see);
}

/** Whether a stage to come takes in no more than was asked for, so that its turn is first; and whom. */
async function comesBefore(
  given: Given,
  program: Program,
  { next, found }: { next: Stage; found: { readonly resolved: Resolved } },
): Promise<{ readonly isSmaller: boolean; readonly admits: Resolved['admits'] } | undefined> {
  // It takes everybody who is left: nobody needs to be counted to know.
  if (next.size.kind === 'all' && next.where === undefined) return undefined;
  const { resolved } = await enters(given, program, takingOf(next));
  return { isSmaller: resolved.devices <= found.resolved.devices, admits: resolved.admits };
}

/** A device that may be chosen, with its values of the tags that are counted. */
interface Outside {
  readonly id: DeviceId;
  readonly score: Score;
  readonly values: readonly (string | undefined)[];
}

function describeEntering(
  { tags, lists }: SelectionRequest,
  outside: readonly Outside[],
  admits: Resolved['admits'],
): Pick<Selection, 'tags' | 'ids'> {
  const chosen = outside.filter(({ score }) => willAdmit({ admits, rampStartedAt: 0 }, score));
  const counts = tags.flatMap((tag, at) => {
    const values = Map.groupBy(chosen, (each) => each.values[at]);
    return [...values]
      .flatMap(([value, of]): TagCount[] => (value === undefined ? [] : [{ tag, value, devices: of.length }]))
      .sort((a, b) => b.devices - a.devices || (a.value < b.value ? -1 : 1));
  });
  return { tags: counts, ...(lists ? { ids: chosen.map(({ id }) => id).sort() } : {}) };
}

/** Named devices that the rollout cannot take, by why. */
async function whoIsRefused(given: Given, program: Program): Promise<readonly RefusedDevices[]> {
  const { named } = given.request;
  if (named === undefined) return [];
  const missing = new Set(named.ids);
  const reasons = new Map<DeviceId, Refusal>();
  for await (const page of given.reading.pages()) {
    for (const device of page) {
      if (!missing.delete(device.id)) continue;
      const refusal = refusalOf(given, program, device);
      if (refusal !== undefined) reasons.set(device.id, refusal);
    }
  }
  for (const id of missing) reasons.set(id, 'unknown');
  const byReason = Map.groupBy(
    named.ids.filter((id) => reasons.has(id)),
    (id) => reasons.get(id) as Refusal,
  );
  return [...byReason].map(([because, ids]) => ({
    because,
    devices: ids.length,
    ids: ids.slice(0, REFUSED_SHOWN_MAX),
  }));
}

function refusalOf(
  { request, now }: Given,
  program: Program,
  device: DeviceRecord,
): Exclude<Refusal, 'unknown'> | undefined {
  const { condition, candidate, named, rollout } = request;
  const subject = subjectOf(program, device);
  if (subject.retired) return 'retired';
  const matches = [condition, named?.within].every(
    (each) => each === undefined || compileCondition(each).matches(subject),
  );
  const { excluding } = candidate;
  const isOut = excluding !== undefined && compileCondition(excluding).matches(subject);
  if (!matches || isOut || isExcluded(candidate, subject)) return 'notMatching';
  return isTakenAbove(program, rollout, subject, now) ? 'elsewhere' : undefined;
}
