/**
 * The TUF repository on its way to devices: what the program may give is listed before any device is told of it, and what is
 * published is renewed in time. Where it cannot be signed, what is listed already may still be given: what takes something
 * back never waits for a key.
 */
import type { Rollout } from '../core/model/desired.ts';
import type { RolloutName } from '../core/model/ids.ts';
import type { Program, ProgramRevision } from '../core/model/program.ts';
import { HOUR, type Instant } from '../core/model/time.ts';
import { withoutOffers } from '../core/plan/program.ts';
import type { Journal, Store } from '../store/store.ts';
import type { Keys } from '../trust/keys.ts';
import { artifactTargets, contentOf, manifestTarget } from '../trust/tuf/content.ts';
import type { Flaw, TrustFolder } from '../trust/tuf/folder.ts';
import { type InForce, trustInForce } from '../trust/tuf/in-force.ts';
import { MetadataError } from '../trust/tuf/metadata.ts';
import {
  type NextRepository,
  nextRepository,
  type PeoplesTrust,
  type RepositoryState,
  renewalAt,
  rootPlace,
  unvouched,
} from '../trust/tuf/repository.ts';
import { artifactsRole, manifestsRole } from '../trust/tuf/roles.ts';
import { Overtaken } from './overtaken.ts';

export interface TufPublication {
  /** What was published last, by this process or another; undefined where nothing was. */
  state(): RepositoryState | undefined;
  /** Why it could not be brought up to date, while that is so. */
  trouble(): string | undefined;
  /** What people have signed and is not in force, and why. Equal findings are one array. */
  flaws(): readonly Flaw[];
  /** Reads what another process may have published. */
  refresh(): Promise<void>;
  /** Takes over what people have signed, as main has it now. */
  follow(folder: TrustFolder | undefined, now: Instant): Promise<void>;
  /** Rollouts whose revision devices would refuse, with the reason and the next step. */
  unlistable(rollouts: ReadonlyMap<RolloutName, Rollout>): ReadonlyMap<RolloutName, string>;
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
  let isPinned = false;
  let folder: TrustFolder | undefined;
  /** What people have signed, found for that folder and that state. */
  let found:
    | (InForce & { readonly by: string; readonly folder: TrustFolder | undefined; readonly at: Instant })
    | undefined;
  let flaws: readonly Flaw[] = [];
  /** The program that is listed, and on whose word. */
  let listed: { readonly program: Program; readonly folder: TrustFolder | undefined } | undefined;
  let judged:
    | {
        readonly rollouts: ReadonlyMap<RolloutName, Rollout>;
        readonly trust: PeoplesTrust;
        readonly reasons: ReadonlyMap<RolloutName, string>;
      }
    | undefined;
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

  /** `mayBeOld`: what a server has made for itself is not looked at for whether it is to be renewed. */
  async function inForce(now: Instant, { mayBeOld }: { readonly mayBeOld: boolean }): Promise<InForce> {
    const by = JSON.stringify([state?.root, state?.development, peoplesVersions(state)]);
    const stillHolds = (known: NonNullable<typeof found>) =>
      known.folder === folder &&
      known.by === by &&
      // Some of what is wrong is mended by time.
      (known.flaws.length === 0 || Math.abs(now - known.at) < HOUR) &&
      (mayBeOld || known.trust.kind === 'people');
    if (found !== undefined && stillHolds(found)) return found;
    const published = (place: string) => store.tufFile(place);
    const made = await trustInForce({
      folder,
      state,
      published,
      development: () =>
        keys.tuf.developmentTrust({ now, published: (version) => published(rootPlace(version)) }),
      pinnedRoot: () => keys.tuf.pinnedRoot(),
      signers: keys.tuf.signers,
      assignment: keys.assignment.publicJwk,
      now,
    });
    found = { ...made, by, folder, at: now };
    if (JSON.stringify(flaws) !== JSON.stringify(made.flaws)) flaws = made.flaws;
    return found;
  }

