/**
 * Counts the fleet under the program in force. A change of one device moves the counts by that device's old and new
 * standing; a new program counts everything again, page by page, so that polls are answered meanwhile.
 */
import { setImmediate } from 'node:timers/promises';
import { stageOf, subjectOf, unitIdOf } from '../core/assign/assign.ts';
import { standingOf } from '../core/assign/standing.ts';
import { count, emptyTally, type Tally } from '../core/assign/tally.ts';
import type { DeviceRecord } from '../core/model/device.ts';
import type { DeviceId, Score } from '../core/model/ids.ts';
import type { Program, ProgramRollout } from '../core/model/program.ts';
import type { Instant } from '../core/model/time.ts';
import type { Answer, Want } from '../core/plan/contract.ts';
import { rampDone, type Unit } from '../core/select/admission.ts';
import { scoreOf } from '../core/select/score.ts';
import { compileCondition } from '../core/target/condition.ts';
import type { Intake } from '../store/intake.ts';
import type { DeviceChange, Store } from '../store/store.ts';

/** Devices read at a time: a page is counted without giving way to polls. */
const PAGE = 500;
/** Silent devices that a pause names. */
const UNDECIDED_MAX = 100;

export interface Observer {
  /** Counts under `program`, as of `now`; counts again only where the program or, during a ramp, the time has changed. */
  tallyUnder(program: Program, now: Instant): Promise<Tally>;
  /** Takes in what was committed to the store. */
  apply(changes: readonly DeviceChange[]): void;
  /** Looks the answer up in the whole fleet. */
  answer(want: Want, program: Program, now: Instant): Promise<Answer>;
}

/**
 * Pages are read and counted while `intake` commits nothing, so that each change is seen exactly once: by the page, or
 * by {@link Observer.apply}. Between pages requests have their turn.
 */
export function createObserver(store: Store, intake: Pick<Intake, 'exclusive'>): Observer {
  let counted: { readonly program: Program; readonly asOf: Instant; readonly tally: Tally } | undefined;
  /** A count under way has seen every device up to `after`. */
  let counting: (typeof counted & { after: DeviceId | undefined }) | undefined;

  /**
   * Shows every device to `see`, page by page. `done` is called while nothing has been committed since the last page:
   * a device that comes a moment later is no longer ahead of the count.
   */
  async function forEachDevice(
    see: (device: DeviceRecord) => void,
    done: () => void = () => undefined,
  ): Promise<void> {
    let after: DeviceId | undefined;
    let more = true;
    while (more) {
      await intake.exclusive(async () => {
        const page = await store.devices({ ...(after === undefined ? {} : { after }), limit: PAGE });
        for (const device of page) see(device);
        after = page.at(-1)?.id;
        more = page.length === PAGE;
        if (!more) done();
      });
      await setImmediate();
    }
  }

  async function recount(program: Program, asOf: Instant): Promise<Tally> {
    const current = { program, asOf, tally: emptyTally(), after: undefined as DeviceId | undefined };
    counting = current;
    await forEachDevice(
      (device) => {
        count(current.tally, standingOf(program, device, asOf), 1);
        current.after = device.id;
      },
      () => {
        counting = undefined;
        counted = current;
      },
    );
    return current.tally;
  }

  return {
    async tallyUnder(program, now) {
      const current = counted !== undefined && sameProgram(counted.program, program);
      if (counted !== undefined && current && !isRamping(program, counted.asOf)) return counted.tally;
      return recount(program, now);
    },

    apply(changes) {
      if (counted !== undefined) for (const change of changes) move(counted, change);
      if (counting === undefined) return;
      // What lies ahead of the count will be read as it is then; what lies behind it moves.
      for (const change of changes) {
        const id = (change.after ?? change.before)?.id;
        if (id !== undefined && counting.after !== undefined && bytewise(id, counting.after) <= 0) {
          move(counting, change);
        }
      }
    },

    async answer(want, program, now) {
      const rollout = program.rollouts.find(({ name }) => name === want.rollout);
      if (want.kind === 'undecided') {
        const scores: Score[] = [];
        await forEachDevice((device) => {
          const score = undecidedScore(program, rollout, device, now);
          if (score !== undefined && scores.length < UNDECIDED_MAX) scores.push(score);
        });
        return { kind: 'undecided', scores: scores.sort() };
      }
      const units = new Map<string, { score: Score; devices: number; stratum: string }>();
      await forEachDevice((device) => addToUnit(units, { want, program, rollout, device, now }));
      return { kind: 'population', units: [...units.values()].sort((a, b) => (a.score < b.score ? -1 : 1)) };
    },
  };
}

function move(at: { program: Program; asOf: Instant; tally: Tally }, change: DeviceChange): void {
  if (change.before !== undefined) count(at.tally, standingOf(at.program, change.before, at.asOf), -1);
  if (change.after !== undefined) count(at.tally, standingOf(at.program, change.after, at.asOf), 1);
}

/** Programs are compared by content: every pass builds a new one. */
function sameProgram(a: Program, b: Program): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

/** While a ramp runs, time alone moves devices into a stage. */
function isRamping(program: Program, asOf: Instant): boolean {
  return program.rollouts.some((rollout) =>
    rollout.candidate?.stages.some((stage) => stage.rampHeldAt === undefined && rampDone(stage, asOf) < 1),
  );
}

/** The store's order of ids: by their UTF-8 bytes. */
function bytewise(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function undecidedScore(
  program: Program,
  rollout: ProgramRollout | undefined,
  device: DeviceRecord,
  now: Instant,
): Score | undefined {
  const standing = standingOf(program, device, now).rollouts.find((each) => each.rollout === rollout?.name);
  const state = standing?.stage?.progress.state;
  if (
    state === undefined ||
    standing?.shadowedBy !== undefined ||
    state === 'succeeded' ||
    state === 'failed'
  ) {
    return undefined;
  }
  return scoreOf(rollout?.candidate?.seed ?? '', device.id);
}

/** Adds the device to its unit, if the rollout could give it the revision at all. */
function addToUnit(
  units: Map<string, Unit & { devices: number }>,
  at: {
    want: Extract<Want, { kind: 'population' }>;
    program: Program;
    rollout: ProgramRollout | undefined;
    device: DeviceRecord;
    now: Instant;
  },
): void {
  const { want, program, rollout, device, now } = at;
  const subject = subjectOf(program, device);
  if (subject.retired || !compileCondition(want.condition).matches(subject)) return;
  if (want.excluding !== undefined && compileCondition(want.excluding).matches(subject)) return;
  const standing = standingOf(program, device, now).rollouts.find((each) => each.rollout === want.rollout);
  if (standing?.shadowedBy !== undefined) return;
  const id = unitIdOf(want.unit, subject);
  if (id === undefined) return;
  const candidate = rollout?.candidate?.attempt === want.attempt ? rollout.candidate : undefined;
  const isIn = candidate !== undefined && stageOf(candidate, subject, Number.POSITIVE_INFINITY) !== undefined;
  const unit = units.get(id) ?? {
    score: scoreOf(want.seed, id),
    devices: 0,
    stratum: want.stratifyBy
      .map((tag) => (Object.hasOwn(subject.tags, tag) ? subject.tags[tag] : ''))
      .join('\0'),
  };
  units.set(id, { ...unit, devices: unit.devices + (isIn ? 0 : 1) });
}
