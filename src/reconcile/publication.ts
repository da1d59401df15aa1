/**
 * The program on its way to devices: built from what was read, published in the store by compare-and-swap, served from
 * here. Versions only rise, also over a store that was lost or set back: devices refuse what is older than they have seen.
 */
import type { DesiredState } from '../core/model/desired.ts';
import type { Outcomes } from '../core/model/outcome.ts';
import type { Program } from '../core/model/program.ts';
import { type Instant, SECOND } from '../core/model/time.ts';
import { buildProgram } from '../core/plan/program.ts';
import { flagChanges } from '../fleet-repo/flag-changes.ts';
import { OUTCOMES_BRANCH } from '../fleet-repo/outcomes.ts';
import type { Git, Oid } from '../git/git.ts';
import type { PublishedProgram, Store } from '../store/store.ts';
import { createTurns } from '../turns.ts';
import { Overtaken } from './overtaken.ts';
import { recordedVersions } from './record.ts';
import { isSameValue } from './same-value.ts';
import type { TufPublication } from './tuf-publication.ts';

export interface Publication {
  /** What devices get; undefined while it is not known to be the last one. */
  served(): PublishedProgram | undefined;
  /** The version that the next program will have at least. */
  nextVersion(now: Instant): number;
  flagsVersion(): number;
  /** The same object for the same reading: whoever compares it sees at once that nothing has changed. */
  programOf(desired: DesiredState, outcomes: Outcomes): Program;
  /**
   * What the last process left. It is served at once, before git is read, which may take long or be away; unless the record
   * says that it was not the last one: an old backup would offer again what was taken back since. True where it is served.
   */
  begin(): Promise<boolean>;
  /** Serves what the store has, whatever the record says: git cannot be asked. */
  serveStored(): void;
  /** Whether another process published meanwhile; its program is served from now on. */
  refresh(): Promise<boolean>;
  /** Throws {@link Overtaken} where another process published since the last look. */
  publish(
    program: Program,
    at: { readonly commit: Oid; readonly tip: Oid | undefined; readonly now: Instant },
  ): Promise<void>;
}

export function createPublication({
  git,
  store,
  tuf,
}: {
  readonly git: Git;
  readonly store: Store;
  readonly tuf: TufPublication;
}): Publication {
  /** The program in the store. */
  let stored: PublishedProgram | undefined;
  let served: PublishedProgram | undefined;
  let built:
    | { readonly desired: DesiredState; readonly outcomes: Outcomes; readonly program: Program }
    | undefined;

  /** How often flags have changed. A store that was lost or set back goes on from the record and the history. */
  async function flagsVersionAt(commit: Oid, program: Program, tip: Oid | undefined): Promise<number> {
    const isUnchanged = stored !== undefined && isSameValue(stored.program.flags, program.flags);
    const next = (stored?.flagsVersion ?? 0) + (isUnchanged ? 0 : 1);
    if (served !== undefined) return next;
    const recorded = await recordedVersions(git, tip);
    const told = recorded.flags + (await flagChanges(git, commit, recorded.commit));
    return stored === undefined ? told : Math.max(next, told);
  }

  return {
    served: () => served,
    nextVersion: (now) => versionAfter(stored?.version ?? 0, now),
    flagsVersion: () => stored?.flagsVersion ?? 0,

    programOf(desired, outcomes) {
      if (built?.desired !== desired || built.outcomes !== outcomes) {
        built = { desired, outcomes, program: buildProgram(desired, outcomes) };
      }
      return built.program;
    },

    async begin() {
      stored = await store.program();
      await tuf.refresh();
      const recorded = await git
        .branch(OUTCOMES_BRANCH)
        .then((tip) => recordedVersions(git, tip))
        .catch(() => undefined);
      if (stored !== undefined && stored.version >= (recorded?.program ?? 0)) served = stored;
      return served !== undefined;
    },

    serveStored() {
      served = stored;
    },

    async refresh() {
      if ((await store.programVersion()) === (stored?.version ?? 0)) return false;
      stored = await store.program();
      await tuf.refresh();
      served = stored;
      return true;
    },

    async publish(wanted, { commit, tip, now }) {
      // What a device is told to install is listed first.
      const floor = async () => (await recordedVersions(git, tip)).program;
      const program = await tuf.publish(wanted, { now, floor });
      const recorded = served === undefined ? (await recordedVersions(git, tip)).program : 0;
      if (stored !== undefined && stored.version >= recorded && isSameValue(stored.program, program)) {
        if (stored.program !== program) stored = { ...stored, program };
        served = stored;
        return;
      }
      const next = {
        version: versionAfter(Math.max(stored?.version ?? 0, recorded), now),
        flagsVersion: await flagsVersionAt(commit, program, tip),
        program,
      };
      // Building a large program and writing it are a turn each.
      await createTurns().next();
      const isOurs = await store.swapProgram(next, stored?.version ?? 0);
      stored = isOurs ? next : await store.program();
      served = stored;
      if (!isOurs) throw new Overtaken('another process published a program');
    },
  };
}

/** Versions rise with every publication and, so that an empty store starts above what was, with the time. */
function versionAfter(last: number, now: Instant): number {
  return Math.max(last + 1, Math.floor(now / SECOND));
}
