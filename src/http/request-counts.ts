/**
 * Requests and how long they took, by route. Two metrics that prom-client has, too: its own look their labels up in a
 * text that is made of them for each request, which is a tenth of what a poll costs. Here a route is looked up by name,
 * and labels are made when somebody scrapes.
 */
import type { Metric, MetricObjectWithValues, MetricValue, Registry } from 'prom-client';
import { SECOND } from '../core/model/time.ts';

export interface RequestCounts {
  /** `route`: a pattern, of which there are few; `tookMs`: with fractions. */
  count(request: { readonly route: string; readonly status: number; readonly tookMs: number }): void;
}

/** From a poll that is answered from memory to one that waits for a disk. */
const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

const REQUESTS = 'tidegate_http_requests_total';
const DURATION = 'tidegate_http_request_duration_seconds';

interface Route {
  /** By status class: the fourth is 4xx. */
  readonly statuses: number[];
  /** Of requests that took at most as long as the bucket and longer than the one before; the last have no bound. */
  readonly buckets: number[];
  totalMs: number;
}

export function createRequestCounts(registry: Registry): RequestCounts {
  const routes = new Map<string, Route>();
  register(registry, {
    name: REQUESTS,
    help: 'Requests by route pattern and status class.',
    type: 'counter',
    values: () => [...routes].flatMap(([route, counts]) => requestValues(route, counts)),
  });
  register(registry, {
    name: DURATION,
    help: 'Time until a request was answered; for a stream, until it began.',
    type: 'histogram',
    values: () => [...routes].flatMap(([route, counts]) => durationValues(route, counts)),
  });

  return {
    count({ route, status, tookMs }) {
      let counts = routes.get(route);
      if (counts === undefined) {
        counts = {
          statuses: Array(6).fill(0),
          buckets: Array(BUCKETS_SECONDS.length + 1).fill(0),
          totalMs: 0,
        };
        routes.set(route, counts);
      }
      const of = Math.floor(status / 100);
      counts.statuses[of] = (counts.statuses[of] ?? 0) + 1;
      const bucket = bucketOf(tookMs / SECOND);
      counts.buckets[bucket] = (counts.buckets[bucket] ?? 0) + 1;
      counts.totalMs += tookMs;
    },
  };
}

function bucketOf(seconds: number): number {
  let bucket = 0;
  while (seconds > (BUCKETS_SECONDS[bucket] ?? Number.POSITIVE_INFINITY)) bucket += 1;
  return bucket;
}

type Value = MetricValue<string> & { readonly metricName?: string };

function requestValues(route: string, { statuses }: Route): Value[] {
  return statuses.flatMap((value, of) =>
    value === 0 ? [] : [{ value, labels: { route, status: `${of}xx` } }],
  );
}

/** Each bucket holds what the smaller ones do: https://prometheus.io/docs/concepts/metric_types/#histogram */
function durationValues(route: string, { buckets, totalMs }: Route): Value[] {
  let total = 0;
  const values = buckets.map((count, bucket): Value => {
    total += count;
    const le = BUCKETS_SECONDS[bucket] ?? '+Inf';
    return { metricName: `${DURATION}_bucket`, value: total, labels: { le, route } };
  });
  return [
    ...values,
    { metricName: `${DURATION}_sum`, value: totalMs / SECOND, labels: { route } },
    { metricName: `${DURATION}_count`, value: total, labels: { route } },
  ];
}

/** A registry asks a metric for its name and its values, and nothing else. */
function register(
  registry: Registry,
  metric: { name: string; help: string; type: 'counter' | 'histogram'; values: () => Value[] },
): void {
  const { values, ...described } = metric;
  const get = (): Promise<MetricObjectWithValues<Value>> =>
    Promise.resolve({ ...described, aggregator: 'sum', collect: () => undefined, values: values() } as never);
  registry.registerMetric({ ...described, get } as unknown as Metric);
}
