/**
 * Tidegate, put together from its parts: one reconciler, one store, one HTTP app. Which git, which store and which
 * clock is the caller's to choose: `serve`, the demo, the simulator and the tests run exactly this.
 */
import type { Clock } from './clock.ts';
import { assign } from './core/assign/assign.ts';
import type { Fleet } from './core/model/desired.ts';
import type { Instant } from './core/model/time.ts';
import { createDocumentCache } from './documents/load.ts';
import type { Forge } from './forge/forge.ts';
import type { Git } from './git/git.ts';
import { createApp } from './http/app.ts';
import { censusApi } from './http/census-api.ts';
import { createDeviceAnswers } from './http/device-answers.ts';
import { deviceApi } from './http/device-api.ts';
import { createDirectRoute, type DirectRoute } from './http/direct-route.ts';
import { createEventHub } from './http/events.ts';
import { createRequestIds } from './http/every-answer.ts';
import { createMetrics } from './http/metrics.ts';
import { observationsApi } from './http/observations-api.ts';
import { createRateLimit, DEVICE_RATE, OBSERVATION_RATE, REFUSED_RATE } from './http/rate-limit.ts';
import { selectionApi } from './http/selection-api.ts';
import { webhook } from './http/webhook.ts';
import { createNotifications, type NotificationPorts } from './notify/notifications.ts';
import type { Ask } from './probes/ask.ts';
import { createProber } from './probes/prober.ts';
import { ratesIn } from './reconcile/census.ts';
import { confirmedProgram } from './reconcile/confirmation.ts';
import type { ReconcileEvent } from './reconcile/event.ts';
import { createObserver, type Observer } from './reconcile/observer.ts';
import {
  createReconciler,
  RECONCILER_DEFAULTS,
  type Reconciler,
  type ReconcilerOptions,
  type ReconcilerPorts,
} from './reconcile/reconciler.ts';
import type { ArtifactFolder } from './store/artifact-folder.ts';
import { createIntake, type Intake } from './store/intake.ts';
import type { Store } from './store/store.ts';
import type { Keys } from './trust/keys.ts';

export interface ServicePorts {
  readonly git: Git;
  readonly store: Store;
  readonly keys: Keys;
  readonly clock: ReconcilerPorts['clock'];
  /** 128 random bits in hex. */
  readonly randomHex: () => string;
  /** From 0 to below 1: spreads what is asked of others over time; absent: by chance. */
  readonly random?: () => number;
  /** Protects the operators' API and the metrics; absent: they are open to whoever reaches the socket. */
  readonly apiToken?: string;
  /** Artifacts that this server keeps itself; absent: it names mirrors. */
  readonly artifacts?: ArtifactFolder;
  /** Whose commits count; absent: everybody's who can push. */
  readonly allowedSigners?: ReconcilerPorts['allowedSigners'];
  /** Where people are asked to merge what the branch refuses, and told what became of their pull requests. */
  readonly forge?: Forge;
  /** What forges sign push events with; absent: none are taken. */
  readonly webhookSecret?: string;
  /** Ids of observation tokens that were taken back. */
  readonly revokedObservationTokens?: ReadonlySet<string>;
  /** Asks others what gates want to know; absent: nobody is asked, and those gates say that something is missing. */
  readonly ask?: Ask;
  /** How those are told whom the Fleet document names, and pull requests; absent: nobody is. */
  readonly notifications?: NotificationPorts;
  readonly onEvent?: (event: ReconcileEvent) => void;
  readonly onStep?: ReconcilerPorts['onStep'];
  /** Told of requests that failed for a reason of ours; the answer itself says nothing of it. */
  readonly onFault?: (message: string) => void;
}

export interface Service {
  readonly app: ReturnType<typeof createApp>;
  /** What the app answers most often, without it: for {@link listen}. */
  readonly direct: DirectRoute;
  readonly reconciler: Reconciler;
  readonly observer: Observer;
  readonly intake: Intake;
  readonly store: Store;
  readonly clock: Clock;
  /** Delivers notices until `signal` aborts. Never rejects. */
  deliver(signal: AbortSignal): Promise<void>;
  /** Ends event streams and waits until every accepted report is durable. The store is the caller's to close. */
  close(): Promise<void>;
}

