/**
 * Passes in which nothing has changed, of the real reconciler over a repository in memory: what a server does every
 * half minute, and after every report, beside answering. The figure is processor time of the main thread, of many passes
 * together: the kernel counts it in steps of some milliseconds.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DeviceRecord } from '../src/core/model/device.ts';
import type { DeviceId } from '../src/core/model/ids.ts';
import { createDocumentCache } from '../src/documents/load.ts';
import { createMemoryRepository } from '../src/git/memory.ts';
import { withChanges } from '../src/git/tree.ts';
import { createObserver } from '../src/reconcile/observer.ts';
import { createReconciler } from '../src/reconcile/reconciler.ts';
import { createMemoryStore } from '../src/store/memory.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import type { Store } from '../src/store/store.ts';
import { generateKeys } from '../src/trust/keys.ts';

const NOW = Date.UTC(2026, 0, 1);
const ROLLOUTS = [1, 10, 100, 1000];
const DEVICES = 10_000;
const MANY_DEVICES = 1_000_000;
/** Devices in one commit. */
const BATCH = 10_000;
const PASSES = 100;
const WARM_UP = 20;

export async function quietPass(): Promise<readonly string[]> {
  const lines: string[] = [];
  for (const rollouts of ROLLOUTS) {
    const store = createMemoryStore({ epoch: 'bench' });
    lines.push(await measure(store, { rollouts, devices: DEVICES }));
  }
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
  const store = await openSqliteStore(join(folder, 'tidegate.db'), { epoch: randomUUID });
  lines.push(await measure(store, { rollouts: 1, devices: MANY_DEVICES }));
  await store.close();
  await rm(folder, { recursive: true });
  return lines;
}

async function measure(store: Store, fleet: { rollouts: number; devices: number }): Promise<string> {
  const { pass, close } = await startReconciler(store, fleet);
  for (let n = 0; n < WARM_UP; n++) await pass();
  const ms = await cpuMs(async () => {
    for (let n = 0; n < PASSES; n++) await pass();
  });
  await close();
  const [devices, rollouts] = [String(fleet.devices).padStart(7), String(fleet.rollouts).padStart(4)];
  return `${devices} devices, ${rollouts} rollouts: ${(ms / PASSES).toFixed(2)} ms for a pass without news`;
}

/** A fleet in which every rollout's first stage is open and waits for its devices. */
async function startReconciler(
  store: Store,
  { rollouts, devices }: { rollouts: number; devices: number },
): Promise<{ pass(): Promise<unknown>; close(): Promise<void> }> {
  const git = createMemoryRepository();
  const changes = new Map<string, { mode: string; oid: string }>();
  for (const [path, text] of Object.entries(filesOf(rollouts))) {
    changes.set(path, { mode: '100644', oid: await git.writeBlob(new TextEncoder().encode(text)) });
  }
  const tree = await withChanges(git, undefined, changes);
  const to = await git.writeCommit({ tree, parents: [], message: 'Bench\n', at: NOW });
  await git.moveBranch({ branch: 'main', from: undefined, to });

  for (let first = 0; first < devices; first += BATCH) {
    const ids = Array.from({ length: BATCH }, (_, n) => `device-${first + n}` as DeviceId);
    await store.updateDevices(ids, (_before, at): DeviceRecord => {
      const tags = { product: `app-${(first + at) % rollouts}` };
      return { id: ids[at] as DeviceId, tags, publicKey: '', serial: 1, enrolledAt: NOW, version: 1 };
    });
  }
  const observer = createObserver(store);
  let drawn = 0;
  const reconciler = createReconciler({
    git,
    store,
    observer,
    keys: await generateKeys(),
    clock: { now: () => NOW, sleep: () => Promise.resolve() },
    randomHex: () => String(drawn++).padStart(32, '0'),
    cache: createDocumentCache(),
    onEvent: () => undefined,
  });
  while ((await reconciler.pass()).again);
  return { pass: reconciler.pass, close: () => observer.close() };
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
