/** Gates over what others say: numbers posted to us, Prometheus, a webhook. What has not been heard says nothing good. */
import type { ObservationGate, PrometheusGate, WebhookGate } from '../model/gate.ts';
import type { StageOutcome } from '../model/outcome.ts';
import { formatDuration, formatInstant, type Instant, MINUTE } from '../model/time.ts';
import type { Sample } from './probe.ts';
import type { GateReading } from './reading.ts';
import { exceeds, figure } from './words.ts';

/** What was posted of a metric within one minute. */
export interface ObservedMinute {
  readonly at: Instant;
  readonly sum: number;
}

/** What metrics are called, as the schema of gates has it. */
export const METRIC_PATTERN = /^[A-Za-z][A-Za-z0-9_.-]{0,127}$/;

/** When the minute began that `at` lies in. */
export function minuteOf(at: Instant): Instant {
  return Math.floor(at / MINUTE) * MINUTE;
}

/**
 * From which minute on a stage is judged by what was posted: the one that it opened in or, where somebody has decided upon what was
 * posted until then, the next one after that.
 */
export function observedFrom({ openedAt, watch }: Pick<StageOutcome, 'openedAt' | 'watch'>): Instant {
  return watch === undefined ? minuteOf(openedAt) : minuteOf(watch.sinceAt) + MINUTE;
}

/** The largest sum over a window that ends at or before `now` and began no earlier than `from`, less a window. */
export function readObservations(
  gate: ObservationGate,
  minutes: readonly ObservedMinute[],
  { from, now }: { readonly from: Instant; readonly now: Instant },
): GateReading {
  const { name, metric, windowMs, above } = gate;
  const heard = minutes.filter(({ at }) => at <= now && at > from - windowMs).sort((a, b) => a.at - b.at);
  const window = formatDuration(windowMs);
  const recent = heard.filter(({ at }) => at > now - windowMs);
  const judged = heard.filter(({ at }) => at >= from);
  const most = largestWindow(judged, windowMs);
  const ratio = above > 0 ? most / above : undefined;
  const samplesOf = (of: readonly ObservedMinute[]) => of.map(({ at, sum }) => [at, sum] as const);
  const common = { name, observations: samplesOf(heard), ...(ratio === undefined ? {} : { ratio }) };
  if (exceeds(most, above)) {
    return {
      ...common,
      // From when on they counted changes with the halt: those that did not are left out of its evidence.
      observations: samplesOf(judged),
      state: 'halts',
      because: `${metric}: ${figure(most)} within ${window}; more than ${figure(above)} halts`,
    };
  }
  if (recent.length === 0) {
    const because = `nothing of ${metric} was posted in the last ${window}; post it to /v1/observations, also where it is 0`;
    return { ...common, state: 'missing', because };
  }
  const sum = recent.reduce((total, { sum: each }) => total + each, 0);
  return {
    ...common,
    state: 'holds',
    because: `${metric}: ${figure(sum)} in the last ${window}; more than ${figure(above)} halts`,
  };
}

/** The largest sum of minutes that lie less than `windowMs` apart. */
function largestWindow(minutes: readonly ObservedMinute[], windowMs: number): number {
  let [most, sum, first] = [0, 0, 0];
  for (const { at, sum: added } of minutes) {
    sum += added;
    for (
      let oldest = minutes[first];
      oldest !== undefined && oldest.at <= at - windowMs;
      oldest = minutes[first]
    ) {
      sum -= oldest.sum;
      first += 1;
    }
    most = Math.max(most, sum);
  }
  return most;
}

/** After so many times its pace without an answer the last one is old. */
const STALE_AFTER = 3;

export function readPrometheus(gate: PrometheusGate, samples: readonly Sample[], now: Instant): GateReading {
  const { name, limit, forMs, everyMs } = gate;
  const last = samples.at(-1);
  const missing = whyStale(last, STALE_AFTER * everyMs, now);
  if (missing !== undefined || last?.kind !== 'value') {
    return {
      name,
      state: 'missing',
      because: `Prometheus: ${missing ?? 'it did not answer with a number'}`,
      samples,
    };
  }
  const isBeyond = (value: number) =>
    limit.kind === 'above' ? exceeds(value, limit.value) : exceeds(limit.value, value);
  let since: Instant | undefined;
  for (const sample of samples) {
    // A look that failed neither ends nor begins anything.
    if (sample.kind !== 'value') continue;
    since = isBeyond(sample.value) ? (since ?? sample.at) : undefined;
  }
  const halts = since !== undefined && last.at - since >= forMs;
  const rule = `${limit.kind} ${figure(limit.value)}${forMs > 0 ? ` for ${formatDuration(forMs)}` : ''} halts`;
  const lasting = since === undefined || forMs === 0 ? '' : `, for ${formatDuration(last.at - since)} now`;
  const ratio = ratioTo(last.value, limit);
  return {
    name,
    state: halts ? 'halts' : 'holds',
    because: `the query gives ${figure(last.value)}${lasting}; ${rule}`,
    samples,
    ...(ratio === undefined ? {} : { ratio }),
  };
}

function ratioTo(value: number, limit: PrometheusGate['limit']): number | undefined {
  const ratio = limit.kind === 'above' ? value / limit.value : limit.value / value;
  return Number.isFinite(ratio) && ratio >= 0 ? ratio : undefined;
}

export function readWebhook(gate: WebhookGate, samples: readonly Sample[], now: Instant): GateReading {
  const { name, everyMs } = gate;
  const last = samples.at(-1);
  const missing = whyStale(last, STALE_AFTER * everyMs, now);
  if (missing !== undefined || last?.kind !== 'verdict') {
    return { name, state: 'missing', because: `the webhook: ${missing ?? 'it gave no verdict'}`, samples };
  }
  const because = `the webhook says ${last.verdict}${last.because === '' ? '' : `: ${last.because}`}`;
  return { name, state: STATES[last.verdict], because, samples };
}

const STATES = { pass: 'holds', halt: 'halts', wait: 'missing' } as const;

function whyStale(last: Sample | undefined, staleMs: number, now: Instant): string | undefined {
  if (last === undefined) return 'it has not been asked yet';
  if (last.kind === 'trouble') return last.because;
  if (now - last.at > staleMs) return `it has not answered since ${formatInstant(last.at)}`;
  return undefined;
}
