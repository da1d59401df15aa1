/**
 * Sums: what reports add up to, per interval. Gates that judge by statistics read them. Additions of one transaction are
 * added up here first, so that a thousand reports write a handful of rows; what a series, a name or a limit means is not
 * known here.
 */
import assert from 'node:assert/strict';
import type { Instant } from '../core/model/time.ts';
import { compareText, isText, textExpected } from './text.ts';

/** An amount that a report adds to a sum. */
export interface Addition {
  /** What it is about: `<rollout>/<attempt>`, or `external` for what is posted to us. Up to 300 characters. */
  readonly series: string;
  /** The sum within the series and interval, e.g. `stage:0 event:crash`. Up to 300 characters. */
  readonly name: string;
  /** When the interval began that it belongs to. */
  readonly at: Instant;
  /** May be negative or fractional, is between ±1e100. */
  readonly amount: number;
  /**
   * It is counted at most `max` times per key (up to 300 characters) within the series; beyond that it is dropped whole.
   * All limits must have room.
   */
  readonly limits?: readonly SumLimit[];
}

export interface SumLimit {
  readonly key: string;
  readonly max: number;
}

/** What was added up under one name in one interval. */
export interface Sum {
  readonly series: string;
  readonly name: string;
  readonly at: Instant;
  readonly sum: number;
  /** How many additions it is of. */
  readonly count: number;
}

/** What is posted to us is in one series that never ends, so of it old intervals are forgotten instead. */
export const EXTERNAL_SERIES = 'external';

/** How often a key of a series was counted. */
export interface LimitUse {
  readonly series: string;
  readonly key: string;
  readonly used: number;
  /** The newest interval of what was counted. */
  readonly touchedAt: Instant;
}

export interface AddedUp {
  /** What is to be added to the sums that are stored: each once, in an order that is the same for everybody. */
  readonly sums: readonly Sum[];
  /** How the limits stand afterwards; those that did not change are not among them. */
  readonly limits: readonly LimitUse[];
  /** Per addition, whether it was counted. */
  readonly counted: readonly boolean[];
}

const TEXT_MAX = 300;
/** No fleet gets near it, and however many are added the sum stays a number. */
const AMOUNT_MAX = 1e100;

/** Throws where a store could not keep the addition. */
export function checkAddition(addition: Addition): void {
  checkNumbers(addition);
  checkTexts(addition);
}

// Reports have several additions each: the words are looked for only where something is wrong.

function checkNumbers({ series, name, at, amount }: Addition): void {
  if (!(Math.abs(amount) <= AMOUNT_MAX)) {
    assert.fail(
      `sum ${name} of ${series}: expected an amount between ±${AMOUNT_MAX}, found ${amount}; leave the addition out`,
    );
  }
  if (!Number.isSafeInteger(at)) {
    assert.fail(
      `sum ${name} of ${series}: expected an interval that begins at a whole millisecond, found ${at}; round it`,
    );
  }
}

function checkTexts({ series, name, limits }: Addition): void {
  if (!isText(series, TEXT_MAX)) assert.fail(textExpected('the series of a sum', series, TEXT_MAX));
  if (!isText(name, TEXT_MAX)) assert.fail(textExpected(`the name of a sum of ${series}`, name, TEXT_MAX));
  for (const { key } of limits ?? NO_LIMITS) {
    if (!isText(key, TEXT_MAX)) assert.fail(textExpected(`the key of a limit of ${series}`, key, TEXT_MAX));
  }
}

/** Adds up what is to be counted, in order. `stored` tells how a limit stands; it is asked once for each. */
export function addedUp(
  additions: readonly Addition[],
  stored: (series: string, key: string) => LimitUse | undefined,
): AddedUp {
  // Maps within maps: putting one key together for each addition would cost more than everything else here.
  const sums = new Map<string, Map<Instant, Map<string, Growing<Sum>>>>();
  const limits = new Map<string, Map<string, Growing<LimitUse> & { isChanged?: true }>>();

  function standing(series: string, key: string) {
    const ofSeries = entry(limits, series, () => new Map());
    return entry(ofSeries, key, () => ({
      ...(stored(series, key) ?? { series, key, used: 0, touchedAt: Number.MIN_SAFE_INTEGER }),
    }));
  }

  const counted = additions.map((addition) => {
    checkNumbers(addition);
    const { series, name, at, amount } = addition;
    if (addition.limits !== undefined) {
      checkTexts(addition);
      const uses = new Set<ReturnType<typeof standing>>();
      for (const { key, max } of addition.limits) {
        const use = standing(series, key);
        if (use.used >= max) return false;
        uses.add(use);
      }
      for (const use of uses) {
        use.used += 1;
        use.touchedAt = Math.max(use.touchedAt, at);
        use.isChanged = true;
      }
    }
    const ofInterval = entry(
      entry(sums, series, () => new Map()),
      at,
      () => new Map(),
    );
    const sum = ofInterval.get(name);
    if (sum === undefined) {
      checkTexts(addition);
      ofInterval.set(name, { series, name, at, sum: 0 + amount, count: 1 });
    } else {
      sum.sum += amount;
      sum.count += 1;
    }
    return true;
  });

  return {
    sums: [...sums.values()]
      .flatMap((ofSeries) => [...ofSeries.values()].flatMap((ofInterval) => [...ofInterval.values()]))
      .sort((a, b) => compareText(a.series, b.series) || a.at - b.at || compareText(a.name, b.name)),
    limits: [...limits.values()]
      .flatMap((ofSeries) => [...ofSeries.values()])
      .flatMap(({ isChanged, ...use }) => (isChanged ? [use] : [])),
    counted,
  };
}

type Growing<T> = { -readonly [K in keyof T]: T[K] };

const NO_LIMITS: readonly SumLimit[] = [];

function entry<K, V>(map: Map<K, V>, key: K, create: () => V): V {
  const found = map.get(key);
  if (found !== undefined) return found;
  const created = create();
  map.set(key, created);
  return created;
}
