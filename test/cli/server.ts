/** A real server over a real repository: what the commands ask is what people's servers answer. */
import { Hono } from 'hono';
import { onTestFinished } from 'vitest';
import type { Clock } from '../../src/clock.ts';
import { systemClock } from '../../src/clock.ts';
import { applyReport, type DeviceRecord, type Report } from '../../src/core/model/device.ts';
import type { DeviceId, Revision, RolloutName } from '../../src/core/model/ids.ts';
import { createDocumentCache } from '../../src/documents/load.ts';
import { openRepository } from '../../src/git/local.ts';
import { createEventHub } from '../../src/http/events.ts';
import { listen } from '../../src/http/listen.ts';
import { operatorApi } from '../../src/http/operator-api.ts';
import { createObserver } from '../../src/reconcile/observer.ts';
import { createReconciler } from '../../src/reconcile/reconciler.ts';
import { createIntake } from '../../src/store/intake.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import { NOW } from './fixture.ts';

export interface RunningServer {
  readonly url: string;
  /** Passes until nothing more is decided. */
  reconcile(): Promise<void>;
  enrol(id: string, tags: Readonly<Record<string, string>>): Promise<void>;
  /** Takes a report as the device API would. */
  report(id: string, report: Partial<Report>): Promise<void>;
  /** The revision of the rollout's latest attempt. */
  wanted(rollout: string): Revision;
  close(): Promise<void>;
}

/** Serves the repository at {@link NOW}, with a memory store and without a token; perhaps without announcing events. */
export async function serve(repository: string, { announces = true } = {}): Promise<RunningServer> {
  const clock: Clock = { now: () => NOW, sleep: systemClock.sleep };
  const store = createMemoryStore({ epoch: 'epoch' });
  const intake = createIntake(store);
  const observer = createObserver(store);
  const events = createEventHub(clock);
  const reconciler = createReconciler({
    git: await openRepository(repository),
    store,
    observer,
    keys: await generateKeys(),
    clock,
    randomHex: () => '0123456789abcdef0123456789abcdef',
    cache: createDocumentCache(),
    onEvent: events.publish,
  });
  const app = new Hono().route('/', operatorApi({ state: reconciler.state, store, clock }));
  if (announces) app.route('/', events.app);
  const listener = await listen(app, { host: '127.0.0.1', port: 0 });
  let open = true;
  const close = async () => {
    if (!open) return;
    open = false;
    events.close();
    await listener.close();
  };
  onTestFinished(close);
  let sequence = 0;
  const put = (id: string, update: (before: DeviceRecord | undefined) => DeviceRecord | undefined) =>
    intake.submit(id as DeviceId, (before) => ({ after: update(before), result: undefined }));
  return {
    url: listener.url,
    close,
    async reconcile() {
      while ((await reconciler.pass()).again);
    },
    async enrol(id, tags) {
      const enrolledAt = NOW - 86_400_000;
      await put(id, () => ({ id: id as DeviceId, tags, publicKey: '', serial: 1, enrolledAt, version: 1 }));
    },
    async report(id, report) {
      sequence += 1;
      const whole = {
        bootId: 'boot',
        seq: sequence,
        generation: 1,
        signals: {},
        exposureHours: 0,
        events: {},
        ...report,
      };
      await put(id, (before) => before && applyReport(before, whole, NOW).record);
    },
    wanted(rollout) {
      const revision = reconciler
        .state()
        .outcomes.get(rollout as RolloutName)
        ?.at(-1)?.revision;
      if (revision === undefined) throw new Error(`${rollout} has no attempt yet`);
      return revision;
    },
  };
}