  /** Whatever keeps it from being signed (a file, a service that holds a key) is a {@link MetadataError}. */
  async function sign(program: Program, now: Instant, floor: number): Promise<NextRepository | undefined> {
    try {
      const { trust } = await inForce(now, { mayBeOld: false });
      const { signers } = keys.tuf;
      return await nextRepository({
        previous: state,
        trust,
        signers,
        content: contentOf(program),
        now,
        floor,
      });
    } catch (error) {
      throw asMetadataError(error);
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
    if (found?.trust.kind === 'people' && found.trust.roots[0] !== undefined && !isPinned) {
      await keys.tuf.pinRoot(found.trust.roots[0].bytes);
      isPinned = true;
    }
  }

  /** The same object as long as it comes to the same: answers are remembered by it. */
  function servable(program: Program): Program {
    if (withheld?.from !== program || withheld.state !== state)
      withheld = { from: program, state, served: withoutUnlisted(program, state) };
    return withheld.served;
  }

  return {
    state: () => state,
    trouble: () => trouble,
    flaws: () => flaws,
    refresh,

    async follow(next, now) {
      if (!isRead) await refresh();
      folder = next;
      try {
        await inForce(now, { mayBeOld: true });
      } catch (error) {
        trouble = asMetadataError(error).message;
      }
    },

    unlistable(rollouts) {
      if (found?.trust.kind !== 'people') return NONE;
      const { trust } = found;
      // Passes without news ask the same again.
      if (judged?.rollouts !== rollouts || judged.trust !== trust)
        judged = { rollouts, trust, reasons: unlistableUnder(trust, rollouts) };
      return judged.reasons;
    },

    async renew(program, now) {
      if (state === undefined || now < renewalAt(state)) return;
      await this.publish(program, { now, floor: async () => 0 });
    },

    async publish(program, { now, floor }) {
      if (!isRead) await refresh();
      const isListed = listed?.program === program && listed.folder === folder && trouble === undefined;
      if (isListed && state !== undefined && now < renewalAt(state)) return servable(program);
      try {
        await bringUpToDate(program, now, floor);
        trouble = undefined;
        listed = { program, folder };
      } catch (error) {
        if (!(error instanceof MetadataError)) throw error;
        trouble = error.message;
      }
      return servable(program);
    },
  };
}

const NONE: ReadonlyMap<RolloutName, string> = new Map();

function unlistableUnder(
  trust: PeoplesTrust,
  rollouts: ReadonlyMap<RolloutName, Rollout>,
): ReadonlyMap<RolloutName, string> {
  const reasons = new Map<RolloutName, string>();
  const known = new Set(trust.targets.envelope.signed.delegations?.roles.map(({ name }) => name));
  const next = 'run tidegate trust sign, and have it signed';
  for (const { name, manifest } of rollouts.values()) {
    const { product } = manifest;
    const [path] = unvouched(artifactTargets(manifest), trust);
    if (!known.has(manifestsRole(product)))
      reasons.set(name, `trust/targets.json does not know the product ${product}: ${next}`);
    else if (path !== undefined) {
      const file = `trust/${artifactsRole(product)}.json`;
      reasons.set(name, `${file}, as far as it is signed, does not list ${path}: ${next}`);
    }
  }
  return reasons;
}

function peoplesVersions(state: RepositoryState | undefined): readonly unknown[] {
  return Object.entries(state?.roles ?? {}).flatMap(([name, { version }]) =>
    name === 'targets' || name.startsWith('artifacts-') ? [name, version] : [],
  );
}

function asMetadataError(error: unknown): MetadataError {
  if (error instanceof MetadataError) return error;
  return new MetadataError('signatures', error instanceof Error ? error.message : String(error));
}

/** Who has a revision keeps it; nobody is offered one that no metadata lists. */
function withoutUnlisted(program: Program, state: RepositoryState | undefined): Program {
  const isUnlisted = ({ manifest, revision }: ProgramRevision) =>
    state === undefined || !Object.hasOwn(state.since, manifestTarget(manifest, revision));
  const isWhole = program.rollouts.every(
    ({ candidate }) => candidate === undefined || !isUnlisted(candidate),
  );
  return isWhole ? program : withoutOffers(program, isUnlisted);
}
