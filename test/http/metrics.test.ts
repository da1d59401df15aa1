import { Hono } from 'hono';
import { beforeEach, expect, test } from 'vitest';
import { createMetrics, type Metrics } from '../../src/http/metrics.ts';
import { createFleet, type Fleet, oid, rolloutOf, START } from './fleet.ts';

const firmware = rolloutOf('firmware');
let fleet: Fleet;
let metrics: Metrics;

beforeEach(() => {
  fleet = createFleet();
  metrics = createMetrics(fleet.state);
});

/** The value of one series, or undefined where there is none. */
async function value(series: string): Promise<number | undefined> {
  const text = await (await metrics.app.request('/metrics')).text();
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

test('S3.34 S3.35 S3.36 S3.37 S3.38 devices are counted by status, category and stage', async () => {
  for (const id of ['d1', 'd2', 'd3']) await fleet.enrol(id);
  const top = rolloutOf('top', { version: '9.0.0', priority: 20, condition: "deviceId = 'd3'" });
  fleet.commit('a', [firmware, top]);
  await fleet.settle();
  expect(await value('tidegate_devices{status="unknown"}')).toBe(3);
  await fleet.report('d1', { running: firmware.revision, signals: { runtime_healthy: true } });
  await fleet.report('d2', { attempt: { revision: firmware.revision, state: 'failed', category: 'boot' } });
  const category = (name: string) => value(`tidegate_rollout_devices{rollout="firmware",category="${name}"}`);
  expect(await category('target')).toBe(3);
  expect(await category('actual')).toBe(2);
  expect(await category('healthy')).toBe(1);
  expect(await category('unhealthy')).toBe(1);
  expect(await category('unknown')).toBe(0);
  expect(await value('tidegate_devices{status="inSync"}')).toBe(1);
  expect(await value('tidegate_devices{status="error"}')).toBe(1);
  expect(await value('tidegate_stage_devices{rollout="firmware",stage="canary",state="succeeded"}')).toBe(1);
  expect(await value('tidegate_stage_devices{rollout="firmware",stage="canary",state="failed"}')).toBe(1);
});

test('a rollout is in one state, and its series go with it', async () => {
  await fleet.enrol('d1');
  fleet.commit('a', [firmware]);
  await fleet.settle();
  expect(await value('tidegate_rollout_state{rollout="firmware",state="running"}')).toBe(1);
  expect(await value('tidegate_rollout_state{rollout="firmware",state="paused"}')).toBe(0);
  fleet.commit('b', []);
  await fleet.settle();
  expect(await value('tidegate_rollout_state{rollout="firmware",state="running"}')).toBeUndefined();
  expect(await value('tidegate_rollout_devices{rollout="firmware",category="target"}')).toBeUndefined();
});

test('a broken commit shows: its problems are counted and the head is not in force', async () => {
  expect(await value('tidegate_head_in_force')).toBe(0);
  expect(await value('tidegate_last_pass_timestamp_seconds')).toBe(0);
  fleet.commit('a', [firmware]);
  await fleet.settle();
  expect(await value('tidegate_head_in_force')).toBe(1);
  expect(await value('tidegate_last_pass_timestamp_seconds')).toBe(START / 1000);
  const problem = { file: 'f', line: 1, column: 1, rule: 'schema', message: 'no' } as const;
  const { wanted } = fleet.state();
  if (wanted === undefined) throw new Error('nothing is wanted');
  fleet.set({
    wanted: {
      ...wanted,
      head: oid('b') as never,
      problems: [
        { ...problem, severity: 'error' },
        { ...problem, severity: 'error' },
        { ...problem, severity: 'warning' },
      ],
    },
  });
  expect(await value('tidegate_head_in_force')).toBe(0);
  expect(await value('tidegate_snapshot_problems{severity="error"}')).toBe(2);
  expect(await value('tidegate_snapshot_problems{severity="warning"}')).toBe(1);
});

test('passes, failed passes and decisions are counted as they happen', async () => {
  fleet.commit('a', [firmware]);
  const decisions = await fleet.settle();
  metrics.observeEvent({ kind: 'pass', at: START });
  metrics.observeEvent({ kind: 'pass', at: START });
  metrics.observeEvent({ kind: 'failed', at: START, message: 'git is away' });
  for (const decision of decisions) {
    metrics.observeEvent({ kind: 'decision', at: START, decision, commit: oid('c') });
  }
  expect(await value('tidegate_passes_total')).toBe(2);
  expect(await value('tidegate_pass_failures_total')).toBe(1);
  expect(await value('tidegate_decisions_total{kind="create"}')).toBe(1);
});

test('requests are counted by route pattern and status class, however many paths are tried', async () => {
  const app = new Hono();
  app.use(metrics.middleware);
  const part = new Hono();
  part.get('/devices/:id', (c) => (c.req.param('id') === 'bad' ? c.text('', 404) : c.text('ok')));
  part.get('/broken', () => {
    throw new Error('broken');
  });
  app.route('/', part);
  app.onError((_error, c) => c.text('', 500));
  for (const path of ['/devices/1', '/devices/2', '/devices/bad', '/broken', '/x', '/y?z', '/devices']) {
    await app.request(path);
  }
  await app.request('/devices/1', { method: 'BREW' });
  const requests = (route: string, status: string) =>
    value(`tidegate_http_requests_total{route="${route}",status="${status}"}`);
  expect(await requests('/devices/:id', '2xx')).toBe(2);
  expect(await requests('/devices/:id', '4xx')).toBe(1);
  expect(await requests('/broken', '5xx')).toBe(1);
  expect(await requests('unmatched', '4xx')).toBe(4);
  expect(await value('tidegate_http_request_duration_seconds_count{route="/devices/:id"}')).toBe(3);
  const text = await (await metrics.app.request('/metrics')).text();
  expect(text).not.toContain('BREW');
  expect(text.match(/^tidegate_http_requests_total\{/gm)).toHaveLength(4);
});

test('two servers in one process count apart, each with the metrics of the process', async () => {
  const other = createMetrics(fleet.state);
  other.observeEvent({ kind: 'pass', at: START });
  expect(await value('tidegate_passes_total')).toBe(0);
  expect(await value('process_resident_memory_bytes')).toBeGreaterThan(0);
});
