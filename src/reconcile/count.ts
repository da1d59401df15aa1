/**
 * Counting, wherever it runs: the sum of all devices' standings, and the answers that need the whole fleet. What
 * comes out is small, however large the fleet is.
 */
import { isExcluded, isTakenAbove, stageOf, unitIdOf } from '../core/assign/assign.ts';
import { standingOf } from '../core/assign/standing.ts';
import { type Subject, subjectOf } from '../core/assign/subject.ts';
import { count, emptyTally, type Tally } from '../core/assign/tally.ts';
import { createCensusTaking } from '../core/estimate/census.ts';
import type { BaselineRate, Census } from '../core/model/census.ts';
import type { DeviceRecord } from '../core/model/device.ts';
import type { Score } from '../core/model/ids.ts';
import type { Cluster, StageCounts } from '../core/model/outcome.ts';
import type { Program, ProgramRollout } from '../core/model/program.ts';
import type { Instant } from '../core/model/time.ts';
import type { Answer, Want } from '../core/plan/contract.ts';
import { resolveStage, type Unit } from '../core/select/admission.ts';
import { scoreOf } from '../core/select/score.ts';
import { type Condition, compileCondition, compileSelection } from '../core/target/condition.ts';
import type { Reading } from '../store/store.ts';
import type { SelectionRequest } from './selection.ts';

/** What is asked of the whole fleet. */
export type CountRequest =
  | { readonly kind: 'count'; readonly program: Program; readonly now: Instant }
  | {
      readonly kind: 'select';
      readonly request: SelectionRequest;
      readonly program: Program;
      readonly now: Instant;
    }
  | { readonly kind: 'answer'; readonly want: Want; readonly program: Program; readonly now: Instant }
  | CensusRequest;

export interface CensusRequest {
  readonly kind: 'census';
  readonly program: Program;
  readonly now: Instant;
  readonly rates: Readonly<Record<string, BaselineRate>>;
}

/** Silent devices that a pause names. */
const UNDECIDED_MAX = 100;

type Pages = ReturnType<Reading['pages']>;

/** Every device's standing under `program`, summed. */
export async function countFleet(pages: Pages, program: Program, now: Instant): Promise<Tally> {
  const tally = emptyTally();
  for await (const page of pages) {
    for (const device of page) count(tally, standingOf(program, device, now), 1);
  }
  return tally;
}

export async function answerFrom(pages: Pages, want: Want, program: Program, now: Instant): Promise<Answer> {
  const rollout = program.rollouts.find(({ name }) => name === want.rollout);
  switch (want.kind) {
    case 'undecided':
      return undecidedIn(pages, { program, rollout, now });
    case 'clusters':
      return clustersIn(pages, { program, rollout, now, event: want.event });
    case 'population':
      return whoEnters(pages, { want, program, rollout, now });
  }
}

/** How many devices have which tags, as operators see them. */
export async function takeCensus(pages: Pages, { program, now, rates }: CensusRequest): Promise<Census> {
  const taking = createCensusTaking();
  for await (const page of pages) {
    for (const device of page) {
      const { retired, tags } = subjectOf(program, device);
      if (!retired) taking.add(tags);
    }
  }
  return taking.taken({ at: now, rates });
}

export interface Within {
  readonly program: Program;
  readonly rollout: ProgramRollout | undefined;
  readonly now: Instant;
}

async function undecidedIn(pages: Pages, within: Within): Promise<Answer> {
  const scores: Score[] = [];
  for await (const page of pages) {
    for (const device of page) {
      const score = undecidedScore(within, device);
      if (score !== undefined) scores.push(score);
      if (scores.length === UNDECIDED_MAX) return { kind: 'undecided', scores: scores.sort() };
    }
  }
  return { kind: 'undecided', scores: scores.sort() };
}

function undecidedScore({ program, rollout, now }: Within, device: DeviceRecord): Score | undefined {
  const standing = standingOf(program, device, now).rollouts.find((each) => each.rollout === rollout?.name);
  const state = standing?.stage?.progress.state;
  if (state === undefined || standing?.shadowedBy !== undefined) return undefined;
  if (state === 'succeeded' || state === 'failed') return undefined;
  return scoreOf(rollout?.candidate?.seed ?? '', device.id);
}

/** A tag with more values than this names devices rather than kinds of them. */
const VALUES_MAX = 200;
const CLUSTERS_MAX = 10;

