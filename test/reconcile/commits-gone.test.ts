/** What was noted of commits that are no longer there: history was rewritten, or the copy of it was made anew and begins later. */
import { expect, onTestFinished, test } from 'vitest';
import { sha256Hex } from '../../src/core/model/manifest.ts';
import { createDocumentCache } from '../../src/documents/load.ts';
import { createMemoryRepository } from '../../src/git/memory.ts';
import { type PathContent, withChanges } from '../../src/git/tree.ts';
import { createObserver } from '../../src/reconcile/observer.ts';
import { createReconciler } from '../../src/reconcile/reconciler.ts';
import { createVirtualClock } from '../../src/simulate/virtual-clock.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';

const START = Date.UTC(2026, 0, 1);
const GONE = '1'.repeat(40);
const FILES = { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') };

async function serverWith(noted: { applied?: string; tip?: string }, place?: NonNullable<Store['place']>) {
  const git = createMemoryRepository();
  let from: string | undefined;
  const commit = async (files: Readonly<Record<string, string>>) => {
    const changes = new Map<string, PathContent>();
    for (const [path, text] of Object.entries(files)) {
      changes.set(path, { mode: '100644', oid: await git.writeBlob(Buffer.from(text)) });
    }
    const tree = await withChanges(git, undefined, changes);
    const parents = from === undefined ? [] : [from];
    const to = await git.writeCommit({ tree, parents, message: 'Change\n', at: START });
    await git.moveBranch({ branch: 'main', from, to });
    from = to;
  };
  const own = createMemoryStore({ epoch: 'epoch' });
  const store: Store = place === undefined ? own : { ...own, place };
  const { version } = await store.journal();
  await store.swapJournal({ soaks: [], restorations: [], closings: [], ...noted }, version);
  const clock = createVirtualClock(START);
  let drawn = 0;
  const observer = createObserver(own);
  onTestFinished(() => observer.close());
  const reconciler = createReconciler({
    git,
    store,
    observer,
    keys: await generateKeys(),
    clock,
    randomHex: () => sha256Hex(String(drawn++)).slice(0, 32),
    cache: createDocumentCache(),
    onEvent: () => undefined,
  });
  return { commit, clock, ...reconciler };
}

const SHARED = { kind: 'postgres', url: 'postgres://localhost/fleet' } as const;

test('a broken tip is held against the newest valid commit before it, where the one in force is gone', async () => {
  const { commit, pass, state } = await serverWith({ applied: GONE });
  await commit(FILES);
  await commit({ ...FILES, 'fleet/fleet.yaml': 'broken: [' });
  await pass();
  expect(state()).toMatchObject({ wanted: { desired: { fleet: { name: 'test-fleet' } } } });
  expect(state().published).toBeDefined();
});

test('a server that shares a store waits for a commit of main, confirms nothing meanwhile, and then goes on without it', async () => {
  const { commit, clock, pass, state } = await serverWith({ applied: GONE }, SHARED);
  await commit(FILES);
  await pass();
  expect(state()).toMatchObject({ heldBy: 'repository', held: expect.stringContaining('are fetched') });
  expect(state().confirmedAt).toBeUndefined();
  clock.advance(59_000);
  await pass();
  expect(state().wanted).toBeUndefined();
  clock.advance(1000);
  await pass();
  expect(state().held).toBeUndefined();
  expect(state().published).toBeDefined();
  expect(state().confirmedAt).toBe(clock.now());
});

test('it never goes on without the record, and says how to bring that back', async () => {
  const { commit, clock, pass, state } = await serverWith({ tip: GONE }, SHARED);
  await commit(FILES);
  await pass();
  clock.advance(3_600_000);
  await pass();
  expect(state()).toMatchObject({
    wanted: undefined,
    heldBy: 'record',
    held: expect.stringMatching(/no longer contains 1{40}.*update-ref refs\/heads\/outcomes 1{40}/),
  });
});
