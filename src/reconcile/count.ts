/**
 * Counting, wherever it runs: the sum of all devices' standings, and the answers that need the whole fleet. What
 * comes out is small, however large the fleet is.
 */
import { stageOf, unitIdOf } from '../core/assign/assign.ts';
import { standingOf } from '../core/assign/standing.ts';
import { subjectOf } from '../core/assign/subject.ts';
import { count, emptyTally, type Tally } from '../core/assign/tally.ts';
import type { DeviceRecord } from '../core/model/device.ts';
import type { Score } from '../core/model/ids.ts';
import type { Program, ProgramRollout } from '../core/model/program.ts';
import type { Instant } from '../core/model/time.ts';
import type { Answer, Want } from '../core/plan/contract.ts';
import { resolveStage, type Unit } from '../core/select/admission.ts';
import { scoreOf } from '../core/select/score.ts';
import { compileCondition } from '../core/target/condition.ts';
import type { Reading } from '../store/store.ts';

/** What is asked of the whole fleet. */
export type CountRequest =
  | { readonly kind: 'count'; readonly program: Program; readonly now: Instant }
  | { readonly kind: 'answer'; readonly want: Want; readonly program: Program; readonly now: Instant };

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
  return want.kind === 'undecided'
    ? undecidedIn(pages, { program, rollout, now })
    : whoEnters(pages, { want, program, rollout, now });
}

interface Within {
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

type PopulationWant = Extract<Want, { kind: 'population' }>;

async function whoEnters(pages: Pages, within: Within & { want: PopulationWant }): Promise<Answer> {
  const { takes } = within.want;
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
      if (!member.isIn) unit.devices += 1;
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
  { want, program, rollout, now }: Within & { want: PopulationWant },
  device: DeviceRecord,
): { id: string; stratum: string; isIn: boolean } | undefined {
  const subject = subjectOf(program, device);
  if (subject.retired || !compileCondition(want.condition).matches(subject)) return undefined;
  if (want.excluding !== undefined && compileCondition(want.excluding).matches(subject)) return undefined;
  const standing = standingOf(program, device, now).rollouts.find((each) => each.rollout === want.rollout);
  if (standing?.shadowedBy !== undefined) return undefined;
  const { unit, stratifyBy } = want.takes;
  const id = unitIdOf(unit, subject);
  if (id === undefined) return undefined;
  const candidate = rollout?.candidate?.attempt === want.attempt ? rollout.candidate : undefined;
  const isIn = candidate !== undefined && stageOf(candidate, subject, Number.POSITIVE_INFINITY) !== undefined;
  const tags = stratifyBy.map((tag) => (Object.hasOwn(subject.tags, tag) ? subject.tags[tag] : ''));
  return { id, stratum: tags.join('\0'), isIn };
}
