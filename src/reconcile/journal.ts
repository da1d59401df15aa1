/**
 * The reconciler's durable notes: what is known locally and has no commit of its own. Written before it takes effect,
 * so that a restart goes on from it.
 */
import type { CommitId } from '../core/model/ids.ts';
import type { Instant } from '../core/model/time.ts';
import type { Decision, RestoreResult } from '../core/plan/contract.ts';
import type { Store } from '../store/store.ts';
import type { Announced } from './announcer.ts';

export interface Notes {
  /** The journal's, when they were read or written: whoever wrote in between is not overwritten. */
  readonly version: number;
  /** The last commit of main whose snapshot was valid: what is in force. */
  readonly applied?: CommitId;
  /** The last tip of `outcomes` that was read. A branch that no longer contains it was rewound. */
  readonly tip?: string;
  readonly soaks: ReadonlyMap<string, Instant>;
  readonly restorations: ReadonlyMap<string, RestoreResult>;
  /** Decisions that already hold back devices and whose commit is still to come. */
  readonly closings: readonly Decision[];
  /** When a pass was last known to go through, give or take a minute. */
  readonly watchedAt?: Instant;
  /** How far the record was announced; absent until somebody announces it. */
  readonly announced?: Announced;
}

export async function readNotes(store: Store): Promise<Notes> {
  const read = await store.journal();
  const journal = read.journal as Partial<Record<keyof Notes, never>>;
  return {
    version: read.version,
    ...(journal.applied === undefined ? {} : { applied: journal.applied }),
    ...(journal.tip === undefined ? {} : { tip: journal.tip }),
    soaks: new Map(journal.soaks ?? []),
    restorations: new Map(journal.restorations ?? []),
    closings: journal.closings ?? [],
    ...(journal.watchedAt === undefined ? {} : { watchedAt: journal.watchedAt }),
    ...(journal.announced === undefined ? {} : { announced: journal.announced }),
  };
}

/**
 * The notes as they are in the journal now; undefined where another reconciler wrote there since `notes` were read.
 * What it noted, a closing perhaps, is in force: read its notes and plan from them.
 */
export async function writeNotes(store: Store, notes: Notes): Promise<Notes | undefined> {
  const { version, ...rest } = notes;
  const journal = { ...rest, soaks: [...notes.soaks], restorations: [...notes.restorations] };
  return (await store.swapJournal(journal, version)) ? { ...notes, version: version + 1 } : undefined;
}
