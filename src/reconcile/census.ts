/**
 * Keeps the census of the record up to date: with decisions, though not more than hourly, and once a day where devices have come, gone
 * or changed. It is for people who plan; nothing is decided by it, and a pass that cannot take one goes on without.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Exposure } from '../core/gates/exposure.ts';
import type { BaselineRate, Census } from '../core/model/census.ts';
import { type Attempt, isFinished, type Outcomes } from '../core/model/outcome.ts';
import type { Program } from '../core/model/program.ts';
import { DAY, type DurationMs, HOUR, type Instant } from '../core/model/time.ts';
import { attemptKey, type Decision } from '../core/plan/contract.ts';
import { readCensus } from '../fleet-repo/outcomes.ts';
import type { Git, Oid } from '../git/git.ts';
import type { Observer } from './observer.ts';

export interface CensusKeeper {
  /** The census to record with these decisions on `tip`; undefined where the one that is there will do. */
  due(given: CensusGiven): Promise<Census | undefined>;
  /** It is in the record now. */
  recorded(census: Census): void;
}

interface CensusGiven {
  readonly tip: Oid | undefined;
  readonly decisions: readonly Decision[];
  readonly program: () => Program;
  readonly outcomes: Outcomes;
  readonly exposures: ReadonlyMap<string, Exposure>;
  readonly now: Instant;
}

const WITH_DECISIONS_MS: DurationMs = HOUR;
const ALONE_MS: DurationMs = DAY;
/** Fewer device-hours say too little of how often something happens. */
const HOURS_MIN = 100;

export function createCensusKeeper(git: Git, observer: Pick<Observer, 'census'>): CensusKeeper {
  /** The newest that is known to be in the record. */
  let known: Census | undefined;
  /** When the fleet was last counted without a decision, and there was nothing to record. */
  let lookedAt: Instant | undefined;

  function isFresh(at: Instant | undefined, decisions: readonly Decision[], now: Instant): boolean {
    const age = at === undefined ? Number.POSITIVE_INFINITY : now - at;
    // A clock that was set back must not keep it for ever.
    return age >= 0 && age < (decisions.length === 0 ? ALONE_MS : WITH_DECISIONS_MS);
  }

  return {
    async due({ tip, decisions, program, outcomes, exposures, now }) {
      const isAlone = decisions.length === 0;
      if (isAlone && isFresh(lookedAt, decisions, now)) return undefined;
      if (isFresh(known?.at, decisions, now)) return undefined;
      // An earlier process may have recorded one, or another server.
      known = (await readCensus(git, tip)) ?? known;
      if (isFresh(known?.at, decisions, now)) return undefined;
      const rates = { ...known?.rates, ...ratesIn(outcomes, decisions, exposures) };
      const census = await observer.census({ program: program(), now, rates });
      const isNews = !isAlone || !isDeepStrictEqual(census.cells, known?.cells);
      if (census.devices > 0 && isNews) return census;
      if (isAlone) lookedAt = now;
      return undefined;
    },
    recorded(census) {
      known = census;
    },
  };
}

/** How often each event happens where nothing new is tried: on untouched devices, and on those of a revision that has just succeeded. */
export function ratesIn(
  outcomes: Outcomes,
  decisions: readonly Decision[],
  exposures: ReadonlyMap<string, Exposure>,
): Readonly<Record<string, BaselineRate>> {
  const succeeded = decisions.filter(({ kind }) => kind === 'succeed').map(({ attempt }) => attempt);
  const live = [...outcomes.values()].flatMap((attempts): readonly Attempt[] => attempts.slice(-1));
  const rates = new Map<string, { incidents: number; deviceHours: number }>();
  for (const attempt of [...live.filter((each) => !isFinished(each)), ...succeeded]) {
    const exposure = exposures.get(attemptKey(attempt));
    if (exposure === undefined) continue;
    const isGood = succeeded.some((each) => attemptKey(each) === attemptKey(attempt));
    for (const { control, treated } of [...exposure.closed, ...exposure.open]) {
      for (const arm of isGood ? [control, treated] : [control]) {
        for (const event of eventsOf(attempt)) {
          const rate = rates.get(event) ?? { incidents: 0, deviceHours: 0 };
          rates.set(event, rate);
          rate.incidents += arm.measures.get(`event:${event}`)?.sum ?? 0;
          rate.deviceHours += arm.hours;
        }
      }
    }
  }
  return Object.fromEntries([...rates].filter(([, { deviceHours }]) => deviceHours >= HOURS_MIN));
}

/** The events that its gates count: of others an hour without any is not known to be one. */
function eventsOf({ stages }: Attempt): ReadonlySet<string> {
  const gates = stages.flatMap((stage) => stage.gates);
  return new Set(gates.flatMap((gate) => (gate.kind === 'events' ? [gate.event] : [])));
}
