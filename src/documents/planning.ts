/** What the Fleet document says for plans, in the units of the model. */
import { PLANNING_DEFAULTS, type Planning } from '../core/model/planning.ts';
import { parseDuration } from '../core/model/time.ts';
import { parseShare } from './quantity.ts';
import type { Fleet } from './types.generated.ts';

type WrittenPlanning = NonNullable<Fleet['spec']['planning']>;

/** The schema has accepted every text in it. */
export function planningOf(written: WrittenPlanning): Planning {
  const { rates = {}, installTime, analysisTime, rollbackFailures, supportCapacity, link, delta } = written;
  const { transferOverhead, retries, coverTags } = written;
  return {
    rates: Object.fromEntries(Object.entries(rates).map(([event, rate]) => [event, perHour(rate)])),
    installMs: durationOf(installTime),
    analysisMs: durationOf(analysisTime),
    rollbackFailureRatio: ratioOf(rollbackFailures),
    ...(supportCapacity === undefined ? {} : { ticketsPerDay: supportCapacity }),
    ...(link === undefined ? {} : { bitsPerSecond: bitsPerSecond(link) }),
    transferOverhead: transferOverhead ?? PLANNING_DEFAULTS.transferOverhead,
    retryRatio: ratioOf(retries),
    ...(delta === undefined
      ? {}
      : { delta: { changedRatio: ratioOf(delta.changed), overheadRatio: ratioOf(delta.overhead) } }),
    coverTags: coverTags ?? PLANNING_DEFAULTS.coverTags,
  };
}

const HOURS = { h: 1, d: 24 } as const;
const BITS = { k: 1e3, M: 1e6, G: 1e9 } as const;

/** `0.02%/d` as incidents per device-hour. */
function perHour(text: string): number {
  const [, amount, percent, unit] = /^([0-9.]+) ?(%?)\/([hd])$/.exec(text) ?? [];
  return Number(amount) / (percent === '%' ? 100 : 1) / HOURS[unit as keyof typeof HOURS];
}

function bitsPerSecond(text: string): number {
  const [, amount, unit] = /^([0-9.]+) ?([kMG])bit\/s$/.exec(text) ?? [];
  return Number(amount) * BITS[unit as keyof typeof BITS];
}

function durationOf(text: string | undefined): number {
  return text === undefined ? 0 : (parseDuration(text) ?? 0);
}

function ratioOf(text: string | undefined): number {
  const share = text === undefined ? undefined : parseShare(text);
  return share === undefined ? 0 : share.numerator / share.denominator;
}
