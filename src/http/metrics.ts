/**
 * What Prometheus scrapes. Gauges are read from the reconciler's state when they are asked for; counters follow its
 * events. Labels take their values from documents, tables and route patterns, never from a request or a device, so
 * the number of series is bounded by what was committed.
 */
import { Hono, type MiddlewareHandler } from 'hono';
import { routePath } from 'hono/route';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { realNow } from '../clock.ts';
import { SECOND } from '../core/model/time.ts';
import { ROLLOUT_STATES, type RolloutStatus, rolloutStatuses } from '../core/status.ts';
import type { ReconcileEvent } from '../reconcile/event.ts';
import type { ReconcilerState } from '../reconcile/reconciler.ts';
import { HOLDERS } from '../reconcile/record.ts';
import { expiriesOf } from '../trust/tuf/expiry.ts';
import { createRequestCounts, type RequestCounts } from './request-counts.ts';

export interface Metrics {
  /** `GET /metrics`. */
  readonly app: Hono;
  observeEvent(event: ReconcileEvent): void;
  /** Counts and times every request that it is put around. */
  readonly middleware: MiddlewareHandler;
  /** For requests that the app does not see. */
  readonly requests: RequestCounts;
}

export function createMetrics(state: () => ReconcilerState): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const gauges = createGauges(registers);
  const counters = createCounters(registers);
  const requests = createRequestCounts(registry);

  const app = new Hono();
  app.get('/metrics', async () => {
    readState(gauges, state());
    const headers = { 'Content-Type': registry.contentType, 'Cache-Control': 'no-store' };
    return new Response(await registry.metrics(), { headers });
  });

  return {
    app,
    observeEvent(event) {
      if (event.kind === 'pass') counters.passes.inc();
      else if (event.kind === 'failed') counters.passFailures.inc();
      else if (event.kind === 'decision') counters.decisions.inc({ kind: event.decision.kind });
    },
    middleware: async (c, next) => {
      const startedAt = realNow();
      await next();
      // A path that nothing serves matches only what stands around every route.
      const pattern = routePath(c, -1);
      const route = pattern === '/*' ? 'unmatched' : pattern;
      requests.count({ route, status: c.res.status, tookMs: realNow() - startedAt });
    },
    requests,
  };
}

function createCounters(registers: Registry[]) {
  return {
    passes: new Counter({
      name: 'tidegate_passes_total',
      help: 'Passes of the reconciler that went through.',
      registers,
    }),
    passFailures: new Counter({
      name: 'tidegate_pass_failures_total',
      help: 'Passes of the reconciler that failed and were tried again.',
      registers,
    }),
    decisions: new Counter({
      name: 'tidegate_decisions_total',
      help: 'Decisions committed to the branch outcomes.',
      labelNames: ['kind'],
      registers,
    }),
  };
}

function createGauges(registers: Registry[]) {
  return {
    devices: new Gauge({
      name: 'tidegate_devices',
      help: 'Enrolled devices by status.',
      labelNames: ['status'],
      registers,
    }),
    rolloutDevices: new Gauge({
      name: 'tidegate_rollout_devices',
      help: 'Devices of a rollout: target includes actual, which is healthy + unhealthy + unknown; scheduled are those in no open stage of an attempt under way.',
      labelNames: ['rollout', 'category'],
      registers,
    }),
    rolloutState: new Gauge({
      name: 'tidegate_rollout_state',
      help: '1 for the state that a rollout is in, 0 for every other.',
      labelNames: ['rollout', 'state'],
      registers,
    }),
    stageDevices: new Gauge({
      name: 'tidegate_stage_devices',
      help: 'Devices of a stage by how far they have come.',
      labelNames: ['rollout', 'stage', 'state'],
      registers,
    }),
    problems: new Gauge({
      name: 'tidegate_snapshot_problems',
      help: 'Problems of the newest commit by severity.',
      labelNames: ['severity'],
      registers,
    }),
    headInForce: new Gauge({
      name: 'tidegate_head_in_force',
      help: '1 where the newest commit is in force, 0 where it is broken or was not read yet.',
      registers,
    }),
    held: new Gauge({
      name: 'tidegate_held',
      help: '1 while nothing opens, by what holds it: the repository, its record on the branch outcomes, the clock, or trust that cannot be signed.',
      labelNames: ['by'],
      registers,
    }),
    metadataExpiry: new Gauge({
      name: 'tidegate_metadata_expiry_timestamp_seconds',
      help: 'When the TUF metadata of a role expires, in Unix seconds; devices install nothing after that.',
      labelNames: ['role'],
      registers,
    }),
    lastPass: new Gauge({
      name: 'tidegate_last_pass_timestamp_seconds',
      help: 'When the last pass went through, in Unix seconds; 0 before the first.',
      registers,
    }),
  };
}

type Gauges = ReturnType<typeof createGauges>;

/** Series of rollouts and stages that are gone disappear: every gauge is written anew. */
function readState(gauges: Gauges, state: ReconcilerState): void {
  const { wanted, outcomes, tally, report, gates, passedAt } = state;
  const desired = wanted?.desired;
  for (const [status, devices] of Object.entries(tally.status)) gauges.devices.set({ status }, devices);
  for (const severity of ['error', 'warning'] as const) {
    const found = wanted?.problems.filter((each) => each.severity === severity) ?? [];
    gauges.problems.set({ severity }, found.length);
  }
  gauges.headInForce.set(desired !== undefined && desired.commit === wanted?.head ? 1 : 0);
  gauges.lastPass.set((passedAt ?? 0) / SECOND);
  for (const by of HOLDERS) gauges.held.set({ by }, state.heldBy === by ? 1 : 0);

  gauges.metadataExpiry.reset();
  for (const { role, expiresAt } of state.tuf === undefined ? [] : expiriesOf(state.tuf))
    gauges.metadataExpiry.set({ role }, expiresAt / SECOND);

  for (const gauge of [gauges.rolloutDevices, gauges.rolloutState, gauges.stageDevices]) gauge.reset();
  if (desired === undefined) return;
  for (const rollout of rolloutStatuses({ desired, outcomes, tally, report, gates }))
    readRollout(gauges, rollout);
}

function readRollout(
  gauges: Gauges,
  { name: rollout, devices, state: current, stages }: RolloutStatus,
): void {
  for (const [category, count] of Object.entries(devices)) {
    gauges.rolloutDevices.set({ rollout, category }, count);
  }
  for (const state of ROLLOUT_STATES) gauges.rolloutState.set({ rollout, state }, state === current ? 1 : 0);
  for (const { name: stage, counts } of stages) {
    for (const [state, count] of Object.entries(counts))
      gauges.stageDevices.set({ rollout, stage, state }, count);
  }
}
