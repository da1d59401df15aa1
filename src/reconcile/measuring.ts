/**
 * What gates over whole stages are judged by, brought to the planner: the sums that reports add up to, what was posted, and what probes
 * were answered. Hours that are over are read once and kept; a pass reads those that may still change, and nothing where no gate asks.
 */
import {
  type Exposure,
  type HourSum,
  type Interval,
  intervalsOf,
  OPEN_MS,
  openSince,
} from '../core/gates/exposure.ts';
import type { ObservedMinute } from '../core/gates/outside.ts';
import type { Sample } from '../core/gates/probe.ts';
import type { Gate } from '../core/model/gate.ts';
import { isFinished, type Outcomes } from '../core/model/outcome.ts';
import { DAY, type DurationMs, HOUR, type Instant } from '../core/model/time.ts';
import { attemptKey, type Measured } from '../core/plan/contract.ts';
import type { Store } from '../store/store.ts';
import { EXTERNAL_SERIES, type Sum } from '../store/sums.ts';

export interface Measuring {
  measured(outcomes: Outcomes, now: Instant): Promise<Measured>;
}

/** What is posted may be about a time that is so long ago. */
export const OBSERVATION_LATE_MAX_MS: DurationMs = DAY;
/** What is posted is kept for so long, and sums of attempts until they end. */
const KEPT_MS: DurationMs = 30 * DAY;
const FORGET_EVERY_MS: DurationMs = HOUR;

export function createMeasuring(
  store: Pick<Store, 'sums' | 'forgetSums'>,
  samples: () => ReadonlyMap<string, readonly Sample[]>,
): Measuring {
  /** By series: hours that are over, only ever added to. */
  let closed = new Map<string, Interval[]>();
  let closedBefore: Instant | undefined;
  let forgotAt: Instant | undefined;

  async function exposures(now: Instant): Promise<Map<string, Exposure>> {
    const closing = openSince(now);
    // A clock that was set back: what was over may be still to come.
    if (closedBefore === undefined || closing < closedBefore) {
      closed = new Map();
      closedBefore = undefined;
    }
    const sums = await store.sums(closedBefore === undefined ? {} : { since: closedBefore });
    const found = new Map<string, Exposure>();
    for (const [series, own] of bySeries(sums)) {
      if (series === EXTERNAL_SERIES) continue;
      const intervals = intervalsOf(own);
      const over = closed.get(series) ?? [];
      closed.set(series, over);
      over.push(...intervals.filter(({ at }) => at < closing));
      found.set(series, { closed: over, open: intervals.filter(({ at }) => at >= closing) });
    }
    for (const [series, over] of closed) {
      if (!found.has(series)) found.set(series, { closed: over, open: [] });
    }
    closedBefore = closing;
    return found;
  }

  async function observations(
    windowMs: DurationMs,
    now: Instant,
  ): Promise<Map<string, readonly ObservedMinute[]>> {
    // What was just in time when it was posted is looked at a little later, and is kept with the start of its minute.
    const since = now - windowMs - OBSERVATION_LATE_MAX_MS - OPEN_MS;
    const minutes = new Map<string, ObservedMinute[]>();
    for (const { name, at, sum } of await store.sums({ series: EXTERNAL_SERIES, since })) {
      const known = minutes.get(name) ?? [];
      minutes.set(name, known);
      known.push({ at, sum });
    }
    return minutes;
  }

  async function forget(outcomes: Outcomes, now: Instant): Promise<void> {
    if (forgotAt !== undefined && now - forgotAt < FORGET_EVERY_MS && now >= forgotAt) return;
    forgotAt = now;
    const live = new Set(
      [...outcomes.values()].flatMap((attempts) =>
        attempts.filter((each) => !isFinished(each)).map(attemptKey),
      ),
    );
    await store.forgetSums({
      keep: (series) => series === EXTERNAL_SERIES || live.has(series),
      before: now - KEPT_MS,
    });
    for (const series of closed.keys()) if (!live.has(series)) closed.delete(series);
  }

  return {
    async measured(outcomes, now) {
      const gates = gatesUnderWay(outcomes);
      const windows = gates.flatMap((gate) => (gate.kind === 'observations' ? [gate.windowMs] : []));
      const isMeasured = gates.some(({ kind }) => kind === 'events' || kind === 'metric');
      await forget(outcomes, now);
      return {
        exposures: isMeasured ? await exposures(now) : new Map(),
        observations: windows.length > 0 ? await observations(Math.max(...windows), now) : new Map(),
        samples: samples(),
      };
    },
  };
}

function gatesUnderWay(outcomes: Outcomes): readonly Gate[] {
  return [...outcomes.values()].flatMap((attempts) => {
    const latest = attempts.at(-1);
    return latest === undefined || isFinished(latest) ? [] : (latest.stages.at(-1)?.gates ?? []);
  });
}

function bySeries(sums: readonly Sum[]): Map<string, HourSum[]> {
  const found = new Map<string, HourSum[]>();
  for (const sum of sums) {
    const own = found.get(sum.series);
    if (own === undefined) found.set(sum.series, [sum]);
    else own.push(sum);
  }
  return found;
}