export function createService(ports: ServicePorts, options: Partial<ReconcilerOptions> = {}): Service {
  const { git, store, keys, clock } = ports;
  const intake = createIntake(store);
  const observer = createObserver(store, () => reconciler.wake());
  const notifications =
    ports.notifications &&
    createNotifications({
      ...ports.notifications,
      git,
      outbox: store.outbox,
      clock,
      branch: options.branch ?? RECONCILER_DEFAULTS.branch,
      ...(ports.forge === undefined ? {} : { forge: ports.forge }),
    });
  const prober =
    ports.ask &&
    createProber({
      ask: ports.ask,
      clock,
      random: ports.random ?? Math.random,
      onSample: () => reconciler.wake(),
    });
  const reconciler: Reconciler = createReconciler(
    {
      git,
      store,
      observer,
      keys,
      clock,
      randomHex: ports.randomHex,
      cache: createDocumentCache(),
      ...(ports.allowedSigners === undefined ? {} : { allowedSigners: ports.allowedSigners }),
      ...(ports.onStep === undefined ? {} : { onStep: ports.onStep }),
      ...(ports.forge === undefined ? {} : { forge: ports.forge }),
      ...(notifications === undefined ? {} : { announcer: notifications.announcer }),
      ...(prober === undefined ? {} : { prober }),
      onEvent(event) {
        events.publish(event);
        metrics.observeEvent(event);
        ports.onEvent?.(event);
      },
    },
    options,
  );
  const state = () => reconciler.state();
  const events = createEventHub(clock);
  const metrics = createMetrics(state);
  const fleet = (): Pick<Fleet, 'name' | 'pollIntervalMs'> => {
    const { published } = state();
    if (published === undefined) return { name: '', pollIntervalMs: 60_000 };
    return { name: published.program.fleet, pollIntervalMs: published.program.pollIntervalMs };
  };
  const fault = (error: unknown) => ports.onFault?.(error instanceof Error ? error.message : String(error));
  const webhookOf = (secret: string) => webhook({ secret, clock, onPush: () => reconciler.look() });
  // Nobody but this server knows it.
  const seed = Buffer.from(keys.enrolment.kid, 'base64url').readUInt32BE(0);
  const isShared = store.place?.kind === 'postgres';
  const ofDevices = {
    fleet,
    store,
    intake,
    keys,
    clock,
    tuf: () => state().tuf,
    program: isShared ? confirmedProgram(state, clock) : () => state().published,
    assign,
    rate: createRateLimit(DEVICE_RATE, seed),
    refusedRate: createRateLimit(REFUSED_RATE, seed),
    onFault: fault,
  };
  const answers = createDeviceAnswers(ofDevices);
  const observations = observationsApi({
    ...ofDevices,
    revoked: ports.revokedObservationTokens ?? new Set(),
    rate: createRateLimit(OBSERVATION_RATE, seed),
    onCounted: () => reconciler.wake(),
    fault: answers.fault,
  });
  const censusNow = (now: Instant) => {
    const { published, outcomes, seen } = state();
    if (published === undefined) return undefined;
    const rates = ratesIn(outcomes, [], seen?.exposures ?? new Map());
    return observer.census({ program: published.program, now, rates });
  };
  const selection = selectionApi({ state, select: observer.select, clock });
  const requestId = createRequestIds(ports.randomHex);
  const app = createApp({
    deviceApi: deviceApi(ofDevices, answers),
    state,
    store,
    clock,
    events,
    metrics,
    requestId,
    onError: fault,
    others: [
      observations,
      censusApi({ clock, census: censusNow }),
      selection,
      ...(ports.webhookSecret === undefined ? [] : [webhookOf(ports.webhookSecret)]),
    ],
    ...(ports.artifacts === undefined ? {} : { artifacts: ports.artifacts }),
    ...(ports.apiToken === undefined ? {} : { apiToken: ports.apiToken }),
  });
  return {
    app,
    direct: createDirectRoute({ answers, clock, metrics, requestId }),
    reconciler,
    observer,
    intake,
    store,
    clock,
    deliver: async (signal) => notifications?.run(signal),
    async close() {
      events.close();
      await prober?.close();
      await intake.drain();
      await observer.close();
      await answers.close();
    },
  };
}
