import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { createRequestCounts } from '../../src/http/request-counts.ts';

test('each bucket holds what the smaller ones do, and a time on a bound is within it', async () => {
  const registry = new Registry();
  const counts = createRequestCounts(registry);
  for (const tookMs of [0.4, 1, 1.5, 700, 60_000]) counts.count({ route: '/a', status: 200, tookMs });
  counts.count({ route: '/b', status: 404, tookMs: 3 });
  const text = await registry.metrics();
  const value = (series: string) =>
    text
      .split('\n')
      .find((line) => line.startsWith(`${series} `))
      ?.split(' ')[1];
  const upTo = (le: string) => value(`tidegate_http_request_duration_seconds_bucket{le="${le}",route="/a"}`);
  expect(['0.001', '0.0025', '0.5', '1', '10', '+Inf'].map(upTo)).toEqual(['2', '3', '3', '4', '4', '5']);
  expect(value('tidegate_http_request_duration_seconds_sum{route="/a"}')).toBe('60.7029');
  expect(value('tidegate_http_request_duration_seconds_count{route="/a"}')).toBe('5');
  expect(value('tidegate_http_requests_total{route="/a",status="2xx"}')).toBe('5');
  expect(value('tidegate_http_requests_total{route="/b",status="4xx"}')).toBe('1');
  expect(text).toContain('# TYPE tidegate_http_request_duration_seconds histogram');
});