/** Which values of tags the affected devices share: those that failed, or that the event was counted of. */
async function clustersIn(pages: Pages, within: Within & { event: string | undefined }): Promise<Answer> {
  const tags = new Map<string, Map<string, { failed: number; devices: number }>>();
  const all = { failed: 0, devices: 0 };
  for await (const page of pages) {
    for (const device of page) {
      const subject = subjectOf(within.program, device);
      const standing = standingOf(within.program, device, within.now).rollouts.find(
        (each) => each.rollout === within.rollout?.name,
      );
      if (standing?.stage === undefined || standing.shadowedBy !== undefined) continue;
      const failed = isAffected(within, device, standing.stage.progress.state) ? 1 : 0;
      all.devices += 1;
      all.failed += failed;
      for (const [tag, value] of Object.entries(subject.tags)) {
        const values = tags.get(tag) ?? new Map<string, { failed: number; devices: number }>();
        tags.set(tag, values);
        if (values.size > VALUES_MAX) continue;
        const seen = values.get(value) ?? { failed: 0, devices: 0 };
        values.set(value, { failed: seen.failed + failed, devices: seen.devices + 1 });
      }
    }
  }
  const clusters = [...tags].flatMap(([tag, values]) =>
    values.size > VALUES_MAX || values.size < 2
      ? []
      : [...values].map(([value, seen]) => ({ tag, value, ...seen })),
  );
  // How many more are affected than there would be if the value made no difference.
  const excess = ({ failed, devices }: Cluster) => failed - (devices * all.failed) / Math.max(1, all.devices);
  const telling = clusters.filter((cluster) => cluster.failed >= 2 && excess(cluster) > 0);
  const order = (a: Cluster, b: Cluster) =>
    excess(b) - excess(a) || (`${a.tag}\0${a.value}` < `${b.tag}\0${b.value}` ? -1 : 1);
  return { kind: 'clusters', clusters: telling.sort(order).slice(0, CLUSTERS_MAX) };
}

function isAffected(
  { rollout, event }: Within & { event: string | undefined },
  { report }: DeviceRecord,
  state: keyof StageCounts,
): boolean {
  if (state === 'failed') return true;
  if (event === undefined || rollout?.candidate === undefined) return false;
  const arm = `${rollout.name}/${rollout.candidate.attempt} `;
  return Object.entries(report?.observed?.incidents ?? {}).some(
    ([key, incidents]) =>
      incidents > 0 && key.startsWith(arm) && key.endsWith(` ${event}`) && !key.startsWith(`${arm}control`),
  );
}

export type PopulationWant = Extract<Want, { kind: 'population' }>;

/** `see` is told of each device that is not in yet, with the score of its unit. */
export async function whoEnters(
  pages: Pages,
  asked: Within & { want: PopulationWant },
  see: (device: Subject, score: Score) => void = () => undefined,
): Promise<Extract<Answer, { kind: 'population' }>> {
  const { takes } = asked.want;
  // Looked up once: a condition that lists a hundred thousand devices is a long text to look anything up by.
  const where = takes.where === undefined ? undefined : compileSelection(takes.where);
  const within = { ...asked, where };
  const units: CountedUnit[] = [];
  /** Units that several devices share. A device on its own needs no entry, of which a large fleet would have as many. */
  const shared = new Map<string, CountedUnit>();
  for await (const page of pages) {
    for (const device of page) {
      const member = memberOf(within, device);
      if (member === undefined) continue;
      const known = shared.get(member.id);
      const unit = known ?? {
        score: scoreOf(within.want.seed, member.id),
        devices: 0,
        stratum: member.stratum,
      };
      if (!member.isIn) {
        unit.devices += 1;
        see(member.subject, unit.score);
      }
      if (known !== undefined) continue;
      units.push(unit);
      if (takes.unit !== 'device') shared.set(member.id, unit);
    }
  }
  units.sort((a, b) => (a.score < b.score ? -1 : 1));
  return { kind: 'population', units: units.length, resolved: resolveStage(takes, units) };
}

type CountedUnit = { -readonly [Key in keyof Unit]: Unit[Key] };

/** The unit that the device belongs to, if the rollout could give it the revision at all; and whether it is in already. */
function memberOf(
  { want, where, program, rollout, now }: Within & { want: PopulationWant; where: Condition | undefined },
  device: DeviceRecord,
): { id: string; subject: Subject; stratum: string; isIn: boolean } | undefined {
  const subject = subjectOf(program, device);
  if (subject.retired || !compileCondition(want.condition).matches(subject)) return undefined;
  if (where?.matches(subject) === false) return undefined;
  if (want.excluding !== undefined && compileCondition(want.excluding).matches(subject)) return undefined;
  if (isExcluded(want, subject)) return undefined;
  const { unit, stratifyBy } = want.takes;
  const id = unitIdOf(unit, subject);
  if (id === undefined || isTakenAbove(program, want.rollout, subject, now)) return undefined;
  const candidate = rollout?.candidate?.attempt === want.attempt ? rollout.candidate : undefined;
  const isIn = candidate !== undefined && stageOf(candidate, subject, Number.POSITIVE_INFINITY) !== undefined;
  const tags = stratifyBy.map((tag) => (Object.hasOwn(subject.tags, tag) ? subject.tags[tag] : ''));
  return { id, subject, stratum: tags.join('\0'), isIn };
}
