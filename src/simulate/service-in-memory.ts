/**
 * The service that production runs, with nothing outside the process: a repository, a store and keys in memory, and a clock
 * that goes on when it is told to. People's side of it is here too, a commit to main; devices are for others to play.
 */
import { sha256Hex } from '../core/model/manifest.ts';
import type { Instant } from '../core/model/time.ts';
import type { NewCommit, Oid } from '../git/git.ts';
import { createMemoryRepository, type MemoryRepository } from '../git/memory.ts';
import { withChanges } from '../git/tree.ts';
import type { Ask } from '../probes/ask.ts';
import type { ReconcileEvent } from '../reconcile/event.ts';
import { createService, type Service } from '../service.ts';
import { createMemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { generateKeys, type Keys } from '../trust/keys.ts';
import { seededRandom } from './seeded-random.ts';
import { createVirtualClock, type VirtualClock } from './virtual-clock.ts';

export interface ServiceInMemory {
  readonly git: MemoryRepository;
  readonly store: Store;
  readonly keys: Keys;
  readonly clock: VirtualClock;
  readonly service: Service;
  readonly events: readonly ReconcileEvent[];
  /** Commits files to main (null removes one) and returns the commit. */
  commit(
    message: string,
    files: Readonly<Record<string, string | Uint8Array | null>>,
    sign?: NewCommit['sign'],
  ): Promise<Oid>;
  /** Reconciles until nothing is decided any more. */
  settle(): Promise<void>;
}

/** More passes without rest than this: something is decided again and again. */
const PASSES_MAX = 50;

/** `ask`: what the world outside answers to gates; absent: nobody is asked. */
export async function createServiceInMemory(options: {
  readonly startAt: Instant;
  readonly seed: string;
  readonly ask?: Ask;
}): Promise<ServiceInMemory> {
  const { startAt, seed, ask } = options;
  const clock = createVirtualClock(startAt);
  const git = createMemoryRepository();
  const store = createMemoryStore({ epoch: `epoch-${seed}` });
  const keys = await generateKeys();
  const events: ReconcileEvent[] = [];
  let drawn = 0;
  const service = createService({
    git,
    store,
    keys,
    clock,
    randomHex: () => sha256Hex(`${seed}/${drawn++}`).slice(0, 32),
    random: seededRandom(`${seed}/probes`).uniform,
    ...(ask === undefined ? {} : { ask }),
    onEvent: (event) => events.push(event),
  });

  return {
    git,
    store,
    keys,
    clock,
    service,
    events,

    async commit(message, files, sign) {
      const parent = await git.branch('main');
      const base = parent === undefined ? undefined : (await git.commit(parent)).tree;
      const changes = new Map<string, { mode: string; oid: Oid } | null>();
      for (const [path, content] of Object.entries(files)) {
        const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
        changes.set(path, bytes === null ? null : { mode: '100644', oid: await git.writeBlob(bytes) });
      }
      const tree = await withChanges(git, base, changes);
      const parents = parent === undefined ? [] : [parent];
      const commit = await git.writeCommit({
        tree,
        parents,
        message: `${message}\n`,
        at: clock.now(),
        ...(sign === undefined ? {} : { sign }),
      });
      const moved = await git.moveBranch({ branch: 'main', from: parent, to: commit });
      if (moved.kind !== 'moved') throw new Error(`main could not be moved: ${moved.kind}`);
      return commit;
    },

    async settle() {
      for (let passes = 0; passes < PASSES_MAX; passes++) {
        if (!(await service.reconciler.pass()).again) return;
      }
      throw new Error(`the reconciler did not come to rest in ${PASSES_MAX} passes`);
    },
  };
}
