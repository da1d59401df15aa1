/**
 * Tidegate, put together from its parts: one reconciler, one store, one HTTP app. Which git, which store and which
 * clock is the caller's to choose: `serve`, the demo, the simulator and the tests run exactly this.
 */
import type { Clock } from './clock.ts';
import { assign } from './core/assign/assign.ts';
import type { Fleet } from './core/model/desired.ts';
import { createDocumentCache } from './documents/load.ts';
import type { Git } from './fleet-repo/git.ts';
import { createApp } from './http/app.ts';
import { deviceApi } from './http/device-api.ts';
import { createEventHub } from './http/events.ts';
import { createMetrics } from './http/metrics.ts';
import { createObserver, type Observer } from './reconcile/observer.ts';
import {
  createReconciler,
  type ReconcileEvent,
  type Reconciler,
  type ReconcilerOptions,
  type ReconcilerPorts,
} from './reconcile/reconciler.ts';
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
  /** Protects the operators' API and the metrics; absent: they are open to whoever reaches the socket. */
  readonly apiToken?: string;
  readonly onEvent?: (event: ReconcileEvent) => void;
  readonly onStep?: ReconcilerPorts['onStep'];
  /** Told of requests that failed for a reason of ours; the answer itself says nothing of it. */
  readonly onFault?: (message: string) => void;
}

export interface Service {
  readonly app: ReturnType<typeof createApp>;
  readonly reconciler: Reconciler;
  readonly observer: Observer;
  readonly intake: Intake;
  readonly store: Store;
  readonly clock: Clock;
  /** Ends event streams and waits until every accepted report is durable. The store is the caller's to close. */
  close(): Promise<void>;
}

export function createService(ports: ServicePorts, options: Partial<ReconcilerOptions> = {}): Service {
  const { git, store, keys, clock } = ports;
  const intake: Intake = createIntake(store, {
    onChanges(changes) {
      observer.apply(changes);
      if (changes.length > 0) reconciler.wake();
    },
  });
  const observer = createObserver(store, intake);
  const reconciler = createReconciler(
    {
      git,
      store,
      observer,
      clock,
      randomHex: ports.randomHex,
      cache: createDocumentCache(),
      ...(ports.onStep === undefined ? {} : { onStep: ports.onStep }),
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
  const app = createApp({
    deviceApi: deviceApi({
      fleet,
      store,
      intake,
      keys,
      clock,
      program: () => state().published,
      assign,
      onFault: fault,
    }),
    state,
    store,
    clock,
    events,
    metrics,
    requestId: ports.randomHex,
    onError: fault,
    ...(ports.apiToken === undefined ? {} : { apiToken: ports.apiToken }),
  });
  return {
    app,
    reconciler,
    observer,
    intake,
    store,
    clock,
    async close() {
      events.close();
      await intake.drain();
    },
  };
}
