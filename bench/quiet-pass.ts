/**
 * Passes in which nothing has changed, of the real reconciler over a repository in memory: what a server does every
 * half minute, and after every report, beside answering. The figure is processor time of the main thread.
 */
import type { DeviceRecord } from '../src/core/model/device.ts';
import type { DeviceId } from '../src/core/model/ids.ts';
import { createDocumentCache } from '../src/documents/load.ts';
import { createMemoryRepository } from '../src/git/memory.ts';
import { withChanges } from '../src/git/tree.ts';
import { createObserver } from '../src/reconcile/observer.ts';
import { createReconciler } from '../src/reconcile/reconciler.ts';
import { createMemoryStore } from '../src/store/memory.ts';
import { median } from './measure.ts';

const NOW = Date.UTC(2026, 0, 1);
const ROLLOUTS = [1, 10, 100, 1000];
const DEVICES = 10_000;
const PASSES = 30;

export async function quietPass(): Promise<readonly string[]> {
  const lines = [`${DEVICES} devices; processor time of the main thread for a pass without news`];
  for (const rollouts of ROLLOUTS) {
    const pass = await startReconciler(rollouts);
    const quiet: number[] = [];
    for (let n = 0; n < PASSES; n++) quiet.push(await cpuMs(pass));
    const [typical, most] = [median(quiet), Math.max(...quiet)];
    lines.push(
      `${String(rollouts).padStart(4)} rollouts: ${typical.toFixed(2)} ms, at most ${most.toFixed(2)} ms`,
    );
  }
  return lines;
}

/** A fleet in which every rollout's first stage is open and waits for its devices; returns its passes. */
async function startReconciler(rollouts: number): Promise<() => Promise<unknown>> {
  const git = createMemoryRepository();
  const changes = new Map<string, { mode: string; oid: string }>();
  for (const [path, text] of Object.entries(filesOf(rollouts))) {
    changes.set(path, { mode: '100644', oid: await git.writeBlob(new TextEncoder().encode(text)) });
  }
  const tree = await withChanges(git, undefined, changes);
  const to = await git.writeCommit({ tree, parents: [], message: 'Bench\n', at: NOW });
  await git.moveBranch({ branch: 'main', from: undefined, to });

  const store = createMemoryStore({ epoch: 'bench' });
  const ids = Array.from({ length: DEVICES }, (_, n) => `device-${n}` as DeviceId);
  await store.updateDevices(ids, (_before, at): DeviceRecord => {
    const tags = { product: `app-${at % rollouts}` };
    return { id: ids[at] as DeviceId, tags, publicKey: '', serial: 1, enrolledAt: NOW, version: 1 };
  });
  let drawn = 0;
  const reconciler = createReconciler({
    git,
    store,
    observer: createObserver(store),
    clock: { now: () => NOW, sleep: () => Promise.resolve() },
    randomHex: () => String(drawn++).padStart(32, '0'),
    cache: createDocumentCache(),
    onEvent: () => undefined,
  });
  while ((await reconciler.pass()).again);
  return reconciler.pass;
}

async function cpuMs(work: () => Promise<unknown>): Promise<number> {
  const before = process.threadCpuUsage();
  await work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}

function filesOf(rollouts: number): Record<string, string> {
  const head = (kind: string, name: string) =>
    `apiVersion: tidegate.dev/v1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec:`;
  const files: Record<string, string> = { 'fleet/fleet.yaml': `${head('Fleet', 'bench')} {}\n` };
  for (let n = 0; n < rollouts; n++) {
    files[`fleet/distribution-sets/app-${n}.yaml`] =
      `${head('DistributionSet', `app-${n}@1.0.0`)}\n` +
      `  modules: [{name: app, version: 1.0.0, type: container, image: registry.example/app-${n}:1.0.0}]\n`;
    files[`fleet/rollouts/app-${n}.yaml`] =
      `${head('Rollout', `app-${n}`)}\n  owner: bench\n  distributionSet: app-${n}@1.0.0\n` +
      `  targetCondition: tags.product = 'app-${n}'\n  priority: ${n + 1}\n  gates: {health: healthy}\n` +
      '  stages: [{name: canary, size: 10%, soak: 1h}, {name: fleet, size: all}]\n';
  }
  return files;
}
