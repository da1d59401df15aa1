/**
 * The TUF repository on its way to devices: what the program may give is listed before any device is told of it, and what is
 * published is renewed in time. Where it cannot be signed, what is listed already may still be given: what takes something
 * back never waits for a key.
 */
import type { Program } from '../core/model/program.ts';
import type { Instant } from '../core/model/time.ts';
import { withoutOffers } from '../core/plan/program.ts';
import type { Journal, Store } from '../store/store.ts';
import type { Keys } from '../trust/keys.ts';
import { contentOf, manifestTarget } from '../trust/tuf/content.ts';
import { MetadataError } from '../trust/tuf/metadata.ts';
import {
  type NextRepository,
  nextRepository,
  type RepositoryState,
  renewalAt,
  rootPlace,
} from '../trust/tuf/repository.ts';
import { Overtaken } from './overtaken.ts';

export interface TufPublication {
  /** What was published last, by this process or another; undefined where nothing was. */
  state(): RepositoryState | undefined;
  /** Why it could not be brought up to date, while that is so. */
  trouble(): string | undefined;
  /** Reads what another process may have published. */
  refresh(): Promise<void>;
  /** Signs anew what has to be, for the program that is served. Throws {@link Overtaken}. */
  renew(program: Program, now: Instant): Promise<void>;
  /**
   * Lists what the program may give, and says what of it may be served: where metadata cannot be signed, all but offers of what is
   * not listed. `floor`: versions go above it. Throws {@link Overtaken} where another process published.
   */
  publish(
    program: Program,
    at: { readonly now: Instant; readonly floor: () => Promise<number> },
  ): Promise<Program>;
}

export function createTufPublication({
  store,
  keys,
}: {
  readonly store: Pick<Store, 'tuf' | 'tufFile' | 'swapTuf'>;
  readonly keys: Pick<Keys, 'assignment' | 'tuf'>;
}): TufPublication {
  let state: RepositoryState | undefined;
  let trouble: string | undefined;
  let isRead = false;
  /** The program that is listed. */
  let listed: Program | undefined;
  let withheld:
    | { readonly from: Program; readonly state: RepositoryState | undefined; readonly served: Program }
    | undefined;

  async function refresh(): Promise<void> {
    const published = await store.tuf();
    isRead = true;
    if (published.version === (state?.version ?? 0)) return;
    state = published.version === 0 ? undefined : (published.state as unknown as RepositoryState);
    listed = undefined;
  }

  /** Whatever keeps it from being signed (a file, a service that holds a key) is a {@link MetadataError}. */
  async function sign(program: Program, now: Instant, floor: number): Promise<NextRepository | undefined> {
    try {
      const trust = await keys.tuf.developmentTrust({
        now,
        published: (version) => store.tufFile(rootPlace(version)),
      });
      const content = contentOf(program);
      const { signers } = keys.tuf;
      return await nextRepository({ previous: state, trust, signers, content, now, floor });
    } catch (error) {
      if (error instanceof MetadataError) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new MetadataError('signatures', message);
    }
  }

  async function bringUpToDate(program: Program, now: Instant, floor: () => Promise<number>): Promise<void> {
    const next = await sign(program, now, state === undefined ? await floor() : 0);
    if (next === undefined) return;
    const { files, needed } = next;
    const { version } = next.state;
    const json = next.state as unknown as Journal;
    if (!(await store.swapTuf({ version, state: json, files, needed, now }, state?.version ?? 0))) {
      await refresh();
      throw new Overtaken('another process published metadata');
    }
    state = next.state;
  }

  return {
    state: () => state,
    trouble: () => trouble,
    refresh,

    async renew(program, now) {
      if (state === undefined || now < renewalAt(state)) return;
      await this.publish(program, { now, floor: async () => 0 });
    },

    async publish(program, { now, floor }) {
      if (!isRead) await refresh();
      if (listed === program && state !== undefined && now < renewalAt(state) && trouble === undefined)
        return program;
      try {
        await bringUpToDate(program, now, floor);
        trouble = undefined;
        listed = program;
        return program;
      } catch (error) {
        if (!(error instanceof MetadataError)) throw error;
        trouble = error.message;
        // The same object as long as it comes to the same: answers are remembered by it.
        if (withheld?.from !== program || withheld.state !== state)
          withheld = { from: program, state, served: withoutUnlisted(program, state) };
        return withheld.served;
      }
    },
  };
}

/** Who has a revision keeps it; nobody is offered one that no metadata lists. */
function withoutUnlisted(program: Program, state: RepositoryState | undefined): Program {
  return withoutOffers(
    program,
    ({ manifest, revision }) =>
      state === undefined || !Object.hasOwn(state.since, manifestTarget(manifest, revision)),
  );
}
